"""CSV: for programs as it is, for spreadsheets in their language, and never a formula."""

import csv
import io
import re

import pandas as pd
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from snapshots_support import SettableClock, SnapshotHome, full_home

from service.cli.app import create_app
from service.snapshots import csv as csv_format

FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)?(e-?[0-9]+)?")
TABLES = (
    *("/v1/scores.csv", "/v1/scores/MLI/history.csv", "/v1/forecasts/MLI.csv", "/v1/forecasts/MLI/draws.csv"),
    *("/v1/indicators.csv", "/v1/indicators/MLI.csv", "/v1/drivers/MLI.csv", "/v1/events.csv", "/v1/countries.csv"),
    *("/v1/snapshots.csv", "/v1/snapshots/1/diff/2.csv", "/v1/runs.csv", "/v1/scorecard.csv", "/v1/ledger.csv"),
    *("/v1/alerts.csv", "/v1/jobs.csv"),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> FlaskClient:
    home: SnapshotHome = full_home(tmp_path_factory.mktemp("csv") / "home")
    return create_app(home.home, clock=SettableClock()).test_client()


def cells(text: str, delimiter: str) -> list[str]:
    """What a reader that splits at this delimiter finds."""
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]


@pytest.mark.parametrize("prefix", [*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"])
def test_csv_escapes_formulas_but_not_numbers(prefix: str) -> None:
    text = f"{prefix}1 1"
    written = csv_format.write(("a", "b", "c", "d"), [(text, [text], {text: "why"}, -1.5), (None, [], True, 0)])
    first, second = csv.DictReader(io.StringIO(written, newline=""))
    assert first == {"a": f"'{text}", "b": f"'{text}", "c": f"'{text}=why", "d": "-1.5"}
    assert second == {"a": "", "b": "", "c": "true", "d": "0"}


DANGEROUS = st.text(st.sampled_from("=+-@\uff1d\uff20;,\t\r\n\"' a1|"), max_size=12)


@given(texts=st.lists(DANGEROUS, min_size=1, max_size=3), number=st.floats(-9, 9) | st.none())
def test_no_reader_starts_a_cell_with_a_formula(texts: list[str], number: float | None) -> None:
    plain = csv_format.write(("first", *map(str, range(len(texts))), "n"), [("MLI", *texts, number)])
    for table, delimiters in (
        (plain, ",;\t"),
        (csv_format.for_spreadsheet(plain, "en"), ",;\t"),
        (csv_format.for_spreadsheet(plain, "fr"), ",;\t"),
    ):
        for delimiter in delimiters:
            for cell in cells(table, delimiter):
                assert not FORMULA.match(cell) or NUMBER.fullmatch(cell.strip()), (table, delimiter)


def test_a_text_with_separators_stays_one_cell_and_reads_back() -> None:
    texts = ["a, b; c\td", 'say "so"', "1,5", "line\nbreak", "Côte d’Ivoire"]
    plain = csv_format.write(texts, [texts])
    assert cells(plain, ",") == texts * 2
    assert cells(csv_format.for_spreadsheet(plain, "fr").lstrip("\ufeff"), ";") == texts * 2


@pytest.mark.parametrize("path", TABLES)
def test_every_text_is_in_quotes_and_quotes_change_no_value(client: FlaskClient, path: str) -> None:
    text = client.get(path).text
    bare = re.sub(r'"(?:[^"]|"")*"', "", text)
    if "draws" not in path:  # those are stored as they were issued
        assert re.findall(r"[^,\r\n]+", re.sub(r"\b(true|false)\b|-?[0-9.]+(e-?[0-9]+)?", "", bare)) == []
    frame = pd.read_csv(io.StringIO(text))
    unquoted = pd.read_csv(io.StringIO(csv_with_few_quotes(text)))
    pd.testing.assert_frame_equal(frame, unquoted)


def test_pandas_reads_the_values_of_the_json(client: FlaskClient) -> None:
    frame = pd.read_csv(io.StringIO(client.get("/v1/scores.csv").text)).set_index("location_code")
    for row in client.get("/v1/scores").json["data"]:
        for name in ("risk_score", "escalation_probability", "expected_deaths", "band", "location_name"):
            cell = frame.loc[row["location_code"], name]
            assert (None if pd.isna(cell) else cell) == row[name], (row["location_code"], name)


def csv_with_few_quotes(text: str) -> str:
    """The same table as Python writes it: only cells that need quotes have them."""
    written = io.StringIO()
    csv.writer(written).writerows(csv.reader(io.StringIO(text, newline="")))
    return written.getvalue()


@pytest.mark.parametrize("path", TABLES)
@pytest.mark.parametrize(("language", "separator", "decimal"), [("en", ",", "."), ("fr", ";", ",")])
def test_a_spreadsheet_reads_the_same_table(
    client: FlaskClient, path: str, language: str, separator: str, decimal: str
) -> None:
    response = client.get(f"{path}?excel={language}")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.data.startswith(b"\xef\xbb\xbf")
    text = response.data.decode("utf-8-sig")
    if path not in ("/v1/forecasts/MLI/draws.csv", "/v1/indicators.csv"):
        dialect = csv.Sniffer().sniff(text[:6000], delimiters=",;\t|")
        assert (dialect.delimiter, dialect.quotechar) == (separator, '"')
    sheet = pd.read_csv(io.StringIO(text), sep=separator, decimal=decimal)
    pd.testing.assert_frame_equal(sheet, pd.read_csv(io.StringIO(client.get(path).text)))


def test_the_language_of_a_spreadsheet(client: FlaskClient) -> None:
    french = client.get("/v1/scores.csv?excel=fr").data
    assert client.get("/v1/scores.csv?excel=1&lang=fr").data == french
    asked = client.get("/v1/scores.csv?excel=1", headers={"Accept-Language": "fr"})
    assert (asked.data, "Accept-Language" in asked.headers["Vary"]) == (french, True)
    assert client.get("/v1/scores?excel=fr", headers={"Accept": "text/csv"}).data == french
    assert client.get("/v1/scores.csv?excel=1").data == client.get("/v1/scores.csv?excel=en").data
    assert client.get("/v1/scores.csv?excel=fr").headers["ETag"] != client.get("/v1/scores.csv").headers["ETag"]
    following = client.get("/v1/events.csv?excel=fr&limit=9").headers["Link"]
    assert "excel=fr" in following
    for query in ("excel=de", "excel=", "excel=1&lang=de"):
        assert client.get(f"/v1/scores.csv?{query}").status_code == 400, query
    for path in ("/v1/scores?excel=1", "/v1/model?excel=1", "/v1/scores.geojson?excel=1"):
        assert client.get(path).status_code == 400, path
