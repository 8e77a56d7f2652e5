"""Displacement tables: the layouts of UNHCR and IDMC, quarantined rows, missing values, and precedence."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.displacement import DisplacementFile, current_figures

TODAY = date(2026, 11, 22)
UNHCR = "role,iso3,year,refugees,asylum_seekers,returned_refugees,idps,returned_idps,stateless,ooc,oip,hst\n"
IDMC = (
    "ISO3,Name,Year,Conflict Stock Displacement,Conflict Stock Displacement (Raw),Conflict Internal Displacements,"
    "Conflict Internal Displacements (Raw),Disaster Internal Displacements\n"
)


def write_table(tmp_path: Path, text: str, name: str = "displacement.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    parts = list(DisplacementFile(path).read(TODAY))
    accepted, out = (pa.concat_tables(getattr(part, name) for part in parts) for name in ("accepted", "quarantined"))
    return accepted.to_pylist(), out.to_pylist()


def take_in(archive: Archive, path: Path, day: int, release: str | None = None) -> IngestReport:
    return ingest(archive, DisplacementFile(path), now=datetime(2026, 11, day, tzinfo=UTC), release=release)


def test_unhcrs_layout_is_read(tmp_path: Path) -> None:
    text = f"{UNHCR}origin,MLI,2023,249046.0,14117.0,574.0,354739.0,79763.0,0.0,10.0,,0.0\n"
    ((row,), out) = read(write_table(tmp_path, text))
    assert out == []
    assert (row["iso3"], row["role"], row["year"]) == ("MLI", "origin", 2023)
    assert (row["refugees"], row["idps"], row["stateless"], row["others_of_concern"]) == (249046, 354739, 0, 10)
    assert (row["others_in_need"], row["new_displacements"]) == (None, None)


def test_idmcs_layout_gives_the_exact_figures_of_conflict_and_none_of_disasters(tmp_path: Path) -> None:
    ((row,), out) = read(write_table(tmp_path, f"{IDMC}BFA,Burkina Faso,2022,1882000,1882391,438000,437812,2600\n"))
    assert out == []
    assert (row["iso3"], row["role"], row["year"]) == ("BFA", "internal", 2022)
    assert (row["idps"], row["new_displacements"], row["refugees"]) == (1882391, 437812, None)


def test_idmcs_older_layout_with_a_line_of_tags_is_read(tmp_path: Path) -> None:
    header = "ISO3,Name,Year,Conflict Stock Displacement,Conflict New Displacements\n"
    text = f"{header}#country+code,#country+name,#date+year,#affected+idps,#affected\nMLI,Mali,2018,120000,126000\n"
    ((row,), out) = read(write_table(tmp_path, text))
    assert (row["idps"], row["new_displacements"], out) == (120000, 126000, [])


def test_missing_is_null_and_never_zero(tmp_path: Path) -> None:
    rows, _ = read(write_table(tmp_path, f"{UNHCR}origin,MLI,2023,,,,0,,,,,\n"))
    assert [rows[0][name] for name in ("refugees", "asylum_seekers", "idps", "hosts")] == [None, None, 0, None]
    rows, _ = read(write_table(tmp_path, f"{IDMC}MLI,Mali,2023,,,5,5,\n"))
    assert (rows[0]["idps"], rows[0]["new_displacements"]) == (None, 5)


@pytest.mark.parametrize(
    ("row", "rule", "value"),
    [
        ("origin,XXX,2020,1,,,,,,,,", "iso3 is no country code that Vigie knows", "XXX"),
        ("origin,,2020,1,,,,,,,,", "iso3 is no country code that Vigie knows", None),
        ("transit,NER,2020,1,,,,,,,,", "role is neither origin nor asylum", "transit"),
        ("internal,NER,2020,1,,,,,,,,", "role is neither origin nor asylum", "internal"),
        (",NER,2020,1,,,,,,,,", "role is neither origin nor asylum", None),
        ("origin,NER,soon,1,,,,,,,,", "year is no year from 1951 on", "soon"),
        ("origin,NER,20,1,,,,,,,,", "year is no year from 1951 on", "20"),
        ("origin,NER,2026,1,,,,,,,,", "year is not over yet", "2026"),
        ("origin,NER,2020,many,,,,,,,,", "refugees is not a whole number", "many"),
        ("origin,NER,2020,,,,*,,,,,", "idps is not a whole number", "*"),
        ("origin,NER,2020,,-1,,,,,,,", "asylum_seekers is negative", "-1"),
        ("origin,MLI,2019,1,,,,,,,,", "the row stands twice", "2019"),
        ("origin,NER,2020,1", "the row does not split into the fields of the header", None),
    ],
)
def test_an_unreadable_row_is_quarantined(tmp_path: Path, row: str, rule: str, value: str | None) -> None:
    text = f"{UNHCR}origin,MLI,2019,1,,,,,,,,\n{row}\nasylum,MLI,2019,2,,,,,,,,\n"
    accepted, out = read(write_table(tmp_path, text))
    assert [(entry["role"], entry["refugees"]) for entry in accepted] == [("origin", 1), ("asylum", 2)]
    assert [(entry["row"], entry["rule"], entry["value"]) for entry in out] == [(2, rule, value)]


def test_rows_that_contradict_each_other_are_all_quarantined(tmp_path: Path) -> None:
    text = f"{UNHCR}origin,MLI,2019,1,,,,,,,,\norigin,MLI,2019,7,,,,,,,,\nasylum,MLI,2019,2,,,,,,,,\n"
    accepted, out = read(write_table(tmp_path, text))
    assert [entry["role"] for entry in accepted] == ["asylum"]
    rule = "country, role and year stand in several rows, with different numbers"
    assert [(entry["row"], entry["rule"]) for entry in out] == [(1, rule), (2, rule)]


@pytest.mark.parametrize(
    "header", ["iso3,year,refugees", "role,iso3,year", "ISO3,Name,Year,Disaster Internal Displacements", "a,b"]
)
def test_a_table_with_other_columns_is_bad_input(tmp_path: Path, header: str) -> None:
    with pytest.raises(BadInput, match="header: no column"):
        DisplacementFile(write_table(tmp_path, f"{header}\n1,2,3\n"))


def test_the_newest_row_counts_and_the_providers_do_not_override_each_other(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    first = f"{UNHCR}origin,MLI,2022,100,,,,,,,,\norigin,MLI,2023,200,,,,,,,,\n"
    take_in(archive, write_table(tmp_path, first, "first.csv"), 1)
    take_in(archive, write_table(tmp_path, f"{UNHCR}origin,MLI,2023,250,,,,,,,,\n", "second.csv"), 2)
    take_in(archive, write_table(tmp_path, f"{IDMC}MLI,Mali,2023,,400,,,\n", "idmc.csv"), 3)
    figures = [(r["role"], r["year"], r["refugees"], r["idps"]) for r in current_figures(archive.view()).to_pylist()]
    assert figures == [("internal", 2023, None, 400), ("origin", 2022, 100, None), ("origin", 2023, 250, None)]
    before = current_figures(archive.view(as_of=datetime(2026, 11, 1, 12, tzinfo=UTC)))
    assert [row["refugees"] for row in before.to_pylist()] == [100, 200]


def test_an_archive_without_displacement_has_no_figures(tmp_path: Path) -> None:
    assert current_figures(Archive(tmp_path / "archive").view()).num_rows == 0


def test_a_table_makes_no_history_of_deaths(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    report = take_in(archive, write_table(tmp_path, f"{UNHCR}origin,MLI,2023,200,,,,,,,,\n"), 1)
    assert (report.ingest.covers, report.ingest.deaths) == ((), 0)
    assert archive.view().outcomes().iso3 == ()


def test_every_row_of_unhcrs_real_table_enters(shared: Path) -> None:
    path = shared / "unhcr_country_year_africa.csv.gz"
    accepted, out = read(path)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        assert len(accepted) == sum(1 for _ in lines) - 1
    assert out == []
    (burkina,) = (r for r in accepted if (r["iso3"], r["role"], r["year"]) == ("BFA", "origin", 2022))
    assert burkina["idps"] == pytest.approx(1_882_391, rel=0.2)
    assert burkina["others_in_need"] is None
