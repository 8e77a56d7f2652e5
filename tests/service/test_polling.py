"""Answers kept ahead of Flask: the same as Flask's, renewed when anything moves, never older than what was seen."""

import gzip
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import flask
import pytest
import sqlalchemy as sa
from flask import Flask
from issued import NOW, Clock, Issuer
from werkzeug.test import Client, TestResponse

from service.alerts import outbox
from service.cli.app import create_app
from service.http import state_version
from service.http.response_cache import WANTED_FOR, Polling, Turns
from service.settings import load
from service.store.tables import deliveries

PATHS = (
    *("/v1/scores", "/v1/scores.csv", "/v1/scores/MLI", "/v1/indicators", "/v1/indicators/SEN", "/v1/drivers/MLI"),
    *("/v1/runs", "/v1/snapshots/1", "/v1/alerts", "/", "/?lang=fr", "/country/MLI"),
)

MOMENTS = ("Date", "Expires")
"""Headers that tell the moment of an answer: two answers may lie on either side of a second."""


@pytest.fixture
def home(tmp_path: Path) -> Issuer:
    issuer = Issuer(tmp_path / "home")
    issuer.hold("real")
    os.utime(issuer.home.archive / "manifest.json", (NOW.timestamp(), NOW.timestamp()))
    issuer.issue()
    return issuer


@pytest.fixture
def kept(app: Flask) -> Client:
    """A client of the wrapper, which nothing watches: tests look themselves."""
    return Client(Polling(app), TestResponse)


def look(client: Client) -> None:
    client.application.look()


def asked(app: Flask) -> list[str]:
    """What reaches Flask from now on."""
    reached: list[str] = []
    flask.request_started.connect(lambda *_, **__: reached.append(flask.request.full_path), app, weak=False)
    return reached


@pytest.mark.parametrize("path", PATHS)
def test_kept_bytes_are_what_flask_answers(app: Flask, kept: Client, path: str) -> None:
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
            plain = app.test_client().open(path, method=method, headers=headers)
            kept.open(path, method=method, headers=headers)
            answer = kept.open(path, method=method, headers=headers)
            assert answer.status == plain.status, headers
            assert sorted(answer.headers) == sorted(plain.headers), headers
            assert answer.data == plain.data, headers
            if answer.status_code == 200 and method == "GET":
                body = gzip.decompress(answer.data) if "Content-Encoding" in answer.headers else answer.data
                assert answer.headers["ETag"] == f'W/"{hashlib.sha256(body).hexdigest()}"'


def test_what_is_kept_does_not_reach_flask(app: Flask, kept: Client) -> None:
    reached = asked(app)
    for _ in range(3):
        for path in PATHS:
            assert kept.get(path).status_code == 200
    assert len(reached) == len(PATHS)


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v1/changes", "/v1/jobs", "/v1/scores/XYZ", "/nowhere", "/static/vigie.css"]
)
def test_what_marks_do_not_know_is_not_kept(app: Flask, kept: Client, path: str) -> None:
    reached = asked(app)
    plain = app.test_client().get(path)
    for _ in range(2):
        answer = kept.get(path)
        assert (answer.status, answer.data) == (plain.status, plain.data)
        told, plainly = (sorted(h for h in each.headers if h[0] not in MOMENTS) for each in (answer, plain))
    assert told == plainly
    assert len(reached) == 3


def test_clients_that_want_different_forms_get_them(kept: Client) -> None:
    for _ in range(2):
        assert kept.get("/v1/scores", headers={"Accept": "text/csv"}).mimetype == "text/csv"
        assert kept.get("/v1/scores").mimetype == "application/json"
        assert kept.get("/", headers={"Accept-Language": "fr"}).headers["Content-Language"] == "fr"
        assert kept.get("/", headers={"Accept-Language": "en"}).headers["Content-Language"] == "en"


def test_answers_are_fresh_until_the_next_run_and_pages_a_short_while(kept: Client, clock: Clock) -> None:
    assert kept.get("/v1/scores").headers["Cache-Control"] == "public, max-age=2340"
    clock.now += timedelta(minutes=30)
    assert kept.get("/v1/scores").headers["Cache-Control"] == "public, max-age=540"
    clock.now += timedelta(minutes=30)
    assert kept.get("/v1/scores").headers["Cache-Control"] == "public, max-age=5"
    assert kept.get("/").headers["Cache-Control"] == "public, max-age=30"


