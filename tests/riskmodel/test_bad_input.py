"""Input that breaks a rule: a message with file, row and rule, the right exit code, and nothing lost."""

import gzip
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import ged
import pyarrow.parquet as pq
import pytest

from riskmodel.events import manifest
from riskmodel.home import Home

Vigie = Callable[..., object]
MONTHLY = "iso3,month,deaths_state_based\n"


def quarantined(home: Home) -> list[dict[str, object]]:
    """Return the quarantined rows of the home's only ingest."""
    (entered,) = manifest.read(home.archive)
    return pq.read_table(home.archive / entered.quarantine).to_pylist()


@pytest.mark.parametrize("source", ["ucdp", "monthly"])
@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "this is a folder"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("a,b\n1,2\n"), "header: no column"),
        (lambda path: path.write_bytes(gzip.compress(b"x" * 100_000)[:60]), "cut off"),
        (lambda path: path.write_bytes(b"\x1f\x8bnonsense"), "broken"),
        (lambda path: path.write_bytes(b"PK\x03\x04nonsense"), "broken"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "no table"), "must contain one CSV table"),
        (lambda path: path.write_bytes(random.Random(1).randbytes(5000)), ""),
        (lambda path: path.write_bytes(gzip.compress(random.Random(2).randbytes(5000))), ""),
        (lambda path: path.write_bytes(b"a,b\r1,2\r"), "header: no column"),
        (lambda path: path.write_bytes(b"PAR1 and no more"), ""),
    ],
    ids=[
        "missing",
        "folder",
        "empty",
        "wrong header",
        "cut gzip",
        "broken gzip",
        "broken zip",
        "zip without a table",
        "random bytes",
        "compressed random bytes",
        "old line ends",
        "broken Parquet",
    ],
)
def test_an_unreadable_file_is_bad_input(
    vigie: Vigie, home: Home, tmp_path: Path, source: str, make: Callable[[Path], object], rule: str
) -> None:
    path = tmp_path / "file"
    opened = make(path)
    if isinstance(opened, zipfile.ZipFile):
        opened.close()
    result = vigie("ingest", source, path)
    assert result.code == 3
    assert str(path) in result.err
    assert rule in result.err
    assert "Traceback" not in result.err
    assert manifest.read(home.archive) == ()


