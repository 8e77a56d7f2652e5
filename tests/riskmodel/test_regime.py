"""Regime: the table of military governments against the list of coups, and their values by month."""

import csv
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import ged
import numpy as np
import pytest

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.view import View
from riskmodel.indicators.families.regime import INDICATORS
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.monthly_tables import monthly_tables
from riskmodel.ingest import ingest
from riskmodel.months import month, span
from riskmodel.sources.coups import coups
from riskmodel.sources.regimes import COVERED, MILITARY, UNKNOWN, months_ending_in, parse_period, periods
from riskmodel.sources.ucdp import GedFile
from riskmodel.windows import Rectangle

REGION = geography.region("MLI").members
ISO3 = (*REGION, "NGA")
MONTHS = span(month("1989-01"), month("2023-12"))
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ROW = {"iso3": "MLI", "kind": "military", "first": "2020-08-18", "until": "", "event": "An event", "source": "http://x"}
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def nothing(tmp_path: Path) -> View:
    return Archive(tmp_path / "archive").view()


def panel(view: View) -> dict[str, Rectangle]:
    inputs = Inputs(ISO3, MONTHS, monthly_tables(view, ISO3, MONTHS))
    return {indicator.name: indicator.compute(inputs) for indicator in INDICATORS}


def at(values: Rectangle, iso3: str, when: str) -> float:
    return float(values[ISO3.index(iso3), int(np.searchsorted(MONTHS, month(when)))])


def test_each_period_of_military_government_starts_with_a_successful_coup() -> None:
    coup_days = {(coup.iso3, coup.date) for coup in coups() if coup.successful}
    for period in periods():
        assert period.kind != MILITARY or (period.iso3, period.first) in coup_days, period


def test_each_successful_coup_is_in_exactly_one_period() -> None:
    for coup in coups():
        if coup.successful and coup.date >= np.datetime64("1989-01-01"):
            within = [
                p for p in periods() if p.kind != COVERED and p.iso3 == coup.iso3 and p.first <= coup.date < p.until
            ]
            assert len(within) == 1, coup


def test_periods_do_not_overlap_and_each_is_cited() -> None:
    for iso3 in REGION:
        ours = [period for period in periods() if period.iso3 == iso3 and period.kind != COVERED]
        for earlier, later in pairwise(ours):
            assert earlier.until <= later.first, later
    for period in periods():
        assert period.event
        assert "http" in period.source
        assert period.iso3 in REGION


def test_the_lists_cover_the_default_region_up_to_the_day_they_cite() -> None:
    covered = [period for period in periods() if period.kind == COVERED]
    assert sorted(period.iso3 for period in covered) == sorted(REGION)
    assert {str(period.until) for period in covered} == {"2023-09-01"}
    assert all("2023-08-31" in period.source for period in covered)
    assert max(coup.date for coup in coups()) < covered[0].until


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "civilian"}, {"first": "2020-08"}, {"until": "2020-08-18"}, {"until": "soon"}, {"first": "2020-02-30"}],
)
def test_a_row_that_cannot_be_read_is_named(wrong: dict[str, str]) -> None:
    assert parse_period(ROW).until > np.datetime64("2100-01-01"), "the period has no end yet"
    with pytest.raises(BadInput, match=r"regimes\.csv"):
        parse_period(ROW | wrong)


def test_a_month_has_the_government_of_its_last_day() -> None:
    table = [parse_period(ROW | {"first": "2020-02-29", "until": "2020-04-30"}), parse_period(ROW | {"iso3": "TGO"})]
    months = span(month("2020-01"), month("2020-05"))
    result = months_ending_in(MILITARY, ("NER", "MLI"), months, table)
    np.testing.assert_array_equal(result, [[False] * 5, [False, True, True, False, False]])


