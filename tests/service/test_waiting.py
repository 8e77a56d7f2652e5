"""Clients that wait for changes: long polls and event streams in the front."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from announced import issue
from flask import Flask
from httpx_sse import EventSource, ServerSentEvent
from inprocess import AsgiClient, Exchange, FrontClient, record_requests
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service.cli.app import create_app
from service.http import front
from service.settings import load

LATER = NOW + timedelta(minutes=20)
SOON = 2.0
"""How soon a change reaches those who wait for it [s]."""


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    issue(issuer)
    return issuer


@contextmanager
def served(home: SnapshotHome, **limits: Any) -> Iterator[FrontClient]:
    """A client of the front, which watches the state."""
    settings = load(home.home)
    wait = {name: limits.pop(name) for name in ("max_wait_seconds", "stream_seconds") if name in limits}
    settings = settings.model_copy(update={"limits": settings.limits.model_copy(update=limits), **wait})
    app = create_app(home.home, clock=lambda: LATER)
    with FrontClient(app, settings) as client:
        yield client


@pytest.fixture
def client(home: SnapshotHome) -> Iterator[FrontClient]:
    with served(home) as client:
        yield client


def newest_cursor(client: AsgiClient) -> str:
    """The cursor after all changes."""
    return str(client.get("/v1/changes").json["next"])


def long_poll(client: AsgiClient, seconds: float = 20, **options: Any) -> Exchange:
    """A request for changes that waits."""
    target = options.pop("target", None) or f"/v1/changes?since={newest_cursor(client)}"
    exchange = client.begin(target, headers={"Prefer": f"wait={seconds}, respond-async"}, **options)
    exchange.send(b"")
    return exchange


def stream(client: AsgiClient, since: str = "", **options: Any) -> Exchange:
    """A stream of events."""
    exchange = client.begin("/v1/stream" + (f"?since={since}" if since else ""), **options)
    exchange.send(b"")
    return exchange


def events(exchange: Exchange, timeout: float = 20) -> Iterator[ServerSentEvent]:
    """The events of a stream as `httpx-sse` reads them."""

    def chunks() -> Iterator[bytes]:
        while (chunk := exchange.read(timeout)) is not None:
            yield chunk

    return EventSource(httpx.Response(exchange.status, headers=exchange.headers, content=chunks())).iter_sse()


def assert_waits(exchange: Exchange, seconds: float = 0.3) -> None:
    """Check that nothing of a response comes."""
    with pytest.raises(queue.Empty):
        exchange.start(seconds)


def until(truth: Callable[[], bool], within: float = 10) -> None:
    """Wait until something is true."""
    patience = time.monotonic() + within
    while not truth():
        assert time.monotonic() < patience
        time.sleep(0.02)


def test_a_long_poll_returns_as_soon_as_there_is_a_change(home: SnapshotHome, client: FrontClient) -> None:
    waiting = long_poll(client)
    assert_waits(waiting)
    number, issued_at = issue(home), time.monotonic()
    response = waiting.response()
    assert time.monotonic() - issued_at < SOON
    assert [(c["kind"], c["snapshot_id"]) for c in response.json["data"]] == [("snapshot", number)]
    assert response.json["snapshot_id"] == number
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Cache-Control"] == "no-store"
    assert not [name for name, _ in response.headers if name.lower().startswith("vigie")]


def test_a_long_poll_returns_what_there_is_already_at_once(home: SnapshotHome, client: FrontClient) -> None:
    cursor = newest_cursor(client)
    number = issue(home)
    response = long_poll(client, target=f"/v1/changes?since={cursor}").response(SOON)
    assert [c["snapshot_id"] for c in response.json["data"]] == [number]
    assert "Preference-Applied" not in response.headers


def test_a_long_poll_returns_after_its_time(client: FrontClient) -> None:
    cursor = newest_cursor(client)
    began = time.monotonic()
    response = long_poll(client, 1, target=f"/v1/changes?since={cursor}").response()
    assert 1 <= time.monotonic() - began < 1 + SOON
    assert (response.headers["Preference-Applied"], response.json["data"]) == ("wait=1", [])
    assert response.json["next"] == cursor


def test_a_long_poll_waits_no_longer_than_the_operator_allows(home: SnapshotHome) -> None:
    with served(home, max_wait_seconds=1) as client:
        began = time.monotonic()
        response = long_poll(client, 3600).response()
        assert 1 <= time.monotonic() - began < 1 + SOON
        assert (response.headers["Preference-Applied"], response.json["data"]) == ("wait=1", [])


def test_a_change_of_another_kind_does_not_end_a_long_poll(home: SnapshotHome, client: FrontClient) -> None:
    """The state changes with each run, also one that issues nothing."""
    waiting = long_poll(client)
    home.run("unchanged", at=LATER, snapshot=1)
    assert_waits(waiting, 1.0)
    issue(home)
    assert [c["kind"] for c in waiting.response().json["data"]] == ["snapshot"]


@pytest.mark.parametrize(
    "prefer", ["", "wait=0", "wait", "wait=x", "await=20", "respond-async", "wait=-1", "wait=" + "9" * 9]
)
def test_a_preference_that_is_not_understood_is_ignored(client: FrontClient, prefer: str) -> None:
    exchange = client.begin("/v1/changes", headers={"Prefer": prefer})
    assert "Preference-Applied" not in exchange.response(SOON).headers


def test_a_change_between_the_response_and_the_wait_is_not_missed(home: SnapshotHome, app: Flask) -> None:
    """The state has moved on by the time the client begins to wait: it must not wait for the change after that."""
    for _ in range(5):
        with FrontClient(app) as client:
            cursor = newest_cursor(client)
            respond, cache = client.front.cache.respond, client.front.cache
            moved = []

            async def respond_slowly(
                request: Any, respond: Any = respond, cache: Any = cache, moved: Any = moved
            ) -> Any:
                response = await respond(request)
                if not moved:
                    moved.append(issue(home))
                    await cache.refresh()
                return response

            client.front.cache.respond = respond_slowly  # type: ignore[method-assign]
            response = long_poll(client, target=f"/v1/changes?since={cursor}").response(5)
            assert [c["snapshot_id"] for c in response.json["data"]] == moved


def test_clients_that_wait_together_call_flask_once_for_a_change(home: SnapshotHome) -> None:
    app = create_app(home.home, clock=lambda: LATER)
    with FrontClient(app) as client:
        cursor = newest_cursor(client)
        polls = [long_poll(client, target=f"/v1/changes?since={cursor}") for _ in range(200)]
        streams = [stream(client, cursor) for _ in range(200)]
        assert [one.status for one in streams] == [200] * 200
        assert_waits(polls[-1])
        requests = record_requests(app)
        number = issue(home)
        assert {each.response().json["snapshot_id"] for each in polls} == {number}
        assert {next(events(one)).event for one in streams} == {"snapshot"}
        repeated = [path for path in requests if cursor in path]  # "/v1/changes?" is the cache's, for nobody who waits
        assert len(repeated) <= 4, requests
        for one in streams:
            one.disconnect()


def test_the_places_of_those_who_wait_are_limited_in_total(home: SnapshotHome) -> None:
    with served(home, waiting_clients=2) as client:
        first, second = stream(client), long_poll(client)
        assert first.status == 200
        assert_waits(second)
        refused = stream(client).response()
        assert (refused.status_code, refused.json["type"]) == (503, "urn:vigie:problem:too-many-waiters")
        assert refused.headers["Retry-After"] == "5"
        at_once = long_poll(client, 30).response(SOON)
        assert (at_once.status_code, "Preference-Applied" in at_once.headers) == (200, False)
        first.disconnect()
        until(lambda: first.task.done(), 1)
        assert stream(client).status == 200, "the place is free at once"


@pytest.mark.parametrize("local", [True, False])
def test_the_places_of_an_address_are_limited(home: SnapshotHome, local: bool) -> None:
    """Also those of this machine, if it counts as any address."""
    mine = "127.0.0.1" if local else "203.0.113.9"
    with served(home, waiting_per_address=3, loopback=True) as client:
        held = [stream(client, remote=mine), stream(client, remote=mine), long_poll(client, remote=mine)]
        assert [one.status for one in held[:2]] == [200, 200]
        assert_waits(held[2])
        assert stream(client, remote=mine).status == 503
        assert "Preference-Applied" not in long_poll(client, 30, remote=mine).response(SOON).headers
        assert client.get("/v1/scores", remote=mine).status_code == 200
        assert stream(client, remote="203.0.113.77").status == 200, "another address is not affected"
        for one in held:
            one.disconnect()
            until(one.task.done, 1)
        assert [stream(client, remote=mine).status for _ in range(3)] == [200] * 3


def test_this_machine_is_not_limited_unless_set(home: SnapshotHome) -> None:
    with served(home, waiting_per_address=1) as client:
        assert [stream(client).status for _ in range(5)] == [200] * 5
        far = [stream(client, remote="203.0.113.9").status for _ in range(2)]
        assert far == [200, 503]
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        assert [stream(client, headers=forwarded).status for _ in range(2)] == [200, 503], "a proxy is not this machine"


def test_a_client_that_leaves_frees_its_place_at_once(home: SnapshotHome) -> None:
    with served(home, waiting_clients=1) as client:
        for begin in (stream, long_poll, stream, long_poll):
            waiting = begin(client)
            deadline = time.monotonic() + 30
            while "Preference-Applied" in long_poll(client, 1).response().headers:
                assert time.monotonic() < deadline
                if waiting.task.done():  # the poll was first and had the only place
                    waiting = begin(client)
                    time.sleep(0.5)
            waiting.disconnect()
            until(waiting.task.done, 12)  # less than the time to the next heartbeat


def test_a_client_that_leaves_before_its_stream_begins_takes_no_place(home: SnapshotHome) -> None:
    with served(home, waiting_clients=1) as client:

        async def gone(_: object) -> None:
            raise OSError("the client has gone")

        started: list[Any] = []

        async def application(scope: Any, receive: Any, send: Any) -> None:
            started.append(1)
            await client.application(scope, receive, gone if len(started) == 1 else send)

        other = AsgiClient(application)
        with pytest.raises(OSError, match="gone"):
            stream(other).start()
        assert stream(other).status == 200


def test_a_stream_sends_changes_as_they_happen_and_resumes(home: SnapshotHome, client: FrontClient) -> None:
    waiting = stream(client)
    sent = events(waiting)
    first = next(sent)
    assert (first.event, json.loads(first.data)) == ("cursor", {"cursor": first.id})
    number = issue(home)
    snapshot = next(sent)
    assert (snapshot.event, json.loads(snapshot.data)["snapshot_id"]) == ("snapshot", number)
    assert json.loads(snapshot.data) == client.get("/v1/changes?since=start").json["data"][-1]
    waiting.disconnect()
    issue(home)
    resumed = stream(client, headers={"Last-Event-ID": first.id})
    again = events(resumed)
    assert vars(next(again)) == vars(snapshot)
    assert json.loads(next(again).data)["snapshot_id"] == number + 1
    headers = dict(resumed.headers)
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("vigie")]


def test_no_event_of_a_stream_is_empty(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some clients report an event without data as an empty message, also one after a comment."""
    monkeypatch.setattr(front, "HEARTBEAT_INTERVAL", 0.05)
    with served(home, stream_seconds=2) as client:
        waiting = stream(client)
        raw: list[bytes] = []
        read = waiting.read
        monkeypatch.setattr(waiting, "read", lambda timeout: (raw.append(part := read(timeout)), part)[1])
        timers = [threading.Timer(0.3 * number, issue, [home]) for number in range(1, 5)]
        for timer in timers:
            timer.start()
        seen = list(events(waiting))
        for timer in timers:
            timer.join()
    assert [event.event for event in seen] == ["cursor"] + ["snapshot"] * 4
    assert all(event.data and json.loads(event.data) and event.id and event.retry == 5000 for event in seen)
    assert raw.count(b": no news\n") > 10
    assert b"\n\n\n" not in b"".join(part or b"" for part in raw)


