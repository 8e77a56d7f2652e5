"""The open connections of a worker: how many an address may have, and those that are never read."""

import asyncio
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx2
import pytest
from attacks import attacking
from servers import connect, web
from snapshots_support import SnapshotHome

from service.http import connections
from service.http.connections import Connections
from service.settings import Limits

HEALTH_SECONDS = 5.0
"""Within this time `/healthz` and polls are answered under each attack (docs/security.md, promise 9) [s]."""

FAR = "127.0.0.2"
"""Another address than that of the attackers."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    made = SnapshotHome(tmp_path_factory.mktemp("connections") / "home")
    made.add_ingests("real")
    made.issue()
    return made


def limited(home: SnapshotHome, **limits: int) -> Any:
    """The URL of a server whose limits apply to this machine too."""
    environment = {f"VIGIE_LIMITS__{name.upper()}": str(value) for name, value in limits.items()}
    return web(home, VIGIE_LIMITS__LOOPBACK="true", VIGIE_LIMITS__ADDRESS_PER_MINUTE="0", **environment)


def is_open(connection: socket.socket) -> bool:
    """Whether a connection that has sent and received nothing is open."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def until(truth: Callable[[], bool], within: float = 20) -> None:
    """Wait until something is true."""
    patience = time.monotonic() + within
    while not truth():
        assert time.monotonic() < patience
        time.sleep(0.02)


def get(url: str, path: str, source: str = FAR) -> int:
    """The status of a request from an address, on a connection of its own."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30, source_address=(source, 0))) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def test_an_address_has_a_limited_number_of_connections(small: str) -> None:
    """Also of those on which it sends nothing. The oldest ones stay."""
    with ExitStack() as stack:
        first = [stack.enter_context(connect(small)) for _ in range(32)]
        time.sleep(1)
        further = [stack.enter_context(connect(small)) for _ in range(40)]
        until(lambda: not any(map(is_open, further)))
        assert all(map(is_open, first))
        assert get(small, "/v1/scores") == 200, "another address is not affected"
        for connection in first:
            connection.close()
        time.sleep(1)
        assert get(small, "/v1/scores", "127.0.0.1") == 200


def test_trusted_proxies_have_no_limit_of_connections(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_TRUSTED_PROXIES", '["127.0.0.1"]')
    with limited(home, connections_per_address=2) as url, ExitStack() as stack:
        held = [stack.enter_context(connect(url)) for _ in range(6)]
        others = [stack.enter_context(connect(url, FAR)) for _ in range(6)]
        until(lambda: sum(map(is_open, others)) == 2)  # connections are counted
        assert all(map(is_open, held))


def test_connections_end_after_each_response_when_nearly_all_are_taken(home: SnapshotHome) -> None:
    with web(home, VIGIE_LIMITS__CONNECTIONS="10") as url, ExitStack() as stack:
        assert "connection" not in httpx2.get(f"{url}/v1/scores").headers
        held = [stack.enter_context(connect(url)) for _ in range(9)]
        for path in ("/healthz", "/v1/scores", "/v1/jobs", "/nowhere"):
            until(lambda path=path: httpx2.get(url + path, timeout=20).headers.get("connection") == "close")
        for connection in held:
            connection.close()
        until(lambda: "connection" not in httpx2.get(f"{url}/v1/scores", timeout=20).headers)


@pytest.fixture(scope="module")
def small(home: SnapshotHome) -> Iterator[str]:
    """The URL of a server with few places."""
    with limited(home, connections=128, connections_per_address=32) as url:
        yield url


def assert_answered(url: str, seconds: float) -> None:
    """Check for some time that another address is answered soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in ("/healthz", "/v1/scores", "/v1/jobs"):
            began = time.monotonic()
            assert get(url, path) == 200
            assert time.monotonic() - began < HEALTH_SECONDS, path
        time.sleep(0.05)


@pytest.mark.parametrize(("kind", "count"), [("one_cheap_request_each_14_s", 140), ("drip", 384), ("pipeline", 132)])
def test_one_address_cannot_take_all_connections(small: str, kind: str, count: int) -> None:
    with attacking(small, kind, count):
        time.sleep(1)
        assert_answered(small, 2)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "count"), [("one_cheap_request_each_14_s", 1_100), ("drip", 3_000), ("pipeline", 1_030)]
)
def test_one_address_cannot_take_a_thousand_connections(home: SnapshotHome, kind: str, count: int) -> None:
    with limited(home, connections=1_024) as url, attacking(url, kind, count):
        assert_answered(url, 40)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


class OpenGate:
    """A gate as `Connections` uses it: every address has a limit."""

    nearly_full = False

    def owner_of_connections(self, remote: str) -> str:
        return remote


def test_a_client_that_never_reads_is_disconnected(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the kernel holds a bounded number of bytes for it."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("needs Linux")
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 1)
    Connections(Limits(), OpenGate()).check()  # type: ignore[arg-type]
    with closing(socket.create_connection(listener.getsockname())), closing(listener.accept()[0]) as connection:
        sent = send_until_ended(connection)
    assert sent < 16 * 2**20


def send_until_ended(connection: socket.socket) -> int:
    """How many bytes can be sent on a connection that nobody reads, until the kernel ends it."""
    sent, until_ = 0, time.monotonic() + 30
    connection.settimeout(2)
    while True:
        assert time.monotonic() < until_
        try:
            sent += connection.send(b"x" * 65_536)
        except OSError as failure:
            if failure.errno:  # of the kernel: the time-out of the socket itself has no number
                return sent


def test_counting_ends_connections_of_this_process_only_where_clients_opened_them(listener: socket.socket) -> None:
    """Those that it has opened itself, as to the database, stay. An address has half of all at most."""
    counted = Connections(Limits(connections=2), gate := OpenGate())  # type: ignore[arg-type]
    assert counted.check() == 0
    with ExitStack() as stack:
        ours = [stack.enter_context(closing(socket.create_connection(listener.getsockname()))) for _ in range(3)]
        theirs = [stack.enter_context(closing(listener.accept()[0])) for _ in range(3)]
        assert (counted.check(), gate.nearly_full) == (2, True)
        assert [is_open(each) for each in ours] == [True, False, False], "shut down by the other side"
        theirs[1].close()
        theirs[2].close()
        assert (counted.check(), gate.nearly_full) == (0, False)


def test_counting_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    counted = Connections(Limits(), OpenGate())  # type: ignore[arg-type]
    checks = iter([OSError("no descriptors"), *[0] * 100])

    def check() -> int:
        if isinstance(outcome := next(checks), OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(counted, "check", check)
    monkeypatch.setattr(connections, "CHECK_EVERY", 0.01)

    async def watch() -> None:
        await asyncio.wait_for(counted.watch(), 1)

    with pytest.raises(TimeoutError):
        asyncio.run(watch())
    assert "cannot be counted" in caplog.text
    assert next(checks) == 0
    assert len(list(checks)) < 98
