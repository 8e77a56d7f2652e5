"""The pages: what they show in both languages, how little they weigh, and how Chromium renders them."""

import json
import re
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from html_page import Page, get_page
from snapshot_documents import BANDS, NOW, SCORES
from snapshots_support import SnapshotHome
from werkzeug.serving import make_server

from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
from service.alerts import alert_list, lifecycle
from service.cli.app import create_app
from service.drawing.language import LOCALES, language
from service.store.tables import snapshots
from service.web.templating import band_shade


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    return SnapshotHome(tmp_path / "home")


@pytest.fixture
def real(home: SnapshotHome) -> SnapshotHome:
    home.add_ingests("real")
    home.issue()
    return home


@pytest.fixture
def client(home: SnapshotHome) -> FlaskClient:
    return client_at(home)


def app_at(home: SnapshotHome, days: float = 0) -> Flask:
    """The application, this many days after the snapshot was issued."""
    return create_app(home.home, clock=lambda: NOW + timedelta(minutes=20, days=days))


def client_at(home: SnapshotHome, days: float = 0) -> FlaskClient:
    return app_at(home, days).test_client()


def test_the_table_is_sorted_by_risk_and_names_scores_and_reasons(real: SnapshotHome, client: FlaskClient) -> None:
    rows = get_page(client).rows[1:9]
    names = ["Burkina Faso", "Mali", "Niger", "Algeria", "Côte d’Ivoire", "Guinea", "Senegal", "Mauritania"]
    assert [name for row, name in zip(rows, names, strict=True) if not row.startswith(name)] == []
    assert "86.2 extreme" in rows[0]
    assert "81.4 very high" in rows[1]
    assert "27%" in rows[1]
    assert "25 deaths or more in a month of the last five years" in rows[1]
    assert "379 Jan 26–354 Feb 25–363 Mar 23–373" in rows[1]
    assert "12%" in rows[5]


def test_an_unknown_value_has_its_reason_and_is_never_zero(real: SnapshotHome, client: FlaskClient) -> None:
    mauritania = get_page(client).rows[8].split("All charts")[0]
    assert mauritania.count("no known history") == 4
    assert "no source" in mauritania
    assert "Forecast for the next twelve months" in get_page(client, "/country/MLI?lang=en").text
    country = get_page(client, "/country/MRT?lang=en").text
    assert country.count("no known history") == 6
    assert "Forecast for the next twelve months" not in country


@pytest.mark.parametrize(
    ("query", "accept_language", "expected"),
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
    real: SnapshotHome, client: FlaskClient, query: str, accept_language: str | None, expected: str
) -> None:
    response = client.get(f"/{query}", headers={"Accept-Language": accept_language} if accept_language else {})
    page = Page(response.text)
    assert page.attributes_of("html")[0]["lang"] == response.headers["Content-Language"] == expected
    assert "Accept-Language" in response.headers["Vary"]
    current = [link["lang"] for link in page.attributes_of("a") if link.get("aria-current") and link.get("lang")]
    assert current == [expected]
    assert {f"/{code}/" for code in LOCALES} <= {link["href"] for link in page.attributes_of("a")}


@pytest.mark.parametrize("path", ["/", "/country/MLI", "/scorecard", "/docs"])
def test_the_path_can_name_the_language(real: SnapshotHome, client: FlaskClient, path: str) -> None:
    french = client.get(f"/fr{path}", headers={"Accept-Language": "en"})
    assert french.text == client.get(f"{path}?lang=fr").text
    assert french.headers["Content-Language"] == "fr"
    assert "Accept-Language" not in french.headers.get("Vary", "")
    links = [link["href"] or "" for link in Page(french.text).attributes_of("a")]
    assert f"/en{path}" in links
    assert {href for href in links if "?" in href} <= {"/v1/scores.csv?excel=fr"}, "a simple file server shows the rest"
    for href in {href for href in links if href.startswith("/")}:
        assert client.get(href).status_code == 200, href


def test_a_problem_under_a_language_path_is_shown_in_that_language(real: SnapshotHome, client: FlaskClient) -> None:
    page = get_page(client, "/fr/country/FRA", 404)
    assert page.attributes_of("html")[0]["lang"] == "fr"
    assert {"/en/country/FRA", "/fr/country/FRA"} <= {link["href"] for link in page.attributes_of("a")}
    assert client.get("/de/").status_code == 404


