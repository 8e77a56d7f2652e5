"""The two lanes of a web worker: what is kept waits for nobody, whoever else is being answered."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from select import select
from typing import Any

import httpx
import pytest
from issued import Issuer
from test_door_served import connect, web

from service.cli.server_adapter import TAKING_IN, Lanes

PATIENCE = 10


class Protocol:
    """Takes the answer to one request, as granian's own does."""

    def __init__(self) -> None:
        self.answered, self.told, self.thread = threading.Event(), None, 0
        self.told: tuple[int, list[tuple[str, str]], bytes] | None

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.told, self.thread = (status, headers, body), threading.get_ident()
        self.answered.set()

    def response_iter(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        parts = []
        try:
            while True:
                parts.append(body.__next__())
        except StopIteration:
            body.close()
        self.response_bytes(status, headers, b"".join(parts))


def sent(lanes: Lanes, path: str, **more: str) -> Protocol:
    protocol = Protocol()
    lanes(protocol, {"REQUEST_METHOD": "GET", "PATH_INFO": path, **more})
    return protocol


def laned(answer: Callable[[str], Any]) -> Lanes:
    def app(environ: dict[str, Any], start: Any) -> Any:
        body = answer(environ["PATH_INFO"])
        start("200 OK", [("Content-Type", "text/plain")])
        return body

    return Lanes(app, lambda environ: environ["PATH_INFO"] == "/kept")


def test_what_is_kept_is_answered_at_once_while_all_else_waits() -> None:
    go_on = threading.Event()

    def answer(path: str) -> list[bytes]:
        if path != "/kept":
            go_on.wait(PATIENCE)
        return [path.encode()]

    lanes = laned(answer)
    slow = [sent(lanes, f"/{number}") for number in range(100)]
    kept = sent(lanes, "/kept")
    assert kept.told == (200, [("Content-Type", "text/plain")], b"/kept")
    assert kept.thread == threading.get_ident()
    assert not any(protocol.answered.is_set() for protocol in slow)
    go_on.set()
    for number, protocol in enumerate(slow):
        assert protocol.answered.wait(PATIENCE)
        assert protocol.told is not None
        assert protocol.told[2] == f"/{number}".encode()
    assert len({protocol.thread for protocol in slow}) <= 32


def test_a_body_is_waited_for_by_the_thread_that_took_the_request_in() -> None:
    lanes = laned(lambda path: [path.encode()])
    for told in ({"CONTENT_LENGTH": "3"}, {"HTTP_TRANSFER_ENCODING": "chunked"}):
        assert sent(lanes, "/slow", **told).thread == threading.get_ident()


def test_a_stream_is_sent_part_by_part_and_closed() -> None:
    closed = threading.Event()

    class Stream:
        def __iter__(self) -> Iterator[bytes]:
            yield from (b"a", b"b")

        def close(self) -> None:
            closed.set()

    protocol = sent(laned(lambda _: Stream()), "/stream")
    assert protocol.answered.wait(PATIENCE)
    assert protocol.told is not None
    assert protocol.told[2] == b"ab"
    assert closed.is_set()


@pytest.mark.parametrize("path", ["/kept", "/slow"])
def test_a_fault_is_a_500_and_the_lane_goes_on(path: str) -> None:
    def answer(asked: str) -> list[bytes]:
        if asked == path:
            raise RuntimeError("an invented fault")
        return [b"well"]

    lanes = laned(answer)
    protocol = sent(lanes, path)
    assert protocol.answered.wait(PATIENCE)
    assert protocol.told == (500, [], b"")
    other = sent(lanes, "/other")
    assert other.answered.wait(PATIENCE)
    assert other.told is not None
    assert other.told[0] == 200


def test_more_clients_wait_for_news_than_threads_take_requests_in(tmp_path: Path) -> None:
    home = Issuer(tmp_path / "home")
    home.hold("real")
    home.issue()
    with web(home) as url, ExitStack() as held:
        cursor = httpx.get(f"{url}/v1/changes", timeout=PATIENCE).json()["next"]
        query = cursor if cursor.startswith("?") else cursor.partition("/v1/changes")[2]
        waiting = [held.enter_context(connect(url)) for _ in range(TAKING_IN + 2)]
        for client in waiting:
            client.sendall(f"GET /v1/changes{query} HTTP/1.1\r\nHost: x\r\nPrefer: wait=20\r\n\r\n".encode())
        time.sleep(0.5)
        for path in ("/v1/scores", "/v1/scores", "/healthz"):
            assert httpx.get(f"{url}{path}", timeout=3).status_code == 200
        assert select(waiting, [], [], 0)[0] == [], "they wait all the while"