@pytest.mark.parametrize(
    ("iso3", "when", "governed"),
    [
        ("MLI", "2012-02", 0),
        ("MLI", "2012-03", 1),
        ("MLI", "2012-04", 0),
        ("MLI", "2020-07", 0),
        ("MLI", "2020-09", 1),
        ("MLI", "2023-08", 1),
        ("MLI", "2023-09", np.nan),
        ("BFA", "2014-10", 1),
        ("BFA", "2014-11", 0),
        ("BFA", "2022-10", 1),
        ("NER", "1989-11", 1),
        ("NER", "1989-12", 0),
        ("CIV", "2000-09", 1),
        ("CIV", "2000-10", 0),
        ("GIN", "2010-11", 1),
        ("GIN", "1994-01", np.nan),
        ("DZA", "1991-12", 0),
        ("DZA", "1993-06", np.nan),
        ("SEN", "2010-01", 0),
        ("NGA", "1995-01", np.nan),
    ],
)
def test_military_government_by_country_and_month(nothing: View, iso3: str, when: str, governed: float) -> None:
    np.testing.assert_equal(at(panel(nothing)["military_government"], iso3, when), governed)


def test_mali_by_hand_from_the_list(nothing: View) -> None:
    """Mali at the end of September 2020, worked out from the rows of the shipped list in plain Python."""
    with (DATA / "coups.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["iso3"] == "MLI" and row["date"] < "2020-10"]
    passed = {(2020 - int(row["date"][:4])) * 12 + 9 - int(row["date"][5:7]): row["outcome"] for row in rows}
    found = {name: at(values, "MLI", "2020-09") for name, values in panel(nothing).items()}
    assert found == {
        "since_coup_attempt": min(passed),
        "since_coup": min(gone for gone, outcome in passed.items() if outcome == "successful"),
        "coup_attempts_60m": sum(gone < 60 for gone in passed),
        "coups_60m": sum(gone < 60 and outcome == "successful" for gone, outcome in passed.items()),
        "military_government": 1,
    }
    assert (found["since_coup"], found["coups_60m"]) == (1, 1)


def test_mali_in_april_2012_has_had_a_coup_and_an_attempt(nothing: View) -> None:
    found = {name: at(values, "MLI", "2012-04") for name, values in panel(nothing).items()}
    assert (found["since_coup_attempt"], found["since_coup"]) == (0, 1)
    assert (found["coup_attempts_60m"], found["coups_60m"]) == (2, 1)


def test_what_the_lists_do_not_cover_is_unknown(nothing: View) -> None:
    tables = monthly_tables(nothing, ISO3, MONTHS)
    after = np.datetime64("2023-08") < MONTHS
    assert set(tables) == {"coup_attempts", "coups", "military"}
    for name, table in tables.items():
        assert np.isnan(table[ISO3.index("NGA")]).all(), name
        assert np.isnan(table[:, after]).all(), name
    assert not np.isnan(tables["coups"][: len(REGION), ~after]).any()
    unknown = months_ending_in(UNKNOWN, ISO3, MONTHS)
    assert np.isnan(tables["military"][unknown]).all()
    assert monthly_tables(nothing, ("NGA", "TGO"), MONTHS) == {}
    assert monthly_tables(nothing, ISO3, MONTHS[:0]) == {}


def test_every_coup_counts_once_in_its_month(nothing: View) -> None:
    tables = monthly_tables(nothing, ISO3, MONTHS)
    for name, chosen in (("coup_attempts", coups()), ("coups", [coup for coup in coups() if coup.successful])):
        assert np.nansum(tables[name]) == sum(coup.month >= MONTHS[0] for coup in chosen)
    for coup in coups():
        if coup.month >= MONTHS[0]:
            assert at(tables["coup_attempts"], coup.iso3, str(coup.month)) >= 1


def test_real_lists_are_not_used_with_simulated_data(tmp_path: Path) -> None:
    tables = []
    for side in ("Invented side A", "SIMULATED Heron League"):
        archive = Archive(tmp_path / side)
        path = ged.write(tmp_path / "events.csv", {"date": "2020-01-05", "side_a": side})
        ingest(archive, GedFile(path), covers=[Coverage.parse("MLI:2020-01..2020-02")], now=NOW)
        tables.append(monthly_tables(archive.view(), ISO3, MONTHS))
    assert (bool(tables[0]), tables[1]) == (True, {})