def test_the_french_page_has_french_words_names_numbers_and_dates(real: SnapshotHome, client: FlaskClient) -> None:
    page = get_page(client, "/?lang=fr")
    for expected in (
        "Mali et pays voisins",
        "janvier – mars 2023",
        "31 décembre 2022 (il y a 10 jours)",
        "à jour",
        "Publié le 10 janvier 2023 à 8 h 30 UTC.",
        "25 morts ou plus en un mois au cours des cinq dernières années",
    ):
        assert expected in page.text, expected
    assert "Algérie" in page.rows[4]
    assert "31,5 modéré" in page.rows[4]
    assert "81,4 très élevé" in page.rows[2]
    assert "27 %" in page.rows[2]


@pytest.mark.parametrize("path", ["/", "/country/MLI", "/country/DZA", "/country/NER", "/scorecard", "/country/FRA"])
def test_french_pages_have_no_plain_space_where_a_line_must_not_break(
    real: SnapshotHome, client: FlaskClient, path: str
) -> None:
    fire_alerts(real)
    page = Page(client.get(f"/fr{path}").text)
    texts = page.chunks + [value or "" for _, attributes in page.tags for value in attributes.values()]
    assert [text for text in texts if re.search(r" [:;?!»]|« ", text)] == []


@pytest.mark.parametrize(("lang", "simulated"), [("en", "SIMULATED"), ("fr", "SIMULÉ · SIMULATED")])
@pytest.mark.parametrize("path", ["/", "/country/SEN"])
def test_simulated_pages_are_marked_and_real_ones_are_not(
    home: SnapshotHome, client: FlaskClient, lang: str, simulated: str, path: str
) -> None:
    home.add_ingests("simulated")
    home.issue(simulated=True)
    text = get_page(client, f"{path}?lang={lang}").text
    assert text.startswith(f"{simulated} – ")
    assert text.count(simulated) >= 2
    home.add_ingests("simulated", "real")
    assert simulated not in get_page(client, f"{path}?lang={lang}", 503).text
    home.issue()
    assert simulated not in get_page(client, f"{path}?lang={lang}").text


def test_the_page_says_how_old_the_data_are(real: SnapshotHome) -> None:
    assert "up to date Data up to 31 December 2022 (10 days ago)." in get_page(client_at(real)).text
    assert "late Data up to 31 December 2022 (60 days ago)." in get_page(client_at(real, days=50)).text
    stale = get_page(client_at(real, days=1400)).text
    assert "out of date The data end on 31 December 2022, 1,410 days ago." in stale
    assert "This page does not describe the current situation." in stale


def test_an_overdue_update_is_shown(real: SnapshotHome) -> None:
    assert "Next update expected at 09:29 UTC." in get_page(client_at(real)).text
    overdue = get_page(client_at(real, days=0.1)).text
    assert "The update expected on 10 January 2023, 09:29 UTC is overdue." in overdue
    assert "Next update" not in overdue


def test_the_quality_of_the_data_is_shown(real: SnapshotHome, client: FlaskClient) -> None:
    page = get_page(client)
    niger = page.rows[3]
    assert "few or no recent reports" in niger
    assert "December 2022: 31 reported; expected final figure 50 (90%: 12–130)" in niger
    assert [row for row in page.rows[1:9] if "few or no recent reports" in row] == [niger]
    niger_text = get_page(client, "/country/NER?lang=en").text
    assert "Few or no events reported for 3 months." in niger_text
    assert "Judging by past reports, the probability of so few is < 1%." in niger_text
    assert "For December 2022, 31 deaths have been reported so far (monthly first report)." in niger_text
    assert "50 are expected (50% interval: 33 to 64; 90% interval: 12 to 130)." in niger_text
    algeria = get_page(client, "/country/DZA?lang=fr").text
    assert "le mois exact est inconnu pour 2 % des événements (31 % des morts)." in algeria
    assert "le district exact est inconnu pour 25 % des événements." in algeria
    mauritania = get_page(client, "/country/MRT?lang=en").text
    assert "No figure is known for December 2022: no known history" in mauritania


