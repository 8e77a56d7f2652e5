"""Tasks: equal requests are one task; a killed task starts again; a task that is too slow fails."""

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from recompute_support import OperatedHome

from riskmodel.errors import BadInput, Refused
from riskmodel.home import Home
from service.cli.app import create_app
from service.jobs import processes
from service.jobs.job_definitions import define_jobs, newest_task
from service.jobs.job_run import Interrupted, JobRun, JobRunner
from service.jobs.task_worker import run_task
from service.jobs.withdrawal import withdraw
from service.settings import load
from service.store import leases, task_queue
from service.store.context import Context
from service.store.database import Store
from service.store.leases import Superseded
from service.store.tables import runs
from service.store.tables import tasks as table
from service.store.task_queue import QueueFull, TaskRequest

NOW = datetime(2026, 7, 25, 12, tzinfo=UTC)
KEY = {"vigie.key": "abcdef"}
"""What the gate adds to a request with a key."""

KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
KILLED_ONCE = f"""
import os, pathlib, sys
killed = pathlib.Path(sys.argv[1])
if not killed.exists():
    killed.touch()
    {KILLED}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def request_for(number: int = 0, kind: task_queue.Kind = "as_of", *, reusable: bool = True) -> TaskRequest:
    return TaskRequest.of(
        kind, {"region": "MLI", "as_of": f"2025-01-0{number + 1}T23:59:59Z"}, [number], reusable=reusable
    )


@pytest.fixture
def scored(home: Home) -> OperatedHome:
    """A home with a history and a model, before its first run."""
    return OperatedHome.ready(home)


@pytest.fixture
def store(home: Home) -> Store:
    return Store.of(home)


def all_tasks(store: Store) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.requested_at)))


def task_queue_runner(home: Home, store: Store, **chosen: Any) -> Callable[[], str | None]:
    """Return a function that runs the queue as a scheduler does, and returns how the job ended."""
    settings = load(home).model_copy(update=chosen)
    runner = JobRunner(Context(home, settings, store), stopping=lambda: False)
    job = next(job for job in define_jobs(settings) if job.name == "tasks")
    runner.declare([job])

    def run_queue() -> str | None:
        assert runner.run_now(job)
        status: str | None = leases.read(store)["tasks"].status
        return status

    return run_queue


def test_twenty_equal_requests_at_once_make_one_task(store: Store) -> None:
    together, found = threading.Barrier(20, timeout=20), []

    def ask() -> None:
        together.wait()
        found.append(task_queue.submit(store, request_for(), NOW, lambda: 50))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert len(set(found)) == len(all_tasks(store)) == 1


def test_slow_kinds_wait_for_fast_ones_and_the_queue_is_bounded(store: Store) -> None:
    task_ids = [
        task_queue.submit(store, request_for(place, kind), NOW + timedelta(seconds=place), lambda: 3)
        for place, kind in enumerate(("as_of", "whatif", "recompute"))
    ]
    with pytest.raises(QueueFull):
        task_queue.submit(store, request_for(4), NOW, lambda: 3)
    assert task_queue.submit(store, request_for(0), NOW, lambda: 3) == task_ids[0]
    with store.reading() as connection:
        places = [
            task_queue.entry(connection, task_queue.by_id(connection, number))["queue_position"] for number in task_ids
        ]
    assert places == [3, 2, 1]


def test_a_stored_result_answers_equal_requests_and_a_failure_only_for_a_while(store: Store) -> None:
    for done, again in (({"result": {"document": {}}}, True), ({"error": "an invented reason"}, False)):
        number = task_queue.submit(store, request_for(int(again)), NOW, lambda: 9)
        _run(store, number)
        task_queue.finish(store, number, 1, NOW, **done)
        assert task_queue.submit(store, request_for(int(again)), NOW + timedelta(minutes=9), lambda: 9) == number
        later = task_queue.submit(store, request_for(int(again)), NOW + timedelta(minutes=11), lambda: 9)
        assert (later == number) is again
    first = task_queue.submit(store, request_for(3, "recompute", reusable=False), NOW, lambda: 9)
    _run(store, first)
    task_queue.finish(store, first, 1, NOW, result={"run_id": 1})
    assert task_queue.submit(store, request_for(3, "recompute", reusable=False), NOW, lambda: 9) != first


def _run(store: Store, number: str) -> None:
    with store.writing() as connection:
        mine = sa.update(table).where(table.c.id == number)
        connection.execute(mine.values(status="running", attempts=1, started_at=NOW))


def test_an_attempt_that_is_no_longer_running_writes_nothing(store: Store) -> None:
    number = task_queue.submit(store, request_for(), NOW, lambda: 9)
    _run(store, number)
    with pytest.raises(Superseded):
        task_queue.finish(store, number, 2, NOW, result={})
    assert all_tasks(store)[0].status == "running"


def test_a_task_that_is_killed_each_time_fails_after_three_attempts(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_queue.submit(store, request_for(), NOW, lambda: 9)
    monkeypatch.setattr(processes, "command", lambda home, *arguments: [sys.executable, "-c", KILLED])
    assert task_queue_runner(home, store)() == "ok"
    [row] = all_tasks(store)
    assert (row.status, row.attempts, row.error) == ("failed", 3, "its process was stopped before the end, 3 times")


def test_the_next_scheduler_continues_the_task_of_one_that_is_gone(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = task_queue.submit(store, request_for(), NOW, lambda: 9)
    _run(store, number)
    monkeypatch.setattr(processes, "command", lambda home, *arguments: [sys.executable, "-c", KILLED])
    task_queue_runner(home, store)()
    assert (all_tasks(store)[0].status, all_tasks(store)[0].attempts) == ("failed", 3)


def test_a_task_that_takes_too_long_fails_with_the_reason(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_queue.submit(store, request_for(), NOW, lambda: 9)
    monkeypatch.setattr(processes, "command", lambda home, *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    task_queue_runner(home, store, task_deadline_seconds=1)()
    assert (all_tasks(store)[0].status, all_tasks(store)[0].error) == ("failed", "stopped: not done after 1 s")


def test_a_task_that_is_stopped_with_the_scheduler_goes_back_into_the_queue(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_queue.submit(store, request_for(), NOW, lambda: 9)

    def interrupt(run: JobRun, *arguments: str, deadline: float) -> None:
        raise Interrupted("stopped with the scheduler")

    monkeypatch.setattr(JobRun, "vigie", interrupt)
    assert task_queue_runner(home, store)() == "stopped"
    assert (all_tasks(store)[0].status, all_tasks(store)[0].attempts) == ("waiting", 0)


def test_a_request_makes_the_job_due_at_once(home: Home, store: Store) -> None:
    context = Context(home, load(home), store)
    before = newest_task(context)
    task_queue.submit(store, request_for(), NOW, lambda: 9)
    assert newest_task(context) != before


def test_an_error_does_not_show_the_path_of_the_home(home: Home, store: Store) -> None:
    number = task_queue.submit(store, request_for(0, "recompute"), NOW, lambda: 9)
    context = Context(home, load(home), store, lambda: NOW)
    with pytest.raises(Refused, match="waiting"):
        run_task(context, number)
    with pytest.raises(BadInput, match="no task"):
        run_task(context, "x" * 36)
    _run(store, number)
    run_task(context, number)
    assert (all_tasks(store)[0].status, all_tasks(store)[0].error) == (
        "failed",
        "the archive is empty: add data with vigie ingest",
    )
    assert str(home.root) not in all_tasks(store)[0].error


@pytest.fixture
def client(scored: OperatedHome) -> FlaskClient:
    scored.run()
    return create_app(scored.home).test_client()


def test_the_result_of_a_what_if_is_that_of_the_command(
    scored: OperatedHome, client: FlaskClient, vigie: Callable[..., Any]
) -> None:
    response = client.post("/v1/whatif", json={"location_code": "MLI", "deaths": 2}, environ_overrides=KEY)
    assert (response.status_code, response.json["data"]["status"]) == (202, "waiting")
    assert response.headers["Location"] == f"/v1/tasks/{response.json['data']['id']}"
    assert int(response.headers["Retry-After"]) > 0
    assert task_queue_runner(scored.home, scored.store)() == "ok"
    task = client.get(response.headers["Location"]).json["data"]
    assert (task["status"], task["request"]["months"], task["error"]) == ("done", 3, None)
    printed = vigie("whatif", "MLI", "--deaths", "x2", "--format", "json")
    assert task["result"] == json.loads(printed.out)
    again = client.post("/v1/whatif", json={"location_code": "MLI", "deaths": 2}, environ_overrides=KEY)
    assert again.json["data"]["id"] == task["id"]


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        (
            {"location_code": "MLI", "deaths": 2, "x": 1},
            "x",
            "unknown field; use one of: location_code, deaths, months, region",
        ),
        ({"location_code": "MLI"}, "deaths", "required"),
        ({"location_code": "XXX", "deaths": 2}, "location_code", "XXX"),
        ({"location_code": "MLI", "deaths": -1}, "deaths", "greater than or equal to 0"),
        ({"location_code": "MLI", "deaths": "2"}, "deaths", "number"),
        ({"location_code": "MLI", "deaths": 2, "months": 61}, "months", "less than or equal to 60"),
        ({"location_code": "MLI", "deaths": 2, "region": "ml1"}, "region", "pattern"),
    ],
)
def test_a_what_if_that_breaks_a_rule_names_the_rule(client: FlaskClient, body: Any, field: str, rule: str) -> None:
    refused = client.post("/v1/whatif", json=body, environ_overrides=KEY)
    payload = json.loads(refused.data)
    assert (refused.status_code, payload["type"], payload["field"]) == (400, "urn:vigie:problem:bad-body", field)
    assert rule in payload["rule"]


def test_a_requested_recompute_is_done_when_its_run_has_ended_even_if_it_was_killed_first(
    scored: OperatedHome, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = processes.command

    def command(home: Home, *arguments: str) -> list[str]:
        return [sys.executable, "-c", KILLED_ONCE, str(tmp_path / "killed"), *real(home, *arguments)[1:]]

    monkeypatch.setattr(processes, "command", command)
    response = client.post("/v1/recompute", environ_overrides=KEY)
    assert response.status_code == 202
    assert client.post("/v1/recompute", environ_overrides=KEY).headers["Location"] == response.headers["Location"]
    assert task_queue_runner(scored.home, scored.store)() == "ok"
    task = client.get(response.headers["Location"]).json["data"]
    assert (task["status"], task["attempts"]) == ("done", 2)
    assert task["result"] == {"run_id": 2, "snapshot_id": 1, "issued": False}
    assert client.get(task["result_url"]).json["data"]["snapshot_id"] == 1
    assert len(scored.rows(runs)) == 2
    assert client.post("/v1/recompute", environ_overrides=KEY).headers["Location"] != response.headers["Location"]
    assert client.post("/v1/recompute", data="x", environ_overrides=KEY).status_code == 400


def test_a_recompute_of_withdrawn_input_is_done_without_a_snapshot(scored: OperatedHome, client: FlaskClient) -> None:
    withdraw(scored.store, (), 1, "an invented mistake", NOW)
    response = client.post("/v1/recompute", environ_overrides=KEY)
    assert task_queue_runner(scored.home, scored.store)() == "ok"
    task = client.get(response.headers["Location"]).json["data"]
    assert (task["status"], task["result"]["snapshot_id"], task["result"]["issued"]) == ("done", None, False)
    assert (task["result_url"], task["reasons"]["result_url"]) == (None, "in_result")


def test_a_request_needs_a_key_and_room_in_the_queue(scored: OperatedHome, client: FlaskClient) -> None:
    for path, body in (("/v1/recompute", None), ("/v1/whatif", {"location_code": "MLI", "deaths": 2})):
        refused = client.post(path, json=body) if body else client.post(path)
        assert (refused.status_code, json.loads(refused.data)["type"]) == (401, "urn:vigie:problem:key-needed")
    assert client.get("/v1/recompute").status_code == 405
    for number in range(50):
        task_queue.submit(scored.store, TaskRequest.of("whatif", {"region": "MLI"}, [number]), NOW, lambda: 50)
    assert client.post("/v1/recompute", environ_overrides=KEY).status_code == 202, "a recompute always has a place"
    full = client.post("/v1/whatif", json={"location_code": "MLI", "deaths": 2}, environ_overrides=KEY)
    assert (full.status_code, full.headers["Retry-After"]) == (503, "30")
    assert json.loads(full.data)["type"] == "urn:vigie:problem:queue-full"


def test_an_unknown_task_is_a_problem(client: FlaskClient) -> None:
    unknown = client.get(f"/v1/tasks/{'0' * 36}")
    assert (unknown.status_code, json.loads(unknown.data)["type"]) == (404, "urn:vigie:problem:unknown-task")
