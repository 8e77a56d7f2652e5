"""Files as spreadsheets and people leave them: each is read as the right one, or refused with the way out."""

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ged
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.indicators.monthly_tables import monthly_tables
from riskmodel.months import month, span

Vigie = Callable[..., Any]
CAF = "CAF:2014-01..2014-12"


@pytest.fixture(scope="module")
def cases(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of inputs that once failed."""
    spec = importlib.util.spec_from_file_location("make", shared.parent / "cases" / "make.py")
    assert spec
    assert spec.loader
    make: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    folder = tmp_path_factory.mktemp("cases")
    make.main(folder)
    return folder


def deaths(home: Home) -> NDArray[np.float64]:
    """Return the deaths of the Central African Republic by month of 2014 and type."""
    observed = Archive(home.archive).view().outcomes()
    row, months = observed.iso3.index("CAF"), observed.months.astype(str) >= "2014-01"
    return np.array([observed.deaths[kind][row, months] for kind in ("state_based", "non_state", "one_sided")])


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("day_first.csv", "day before month"),
        ("month_first.csv", "month before day"),
        ("semicolon.csv", "separated by semicolons"),
        ("tab.tsv", "separated by tabs"),
        ("utf16.txt", "text in UTF-16, separated by tabs"),
        ("sep_line.csv", ""),
        ("older_layout.csv", "no status"),
    ],
)
@pytest.mark.parametrize("command", [(), ("auto",), ("ucdp",)], ids=["short form", "auto", "ucdp"])
def test_a_file_from_a_spreadsheet_gives_the_same_deaths(
    vigie: Vigie, home: Home, cases: Path, tmp_path: Path, name: str, note: str, command: tuple[str, ...]
) -> None:
    result = vigie("ingest", *command, cases / name, "--covers", CAF)
    assert (result.code, result.err) == (0, "")
    assert note in result.out
    found = deaths(home)
    other = Home(tmp_path / "other")
    assert vigie("--home", other.root, "ingest", "ucdp", cases / "right.csv", "--covers", CAF).code == 0
    np.testing.assert_array_equal(found, deaths(other))
    assert found.sum() == 365
    assert manifest.read(home.archive)[0].quarantined == 0


def test_an_african_candidate_says_nothing_of_other_regions(vigie: Vigie, home: Home, cases: Path) -> None:
    assert vigie("ingest", cases / "GEDEvent_v20_0_2.csv").code == 0
    (entered,) = manifest.read(home.archive)
    assert entered.release == "20.0.2"
    covered = {span.partition(":")[0] for span in entered.covers}
    assert {"MLI", "BFA", "NER", "SEN", "ZAF"} <= covered
    assert covered.isdisjoint({"*", "AFG", "UKR", "SYR", "EGY"})


def test_a_candidate_of_the_world_covers_the_world(vigie: Vigie, home: Home, shared: Path) -> None:
    assert vigie("ingest", shared / "GEDEvent_v26_0_2.csv.gz").code == 0
    assert manifest.read(home.archive)[0].covers == ("*:2026-02..2026-02",)


def test_rounded_ids_are_refused(vigie: Vigie, home: Home, cases: Path) -> None:
    result = vigie("ingest", cases / "rounded_ids.csv", "--covers", CAF)
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert "a spreadsheet rounded the ids" in result.err


def test_monthly_tables(vigie: Vigie, home: Home, cases: Path) -> None:
    assert vigie("ingest", cases / "monthly_semicolon.csv").code == 0
    result = vigie("ingest", cases / "monthly_huge.csv")
    assert "row 2: deaths_state_based is not a whole number ('1e9')" in result.err
    plain, huge = manifest.read(home.archive)
    assert (plain.deaths, plain.covers) == (19, ("MLI:2022-01..2022-02",))
    assert (huge.deaths, huge.covers) == (12, ("MLI:2022-01..2022-01",))


def test_an_impossible_number_is_quarantined(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "monthly.csv"
    path.write_text("iso3,month,deaths_state_based\nMLI,2022-01,12\nMLI,2022-02,1000000000\n", encoding="utf-8")
    assert "above 1,000,000" in vigie("ingest", path).err
    assert "above 1,000,000" in vigie("ingest", ged.write(tmp_path / "e.csv", {}, {"best": 1_000_000_000})).err
    assert [entered.deaths for entered in manifest.read(home.archive)] == [12, 3]


@pytest.mark.parametrize("command", ["auto", "ucdp", "monthly", "displacement"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<stata_dta><header>", "a Stata file"),
        (b"\x72\x02\x01\x00" + bytes(200), "a Stata file"),
        (b"RDX3\nX\n\x00\x00", "an R file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "a spreadsheet"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page"),
        ("[Content_Types].xml", "a spreadsheet"),
    ],
    ids=["dta", "old dta", "RData", "xls", "web page", "xlsx"],
)
def test_what_is_no_text_is_refused_with_the_way_out(
    vigie: Vigie, home: Home, tmp_path: Path, command: str, content: bytes | str, kind: str
) -> None:
    path = tmp_path / "file"
    if isinstance(content, str):
        with zipfile.ZipFile(path, "w") as book:
            book.writestr(content, "<Types/>")
    else:
        path.write_bytes(content)
    result = vigie("ingest", command, path)
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert f"this is {kind}" in result.err
    assert "save it as CSV" in result.err


def rows_with(number: int, **cells: object) -> list[dict[str, object]]:
    """Return 20 rows of different days, the first of which have other cells."""
    return [{"date": f"2020-01-{day:02d}"} | (cells if day <= number else {}) for day in range(1, 21)]


def test_many_lost_rows_are_accepted_only_on_request(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", *rows_with(5, country_id=9999))
    result = vigie("ingest", path, "--covers", "MLI:2020-01..2020-12")
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert "5 of 20 rows cannot be used (country_id is no country number that Vigie knows: 5)" in result.err
    assert "Likely cause: the numbers of countries are not those of UCDP" in result.err
    assert "--accept-loss" in result.err
    assert vigie("ingest", path, "--covers", "MLI:2020-01..2020-12", "--accept-loss").code == 0
    (entered,) = manifest.read(home.archive)
    assert (entered.rows, entered.quarantined, entered.covers) == (15, 5, ("MLI:2020-01..2020-12",))


def test_few_lost_rows_are_reported(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    assert vigie("ingest", ged.write(tmp_path / "a.csv", *rows_with(4, country_id=9999))).code == 0
    assert manifest.read(home.archive)[0].quarantined == 4


@pytest.mark.parametrize(
    ("cells", "message"),
    [({"type_of_violence": ""}, "no type of violence"), ({"low": 9, "high": 1}, "columns were swapped")],
)
def test_rows_with_doubtful_deaths_count_as_lost(
    vigie: Vigie, home: Home, tmp_path: Path, cells: dict[str, object], message: str
) -> None:
    result = vigie("ingest", ged.write(tmp_path / "a.csv", *rows_with(5, **cells)))
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert message in result.err


def test_rows_that_stand_twice_are_no_loss(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    rows = [{"id": n} | row for n, row in enumerate(rows_with(0), start=1)]
    result = vigie("ingest", ged.write(tmp_path / "a.csv", *rows, *rows))
    assert result.code == 0
    (entered,) = manifest.read(home.archive)
    assert (entered.rows, entered.quarantined, entered.deaths) == (20, 20, 60)
    assert "the row stands twice" in result.err


def test_different_rows_with_one_id_are_a_loss(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    rows = [{"id": 1 + n // 2} | row for n, row in enumerate(rows_with(0))]
    result = vigie("ingest", ged.write(tmp_path / "a.csv", *rows))
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert "id repeats an earlier row of this file: 10" in result.err


def test_a_month_with_two_numbers_is_unknown(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "monthly.csv"
    path.write_text("iso3,month,deaths_state_based\nMLI,2020-01,4\nMLI,2020-01-01,9\nNER,2020-01,6\nNER,2020-01,6\n")
    result = vigie("ingest", path)
    assert "country and month stand in several rows, with different numbers" in result.err
    (entered,) = manifest.read(home.archive)
    assert (entered.rows, entered.deaths, entered.covers) == (1, 6, ("NER:2020-01..2020-01",))


def test_a_file_that_is_cut_off_is_refused(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    whole_text = ged.text(rows_with(0))
    path = tmp_path / "a.csv"
    path.write_text(whole_text[: whole_text.rindex("2020-01-20") - 20], encoding="utf-8")
    result = vigie("ingest", path)
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert "the file is cut off" in result.err


def test_a_last_line_without_an_end_is_mentioned(vigie: Vigie, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ged.text(rows_with(0)).rstrip("\n"), encoding="utf-8")
    result = vigie("ingest", path)
    assert result.code == 0
    assert "the last line has no end" in result.err


def test_protest_is_stored_apart_and_never_counts_as_deaths(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    covers = ("--covers", "MLI:2020-01..2020-12")
    assert vigie("ingest", ged.write(tmp_path / "a.csv", *rows_with(0)), *covers).code == 0
    protests = ged.write(tmp_path / "p.csv", *rows_with(20, type_of_violence=4, best=50))
    result = vigie("ingest", protests, *covers)
    assert (result.code, "political protest" in result.out) == (0, True)
    mixed = ged.write(tmp_path / "m.csv", *rows_with(10, type_of_violence=4, best=50))
    assert "type_of_violence 4 is protest" in vigie("ingest", mixed, *covers).err
    events, of_protest, rest = manifest.read(home.archive)
    assert (of_protest.kind, of_protest.rows, of_protest.deaths, of_protest.covers) == (
        *("protests", 20, 0),
        ("MLI:2020-01..2020-12",),
    )
    assert (events.deaths, rest.rows, rest.deaths) == (60, 10, 30)
    observed = Archive(home.archive).view().outcomes()
    assert [np.nansum(observed.deaths[kind]) for kind in ("state_based", "all")] == [30, 30]
    protest = monthly_tables(Archive(home.archive).view(), ("MLI", "NER"), span(month("2019-12"), month("2020-12")))
    counted = protest["violent_protests"]
    assert np.nansum(counted) == 20
    assert np.isnan(counted[0]).tolist() == [True] + [False] * 12
    assert np.isnan(counted[1]).all(), "a month that no file covers is unknown, not zero"


def test_an_unknown_table_gets_a_list_of_what_vigie_reads(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("date,amount\n2020-01-01,5\n")
    result = vigie("ingest", path)
    assert (result.code, manifest.read(home.archive)) == (3, ())
    assert "does not know such a table (date, amount)" in result.err
    for known in ("UCDP events", "country-months", "displaced people"):
        assert known in result.err


def test_files_of_several_kinds_are_recognised(vigie: Vigie, home: Home, shared: Path, cases: Path) -> None:
    names = (
        "gedevents_mali_to_2022.csv.gz",
        "conflict_data_sdn_hdx_to_2022.csv.gz",
        "unhcr_country_year_africa.csv.gz",
    )
    result = vigie("ingest", *(shared / name for name in names), cases / "monthly_semicolon.csv")
    assert result.code == 0
    for words in ("website layout", "hdx layout", "UNHCR's displaced people", "deaths by country and month"):
        assert words in result.out
    assert [entered.kind for entered in manifest.read(home.archive)] == [
        *("events", "events", "displacement", "country_months")
    ]


def test_options_can_come_before_the_file(vigie: Vigie, home: Home, cases: Path) -> None:
    assert vigie("ingest", "--covers", CAF, cases / "right.csv").code == 0
    assert vigie("ingest", "--home", home.root, cases / "right.csv").code == 0
    assert [entered.covers for entered in manifest.read(home.archive)] == [(CAF,), ()]


def test_wrong_words_are_still_wrong_use(vigie: Vigie) -> None:
    assert vigie("ingest", "udcp", "file.csv").code == 2
    assert vigie("ingest", "--nonsense", "file.csv").code == 2
    assert vigie("ingest", "--help").code == 0


def test_a_file_of_protest_with_another_row_is_no_peace(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    """One row without a type, or of another type, does not make 19 protests into months without deaths."""
    covers = ("--covers", "MLI:2020-01..2020-12")
    untyped = ged.write(tmp_path / "u.csv", *[{"type_of_violence": 4}] * 19, {"type_of_violence": ""})
    assert vigie("ingest", untyped, *covers).code == 0
    assert [entered.kind for entered in manifest.read(home.archive)] == ["protests"]
    mixed = ged.write(tmp_path / "m.csv", *rows_with(19, type_of_violence=4))
    result = vigie("ingest", mixed, *covers)
    assert (result.code, "19 of 20 rows cannot be used" in result.err) == (3, True), result.err


def test_a_row_with_two_doubts_is_one_row(vigie: Vigie, tmp_path: Path) -> None:
    odd = {"date_start": "2020-03-09", "date_end": "2020-03-01", "best": 5, "low": 9, "high": 1}
    path = ged.write(tmp_path / "a.csv", *({**odd, "id": number} for number in range(1, 7)))
    result = vigie("ingest", path, "--covers", "MLI:2020-01..2020-12")
    assert (result.code, "6 of 6 rows cannot be used" in result.err) == (3, True), result.err


def test_a_table_of_displacement_can_be_parquet_and_has_no_coverage(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    table = {"iso3": ["MLI"], "year": [2020], "role": ["origin"], "refugees": [7]}
    pd.DataFrame(table).to_parquet(path)
    refused = vigie("ingest", path, "--covers", "MLI:2020-01..2020-12")
    assert (refused.code, "leave --covers and --release out" in refused.err) == (3, True), refused.err
    assert vigie("ingest", path).code == 0
    assert [(entered.kind, entered.rows) for entered in manifest.read(home.archive)] == [("displacement", 1)]
