"""What the archive learns about its own reporting: how complete, how quiet, how precise."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ged
import numpy as np
import pytest
from histories import rectangle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.events.archive import Archive
from riskmodel.events.columns import months_of
from riskmodel.events.coverage import Coverage
from riskmodel.events.releases import published
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import assemble
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.outcomes import TYPES, CountryMonths
from riskmodel.reporting import counts
from riskmodel.reporting.completeness import (
    MIN_OBSERVATIONS,
    PRIOR_WEIGHT,
    Completeness,
    estimate_completeness,
    nowcast,
)
from riskmodel.reporting.precision import precision_warnings, spread_vague_deaths
from riskmodel.reporting.under_reporting import few_reports_warning, few_reports_warning_of_region
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
GW = {"MLI": 432, "NER": 436, "BFA": 439, "AFG": 700}
SHARE = {"MLI": 0.5, "NER": 0.8, "BFA": 0.65, "AFG": 0.9}
"""How much of a month the first candidate release of these tests holds."""


def take_in(archive: Archive, path: Path, *covers: str, release: str | None = None, now: datetime = NOW) -> None:
    reader = MonthlyFile if path.suffix == ".monthly" else GedFile
    ingest(archive, reader(path), covers=[Coverage.parse(c) for c in covers], release=release, now=now)


class Reporting:
    """Real events by seed, and the releases that tell of them: a final one for each year, a candidate for each month.

    A candidate release holds each event of its month with the country's share, the final release all of them.
    """

    def __init__(self, folder: Path, share: Mapping[str, float], first: int = 2020, years: int = 2) -> None:
        self.folder, self.share, self.first, self.years = folder, share, first, years
        self.archive = Archive(folder / "archive")
        rng = np.random.default_rng(3)
        self.events: list[dict[str, Any]] = []
        for year in range(first, first + years + 1):
            for m in range(1, 13):
                for iso3 in share:
                    for _ in range(int(rng.poisson(12))):
                        row = {"id": len(self.events), "date": f"{year}-{m:02}-{rng.integers(1, 29):02}"}
                        dead = int(rng.geometric(0.3))
                        early = rng.random() < share[iso3]
                        self.events.append(
                            {**row, "country_id": GW[iso3], "year": year, "best": dead, "high": dead, "early": early}
                        )

    def final(self, year: int) -> None:
        """The final release of the years to this one."""
        rows = [row for row in self.events if row["year"] <= year]
        path = ged.write(self.folder / f"final{year}.csv", *rows)
        take_in(self.archive, path, *self._spans(f"{self.first}-01..{year}-12"), release=f"{year - 1999}.1")

    def candidate(self, year: int, m: int) -> None:
        """The candidate release of a month."""
        rows = [row for row in self.events if row["early"] and row["date"].startswith(f"{year}-{m:02}")]
        path = ged.write(self.folder / f"candidate{year}{m}.csv", *rows)
        take_in(self.archive, path, *self._spans(f"{year}-{m:02}..{year}-{m:02}"), release=f"{year - 2000}.0.{m}")

    def _spans(self, months: str) -> list[str]:
        return [f"{iso3}:{months}" for iso3 in self.share]

    def realised(self, iso3: str) -> float:
        """The share of deaths of the first years that the candidate releases held, as chance had it."""
        rows = [row for row in self.events if row["country_id"] == GW[iso3] and row["year"] < self.first + self.years]
        return sum(int(row["best"]) for row in rows if row["early"]) / sum(int(row["best"]) for row in rows)

    def up_to(self, year: int) -> "Reporting":
        """All candidate releases to the end of a year, and the final releases that were out by then."""
        for earlier in range(self.first, year + 1):
            for m in range(1, 13):
                self.candidate(earlier, m)
            if earlier < year:
                self.final(earlier)
        return self


BEFORE = published("23.1") - timedelta(days=1)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Completeness, Reporting]:
    """What was made of the candidates of 2020-2022 before the final release of 2022 came in, and the reports after."""
    made = Reporting(tmp_path_factory.mktemp("reporting"), SHARE).up_to(2022)
    then = estimate_completeness(made.archive.view(), "state_based")
    made.final(2022)
    return then, made


@pytest.fixture(scope="module")
def before(told: tuple[Completeness, Reporting]) -> Completeness:
    return told[0]


@pytest.fixture(scope="module")
def archive(told: tuple[Completeness, Reporting]) -> Archive:
    return told[1].archive


def test_the_shares_of_known_delays_are_found_again(told: tuple[Completeness, Reporting]) -> None:
    found, made = told
    for iso3, share in SHARE.items():
        newest = found.share_of_month(iso3, month("2022-12"))
        assert newest is not None
        assert newest.value == pytest.approx(made.realised(iso3), abs=0.06), iso3
        assert newest.value == pytest.approx(share, abs=0.12), iso3
        assert newest.low < share < newest.high, iso3
        assert 0 < newest.low <= newest.value <= newest.high <= 1
        assert found.events[found.iso3.index(iso3), -1] == pytest.approx(share, abs=0.12)


def test_a_final_release_is_mature(before: Completeness) -> None:
    assert before.share_of_month("MLI", month("2021-12")) == (1, 1, 1)


def test_a_report_is_as_old_as_the_newest_release_that_could_add_to_it(before: Completeness) -> None:
    assert before.age[0, -3:].tolist() == [3, 2, 1]


def test_a_month_s_interval_holds_what_comes(archive: Archive, before: Completeness) -> None:
    said, came = (view.outcomes() for view in (archive.view(as_of=BEFORE), archive.view()))
    held = []
    for i, iso3 in enumerate(said.iso3):
        for place in range(24, 36):
            if (interval := before.share_of_month(iso3, said.months[place])) is not None:
                share = said.deaths["state_based"][i, place] / came.deaths["state_based"][i, place]
                held.append(interval.low <= share <= interval.high)
    assert len(held) >= 4 * 6
    assert np.mean(held) >= 0.8


def test_the_nowcast_comes_nearer_to_what_comes(archive: Archive, before: Completeness) -> None:
    reported, came = (view.outcomes() for view in (archive.view(as_of=BEFORE), archive.view()))
    expected = nowcast(reported, before)
    as_said, foreseen, final = (table.deaths["state_based"][:, -1].sum() for table in (reported, expected, came))
    assert as_said < 0.85 * final
    assert foreseen == pytest.approx(final, rel=0.15)
    np.testing.assert_array_equal(expected.deaths["state_based"][:, :24], reported.deaths["state_based"][:, :24])
    np.testing.assert_array_equal(expected.deaths["one_sided"], reported.deaths["one_sided"])


def test_without_vintages_nothing_is_said_and_nothing_changed(tmp_path: Path) -> None:
    made = Reporting(tmp_path, SHARE)
    made.final(2021)
    made.candidate(2022, 1)
    view = made.archive.view()
    found = estimate_completeness(view, "state_based")
    assert found.share_of_month("MLI", month("2021-12")) == (1, 1, 1)
    assert found.share_of_month("MLI", month("2022-01")) is None
    assert np.isnan(found.deaths[:, -1]).all()
    same, reported = nowcast(view.outcomes(), found), view.outcomes()
    np.testing.assert_array_equal(same.deaths["state_based"], reported.deaths["state_based"])


def test_too_few_mature_months_say_nothing(tmp_path: Path) -> None:
    made = Reporting(tmp_path, {"MLI": 0.5}, years=1).up_to(2021)
    assert MIN_OBSERVATIONS > 12
    found = estimate_completeness(made.archive.view(), "state_based")
    assert found.share_of_month("MLI", month("2020-12")) == (1, 1, 1)
    assert found.share_of_month("MLI", month("2021-12")) is None


def test_a_country_month_table_tells_nothing_of_its_delays(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    path = tmp_path / "t.monthly"
    months = np.arange(month("2020-01"), month("2026-11"))
    path.write_text("iso3,month,deaths_state_based\n" + "".join(f"MLI,{m},5\n" for m in months))
    take_in(archive, path)
    found = estimate_completeness(archive.view(), "state_based")
    assert found.share_of_month("MLI", month("2026-10")) is None
    assert found.share_of_month("MLI", month("2024-10")) == (1, 1, 1)
    assert found.share_of_month("NER", month("2024-10")) is None


def test_what_came_later_changes_nothing_of_what_was_known(archive: Archive, before: Completeness) -> None:
    then = estimate_completeness(archive.view(as_of=BEFORE), "state_based")
    np.testing.assert_array_equal(then.deaths, before.deaths)
    np.testing.assert_array_equal(then.events, before.events)
    np.testing.assert_array_equal(then.curve.share, before.curve.share)
    now = estimate_completeness(archive.view(), "state_based")
    assert not np.array_equal(now.curve.share, before.curve.share)


def test_reports_that_fall_are_not_taken_for_growth(tmp_path: Path) -> None:
    """Events that the final release withdraws: the share is cut off at 1, and no nowcast makes a month smaller."""
    made = Reporting(tmp_path, dict.fromkeys(SHARE, 1.0), years=1)
    real = made.events
    doubled = [*real, *({**row, "id": int(row["id"]) + 10**6} for row in real)]
    for year in (2020, 2021):
        made.events = doubled
        for m in range(1, 13):
            made.candidate(year, m)
        made.events = real
        if year < 2021:
            made.final(year)
    view = made.archive.view()
    found = estimate_completeness(view, "state_based")
    newest = found.share_of_month("MLI", month("2021-12"))
    assert newest is not None
    assert newest.value == 1
    np.testing.assert_array_equal(
        nowcast(view.outcomes(), found).deaths["state_based"], view.outcomes().deaths["state_based"]
    )


def test_a_country_with_little_of_its_own_is_drawn_to_its_continent(tmp_path: Path) -> None:
    made = Reporting(tmp_path, {**SHARE, "NER": 0.2}, years=1)
    made.events = [row for row in made.events if row["country_id"] != GW["NER"] or row["date"] >= "2020-11"]
    found = estimate_completeness(made.up_to(2021).archive.view(), "state_based")
    value = found.deaths[found.iso3.index("NER"), -1]
    africa = np.mean([SHARE["MLI"], SHARE["BFA"]])
    assert abs(value - africa) < abs(value - 0.2), f"two months of its own do not outweigh {PRIOR_WEIGHT} of others"


@settings(deadline=None)
@given(
    reported=st.lists(st.integers(0, 500), min_size=3, max_size=3),
    share=st.lists(st.floats(0.05, 1) | st.just(float("nan")), min_size=3, max_size=3),
)
def test_a_nowcast_never_lowers_and_never_invents(
    before: Completeness, reported: list[int], share: list[float]
) -> None:
    known = before.deaths.copy()
    known[0, -3:] = share
    observed = rectangle(np.broadcast_to([*[3.0] * 33, *reported], (4, 36)), before.iso3, "2020-01")
    expected = nowcast(observed, replace(before, deaths=known)).deaths["state_based"][0, -3:]
    for said, part, foreseen in zip(reported, share, expected, strict=True):
        assert said <= foreseen <= 20 * said
        assert foreseen == round(foreseen)
        assert foreseen == said or part < 1


def test_a_nowcast_finds_its_countries_and_months(before: Completeness) -> None:
    observed = rectangle(np.full((3, 30), 100.0), ["SEN", "NER", "MLI"], "2020-10")
    expected = nowcast(observed, before).deaths["state_based"]
    assert (expected[0] == 100).all()
    assert expected[2, 26] == round(100 / before.deaths[before.iso3.index("MLI"), -1]), "December 2022"
    assert (expected[:, 27:] == 100).all(), "months of which nothing is said"


def _nothing(months: int) -> NDArray[np.float64]:
    return np.full(months, np.nan)


def _judged(events: Sequence[float], share: NDArray[np.float64] | None = None) -> list[dict[str, Any]]:
    table = np.asarray(events, dtype=np.float64)
    return few_reports_warning(table, table, _nothing(table.size) if share is None else share)


def test_a_country_that_stops_reporting_is_flagged() -> None:
    rng = np.random.default_rng(1)
    busy = rng.negative_binomial(4, 0.1, 80).astype(float)
    assert _judged(busy) == []
    (warning,) = _judged([*busy, 0, 0, 0])
    assert (warning["code"], warning["months"]) == ("few_reports", 3)
    assert 0 < warning["probability"] < 0.01
    assert _judged([*busy, *[0] * 9]), "the silence itself is no part of the history"
    assert _judged([*busy, 1, 0, 2]), "few reports are flagged, not only none"


def test_a_country_that_was_always_quiet_is_not_flagged() -> None:
    assert _judged([0.0] * 80) == []
    now_and_then = np.zeros(80)
    now_and_then[::9] = 1
    assert _judged([*now_and_then, 0, 0, 0]) == []


def test_a_peace_that_lasts_is_no_silence_for_ever() -> None:
    rng = np.random.default_rng(1)
    busy = rng.negative_binomial(4, 0.1, 80).astype(float)
    assert _judged([*busy, *[0] * 12])
    assert _judged([*busy, *[0] * 40]) == []


def test_steady_reporting_is_seldom_flagged() -> None:
    rng = np.random.default_rng(5)
    flagged = 0
    for _ in range(400):
        level = np.exp(2 + np.cumsum(rng.normal(0, 0.15, 70)) * 0.5)
        flagged += bool(_judged(rng.poisson(level).astype(float)))
    assert flagged / 400 < 0.05


def test_what_is_not_reported_yet_is_not_silence() -> None:
    rng = np.random.default_rng(1)
    busy = rng.poisson(30, 80).astype(float)
    share = np.ones(81)
    share[-1] = 0.4
    assert _judged([*busy, 12])
    assert _judged([*busy, 12], share) == []


def test_a_short_history_judges_nothing() -> None:
    assert _judged([30.0] * 20 + [0.0] * 3) == []
    assert _judged([30.0] * 60 + [float("nan")]) == []


def test_months_with_deaths_stand_for_reports_where_there_are_no_events() -> None:
    deaths = np.array([20.0] * 60 + [0.0] * 3)
    (warning,) = few_reports_warning(_nothing(63), deaths, _nothing(63))
    assert warning["months"] == 3
    in_spells = np.array(([0.0] * 4 + [5.0] * 4) * 8 + [0.0] * 3)
    assert few_reports_warning(_nothing(67), in_spells, _nothing(67)) == []
    assert few_reports_warning(_nothing(63), np.zeros(63), _nothing(63)) == []


def test_a_source_that_goes_silent_is_flagged_as_a_whole() -> None:
    """Each country alone might be quiet by chance; all at once may not."""
    rng = np.random.default_rng(2)
    events = rng.poisson(1.2, (8, 80)).astype(float)
    events[:, -1] = 0
    each = [few_reports_warning(row, row, _nothing(80)) for row in events]
    assert each == [[]] * 8
    unknown = np.full((1, 80), np.nan)
    table = np.vstack([events, unknown])
    share = np.full(table.shape, np.nan)
    (warning,) = few_reports_warning_of_region(table, table, share)
    assert warning["months"] == 1
    assert few_reports_warning_of_region(unknown, unknown, unknown) == []


def test_real_histories_are_seldom_flagged(shared: Path) -> None:
    with gzip.open(shared / "monthly_state_based_1989_2022.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_country: dict[str, list[float]] = {}
    for row in rows:
        by_country.setdefault(row["iso3"], []).append(float(row["deaths_state_based"]))
    judged = [
        bool(few_reports_warning(_nothing(place), np.array(deaths[:place]), _nothing(place)))
        for deaths in by_country.values()
        for place in range(120, len(deaths), 7)
    ]
    assert 0 < np.mean(judged) < 0.002


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["MLI", "NER"]),
        st.integers(0, 360),
        st.integers(0, 360),
        st.sampled_from([1, 3, 5]),
        st.integers(0, 400),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=8,
)


def _day(number: int) -> str:
    return str(np.datetime64("2020-01-01") + number)


@settings(deadline=None, max_examples=25)
@given(EVENTS, st.integers(1, 11))
def test_spreading_keeps_every_death_and_only_vague_dates_move(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, int, int, int, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("spread")
    rows = [
        {
            "country_id": GW[iso3],
            "date_start": _day(start),
            "date_end": _day(start + length),
            "date_prec": prec,
            "best": best,
            "high": best,
            "type_of_violence": kind,
        }
        for iso3, start, length, prec, best, kind in drawn
    ]
    archive = Archive(folder / "archive")
    take_in(archive, ged.write(folder / "a.csv", *rows), "MLI:2020-01..2021-12", "NER:2020-01..2021-12")
    view = archive.view()
    counted, moved = view.outcomes(), spread_vague_deaths(view)
    assert (moved.iso3, moved.months.tolist()) == (counted.iso3, counted.months.tolist())
    for kind in (*TYPES, "all"):
        assert moved.deaths[kind].min() >= 0
        np.testing.assert_array_equal(moved.deaths[kind].sum(axis=1), counted.deaths[kind].sum(axis=1))
        behind = np.cumsum(moved.deaths[kind], axis=1) - np.cumsum(counted.deaths[kind], axis=1)
        assert behind.max() <= 0, "deaths move to later months only"
    assert np.allclose(moved.deaths["all"], sum(moved.deaths[kind] for kind in TYPES))
    naive = counted.deaths["all"].copy()
    for iso3, start, length, prec, best, _ in drawn:
        if prec == 5:
            i = counted.iso3.index(iso3)
            days = np.arange(np.datetime64("2020-01-01") + start, np.datetime64("2020-01-01") + start + length + 1)
            places = (days.astype("datetime64[M]") - counted.months[0]).astype(int)
            naive[i, places[0]] -= best
            np.add.at(naive[i], places, best / len(days))
    np.testing.assert_allclose(moved.deaths["all"], naive, atol=0.15)
    origin = counted.months[cut]
    early = Archive(folder / "early")
    seen = [row for row in rows if row["date_start"] < str((origin + 1).astype("datetime64[D]"))]
    if seen:
        take_in(early, ged.write(folder / "b.csv", *seen), f"MLI:2020-01..{origin}", f"NER:2020-01..{origin}")
        np.testing.assert_array_equal(
            spread_vague_deaths(early.view()).deaths["all"], moved.until(origin).deaths["all"]
        )


def test_a_table_s_months_are_not_spread_into_or_out_of(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    summary = {"date_start": "2020-01-01", "date_end": "2020-03-31", "date_prec": 5, "best": 91, "high": 91}
    take_in(archive, ged.write(tmp_path / "a.csv", summary), "MLI:2020-01..2020-03")
    path = tmp_path / "t.monthly"
    path.write_text("iso3,month,deaths_state_based\nMLI,2020-02,7\nNER,2020-01,4\n")
    take_in(archive, path, now=NOW + timedelta(days=1))
    said, moved = archive.view().outcomes(), spread_vague_deaths(archive.view())
    assert said.deaths["state_based"][0].tolist() == [91, 7, 0]
    assert moved.deaths["state_based"][0].tolist() == [31, 7, 31]
    np.testing.assert_array_equal(moved.deaths["state_based"][1], said.deaths["state_based"][1])


def inputs_of(observed: CountryMonths) -> Inputs:
    """Inputs whose deaths are these."""
    return Inputs(observed.iso3, observed.months, {"deaths": observed.deaths["state_based"]})


def test_indicators_see_the_spread_and_outcomes_do_not(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    summary = {"date_start": "2020-01-01", "date_end": "2020-12-31", "date_prec": 5, "best": 366, "high": 366}
    take_in(archive, ged.write(tmp_path / "a.csv", summary), "MLI:2019-01..2020-12")
    view = archive.view()
    panel = assemble(view.outcomes(), "state_based", inputs_of(spread_vague_deaths(view)))
    assert panel.deaths[0, 12:].tolist() == [366] + [0] * 11
    seen = np.expm1(panel.values[0, 12:, panel.names.index("deaths_1m")])
    np.testing.assert_allclose(seen, [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], rtol=1e-5)
    with pytest.raises(ValueError, match="countries and months"):
        assemble(view.outcomes(), "state_based", inputs_of(spread_vague_deaths(view).until(month("2020-06"))))


def test_the_shares_of_vague_dates_and_places(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    path = ged.write(
        tmp_path / "a.csv",
        {"date": "2020-05-01", "best": 30, "date_prec": 5},
        {"date": "2020-05-02", "best": 10, "where_prec": 6},
        {"date": "2020-05-03", "best": 20, "where_prec": 3},
        {"date": "2020-05-03", "best": 40, "where_prec": ""},
        {"date": "2019-05-03", "best": 900, "where_prec": 6},
        {"date": "2020-05-03", "best": 0, "where_prec": 5, "country_id": ged.NIGER},
        {"date": "2020-05-03", "best": 5, "country_id": ged.BURKINA_FASO},
    )
    take_in(archive, path, *(f"{iso3}:2019-01..2020-12" for iso3 in ("MLI", "NER", "BFA")))
    found = precision_warnings(archive.view(), ["MLI", "NER", "BFA", "SEN"], month("2020-12"))
    assert found == {
        "MLI": [
            {"code": "imprecise_dates", "events": 0.25, "deaths": 0.3, "months": 12},
            {"code": "imprecise_places", "events": 0.3333, "deaths": 0.1667, "months": 12},
        ],
        "NER": [{"code": "imprecise_places", "events": 1.0, "deaths": None, "months": 12}],
        "BFA": [],
        "SEN": [],
    }


def test_events_are_counted_where_events_speak(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    rows = [{"date": "2020-01-05"}, {"date": "2020-01-06", "type_of_violence": 3}, {"date": "2020-03-05"}]
    take_in(archive, ged.write(tmp_path / "a.csv", *rows), "MLI:2020-01..2020-03")
    path = tmp_path / "t.monthly"
    path.write_text("iso3,month,deaths_state_based\nMLI,2020-02,7\n")
    take_in(archive, path, now=NOW + timedelta(days=1))
    view = archive.view()
    np.testing.assert_array_equal(counts.event_counts(view, "all"), [[2, np.nan, 1]])
    np.testing.assert_array_equal(counts.event_counts(view, "state_based"), [[1, np.nan, 1]])
    assert months_of(view.events(["date_start"])["date_start"]).size == 3
    assert geography.country("MLI").continent == "Africa"