def test_a_stream_shows_that_it_lives_and_ends(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEARTBEAT_INTERVAL", 0.3)
    with served(home, stream_seconds=1) as client:
        began = time.monotonic()
        waiting = stream(client)
        chunks = []
        while (chunk := waiting.read()) is not None:
            chunks.append(chunk)
        assert 1 <= time.monotonic() - began < 1 + SOON
        assert chunks[0].startswith(b"id: ")
        assert 3 <= chunks.count(b": no news\n") <= 4


@pytest.mark.parametrize("limit", [1, 4096])
def test_a_client_that_resumes_by_its_last_id_loses_nothing(
    home: SnapshotHome, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Streams end after some news, and may break off within an event: each change comes once, in order."""
    monkeypatch.setattr(front, "STREAM_BYTES", limit)
    issuing = threading.Event()

    def issue_many() -> None:
        for _ in range(30):
            issue(home)
            time.sleep(0.02)
        issuing.set()

    with served(home, stream_seconds=2) as client:
        thread = threading.Thread(target=issue_many)
        seen: list[str] = []
        last = next(events(stream(client))).id
        thread.start()
        while not issuing.is_set() or last != newest_cursor(client):
            for event in events(stream(client, headers={"Last-Event-ID": last})):
                seen.append(event.id)
                last = event.id
                if len(seen) % 7 == 0:
                    break
        thread.join()
        data = client.get("/v1/changes?since=start&limit=1000").json["data"]
    assert seen == [change["cursor"] for change in data][-len(seen) :]
    assert len(seen) == 30


def test_a_stream_with_a_wrong_cursor_is_a_problem(client: FrontClient) -> None:
    for options in (
        {"since": "nix"},
        {"headers": {"Last-Event-ID": "nix"}},
        {"headers": {"Last-Event-ID": "\xe9" * 900}},
    ):
        refused = stream(client, **options).response()
        assert (refused.status_code, refused.json["type"]) == (400, "urn:vigie:problem:bad-cursor")


def test_a_response_to_head_does_not_wait(client: FrontClient) -> None:
    for path in ("/v1/stream", f"/v1/changes?since={newest_cursor(client)}"):
        response = client.head(path, headers={"Prefer": "wait=20"})
        assert (response.status_code, response.data) == (200, b"")
