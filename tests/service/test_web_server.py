"""The processes of `vigie web`: killed workers are replaced, a stop drains first, and the admin server has its port."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from fault_lives import alive, family
from servers import connect, free_port
from snapshots_support import SnapshotHome

from service.jobs import processes

PATIENCE = 30.0
"""How long anything may take on a machine that is busy with other things [s]."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    made = SnapshotHome(tmp_path_factory.mktemp("web") / "home")
    made.add_ingests("real")
    made.issue(at=datetime.now(UTC))
    return made


class WebServer:
    """A running `vigie web`."""

    def __init__(self, home: SnapshotHome, log: Path, *options: str, **environment: str) -> None:
        port = free_port()
        self.url, self.log = f"http://127.0.0.1:{port}", log
        line = processes.command(home.home, "web", "--port", str(port), *options)
        with log.open("wb") as out:
            self.process = subprocess.Popen(line, stdout=out, stderr=out, env={**os.environ, **environment})

    def status(self, path: str, base: str | None = None) -> int | None:
        """The status of an address on a new connection; None if nobody answers."""
        try:
            return httpx2.get((base or self.url) + path, timeout=20).status_code
        except httpx2.TransportError:
            return None

    def wait_for(self, path: str, status: int | None, base: str | None = None) -> None:
        wait_until(lambda: self.status(path, base) == status)

    def workers(self) -> list[int]:
        return [pid for pid, (parent, _) in family(self.process.pid).items() if parent != self.process.pid]


def holders(port: int) -> set[int]:
    """The processes that have the socket that listens on this port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                found.add(int(descriptor.parts[2]))
    return found


@contextmanager
def serving(home: SnapshotHome, tmp_path: Path, *options: str, **environment: str) -> Iterator[WebServer]:
    server = WebServer(home, tmp_path / "web.log", *options, **environment)
    try:
        server.wait_for("/healthz", 200)
        yield server
    finally:
        descendants = family(server.process.pid)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(alive(pid) for pid in descendants))


def wait_until(truth: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not truth():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_workers_that_are_killed_again_and_again_are_replaced(home: SnapshotHome, tmp_path: Path, workers: str) -> None:
    """With one worker, granian itself would give up after two quick deaths."""
    with serving(home, tmp_path, "--workers", workers) as server:
        for _ in range(4):
            wait_until(lambda: len(server.workers()) == int(workers))
            killed = random.choice(server.workers())
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda killed=killed: not alive(killed))
            began = time.monotonic()
            server.wait_for("/v1/scores", 200)
            assert time.monotonic() - began < 30
        assert server.process.poll() is None


def test_a_stop_drains_first_and_ends_streams_and_long_polls(home: SnapshotHome, tmp_path: Path) -> None:
    with serving(home, tmp_path, "--workers", "2", VIGIE_DRAIN_SECONDS="12") as server:
        cursor = httpx2.get(f"{server.url}/v1/changes", timeout=20).json()["next"]
        stream, poll = connect(server.url), connect(server.url)
        stream.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        target = f"GET /v1/changes?since={cursor} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\n\r\n"
        poll.sendall(target.encode())
        assert stream.recv(4096).startswith(b"HTTP/1.1 200")
        server.wait_for("/readyz", 200)
        server.process.send_signal(signal.SIGTERM)
        for _ in range(6):  # both workers know it
            wait_until(lambda: "draining" in httpx2.get(f"{server.url}/readyz", timeout=20).text)
        assert server.status("/v1/scores") == 200
        assert server.status("/healthz") == 200
        assert read_all(stream).endswith(b"0\r\n\r\n"), "the stream has its end"
        assert read_all(poll).startswith(b"HTTP/1.1 200")
        assert server.process.wait(PATIENCE) == 0


def read_all(connection: socket.socket) -> bytes:
    """What a server still sends, until it closes the connection."""
    connection.settimeout(PATIENCE)
    received = b""
    while part := connection.recv(65_536):
        received += part
    return received


def test_a_second_signal_stops_at_once(home: SnapshotHome, tmp_path: Path) -> None:
    with serving(home, tmp_path, VIGIE_DRAIN_SECONDS="300") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining for 300 s" in server.log.read_text())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.long
def test_the_admin_server_has_a_port_of_its_own_and_notices_workers_that_hang(
    home: SnapshotHome, tmp_path: Path
) -> None:
    port = free_port()
    admin = f"http://127.0.0.1:{port}"
    with serving(home, tmp_path, "--workers", "2", VIGIE_ADMIN_PORT=str(port)) as server:
        server.wait_for("/healthz", 200, admin)
        statuses = {path: server.status(path, admin) for path in ("/readyz", "/metrics", "/v1/scores", "/")}
        assert statuses == {"/readyz": 200, "/metrics": 200, "/v1/scores": 404, "/": 404}
        assert httpx2.get(f"{admin}/metrics", headers={"Host": "evil.example"}, timeout=20).status_code == 421
        public = {path: server.status(path) for path in ("/healthz", "/readyz", "/metrics")}
        assert public == {"/healthz": 200, "/readyz": 200, "/metrics": 404}
        assert "vigie_snapshot_id" in httpx2.get(f"{admin}/metrics", timeout=20).text
        hung = min(set(server.workers()) - holders(port))  # not the worker of the admin port
        os.kill(hung, signal.SIGSTOP)
        try:
            server.wait_for("/healthz", 503, admin)
        finally:
            os.kill(hung, signal.SIGCONT)
        server.wait_for("/healthz", 200, admin)
        assert json.loads(httpx2.get(f"{admin}/healthz", timeout=20).content) == {"alive": True}
