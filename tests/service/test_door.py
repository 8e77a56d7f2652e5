"""The door before a worker, asked as a WSGI application: who is let in, how often, with how much, and what leaves."""

import base64
import json
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from werkzeug.test import Client, TestResponse

from riskmodel.home import Home
from service.http import keys
from service.http.gate import BODIES_AT_ONCE, SAFE, Door
from service.http.keys import Keyring
from service.http.problems import KINDS, text_of
from service.http.rate_limit import Counters
from service.settings import Settings
from service.store.database import Store

FAR = {"REMOTE_ADDR": "203.0.113.9"}


def echo(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Behind the door: says what it was given."""
    body = environ["wsgi.input"].read() if environ["REQUEST_METHOD"] == "POST" else b""
    start_response("200 OK", [("Cache-Control", "public, max-age=30"), ("Content-Type", "application/json")])
    return [json.dumps({"key": environ.get("vigie.key"), "body": len(body)}).encode()]


class Clock:
    now = 1_000_020.0

    def __call__(self) -> float:
        return self.now


class Neighbour(Client):
    """A client on this machine, unless it says otherwise."""

    def open(self, *args: Any, **how: Any) -> TestResponse:
        return super().open(*args, **{"environ_base": {"REMOTE_ADDR": "127.0.0.1"}, **how})


class House:
    """A home with a door."""

    def __init__(self, home: Home) -> None:
        self.store, self.counters, self.clock = Store.of(home), Counters(home.run), Clock()
        self.reader, self.writer = (
            keys.add(self.store, scope, f"a {scope}r", datetime.now(UTC)) for scope in ("read", "write")
        )

    def door(self, *, listens_on: str | None = "127.0.0.1", app: Any = echo, **chosen: Any) -> Client:
        settings = Settings(**chosen)
        keyring = Keyring(self.store)
        return Neighbour(Door(app, settings, keyring, self.counters, listens_on=listens_on, clock=self.clock))


@pytest.fixture
def house(home: Home) -> House:
    return House(home)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def basic(key: str, user: str = "") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"}


def kind(answer: TestResponse) -> str:
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert all(answer.headers[n] == v for n, v in SAFE.items())
    said = json.loads(answer.data)
    assert said["status"] == answer.status_code
    return str(said["type"]).removeprefix("urn:vigie:problem:")


@pytest.mark.parametrize(
    ("listens_on", "public_read", "open_"),
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
def test_reading_is_open_on_loopback_and_takes_a_key_elsewhere(
    house: House, listens_on: str | None, public_read: bool | None, open_: bool
) -> None:
    client = house.door(listens_on=listens_on, public_read=public_read)
    answer = client.get("/v1/scores")
    assert answer.status_code == (200 if open_ else 401)
    if not open_:
        assert kind(answer) == "key-needed"
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    for key in (house.reader, house.writer):
        for shown in (bearer(key), basic(key), basic(key, "anyone")):
            assert client.get("/v1/scores", headers=shown).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("chosen", [{}, {"public_read": True}, {"listens_on": "0.0.0.0"}])
def test_writing_takes_a_key_that_may_write_everywhere(house: House, chosen: dict[str, Any]) -> None:
    client = house.door(**chosen)
    for path in ("/v1/recompute", "/healthz", "/", "/nowhere"):
        none = client.post(path)
        assert (none.status_code, kind(none)) == (401, "key-needed")
        assert none.headers["WWW-Authenticate"] == 'Bearer realm="vigie"'
        reads = client.post(path, headers=bearer(house.reader))
        assert (reads.status_code, kind(reads)) == (403, "key-cannot-write")
        written = client.post(path, headers=bearer(house.writer), data=b"12345")
        assert written.json == {"key": house.writer.split("_")[1], "body": 5}


def test_a_page_of_another_site_cannot_make_a_browser_write(house: House) -> None:
    """A browser adds what was typed into its dialogue (HTTP Basic) to a form of anybody's; that never writes."""
    answer = house.door().post("/v1/recompute", headers=basic(house.writer))
    assert (answer.status_code, kind(answer)) == (401, "key-needed")


def test_wrong_keys_get_one_and_the_same_answer(house: House) -> None:
    prefix, secret = house.writer.split("_")[1:]
    keys.revoke(house.store, house.reader.split("_")[1], datetime.now(UTC))
    wrong = [
        house.reader,
        house.writer[:-1] + "!",
        f"vigie_00000000_{secret}",
        f"vigie_{prefix}_{'0' * 64}",
        "vigie_",
        "x",
    ]
    for method in ("get", "post"):
        client = house.door(listens_on="0.0.0.0")
        answers = {
            (answer.status, answer.data, tuple(answer.headers))
            for shown in wrong
            for answer in [
                getattr(client, method)("/v1/scores", headers=bearer(shown), environ_base={"REMOTE_ADDR": "::1"})
            ]
        }
        ((status, body, _),) = answers
        assert (status.split()[0], body) == ("401", text_of(KINDS["key-refused"]))


def test_who_shows_a_wrong_key_is_told_even_where_none_is_needed(house: House) -> None:
    client = house.door()
    assert kind(client.get("/", headers=bearer("vigie_00000000_0"))) == "key-refused"
    theirs = {"Authorization": "Basic " + base64.b64encode(b"user:password of a proxy").decode()}
    assert client.get("/", headers=theirs).status_code == 200, "what a proxy asks for is not ours"
    assert kind(house.door(public_read=False).get("/", headers=theirs)) == "key-refused"


def test_what_a_key_opened_is_kept_by_no_shared_cache(house: House) -> None:
    closed = house.door(listens_on="0.0.0.0").get("/v1/scores", headers=bearer(house.reader))
    assert (closed.headers["Cache-Control"], closed.headers["Vary"]) == ("private, max-age=30", "Authorization")
    assert house.door().get("/v1/scores").headers["Cache-Control"] == "public, max-age=30"


def test_a_store_that_does_not_answer_lets_nobody_in(house: House) -> None:
    client = house.door(public_read=False)
    with house.store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE keys RENAME TO lost"))
    answer = client.get("/v1/scores", headers=bearer(house.reader))
    assert (answer.status_code, kind(answer)) == (503, "unreadable-store")


def test_an_address_has_its_limit_and_a_key_has_its_own(house: House) -> None:
    limits = {"address_per_minute": 3, "key_per_minute": 5, "write_per_minute": 2}
    client = house.door(limits=limits, public_read=True)

    def statuses(times: int, ask: Callable[..., TestResponse], **how: Any) -> list[int]:
        return [ask("/v1/scores", environ_base=FAR, **how).status_code for _ in range(times)]

    assert statuses(5, client.get) == [200] * 3 + [429] * 2
    assert statuses(6, client.get, headers=bearer(house.reader)) == [200] * 5 + [429]
    assert statuses(3, client.post, headers=bearer(house.writer)) == [200] * 2 + [429]
    assert statuses(1, client.get, headers=bearer(house.writer)) == [200], "reading is counted apart from writing"
    assert client.get("/", environ_base={"REMOTE_ADDR": "203.0.113.10"}).status_code == 200
    house.clock.now += 60
    assert statuses(1, client.get) == [200]


def test_a_limit_says_what_is_left_and_when_it_begins_anew(house: House) -> None:
    client = house.door(limits={"address_per_minute": 2}, public_read=True)
    house.clock.now = 60 * 16_667 + 12
    first = client.get("/", environ_base=FAR)
    assert first.headers["RateLimit-Policy"] == '"address";q=2;w=60'
    assert first.headers["RateLimit"] == '"address";r=1;t=48'
    client.get("/", environ_base=FAR)
    beyond = client.get("/", environ_base=FAR)
    assert (beyond.status_code, kind(beyond)) == (429, "too-many-requests")
    assert (beyond.headers["Retry-After"], beyond.headers["RateLimit"]) == ("48", '"address";r=0;t=48')


def test_wrong_keys_count_against_the_address_they_come_from(house: House) -> None:
    client = house.door(limits={"address_per_minute": 3}, listens_on="0.0.0.0")
    guesses = [
        client.get("/", headers=bearer(f"vigie_{i:08x}_{i:064x}"), environ_base=FAR).status_code for i in range(5)
    ]
    assert guesses == [401] * 3 + [429] * 2


def test_this_machine_is_not_counted_unless_set_or_speaking_for_others(house: House) -> None:
    few = {"address_per_minute": 1}
    client = house.door(limits=few)
    assert [client.get("/").status_code for _ in range(3)] == [200] * 3
    assert "RateLimit" not in client.get("/").headers
    forwarded = {"X-Forwarded-For": "203.0.113.5"}
    assert [client.get("/", headers=forwarded).status_code for _ in range(2)] == [200, 429]
    house.clock.now += 60
    counted = house.door(limits={**few, "loopback": True})
    assert [counted.get("/").status_code for _ in range(2)] == [200, 429]


def test_nobody_is_believed_about_the_address_unless_trusted(house: House) -> None:
    limits = {"address_per_minute": 1}
    client = house.door(limits=limits, public_read=True)
    invented = [
        client.get("/", headers={"X-Forwarded-For": f"198.51.100.{i}"}, environ_base=FAR).status_code for i in range(3)
    ]
    assert invented == [200, 429, 429]
    house.clock.now += 60
    client = house.door(limits=limits, public_read=True, trusted_proxies=["10.0.0.0/8", "127.0.0.1"])

    def through(forwarded: str, remote: str = "10.0.0.1") -> int:
        answer = client.get("/", headers={"X-Forwarded-For": forwarded}, environ_base={"REMOTE_ADDR": remote})
        return answer.status_code

    assert [through("198.51.100.1"), through("198.51.100.2")] == [200, 200], "each behind the proxy has a limit"
    assert through("192.0.2.99, 198.51.100.1") == 429, "what the client wrote before the proxy did counts for nothing"
    assert through("198.51.100.2, 10.0.0.7") == 429, "a second proxy of ours is passed over"
    assert through("nonsense, 10.0.0.8") == 200
    assert through("more nonsense, 10.0.0.8") == 429, "the nearest address that can be read is the one that counts"
    assert through("198.51.100.3", remote="203.0.113.77") == 200
    assert through("198.51.100.4", remote="203.0.113.77") == 429, "a stranger is no proxy of ours"
    assert through("127.0.0.1", remote="10.0.0.2") == 200
    assert through("127.0.0.1", remote="10.0.0.2") == 429, "this machine's freedom is not to be had by a header"


def test_too_much_is_refused_before_it_is_read(house: House) -> None:
    client = house.door(limits={"body_bytes": 10, "url_bytes": 64})
    assert kind(client.get("/" + "a" * 64)) == "long-address"
    assert kind(client.get("/?q=" + "a" * 64)) == "long-address"
    assert client.get("/?q=" + "a" * 40).status_code == 200
    headers = bearer(house.writer)
    assert client.post("/", data=b"x" * 10, headers=headers).json["body"] == 10
    assert kind(client.post("/", data=b"x" * 11, headers=headers)) == "large-request"
    unread = Unreadable()
    large = {"wsgi.input": unread, "CONTENT_LENGTH": "99999999999"}
    assert kind(client.post("/", headers=headers, environ_overrides=large)) == "large-request"
    assert kind(client.get("/", environ_overrides=large)) == "large-request"
    assert kind(client.post("/", environ_overrides=large)) == "key-needed", "a stranger's body is not even measured"
    chunked = {"wsgi.input": BytesIO(b"x" * 11), "HTTP_TRANSFER_ENCODING": "chunked"}
    assert kind(client.post("/", headers=headers, environ_overrides=chunked)) == "large-request"
    chunked["wsgi.input"] = BytesIO(b"x" * 9)
    assert client.post("/", headers=headers, environ_overrides=chunked).json["body"] == 9
    short = {"wsgi.input": BytesIO(b"abc"), "CONTENT_LENGTH": "9"}
    assert kind(client.post("/", headers=headers, environ_overrides=short)) == "unreadable-request"
    for length in ("nine", "1e1", "٣x"):
        odd = {"wsgi.input": unread, "CONTENT_LENGTH": length}
        assert kind(client.post("/", headers=headers, environ_overrides=odd)) == "unreadable-request"


class Unreadable:
    """A body that nobody may read."""

    def read(self, *_: int) -> bytes:
        raise AssertionError("a body was read that should not be")


class Slow:
    """A body that comes when it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Semaphore(0), threading.Event()

    def read(self, wanted: int) -> bytes:
        self.asked.release()
        self.go.wait(20)
        return b"x" * wanted


def test_slow_bodies_never_take_all_threads(house: House) -> None:
    client, slow = house.door(), Slow()
    body = {"wsgi.input": slow, "CONTENT_LENGTH": "5"}
    answers: list[int] = []

    def post() -> int:
        return client.post("/", headers=bearer(house.writer), environ_overrides=body).status_code

    threads = [threading.Thread(target=lambda: answers.append(post())) for _ in range(BODIES_AT_ONCE)]
    for thread in threads:
        thread.start()
        assert slow.asked.acquire(timeout=20)
    beyond = client.post("/", headers=bearer(house.writer), data=b"x")
    assert (beyond.status_code, kind(beyond)) == (503, "busy")
    assert client.get("/").status_code == 200
    slow.go.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * BODIES_AT_ONCE
    assert post() == 200, "the places are free again"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "G\0T", "FOO"])
def test_other_methods_do_not_come_through(house: House, method: str) -> None:
    answer = house.door().open("/v1/scores", method=method, environ_overrides={"REQUEST_METHOD": method})
    assert (answer.status_code, kind(answer)) == (405, "about:blank")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_null_byte_does_not_come_through(house: House) -> None:
    for path in ("/v1/scores/M\0LI", "/static/\0", "/\0"):
        answer = house.door().get("/", environ_overrides={"PATH_INFO": path})
        assert kind(answer) == "unreadable-request"


def test_whatever_leaves_is_armoured(house: House) -> None:
    client = house.door()
    for answer in (client.get("/"), client.post("/"), client.open("/", method="PUT"), client.get("/" + "a" * 9999)):
        for name, value in SAFE.items():
            assert answer.headers.getlist(name) == [value]
        assert "Strict-Transport-Security" not in answer.headers
    told = house.door(hsts_seconds=31_536_000)
    for answer in (told.get("/"), told.post("/")):
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_pages_of_other_sites_read_only_if_told(house: House) -> None:
    asks = {"Origin": "https://news.example.org"}
    preflight = {**asks, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    shut = house.door()
    for answer in (shut.get("/", headers=asks), shut.options("/", headers=preflight)):
        assert [name for name, _ in answer.headers if name.startswith("Access-Control")] == []
    told = house.door(cors_origins=["https://news.example.org"], public_read=False)
    assert (
        told.get("/", headers={**asks, **bearer(house.reader)}).headers["Access-Control-Allow-Origin"] == asks["Origin"]
    )
    assert told.get("/", headers=asks).headers["Access-Control-Allow-Origin"] == asks["Origin"], "problems are read too"
    before = told.options("/v1/recompute", headers=preflight)
    assert (before.status_code, before.data) == (204, b"")
    assert "Authorization" in before.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in before.headers
    for origin in ("https://evil.example.org", "http://news.example.org", "null", "https://news.example.org.evil.org"):
        other = told.get("/", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert "Origin" in other.headers.getlist("Vary")
    assert house.door(cors_origins=["*"]).get("/", headers=asks).headers["Access-Control-Allow-Origin"] == "*"


@pytest.fixture
def stranger(house: House) -> Client:
    """The client of a door with everything that reads a header switched on."""
    chosen = {"trusted_proxies": ["203.0.113.0/24"], "cors_origins": ["https://a.example"], "public_read": True}
    return house.door(limits={"address_per_minute": 0}, **chosen)


@effort(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]) | st.text(max_size=9),
    path=st.text(max_size=40),
    query=st.text(max_size=40),
    headers=st.dictionaries(
        st.sampled_from(["AUTHORIZATION", "ORIGIN", "X_FORWARDED_FOR", "COOKIE", "TRANSFER_ENCODING"]),
        st.text(max_size=60)
        | st.sampled_from(
            ["Bearer ", "Basic !!", "Basic OjpQ", "Bearer vigie_x_y", ",,,", "::1, ::1", "Basic w7/Dvw=="]
        ),
    ),
    length=st.none() | st.text(max_size=5) | st.integers(-9, 99).map(str),
)
def test_nonsense_gets_an_answer_and_never_writes(
    stranger: Client, method: str, path: str, query: str, headers: dict[str, str], length: str | None
) -> None:
    client = stranger.application
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": "203.0.113.1",
        **{f"HTTP_{name}": value for name, value in headers.items()},
        **({} if length is None else {"CONTENT_LENGTH": length}),
        "wsgi.input": BytesIO(b"body"),
    }
    began: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(client(environ, lambda status, fields, *_: began.append((status, fields))))
    ((status, fields),) = began
    code = int(status.split()[0])
    assert code in (200, 204, 400, 401, 405, 413, 414), body
    assert code != 200 or method in ("GET", "HEAD", "OPTIONS")
    assert {name for name, _ in fields} >= SAFE.keys()
