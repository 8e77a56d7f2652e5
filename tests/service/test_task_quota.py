"""Who starts computations: keys, and others only where the operator wants it, in a limited number."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from gated import FAR, bearer, problem_kind
from html_page import BROWSER
from inprocess import FrontClient
from snapshot_documents import NOW
from snapshots_support import SettableClock, SnapshotHome

from service.cli.app import create_app
from service.http import keys
from service.http.gate import Gate
from service.http.keys import Keyring
from service.http.rate_limit import RequestCounter
from service.http.request_context import context_of
from service.store import task_queue
from service.store.tables import tasks
from service.store.values import instant

PAST = "/v1/scores?as_of=2023-01-05"
"""A moment at which data were known and nothing had been issued."""


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    made = SnapshotHome(tmp_path / "home")
    made.add_ingests("real")
    made.issue()
    return made


@pytest.fixture
def server(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FrontClient]:
    """A server that listens on a host, with settings."""

    def make(listens_on: str = "0.0.0.0", **settings: Any) -> FrontClient:
        for name, value in {"public_read": True, **settings}.items():
            monkeypatch.setenv(f"VIGIE_{name.upper()}", json.dumps(value))
        app = create_app(home.home, clock=SettableClock())
        context = context_of(app)
        counter = RequestCounter(context.home.run)
        gate = Gate(context.settings, Keyring(context.store), counter, listens_on=listens_on)
        return FrontClient(app, context.settings, gate, remote=FAR)

    return make


@pytest.fixture
def reader(home: SnapshotHome) -> dict[str, str]:
    return bearer(keys.add(home.store, "read", "a reader", NOW))


@pytest.fixture
def writer(home: SnapshotHome) -> dict[str, str]:
    return bearer(keys.add(home.store, "write", "a writer", NOW))


def count_tasks(home: SnapshotHome) -> int:
    with home.store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(tasks)) or 0)


def forget_tasks(home: SnapshotHome) -> None:
    with home.store.writing() as connection:
        connection.execute(sa.delete(tasks))


def fill_queue(home: SnapshotHome, number: int) -> None:
    for each in range(number):
        parameters = {"as_of": "2020-01-01T00:00:00Z", "region": "MLI", "outcome": "all", "data_digest": str(each)}
        request = task_queue.TaskRequest.of("as_of", parameters, [each])
        task_queue.submit(home.store, request, NOW, lambda: 1_000)


def test_a_full_queue_takes_nothing_from_the_quota(
    home: SnapshotHome, server: Callable[..., FrontClient], reader: dict[str, str]
) -> None:
    client = server(limits={"tasks_per_hour": 1}, max_waiting_tasks=5)
    fill_queue(home, 5)
    for _ in range(3):
        assert problem_kind(client.get(PAST, headers=reader)) == "queue-full"
    forget_tasks(home)
    assert client.get(PAST, headers=reader).status_code == 202


def test_an_anonymous_read_starts_nothing_on_a_public_server(
    home: SnapshotHome, server: Callable[..., FrontClient], reader: dict[str, str]
) -> None:
    client = server()
    for path in (PAST, "/v1/drivers/MLI?as_of=2023-01-05", "/v1/scores.csv?as_of=2023-01-05"):
        assert problem_kind(client.get(path)) == "tasks-need-a-key"
    page = client.get("/fr/?as_of=2023-01-05", headers=BROWSER)
    assert (page.status_code, "Pas encore calculé" in page.text) == (403, True)
    assert count_tasks(home) == 0
    assert client.get(PAST, headers=reader).status_code == 202
    assert count_tasks(home) == 1
    assert client.get(PAST).status_code == 202, "everybody can follow a task that a key has started"
    assert client.get(f"/v1/scores?as_of={instant(NOW)}").status_code == 200, "what was issued needs no computation"


@pytest.mark.parametrize(
    ("listens_on", "remote", "forwarded", "setting", "status"),
    [
        ("127.0.0.1", "127.0.0.1", None, None, 202),
        ("127.0.0.1", "127.0.0.1", FAR, None, 403),
        ("127.0.0.1", "127.0.0.1", None, False, 403),
        ("127.0.0.1", "127.0.0.1", FAR, True, 202),
        ("0.0.0.0", "127.0.0.1", None, None, 403),
        ("0.0.0.0", FAR, None, True, 202),
    ],
)
def test_the_setting_and_the_address_decide(
    server: Callable[..., FrontClient],
    listens_on: str,
    remote: str,
    forwarded: str | None,
    setting: bool | None,
    status: int,
) -> None:
    client = server(listens_on, **({} if setting is None else {"public_tasks": setting}))
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert client.get(PAST, headers=headers, remote=remote).status_code == status


def test_a_key_finds_a_place_after_a_flood_of_anonymous_reads(
    home: SnapshotHome, server: Callable[..., FrontClient], reader: dict[str, str], writer: dict[str, str]
) -> None:
    client = server(public_tasks=True, max_waiting_tasks=10)
    fill_queue(home, 8)
    assert problem_kind(client.get(PAST)) == "queue-full"
    assert client.get(PAST, headers=reader).status_code == 202
    fill_queue(home, 20)
    assert client.post("/v1/whatif", json={"location_code": "MLI", "deaths": 2}, headers=writer).status_code == 503
    assert client.post("/v1/recompute", headers=writer).status_code == 202
    assert client.post("/v1/recompute", headers=writer).status_code == 202


def test_each_address_and_key_starts_a_limited_number_in_an_hour(
    home: SnapshotHome, server: Callable[..., FrontClient], reader: dict[str, str]
) -> None:
    client = server(public_tasks=True, limits={"tasks_per_hour": 2})
    for headers in ({}, reader):
        for _ in range(2):
            forget_tasks(home)
            assert client.get(PAST, headers=headers).status_code == 202
            assert client.get(PAST, headers=headers).status_code == 202, "an equal request is the same task"
        forget_tasks(home)
        refused = client.get(PAST, headers=headers)
        assert problem_kind(refused) == "too-many-tasks"
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert client.get(PAST, remote="203.0.113.77").status_code == 202, "another address has a limit of its own"
