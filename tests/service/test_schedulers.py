"""Schedulers as processes: two beside each other, killed, and asked to end in the middle of their work."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from watch import Watch

from riskmodel.home import Home
from service.store import leases
from service.store.database import Store
from service.store.tables import runs, snapshots

SCHEDULER = """
import sys
from datetime import timedelta
from pathlib import Path
from riskmodel.home import Home
from service.jobs import processes, scheduler
from service.settings import load

home, every, code = Home(Path(sys.argv[1])), timedelta(seconds=float(sys.argv[2])), sys.argv[3]
processes.command = lambda home, *arguments: [sys.executable, "-c", *arguments]
job = scheduler.Job("work", every, timedelta(seconds=60), lambda turn: turn.expect(code))
scheduler.declared = lambda settings: (job,)
scheduler.run(home, load(home))
"""
"""A scheduler of one job, whose child runs a piece of Python."""


@pytest.fixture
def store(home: Home) -> Store:
    return Store.of(home)


def row(store: Store, name: str = "work") -> Any:
    return leases.read(store)[name]


def waited(truth: Callable[[], Any], within: float = 20.0) -> Any:
    """What comes true, once it does."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if found := truth():
            return found
        time.sleep(0.05)
    raise AssertionError("did not come true in time")


@contextmanager
def schedulers(home: Home, number: int, every: float, code: str, **environment: str) -> Iterator[list[Any]]:
    """Real schedulers beside each other, whose job's child runs this code."""
    line = [sys.executable, "-c", SCHEDULER, str(home.root), str(every), code]
    with ExitStack() as kept:
        started = []
        for _ in range(number):
            child = subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, **environment})
            kept.callback(child.communicate)
            kept.callback(child.kill)
            started.append(child)
        yield started


def test_two_schedulers_run_each_job_once_and_one_that_is_killed_is_replaced(
    home: Home, store: Store, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    code = (
        "import os, time; from service.jobs import processes; from service.store import leases;"
        "processes.end_with_parent();"
        f"turn = leases.Fence.from_environment().token; open({str(book)!r}, 'a').write(f'{{turn}} {{time.time()}}\\n');"
        "time.sleep(60 if turn == 3 else 0)"
    )
    with schedulers(home, 2, 2, code, VIGIE_LEASE_SECONDS="2") as running:
        waited(lambda: book.exists() and len(book.read_text().splitlines()) == 3, 30)
        at = {int(row(store).holder.rsplit(":", 1)[1])}
        (holder,) = (process for process in running if process.pid in at)
        holder.kill()
        killed = time.time()
        waited(lambda: row(store).token > 3 and row(store).status == "ok")
    turns = [line.split() for line in book.read_text().splitlines()]
    assert [int(turn) for turn, _ in turns[:4]] == [1, 2, 3, 4]
    moments = [float(moment) for _, moment in turns]
    assert all(later - before > 1 for before, later in pairwise(moments[:3]))
    assert moments[3] - killed > 0.5, "its lease was waited for"


def test_asked_to_end_it_stops_what_is_under_way(home: Home, store: Store, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with schedulers(home, 1, 3600, code) as (running,):
        child = int(waited(lambda: mark.exists() and mark.read_text()))
        running.send_signal(signal.SIGTERM)
        assert running.wait(15) == 0
    after = row(store)
    assert (after.status, after.error, after.holder) == ("stopped", "stopped with the scheduler", None)
    assert leases.due_at(after, timedelta(hours=1), now := datetime.now(UTC)) == now, (
        "whoever comes next does it at once"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_asked_to_end_in_the_middle_of_a_recompute_it_is_finished_or_rolled_back(home: Home) -> None:
    watch = Watch.begun(home)
    line = [sys.executable, "-m", "riskmodel", "--home", str(watch.home.root), "scheduler"]

    def running(statuses: set[str]) -> bool:
        return bool({run.status for run in watch.rows(runs)} & statuses)

    first = subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, "VIGIE_LOG_FORMAT": "json"})
    waited(lambda: running({"running"}), 40)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=20)
    assert first.returncode == 0
    assert not running({"running"})
    ended, issued = row(watch.store, "recompute"), len(watch.rows(snapshots))
    assert (ended.status, issued) in {("stopped", 0), ("stopped", 1), ("ok", 1)}
    lines = [json.loads(one) for one in said.decode().splitlines()]
    assert {"at", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    second = subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, "VIGIE_LOG_FORMAT": "json"})
    waited(lambda: row(watch.store, "recompute").status == "ok", 40)
    second.send_signal(signal.SIGTERM)
    said = second.communicate(timeout=20)[1].decode()
    assert len(watch.rows(snapshots)) == 1
    told = [json.loads(one) for one in said.splitlines()]
    assert issued or [one["run_id"] for one in told if "snapshot 1 issued" in one["message"]] == [2]
