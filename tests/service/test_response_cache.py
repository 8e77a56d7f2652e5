"""The response cache: it serves what Flask would, follows each change, and never goes back."""

import gzip
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import flask
import pytest
import sqlalchemy as sa
from flask import Flask
from inprocess import FrontClient, record_requests
from snapshot_documents import NOW
from snapshots_support import SettableClock, SnapshotHome
from werkzeug.test import TestResponse

from service import logs
from service.alerts import outbox
from service.cli.app import create_app
from service.http import response_cache, state_version
from service.http.generation import GenerationCounter
from service.http.message import MAX_PREFERENCE, Request
from service.http.response_cache import REFILL_WITHIN
from service.settings import load
from service.store.tables import deliveries

PATHS = (
    *("/v1/scores", "/v1/scores.csv", "/v1/scores/MLI", "/v1/indicators", "/v1/indicators/SEN", "/v1/drivers/MLI"),
    *("/v1/runs", "/v1/snapshots/1", "/v1/alerts", "/", "/?lang=fr", "/country/MLI"),
)


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    os.utime(issuer.home.archive / "manifest.json", (NOW.timestamp(), NOW.timestamp()))
    issuer.issue()
    return issuer


@pytest.fixture
def cached(app: Flask) -> FrontClient:
    """A client of the cache without its watcher: tests refresh it themselves."""
    return FrontClient(app)


def until(truth: Callable[[], bool]) -> None:
    """Wait until something is true."""
    patience = time.monotonic() + 20
    while not truth():
        assert time.monotonic() < patience
        time.sleep(0.02)


@contextmanager
def logging_as(request_id: str) -> Iterator[None]:
    """The id of a request, as the front sets it around a call of Flask."""
    token = logs.request_id.set(request_id)
    yield
    logs.request_id.reset(token)


def fields(response: TestResponse) -> list[tuple[str, str]]:
    """The headers of a response, but for those of its time and its id."""
    left_out = ("date", "expires", "x-request-id")
    return sorted((name.lower(), value) for name, value in response.headers if name.lower() not in left_out)


@pytest.mark.parametrize("path", PATHS)
def test_a_cached_response_equals_the_response_of_flask(app: Flask, cached: FrontClient, path: str) -> None:
    tag = app.test_client().get(path).headers["ETag"]
    date = app.test_client().get(path).headers["Last-Modified"]
    requests: list[dict[str, str]] = [
        {},
        {"Accept-Encoding": "gzip, br"},
        {"Accept-Encoding": "gzip;q=0"},
        {"If-None-Match": tag},
        {"If-None-Match": f'"other", {tag}', "Accept-Encoding": "gzip"},
        {"If-None-Match": tag.removeprefix("W/")},
        {"If-None-Match": "*"},
        {"If-None-Match": '"other"', "If-Modified-Since": date},
        {"If-Modified-Since": date},
        {"If-Modified-Since": "Sun, 01 Jan 2023 00:00:00 GMT"},
        {"If-Modified-Since": "never"},
        {"If-Match": "*"},
        {"Accept": "text/csv"},
        {"Accept-Language": "fr"},
    ]
    for headers in requests:
        for method in ("GET", "HEAD"):
            headers = {**headers, "X-Request-Id": "mine"}
            with logging_as("mine"):
                plain = app.test_client().open(path, method=method, headers=headers)
            cold = FrontClient(app).open(path, method, headers=headers)
            cached.open(path, method, headers=headers)
            for response in (cold, cached.open(path, method, headers=headers)):
                assert response.status_code == plain.status_code, headers
                assert fields(response) == fields(plain), headers
                assert response.data == plain.data, headers
                if response.status_code == 200 and method == "GET":
                    body = gzip.decompress(response.data) if "Content-Encoding" in response.headers else response.data
                    assert response.headers["ETag"] == f'W/"{hashlib.sha256(body).hexdigest()}"'


def test_a_cached_response_does_not_call_flask(app: Flask, cached: FrontClient) -> None:
    requests = record_requests(app)
    for _ in range(3):
        for path in PATHS:
            assert cached.get(path).status_code == 200
    assert len(requests) == len(PATHS)


