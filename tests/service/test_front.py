"""The front itself: what it answers while something that it needs does not."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask
from inprocess import AsgiClient, Exchange, FrontClient, event_loop
from snapshots_support import SettableClock, SnapshotHome

from riskmodel.errors import VigieError
from service.cli.app import create_app, make_front
from service.http import flask_pool, front, interfaces, keys, state_version
from service.http.flask_pool import FLASK_THREADS
from service.http.interfaces import Application
from service.http.site import Site
from service.jobs.processes import LISTENS_ON
from service.settings import Settings

AT_ONCE = 5.0
"""How soon a client gets what depends on nothing that hangs [s]."""


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    issuer.issue()
    return issuer


@pytest.fixture
def client(app: Flask) -> Iterator[FrontClient]:
    with FrontClient(app) as client:
        yield client


class Gap:
    """Something that does not answer while it is closed."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.waiting = threading.Semaphore(0)

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def pass_through(self, *_: object, **__: object) -> None:
        """Wait until it is open."""
        if not self._open.is_set():
            self.waiting.release()
            self._open.wait(60)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that waits first."""

        def waits(*arguments: Any, **named: Any) -> Any:
            self.pass_through()
            return function(*arguments, **named)

        return waits


@pytest.fixture
def gap() -> Iterator[Gap]:
    made = Gap()
    yield made
    made.open()


def begin(client: AsgiClient, target: str, **options: Any) -> Exchange:
    exchange = client.begin(target, **options)
    exchange.send(b"")
    return exchange


def assert_answers_at_once(client: AsgiClient, *paths: str) -> None:
    for path in paths:
        for method in ("GET", "HEAD"):
            began = time.monotonic()
            assert client.open(path, method).status_code == 200
            assert time.monotonic() - began < AT_ONCE, path


def test_liveness_and_cached_polls_need_no_thread_of_flask(app: Flask, client: FrontClient, gap: Gap) -> None:
    client.get("/v1/scores")
    flask.request_started.connect(gap.pass_through, app, weak=False)
    gap.close()
    blocked = [begin(client, f"/v1/scores/{number:03}") for number in range(FLASK_THREADS + 20)]
    for _ in range(FLASK_THREADS):
        assert gap.waiting.acquire(timeout=10)
    assert_answers_at_once(client, "/healthz", "/v1/scores")
    gap.open()
    assert [exchange.response().status_code for exchange in blocked] == [404] * len(blocked)


def test_requests_wait_for_a_thread_in_a_bounded_number(
    app: Flask, client: FrontClient, gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flask_pool, "FLASK_THREADS", 2)
    monkeypatch.setattr(flask_pool, "MAX_QUEUED", 3)
    client = FrontClient(app)
    flask.request_started.connect(gap.pass_through, app, weak=False)
    gap.close()
    blocked = [begin(client, f"/v1/scores/{number:03}") for number in range(5)]
    refused = client.get("/v1/scores/beyond")
    assert (refused.status_code, refused.json["type"]) == (503, "urn:vigie:problem:busy")
    assert refused.headers["Retry-After"] == "1"
    gap.open()
    assert [exchange.response().status_code for exchange in blocked] == [404] * 5
    assert client.get("/v1/scores/again").status_code == 404, "places are free again"


def test_a_client_does_not_wait_for_ever_and_its_request_keeps_its_place(
    app: Flask, gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise clients that come again and again would pile up requests that nobody waits for."""
    monkeypatch.setattr(front, "FLASK_SECONDS", 0.3)
    monkeypatch.setattr(flask_pool, "MAX_QUEUED", 0)
    monkeypatch.setattr(flask_pool, "FLASK_THREADS", 2)
    client = FrontClient(app)
    flask.request_started.connect(gap.pass_through, app, weak=False)
    gap.close()
    for number in range(2):
        late = client.get(f"/v1/scores/{number}")
        assert (late.status_code, late.json["type"]) == (503, "urn:vigie:problem:unreadable-store")
        assert late.headers["Retry-After"] == "5"
    assert client.get("/v1/scores/2").json["type"] == "urn:vigie:problem:busy"
    gap.open()
    until = time.monotonic() + 10
    while client.get("/v1/scores/3").status_code == 503:
        assert time.monotonic() < until


def test_a_database_that_hangs_delays_neither_liveness_nor_cached_polls(
    app: Flask, client: FrontClient, gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_version, "read", gap.before(state_version.read))
    monkeypatch.setattr(front, "FLASK_SECONDS", 0.5)
    client.get("/v1/scores")
    gap.close()
    assert gap.waiting.acquire(timeout=10), "the watcher hangs"
    blocked = [begin(client, f"/v1/scores/{number:03}") for number in range(FLASK_THREADS + 20)]
    assert_answers_at_once(client, "/healthz", "/v1/scores", "/healthz", "/v1/scores")
    assert {exchange.response().status_code for exchange in blocked} == {503}
    assert_answers_at_once(client, "/healthz", "/v1/scores")
    gap.open()
    until = time.monotonic() + 10
    while client.get("/v1/scores/XYZ").status_code != 404:
        assert time.monotonic() < until


