"""The scheduler: APScheduler starts the jobs; several schedulers, one that is killed, and one that is stopped."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from recompute_support import OperatedHome

from riskmodel.home import Home
from service.jobs import scheduler as scheduler_module
from service.jobs.job_run import Job, JobRun, JobRunner
from service.jobs.scheduler import Scheduler
from service.settings import load
from service.store import leases
from service.store.context import Context
from service.store.database import Store
from service.store.tables import runs, snapshots

HOUR = timedelta(hours=1)

SCHEDULER = """
import sys
from datetime import timedelta
from pathlib import Path
from riskmodel.home import Home
from service.jobs import fork_server, processes, scheduler
from service.jobs.job_run import Job
from service.settings import load

home, every, code = Home(Path(sys.argv[1])), timedelta(seconds=float(sys.argv[2])), sys.argv[3]
fork_server.AVAILABLE = False
processes.command = lambda home, *arguments: [sys.executable, "-c", *arguments]
job = Job("work", every, timedelta(seconds=60), lambda run: run.vigie(code))
scheduler.define_jobs = lambda settings: (job,)
scheduler.run(home, load(home))
"""
"""A scheduler process with one job, whose child runs a piece of Python."""


@pytest.fixture
def store(home: Home) -> Store:
    return Store.of(home)


def row(store: Store, name: str = "work") -> Any:
    return leases.read(store)[name]


def wait_until(condition: Callable[[], Any], within: float = 20.0) -> Any:
    """Return what `condition` returns, once that is true."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("did not become true in time")


@contextmanager
def started(home: Home, store: Store, *jobs: Job) -> Iterator[Scheduler]:
    """A scheduler that runs in this process."""
    scheduler = Scheduler(JobRunner(Context(home, load(home), store), stopping=lambda: False), jobs)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shut_down()


def times(moments: list[float]) -> Callable[[JobRun], None]:
    """The work of a job that notes when it runs [s]."""
    return lambda run: moments.append(time.monotonic())