@pytest.mark.parametrize(
    "path", ["/readyz", "/v1/jobs", "/v1/scores/XYZ", "/nowhere", "/static/vigie.css", "/metrics?x=1"]
)
def test_a_response_that_depends_on_more_than_the_state_is_not_cached(
    app: Flask, cached: FrontClient, path: str
) -> None:
    requests = record_requests(app)
    with logging_as("mine"):
        plain = app.test_client().get(path)
    for _ in range(2):
        response = cached.get(path, headers={"X-Request-Id": "mine"})
        assert (response.status_code, fields(response)) == (plain.status_code, fields(plain))
        assert response.data == plain.data
    assert len(requests) == 3


def test_liveness_is_answered_without_flask(app: Flask, cached: FrontClient) -> None:
    requests = record_requests(app)
    for method in ("GET", "HEAD"):
        plain = app.test_client().open("/healthz", method=method)
        response = cached.open("/healthz", method)
        expected = [field for field in fields(plain) if field[0] != "vary"]
        assert (response.status_code, response.data, fields(response)) == (200, plain.data, expected)
    assert len(requests) == 2


def test_clients_get_the_format_and_language_that_they_accept(cached: FrontClient) -> None:
    for _ in range(2):
        assert cached.get("/v1/scores", headers={"Accept": "text/csv"}).mimetype == "text/csv"
        assert cached.get("/v1/scores").mimetype == "application/json"
        assert cached.get("/", headers={"Accept-Language": "fr"}).headers["Content-Language"] == "fr"
        assert cached.get("/", headers={"Accept-Language": "en"}).headers["Content-Language"] == "en"


def test_data_are_fresh_for_a_minute_at_most_until_the_next_run_and_pages_for_a_shorter_time(
    cached: FrontClient, clock: SettableClock
) -> None:
    assert cached.get("/v1/scores").headers["Cache-Control"] == "public, max-age=60"
    clock.now += timedelta(minutes=38, seconds=20)
    assert cached.get("/v1/scores").headers["Cache-Control"] == "public, max-age=40"
    clock.now += timedelta(minutes=30)
    assert cached.get("/v1/scores").headers["Cache-Control"] == "public, max-age=5"
    assert cached.get("/").headers["Cache-Control"] == "public, max-age=30"


def test_no_response_is_fresh_beyond_midnight(home: SnapshotHome, cached: FrontClient, clock: SettableClock) -> None:
    home.run("unchanged", at=NOW.replace(hour=23, minute=50), snapshot=1)
    clock.now = NOW.replace(hour=23, minute=59, second=30)
    assert cached.get("/v1/scores").headers["Cache-Control"] == "public, max-age=30"


def test_last_modified_is_sent_once_its_second_is_over(
    home: SnapshotHome, cached: FrontClient, clock: SettableClock
) -> None:
    clock.now = NOW + timedelta(hours=1, milliseconds=300)
    home.run("unchanged", at=NOW + timedelta(hours=1, milliseconds=200), snapshot=1)
    cached.refresh()
    assert "Last-Modified" not in cached.get("/v1/scores").headers
    clock.now += timedelta(seconds=1)
    assert cached.get("/v1/scores").headers["Last-Modified"] == "Tue, 10 Jan 2023 09:30:00 GMT"


def test_last_modified_is_not_sent_while_messages_are_undelivered(home: SnapshotHome, cached: FrontClient) -> None:
    """Attempts to deliver change responses and have no stored time: a date would say that nothing had changed."""
    with home.store.writing() as connection:
        data = {"headline": {"en": "Alert", "fr": "Alerte"}}
        lost = outbox.enqueue(connection, route="duty", kind="firing", data=data, now=NOW)
        connection.execute(sa.update(deliveries).where(deliveries.c.id == lost).values(status="failed", attempts=9))
    assert "Last-Modified" not in cached.get("/v1/alerts").headers