def test_no_answer_is_fresh_beyond_the_day_for_ages_are_in_days(home: Issuer, kept: Client, clock: Clock) -> None:
    home.run("unchanged", at=NOW.replace(hour=23, minute=50), snapshot=1)
    clock.now = NOW.replace(hour=23, minute=55)
    assert kept.get("/v1/scores").headers["Cache-Control"] == "public, max-age=300"


def test_a_date_is_given_once_its_second_is_over(home: Issuer, kept: Client, clock: Clock) -> None:
    clock.now = NOW + timedelta(hours=1, milliseconds=300)
    home.run("unchanged", at=NOW + timedelta(hours=1, milliseconds=200), snapshot=1)
    look(kept)
    assert "Last-Modified" not in kept.get("/v1/scores").headers
    clock.now += timedelta(seconds=1)
    assert kept.get("/v1/scores").headers["Last-Modified"] == "Tue, 10 Jan 2023 09:30:00 GMT"


def test_while_messages_are_undelivered_there_is_no_date(home: Issuer, kept: Client) -> None:
    """Their attempts change what is said and have no moment; a date would say that nothing had changed."""
    with home.store.writing() as connection:
        data = {"headline": {"en": "Alert", "fr": "Alerte"}}
        lost = outbox.enqueue(connection, route="duty", kind="firing", data=data, now=NOW)
        connection.execute(sa.update(deliveries).where(deliveries.c.id == lost).values(status="failed", attempts=9))
    assert "Last-Modified" not in kept.get("/v1/alerts").headers


def test_whatever_moves_is_seen_at_the_next_look(home: Issuer, kept: Client, clock: Clock) -> None:
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
        before = {path: kept.get(path).headers["ETag"] for path in PATHS}
        change()
        look(kept)
        assert {path: kept.get(path).headers["ETag"] for path in PATHS} != before, what


def test_real_data_retire_what_is_kept_of_simulated(tmp_path: Path, clock: Clock) -> None:
    home = Issuer(tmp_path / "home")
    home.hold("simulated")
    home.issue(simulated=True)
    kept = Client(Polling(create_app(home.home, clock=clock)), TestResponse)
    assert all(kept.get(path).status_code == 200 for path in PATHS)
    home.hold("simulated", "real")
    look(kept)
    for path in PATHS:
        answer = kept.get(path)
        if path.startswith("/v1/runs"):
            assert (answer.json["simulated"], answer.json["snapshot_id"]) == (False, None)
        else:
            assert answer.status_code == 503, path


def test_whoever_was_told_of_news_finds_nothing_older(home: Issuer, kept: Client) -> None:
    """What is not kept is read from the store, which may be ahead of what is kept: then that is given up at once."""
    assert kept.get("/v1/scores").json["snapshot_id"] == 1
    home.issue(at=NOW + timedelta(minutes=10))
    assert kept.get("/v1/scores").json["snapshot_id"] == 1  # nobody has looked yet
    assert kept.get("/v1/scores/XYZ").status_code == 404
    assert kept.get("/v1/scores").json["snapshot_id"] == 2
    home.issue(at=NOW + timedelta(minutes=11))
    assert kept.get("/v1/scores/DZA").json["snapshot_id"] == 3
    assert kept.get("/v1/scores").json["snapshot_id"] == 3


def test_workers_of_one_machine_do_not_fall_behind_each_other(home: Issuer, clock: Clock) -> None:
    workers = [Client(Polling(create_app(home.home, clock=clock)), TestResponse) for _ in range(3)]
    for number in range(2, 6):
        home.issue(at=NOW + timedelta(minutes=number))
        look(workers[number % 3])
        assert [worker.get("/v1/scores").json["snapshot_id"] for worker in workers] == [number] * 3


def test_turns_are_counted_by_all(tmp_path: Path) -> None:
    one, other = Turns(tmp_path / "turns"), Turns(tmp_path / "turns")
    first = one.seen()
    second = one.turn(first)
    assert second != first
    assert other.seen() == second
    assert other.turn(first) == first, "somebody has counted in between: look again"
    assert one.seen() not in (first, second)


def test_many_who_ask_at_once_for_what_has_changed_ask_flask_once(home: Issuer, app: Flask, kept: Client) -> None:
    kept.get("/v1/scores")
    reached = asked(app)
    home.issue(at=NOW + timedelta(minutes=10))
    look(kept)
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.append(kept.get("/v1/scores").json["snapshot_id"])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen, len(reached)) == ([2] * 8, 1)


