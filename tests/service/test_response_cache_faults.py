"""The response cache with real processes: polling clients, new snapshots, and kills at random moments."""

import gzip
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from servers import free_port
from snapshots_support import SnapshotHome

from service.store.tables import snapshots

PATHS = ("/v1/scores", "/v1/scores/MLI", "/v1/runs", "/v1/indicators/SEN")
VISIBLE_WITHIN = 1.0
"""The time within which a new snapshot is in every response [s]."""

WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from snapshots_support import SnapshotHome
home = SnapshotHome(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    number = home.issue(at=datetime.now(UTC))["id"]
    print(number, time.monotonic(), flush=True)
    time.sleep(float(sys.argv[3]))
"""


class Writer:
    """A process that issues snapshots, and the time at which each was committed."""

    def __init__(self, home: Path, pause: float) -> None:
        self._line = [sys.executable, "-c", WRITER, str(home), "100000", str(pause)]
        self.committed: dict[int, float] = {}
        self._start()

    def _start(self) -> None:
        python_path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": python_path}
        self.process = subprocess.Popen(self._line, stdout=subprocess.PIPE, text=True, env=environment)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            number, at = line.split()
            self.committed[int(number)] = float(at)

    def kill(self, restart: bool = True) -> None:
        self.process.kill()
        self.process.wait()
        if restart:
            self._start()


class Web:
    """A web server that can be killed and is restarted on the same port."""

    def __init__(self, home: Path, workers: int) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "riskmodel", "--home", str(home), "web", "--port", str(self.port)]
        self._command = [*command, "--workers", str(workers)]
        self._start()

    def _start(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:  # the port is free once the workers of a killed server are gone
            self.process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
            while self.process.poll() is None and time.monotonic() < until:
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                    connection.request("GET", "/healthz")
                    connection.getresponse().read()
                    return
                except OSError:
                    time.sleep(0.05)
            time.sleep(0.2)
        raise AssertionError("the web server does not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._start()

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Poller(threading.Thread):
    """Polls as a client would, remembers responses, and records each violation of HTTP or of the order of snapshots."""

    def __init__(self, port: int, writer: Writer, seed: int, reconnect: bool) -> None:
        super().__init__(daemon=True)
        self._writer, self._rng, self._reconnect = writer, random.Random(seed), reconnect
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._responses: dict[str, tuple[str, int]] = {}
        self.ended = threading.Event()
        self.newest, self.bodies, self.not_modified, self.disconnected = 0, 0, 0, 0
        self.digests: dict[int, str] = {}
        self.violations: list[str] = []

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self._poll(self._rng.choice(PATHS))
            except (OSError, http.client.HTTPException):
                self.disconnected += 1
                self._connection.close()
                time.sleep(0.02)

    def _poll(self, path: str) -> None:
        tag, known = self._responses.get(path, ("", 0))
        headers = {"If-None-Match": tag} if tag and self._rng.random() < 0.7 else {}
        if compressed := self._rng.random() < 0.5:
            headers["Accept-Encoding"] = "gzip"
        if self._reconnect:
            self._connection.close()
        due = max(
            (n for n, at in [*self._writer.committed.items()] if at < time.monotonic() - VISIBLE_WITHIN), default=0
        )
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status == 304:
            self.not_modified += 1
            self._expect(headers.get("If-None-Match") == response.headers["ETag"], f"304 for another tag: {path}")
            self._expect(not body, "304 with a body")
            number = known
        elif response.status == 200:
            self.bodies += 1
            body = gzip.decompress(body) if compressed else body
            tag = response.headers["ETag"]
            self._expect(tag == f'W/"{hashlib.sha256(body).hexdigest()}"', f"the ETag does not match the body: {path}")
            self._expect(headers.get("If-None-Match") != tag, f"200 although the client has this body: {path}")
            payload = json.loads(body)
            number, digest = payload["snapshot_id"], payload["digest"]
            self._expect(self.digests.setdefault(number, digest) == digest, "two digests of one snapshot")
            self._responses[path] = (tag, number)
        else:
            self.violations.append(f"{response.status} {path} {body[:200]!r}")
            return
        self._expect(number >= self.newest, f"snapshot {number} after {self.newest}: {path}")
        self._expect(number >= due, f"snapshot {number}, but {due} must be visible: {path}")
        self.newest = max(self.newest, number)

    def _expect(self, condition: bool, message: str) -> None:
        if not condition:
            self.violations.append(message)


@contextmanager
def served(root: Path, workers: int, pause: float) -> Iterator[tuple[SnapshotHome, Writer, Web]]:
    home = SnapshotHome(root / "home")
    home.add_ingests("real")
    home.issue()
    writer, web = Writer(home.home.root, pause), Web(home.home.root, workers)
    try:
        yield home, writer, web
    finally:
        writer.kill(restart=False)
        web.end()


def poll_through_kills(
    root: Path, *, workers: int, recomputes: int, kills: int, pause: float, seed: int
) -> dict[str, int]:
    """Poll while snapshots are issued and processes are killed. Check every response and return the counts."""
    rng = random.Random(seed)
    with served(root, workers, pause) as (home, writer, web):
        pollers = [Poller(web.port, writer, seed + n, reconnect=n % 2 == 1) for n in range(4)]
        for poller in pollers:
            poller.start()
        kill_after = sorted(rng.sample(range(5, recomputes), 2 * kills))
        for index, number in enumerate(kill_after):
            _wait_for(writer, number)
            time.sleep(rng.uniform(0, 0.1))
            writer.kill() if index % 2 else web.kill()
        _wait_for(writer, recomputes)
        writer.kill(restart=False)
        time.sleep(VISIBLE_WITHIN)
        for poller in pollers:
            poller.ended.set()
            poller.join(20)
        with home.store.reading() as connection:
            digests = {row.id: row.digest for row in connection.execute(sa.select(snapshots.c.id, snapshots.c.digest))}
    assert [violation for poller in pollers for violation in poller.violations] == []
    for poller in pollers:
        assert poller.newest == max(digests)
        assert poller.digests.items() <= digests.items()
        assert poller.bodies
        assert poller.not_modified
    return {
        "snapshots": len(digests),
        "kills": 2 * kills,
        "bodies": sum(poller.bodies for poller in pollers),
        "not modified": sum(poller.not_modified for poller in pollers),
        "disconnected": sum(poller.disconnected for poller in pollers),
    }


def _wait_for(writer: Writer, number: int) -> None:
    until = time.monotonic() + 120
    while max(writer.committed, default=0) < number:
        assert time.monotonic() < until, "the writer issues no snapshots"
        time.sleep(0.01)


@pytest.mark.long
def test_every_response_is_complete_and_none_is_older_than_the_last(tmp_path: Path) -> None:
    poll_through_kills(tmp_path, workers=1, recomputes=100, kills=1, pause=0.02, seed=1)


@pytest.mark.long
def test_several_workers_do_not_contradict_each_other(tmp_path: Path) -> None:
    poll_through_kills(tmp_path, workers=2, recomputes=40, kills=1, pause=0.15, seed=2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_many_kills_with_one_to_three_workers(tmp_path: Path, seed: int) -> None:
    workers = 1 + seed % 3
    counts = poll_through_kills(tmp_path, workers=workers, recomputes=400, kills=6, pause=0.05, seed=100 + seed)
    print(f"{workers} workers: {counts}")
