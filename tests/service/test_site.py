"""Where the service stands: under a prefix, under which host names, and in which forms an address is understood."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from gated import problem_kind
from html_page import BROWSER, Page
from inprocess import FrontClient, record_requests
from servers import httpx2, web
from snapshots_support import SettableClock, SnapshotHome, full_home

from service.cli.app import create_app
from service.http.site import Site
from service.settings import Settings

PREFIX = "/vigie"
ADDRESS = re.compile(rb'"(/[^"\s]*)"')


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    return full_home(tmp_path_factory.mktemp("site") / "home")


def make_client(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> FrontClient:
    for name, value in settings.items():
        monkeypatch.setenv(f"VIGIE_{name.upper()}", value if isinstance(value, str) else json.dumps(value))
    return FrontClient(create_app(home.home, clock=SettableClock()))


def links(page: bytes) -> list[str]:
    """All addresses that a page links to, loads, or sends a form to."""
    attributes = [attributes for _, attributes in Page(page.decode()).tags]
    return [value for each in attributes for name in ("href", "src", "action") if (value := each.get(name))]


def crawl(client: FrontClient, start: str) -> set[str]:
    """All addresses that links and JSON lead to from a page. Each of them answers."""
    seen, left = set(), [start]
    while left:
        address = left.pop()
        if address in seen or "before=" in address or "cursor=" in address:
            continue
        seen.add(address)
        response = client.get(address)
        assert response.status_code == 200, address
        kind = response.headers["Content-Type"]
        found: list[str] = []
        if kind.startswith("text/html"):
            found = [each for each in links(response.data) if each.startswith("/")]
        elif kind.startswith("application/json") and "/openapi" not in address and "/snapshots/" not in address:
            found = [each.decode() for each in ADDRESS.findall(response.data)]
        if link := response.headers.get("Link"):
            found.append(link[1:].partition(">")[0])
        left += [found_here.partition("#")[0] for found_here in found if found_here != "/"]
    return seen


@pytest.mark.parametrize("removed", [True, False], ids=["proxy removes the prefix", "proxy keeps the prefix"])
def test_all_addresses_work_under_a_prefix(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch, removed: bool) -> None:
    client = make_client(full, monkeypatch, root_path=PREFIX)

    class Behind(FrontClient):
        def open(self, target: str, *arguments: Any, **options: Any) -> Any:
            assert target.startswith(f"{PREFIX}/"), f"{target} leads outside the prefix"
            return client.open(target.removeprefix(PREFIX) if removed else target, *arguments, **options)

    behind, addresses = Behind.__new__(Behind), set[str]()
    for start in ("/", "/v1/forecasts/MLI", "/feeds/scores.atom"):
        addresses |= crawl(behind, PREFIX + start)
    for expected in ("/fr/country/MLI", "/v1/scores.csv", "/v1/forecasts/MLI/draws.csv", "/feeds/scores.atom", "/docs"):
        assert any(expected in address for address in addresses), expected
    assert len(addresses) > 40


def test_a_task_is_at_an_address_under_the_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    accepted = make_client(home, monkeypatch, root_path=PREFIX).get("/v1/scores?as_of=2023-01-05")
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"{PREFIX}/v1/tasks/{accepted.json['data']['id']}"


def test_the_description_and_link_headers_name_the_prefix(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch, root_path=PREFIX)
    assert client.get("/openapi.json").json["servers"] == [{"url": PREFIX}]
    assert client.get("/v1/snapshots?limit=1").headers["Link"].startswith(f"<{PREFIX}/v1/snapshots?")


def test_a_prefix_in_a_header_counts_only_from_a_trusted_proxy(
    full: SnapshotHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(full, monkeypatch, trusted_proxies=["10.0.0.0/8"], public_read="true")
    for value in ("/vigie", "/other/place/"):
        headers = {"X-Forwarded-Prefix": value}
        for _ in range(2):  # also from the cache
            assert f'href="{value.rstrip("/")}/fr/' in client.get("/", headers=headers, remote="10.0.0.9").text
            assert 'href="/fr/' in client.get("/", headers=headers, remote="203.0.113.9").text
            assert 'href="/fr/' in client.get("/", remote="10.0.0.9").text
    for value in ('"><script>', "//a", "/a\nb", "https://evil.example", "/a b", "/../x", "/" + "a" * 300):
        page = client.get("/", headers={"X-Forwarded-Prefix": value}, remote="10.0.0.9")
        assert 'href="/fr/' in page.text
        assert value not in page.text


def test_links_that_leave_the_site_are_absolute(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch, base_url="https://example.org/vigie/")
    feed = client.get("/feeds/scores.atom").text
    assert 'href="https://example.org/vigie/feeds/scores.atom"' in feed
    assert re.findall(r'href="(?!https://example\.org/vigie/)', feed) == []
    page = client.get("/fr/country/MLI").text
    assert '<link rel="canonical" href="https://example.org/vigie/fr/country/MLI">' in page
    assert 'hreflang="en" href="https://example.org/vigie/en/country/MLI">' in page
    assert 'href="/vigie/v1/scores"' in page, "the path of base_url is the prefix"
    assert client.get("/openapi.json").json["servers"] == [{"url": "https://example.org/vigie"}]


# -- host names


@pytest.mark.parametrize(
    ("settings", "listens_on", "accepted", "refused"),
    [
        (
            {},
            "127.0.0.1",
            ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "a.localhost", "10.1.2.3", "localhost."],
            ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "x", ""],
        ),
        (
            {"base_url": "https://vigie.example.org/here", "allowed_hosts": ["metrics", "*.internal"]},
            "127.0.0.1",
            ["vigie.example.org", "localhost:8000", "metrics:9090", "a.b.internal", "Vigie.Example.Org:443"],
            ["example.org", "internal", "evil.example", "evilinternal"],
        ),
        (
            {"base_url": "https://vigie.example.org"},
            "0.0.0.0",
            ["vigie.example.org", "192.0.2.7:8000"],
            ["evil.example"],
        ),
        ({}, "0.0.0.0", ["evil.example", "192.0.2.7", "anything"], []),
        ({}, None, ["anything"], []),
        ({}, "vigie.lan", ["vigie.lan:80", "anything"], []),
        ({"allowed_hosts": ["*"]}, "127.0.0.1", ["anything"], []),
    ],
)
def test_names_that_the_service_answers_to(
    settings: dict[str, Any], listens_on: str | None, accepted: list[str], refused: list[str]
) -> None:
    from service.http.message import Request

    site = Site(Settings(**settings), listens_on)
    for _ in range(2):
        assert [h for h in accepted if not site.answers_to_host(Request("GET", "/", "", {"host": h}, ""))] == []
        assert [h for h in refused if site.answers_to_host(Request("GET", "/", "", {"host": h}, ""))] == []
    assert site.answers_to_host(Request("GET", "/", "", {}, "")), "HTTP/1.0 has no Host"


def test_another_host_name_is_refused_and_never_repeated(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch)
    client.get("/v1/scores")
    for path in ("/v1/scores", "/", "/fr", "/v1/stream", "/metrics", "/readyz", "/nothing", "/docs"):
        refused = client.get(path, headers={"Host": "evil.example"})
        assert refused.status_code == 421, path
        assert problem_kind(refused) == "unknown-host"
        assert b"evil" not in refused.data + str(refused.headers).encode()
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 200, "a probe may use any name"


def test_no_host_of_a_client_is_in_a_response(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch, allowed_hosts=["*"])
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    paths = ("/", "/fr", "/fr/", "/en/country/MLI/", "/v1/scores/", "/v1/snapshots?limit=1", "/feeds/scores.atom")
    for path in (
        *paths,
        "/openapi.json",
        "/nothing",
        "//a",
        "/static",
        "/docs/",
        "/v1/scores?as_of=2022-01-15",
    ):
        for accept in ("*/*", BROWSER["Accept"]):
            response = client.get(path, headers={**headers, "Accept": accept})
            assert b"evil" not in response.data + str(response.headers).encode(), path
            assert response.status_code not in range(300, 400), path


# -- forms of an address


@pytest.mark.parametrize(
    ("variant", "address"),
    [
        ("/v1/scores/", "/v1/scores"),
        ("//v1/scores", "/v1/scores"),
        ("/v1/scores/mli", "/v1/scores/MLI"),
        ("/v1/scores/Mli/history.csv", "/v1/scores/MLI/history.csv"),
        ("/v1/forecasts/mli/draws.csv", "/v1/forecasts/MLI/draws.csv"),
        ("/country/mli", "/country/MLI"),
        ("/fr/country/mli/", "/fr/country/MLI"),
        ("/fr", "/fr/"),
        ("/fr/state_based", "/fr/state_based/"),
        ("/fr/state_based/country/mli/", "/fr/state_based/country/MLI"),
        ("/docs/", "/docs"),
        ("/v1/scores?utm_source=a&utm_medium=b", "/v1/scores"),
        ("/v1/scores?_=17&fields=band&fbclid=x", "/v1/scores?fields=band"),
        ("/v1/scores?fields=band&ts=17&gclid=x", "/v1/scores?fields=band"),
        ("/?utm_campaign=a", "/"),
        ("/v1/events?iso3=mli&limit=1", "/v1/events?iso3=MLI&limit=1"),
    ],
)
def test_forms_of_an_address_have_the_same_answer(
    full: SnapshotHome, monkeypatch: pytest.MonkeyPatch, variant: str, address: str
) -> None:
    client = make_client(full, monkeypatch)
    expected, found = client.get(address), client.get(variant)
    assert (found.status_code, found.headers.get("Location")) == (200, None)
    if "iso3" in address:  # `next` repeats the query
        assert found.json["data"] == expected.json["data"]
    else:
        assert found.data == expected.data


def test_forms_of_an_address_share_one_cached_response(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch)
    requests = record_requests(client.app)
    for number in range(20):
        client.get(f"/v1/scores?utm_source={number}&_={number}")
    client.get("/v1/scores/")
    client.get("/v1/scores")
    assert len(requests) == 1


def test_other_unknown_parameters_are_refused(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch)
    for query in ("utm=1", "t=1", "xfbclid=1", "fields=band&__=1"):
        assert problem_kind(client.get(f"/v1/scores?{query}")) == "bad-query", query


def test_addresses_that_do_not_exist_stay_unknown(full: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(full, monkeypatch)
    for path in ("/v1//scores", "/v1/scores/MLIX", "/v1/scores/fra", "/de/", "/vigie/"):
        assert client.get(path).status_code == 404, path


@pytest.mark.parametrize("tag", ['{}-gzip"', '{}-br"', 'W/{}-gzip"', '"other", W/{}-br"', '{}-zstd"'])
def test_a_tag_that_a_proxy_has_changed_still_matches(
    full: SnapshotHome, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    client = make_client(full, monkeypatch)
    for path in ("/v1/scores", "/v1/jobs", "/"):
        own = client.get(path).headers["ETag"].removeprefix("W/")
        sent = tag.format(own.removesuffix('"'))
        assert client.get(path, headers={"If-None-Match": sent}).status_code == 304, path
        assert client.get(path, headers={"If-None-Match": sent.replace("-", "-x")}).status_code == 200, path


@pytest.fixture(scope="module")
def served(full: SnapshotHome) -> Iterator[str]:
    with web(full) as url:
        yield url


def test_a_served_page_cannot_be_read_under_a_foreign_name(served: str) -> None:
    for path in ("/v1/scores", "/", "/fr"):
        response = httpx2.get(served + path, headers={"Host": "evil.example"})
        assert response.status_code == 421
        assert "evil" not in response.text + str(response.headers)
    assert httpx2.get(urljoin(served, "/fr")).status_code == 200