def test_the_watcher_fills_in_what_was_in_use(home: Issuer, app: Flask) -> None:
    polling = Polling(app).watching()
    kept = Client(polling, TestResponse)
    for path in PATHS:
        kept.get(path)
    home.issue(at=NOW + timedelta(minutes=10))
    reached = asked(app)
    until = threading.Event()
    for _ in range(100):
        if len(reached) == len(PATHS) and not polling._wanted:
            break
        until.wait(0.05)
    assert kept.get("/v1/scores").json["snapshot_id"] == 2
    assert len(reached) == len(PATHS)


def test_without_the_store_the_last_answers_go_on_and_grow_older(home: Issuer, kept: Client, clock: Clock) -> None:
    for path in PATHS:
        kept.get(path)
    lose = sa.text("ALTER TABLE snapshots RENAME TO lost")
    find = sa.text("ALTER TABLE lost RENAME TO snapshots")
    with home.store.writing() as connection:
        connection.execute(lose)
    look(kept)
    same = kept.get("/v1/scores")
    assert (same.json["status"], same.json["data_age_days"]) == ("fresh", 10)
    assert kept.get("/v1/scores/GIN").json["type"] == "urn:vigie:problem:unreadable-store"
    clock.now += timedelta(days=60)
    look(kept)
    older = kept.get("/v1/scores", headers={"If-None-Match": same.headers["ETag"]})
    assert (older.json["status"], older.json["data_age_days"], older.json["snapshot_id"]) == ("late", 70, 1)
    assert older.json["data"] == same.json["data"]
    assert older.headers["ETag"] == f'W/"{hashlib.sha256(older.data).hexdigest()}"'
    assert kept.get("/").status_code == 503, "a page cannot be made older"
    with home.store.writing() as connection:
        connection.execute(find)
    home.issue(at=clock.now)
    look(kept)
    assert kept.get("/v1/scores").json["snapshot_id"] == 2


def test_no_more_is_kept_than_there_is_room_for(app: Flask, kept: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for again and again stays; who asks in many ways drives out what nobody asks for."""
    monkeypatch.setattr("service.http.response_cache.ROOM", 50_000)
    kept.get("/v1/scores.csv")
    reached = asked(app)
    for number in range(40):
        assert kept.get("/v1/scores", headers={"Accept": f"application/json;q=0.{number + 101}"}).status_code == 200
        kept.application._table.find({"PATH_INFO": "/v1/scores.csv"}).used = time.monotonic()
        assert kept.get("/v1/scores.csv").status_code == 200
    assert len(reached) == 40
    table = kept.application._table
    assert 0 < table.size <= 50_000
    assert sum(answer.size for answer in table.answers.values()) == table.size


def test_no_answer_depends_on_the_host_that_is_named(app: Flask) -> None:
    """So one kept answer serves all names of the machine, and nobody fills the room with invented ones."""
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda name: {"iso3": "MLI"}.get(name[1], "1"), rule.rule)
        if "GET" in (rule.methods or ()) and path not in ("/v1/stream", "/metrics"):
            one, other = (client.get(path, headers={"Host": host}) for host in ("one.example", "other.example:81"))
            assert (one.status, one.data, sorted(one.headers)) == (other.status, other.data, sorted(other.headers)), (
                path
            )


def test_what_nobody_asks_for_is_not_made_anew_for_ever(
    home: Issuer, app: Flask, kept: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    monkeypatch.setattr(
        "service.http.response_cache.time", SimpleNamespace(monotonic=lambda: seconds, sleep=time.sleep)
    )
    kept.get("/v1/scores")
    reached = asked(app)
    for number in range(2):
        home.issue(at=NOW + timedelta(minutes=number))
        look(kept)
        kept.application._fill()
        seconds += WANTED_FOR + 1
    assert reached == ["/v1/scores?"]


def test_equal_marks_mean_equal_answers_whoever_reads_them(home: Issuer, clock: Clock) -> None:
    settings = load(home.home)

    def read() -> state_version.Marks:
        with home.store.reading() as connection:
            return state_version.read(connection, state_version.files(home.home), settings, clock())

    assert read() == read()
    assert read().modified_at == NOW
    clock.now += timedelta(hours=1)
    assert read().overdue
    assert read().modified_at == NOW + timedelta(minutes=69), "the moment from which the next run was overdue"
