"""Faults of a running Vigie: nothing is lost, nothing is sent twice, and only computed scores are served.

A short set with one seed always runs; `pytest -m long` runs for minutes and prints its counts.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_clients import Client
from fault_lives import PATIENCE, RunningVigie, alive, family, running_vigie, wait_until
from servers import free_port
from snapshots_support import SnapshotHome

from riskmodel import bundle
from riskmodel.errors import VigieError
from riskmodel.parent_process import PARENT_VARIABLE
from service.jobs import processes

if TYPE_CHECKING:
    from postgres_server import Server

ROOM = 24 * 2**20
"""The size of the disk that is filled [bytes]."""

STRIKES = 30
"""The number of kills in the long set, for each seed."""

SHORT_KILLS = 1
"""The number of kills in the short set. The long set kills every kind of process."""

KILLS = (("worker",), ("web",), ("scheduler",), ("forkserver",), ("recompute",), ("alerts", "deliver"))

LASTS = {("alerts", "deliver"): 0.1, ("recompute",): 1.5}
"""How long after its start a child is killed at the latest [s]."""

Switch = Callable[[], None]


@pytest.fixture(autouse=True)
def database(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SQLite in a folder of its own, which can be moved away in one step; or PostgreSQL."""
    with request.getfixturevalue("databases")():
        if request.config.getoption("--database") == "sqlite":
            (tmp_path / "db").mkdir()
            monkeypatch.setenv("VIGIE_DATABASE_URL", f"sqlite:///{tmp_path}/db/vigie.db")
        yield


@pytest.fixture
def outage(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Switch, Switch]:
    """Two functions: one makes the database unavailable, the other one available again."""
    if request.config.getoption("--database") == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.stop, server.start
    here, away = tmp_path / "db", tmp_path / "away"
    return lambda: (here.rename(away), None)[1], lambda: (away.rename(here), None)[1]


def kill_during_work(running: RunningVigie, *words: str) -> None:
    """Ingest new data, and kill a process at a random moment of the work that follows."""
    running.revise_data()
    if words in (("recompute",), ("alerts", "deliver")):
        doing = f"{words} is at work; log:\n{running.log_text()[-3000:]}"
        wait_until(lambda: running.is_working(*words), doing, every=0.02)
    time.sleep(running.rng.uniform(0, LASTS.get(words, 2.5)))
    running.kill(*words)


def test_after_kills_at_random_moments_nothing_is_lost_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    with running_vigie(tmp_path, seed=6) as running:
        for words in running.rng.sample(KILLS, SHORT_KILLS):
            kill_during_work(running, *words)
        running.wait_until_current()
        running.revise_data()
        time.sleep(running.rng.uniform(0, 2))
        running.kill_all()
        running.wait_until_current()
        counts = running.settle()
    assert counts["kill -9 of all at once"] == 1
    assert counts["snapshots"] >= 3
    assert counts["bodies"]


def test_a_web_worker_that_starts_after_its_server_was_killed_ends(tmp_path: Path) -> None:
    """Otherwise it would keep the port from the next server, and serve for ever."""
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    environment = {**os.environ, "VIGIE_HOME": str(tmp_path / "home"), PARENT_VARIABLE: str(killed.pid)}
    line = [
        sys.executable,
        "-c",
        "import threading; from service.cli.app import worker; worker(); threading.Event().wait()",
    ]
    worker = subprocess.Popen(line, env=environment)
    try:
        assert worker.wait(PATIENCE) != 0
    finally:
        worker.kill()


@pytest.mark.long
def test_altered_files_are_refused_and_the_last_good_snapshot_is_served_as_late(tmp_path: Path) -> None:
    """First a file of the archive, then the model in service. Each is named, and runs succeed when it is put back."""
    with running_vigie(tmp_path, seed=7) as running:
        archive_file(running)
        model_file(running)
        running.settle()