def test_every_kind_of_change_is_seen_at_the_next_refresh(
    home: SnapshotHome, cached: FrontClient, clock: SettableClock
) -> None:
    def fail_to_deliver() -> None:
        with home.store.writing() as connection:
            data = {"headline": {"en": "Alert", "fr": "Alerte"}}
            lost = outbox.enqueue(connection, route="duty", kind="firing", data=data, now=NOW)
            connection.execute(sa.update(deliveries).where(deliveries.c.id == lost).values(status="failed", attempts=9))

    def wait(**time: int) -> None:
        clock.now += timedelta(**time)

    changes: dict[str, Callable[[], object]] = {
        "a run begins": lambda: home.run("running", at=NOW + timedelta(minutes=5)),
        "a run ends": lambda: home.run("unchanged", at=NOW + timedelta(minutes=6), snapshot=1),
        "the next run is overdue": lambda: wait(hours=2),
        "a snapshot lands": lambda: home.issue(at=NOW + timedelta(minutes=10)),
        "a message is given up": fail_to_deliver,
        "a day passes": lambda: wait(days=1),
    }
    for what, change in changes.items():
        before = {path: cached.get(path).headers["ETag"] for path in PATHS}
        change()
        cached.refresh()
        assert {path: cached.get(path).headers["ETag"] for path in PATHS} != before, what


def test_real_data_retire_cached_simulated_responses(tmp_path: Path, clock: SettableClock) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated")
    home.issue(simulated=True)
    cached = FrontClient(create_app(home.home, clock=clock))
    assert all(cached.get(path).status_code == 200 for path in PATHS)
    home.add_ingests("simulated", "real")
    cached.refresh()
    for path in PATHS:
        response = cached.get(path)
        if path == "/v1/runs":
            assert (response.json["simulated"], response.json["snapshot_id"]) == (False, None)
        elif path.startswith("/v1/snapshots"):
            assert response.json["type"] == "urn:vigie:problem:retired-snapshot"
        else:
            assert response.status_code == 503, path


def test_a_client_that_saw_a_change_gets_no_older_response(home: SnapshotHome, cached: FrontClient) -> None:
    """An uncached response can be newer than the cache: then the cache is replaced at once."""
    assert cached.get("/v1/scores").json["snapshot_id"] == 1
    home.issue(at=NOW + timedelta(minutes=10))
    assert cached.get("/v1/scores").json["snapshot_id"] == 1  # not refreshed yet
    assert cached.get("/v1/scores/XYZ").status_code == 404
    assert cached.get("/v1/scores").json["snapshot_id"] == 2
    home.issue(at=NOW + timedelta(minutes=11))
    assert cached.get("/v1/scores/DZA").json["snapshot_id"] == 3
    assert cached.get("/v1/scores").json["snapshot_id"] == 3


