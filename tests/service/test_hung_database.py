"""A PostgreSQL server that hangs: what still answers, how fast, and that everything goes on when the server does."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from postgres_server import Server
from servers import web
from snapshots_support import SnapshotHome

from service.jobs import processes
from service.store.tables import jobs

SLACK = 20.0
"""How much longer than documented an answer may take on a machine that is busy with other things [s]."""


@pytest.fixture
def home(tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SnapshotHome]:
    with postgresql.database() as url:
        monkeypatch.setenv("VIGIE_DATABASE_URL", url)
        made = SnapshotHome(tmp_path / "home")
        made.add_ingests("real")
        made.issue()
        made.run("unchanged", at=datetime.now(UTC), snapshot=1)
        yield made
        made.store.close()


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def timed(url: str) -> tuple[int, float]:
    """The status of an address and how long it took [s]."""
    started = time.monotonic()
    return httpx2.get(url, timeout=60).status_code, time.monotonic() - started


def wait_until(truth: Callable[[], bool], within: float = 60.0) -> None:
    until = time.monotonic() + within
    while not truth():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("count", [8, pytest.param(80, marks=pytest.mark.long)])
def test_everything_answers_in_time_and_recovers(home: SnapshotHome, postgresql: Server, count: int) -> None:
    with web(home) as url, ThreadPoolExecutor(100) as clients:
        assert timed(f"{url}/v1/scores")[0] == 200
        assert timed(f"{url}/readyz")[0] == 200
        with hanging(postgresql):
            uncached = [clients.submit(timed, f"{url}/v1/snapshots?limit={number + 1}") for number in range(count)]
            time.sleep(0.5)
            for path, status, seconds in (("/healthz", 200, 1.0), ("/v1/scores", 200, 1.0), ("/readyz", 503, 5.0)):
                found, took = timed(url + path)
                assert (found, took < seconds + SLACK) == (status, True), (path, took)
            answers = [each.result() for each in uncached]
            assert {status for status, _ in answers} == {503}
            assert max(took for _, took in answers) < 20.0 + SLACK
            assert timed(f"{url}/readyz")[0] == 503
        wait_until(lambda: timed(f"{url}/v1/snapshots?limit=99")[0] == 200)
        assert all(status == 200 for status, _ in clients.map(timed, [f"{url}/v1/snapshots?limit=7"] * 40))


@pytest.mark.long
def test_a_web_server_that_starts_meanwhile_lives_and_recovers(home: SnapshotHome, postgresql: Server) -> None:
    with hanging(postgresql), web(home) as url:
        assert timed(f"{url}/healthz")[0] == 200
        assert timed(f"{url}/readyz")[0] == 503
        postgresql.resume()
        wait_until(lambda: timed(f"{url}/v1/scores")[0] == 200)


@pytest.mark.long
def test_a_scheduler_goes_on_and_can_be_stopped(
    home: SnapshotHome, postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIE_DELIVER_EVERY_SECONDS", "1")

    def token() -> int:
        """The number of runs of the job so far."""
        with home.store.reading() as connection:
            return connection.scalar(sa.select(jobs.c.token).where(jobs.c.name == "deliver")) or 0

    with (tmp_path / "log").open("wb") as log:
        scheduler = subprocess.Popen(processes.command(home.home, "scheduler"), stderr=log, stdout=log)
    try:
        wait_until(lambda: token() > 1)
        with hanging(postgresql):
            wait_until(lambda: "cannot be started" in (tmp_path / "log").read_text())
        before = token()
        wait_until(lambda: token() > before)
        with hanging(postgresql):
            scheduler.send_signal(signal.SIGTERM)
            assert scheduler.wait(90) == 0
    finally:
        scheduler.kill()
        scheduler.wait()
