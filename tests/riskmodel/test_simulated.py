"""The simulated archive: reproducible, valid in UCDP's layout, labelled as invented, and similar to real conflict."""

import gzip
import json
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel.geography import countries, iso3_by_gw
from riskmodel.months import Month, month, span
from riskmodel.sources.simulated import FIRST, OTHER_PRONE_COUNTRIES, REGION_PROPENSITIES, simulate
from riskmodel.sources.simulated_releases import simulated_releases
from riskmodel.sources.simulated_rows import priogrid
from riskmodel.sources.ucdp_layout import GED_COLUMNS

LAST = month("2024-12")
TEXTS = (
    *("conflict_name", "dyad_name", "side_a", "side_b", "source_article", "source_office", "source_headline"),
    *("source_original", "where_coordinates", "where_description", "adm_1", "adm_2"),
)


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def months_of(events: pd.DataFrame, last: Month = LAST) -> NDArray[np.float64]:
    """Deaths, shape (country, month); all countries, in the order of `countries()`."""
    position = {iso3: i for i, iso3 in enumerate(countries())}
    table = np.zeros((len(position), len(span(FIRST, last))))
    country = events["country_id"].map(lambda gw: position[iso3_by_gw()[gw]]).to_numpy()
    when = pd.to_datetime(events["date_start"]).to_numpy().astype("datetime64[M]")
    np.add.at(table, (country, (when - FIRST).astype(int)), events["best"].to_numpy())
    return table


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "events.csv.gz"
    simulate(path, seed=1, last=LAST)
    return path


@pytest.fixture(scope="module")
def events(archive: Path) -> pd.DataFrame:
    return pd.read_csv(archive)


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory, events: pd.DataFrame) -> list[NDArray[np.float64]]:
    """Country-months of four seeds, so that a statistic does not depend on one seed."""
    histories = [months_of(events)]
    for seed in (2, 3, 4):
        path = tmp_path_factory.mktemp("seed") / "events.csv.gz"
        simulate(path, seed=seed, last=LAST)
        histories.append(months_of(pd.read_csv(path, usecols=["country_id", "date_start", "best"])))
    return histories


def test_the_same_seed_gives_the_same_bytes_in_another_process(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "another-name.csv.gz"
    code = (
        "import json, pathlib, sys; from riskmodel.months import month\n"
        "from riskmodel.sources.simulated import simulate\n"
        "path, seed, last = json.loads(sys.argv[1]); simulate(pathlib.Path(path), seed=seed, last=month(last))"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps([str(again), 1, str(LAST)])], check=True)
    assert again.read_bytes() == archive.read_bytes()


def test_another_seed_gives_another_history(deaths: list[NDArray[np.float64]]) -> None:
    assert not np.array_equal(deaths[0], deaths[1])


