"""The granian adapter: cached responses do not wait for slow requests."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from select import select
from typing import Any

import httpx2 as httpx2
import pytest
from servers import connect, web
from snapshots_support import SnapshotHome

from service.cli.server_adapter import ACCEPT_THREADS, GranianAdapter

TIMEOUT = 10


class Protocol:
    """Takes the response to one request, as granian's own class does."""

    def __init__(self) -> None:
        self.answered, self.thread = threading.Event(), 0
        self.response: tuple[int, list[tuple[str, str]], bytes] | None = None

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.response, self.thread = (status, headers, body), threading.get_ident()
        self.answered.set()

    def response_iter(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        parts = []
        try:
            while True:
                parts.append(body.__next__())
        except StopIteration:
            body.close()
        self.response_bytes(status, headers, b"".join(parts))


def send(adapter: GranianAdapter, path: str, **environ: str) -> Protocol:
    protocol = Protocol()
    adapter(protocol, {"REQUEST_METHOD": "GET", "PATH_INFO": path, **environ})
    return protocol


def make_adapter(respond: Callable[[str], Any]) -> GranianAdapter:
    def app(environ: dict[str, Any], start: Any) -> Any:
        body = respond(environ["PATH_INFO"])
        start("200 OK", [("Content-Type", "text/plain")])
        return body

    return GranianAdapter(app, lambda environ: environ["PATH_INFO"] == "/cached")


def test_cached_responses_are_sent_while_slow_requests_wait() -> None:
    go_on = threading.Event()

    def respond(path: str) -> list[bytes]:
        if path != "/cached":
            go_on.wait(TIMEOUT)
        return [path.encode()]

    adapter = make_adapter(respond)
    slow = [send(adapter, f"/{number}") for number in range(100)]
    cached = send(adapter, "/cached")
    assert cached.response == (200, [("Content-Type", "text/plain")], b"/cached")
    assert cached.thread == threading.get_ident()
    assert not any(protocol.answered.is_set() for protocol in slow)
    go_on.set()
    for number, protocol in enumerate(slow):
        assert protocol.answered.wait(TIMEOUT)
        assert protocol.response is not None
        assert protocol.response[2] == f"/{number}".encode()
    assert len({protocol.thread for protocol in slow}) <= 32


def test_a_body_is_read_by_the_accepting_thread() -> None:
    adapter = make_adapter(lambda path: [path.encode()])
    for environ in ({"CONTENT_LENGTH": "3"}, {"HTTP_TRANSFER_ENCODING": "chunked"}):
        assert send(adapter, "/slow", **environ).thread == threading.get_ident()


def test_a_stream_is_sent_chunk_by_chunk_and_closed() -> None:
    closed = threading.Event()

    class Stream:
        def __iter__(self) -> Iterator[bytes]:
            yield from (b"a", b"b")

        def close(self) -> None:
            closed.set()

    protocol = send(make_adapter(lambda _: Stream()), "/stream")
    assert protocol.answered.wait(TIMEOUT)
    assert protocol.response is not None
    assert protocol.response[2] == b"ab"
    assert closed.is_set()


@pytest.mark.parametrize("path", ["/cached", "/slow"])
def test_a_fault_is_a_500_and_later_requests_are_answered(path: str) -> None:
    def respond(requested: str) -> list[bytes]:
        if requested == path:
            raise RuntimeError("an invented fault")
        return [b"well"]

    adapter = make_adapter(respond)
    protocol = send(adapter, path)
    assert protocol.answered.wait(TIMEOUT)
    assert protocol.response == (500, [], b"")
    other = send(adapter, "/other")
    assert other.answered.wait(TIMEOUT)
    assert other.response is not None
    assert other.response[0] == 200


def test_more_clients_can_wait_for_changes_than_threads_accept_requests(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    with web(home) as url, ExitStack() as stack:
        cursor = httpx2.get(f"{url}/v1/changes", timeout=TIMEOUT).json()["next"]
        query = cursor if cursor.startswith("?") else cursor.partition("/v1/changes")[2]
        waiting = [stack.enter_context(connect(url)) for _ in range(ACCEPT_THREADS + 2)]
        for client in waiting:
            client.sendall(f"GET /v1/changes{query} HTTP/1.1\r\nHost: x\r\nPrefer: wait=20\r\n\r\n".encode())
        time.sleep(0.5)
        for path in ("/v1/scores", "/v1/scores", "/healthz"):
            assert httpx2.get(f"{url}{path}", timeout=3).status_code == 200
        assert select(waiting, [], [], 0)[0] == [], "they are still waiting"
