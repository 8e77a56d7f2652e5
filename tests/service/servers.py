"""Web servers as real processes: start one, connect to it, and wait for it."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx2 as httpx2
from snapshots_support import SnapshotHome


def free_port() -> int:
    """A port that nobody uses on any address.

    It is not one of those that the system gives to outgoing connections, of which other tests have thousands.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port


@contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[str]:
    """The URL of a server that runs as a process inside the block."""
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                httpx2.get(f"{url}/healthz", timeout=5)
                break
            except httpx2.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def workers_of(pid: int) -> list[int]:
    """The workers of a web server. Each is the child of a granian server of its own."""
    return [worker for server in children(pid) for worker in children(server)]


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def web(home: SnapshotHome, command: str = "web", **environment: str) -> AbstractContextManager[str]:
    """The URL of `vigie web`, or of another command, over a home."""
    port = free_port()
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.home.root), command, "--port", str(port)]
    return running(line, port, home.home.root.parent / "log.txt", **environment)


def connect(url: str, source: str = "") -> socket.socket:
    """An open connection to a server, from an address of this machine."""
    address = httpx2.URL(url)
    return socket.create_connection((address.host, address.port or 80), timeout=20, source_address=(source, 0))
