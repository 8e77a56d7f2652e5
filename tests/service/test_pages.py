"""The pages: what they say in both languages, how little they weigh, and how Chromium shows them."""

import re
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from issued import BANDS, NOW, SCORES, Issuer
from werkzeug.serving import make_server

from service.alerts import lifecycle, rules
from service.cli.app import create_app
from service.drawing.language import LOCALES, language
from service.store.tables import snapshots
from service.web.pages import shade


@pytest.fixture
def home(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "home")


@pytest.fixture
def real(home: Issuer) -> Issuer:
    home.hold("real")
    home.issue()
    return home


def _app(home: Issuer, days: float = 0) -> Flask:
    return create_app(home.home, clock=lambda: NOW + timedelta(minutes=20, days=days))


@pytest.fixture
def client(home: Issuer) -> FlaskClient:
    return _app(home).test_client()


class Page(HTMLParser):
    """A page's visible text, its tags with their attributes, and the text of each row of tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = _plain(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.rows:
            self.rows[-1] = _plain([self.rows[-1], data])

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _plain(parts: Sequence[str]) -> str:
    return " ".join(" ".join(parts).split())


def _page(client: FlaskClient, path: str = "/?lang=en", status: int = 200) -> Page:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.content_type == "text/html; charset=utf-8"
    return Page(answer.text)


def test_the_table_is_sorted_by_risk_and_says_what_each_country_is(real: Issuer, client: FlaskClient) -> None:
    rows = _page(client).rows[1:9]
    names = ["Burkina Faso", "Mali", "Niger", "Algeria", "Côte d’Ivoire", "Guinea", "Senegal", "Mauritania"]
    assert [name for row, name in zip(rows, names, strict=True) if not row.startswith(name)] == []
    assert "86.2 extreme" in rows[0]
    assert "81.4 very high" in rows[1]
    assert "27%" in rows[1]
    assert "violent within five years" in rows[1]
    assert "379 Jan 26–354 Feb 25–363 Mar 23–373" in rows[1]
    assert "12%" in rows[5]


def test_what_is_unknown_is_said_and_never_zero(real: Issuer, client: FlaskClient) -> None:
    mauritania = _page(client).rows[8].split("All charts")[0]
    assert mauritania.count("no known history") == 4
    assert "no source" in mauritania
    country = _page(client, "/country/MRT?lang=en").text
    assert country.count("no known history") == 6
    assert "Twelve months ahead" not in country


@pytest.mark.parametrize(
    ("query", "accepted", "given"),
    [
        ("", None, "en"),
        ("", "fr", "fr"),
        ("", "fr-CA,fr;q=0.9,en;q=0.5", "fr"),
        ("", "de,en;q=0.5,fr;q=0.7", "fr"),
        ("", "bm", "en"),
        ("?lang=fr", "en", "fr"),
        ("?lang=en", "fr", "en"),
        ("?lang=xx", "fr", "fr"),
    ],
)
def test_the_reader_chooses_the_language(
    real: Issuer, client: FlaskClient, query: str, accepted: str | None, given: str
) -> None:
    answer = client.get(f"/{query}", headers={"Accept-Language": accepted} if accepted else {})
    page = Page(answer.text)
    assert page.named("html")[0]["lang"] == answer.headers["Content-Language"] == given
    assert "Accept-Language" in answer.headers["Vary"]
    current = [link["lang"] for link in page.named("a") if link.get("aria-current")]
    assert current == [given]
    assert {f"/{code}/" for code in LOCALES} <= {link["href"] for link in page.named("a")}


@pytest.mark.parametrize("path", ["/", "/country/MLI", "/scorecard", "/docs"])
def test_an_address_may_name_the_language(real: Issuer, client: FlaskClient, path: str) -> None:
    french = client.get(f"/fr{path}", headers={"Accept-Language": "en"})
    assert french.text == client.get(f"{path}?lang=fr").text
    assert french.headers["Content-Language"] == "fr"
    assert "Accept-Language" not in french.headers.get("Vary", "")
    links = [link["href"] or "" for link in Page(french.text).named("a")]
    assert f"/en{path}" in links
    assert not [href for href in links if "?" in href]
    for href in {href for href in links if href.startswith("/")}:
        assert client.get(href).status_code == 200, href


def test_what_goes_wrong_under_a_language_is_told_in_it(real: Issuer, client: FlaskClient) -> None:
    page = _page(client, "/fr/country/FRA", 404)
    assert page.named("html")[0]["lang"] == "fr"
    assert {"/en/country/FRA", "/fr/country/FRA"} <= {link["href"] for link in page.named("a")}
    assert client.get("/de/").status_code == 404


def test_french_is_french_in_words_names_numbers_and_dates(real: Issuer, client: FlaskClient) -> None:
    page = _page(client, "/?lang=fr")
    for said in ("Mali et pays voisins", "janvier – mars 2023", "31 décembre 2022 (il y a 10 jours)", "À jour"):
        assert said.lower() in page.text.lower()
    assert "Algérie" in page.rows[4]
    assert "31,5 modéré" in page.rows[4]
    assert "81,4 très élevé" in page.rows[2]
    assert "27 %" in page.rows[2]


@pytest.mark.parametrize(("lang", "said"), [("en", "SIMULATED"), ("fr", "SIMULÉ · SIMULATED")])
@pytest.mark.parametrize("path", ["/", "/country/SEN"])
def test_simulated_pages_say_so_and_real_ones_do_not(home: Issuer, lang: str, said: str, path: str) -> None:
    home.hold("simulated")
    home.issue(simulated=True)
    client = _app(home).test_client()
    page = _page(client, f"{path}?lang={lang}").text
    assert page.startswith(f"{said} – ")
    assert page.count(said) >= 2
    home.hold("simulated", "real")
    assert said not in _page(client, f"{path}?lang={lang}", 503).text
    home.issue()
    assert said not in _page(client, f"{path}?lang={lang}").text


def test_old_data_are_called_old(real: Issuer) -> None:
    assert "Up to date" in _page(_app(real).test_client()).text.replace("up", "Up")
    assert "late Data to 31 December 2022 (60 days ago)" in _page(_app(real, 50).test_client()).text
    stale = _page(_app(real, 1400).test_client()).text
    assert "The data end on 31 December 2022, 1,410 days ago: this page does not describe today." in stale


def test_a_computation_that_does_not_come_is_told(real: Issuer) -> None:
    assert "Next computation expected at 09:29 UTC" in _page(_app(real).test_client()).text
    overdue = _page(_app(real, 0.1).test_client()).text
    assert "The computation expected on 10 January 2023, 09:29 UTC has not come." in overdue


def test_how_good_the_data_are_stands_on_the_page(real: Issuer, client: FlaskClient) -> None:
    rows = _page(client).rows
    assert "few or no reports lately" in rows[3]
    assert "December 2022: some 62% reported" in rows[3]
    assert not [row for row in (*rows[1:3], *rows[4:9]) if "few or no reports" in row]
    niger = _page(client, "/country/NER?lang=en").text
    assert "Few or no reports for 3 months: by its own history so few have a probability of < 1%." in niger
    assert "Some 62% of the deaths of December 2022 are reported by now (90% interval: 41% to 83%)." in niger
    algeria = _page(client, "/country/DZA?lang=fr").text
    assert "2 % des événements ne sont datés d’aucun mois précis (31 % des morts)." in algeria
    assert "25 % des événements ne sont situés dans aucun district précis." in algeria
    assert "not known: no known history" in _page(client, "/country/MRT?lang=en").text
    assert "still unreported is not known" not in _page(client).text


def test_what_nothing_is_known_of_is_not_called_complete(home: Issuer) -> None:
    home.hold("real")
    issued = home.issue()
    issued["data_quality"] = [{"code": "few_reports", "probability": 0.002, "months": 1}]
    for country in issued["countries"]:
        country["completeness"], country["reasons"]["completeness"] = None, "no_vintages"
    with home.store.writing() as connection:
        connection.execute(sa.update(snapshots).values(document=issued))
    page = _page(_app(home).test_client()).text
    assert "How much of the newest month is still unreported is not known." in page
    assert "Whole region: Few or no reports for 1 month" in page
    country = _page(_app(home).test_client(), "/country/MLI?lang=fr").text
    assert "quelle part des morts reste à signaler pour décembre 2022" in country
    assert "trop peu de versions antérieures des chiffres" in country


def test_alerts_stand_on_the_page(real: Issuer) -> None:
    assert "No alert is firing." in _page(_app(real).test_client()).text
    _fire(real)
    page = _page(_app(real).test_client()).text
    assert "No alert is firing." not in page
    with real.store.reading() as connection:
        for alert in lifecycle.firing(connection, "MLI", simulated=False):
            assert alert["title"]["en"] in page
    assert "Risque" in _page(_app(real).test_client(), "/?lang=fr").text
    assert "No alert is firing." in _page(_app(real).test_client(), "/country/SEN?lang=en").text


def _fire(home: Issuer) -> None:
    with home.store.writing() as connection:
        document = connection.execute(sa.select(snapshots.c.document)).scalar_one()
        lifecycle.evaluate(
            connection,
            rules=rules.load(home.home),
            document=document,
            run_id=1,
            snapshot_id=1,
            now=NOW,
            data_age_days=10,
            causes=["new_month"],
            first=False,
        )


@pytest.mark.parametrize("lang", LOCALES)
@pytest.mark.parametrize("iso3", SCORES)
def test_each_country_has_its_page(real: Issuer, client: FlaskClient, iso3: str, lang: str) -> None:
    page = _page(client, f"/country/{iso3}?lang={lang}")
    assert language(lang).country(iso3) in page.text
    months = [row for row in page.rows if re.search(r"\b2023\b", row)]
    assert len(months) == (0 if SCORES[iso3] is None else 12)


@pytest.mark.parametrize("lang", LOCALES)
def test_an_unknown_country_is_told_in_words(real: Issuer, client: FlaskClient, lang: str) -> None:
    said = {"en": "Not a country of this region", "fr": "Ce pays n’est pas de cette région"}
    assert said[lang] in _page(client, f"/country/FRA?lang={lang}", 404).text


def test_an_empty_home_has_a_page(home: Issuer, client: FlaskClient) -> None:
    assert "There are no data yet" in _page(client, status=503).text


@pytest.mark.parametrize("path", ["/", "/country/MLI"])
def test_a_page_is_light_and_needs_nothing_from_elsewhere(real: Issuer, client: FlaskClient, path: str) -> None:
    _fire(real)
    answer = client.get(f"{path}?lang=fr")
    page = Page(answer.text)
    assert not page.named("script")
    assert not page.named("style")
    assert not [name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")]
    linked = [link["href"] or "" for link in page.named("link") if link["rel"] != "alternate"]
    assert all(href.startswith("/static/") for href in linked)
    assert not re.search(r"(https?:)?//", " ".join(a.get("href") or a.get("src") or "" for _, a in page.tags))
    files = [client.get(href) for href in linked]
    assert all(file.status_code == 200 and "max-age=31536000" in file.headers["Cache-Control"] for file in files)
    thin = [client.get(href, headers={"Accept-Encoding": "gzip"}) for href in (f"{path}?lang=fr", *linked)]
    assert sum(len(file.data) for file in thin) < 20_000


@pytest.mark.parametrize("path", ["/", "/country/GIN"])
def test_charts_speak_to_those_who_do_not_see_them(real: Issuer, client: FlaskClient, path: str) -> None:
    page = _page(client, f"{path}?lang=en")
    drawn = [svg for svg in page.named("svg") if svg.get("role") == "img"]
    assert len(drawn) == (8 if path == "/" else 1)
    labels = [svg["aria-label"] or "" for svg in drawn]
    guinea = labels[5] if path == "/" else labels[0]
    assert "6 months unknown." in guinea
    assert "Forecast for January 2023: median 1, 90% interval 0 to 3." in guinea
    assert all(svg.get("aria-hidden") or svg.get("role") == "img" for svg in page.named("svg") if svg.get("class"))


def test_text_from_outside_cannot_become_markup(home: Issuer) -> None:
    home.hold("real")
    issued = home.issue()
    issued["source"] = issued["countries"][0]["sources"][0]["source"] = "<script>alert(1)</script>"
    with home.store.writing() as connection:
        connection.execute(sa.update(snapshots).values(document=issued))
    for path in ("/", "/country/MLI"):
        html = _app(home).test_client().get(path).text
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_bands_of_the_operator_keep_their_words_and_get_a_shade(home: Issuer) -> None:
    home.hold("real")
    issued = home.issue()
    issued["bands"] = {"calm": 0.0, "watch": 40.0, "act": 60.0}
    for country in issued["countries"]:
        country["band"] = country["band"] and "act"
    with home.store.writing() as connection:
        connection.execute(sa.update(snapshots).values(document=issued))
    assert "81.4 act" in _page(_app(home).test_client()).rows[2]
    assert [shade(band, issued["bands"]) for band in issued["bands"]] == ["shade-0", "shade-2", "shade-5"]
    assert [shade(band, BANDS) for band in BANDS] == [f"shade-{rank}" for rank in range(6)]
    assert shade(None, BANDS) == "shade-none"


@pytest.fixture
def address(real: Issuer) -> Iterator[str]:
    _fire(real)
    server = make_server("127.0.0.1", 0, _app(real), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@pytest.mark.parametrize(
    ("path", "lang", "width", "scheme", "paper"),
    [
        ("/", "en", 1280, 1, "fbf9f4"),
        ("/", "fr", 390, 0, "14171a"),
        ("/country/MLI", "fr", 1280, 1, "fbf9f4"),
        ("/country/MLI", "en", 360, 0, "14171a"),
    ],
    ids=["light", "dark", "country-light", "country-dark"],
)
def test_chromium_shows_the_page(
    chromium: str, address: str, tmp_path: Path, path: str, lang: str, width: int, scheme: int, paper: str
) -> None:
    picture = tmp_path / "page.png"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--disable-dev-shm-usage", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={width},1400"]
    shown = subprocess.run(
        [*command, f"--screenshot={picture}", f"{address}{path}?lang={lang}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    image = picture.read_bytes()
    assert struct.unpack(">II", image[16:24]) == (width, 1400)
    assert _first_pixel(image) == paper, "the style sheet is not applied"
    assert len(image) > 30_000, "the picture is all but blank"
    assert "Content Security Policy" not in shown.stderr


def _first_pixel(png: bytes) -> str:
    """The colour of the top left corner, which is the same under each of PNG's filters."""
    place, packed = 8, b""
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            packed += png[place + 8 : place + 8 + length]
        place += length + 12
    return zlib.decompress(packed)[1:4].hex()