def test_settled_figures_are_called_final_and_a_region_can_have_warnings(
    home: SnapshotHome, client: FlaskClient
) -> None:
    home.add_ingests("real")
    document = home.issue()
    document["data_quality"] = [{"code": "few_reports", "probability": 0.002, "months": 1}]
    for country in document["countries"]:
        if country["latest_month"]:
            country["latest_month"]["release_class"] = "final"
    home.replace(document)
    page = get_page(client).text
    assert "Whole region: Few or no events reported for 1 month." in page
    assert "expected final figure" not in page
    country = get_page(client, "/country/MLI?lang=fr").text
    assert "Les chiffres pour décembre 2022 sont définitifs." in country


def test_active_alerts_are_shown(real: SnapshotHome, client: FlaskClient) -> None:
    assert "No active alerts." in get_page(client).text
    fire_alerts(real)
    page = get_page(client).text
    assert "No active alerts." not in page
    with real.store.reading() as connection:
        firing = alert_list.listed(connection, "MLI", simulated=False)
    assert firing
    french = get_page(client, "/?lang=fr").text
    for alert in firing:
        assert alert["title"]["en"] in page
        assert " ".join(alert["title"]["fr"].split()) in french
    (quiet, *_) = sorted(set(SCORES) - {alert["location_code"] for alert in firing})
    assert not any(alert["location_code"] == "*" for alert in firing)
    assert "No active alerts." in get_page(client, f"/country/{quiet}?lang=en").text


def fire_alerts(home: SnapshotHome) -> None:
    with home.store.writing() as connection:
        document = connection.execute(sa.select(snapshots.c.document)).scalar_one()
        lifecycle.evaluate(
            connection,
            rules=rule_file.load(home.home, DEFAULT_BANDS),
            document=document,
            run_id=1,
            snapshot_id=1,
            now=NOW,
            causes=["new_month"],
        )


@pytest.mark.parametrize("lang", LOCALES)
@pytest.mark.parametrize("iso3", SCORES)
def test_each_country_has_a_page(real: SnapshotHome, client: FlaskClient, iso3: str, lang: str) -> None:
    page = get_page(client, f"/country/{iso3}?lang={lang}")
    assert language(lang).country(iso3) in page.text
    months = [row for row in page.rows if re.search(r"\b2023\b", row) and "JSON" not in row]
    assert len(months) == (0 if SCORES[iso3] is None else 12)


@pytest.mark.parametrize(
    ("lang", "title"), [("en", "Country not in this region"), ("fr", "Ce pays ne fait pas partie de la région")]
)
def test_a_country_outside_the_region_has_a_problem_page(
    real: SnapshotHome, client: FlaskClient, lang: str, title: str
) -> None:
    assert title in get_page(client, f"/country/FRA?lang={lang}", 404).text


def test_an_empty_home_has_a_page(home: SnapshotHome, client: FlaskClient) -> None:
    assert "No data yet" in get_page(client, status=503).text


