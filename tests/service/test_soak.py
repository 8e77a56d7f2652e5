"""Ten minutes of hostile traffic beside ordinary polls: memory, descriptors, threads and latency are bounded.

`VIGIE_SOAK_SECONDS` sets another length [s].
"""

import http.client
import os
import re
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from announced import issue
from attacks import attacking
from servers import free_port, running, workers_of
from snapshots_support import SnapshotHome

from service.http import keys

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("VIGIE_SOAK_SECONDS", "600"))

ATTACKS = {
    "one_cheap_request_each_14_s": 400,
    "drip": 500,
    "pipeline": 300,
    "wait": 200,
    "leave": 40,
    "read_no_stream": 100,
    "long_languages": 60,
    "unique_queries": 10,
    "garbage": 30,
    "nested": 10,
    "write_bodies": 10,
}
"""How many connections each attack has. Each comes from an address of its own, so that none stops another."""

LIMITS = {"LOOPBACK": "true", "CONNECTIONS": "2048", "WRITE_PER_MINUTE": "0"}
POLLER = "127.0.0.2"
PATHS = ("/healthz", "/v1/scores", "/v1/jobs")

HEALTH_SECONDS = 5.0
"""`/healthz` is answered within this time (docs/security.md, promise 9) [s]."""
P99_SECONDS = {"/healthz": 2.0, "/v1/scores": 5.0, "/v1/jobs": 15.0}
"""Of answers of the event loop, the cache and Flask, on a machine that does other things too [s]."""
MEMORY, MEMORY_GROWTH = 400, 64
"""Of the worker [MB]: at most, and from the first third to the last."""
DESCRIPTORS_AFTER = 80
"""How many descriptors are open once the attacks have ended."""
THREADS = 60


@dataclass
class Record:
    """What was measured: latencies by path [s], statuses, and samples of the worker."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in PATHS})
    statuses: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def table(self) -> str:
        """The record as text."""
        lines = [f"polls: {self.statuses}"]
        for path, times in self.seconds.items():
            p99 = statistics.quantiles(times, n=100)[98]
            lines.append(f"{path}: median {statistics.median(times):.3f} s, p99 {p99:.3f} s, max {max(times):.3f} s")
        for name, number in (("memory [MB]", 0), ("descriptors", 1), ("threads", 2)):
            values = [sample[number] for sample in self.samples]
            first, last = max(values[: len(values) // 3]), max(values[-len(values) // 3 :])
            lines.append(f"{name}: first third {first:.0f}, last third {last:.0f}, max {max(values):.0f}")
        return "\n".join(lines)


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    made = SnapshotHome(tmp_path / "home")
    made.add_ingests("real")
    issue(made)
    return made


@contextmanager
def repeating(work: Callable[[], object], every: float) -> Iterator[None]:
    """Something that happens again and again, as long as the block lasts."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def hold_the_writers_lock(home: SnapshotHome) -> None:
    """Keep everybody else from writing for some seconds."""
    if "VIGIE_DATABASE_URL" not in os.environ:
        with closing(sqlite3.connect(home.home.database, isolation_level=None, timeout=20)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(3)
            connection.execute("ROLLBACK")


def sample(pid: int) -> tuple[float, int, int]:
    """Memory [MB], descriptors and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for name in ("VmRSS", "Threads"))
    return memory / 1e3, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), threads


def poll(url: str, path: str, record: Record) -> None:
    """Request a path from an address that attacks nobody, on a connection of its own."""
    began = time.monotonic()
    with closing(
        http.client.HTTPConnection(urlsplit(url).netloc, timeout=60, source_address=(POLLER, 0))
    ) as connection:
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            status = str(response.status)
        except OSError as failure:
            status = repr(failure)
    record.seconds[path].append(time.monotonic() - began)
    record.statuses[status] = record.statuses.get(status, 0) + 1


@pytest.mark.timeout(SECONDS + 300)
def test_hostile_traffic_of_all_kinds_costs_bounded_memory_and_delays_nobody(
    home: SnapshotHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = keys.add(home.store, "write", "an attacker", datetime.now(UTC))
    record, port, log = Record(), free_port(), tmp_path / "log.txt"
    command = [sys.executable, "-m", "riskmodel", "--home", str(home.home.root), "web", "--port", str(port)]
    with running(command, port, log, **{f"VIGIE_LIMITS__{name}": value for name, value in LIMITS.items()}) as url:
        (server,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        (worker,) = workers_of(int(server))
        with ExitStack() as stack:
            for number, (kind, count) in enumerate(ATTACKS.items()):
                stack.enter_context(attacking(url, kind, count, f"127.0.1.{number + 1}", key))
            stack.enter_context(repeating(lambda: issue(home), 5))
            stack.enter_context(repeating(lambda: hold_the_writers_lock(home), 10))
            stack.enter_context(repeating(lambda: record.samples.append(sample(worker)), 1))
            time.sleep(5)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                for path in PATHS:
                    poll(url, path, record)
                time.sleep(0.05)
        until = time.monotonic() + 60
        while sample(worker)[1] > DESCRIPTORS_AFTER and time.monotonic() < until:
            time.sleep(0.5)
        after = sample(worker)
    with capsys.disabled():
        print(f"\n{record.table()}\nafterwards: {after[0]:.0f} MB, {after[1]} descriptors, {after[2]} threads")
    assert set(record.statuses) == {"200"}
    assert max(record.seconds["/healthz"]) < HEALTH_SECONDS
    for path, times in record.seconds.items():
        assert statistics.quantiles(times, n=100)[98] < P99_SECONDS[path], path
    memory, descriptors, threads = zip(*record.samples, strict=True)
    third = len(memory) // 3
    assert max(memory) < MEMORY
    assert max(memory[-third:]) - max(memory[:third]) < MEMORY_GROWTH
    assert max(descriptors) <= int(LIMITS["CONNECTIONS"]) + 128
    assert after[1] <= DESCRIPTORS_AFTER
    assert max(threads) <= THREADS
    assert "Traceback" not in log.read_text()
