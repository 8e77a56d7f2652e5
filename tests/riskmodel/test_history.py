"""The history that ships with Vigie: it equals its sources, and any file of the user takes precedence."""

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.explanation.signals import signals_of_month
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.outcomes import OUTCOMES
from riskmodel.sources.history import EVENT_COUNTRIES, EVENTS_FILE, MONTHS_FILE, ingest_history
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive with the shipped history."""
    made = Archive(tmp_path_factory.mktemp("shipped") / "archive")
    for report in ingest_history(made, NOW):
        assert report.ingest.quarantined == 0
    return made


def test_it_is_small_and_has_no_texts_of_sources() -> None:
    folder = files("vigie_data")
    tables = [Path(str(folder.joinpath(name))) for name in (MONTHS_FILE, EVENTS_FILE)]
    assert sum(path.stat().st_size for path in tables) <= 1.2e6
    columns = set(pd.read_parquet(tables[1]).columns)
    assert not {name for name in columns if name.startswith(("source_", "where_desc"))}


def test_its_deaths_are_those_of_the_source(archive: Archive, shared: Path) -> None:
    source = pd.read_csv(shared / "monthly_state_based_1989_2022.csv.gz").set_index(["iso3", "month"])
    outcomes = archive.view().outcomes()
    deaths = outcomes.deaths["state_based"]
    assert (outcomes.months[0], outcomes.months[-1]) == (month("1989-01"), month("2022-12"))
    for iso3 in ("MLI", "SYR", "ETH", "FRA"):
        theirs = source.loc[iso3]["deaths_state_based"].to_numpy()
        assert (deaths[outcomes.iso3.index(iso3)] == theirs).all()
    assert np.nansum(deaths) == source["deaths_state_based"].sum()


def test_both_outcomes_are_known_for_all_its_countries(archive: Archive, shared: Path) -> None:
    source = pd.read_csv(shared / "monthly_deaths_1989_2022.csv.gz")
    deaths = archive.view().outcomes().deaths
    for outcome in OUTCOMES:
        assert deaths[outcome].shape == (191, 34 * 12)
        assert np.nansum(deaths[outcome]) == source[f"deaths_{outcome}"].sum()
    assert (np.isnan(deaths["all"]) == np.isnan(deaths["state_based"])).all()
    assert not (deaths["all"] < deaths["state_based"]).any()


def test_its_events_are_those_of_the_source(archive: Archive, shared: Path) -> None:
    columns = ["event_id", "iso3", "date_start", "deaths", "latitude", "side_b"]
    events = archive.view().events(columns).to_pandas().astype({"iso3": str}).sort_values("event_id")
    assert set(events["iso3"]) == set(EVENT_COUNTRIES)
    source = GedFile(shared / "gedevents_mali_to_2022.csv.gz")
    batches = [checked.accepted.to_pandas() for checked in source.read(NOW.date())]
    theirs = pd.concat(batches).sort_values("event_id")[columns].astype({"iso3": str})
    ours = events[events["iso3"] == "MLI"]
    pd.testing.assert_frame_equal(
        ours.astype({"side_b": str}).reset_index(drop=True), theirs.astype({"side_b": str}).reset_index(drop=True)
    )


@pytest.mark.parametrize(("when", "events"), [("2021-12", 8), ("2022-12", 19)])
def test_its_signals_name_the_ring_around_bamako(archive: Archive, when: str, events: int) -> None:
    [mali] = signals_of_month(archive.view(), ("MLI",), month(when))["data"]
    ring = next(signal for signal in mali["signals"] if signal["indicator"] == "capital_events_250km_12m")
    assert (ring["value"], ring["highest_in_five_years"], ring["events_counted"]) == (events, True, events)
    assert f"within 250 km of the capital over the last 12 months: {events}, the highest in five years" in str(
        ring["sentence"]["en"]
    )


def test_it_has_releases_and_is_known_since_their_days(archive: Archive) -> None:
    months, events = archive.ingests()
    assert (months.label, events.label) == ("UCDP 25.1", "UCDP 24.1")
    assert (months.known_since[:10], events.known_since[:10]) == ("2025-06-01", "2024-06-01")
    assert manifest.shipped_only(archive.root)
    assert archive.view(datetime(2024, 1, 1, tzinfo=UTC)).ingests == ()


def test_taking_it_in_again_adds_nothing(archive: Archive) -> None:
    assert [report.already_archived for report in ingest_history(archive, NOW)] == [True, True]


def test_any_file_of_the_user_takes_precedence(tmp_path: Path) -> None:
    archive, table = Archive(tmp_path / "archive"), tmp_path / "own.csv"
    table.write_text("iso3,month,deaths_state_based\nMLI,2022-12,7\n")
    ingest(archive, MonthlyFile(table), now=NOW)
    list(ingest_history(archive, NOW))
    outcomes = archive.view().outcomes()
    mali = outcomes.deaths["state_based"][outcomes.iso3.index("MLI")]
    assert (mali[-1], mali[-2] > 7) == (7, True)
    assert not manifest.shipped_only(archive.root)
    assert not archive.view().shipped_only