@pytest.mark.parametrize("path", ["/v1/jobs", "/readyz", "/metrics", "/v1/scores/XYZ", "/v1/stream"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_saw_a_change_in_an_uncached_response_gets_no_older_one(
    home: SnapshotHome, cached: FrontClient, path: str, method: str
) -> None:
    assert cached.get("/v1/scores").json["snapshot_id"] == 1
    home.issue(at=NOW + timedelta(minutes=10))
    exchange = cached.begin(path, method)
    exchange.start()
    assert cached.get("/v1/scores").json["snapshot_id"] == 2
    exchange.disconnect()


def test_a_client_that_saw_a_change_joins_no_request_from_before_it(home: SnapshotHome, app: Flask) -> None:
    """Another client can still be waiting for the response of the older state."""
    slow, entered = threading.Event(), threading.Semaphore(0)
    cached = FrontClient(app)
    cached.get("/v1/runs")

    def wait(*_: object, **__: object) -> None:
        if flask.request.path == "/v1/scores":
            entered.release()
            slow.wait(20)

    flask.request_finished.connect(wait, app, weak=False)
    before = cached.begin("/v1/scores")
    assert entered.acquire(timeout=10)
    home.issue(at=NOW + timedelta(minutes=10))
    cached.refresh()
    after = cached.begin("/v1/scores")
    assert entered.acquire(timeout=10), "it does not wait for the response of the other"
    slow.set()
    assert before.response().json["snapshot_id"] == 1
    assert after.response().json["snapshot_id"] == 2
    assert cached.get("/v1/scores").json["snapshot_id"] == 2


def test_workers_of_one_machine_serve_the_same_state(home: SnapshotHome, clock: SettableClock) -> None:
    workers = [FrontClient(create_app(home.home, clock=clock)) for _ in range(3)]
    for number in range(2, 6):
        home.issue(at=NOW + timedelta(minutes=number))
        workers[number % 3].refresh()
        assert [worker.get("/v1/scores").json["snapshot_id"] for worker in workers] == [number] * 3


def test_the_generation_counter_is_shared(tmp_path: Path) -> None:
    one, other = GenerationCounter(tmp_path / "generation"), GenerationCounter(tmp_path / "generation")
    first = one.current()
    second = one.advance(first)
    assert second != first
    assert other.current() == second
    assert other.advance(first) == first, "another worker has advanced it since"
    assert one.current() not in (first, second)


def test_simultaneous_requests_for_a_changed_response_call_flask_once(
    home: SnapshotHome, app: Flask, cached: FrontClient
) -> None:
    cached.get("/v1/scores")
    requests = record_requests(app)
    home.issue(at=NOW + timedelta(minutes=10))
    cached.refresh()
    exchanges = [cached.begin("/v1/scores") for _ in range(40)]
    assert [exchange.response().json["snapshot_id"] for exchange in exchanges] == [2] * 40
    assert len(requests) == 1


def test_the_watcher_refills_responses_that_were_in_use(home: SnapshotHome, app: Flask) -> None:
    with FrontClient(app) as cached:
        for path in PATHS:
            cached.get(path)
        requests = record_requests(app)
        home.issue(at=NOW + timedelta(minutes=10))
        until(lambda: len(requests) == len(PATHS))
        assert cached.get("/v1/scores").json["snapshot_id"] == 2
        assert len(requests) == len(PATHS)


def test_a_change_is_seen_while_flask_answers_nothing(home: SnapshotHome, app: Flask) -> None:
    """The responses that were in use are refilled beside the watcher, which goes on reading the state."""
    blocked = threading.Event()
    with FrontClient(app) as cached:
        cached.get("/v1/scores")
        flask.request_started.connect(lambda *_, **__: blocked.wait(20), app, weak=False)
        before = cached.front.cache.version
        for minutes in (10, 11):
            home.issue(at=NOW + timedelta(minutes=minutes))
            until(lambda before=before: cached.front.cache.version != before)
            before = cached.front.cache.version
        blocked.set()
        assert cached.get("/v1/scores").json["snapshot_id"] == 3


def test_cached_responses_show_their_age_while_the_database_is_away(
    home: SnapshotHome, cached: FrontClient, clock: SettableClock
) -> None:
    for path in PATHS:
        cached.get(path)
    with home.store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE snapshots RENAME TO lost"))
    cached.refresh()
    same = cached.get("/v1/scores")
    assert (same.json["status"], same.json["data_age_days"]) == ("fresh", 10)
    assert cached.get("/v1/scores/GIN").json["type"] == "urn:vigie:problem:unreadable-store"
    clock.now += timedelta(days=60)
    cached.refresh()
    older = cached.get("/v1/scores", headers={"If-None-Match": same.headers["ETag"]})
    assert (older.json["status"], older.json["data_age_days"], older.json["snapshot_id"]) == ("late", 70, 1)
    assert older.json["data"] == same.json["data"]
    assert older.headers["ETag"] == f'W/"{hashlib.sha256(older.data).hexdigest()}"'
    assert cached.get("/").status_code == 503, "the age on a page cannot be changed"
    with home.store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE lost RENAME TO snapshots"))
    home.issue(at=clock.now)
    cached.refresh()
    assert cached.get("/v1/scores").json["snapshot_id"] == 2


def test_a_full_cache_drops_the_least_recently_used(
    app: Flask, cached: FrontClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks in many ways pushes out responses that nobody requests, not those in use."""
    monkeypatch.setattr("service.http.response_cache.MAX_BYTES", 50_000)
    cached.get("/v1/scores.csv")
    requests = record_requests(app)
    for number in range(40):
        assert cached.get("/v1/scores", headers={"Accept": f"application/json;q=0.{number + 101}"}).status_code == 200
        found = cached.front.cache.find(Request("GET", "/v1/scores.csv", "", {}, ""))
        assert found
        found.used = time.monotonic()
        assert cached.get("/v1/scores.csv").status_code == 200
    assert len(requests) == 40
    table = cached.front.cache.table
    assert 0 < table.size <= 50_000
    assert sum(response.size for response in table.responses.values()) == table.size


def test_the_number_of_cached_responses_and_what_is_known_of_them_is_bounded(
    app: Flask, cached: FrontClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_cache, "MAX_RESPONSES", 20)
    for number in range(60):
        assert cached.get(f"/v1/scores?region=MLI&fields=risk_score&band_at_least=low&%61s_of={number}").status_code
        assert cached.get("/?lang=fr", headers={"Accept": f"text/html;q=0.{number + 101}"}).status_code == 200
    assert len(cached.front.cache.table.responses) <= 20
    assert cached.front.cache.table.pending == {}


def test_a_response_that_is_not_cached_waits_for_no_shared_look_up(
    cached: FrontClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flask reads the version in its own transaction. Only the watcher, and a client after a write, read another."""
    cached.get("/v1/scores")
    reads: list[str] = []
    read = state_version.read
    monkeypatch.setattr(
        state_version, "read", lambda *given: (reads.append(threading.current_thread().name), read(*given))[1]
    )
    for path in ("/v1/jobs", "/nowhere", "/v1/scores/XYZ", "/v1/scores?nix=1", "/metrics", "/readyz"):
        cached.get(path)
    for number in range(3):
        assert cached.get("/v1/scores", headers={"If-Match": f'"{number}"'}).status_code == 412
    assert [name for name in reads if name.startswith("state")] == []
    assert reads


def test_a_preference_that_is_too_long_counts_as_absent(app: Flask, cached: FrontClient) -> None:
    """Parsing 31 kB would take long, and keeping it would take memory."""
    long = {
        "Accept": "text/csv," + "text/x," * MAX_PREFERENCE,
        "Accept-Language": "fr," + "en;q=0.1," * MAX_PREFERENCE,
        "Accept-Encoding": "gzip," + "br," * MAX_PREFERENCE,
    }
    for path in ("/v1/scores", "/"):
        for _ in range(2):
            plain, response = cached.get(path), cached.get(path, headers=long)
            assert (response.status_code, response.data, fields(response)) == (200, plain.data, fields(plain))
    assert sum(len(part) for key in cached.front.cache.table.responses for part in key) < 200


def test_no_response_depends_on_the_host_header(app: Flask) -> None:
    """One cached response serves all names of the machine, and invented names cannot fill the cache."""
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda name: {"iso3": "MLI"}.get(name[1], "1"), rule.rule)
        if "GET" in (rule.methods or ()) and path not in ("/v1/stream", "/metrics"):
            one, other = (client.get(path, headers={"Host": host}) for host in ("one.example", "other.example:81"))
            assert (one.status, one.data, sorted(one.headers)) == (other.status, other.data, sorted(other.headers)), (
                path
            )


def test_a_response_that_nobody_requests_is_not_refilled_for_ever(
    home: SnapshotHome, app: Flask, cached: FrontClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    monkeypatch.setattr(
        "service.http.response_cache.time", SimpleNamespace(monotonic=lambda: seconds, sleep=time.sleep)
    )
    cached.get("/v1/scores")
    requests = record_requests(app)
    for number in range(2):
        home.issue(at=NOW + timedelta(minutes=number))
        cached.refresh()
        cached.refill()
        seconds += REFILL_WITHIN + 1
    assert requests == ["/v1/scores?"]


def test_the_state_version_changes_only_with_the_state_or_the_clock(home: SnapshotHome, clock: SettableClock) -> None:
    settings = load(home.home)

    def read() -> state_version.StateVersion:
        with home.store.reading() as connection:
            return state_version.read(connection, state_version.file_versions(home.home), settings, clock())

    assert read() == read()
    assert read().modified_at == NOW
    clock.now += timedelta(hours=1)
    assert read().overdue
    assert read().modified_at == NOW + timedelta(minutes=69), "the moment at which the next run became overdue"