@pytest.mark.parametrize("path", ["/", "/country/MLI"])
def test_a_page_is_light_and_loads_nothing_from_other_hosts(real: SnapshotHome, client: FlaskClient, path: str) -> None:
    fire_alerts(real)
    page = Page(client.get(f"{path}?lang=fr").text)
    assert not page.attributes_of("script")
    assert not page.attributes_of("style")
    assert not [name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")]
    linked = [link["href"] or "" for link in page.attributes_of("link") if link["rel"] != "alternate"]
    assert len(linked) == 2
    assert all(href.startswith("/static/") for href in linked)
    assert not re.search(r"(https?:)?//", " ".join(a.get("href") or a.get("src") or "" for _, a in page.tags))
    files = [client.get(href) for href in linked]
    assert all(file.status_code == 200 and "max-age=31536000" in file.headers["Cache-Control"] for file in files)
    compressed = [client.get(href, headers={"Accept-Encoding": "gzip"}) for href in (f"{path}?lang=fr", *linked)]
    assert sum(len(response.data) for response in compressed) < 20_000


@pytest.mark.parametrize("path", ["/", "/country/GIN"])
def test_charts_have_a_text_for_screen_readers(real: SnapshotHome, client: FlaskClient, path: str) -> None:
    page = get_page(client, f"{path}?lang=en")
    drawings = [svg for svg in page.attributes_of("svg") if svg.get("role") == "img"]
    assert len(drawings) == (8 if path == "/" else 1)
    texts = [svg["aria-label"] or "" for svg in drawings]
    guinea = texts[5] if path == "/" else texts[0]
    assert "6 months unknown." in guinea
    assert "Forecast for January 2023: median 1, 90% interval 0 to 3." in guinea
    assert all(
        svg.get("aria-hidden") or svg.get("role") == "img" for svg in page.attributes_of("svg") if svg.get("class")
    )


def test_text_from_outside_cannot_become_markup(home: SnapshotHome, client: FlaskClient) -> None:
    home.add_ingests("real")
    document = home.issue()
    document["source"] = document["countries"][0]["sources"][0]["source"] = "<script>alert(1)</script>"
    home.replace(document)
    for path in ("/", "/country/MLI"):
        html = client.get(path).text
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_bands_of_the_operator_keep_their_names_and_get_a_shade(home: SnapshotHome, client: FlaskClient) -> None:
    home.add_ingests("real")
    document = home.issue()
    document["bands"] = {"calm": 0.0, "watch": 40.0, "act": 60.0}
    for country in document["countries"]:
        country["band"] = country["band"] and "act"
    home.replace(document)
    assert "81.4 act" in get_page(client).rows[2]
    assert [band_shade(band, document["bands"]) for band in document["bands"]] == ["shade-0", "shade-2", "shade-5"]
    assert [band_shade(band, BANDS) for band in BANDS] == [f"shade-{rank}" for rank in range(6)]
    assert band_shade(None, BANDS) == "shade-none"


@pytest.fixture
def address(real: SnapshotHome) -> Iterator[str]:
    fire_alerts(real)
    server = make_server("127.0.0.1", 0, app_at(real), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@pytest.mark.parametrize(
    ("path", "lang", "width", "scheme", "background"),
    [
        ("/", "en", 1280, 1, "fbf9f4"),
        ("/", "fr", 390, 0, "14171a"),
        ("/country/MLI", "fr", 1280, 1, "fbf9f4"),
        ("/country/MLI", "en", 360, 0, "14171a"),
    ],
    ids=["light", "dark", "country-light", "country-dark"],
)
def test_chromium_renders_the_page(
    chromium: str, address: str, tmp_path: Path, path: str, lang: str, width: int, scheme: int, background: str
) -> None:
    picture = tmp_path / "page.png"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--disable-dev-shm-usage", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={width},1400"]
    chromium_run = subprocess.run(
        [*command, f"--screenshot={picture}", f"{address}{path}?lang={lang}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    image = picture.read_bytes()
    assert struct.unpack(">II", image[16:24]) == (width, 1400)
    assert first_pixel(image) == background, "the style sheet is not applied"
    assert len(image) > 30_000, "the picture is nearly empty"
    assert "Content Security Policy" not in chromium_run.stderr


def first_pixel(png: bytes) -> str:
    """Return the colour of the top left pixel. All PNG filters leave it as it is."""
    position, compressed = 8, b""
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        if png[position + 4 : position + 8] == b"IDAT":
            compressed += png[position + 8 : position + 8 + length]
        position += length + 12
    return zlib.decompress(compressed)[1:4].hex()


@pytest.mark.parametrize(("pull", "way_on"), [((), "vigie up --pull ucdp"), (("ucdp",), "Vigie fetches newer data.")])
def test_a_page_of_the_shipped_history_says_how_newer_data_come(
    home: SnapshotHome, monkeypatch: pytest.MonkeyPatch, pull: tuple[str, ...], way_on: str
) -> None:
    monkeypatch.setenv("VIGIE_PULL", json.dumps(pull))
    home.add_ingests("real")
    home.replace({**home.issue(), "shipped_only": True})
    page = get_page(create_app(home.home, clock=lambda: NOW).test_client()).text
    assert "The history that ships with Vigie, up to 31 December 2022." in page
    assert way_on in page