def archive_file(running: RunningVigie) -> None:
    file = running.archive.root / running.archive.ingests()[-1].data
    with altered(file):
        error = refused(running)
        assert f"VIGIE_HOME/archive/{file.relative_to(running.archive.root)} was altered" in error
        assert f"{file} was altered" in running.log_text()
    running.counts["archive file altered"] += 1
    check_recovery(running)


def model_file(running: RunningVigie) -> None:
    path = bundle.champion(running.home.models, simulated=False, outcome="state_based")
    assert path
    with altered(path / "model.pickle"):
        error = refused(running)
        assert path.name in error
        assert "digest" in error
    running.counts["model altered"] += 1
    check_recovery(running)


@contextmanager
def altered(file: Path) -> Iterator[None]:
    """Alter one bit of a file for a while."""
    right = file.read_bytes()
    place = len(right) // 2
    file.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
    yield
    file.write_bytes(right)


def refused(running: RunningVigie) -> str:
    """Ingest new data, wait until their run fails and the served scores are late, and return the error."""
    before, run = running.scores(), running.newest_run().id
    running.revise_data()
    wait_until(lambda: running.newest_run().id > run, "another run has ended")
    assert running.newest_run().status == "failed"
    late = wait_until(lambda: (got := running.scores())["status"] == "late" and got, "what is served is late")
    assert (late["snapshot_id"], late["data"]) == (before["snapshot_id"], before["data"])
    assert running.client.get("/readyz")[0] == 200
    page = running.client.get("/?lang=en")[2].decode()
    assert "The latest update failed. This page shows the results of the previous one." in page
    listed = json.loads(running.client.get("/v1/runs")[2])["data"][0]
    assert (listed["status"], listed["error"]) == ("failed", running.newest_run().error)
    return str(listed["error"])


def check_recovery(running: RunningVigie) -> None:
    """After the fault is mended, the next run succeeds."""
    running.revise_data()
    running.wait_until_current()
    wait_until(lambda: running.scores()["status"] == "fresh", "what is served is fresh")


def test_while_the_database_is_unavailable_cached_responses_are_served(
    tmp_path: Path, outage: tuple[Switch, Switch]
) -> None:
    with running_vigie(tmp_path, seed=8) as running:
        database_unavailable(running, *outage)
        running.settle()


def database_unavailable(running: RunningVigie, take_away: Switch, bring_back: Switch) -> None:
    running.revise_data()
    time.sleep(running.rng.uniform(0, 3))
    before = running.scores()
    running.allowed.add("unreadable-store")
    take_away()
    try:
        wait_until(lambda: (running.client.get("/readyz") or (0,))[0] == 503, "readyz tells it")
        time.sleep(running.rng.uniform(0, 3))
        assert running.client.get("/healthz")[0] == 200
        assert running.scores()["snapshot_id"] >= before["snapshot_id"]
        running.kill("worker")
        wait_until(lambda: (got := running.client.get("/healthz")) and got[0] == 200, "another worker answers")
    finally:
        bring_back()
    wait_until(lambda: (running.client.get("/readyz") or (0,))[0] == 200, "ready again")
    running.allowed.clear()
    running.counts["database gone and back"] += 1
    check_recovery(running)


def test_a_web_server_survives_the_death_of_its_worker_while_the_database_is_unavailable(
    tmp_path: Path, outage: tuple[Switch, Switch]
) -> None:
    """If a worker ended because the database is unavailable, its server would end after two of them."""
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    issuer.issue()
    issuer.store.close()
    port, (take_away, bring_back) = free_port(), outage
    client = Client(port)

    def answers(path: str, status: int) -> None:
        wait_until(lambda: (got := client.get(path)) and got[0] == status, f"{path} answers {status}")

    web = subprocess.Popen(processes.command(issuer.home, "web", "--port", str(port)))
    try:
        answers("/v1/scores", 200)
        take_away()
        try:
            (worker,) = [pid for pid, (parent, _) in family(web.pid).items() if parent != web.pid]
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: not alive(worker), "it is dead")
            answers("/healthz", 200)
            answers("/v1/scores", 503)
        finally:
            bring_back()
        answers("/v1/scores", 200)
        answers("/", 200)
        assert web.poll() is None
    finally:
        for pid in (web.pid, *family(web.pid)):
            os.kill(pid, signal.SIGKILL)
        web.wait()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk for home and database."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "vigie-test", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk (root)")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.long