@settings(max_examples=8, deadline=None)
@given(back=st.integers(min_value=0, max_value=431))
def test_a_later_month_only_appends_rows(archive: Path, back: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shorter = Path(folder) / "shorter.csv.gz"
        simulate(shorter, seed=1, last=LAST - back)
        assert content(archive).startswith(content(shorter))


def test_events_are_in_order_and_stay_within_their_month(events: pd.DataFrame) -> None:
    start, end = (
        pd.to_datetime(events[name]).to_numpy().astype("datetime64[D]") for name in ("date_start", "date_end")
    )
    assert start.min().astype("datetime64[M]") == FIRST
    assert end.max().astype("datetime64[M]") == LAST
    assert (start <= end).all()
    assert (start.astype("datetime64[M]") == end.astype("datetime64[M]")).all()
    assert (np.diff(start.astype("datetime64[M]").astype(int)) >= 0).all()
    assert (events["year"].to_numpy() == start.astype("datetime64[Y]").astype(int) + 1970).all()


def test_a_last_month_before_the_first_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1989-01"):
        simulate(tmp_path / "none.csv.gz", seed=1, last=FIRST - 1)
    assert list(tmp_path.iterdir()) == []


def test_the_header_is_ucdps(archive: Path, shared: Path) -> None:
    with gzip.open(shared / "GEDEvent_v26_0_2.csv.gz") as official:
        header = official.readline().strip()
    assert content(archive).split(b"\n", 1)[0] == header
    assert header.decode().split(",") == list(GED_COLUMNS)
    assert len(set(GED_COLUMNS)) == 49


def test_every_name_and_text_says_simulated(events: pd.DataFrame) -> None:
    for name in TEXTS:
        written = events[name].dropna()
        assert len(written) > 0.8 * len(events), name
        assert written.str.startswith("SIMULATED").all(), name
    assert (events["dyad_name"].str.count("SIMULATED") == 2).all()


def test_places_are_real_and_only_groups_are_numbered(events: pd.DataFrame) -> None:
    assert set(events["country_id"]) <= set(iso3_by_gw())
    assert (events["country"] == events["country_id"].map(lambda gw: countries()[iso3_by_gw()[gw]].name())).all()
    group = re.compile(r"SIMULATED [A-Z][a-z]+ [A-Z][a-z]+ [A-Z]{3}-\d+")
    for side in pd.concat([events["side_a"], events["side_b"]]).unique():
        assert side == "SIMULATED civilians" or side.startswith("SIMULATED Government of ") or group.fullmatch(side)


def test_ids_are_unique(events: pd.DataFrame) -> None:
    assert events["id"].is_unique
    assert events["relid"].is_unique
    iso3 = events["country_id"].map(iso3_by_gw())
    expected = iso3 + "-" + events[["year", "type_of_violence", "dyad_new_id"]].astype(str).agg("-".join, axis=1)
    assert (events["relid"].str.rsplit("-", n=1).str[0] == expected).all()


@pytest.mark.parametrize("what", ["conflict", "dyad", "side_a", "side_b"])
def test_each_number_has_one_name(events: pd.DataFrame, what: str) -> None:
    name = what if what.startswith("side") else f"{what}_name"
    for key in (f"{what}_new_id", f"{what}_dset_id"):
        assert (events.groupby(key)[name].nunique() == 1).all()
        assert (events.groupby(name)[key].nunique() == 1).all()


def test_deaths_add_up_and_are_ordered(events: pd.DataFrame) -> None:
    parts = events[["deaths_a", "deaths_b", "deaths_civilians", "deaths_unknown"]]
    assert (parts >= 0).all(axis=None)
    assert (parts.sum(axis=1) == events["best"]).all()
    assert ((events["low"] >= 0) & (events["low"] <= events["best"]) & (events["best"] <= events["high"])).all()
    without = events[events["best"] == 0]
    assert 0.02 < len(without) / len(events) < 0.2
    assert (without["high"] > 0).all()


def test_the_sides_fit_the_type_of_violence(events: pd.DataFrame) -> None:
    government = {side: events[side].str.contains("Government of") for side in ("side_a", "side_b")}
    kind = events["type_of_violence"]
    assert government["side_a"][kind == 1].all()
    assert not government["side_a"][kind == 2].any()
    assert not government["side_b"].any()
    assert (events["side_b"].eq("SIMULATED civilians") == (kind == 3)).all()
    assert (events["side_a"] != events["side_b"]).all()
    assert (events["gwnoa"].notna() == government["side_a"]).all()
    assert events["gwnoa"].dropna().eq(events["country_id"][government["side_a"]]).all()


def test_precisions_vary_and_places_follow_them(events: pd.DataFrame) -> None:
    assert set(events["date_prec"]) == {1, 2, 3, 4, 5}
    assert set(events["where_prec"]) == {1, 2, 3, 4, 5, 6, 7}
    assert (events["date_prec"] == 5).mean() < 0.03
    assert (events["adm_1"].isna() == (events["where_prec"] >= 6)).all()
    assert (events["adm_2"].isna() == (events["where_prec"] >= 4)).all()
    one_day = events["date_start"] == events["date_end"]
    assert (one_day == (events["date_prec"] == 1)).all()


def test_sites_lie_around_the_capital(events: pd.DataFrame) -> None:
    home = [countries()[iso3_by_gw()[gw]] for gw in events["country_id"]]
    north = events["latitude"] - np.array([country.latitude for country in home])
    east = (events["longitude"] - np.array([country.longitude for country in home])) * np.cos(
        np.radians(events["latitude"])
    )
    km = 111.2 * np.hypot(north, east)
    assert km.max() < 450
    assert km.median() > 50
    assert 0.01 < (events["where_coordinates"].str.contains("outskirts")).mean() < 0.06
    point = events["geom_wkt"].str.extract(r"^POINT \((\S+) (\S+)\)$").astype(float)
    assert (point[0] == events["longitude"]).all()
    assert (point[1] == events["latitude"]).all()


def test_priogrid_is_the_official_numbering(shared: Path, events: pd.DataFrame) -> None:
    for name in ("GEDEvent_v26_0_2.csv.gz", "GEDEvent_v23_1_sample.csv.gz"):
        real = pd.read_csv(shared / name, usecols=["latitude", "longitude", "priogrid_gid"])
        assert (priogrid(real["latitude"].to_numpy(), real["longitude"].to_numpy()) == real["priogrid_gid"]).all()
    assert (priogrid(events["latitude"].to_numpy(), events["longitude"].to_numpy()) == events["priogrid_gid"]).all()


def test_regions_agree_with_ucdps(shared: Path, events: pd.DataFrame) -> None:
    real = pd.concat(
        pd.read_csv(shared / name, usecols=["country_id", "region"])
        for name in ("GEDEvent_v26_0_2.csv.gz", "GEDEvent_v23_1_sample.csv.gz")
    )
    combined = pd.concat([real, events[["country_id", "region"]]])
    assert (combined.groupby("country_id")["region"].nunique() == 1).all()


def test_some_dyads_persist_and_new_ones_appear(events: pd.DataFrame) -> None:
    state_based = events[events["type_of_violence"] == 1]
    years = state_based.groupby("dyad_new_id")["year"].agg(["min", "max"])
    assert (years["max"] - years["min"] >= 3).sum() > 20
    assert (years["min"] > 2000).sum() > 20
    rebels = state_based["side_b"][state_based["country_id"] == 432]
    assert rebels.iloc[0] != rebels.iloc[-1]


def test_the_archive_has_a_plausible_number_of_events(events: pd.DataFrame) -> None:
    assert 20_000 < len(events) < 45_000


def test_many_countries_are_always_quiet_and_the_others_mostly(deaths: list[NDArray[np.float64]]) -> None:
    for history in deaths:
        prone = len(REGION_PROPENSITIES) + OTHER_PRONE_COUNTRIES
        violent = (history > 0).any(axis=1)
        assert 40 < violent.sum() <= prone
        assert len({list(countries().values())[i].continent for i in np.flatnonzero(violent)}) >= 4
        assert 0.10 < (history > 0).sum() / (prone * history.shape[1]) < 0.25


def test_violence_persists(deaths: list[NDArray[np.float64]]) -> None:
    for history in deaths:
        log = np.log1p(history[(history > 0).any(axis=1)])
        changes = log - log.mean(axis=1, keepdims=True)  # within countries: a prone country is not persistence
        lagged = [np.sum(changes[:, lag:] * changes[:, :-lag]) / np.sum(changes**2) for lag in (1, 6, 24)]
        assert lagged[0] > 0.6
        assert lagged[0] > lagged[1] > lagged[2] > 0


def test_a_neighbours_violence_raises_the_odds_of_onset(deaths: list[NDArray[np.float64]]) -> None:
    """Mantel-Haenszel odds ratio over countries, so that prone neighbourhoods do not pass for diffusion."""
    nations = countries()
    borders = np.array([[b in a.neighbours for b in nations] for a in nations.values()], dtype=float)
    exposed_onsets = 0.0
    calm_onsets = 0.0
    for history in deaths:
        hot = history >= 25
        nearby = (borders @ hot) > 0
        quiet = np.lib.stride_tricks.sliding_window_view(hot, 12, axis=1)[:, :-1].sum(axis=2) == 0
        onset, exposed = hot[:, 12:] & quiet, nearby[:, 11:-1]
        a, b = (onset & exposed).sum(axis=1), (quiet & ~onset & exposed).sum(axis=1)
        c, d = (onset & ~exposed).sum(axis=1), (quiet & ~onset & ~exposed).sum(axis=1)
        total = np.maximum(a + b + c + d, 1)
        exposed_onsets += np.sum(a * d / total)
        calm_onsets += np.sum(b * c / total)
    assert exposed_onsets / calm_onsets > 1.5


def test_the_sahel_is_violent_at_the_end_and_senegal_nearly_quiet(deaths: list[NDArray[np.float64]]) -> None:
    position = list(countries())
    year = {iso3: [history[position.index(iso3), -12:].sum() for history in deaths] for iso3 in REGION_PROPENSITIES}
    for iso3 in ("MLI", "BFA", "NER"):
        assert np.median(year[iso3]) > 250
    assert np.median(year["SEN"]) < 25
    ever = [history[position.index("SEN")].max() for history in deaths]
    assert max(ever) < min(history[position.index("MLI")].max() for history in deaths)


def test_the_distribution_is_similar_to_that_of_real_conflict(shared: Path, events: pd.DataFrame) -> None:
    table = pd.read_csv(shared / "monthly_state_based_1989_2022.csv.gz")
    real = table.pivot_table(index="iso3", columns="month", values="deaths_state_based").to_numpy()
    simulated = months_of(events[events["type_of_violence"] == 1])

    def shape(history: NDArray[np.float64]) -> dict[str, float]:
        history = history[(history > 0).any(axis=1)]
        some = history[history > 0]
        return {
            "zero": (history == 0).mean(),
            "stay": (history > 0)[:, 1:][(history > 0)[:, :-1]].mean(),
            "tail": np.log(np.quantile(some, 0.99) / np.quantile(some, 0.5)),
            "top": np.sort(some)[-len(some) // 100 :].sum() / some.sum(),
        }

    found, expected = shape(simulated), shape(real)
    assert found["zero"] == pytest.approx(expected["zero"], abs=0.15)
    assert found["stay"] == pytest.approx(expected["stay"], abs=0.1)
    assert found["tail"] == pytest.approx(expected["tail"], abs=1.5)
    assert 0.1 < found["top"] < expected["top"] + 0.1


def test_simulated_releases_revise_first_reports(tmp_path: Path) -> None:
    found = {}
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        made = list(
            simulated_releases(tmp_path / folder, seed=1, last=month("2002-12"), years=1, today=date(2026, 1, 1))
        )
        candidates = [f"02.0.{m}" for m in range(1, 13)]
        assert [release for _, release, _ in made] == [*candidates[:4], "02.1", *candidates[4:], "03.1"]
        found[folder] = {release: content(path) for path, release, _ in made}
    assert found["one"] == found["other"], "the same seed gives the same bytes"
    tables = {release: pd.read_csv(path) for path, release, _ in made}
    final = tables["03.1"]
    first = pd.concat([table for release, table in tables.items() if ".0." in release])
    assert set(first["date_start"].str[:4]) == {"2002"}
    in_both = first.merge(final, on="id", suffixes=("_first", "_final"))
    assert (in_both["best_first"] != in_both["best_final"]).mean() > 0.3
    withdrawn = first[~first["id"].isin(final["id"])]
    assert 20 < len(withdrawn) < 200
    assert withdrawn["best"].between(1, 40).all()
    assert in_both["best_first"].sum() < in_both["best_final"].sum(), "most first reports are too low"
