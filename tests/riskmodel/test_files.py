"""What is decided once for a file: encoding, separator, decimal mark, order of day and month, ids, header."""

from datetime import date
from pathlib import Path

import ged
import pyarrow as pa
import pytest

from riskmodel.errors import BadInput
from riskmodel.events.columns import DateOrder, integers
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

TODAY = date(2026, 11, 22)


def rows(path: Path, dates: DateOrder | None = None) -> list[dict[str, object]]:
    return pa.concat_tables(checked.accepted for checked in GedFile(path, dates).read(TODAY)).to_pylist()


def write(path: Path, *cells: dict[str, object], encoding: str = "utf-8", separator: str = ",") -> Path:
    text = ged.text(cells)
    path.write_bytes((text.replace(",", separator) if separator != "," else text).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encoding_and_separator(tmp_path: Path, encoding: str, separator: str) -> None:
    path = write(tmp_path / "a", {"adm_1": "Ségou"}, {"adm_1": "Kidal"}, encoding=encoding, separator=separator)
    assert [row["adm_1"] for row in rows(path)] == ["Ségou", "Kidal"]
    form = GedFile(path).table.form
    assert form.separator == separator
    assert ("UTF-16" in " ".join(form.notes())) == encoding.startswith("utf-16")


@pytest.mark.parametrize("size", [1, 30_000])
def test_one_encoding_holds_for_all_rows(tmp_path: Path, size: int) -> None:
    """The first letters outside ASCII decide, wherever in the file they stand."""
    plain = [{"id": 10 + n} for n in range(size)]
    path = write(tmp_path / "a.csv", *plain, {"id": 1, "adm_1": "Ségou, Gossi à côté"}, encoding="cp1252")
    assert rows(path)[-1]["adm_1"] == "Ségou, Gossi à côté"
    with path.open("ab") as file:
        file.write(ged.text([{"id": 2, "adm_1": "Ségou"}]).encode().partition(b"\n")[2])
    assert [row["adm_1"] for row in rows(path)[-2:]] == ["Ségou, Gossi à côté", "SÃ©gou"]
    mixed = write(tmp_path / "b.csv", {"id": 2, "adm_1": "Ségou"})
    with mixed.open("ab") as file:
        file.write(ged.text([{"id": 3, "adm_1": "Ségou"}]).encode("cp1252").partition(b"\n")[2])
    assert [(row["adm_1"], "control_characters" in str(row["flags"])) for row in rows(mixed)] == [
        ("Ségou", False),
        ("S\ufffdgou", True),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("damaged", [False, True])
def test_letters_that_end_in_another_block(tmp_path: Path, encoding: str, damaged: bool) -> None:
    """A file is read in blocks of bytes, and letters have up to four of them."""
    letters = "é" if encoding == "cp1252" else "é€😀"
    names = [letters * (1 + n % 7) + "a" * (n % 5) for n in range(12_000)]
    path = write(tmp_path / "a.csv", *({"adm_1": name} for name in names), encoding=encoding)
    if damaged and encoding == "utf-8":
        path.write_bytes(path.read_bytes().replace("😀".encode(), b"\xf0\x9f\x98", 1))
    found = [row["adm_1"] for row in rows(path)]
    assert len(found) == len(names)
    assert sum(a != b for a, b in zip(found, names, strict=True)) == (damaged and encoding == "utf-8")


@pytest.mark.parametrize("line", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n'])
def test_a_line_that_names_the_separator_is_no_header(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(line + ged.text([{}, {}]).replace(",", ";"), newline="")
    assert len(rows(path)) == 2


def test_a_file_without_a_header_whose_texts_have_many_semicolons(tmp_path: Path) -> None:
    texts = [{"id": n, "source_headline": ";".join("ab" * (60 + n))} for n in range(3)]
    path = tmp_path / "a.csv"
    path.write_text(ged.text(texts).partition("\n")[2])
    assert len(rows(path)) == 3


def test_decimal_commas(tmp_path: Path) -> None:
    cells = [
        {"latitude": "14,5", "longitude": "-4,25"},
        {"latitude": "1.234", "longitude": "15.5"},
        {"latitude": "3,5", "longitude": "2,5"},
    ]
    lines = [ged.text([row | {"id": n}]).replace(",", ";") for n, row in enumerate(cells)]
    # The writer puts cells with commas in quotes, and the commas in them must stay.
    path = tmp_path / "a.csv"
    path.write_text(
        "".join([lines[0].partition("\n")[0] + "\n", *(line.partition("\n")[2] for line in lines)])
        .replace('"14;5"', "14,5")
        .replace('"-4;25"', "-4,25")
        .replace('"3;5"', "3,5")
        .replace('"2;5"', "2,5")
    )
    found = [(row["latitude"], row["longitude"]) for row in rows(path)]
    assert found == [(14.5, -4.25), (None, None), (3.5, 2.5)]
    assert "decimal commas" in GedFile(path).table.form.notes()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("475", 475), ("475.0", 475), ("475.", 475), (" 12 ", 12), ("-3", -3), ("3.000000", 3)),
        *((text, None) for text in ("1.000", "1,000", "1E+03", "1e9", "2.5", "x", "", "99999999999", "1 000", "nan")),
    ],
)
def test_whole_numbers_are_never_rounded_or_divided(text: str, number: int | None) -> None:
    (alone,) = integers(pa.array([text]))
    (mixed, _) = integers(pa.array([text, "x"]))
    assert [None if value != value else value for value in (alone, mixed)] == [number, number]


SLASHED = [f"{day:02d}/02/2020" for day in (5, 13, 20, 28, 1)]


@pytest.mark.parametrize("separator", ["/", ".", "-"])
@pytest.mark.parametrize("time", ["", " 00:00", " 0:00:00"])
def test_the_order_of_day_and_month_is_decided_by_all_dates(tmp_path: Path, separator: str, time: str) -> None:
    dates = [day.replace("/", separator) + time for day in SLASHED]
    path = ged.write(tmp_path / "a.csv", *({"date": day} for day in dates))
    assert [row["date_start"] for row in rows(path)] == [date(2020, 2, day) for day in (5, 13, 20, 28, 1)]
    months = ["/".join(reversed(day[:5].split("/"))) + day[5:] for day in SLASHED]
    path = ged.write(tmp_path / "b.csv", *({"date": day} for day in months))
    assert [row["date_start"] for row in rows(path)] == [date(2020, 2, day) for day in (5, 13, 20, 28, 1)]


def test_an_order_that_no_date_shows_must_be_stated(tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {"date": "05/02/2020"}, {"date": "01/02/2020"})
    with pytest.raises(BadInput, match=r"no date shows whether day or month is first.*--dates dmy or --dates mdy"):
        GedFile(path)
    assert [row["date_start"] for row in rows(path, "dmy")] == [date(2020, 2, 5), date(2020, 2, 1)]
    assert [row["date_start"] for row in rows(path, "mdy")] == [date(2020, 5, 2), date(2020, 1, 2)]


def test_dates_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {"date": "25/02/2020"}, {"date": "02/25/2020"}, {"date": "01/02/2020"})
    with pytest.raises(BadInput, match="have the day first and 2 the month"):
        GedFile(path)
    assert [row["date_start"] for row in rows(path, "dmy")] == [date(2020, 2, 25), date(2020, 2, 1)]


