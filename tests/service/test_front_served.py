"""The front behind real web servers: granian (`vigie web`), uvicorn, and gunicorn without it."""

import json
import os
import re
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import httpx2 as httpx2
import pytest
from announced import issue
from httpx_sse import connect_sse
from servers import connect, free_port, running, web
from snapshot_documents import SCORES
from snapshots_support import SnapshotHome

from service.http import keys
from service.http.gate import SECURITY_HEADERS

AT_ONCE = 5.0
"""How soon a client gets what waits for nothing, on a machine that is busy with other things [s]."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    made = SnapshotHome(tmp_path_factory.mktemp("front") / "home")
    made.add_ingests("real")
    issue(made)
    return made


@pytest.fixture(scope="module")
def writer(home: SnapshotHome) -> str:
    return keys.add(home.store, "write", "a writer", datetime.now(UTC))


def uvicorn(home: SnapshotHome, **environment: str) -> AbstractContextManager[str]:
    """The URL of the worker under uvicorn."""
    port = free_port()
    line = [sys.executable, "-m", "uvicorn", "--factory", "service.cli.app:worker", "--port", str(port)]
    line += ["--no-proxy-headers", "--no-access-log"]
    return running(line, port, home.home.root.parent / "uvicorn.txt", **served_from(home), **environment)


def served_from(home: SnapshotHome) -> dict[str, str]:
    return {"VIGIE_HOME": str(home.home.root), "VIGIE_LISTENS_ON": "127.0.0.1", "VIGIE_LOG_FORMAT": "json"}


SERVERS: dict[str, Callable[..., AbstractContextManager[str]]] = {"granian": web, "uvicorn": uvicorn}


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, home: SnapshotHome) -> Iterator[str]:
    with SERVERS[request.param](home) as url:
        yield url


def took(url: str) -> float:
    """How long a request takes [s]."""
    began = time.monotonic()
    assert httpx2.get(url, timeout=20).status_code == 200
    return time.monotonic() - began


def response_head(connection: socket.socket) -> bytes:
    """The head of the next response. What follows it stays unread."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    return head


def next_cursor(url: str) -> str:
    return str(httpx2.get(f"{url}/v1/changes", timeout=20).json()["next"])


def test_a_poll_is_answered_in_full_compressed_or_not_at_all(served: str) -> None:
    plain = httpx2.get(f"{served}/v1/scores", headers={"Accept-Encoding": "identity"})
    gzipped = httpx2.get(f"{served}/v1/scores", headers={"Accept-Encoding": "gzip"})
    unchanged = httpx2.get(f"{served}/v1/scores", headers={"If-None-Match": plain.headers["etag"]})
    assert (plain.status_code, gzipped.status_code, unchanged.status_code) == (200, 200, 304)
    assert gzipped.headers["content-encoding"] == "gzip"
    assert gzipped.json() == plain.json()
    assert (unchanged.content, unchanged.headers["etag"]) == (b"", plain.headers["etag"])
    assert httpx2.get(f"{served}/", follow_redirects=True).headers["content-type"].startswith("text/html")
    assert httpx2.get(f"{served}/static/vigie.css").status_code == 200


def test_a_body_reaches_its_resource(served: str, writer: str) -> None:
    headers = {"Authorization": f"Bearer {writer}"}
    wrong = {"location_code": "XYZ"}
    refused = httpx2.post(f"{served}/v1/whatif", json=wrong, headers=headers)
    assert (refused.status_code, refused.json()["type"]) != (415, "about:blank")
    assert refused.status_code in (400, 404), refused.text
    in_parts = httpx2.post(
        f"{served}/v1/whatif",
        content=(part for part in (b'{"location_code"', b': "XYZ"}')),
        headers={**headers, "Content-Type": "application/json"},
    )
    assert (in_parts.status_code, in_parts.json()["type"]) == (refused.status_code, refused.json()["type"])
    large = httpx2.post(f"{served}/v1/whatif", content=b"x" * 70_000, headers=headers)
    assert (large.status_code, large.json()["type"]) == (413, "urn:vigie:problem:large-request")
    assert httpx2.post(f"{served}/v1/recompute", headers=headers).status_code == 202
    assert httpx2.post(f"{served}/v1/whatif", json=wrong).status_code == 401