def test_nothing_of_a_cut_off_file_enters(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    content = gzip.compress(ged.text({"date": f"2020-01-{1 + n % 28:02d}"} for n in range(5_000)).encode())
    path = tmp_path / "events.csv.gz"
    path.write_bytes(content[: len(content) * 2 // 3])
    result = vigie("ingest", "ucdp", path)
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert "cut off" in result.err
    assert list(home.archive.rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("row", "rule", "value"),
    [
        ({"id": "x7"}, "id is not a whole number", "x7"),
        ({"id": ""}, "id is not a whole number", None),
        ({"date": "2020-13-01"}, "date_start is not a date", "2020-13-01"),
        ({"date": ""}, "date_start is not a date", None),
        ({"date": "2999-01-01"}, "date_start lies in the future", "2999-01-01"),
        ({"country_id": 999}, "country_id is no country number that Vigie knows", "999"),
        ({"country_id": ""}, "country_id is no country number that Vigie knows", None),
        ({"best": "many"}, "best is not a whole number", "many"),
        ({"best": "2.5"}, "best is not a whole number", "2.5"),
        ({"best": "-4"}, "best is negative", "-4"),
        ({"id": 1}, "id repeats an earlier row of this file", "1"),
    ],
)
def test_an_unreadable_row_is_quarantined_and_the_others_enter(
    vigie: Vigie, home: Home, tmp_path: Path, row: dict[str, object], rule: str, value: str | None
) -> None:
    path = ged.write(tmp_path / "events.csv", {"id": 1, "best": 5}, row, {"id": 3, "best": 7})
    result = vigie("ingest", "ucdp", path)
    assert result.code == 0
    assert f"{path}: row 2: {rule}" in result.err
    (entered,) = manifest.read(home.archive)
    assert (entered.rows, entered.deaths, entered.quarantined) == (2, 12, 1)
    (entry,) = quarantined(home)
    assert (entry["row"], entry["rule"], entry["value"]) == (2, rule, value)
    assert "Invented side A" in str(entry["record"])


@pytest.mark.parametrize(
    ("row", "flag"),
    [
        ({"low": 9}, "bounds_out_of_order"),
        ({"high": 1}, "bounds_out_of_order"),
        ({"high": ""}, "no_bounds"),
        ({"high": "?"}, "no_bounds"),
        ({"latitude": ""}, "no_coordinates"),
        ({"latitude": 91}, "coordinates_out_of_range"),
        ({"longitude": -181}, "coordinates_out_of_range"),
        ({"where_prec": ""}, "no_where_prec"),
        ({"where_prec": 8}, "no_where_prec"),
        ({"adm_1": ""}, "no_adm_1"),
        ({"type_of_violence": 9}, "no_type"),
        ({"date_end": "soon"}, "no_date_end"),
        ({"date_start": "2020-03-02", "date_end": "2020-03-01"}, "ends_before_start"),
    ],
)
def test_an_odd_row_enters_with_a_flag(
    vigie: Vigie, home: Home, tmp_path: Path, row: dict[str, object], flag: str
) -> None:
    assert vigie("ingest", "ucdp", ged.write(tmp_path / "events.csv", row)).code == 0
    (entered,) = manifest.read(home.archive)
    stored = pq.read_table(home.archive / entered.data).to_pylist()[0]
    assert (entered.rows, entered.flagged, entered.quarantined) == (1, 1, 0)
    assert flag in stored["flags"].split()
    assert stored["deaths"] == 3
    if flag == "coordinates_out_of_range":
        assert None in (stored["latitude"], stored["longitude"])


def test_a_row_with_too_many_fields_is_quarantined_with_its_text(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    lines = ged.text([{"best": 1}, {"best": 2}, {"best": "none"}]).splitlines()
    path = tmp_path / "events.csv"
    path.write_text("\n".join([lines[0], lines[1] + ",surplus", *lines[2:]]) + "\n")
    result = vigie("ingest", "ucdp", path)
    assert result.code == 0
    assert f"{path}: row 1: the row does not split" in result.err
    assert f"{path}: row 3: best is not a whole number" in result.err
    assert {row["row"] for row in quarantined(home)} == {1, 3}
    assert any("surplus" in str(row["record"]) for row in quarantined(home))


def test_a_file_without_a_readable_row_is_bad_input(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    for name, rows in (("none.csv", []), ("bad.csv", [{"best": "x"}, {"best": "y"}])):
        result = vigie("ingest", "ucdp", ged.write(tmp_path / name, *rows))
        assert result.code == 3
        assert name in result.err
    assert "row 1: best is not a whole number" in result.err
    assert manifest.read(home.archive) == ()


def test_the_readable_ones_of_several_files_enter(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    result = vigie("ingest", "ucdp", tmp_path / "missing.csv", ged.write(tmp_path / "events.csv", {}))
    assert result.code == 3
    assert "missing.csv: there is no such file" in result.err
    assert "1 of 2 files" in result.err
    assert [entered.file for entered in manifest.read(home.archive)] == ["events.csv"]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("XXX,2020-02-01,1", "iso3 is no country code that Vigie knows"),
        (",2020-02-01,1", "iso3 is no country code that Vigie knows"),
        ("MLI,February,1", "month is not written YYYY-MM or YYYY-MM-01"),
        ("MLI,2020-02-15,1", "month is not the first day of a month"),
        ("MLI,2999-02-01,1", "month is not over yet"),
        ("MLI,2020-02-01,few", "deaths_state_based is not a whole number"),
        ("MLI,2020-02-01,", "deaths_state_based is not a whole number"),
        ("MLI,2020-02-01,-3", "deaths_state_based is negative"),
        ("MLI,2020-02-01,1,2", "the row does not split into the fields of the header"),
    ],
)
def test_an_unreadable_monthly_row_is_quarantined(
    vigie: Vigie, home: Home, tmp_path: Path, row: str, rule: str
) -> None:
    path = tmp_path / "monthly.csv"
    path.write_text(f"{MONTHLY}MLI,2020-01-01,4\n{row}\nNER,2020-01,6\n")
    result = vigie("ingest", "monthly", path)
    assert result.code == 0
    assert f"{path}: row 2: {rule}" in result.err
    (entered,) = manifest.read(home.archive)
    assert (entered.rows, entered.deaths, entered.quarantined) == (2, 10, 1)
    assert entered.covers == ("MLI:2020-01..2020-01", "NER:2020-01..2020-01")


def test_a_gap_in_a_monthly_table_is_unknown_and_reported(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "monthly.csv"
    months = ["2020-01", "2020-02", "2020-05", "2020-06"]
    path.write_text(MONTHLY + "".join(f"MLI,{month},1\n" for month in months))
    result = vigie("ingest", "monthly", path)
    assert result.code == 0
    assert "MLI 2020-03..2020-04" in result.err
    assert manifest.read(home.archive)[0].covers == ("MLI:2020-01..2020-02", "MLI:2020-05..2020-06")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", "ucdp"),
        ("ingest", "nonsense", "x"),
        ("nonsense",),
        ("ingest", "simulated", "--until", "soon"),
        ("ingest", "simulated", "--until", "2999-01"),
    ],
)
def test_wrong_use_exits_with_2(vigie: Vigie, arguments: tuple[str, ...]) -> None:
    assert vigie(*arguments).code == 2


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--covers", "MLI:1990..2022", "not a month"),
        ("--covers", "XXX:1990-01..2022-12", "ISO alpha-3"),
        ("--covers", "MLI:2022-12..1990-01", "comes after"),
        ("--release", "newest", "no release"),
        ("--release", "26.0.13", "no month 13"),
    ],
)
def test_an_unreadable_option_is_wrong_use(
    vigie: Vigie, home: Home, tmp_path: Path, option: str, value: str, rule: str
) -> None:
    result = vigie("ingest", "ucdp", ged.write(tmp_path / "events.csv", {}), option, value)
    assert result.code == 2
    assert rule in " ".join(result.err.split())
    assert manifest.read(home.archive) == ()


def test_a_home_that_cannot_be_used_is_bad_input(vigie: Vigie, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (("ingest", "ucdp", ged.write(tmp_path / "a.csv", {})), ("scores",), ("recompute",)):
        result = vigie("--home", tmp_path / "file" / "home", *arguments)
        assert (result.code, "Traceback" in result.err, "internal" in result.err) == (3, False, False)
        assert "Not a directory" in result.err


def test_a_file_that_is_no_database_is_reported(vigie: Vigie, home: Home) -> None:
    home.root.mkdir()
    home.database.write_bytes(random.Random(1).randbytes(9000))
    result = vigie("scores")
    assert (result.code, "vigie.db cannot be used" in result.err) == (4, True)


def test_flags_are_counted_by_name(vigie: Vigie, tmp_path: Path) -> None:
    rows = {"adm_1": "", "where_prec": ""}, {"adm_1": ""}, {}
    assert (
        "2 rows flagged: no adm 1 2, no where prec 1"
        in vigie("ingest", "ucdp", ged.write(tmp_path / "a.csv", *rows)).out
    )