def test_a_database_that_hangs_does_not_make_known_keys_invalid(
    home: SnapshotHome, client: FrontClient, gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it delay other clients."""
    key = keys.add(home.store, "read", "a reader", datetime.now(UTC))
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/v1/scores", headers=headers).status_code == 200
    monkeypatch.setattr(front, "KEYS_SECONDS", 0.5)
    monkeypatch.setattr(keys.Keyring, "read", gap.before(keys.Keyring.read))
    gap.close()
    time.sleep(keys.READ_EVERY + 0.1)
    began = time.monotonic()
    waiting = [begin(client, "/v1/scores", headers=headers) for _ in range(50)]
    wrong = begin(client, "/v1/scores", headers={"Authorization": "Bearer vigie_0_0"})
    assert_answers_at_once(client, "/healthz", "/v1/scores")
    assert {exchange.response().status_code for exchange in waiting} == {200}
    assert wrong.response().status_code == 401
    assert 0.5 <= time.monotonic() - began < 3
    assert_answers_at_once(client, "/healthz")
    began = time.monotonic()
    assert client.get("/v1/scores", headers=headers).status_code == 200
    assert time.monotonic() - began < AT_ONCE, "only those wait that came when the reading began"
    gap.open()


def test_no_key_is_accepted_while_the_keys_were_never_read(
    home: SnapshotHome, client: FrontClient, gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys.add(home.store, "write", "a writer", datetime.now(UTC))
    monkeypatch.setattr(front, "KEYS_SECONDS", 0.3)
    monkeypatch.setattr(keys.Keyring, "read", gap.before(keys.Keyring.read))
    gap.close()
    response = client.post("/v1/recompute", headers={"Authorization": f"Bearer {key}"})
    assert (response.status_code, response.json["type"]) == (503, "urn:vigie:problem:unreadable-store")
    gap.open()


def test_a_worker_that_cannot_begin_answers_that_it_lives(
    home: SnapshotHome, monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    """It serves as soon as it can, and says once in the log why it could not."""
    monkeypatch.setattr(interfaces, "TRY_EVERY", 0.05)
    serve(home, monkeypatch)
    broken = True

    def make() -> Any:
        if broken:
            raise VigieError("the database is away")
        return make_front()

    with running(Application(make, site=Site(Settings(root_path="/vigie"), "127.0.0.1"))) as client:
        for address in ("/healthz", "/vigie/healthz", "/healthz/"):
            assert_answers_at_once(client, address)
        for method in ("GET", "HEAD", "POST"):
            response = client.open("/v1/scores", method)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Request-Id"]
            assert method != "HEAD" or not response.data
        broken = False
        until = time.monotonic() + 10
        while client.get("/v1/scores").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_worker_whose_database_hangs_answers_that_it_lives(
    home: SnapshotHome, monkeypatch: pytest.MonkeyPatch, gap: Gap
) -> None:
    monkeypatch.setattr(interfaces, "START_SECONDS", 0.2)
    serve(home, monkeypatch)
    gap.close()
    with running(Application(gap.before(make_front))) as client:
        assert_answers_at_once(client, "/healthz")
        assert client.get("/v1/scores").status_code == 503
        gap.open()
        until = time.monotonic() + 10
        while client.get("/v1/scores").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_worker_serves_from_its_first_request_on(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(home, monkeypatch)
    with running(Application(make_front)) as client:
        assert client.get("/v1/scores").status_code == 200


def serve(home: SnapshotHome, environment: pytest.MonkeyPatch) -> None:
    """Let a worker that is made serve this home."""
    environment.setenv("VIGIE_HOME", str(home.home.root))
    environment.setenv(LISTENS_ON, "127.0.0.1")


class running:  # noqa: N801 - a context manager
    """A client of an application whose server has started it."""

    def __init__(self, application: Application) -> None:
        self.client = AsgiClient(application)

    def __enter__(self) -> AsgiClient:
        self._lifespan = Exchange(self.client.application, {"type": "lifespan"})
        event_loop().call_soon_threadsafe(self._lifespan.to_send.put_nowait, {"type": "lifespan.startup"})
        assert self._lifespan.start()["type"] == "lifespan.startup.complete"
        return self.client

    def __exit__(self, *_: object) -> None:
        event_loop().call_soon_threadsafe(self._lifespan.to_send.put_nowait, {"type": "lifespan.shutdown"})
        self._lifespan.task.result(10)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"[[{"])
def test_a_body_that_is_nested_too_deeply_is_a_bad_request(
    home: SnapshotHome, client: FrontClient, opening: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.add(home.store, "write", "a writer", datetime.now(UTC))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    body = opening * (60_000 // len(opening))
    response = client.post("/v1/whatif", data=body, headers=headers)
    assert (response.status_code, response.json["status"]) == (400, 400)
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_fault_outside_flask_is_a_500_that_shows_nothing(
    client: FrontClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(client.front.cache, "respond", fail)
    for method in ("GET", "HEAD"):
        response = client.open("/nowhere", method, headers={"X-Request-Id": "mine"})
        assert (response.status_code, response.headers["X-Request-Id"]) == (500, "mine")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert b"inside" not in response.data
        assert method == "HEAD" or response.json["request_id"] == "mine"
    assert "the inside" in caplog.text


def test_a_header_with_an_underscore_is_no_other_header(app: Flask, client: FrontClient) -> None:
    """WSGI cannot tell `accept_language` from `accept-language`."""
    seen: list[str | None] = []
    flask.request_started.connect(lambda *_, **__: seen.append(flask.request.headers.get("X-A")), app, weak=False)
    client.get("/nowhere", headers={"X_A": "1"})
    client.get("/nowhere", headers={"X-A": "2"})
    assert seen == [None, "2"]


def test_create_app_has_no_gate(home: SnapshotHome) -> None:
    """Its own responses are those of Flask: headers for the front show it where a stream goes on."""
    response = create_app(home.home).test_client().get("/v1/changes")
    assert response.headers["Vigie-Next-Cursor"] == response.json["next"]