def test_a_body_that_is_nested_too_deeply_is_a_bad_request(served: str, writer: str, home: SnapshotHome) -> None:
    headers = {"Authorization": f"Bearer {writer}", "Content-Type": "application/json"}
    for body in (b"[" * 60_000, b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 12_000):
        response = httpx2.post(f"{served}/v1/whatif", content=body, headers=headers, timeout=20)
        assert (response.status_code, response.json()["status"]) == (400, 400)
    logs = "".join(path.read_text() for path in home.home.root.parent.glob("*.txt"))
    assert "Traceback" not in logs
    assert "RecursionError" not in logs


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/healthz", 200),
        ("/v1/scores", 200),
        ("/v1/jobs", 200),
        ("/", 200),
        ("/static/vigie.css", 200),
        ("/v1/stream", 200),
        ("/v1/changes", 200),
        ("/nowhere", 404),
        ("/v1/stream?since=nix", 400),
        (f"/{'a' * 9_000}", 414),
        ("/v1/recompute", 405),
    ],
)
@pytest.mark.parametrize("headers", ["", "Accept-Encoding: gzip\r\n", "Authorization: Bearer vigie_0_0\r\n"])
def test_a_response_to_head_has_no_body(served: str, target: str, status: int, headers: str) -> None:
    """The next response on the connection begins right behind its head."""
    if "Authorization" in headers and target != "/healthz":
        status = 401 if status != 414 else status
    request = f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Prefer: wait=20\r\n\r\n".encode()
    with connect(served) as connection:
        for _ in range(2):
            connection.sendall(request)
            head = response_head(connection)
            assert int(head.split()[1]) == status
            assert b"transfer-encoding: chunked" not in head.lower()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert response_head(connection).startswith(b"HTTP/1.1 200")
        assert connection.recv(4096) == b'{"alive":true}'


def test_a_stream_resumes_by_its_last_id(served: str, home: SnapshotHome) -> None:
    with httpx.Client(base_url=served, timeout=20) as client:
        with connect_sse(client, "GET", "/v1/stream") as source:
            events = source.iter_sse()
            first = next(events)
            numbers = [issue(home)]
            seen = [next(events)]
        numbers += [issue(home), issue(home)]
        with connect_sse(client, "GET", "/v1/stream", headers={"Last-Event-ID": first.id}) as source:
            again = source.iter_sse()
            assert vars(next(again)) == vars(seen[0])
            seen += [next(again), next(again)]
            numbers.append(issue(home))
            seen.append(next(again))
    assert [json.loads(event.data)["snapshot_id"] for event in seen] == numbers
    assert [event.event for event in (first, *seen)] == ["cursor"] + ["snapshot"] * 4


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_reads_slowly_is_dropped_and_resumes_without_loss(home: SnapshotHome, server: str) -> None:
    """It keeps no place, and what it has not read is sent from its last id on."""
    with SERVERS[server](home, VIGIE_LIMITS__LOOPBACK="true", VIGIE_LIMITS__WAITING_PER_ADDRESS="1") as url:
        cursor = next_cursor(url)
        with ExitStack() as stack:
            slow = stack.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.settimeout(20)
            slow.connect(("127.0.0.1", httpx2.URL(url).port or 80))
            head = f"GET /v1/stream?since={cursor} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            slow.sendall(head.encode())
            until, other = time.monotonic() + 60, 503
            while other != 200:
                assert time.monotonic() < until, "the place of a client that does not read is free again"
                for band in ("high", "low"):
                    issue(home, **dict.fromkeys(SCORES, band))
                with ExitStack() as attempt:
                    other = open_stream(attempt, url)
            issue(home, **dict.fromkeys(SCORES, "high"))  # the stream may have ended at the newest change
            received = slow.makefile("rb").read().decode()
        seen = re.findall(r"^id: (\S+)$", received[: received.rindex("\n\n")], re.MULTILINE)
        data = httpx2.get(f"{url}/v1/changes?since={cursor}&limit=1000", timeout=20).json()["data"]
        assert 0 < len(seen) < len(data)
        with httpx.Client(base_url=url, timeout=20) as client:
            while len(seen) < len(data):
                with connect_sse(client, "GET", "/v1/stream", headers={"Last-Event-ID": seen[-1]}) as source:
                    for event in source.iter_sse():
                        seen.append(event.id)
                        if len(seen) == len(data):
                            break
        assert seen == [change["cursor"] for change in data]