def test_a_trigger_starts_a_job_again_and_again(home: Home, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch looks only once, at the start: it is APScheduler's trigger that keeps the interval."""
    monkeypatch.setattr(scheduler_module, "WATCH_EVERY", 3600.0)
    moments: list[float] = []
    with started(home, store, Job("work", timedelta(seconds=1), HOUR, times(moments))):
        wait_until(lambda: len(moments) == 4)
    assert all(0.9 < later - earlier < 3 for earlier, later in pairwise(moments))
    assert row(store).token == len(moments)


def test_changed_inputs_start_a_run_within_seconds(home: Home, store: Store) -> None:
    moments: list[float] = []
    inputs = ["a"]
    with started(home, store, Job("work", HOUR, HOUR, times(moments), lambda context: inputs[0])):
        wait_until(lambda: moments)
        time.sleep(1.5)
        changed_at, inputs[0] = time.monotonic(), "b"
        wait_until(lambda: len(moments) == 2)
        time.sleep(2.5)
    assert moments[1] - changed_at < 3
    assert len(moments) == 2


def test_a_job_that_takes_long_does_not_delay_another(home: Home, store: Store) -> None:
    moments: list[float] = []
    slow = Job("slow", timedelta(seconds=1), HOUR, lambda run: time.sleep(4))
    with started(home, store, slow, Job("work", timedelta(seconds=1), HOUR, times(moments))):
        wait_until(lambda: len(moments) == 3, within=3.9)


def test_a_run_that_ends_during_the_shutdown_does_not_block_it(home: Home, store: Store) -> None:
    starts: list[float] = []

    def work(run: JobRun) -> None:
        starts.append(time.monotonic())
        time.sleep(1)

    scheduler = Scheduler(
        JobRunner(Context(home, load(home), store), stopping=lambda: False), [Job("work", HOUR, HOUR, work)]
    )
    scheduler.start()
    wait_until(lambda: starts)
    shutdown = threading.Thread(target=scheduler.shut_down, daemon=True)
    shutdown.start()
    shutdown.join(30)
    assert not shutdown.is_alive()
    assert row(store).status == "ok"


def test_a_clock_that_was_set_back_does_not_stop_the_watch(
    home: Home, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    moments: list[float] = []
    inputs = ["a"]
    with started(home, store, Job("work", HOUR, HOUR, times(moments), lambda context: inputs[0])) as scheduler:
        wait_until(lambda: moments)
        scheduler.check_clock(datetime.now(UTC))
        assert "set back" not in caplog.text
        scheduler.check_clock(datetime.now(UTC) - HOUR)
        assert "the clock was set back" in caplog.text
        inputs[0] = "b"
        wait_until(lambda: len(moments) == 2)


def test_a_database_that_is_unavailable_is_logged_once_and_tried_again(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moments: list[float] = []
    inputs = ["a"]
    with (
        caplog.at_level(logging.INFO),
        started(home, store, Job("work", HOUR, HOUR, times(moments), lambda context: inputs[0])),
    ):
        wait_until(lambda: moments)
        calls: list[Store] = []

        def unavailable(store: Store) -> Any:
            calls.append(store)
            raise OSError("gone")

        with monkeypatch.context() as broken:
            broken.setattr(leases, "read", unavailable)
            wait_until(lambda: len(calls) >= 3)
        inputs[0] = "b"
        wait_until(lambda: len(moments) == 2)
    messages = [record.getMessage() for record in caplog.records if record.name == "vigie.jobs"]
    assert messages.count("job watch cannot be started: OSError: gone") == 1
    assert messages.count("job watch can be started again") == 1


def test_a_missed_run_is_logged_and_made_up_for(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One thread for all jobs, and a slow job: the others start too late."""
    thread_pool = scheduler_module.ThreadPoolExecutor
    monkeypatch.setattr(scheduler_module, "ThreadPoolExecutor", lambda threads: thread_pool(1))
    monkeypatch.setattr(scheduler_module, "MISFIRE_GRACE", 1)
    moments: list[float] = []
    slow = Job("slow", HOUR, HOUR, lambda run: time.sleep(3))
    with started(home, store, slow, Job("work", timedelta(seconds=1), HOUR, times(moments))):
        wait_until(lambda: moments and "was missed" in caplog.text)


@contextmanager
def schedulers(home: Home, number: int, every: float, code: str, **environment: str) -> Iterator[list[Any]]:
    """Scheduler processes over one home, whose job's child runs this code."""
    line = [sys.executable, "-c", SCHEDULER, str(home.root), str(every), code]
    with ExitStack() as cleanup:
        processes = []
        for _ in range(number):
            process = subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, **environment})
            cleanup.callback(process.communicate)
            cleanup.callback(process.kill)
            processes.append(process)
        yield processes


def test_two_schedulers_run_each_job_once_and_one_that_is_killed_is_replaced(
    home: Home, store: Store, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    code = (
        "import time; from riskmodel.parent_process import end_with_parent; from service.store.leases import Fence;"
        "end_with_parent(); token = Fence.from_environment().token;"
        f"open({str(notes)!r}, 'a').write(f'{{token}} {{time.time()}}\\n');"
        "time.sleep(60 if token == 3 else 0)"
    )
    with schedulers(home, 2, 2, code, VIGIE_LEASE_SECONDS="2") as running:
        wait_until(lambda: notes.exists() and len(notes.read_text().splitlines()) == 3, 30)
        pid = int(row(store).holder.rsplit(":", 1)[1])
        (holder,) = (process for process in running if process.pid == pid)
        holder.kill()
        killed_at = time.time()
        wait_until(lambda: row(store).token > 3 and row(store).status == "ok")
    lines = [line.split() for line in notes.read_text().splitlines()]
    assert [int(token) for token, _ in lines[:4]] == [1, 2, 3, 4]
    moments = [float(moment) for _, moment in lines]
    assert all(later - earlier > 1 for earlier, later in pairwise(moments[:3]))
    assert moments[3] - killed_at > 0.5, "not before its lease has expired"


def test_a_scheduler_that_is_asked_to_end_stops_its_runs(home: Home, store: Store, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with schedulers(home, 1, 3600, code) as (running,):
        child = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))
        running.send_signal(signal.SIGTERM)
        assert running.wait(15) == 0
    after = row(store)
    assert (after.status, after.error, after.holder) == ("stopped", "stopped with the scheduler", None)
    assert leases.due_at(after, timedelta(hours=1), now := datetime.now(UTC)) == now, (
        "the next scheduler runs it at once"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_recompute_that_is_stopped_is_finished_or_rolled_back(home: Home) -> None:
    operated = OperatedHome.ready(home)
    line = [sys.executable, "-m", "riskmodel", "--home", str(operated.home.root), "scheduler"]

    def running(statuses: set[str]) -> bool:
        return bool({run.status for run in operated.rows(runs)} & statuses)

    first = subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, "VIGIE_LOG_FORMAT": "json"})
    try:
        wait_until(lambda: running({"running"}), 40)
    finally:
        first.send_signal(signal.SIGTERM)
        _, log = first.communicate(timeout=20)
    assert first.returncode == 0
    assert not running({"running"})
    ended, issued = row(operated.store, "recompute"), len(operated.rows(snapshots))
    assert (ended.status, issued) in {("stopped", 0), ("stopped", 1), ("ok", 1)}
    lines = [json.loads(one) for one in log.decode().splitlines()]
    assert {"at", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    second = subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, "VIGIE_LOG_FORMAT": "json"})
    try:
        wait_until(lambda: row(operated.store, "recompute").status == "ok", 40)
    finally:
        second.send_signal(signal.SIGTERM)
        log_text = second.communicate(timeout=20)[1].decode()
    assert len(operated.rows(snapshots)) == 1
    log_lines = [json.loads(one) for one in log_text.splitlines()]
    assert issued or [one["run_id"] for one in log_lines if "snapshot 1 issued" in one["message"]] == [2]