def test_one_odd_date_does_not_decide_for_hundreds(tmp_path: Path) -> None:
    days = [f"{1 + n % 12:02d}/{1 + n % 11:02d}/2020" for n in range(300)]
    with pytest.raises(BadInput, match="no date shows"):
        GedFile(ged.write(tmp_path / "a.csv", *({"date": day} for day in [*days, "25/02/2020"])))


def test_the_country_download_is_american_even_if_few_dates_show_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ged.text([{"date": "05/02/2020 00:00:00"}]))
    assert rows(path)[0]["date_start"] == date(2020, 5, 2)


def test_a_slashed_date_among_iso_dates_is_not_guessed(tmp_path: Path) -> None:
    many = [{"id": n, "date": "2020-01-05"} for n in range(40_000)]
    path = ged.write(tmp_path / "a.csv", *many, {"id": 50_000, "date": "05/02/2020"})
    assert len(rows(path)) == 40_000


def test_months_of_a_table_show_their_order(tmp_path: Path) -> None:
    for name, form in (("a", "01/{:02d}/2020"), ("b", "{:02d}/01/2020")):
        path = tmp_path / name
        path.write_text(
            "iso3,month,deaths_state_based\n" + "".join(f"MLI,{form.format(m)},{m}\n" for m in range(1, 13))
        )
        (checked,) = MonthlyFile(path).read(TODAY)
        assert [row["month"] for row in checked.accepted.to_pylist()] == [date(2020, m, 1) for m in range(1, 13)]


def test_upper_case_headers_and_spaces_in_them(tmp_path: Path) -> None:
    head, _, body = ged.text([{}]).partition("\n")
    path = tmp_path / "a.csv"
    path.write_text(head.upper().replace(",", " , ") + "\n" + body)
    assert len(rows(path)) == 1


def test_a_used_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ged.text([{}]).replace("gwnoa", "best").replace("gwnob", "relid"))
    with pytest.raises(BadInput, match="the column best stands twice"):
        GedFile(path)


@pytest.mark.parametrize("name", ["id", "date_start", "country_id", "best", "type_of_violence"])
def test_what_a_count_needs_is_needed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ged.text([{}], [column for column in ged.GED_COLUMNS if column != name]))
    with pytest.raises(BadInput, match=f"no column {name}"):
        GedFile(path)


def test_other_columns_are_null_with_a_flag(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ged.text([{}], ["id", "date_start", "country_id", "best", "type_of_violence"]))
    (row,) = rows(path)
    assert (row["deaths"], row["date_end"], row["side_a"], row["latitude"]) == (3, None, None, None)
    flags = set(str(row["flags"]).split())
    assert {"no_bounds", "no_coordinates", "no_date_end", "no_side_a", "no_status", "no_source_count"} <= flags


def test_rows_without_any_cell_are_no_rows(tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {}, {})
    path.write_text(path.read_text() + "," * (len(ged.GED_COLUMNS) - 1) + "\n")
    assert sum(checked.quarantined.num_rows for checked in GedFile(path).read(TODAY)) == 0
