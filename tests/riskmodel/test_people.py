"""Displacement: the months in which a year's figure is used, which source has precedence, and Mali by hand."""

import csv
import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from math import log, nan
from pathlib import Path

import numpy as np
import pytest

from riskmodel.events.archive import Archive
from riskmodel.indicators.families.people import INDICATORS
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.monthly_tables import monthly_tables
from riskmodel.ingest import ingest
from riskmodel.months import month, span
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.windows import Rectangle

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MONTHS = span(month("2010-01"), month("2022-12"))
UNHCR = "role,iso3,year,refugees,asylum_seekers,idps\n"
IDMC = "ISO3,Name,Year,Conflict Stock Displacement\n"

ReadTables = Callable[..., dict[str, Rectangle]]


@pytest.fixture
def read_tables(tmp_path: Path) -> ReadTables:
    """A function that ingests displacement files in turn and returns the monthly tables."""
    archive = Archive(tmp_path / "archive")

    def ingest_and_read(*texts: str, iso3: tuple[str, ...] = ("MLI",)) -> dict[str, Rectangle]:
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.csv"
            path.write_text(text, encoding="utf-8")
            ingest(archive, DisplacementFile(path), now=NOW)
        return monthly_tables(archive.view(), iso3, MONTHS)

    return ingest_and_read


def at(table: Rectangle, when: str, row: int = 0) -> float:
    return float(table[row, int(np.searchsorted(MONTHS, month(when)))])


def test_a_year_s_figure_is_used_from_the_next_july_for_twelve_months(read_tables: ReadTables) -> None:
    found = read_tables(f"{UNHCR}origin,MLI,2012,100,20,3000\n")
    for name, figure in (("refugees", 120), ("displaced", 3000)):
        known = MONTHS[~np.isnan(found[name][0])]
        assert [str(known[0]), str(known[-1]), len(known)] == ["2013-07", "2014-06", 12], (
            "nothing before it was published"
        )
        assert set(found[name][0][~np.isnan(found[name][0])]) == {figure}


def test_each_country_has_its_own_figures_as_a_country_of_origin(read_tables: ReadTables) -> None:
    text = f"{UNHCR}origin,NER,2012,7,0,1\nasylum,MLI,2012,999,0,\norigin,MLI,2012,5,0,2\n"
    found = read_tables(text, iso3=("MLI", "SEN", "NER"))
    assert [at(found["refugees"], "2013-07", row) for row in (0, 2)] == [5, 7]
    assert np.isnan(found["refugees"][1]).all()


def test_a_missing_figure_is_unknown_and_not_zero(read_tables: ReadTables) -> None:
    found = read_tables(f"{UNHCR}origin,MLI,2011,100,,\norigin,MLI,2012,,5,\norigin,MLI,2013,0,0,0\n")
    assert np.isnan(at(found["refugees"], "2012-07"))
    assert np.isnan(at(found["refugees"], "2013-07"))
    assert np.isnan(at(found["displaced"], "2013-07"))
    assert at(found["refugees"], "2014-07") == 0
    assert np.isnan(at(found["displaced"], "2014-07")), "UNHCR assists none"


def test_idmc_is_used_where_unhcr_has_no_figure_or_assists_nobody(read_tables: ReadTables) -> None:
    unhcr = f"{UNHCR}origin,MLI,2011,1,0,\norigin,MLI,2012,1,0,0\norigin,MLI,2013,1,0,40\n"
    idmc = f"{IDMC}MLI,Mali,2011,11\nMLI,Mali,2012,12\nMLI,Mali,2013,13\nMLI,Mali,2014,14\n"
    found = read_tables(unhcr, idmc)
    assert [at(found["displaced"], f"{year}-07") for year in (2012, 2013, 2014, 2015)] == [11, 12, 40, 14]
    assert np.isnan(at(found["refugees"], "2015-07"))


def test_idmc_has_no_refugees_and_without_a_table_there_is_nothing(read_tables: ReadTables) -> None:
    assert not {"refugees", "displaced"} & set(read_tables())
    found = read_tables(f"{IDMC}MLI,Mali,2011,11\n")
    assert at(found["displaced"], "2012-07") == 11
    assert np.isnan(found["refugees"]).all()


def test_the_newest_file_has_precedence(read_tables: ReadTables) -> None:
    found = read_tables(f"{UNHCR}origin,MLI,2012,1,0,1\n", f"{UNHCR}origin,MLI,2012,2,0,2\n")
    assert (at(found["refugees"], "2013-07"), at(found["displaced"], "2013-07")) == (2, 2)


@pytest.mark.parametrize("when", ["2013-06", "2013-07", "2021-06", "2022-12"])
def test_mali_by_hand(shared: Path, tmp_path: Path, when: str) -> None:
    """Mali's figures read from the shared files in plain Python, against the indicators through the archive."""
    archive = Archive(tmp_path / "archive")
    ingest(archive, DisplacementFile(shared / "unhcr_country_year_africa.csv.gz"), now=NOW)
    ingest(archive, MonthlyFile(shared / "monthly_state_based_1989_2022.csv.gz"), now=NOW)
    observed = archive.view().outcomes()
    row, column = observed.iso3.index("MLI"), int(np.searchsorted(observed.months, month(when)))
    tables = monthly_tables(archive.view(), observed.iso3, observed.months)
    inputs = Inputs(observed.iso3, observed.months, {"deaths": observed.deaths["state_based"], **tables})
    found = {indicator.name: indicator.compute(inputs)[row, column] for indicator in INDICATORS}

    year, number = int(when[:4]), int(when[5:])
    newest = year - 1 if number >= 7 else year - 2
    with gzip.open(shared / "unhcr_country_year_africa.csv.gz", "rt", encoding="utf-8") as lines:
        rows = {int(r["year"]): r for r in csv.DictReader(lines) if (r["role"], r["iso3"]) == ("origin", "MLI")}
    with gzip.open(shared / "monthly_state_based_1989_2022.csv.gz", "rt", encoding="utf-8") as lines:
        before = f"{year - 1}-{number:02d}"
        deaths = sum(
            float(r["deaths_state_based"])
            for r in csv.DictReader(lines)
            if r["iso3"] == "MLI" and before < r["month"][:7] <= when
        )
    abroad, inside = (
        [sum(float(rows[y][name]) for name in names) for y in (newest, newest - 1)]
        for names in (("refugees", "asylum_seekers"), ("idps",))
    )
    inside = [figure or nan for figure in inside]
    expected = {
        "displaced_inside": log(1 + inside[0]),
        "refugees_abroad": log(1 + abroad[0]),
        "displaced_inside_change_12m": log(1 + inside[0]) - log(1 + inside[1]),
        "refugees_abroad_change_12m": log(1 + abroad[0]) - log(1 + abroad[1]),
        "fled_per_death_12m": log(1 + (abroad[0] + inside[0]) / deaths),
    }
    assert found == pytest.approx(expected, nan_ok=True)
    assert deaths > 0
    if when == "2013-07":
        assert (abroad, inside[0]) == ([151_779, 4_678], 227_930), "the figures of 2012 are known a year later"
