"""Errors: pages for browsers in their language, problem documents for programs; and what addresses forgive."""

import re
from pathlib import Path

import pytest
from gated import Gated, problem_kind
from html_page import BROWSER, Page
from inprocess import FrontClient
from snapshots_support import SettableClock, SnapshotHome, full_home
from werkzeug.test import TestResponse

from riskmodel.home import Home
from service.cli.app import create_app
from service.http.gate import SECURITY_HEADERS

FAR = "203.0.113.9"
PROGRAMS = ("*/*", "application/json", "application/json, text/html;q=0.5", "application/problem+json, */*", "")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    return full_home(tmp_path_factory.mktemp("errors") / "home")


@pytest.fixture
def gated(home: Home) -> Gated:
    return Gated(home)


@pytest.fixture
def client(full: SnapshotHome) -> FrontClient:
    return FrontClient(create_app(full.home, clock=SettableClock()))


def check_page(response: TestResponse, status: int, language: str, title: str) -> Page:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert int(response.headers["Content-Length"]) == len(response.data)
    assert all(response.headers[name] == value for name, value in SECURITY_HEADERS.items())
    page = Page(response.text)
    assert page.attributes_of("html") == [{"lang": language}]
    assert title in page.text
    assert response.headers["X-Request-Id"] in page.text
    assert {"href": f"/{language}/"} in page.attributes_of("a"), "the way out"
    assert "script" not in [name for name, _ in page.tags]
    return page


@pytest.mark.parametrize(
    ("path", "status", "english", "french"),
    [
        ("/nowhere", 404, "Page not found", "Page introuvable"),
        ("/country/FRA", 404, "Country not in this region", "Ce pays"),
        ("/?as_of=tomorrow", 400, "Invalid query", "Paramètres non valides"),
        ("/v1/scores?fields=x", 400, "Invalid query", "Paramètres non valides"),
        ("/v1/scores.csv/x", 404, "Page not found", "Page introuvable"),
        ("/v1/snapshots/99", 404, "No such snapshot", "bulletin"),
    ],
)
def test_a_browser_gets_a_page_and_a_program_a_document(
    client: FrontClient, path: str, status: int, english: str, french: str
) -> None:
    check_page(client.get(path, headers=BROWSER), status, "en", english)
    check_page(client.get(path, headers={**BROWSER, "Accept-Language": "fr-FR,fr;q=0.9"}), status, "fr", french)
    for accept in PROGRAMS:
        document = client.get(path, headers={"Accept": accept})
        assert document.status_code == status
        assert problem_kind(document)
    assert client.get(path).headers["Content-Type"].startswith("application/problem+json")


def test_the_path_and_the_query_name_the_language(client: FrontClient) -> None:
    for path in ("/fr/nowhere", "/nowhere?lang=fr"):
        check_page(client.get(path, headers={**BROWSER, "Accept-Language": "en"}), 404, "fr", "Page introuvable")


@pytest.mark.parametrize("accept_language", ["fr", "en", "xx", "fr;q=x,,;", "a" * 5000])
def test_refusals_of_the_gate_are_pages_too(gated: Gated, accept_language: str) -> None:
    language = "fr" if accept_language == "fr" else "en"
    headers = {**BROWSER, "Accept-Language": accept_language}
    client = gated.client(listens_on="0.0.0.0")
    titles = {
        "fr": ("Une clé", "Clé refusée", "Action impossible"),
        "en": ("API key is needed", "Key not", "Not possible"),
    }
    needed, refused, impossible = titles[language]
    response = client.get("/", headers=headers, remote=FAR)
    page = check_page(response, 401, language, needed)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert any(each.get("rel") == "stylesheet" for each in page.attributes_of("link"))
    check_page(
        client.get("/", headers={**headers, "Authorization": "Bearer vigie_x_y"}, remote=FAR), 401, language, refused
    )
    check_page(client.open("/", "DELETE", headers=headers, remote=FAR), 405, language, impossible)