def test_a_full_disk_is_reported_and_work_goes_on_when_there_is_room(
    small_disk: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.config.getoption("--database") == "sqlite":
        monkeypatch.setenv("VIGIE_DATABASE_URL", f"sqlite:///{small_disk}/vigie.db")
    with running_vigie(small_disk, seed=9, log=small_disk.parent / "up.log") as running:
        disk_full(running, small_disk)
        running.settle()


def disk_full(running: RunningVigie, disk: Path) -> None:
    ballast = disk / "ballast"
    before = running.scores()
    running.revise_data()
    fill(ballast)
    with pytest.raises((VigieError, OSError), match=r"(?i)no space left"):
        running.revise_data()
    wait_until(
        lambda: "full" in running.log_text() or "No space left" in running.log_text(), "the full disk is in the log"
    )
    time.sleep(running.rng.uniform(0, 2))
    assert running.scores()["snapshot_id"] >= before["snapshot_id"]
    ballast.unlink()
    running.counts["disk full"] += 1
    check_recovery(running)


def fill(ballast: Path) -> None:
    """Fill the disk to the last byte."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long moved(void) {
    char text[32] = {0};
    int file = open(getenv("MOVED_BY"), O_RDONLY);
    if (file < 0) return 0;
    long seconds = read(file, text, 31) > 0 ? atol(text) : 0;
    close(file);
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*truly)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = truly(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += moved();
    return failed;
}
time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""
"""A wall clock that a file moves by some seconds; the monotonic clock is not changed.

libfaketime can do this too, but with it every `time.sleep` of Python fails with EINVAL.
"""


@pytest.fixture
def movable_clock(tmp_path: Path) -> dict[str, str]:
    """The environment of processes whose clock is moved by the file `clock` [s]."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux, for a clock that can be moved")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    (tmp_path / "clock").write_text("0")
    return {"LD_PRELOAD": str(library), "MOVED_BY": str(tmp_path / "clock")}


@pytest.mark.long
def test_a_clock_set_back_or_forward_stops_nothing(tmp_path: Path, movable_clock: dict[str, str]) -> None:
    """Scores are updated. Messages of a wrong moment are refused, and received when the clock is right.

    No wait of the outbox has to pass for that: each was written by a clock that was ahead of the one that reads it.
    """
    with running_vigie(tmp_path, seed=10, **movable_clock) as running:
        receiver = running.receiver
        wait_until(lambda: receiver.taken, "the summary has come")
        for moved in ("-10800", "1200"):
            before, posted = running.scores(), len(receiver.ids)
            (tmp_path / "clock").write_text(moved)
            running.revise_data()
            running.wait_until_current()
            assert running.scores()["snapshot_id"] > before["snapshot_id"]
            wait_until(lambda posted=posted: len(receiver.ids) > posted, "the message of the new snapshot was tried")
            running.counts["clock moved"] += 1
        assert len(receiver.taken) == 1
        (tmp_path / "clock").write_text("0")
        wait_until(lambda: len(receiver.taken) == 3, f"the messages come; log:\n{running.log_text()[-3000:]}")
        running.settle()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_the_long_set(tmp_path: Path, outage: tuple[Switch, Switch], seed: int) -> None:
    """Many faults, one after another, in one home."""
    with running_vigie(tmp_path, seed=100 + seed) as running:
        for number in range(STRIKES):
            kill_during_work(running, *running.rng.choice(KILLS))
            if number % 10 == 9:
                running.wait_until_current()
                running.rng.choice((archive_file, model_file, RunningVigie.kill_all))(running)
            if number % 15 == 14:
                database_unavailable(running, *outage)
        counts = running.settle()
    print("\n".join(f"{name:30} {count:7,}" for name, count in sorted(counts.items())))