def test_a_long_poll_returns_the_change(served: str, home: SnapshotHome) -> None:
    with connect(served) as connection:
        cursor = next_cursor(served)
        headers = "Host: localhost\r\nPrefer: wait=20\r\nConnection: close"
        request = f"GET /v1/changes?since={cursor} HTTP/1.1\r\n{headers}\r\n\r\n"
        connection.sendall(request.encode())
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(20)
        number, issued_at = issue(home), time.monotonic()
        response = connection.makefile("rb").read()
        assert time.monotonic() - issued_at < AT_ONCE
    assert b"preference-applied: wait=20" in response.lower()
    assert f'"snapshot_id":{number}'.encode() in response


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_leaves_frees_its_place_at_once(home: SnapshotHome, server: str) -> None:
    limits = {"VIGIE_LIMITS__LOOPBACK": "true", "VIGIE_LIMITS__WAITING_PER_ADDRESS": "2"}
    with SERVERS[server](home, **limits) as url:
        cursor = next_cursor(url)
        poll = f"GET /v1/changes?since={cursor} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\n\r\n".encode()
        for _ in range(3):
            with ExitStack() as stack:
                left_at = time.monotonic()
                while open_stream(stack, url) != 200:
                    time.sleep(0.02)
                    assert time.monotonic() - left_at < 1.5, "the places of those who left are free"
                stack.enter_context(connect(url)).sendall(poll)
                time.sleep(0.5)
                assert open_stream(stack, url) == 503, "both places are taken"
                assert took(f"{url}/v1/scores") < AT_ONCE


def open_stream(stack: ExitStack, url: str) -> int:
    """Open a stream that lasts as long as the stack. Return its status."""
    connection = connect(url)
    connection.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status = int(response_head(connection).split()[1])
    stack.callback(connection.close)
    return status


@pytest.mark.parametrize("body", ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_streams_and_long_polls_with_an_empty_body_delay_nobody(served: str, body: str) -> None:
    cursor = next_cursor(served)
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(served)) for _ in range(12)]
        for number, connection in enumerate(waiting):
            target = "/v1/stream" if number % 2 else f"/v1/changes?since={cursor}"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=20\r\n{body}".encode())
        for connection in waiting[1::2]:
            assert response_head(connection).startswith(b"HTTP/1.1 200")
        for path in ("/healthz", "/v1/scores", "/v1/jobs", "/healthz"):
            assert took(served + path) < AT_ONCE
        for connection in waiting[::2]:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)


def test_hundreds_of_clients_wait_and_delay_nobody(served: str, home: SnapshotHome) -> None:
    """Each of them gets the change, and meanwhile polls are answered as ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2_000)), hard))
    cursor = next_cursor(served)
    with ExitStack() as stack:
        streams = [stack.enter_context(connect(served)) for _ in range(200)]
        polls = [stack.enter_context(connect(served)) for _ in range(200)]
        for connection in streams:
            connection.sendall(f"GET /v1/stream?since={cursor} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for connection in polls:
            head = f"GET /v1/changes?since={cursor} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\n"
            connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        for connection in streams:
            assert response_head(connection).startswith(b"HTTP/1.1 200")
        assert max(took(served + path) for path in ("/healthz", "/v1/scores") * 10) < AT_ONCE
        number, issued_at = issue(home), time.monotonic()
        expected = f'"snapshot_id":{number}'.encode()
        for connection in streams:
            received = b""
            while expected not in received:
                received += (part := connection.recv(65_536))
                assert part
        for connection in polls:
            response = connection.makefile("rb").read()
            assert response.startswith(b"HTTP/1.1 200")
            assert expected in response
        assert time.monotonic() - issued_at < 4
        assert max(took(served + path) for path in ("/healthz", "/v1/scores") * 10) < AT_ONCE


@pytest.mark.skipif("VIGIE_DATABASE_URL" in os.environ, reason="of SQLite")
def test_writers_that_wait_for_the_database_delay_nobody(served: str, home: SnapshotHome) -> None:
    """Another process holds SQLite's lock of writers."""
    writer = keys.add(home.store, "write", "another writer", datetime.now(UTC))
    body = b'{"location_code":"MLI"}'
    head = f"POST /v1/whatif HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {writer}\r\nConnection: close\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with ExitStack() as stack:
        lock = stack.enter_context(closing(sqlite3.connect(home.home.database, isolation_level=None)))
        lock.execute("BEGIN IMMEDIATE")
        waiting = [stack.enter_context(connect(served)) for _ in range(40)]
        for connection in waiting:
            connection.sendall(request)
        assert max(took(served + path) for path in ("/healthz", "/v1/scores", "/v1/jobs") * 3) < AT_ONCE
        lock.execute("ROLLBACK")
        for connection in waiting:
            connection.settimeout(20)
            assert connection.makefile("rb").readline().split()[1] in (b"202", b"400", b"404", b"503")