def test_too_many_requests_and_a_full_server_are_pages(gated: Gated) -> None:
    client = gated.client(public_read=True, limits={"address_per_minute": 1, "in_flight_per_address": 1})
    client.get("/", remote=FAR)
    response = client.get("/", headers={**BROWSER, "Accept-Language": "fr"}, remote=FAR)
    check_page(response, 429, "fr", "Trop de requêtes")
    assert int(response.headers["Retry-After"]) > 0
    assert problem_kind(client.get("/", remote=FAR)) == "too-many-requests"


def test_a_fault_is_a_page_without_its_cause(gated: Gated) -> None:
    client = gated.client(app=create_app(gated.home))
    client.app.view_functions["pages.region"] = lambda: 1 / 0
    response = client.get("/", headers=BROWSER)
    page = check_page(response, 500, "en", "Something went wrong")
    assert "division" not in page.text


def test_an_empty_home_is_a_page_for_browsers(tmp_path: Path) -> None:
    client = FrontClient(create_app(Home(tmp_path / "home")))
    check_page(client.get("/fr/", headers=BROWSER), 503, "fr", "Pas encore de données")
    assert problem_kind(client.get("/fr/")) == "no-data"


def test_text_of_a_client_cannot_become_markup(client: FrontClient) -> None:
    for path in ("/<script>x", '/"onload="x', "/fr/<b>x", "/?as_of=<script>x", "/v1/scores?<i>=1"):
        response = client.get(path, headers={**BROWSER, "X-Request-Id": "<i>x"})
        assert response.status_code in (400, 404)
        assert not re.search(r"<script|<b>x|<i>|onload=\"x", response.text), path


def test_rendered_pages_are_shared_by_requests(client: FrontClient) -> None:
    """A flood of refusals renders one template, whatever the path and the id are."""
    from service.web import error_page

    error_page.rendered_page.cache_clear()  # type: ignore[attr-defined]
    for number in range(30):
        client.get(f"/nowhere/{number}", headers=BROWSER)
    assert error_page.rendered_page.cache_info().currsize == 1  # type: ignore[attr-defined]


# -- what addresses forgive


MALFORMED = ("foo", "text", ";;;", ",,,", "/", "a/b/c,x", "text/html;q=abc", "é", "q=1")


def test_an_address_with_one_form_answers_whatever_is_accepted(client: FrontClient) -> None:
    for path in ("/v1/scores.csv", "/v1/model", "/v1/changes", "/feeds/scores.atom", "/metrics", "/openapi.json", "/"):
        for accept in ("image/png", "text/html", "application/xml", *MALFORMED):
            assert client.get(path, headers={"Accept": accept}).status_code == 200, (path, accept)


def test_malformed_parts_of_accept_are_ignored(client: FrontClient) -> None:
    for accept in MALFORMED:
        assert client.get("/v1/scores", headers={"Accept": accept}).status_code == 200, accept
        csv = client.get("/v1/scores", headers={"Accept": f"{accept}, text/csv"})
        assert csv.headers["Content-Type"].startswith("text/csv"), accept
    assert client.get("/v1/scores", headers={"Accept": "image/png"}).status_code == 406


def test_the_icon_and_the_rules_for_robots_need_no_key(gated: Gated, client: FrontClient) -> None:
    icon = client.get("/favicon.ico")
    assert icon.data[:4] == b"\0\0\1\0"
    assert len(icon.data) < 6_000
    rules = client.get("/robots.txt")
    assert rules.text.startswith("User-agent: *\nDisallow: /v1/\n")
    closed = gated.client(listens_on="0.0.0.0", app=create_app(gated.home))
    for path in ("/favicon.ico", "/robots.txt", "/static/vigie.css", "/healthz"):
        assert closed.get(path, remote=FAR).status_code == 200, path
    for path in ("/static", "/v1/static/x", "/fr/static/vigie.css", "/favicon.icon"):
        assert closed.get(path, remote=FAR).status_code == 401, path
