"""The gate before the front: keys, limits, sizes, and the headers of responses."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from gated import FAR, Gated, bearer, begin_post, problem_kind
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from inprocess import FrontClient
from werkzeug.test import TestResponse

from riskmodel.home import Home
from service.http import front, keys
from service.http.gate import SECURITY_HEADERS
from service.http.problems import KINDS, document_of


@pytest.fixture
def gated(home: Home) -> Gated:
    return Gated(home)


def basic(key: str, user: str = "") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"}


@pytest.mark.parametrize(
    ("listens_on", "public_read", "public"),
    [
        ("127.0.0.1", None, True),
        ("::1", None, True),
        ("localhost", None, True),
        ("127.0.0.1", False, False),
        ("0.0.0.0", None, False),
        ("::", None, False),
        ("192.0.2.7", None, False),
        ("vigie.example.org", None, False),
        (None, None, False),
        ("0.0.0.0", True, True),
        (None, True, True),
    ],
)
def test_reading_needs_a_key_unless_bound_to_loopback_or_public(
    gated: Gated, listens_on: str | None, public_read: bool | None, public: bool
) -> None:
    client = gated.client(listens_on=listens_on, public_read=public_read)
    response = client.get("/v1/scores")
    assert response.status_code == (200 if public else 401)
    if not public:
        assert problem_kind(response) == "key-needed"
        assert "Bearer" in response.headers["WWW-Authenticate"]
    for key in (gated.reader, gated.writer):
        for credentials in (bearer(key), basic(key), basic(key, "anyone")):
            assert client.get("/v1/scores", headers=credentials).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("options", [{}, {"public_read": True}, {"listens_on": "0.0.0.0"}])
def test_writing_always_needs_a_key_with_scope_write(gated: Gated, options: dict[str, Any]) -> None:
    client = gated.client(**options)
    for path in ("/v1/recompute", "/healthz", "/", "/nowhere"):
        none = client.post(path)
        assert (none.status_code, problem_kind(none)) == (401, "key-needed")
        assert none.headers["WWW-Authenticate"] == 'Bearer realm="vigie"'
        reads = client.post(path, headers=bearer(gated.reader))
        assert (reads.status_code, problem_kind(reads)) == (403, "key-cannot-write")
        written = client.post(path, headers=bearer(gated.writer), data=b"12345")
        assert written.json == {"key": gated.writer.split("_")[1], "body": 5}


def test_a_page_of_another_site_cannot_make_a_browser_write(gated: Gated) -> None:
    """A browser adds the password of HTTP Basic to forms of other sites too, so Basic never writes."""
    response = gated.client().post("/v1/recompute", headers=basic(gated.writer))
    assert (response.status_code, problem_kind(response)) == (401, "key-needed")


def test_all_wrong_keys_get_the_same_response(gated: Gated) -> None:
    prefix, secret = gated.writer.split("_")[1:]
    keys.revoke(gated.store, gated.reader.split("_")[1], datetime.now(UTC))
    wrong = [
        gated.reader,
        gated.writer[:-1] + "!",
        f"vigie_00000000_{secret}",
        f"vigie_{prefix}_{'0' * 64}",
        "vigie_",
        "x",
    ]
    for method in ("get", "post"):
        client = gated.client(listens_on="0.0.0.0")
        responses = {
            (response.status, response.data, tuple(response.headers))
            for credentials in wrong
            for response in [
                getattr(client, method)(
                    "/v1/scores", headers={**bearer(credentials), "X-Request-Id": "mine"}, remote="::1"
                )
            ]
        }
        ((status, body, _),) = responses
        expected = json.loads(document_of(KINDS["key-refused"])) | {"request_id": "mine"}
        assert (status.split()[0], json.loads(body)) == ("401", expected)


def test_a_wrong_key_is_refused_even_where_none_is_needed(gated: Gated) -> None:
    client = gated.client()
    assert problem_kind(client.get("/", headers=bearer("vigie_00000000_0"))) == "key-refused"
    theirs = {"Authorization": "Basic " + base64.b64encode(b"user:password of a proxy").decode()}
    assert client.get("/", headers=theirs).status_code == 200, "credentials for a proxy are ignored"
    assert problem_kind(gated.client(public_read=False).get("/", headers=theirs)) == "key-refused"


def test_responses_to_a_key_are_private_to_caches(gated: Gated) -> None:
    closed = gated.client(listens_on="0.0.0.0").get("/v1/scores", headers=bearer(gated.reader))
    assert (closed.headers["Cache-Control"], closed.headers["Vary"]) == ("private, max-age=30", "Authorization")
    assert gated.client().get("/v1/scores").headers["Cache-Control"] == "public, max-age=30"


def test_no_key_is_accepted_while_keys_cannot_be_read(gated: Gated) -> None:
    client = gated.client(public_read=False)
    with gated.store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE keys RENAME TO lost"))
    response = client.get("/v1/scores", headers=bearer(gated.reader))
    assert (response.status_code, problem_kind(response)) == (503, "unreadable-store")


def test_addresses_and_keys_have_separate_limits(gated: Gated) -> None:
    limits = {"address_per_minute": 3, "key_per_minute": 5, "write_per_minute": 2}
    client = gated.client(limits=limits, public_read=True)

    def statuses(times: int, ask: Callable[..., TestResponse], **options: Any) -> list[int]:
        return [ask("/v1/scores", remote=FAR, **options).status_code for _ in range(times)]

    assert statuses(5, client.get) == [200] * 3 + [429] * 2
    assert statuses(6, client.get, headers=bearer(gated.reader)) == [200] * 5 + [429]
    assert statuses(3, client.post, headers=bearer(gated.writer)) == [200] * 2 + [429]
    assert statuses(1, client.get, headers=bearer(gated.writer)) == [200], "reading is counted apart from writing"
    assert client.get("/", remote="203.0.113.10").status_code == 200
    gated.clock.now += 60
    assert statuses(1, client.get) == [200]


def test_rate_limit_headers_give_what_is_left_and_the_reset(gated: Gated) -> None:
    client = gated.client(limits={"address_per_minute": 2}, public_read=True)
    gated.clock.now = 60 * 16_667 + 12
    first = client.get("/", remote=FAR)
    assert first.headers["RateLimit-Policy"] == '"address";q=2;w=60'
    assert first.headers["RateLimit"] == '"address";r=1;t=48'
    client.get("/", remote=FAR)
    beyond = client.get("/", remote=FAR)
    assert (beyond.status_code, problem_kind(beyond)) == (429, "too-many-requests")
    assert (beyond.headers["Retry-After"], beyond.headers["RateLimit"]) == ("48", '"address";r=0;t=48')


def test_wrong_keys_count_against_their_address(gated: Gated) -> None:
    client = gated.client(limits={"address_per_minute": 3}, listens_on="0.0.0.0")
    statuses_of_guesses = [
        client.get("/", headers=bearer(f"vigie_{i:08x}_{i:064x}"), remote=FAR).status_code for i in range(5)
    ]
    assert statuses_of_guesses == [401] * 3 + [429] * 2


def test_loopback_is_not_limited_unless_set_or_forwarded(gated: Gated) -> None:
    few = {"address_per_minute": 1}
    client = gated.client(limits=few)
    assert [client.get("/").status_code for _ in range(3)] == [200] * 3
    assert "RateLimit" not in client.get("/").headers
    forwarded = {"X-Forwarded-For": "203.0.113.5"}
    assert [client.get("/", headers=forwarded).status_code for _ in range(2)] == [200, 429]
    gated.clock.now += 60
    counted = gated.client(limits={**few, "loopback": True})
    assert [counted.get("/").status_code for _ in range(2)] == [200, 429]


def test_forwarded_addresses_are_used_only_from_trusted_proxies(gated: Gated) -> None:
    limits = {"address_per_minute": 1}
    client = gated.client(limits=limits, public_read=True)
    invented = [
        client.get("/", headers={"X-Forwarded-For": f"198.51.100.{i}"}, remote=FAR).status_code for i in range(3)
    ]
    assert invented == [200, 429, 429]
    gated.clock.now += 60
    client = gated.client(limits=limits, public_read=True, trusted_proxies=["10.0.0.0/8", "127.0.0.1"])

    def through(forwarded: str, remote: str = "10.0.0.1") -> int:
        response = client.get("/", headers={"X-Forwarded-For": forwarded}, remote=remote)
        return response.status_code

    assert [through("198.51.100.1"), through("198.51.100.2")] == [200, 200], (
        "each client behind the proxy has its own limit"
    )
    assert through("192.0.2.99, 198.51.100.1") == 429, "the part that the client wrote is ignored"
    assert through("198.51.100.2, 10.0.0.7") == 429, "a second trusted proxy is passed over"
    assert through("nonsense, 10.0.0.8") == 200
    assert through("more nonsense, 10.0.0.8") == 429, "the nearest address that can be parsed counts"
    assert through("198.51.100.3", remote="203.0.113.77") == 200
    assert through("198.51.100.4", remote="203.0.113.77") == 429, "an unknown address is not a trusted proxy"
    assert through("127.0.0.1", remote="10.0.0.2") == 200
    assert through("127.0.0.1", remote="10.0.0.2") == 429, "a header cannot claim to be loopback"


def test_too_large_requests_are_refused_before_they_are_read(gated: Gated) -> None:
    client = gated.client(limits={"body_bytes": 10, "url_bytes": 64})
    assert problem_kind(client.get("/" + "a" * 64)) == "long-address"
    assert problem_kind(client.get("/?q=" + "a" * 64)) == "long-address"
    assert client.get("/?q=" + "a" * 40).status_code == 200
    headers = bearer(gated.writer)
    assert client.post("/", data=b"x" * 10, headers=headers).json["body"] == 10
    assert problem_kind(client.post("/", data=b"x" * 11, headers=headers)) == "large-request"
    for length in ("11", "99999999999", "9" * 5_000):
        # Nothing of the body is ever sent: a server that waited for it would not answer.
        assert problem_kind(begin_post(client, gated.writer, Content_Length=length).response()) == "large-request"
        assert problem_kind(client.begin("/", headers={"Content-Length": length}).response()) == "large-request"
        unauthorised = begin_post(client, None, Content_Length=length).response()
        assert problem_kind(unauthorised) == "key-needed", "without a key, the size does not matter"
    chunked = begin_post(client, gated.writer, Transfer_Encoding="chunked")
    chunked.send(b"x" * 6, more=True)
    chunked.send(b"x" * 5, more=True)
    assert problem_kind(chunked.response()) == "large-request", "refused although it goes on"
    chunked = begin_post(client, gated.writer, Transfer_Encoding="chunked")
    chunked.send(b"x" * 4, more=True)
    chunked.send(b"x" * 5)
    assert chunked.response().json["body"] == 9
    short = begin_post(client, gated.writer, Content_Length="9")
    short.send(b"abc", more=True)
    short.disconnect()
    assert problem_kind(short.response()) == "unreadable-request"
    for length in ("nine", "1e1", "-1", "+1", " 1", "\u00b2", ""):
        odd = begin_post(client, gated.writer, Content_Length=length)
        assert problem_kind(odd.response()) == "unreadable-request"


def test_a_body_that_arrives_too_slowly_is_refused(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "BODY_SECONDS", 0.3)
    slow = begin_post(gated.client(), gated.writer, Content_Length="5")
    slow.send(b"x", more=True)
    response = slow.response(5)
    assert (problem_kind(response), response.headers["Connection"]) == ("unreadable-request", "close")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "G\0T", "FOO"])
def test_other_methods_are_refused(gated: Gated, method: str) -> None:
    response = gated.client().open("/v1/scores", method)
    assert (response.status_code, problem_kind(response)) == (405, "about:blank")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_null_byte_in_the_path_is_refused(gated: Gated) -> None:
    for path in ("/v1/scores/M\0LI", "/static/\0", "/\0"):
        response = gated.client().get("/", path=path)
        assert problem_kind(response) == "unreadable-request"


def test_every_response_has_the_security_headers(gated: Gated) -> None:
    client = gated.client()
    for response in (client.get("/"), client.post("/"), client.open("/", "PUT"), client.get("/" + "a" * 9999)):
        for name, value in SECURITY_HEADERS.items():
            assert response.headers.getlist(name) == [value]
        assert "Strict-Transport-Security" not in response.headers
    client = gated.client(hsts_seconds=31_536_000)
    for response in (client.get("/"), client.post("/")):
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_other_origins_can_read_only_if_configured(gated: Gated) -> None:
    origin = {"Origin": "https://news.example.org"}
    preflight = {
        **origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    default = gated.client()
    for response in (default.get("/", headers=origin), default.options("/", headers=preflight)):
        assert [name for name, _ in response.headers if name.startswith("Access-Control")] == []
    client = gated.client(cors_origins=["https://news.example.org"], public_read=False)
    for headers in ({**origin, **bearer(gated.reader)}, origin):  # a problem document can be read too
        response = client.get("/", headers=headers)
        assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    before = client.options("/v1/recompute", headers=preflight)
    assert (before.status_code, before.data) == (204, b"")
    assert "Authorization" in before.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in before.headers
    for other_origin in (
        "https://evil.example.org",
        "http://news.example.org",
        "null",
        "https://news.example.org.evil.org",
    ):
        other = client.get("/", headers={"Origin": other_origin})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert "Origin" in other.headers.getlist("Vary")
    assert gated.client(cors_origins=["*"]).get("/", headers=origin).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/healthz", "/v1/scores?" + "a" * 9_000])
def test_a_response_to_head_has_no_body(gated: Gated, path: str) -> None:
    """Also if it is a refusal. Its headers are those of the response to GET."""
    for options in ({}, {"public_read": False}, {"limits": {"address_per_minute": 1}, "public_read": True}):
        client = gated.client(**options)
        gated.clock.now += 60
        for remote in ("127.0.0.1", FAR, FAR):
            head, get = client.head(path, remote=remote), client.get(path, remote=remote)
            assert head.data == b""
            if head.status_code == get.status_code:
                assert head.headers["Content-Length"] == get.headers["Content-Length"] != "0"


@pytest.fixture
def remote(gated: Gated) -> FrontClient:
    """A client of a gate that uses every header it can."""
    options = {"trusted_proxies": ["203.0.113.0/24"], "cors_origins": ["https://a.example"], "public_read": True}
    return gated.client(limits={"address_per_minute": 0}, **options)


@effort(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]) | st.text(max_size=9),
    path=st.text(max_size=40),
    query=st.binary(max_size=40),
    headers=st.dictionaries(
        st.sampled_from(["authorization", "origin", "x-forwarded-for", "cookie", "transfer-encoding", "prefer"]),
        st.text(max_size=60)
        | st.sampled_from(
            ["Bearer ", "Basic !!", "Basic OjpQ", "Bearer vigie_x_y", ",,,", "::1, ::1", "Basic w7/Dvw=="]
        ),
    ),
    length=st.none() | st.text(max_size=5) | st.integers(-9, 99).map(str),
)
def test_malformed_requests_get_a_response_and_never_write(
    remote: FrontClient, method: str, path: str, query: bytes, headers: dict[str, str], length: str | None
) -> None:
    sent = headers | ({} if length is None else {"content-length": length})
    exchange = remote.begin("/", method, sent, path=f"/{path}", query_string=query, client=("203.0.113.1", 1))
    exchange.send(b"body")
    response = exchange.response()
    assert response.status_code in (200, 204, 400, 401, 405, 413, 414), response.data
    assert response.status_code != 200 or method in ("GET", "HEAD", "OPTIONS")
    assert {name for name, _ in response.headers} >= {name.lower() for name in SECURITY_HEADERS}