@pytest.mark.parametrize("name", ["Accept-Language", "Accept-Encoding", "Accept", "If-None-Match", "Prefer", "Cookie"])
def test_long_headers_delay_nobody(served: str, name: str) -> None:
    value = {"If-None-Match": '"a", ', "Prefer": "wait=1;"}.get(name, "fr-ML;q=0.5,")
    lengthy = (value * 3_000)[:28_000]
    request = f"GET / HTTP/1.1\r\nHost: localhost\r\n{name}: {lengthy}%d\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(served)) for _ in range(60)]
        for number, connection in enumerate(connections):
            connection.sendall((request % number).encode())
        assert took(f"{served}/healthz") < AT_ONCE
        for connection in connections:
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


@contextmanager
def gunicorn(home: SnapshotHome, *options: str, **environment: str) -> Iterator[str]:
    """The URL of the plain WSGI application under gunicorn."""
    port = free_port()
    line = [sys.executable, "-m", "gunicorn", "service.cli.app:wsgi", "--bind", f"127.0.0.1:{port}", *options]
    with running(line, port, home.home.root.parent / "gunicorn.txt", **served_from(home), **environment) as url:
        yield url


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.long), ("--preload",)])
def test_two_workers_of_gunicorn_serve_without_streams(
    home: SnapshotHome, writer: str, options: tuple[str, ...]
) -> None:
    """Each makes its application after the fork: locks and database connections are its own."""
    headers = {"Authorization": f"Bearer {writer}"}
    with gunicorn(home, "--workers", "2", "--threads", "4", *options) as url:
        workers = set()
        until = time.monotonic() + 30
        while len(workers) < 2 and time.monotonic() < until:
            response = httpx2.get(f"{url}/v1/scores")
            assert response.status_code == 200, response.text
            workers.add(response.headers["x-request-id"].partition("-")[0])
        assert len(workers) == 2, "both workers answer"
        first = httpx2.get(f"{url}/v1/scores")
        assert httpx2.get(f"{url}/v1/scores", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
        number = issue(home)
        assert {httpx2.get(f"{url}/v1/scores").json()["snapshot_id"] for _ in range(10)} == {number}
        stream = httpx2.get(f"{url}/v1/stream", timeout=5)
        assert (stream.status_code, stream.text.count("\n\n")) == (200, 1)
        assert not [name for name in stream.headers if name.startswith("vigie")]
        assert httpx2.get(f"{url}/v1/changes", headers={"Prefer": "wait=20"}, timeout=5).status_code == 200
        assert httpx2.post(f"{url}/v1/recompute").status_code == 401
        assert httpx2.post(f"{url}/v1/recompute", headers=headers).status_code == 202
        assert httpx2.post(f"{url}/v1/whatif", json={"location_code": "XYZ"}, headers=headers).status_code in (400, 404)
        parts = httpx2.post(f"{url}/v1/whatif", content=iter([b"x" * 40_000] * 2), headers=headers)
        assert parts.status_code == 413
        assert httpx2.get(f"{url}/nowhere", headers={"X-Request-Id": "mine"}).json()["request_id"] == "mine"
        for response in (
            first,
            httpx2.get(f"{url}/healthz"),
            httpx2.get(f"{url}/nowhere"),
            httpx2.put(f"{url}/"),
            httpx2.head(f"{url}/"),
        ):
            for name, value in SECURITY_HEADERS.items():
                assert response.headers.get_list(name) == [value]
            assert response.headers["x-request-id"]
        assert re.search(
            r'vigie_http_request_duration_seconds_count\{route="/v1/scores",status="200"\}',
            httpx2.get(f"{url}/metrics").text,
        )


def test_gunicorn_answers_that_it_lives_while_the_database_is_away(home: SnapshotHome, tmp_path: Path) -> None:
    if "VIGIE_DATABASE_URL" in os.environ:
        pytest.skip("the database of this run is shared")
    url_of_none = f"sqlite:///{tmp_path}/away/vigie.db"
    with gunicorn(home, "--preload", VIGIE_DATABASE_URL=url_of_none, VIGIE_ROOT_PATH="/vigie") as url:
        for address in ("/healthz", "/vigie/healthz"):
            assert httpx2.get(f"{url}{address}", timeout=20).json() == {"alive": True}
        away = httpx2.get(f"{url}/v1/scores")
        assert (away.status_code, away.json()["type"]) == (503, "urn:vigie:problem:unreadable-store")
        (tmp_path / "away").mkdir()
        assert httpx2.get(f"{url}/v1/scores").json()["type"] != "urn:vigie:problem:unreadable-store"
