"""The gate of real web servers: slow clients, garbage, path traversal, two workers, secrets."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2 as httpx2
import pytest
from receivers import SECRET, HookReceiver
from servers import connect, free_port, running, web
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service.alerts import outbox
from service.http import keys, rate_limit
from service.http.gate import SECURITY_HEADERS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    made = SnapshotHome(tmp_path_factory.mktemp("gate") / "home")
    made.add_ingests("real")
    made.issue()
    return made


@pytest.fixture(scope="module")
def writer(home: SnapshotHome) -> str:
    return keys.add(home.store, "write", "a writer", datetime.now(UTC))


@pytest.fixture(scope="module")
def served(home: SnapshotHome) -> Iterator[str]:
    limits = {"HEADER_SECONDS": "1", "CONNECTIONS": "64", "WRITE_PER_MINUTE": "0", "IN_FLIGHT_PER_ADDRESS": "16"}
    limits["LOOPBACK"] = "true"
    limits["ADDRESS_PER_MINUTE"] = "0"
    with web(home, **{f"VIGIE_LIMITS__{name}": value for name, value in limits.items()}) as url:
        yield url


def send_raw(url: str, raw: bytes) -> bytes:
    """Everything that a server sends in response to these bytes."""
    with connect(url) as connection:
        connection.sendall(raw)
        response = b""
        try:
            while part := connection.recv(65_536):
                response += part
        except ConnectionResetError:
            pass
    return response


def get(url: str, path: str, headers: str = "") -> int:
    """The status of a request on a connection of its own: each can go to another worker."""
    return status(
        send_raw(url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
    )


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def seconds_until_closed(connection: socket.socket, drip: bytes = b"") -> float:
    began = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - began < 10:
        try:
            if drip:
                connection.sendall(drip)
            if not connection.recv(4096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_connections_that_never_finish_their_headers_are_closed(served: str) -> None:
    with connect(served) as silent, connect(served) as half, connect(served) as dripping:
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert seconds_until_closed(dripping, drip=b"X-A: 1\r\n") < 3
        assert seconds_until_closed(half) < 3
        assert seconds_until_closed(silent) < 3


def test_more_slow_clients_than_connections_do_not_block_others(served: str) -> None:
    with ExitStack() as stack:
        for _ in range(160):
            connection = stack.enter_context(connect(served))
            connection.sendall(b"GET / HT")
        began = time.monotonic()
        assert httpx2.get(f"{served}/healthz", timeout=20).status_code == 200
        assert time.monotonic() - began < 10


def test_bodies_that_never_arrive_do_not_block_readers(served: str, writer: str) -> None:
    headers = f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {writer}\r\n"
    head = f"POST /v1/scores HTTP/1.1\r\n{headers}Content-Length: 10\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(served)).sendall(head + b"abc")
            if status(send_raw(served, head + b"abcdefghij")) == 503:
                break
        assert status(send_raw(served, head + b"abcdefghij")) == 503
        assert [get(served, "/v1/scores") for _ in range(20)] == [200] * 20
        time.sleep(1.5)
        assert get(served, "/v1/scores") == 200, "still after a while"
    until = time.monotonic() + 10
    while (final := status(send_raw(served, head + b"abcdefghij"))) == 503 and time.monotonic() < until:
        time.sleep(0.05)
    assert final == 405, "a client that disconnects makes room for another"


def test_a_request_without_a_key_is_refused_before_its_body_arrives(served: str) -> None:
    with connect(served) as connection:
        connection.sendall(b"POST /v1/recompute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert status(connection.recv(4096)) == 401


HOST = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CLOSE = b"Host: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("raw", "allowed"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\xff\r\n\r\n", {400}),
        (b"\x00" * 300 + b"\r\n\r\n", {400}),
        (b"GET\r\n\r\n", {400}),
        (b"GET / HTTP/9.9\r\n\r\n", {400}),
        (b"FOO!$ /" + HOST, {405}),
        (b"get /" + HOST, {405}),
        (b"TRACE /" + HOST, {405}),
        (b"CONNECT evil.example.org:443" + HOST, {400, 405}),
        (b"PUT /v1/scores" + HOST, {405}),
        (b"OPTIONS *" + HOST, {200, 204, 400, 404, 405}),
        (b"GET /v1/scores\x00" + HOST, {400}),
        (b"GET /v1/scores/%00" + HOST, {400}),
        (b"GET /%ff%fe%zz%" + HOST, {404}),
        (b"GET /v1/scores/%e2%80%ae%0d%0aSet-Cookie:%20x=1" + HOST, {404}),
        (b"GET /?%ff=%zz&&&===&lang=%00" + HOST, {200}),
        (b"GET /v1/scores?" + b"a" * 9_000 + HOST, {414}),
        (b"GET /" + b"a" * 70_000 + HOST, {414, 431}),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X-A: " + b"a" * 50_000 + b"\r\n\r\n", {431}),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X-A: 1\r\n" * 200 + b"\r\n", {431}),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X-A: \xff\x01\r\n\r\n", {200, 400}),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"Accept-Language: \xc3\xa9;q=x,,;;\r\nCookie: \xe9\r\n\r\n", {200, 400}),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"Authorization: Basic \xff\xff\r\n\r\n", {200, 400}),
        (
            b"GET /v1/scores HTTP/1.1\r\n" + CLOSE + b'If-None-Match: """", W/, *\r\nRange: bytes=9-1\r\n\r\n',
            {200, 304},
        ),
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", {400}),
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: -1\r\n\r\n", {400}),
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400, 401}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 0}),
    ],
)
def test_garbage_is_refused_and_never_causes_a_fault(served: str, raw: bytes, allowed: set[int]) -> None:
    response = send_raw(served, raw)
    assert (status(response) if response else 0) in allowed
    assert b"Set-Cookie" not in response.partition(b"\r\n\r\n")[0]
    assert httpx2.get(f"{served}/healthz").status_code == 200


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\nContent-Length: 4",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding : chunked",
        b"X: 1\r\n Transfer-Encoding: chunked",
        b"X: 1\rTransfer-Encoding: chunked",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_smuggles_no_other(served: str, framing: bytes) -> None:
    """Each of these is one request or none, and ends the connection, whatever a proxy takes it for."""
    smuggled = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
    response = send_raw(
        served, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n0\r\n\r\n" + smuggled
    )
    assert response.count(b"HTTP/1.1 ") == 1
    assert status(response) in (200, 400)


@pytest.mark.parametrize(
    "path",
    [
        *("../app.py", "..%2fapp.py", "%2e%2e/app.py", "%2e%2e%2fapp.py", "..%5capp.py", "..\\app.py", "....//app.py"),
        *("%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd", "/etc/passwd", "//etc/passwd"),
        *("%2fetc%2fpasswd", "file:///etc/passwd", "..%c0%af..%c0%afapp.py", "..%252fapp.py", "%00", "vigie.css%00.py"),
        *(".", "..", "", "./", "../templates/base.html", "vigie.css/../../app.py", "C:%5cwindows"),
    ],
)
def test_no_path_leads_outside_the_static_files(served: str, path: str) -> None:
    response = send_raw(served, b"GET /static/" + path.encode() + HOST)
    assert status(response) in (400, 404)
    assert b"root:" not in response
    assert b"create_app" not in response


def test_every_served_response_has_the_security_headers_and_no_cors(served: str) -> None:
    tag = httpx2.get(f"{served}/v1/scores").headers["etag"]
    responses = [
        *(
            httpx2.get(served + path)
            for path in ("/", "/v1/scores", "/healthz", "/readyz", "/static/vigie.css", "/nowhere")
        ),
        httpx2.get(f"{served}/v1/scores", headers={"If-None-Match": tag}),
        httpx2.post(f"{served}/v1/scores"),
        httpx2.put(f"{served}/v1/scores"),
        httpx2.get(f"{served}/{'a' * 9_000}"),
        httpx2.options(f"{served}/v1/scores", headers={"Origin": "https://a.example"}),
    ]
    assert {response.status_code for response in responses} >= {200, 304, 401, 404, 405, 414}
    for response in responses:
        for name, value in SECURITY_HEADERS.items():
            assert response.headers.get_list(name) == [value], response.url
        assert [name for name in response.headers if name.startswith("access-control")] == []


def test_two_workers_share_limits_and_revoked_keys(home: SnapshotHome, tmp_path: Path) -> None:
    key = keys.add(home.store, "read", "a reader", datetime.now(UTC))
    environment = {
        "VIGIE_LIMITS__LOOPBACK": "true",
        "VIGIE_LIMITS__ADDRESS_PER_MINUTE": "40",
    }
    for file in home.home.run.glob("counters*"):
        file.unlink()
    port = free_port()
    command = [sys.executable, "-m", "riskmodel", "--home", str(home.home.root), "web", "--workers", "2"]
    with running([*command, "--port", str(port)], port, tmp_path / "log", **environment) as url:
        until = time.monotonic() + 20
        while len(list(home.home.run.glob("counters-*.lock"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        if time.time() % 60 > 52:
            time.sleep(60.5 - time.time() % 60)
        window, before = int(time.time()) // 60, counted(home, int(time.time()) // 60)
        statuses = [get(url, "/v1/scores") for _ in range(100)]
        assert window == int(time.time()) // 60, "the requests must fall into one window"
        assert statuses.count(200) == 40 - sum(before)
        after = counted(home, window)
        assert sum(after) == 100 + sum(before)
        assert sum(count > 0 for count in after) == 2, "both workers have counted requests"
        header = f"Authorization: Bearer {key}\r\n"
        assert {get(url, "/v1/scores", header) for _ in range(20)} == {200}
        keys.revoke(home.store, key.split("_")[1], datetime.now(UTC))
        time.sleep(1.0)
        assert 200 not in {get(url, "/v1/scores", header) for _ in range(20)}


def counted(home: SnapshotHome, window: int) -> list[int]:
    """How many requests of the only client each worker has counted in a window."""
    cells = memoryview((home.home.run / "counters").read_bytes()).cast("Q")[rate_limit.HEADER :]
    first_row = cells[: rate_limit.CELLS * rate_limit.COLUMNS]
    columns = [first_row[column :: rate_limit.COLUMNS] for column in range(rate_limit.COLUMNS)]
    return [max(cell & 0xFFFF_FFFF if cell >> 32 == window else 0 for cell in column) for column in columns]


def test_listening_on_a_public_address_is_announced_and_needs_a_key(home: SnapshotHome, writer: str) -> None:
    log = home.home.root.parent / "up.txt"
    for command, environment, text, status_without_key in (
        ("web", {}, "reading needs a key (make one with vigie keys add --scope read", 401),
        ("up", {"VIGIE_PUBLIC_READ": "true"}, "everybody who can reach it can read (public_read = true)", 200),
    ):
        port = free_port()
        line = [sys.executable, "-m", "riskmodel", "--home", str(home.home.root), command]
        with running([*line, "--host", "0.0.0.0", "--port", str(port)], port, log, **environment) as url:
            assert httpx2.get(f"{url}/v1/scores").status_code == status_without_key
            assert httpx2.get(f"{url}/", auth=("", writer)).status_code == 200
            assert httpx2.get(f"{url}/healthz").status_code == 200
            assert httpx2.post(f"{url}/v1/scores").status_code == 401
        assert "listening on 0.0.0.0, which other machines can reach: " + text in log.read_text()


def test_no_secret_is_in_a_response_a_log_or_a_file(tmp_path: Path) -> None:
    """Every secret is set and every delivery fails; no secret is in responses, logs or files."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    log = tmp_path / "log.txt"
    made = [keys.add(home.store, "read", "r", datetime.now(UTC)), keys.add(home.store, "write", "w", datetime.now(UTC))]
    with HookReceiver(*[500] * 9).listening() as receiver:
        home.home.settings.write_text(
            'allow_private_webhooks = ["127.0.0.1"]\ndeliver_every_seconds = 1\n'
            f'[routes.hook]\ntype = "webhook"\nurl = "{receiver.url("/token-in-path?token-in-query")}"\n'
            f'secret = "{SECRET}"\n'
            '[routes.inside]\ntype = "webhook"\nurl = "http://user:pass-in-url@[::1]:9/token-in-path"\n'
            f'secret = "{SECRET}"\n'
            '[routes.mail]\ntype = "email"\nto = ["a@example.org"]\nsender = "b@example.org"\nhost = "127.0.0.1"\n'
            'port = 9\nusername = "u"\npassword = "mail-password"\nsecurity = "tls"\n'
        )
        with home.store.writing() as connection:
            data = {"headline": {"en": "Alert", "fr": "Alerte"}, "text": {"en": "Alert", "fr": "Alerte"}}
            for route in ("hook", "inside", "mail"):
                outbox.enqueue(connection, route=route, kind="firing", data=data, now=NOW)
        environment = {
            "VIGIE_UCDP_TOKEN": "ucdp-secret",
            "VIGIE_ACLED_USERNAME": "acled-user",
            "VIGIE_ACLED_PASSWORD": "acled-secret",
            "VIGIE_HEARTBEAT_URL": receiver.url("/token-in-path"),
        }
        responses = []
        with web(home, "up", **environment) as url:
            credentials = [
                {"Authorization": f"Bearer {key}"}
                for key in (*made, made[0][:-1] + "x", "vigie_00000000_guessed-secret")
            ]
            paths = ("/", "/v1/scores", "/v1/runs", "/v1/alerts", "/readyz", "/nowhere", "/v1/scores/XYZ", "/static/x")
            until = time.monotonic() + 20
            while time.monotonic() < until and log.read_text().count("delivery msg_") < 3:
                time.sleep(0.2)
            # The server closes a connection whose body it has not read: use a new one for each request.
            with httpx2.Client(base_url=url, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
                for headers in credentials:
                    for path in paths:
                        responses += [
                            client.get(path, headers=headers),
                            client.post(path, headers=headers, content=b"x"),
                        ]
    assert log.read_text().count("delivery msg_") >= 3
    home.store.engine.dispose()
    files = [file for file in home.home.root.rglob("*") if file.is_file() and file != home.home.settings]
    everything = b"\n".join(
        [log.read_bytes(), *(str(dict(response.headers)).encode() + response.content for response in responses)]
        + [file.read_bytes() for file in files]
    )
    secrets = [
        *(SECRET.removeprefix("whsec_"), "mail-password", "token-in-path", "token-in-query", "pass-in-url"),
        *("ucdp-secret", "acled-secret", "guessed-secret", *(key.split("_")[2][:-1] for key in made)),
    ]
    assert [secret for secret in secrets if secret.encode() in everything] == []
    assert b"Traceback" not in b"".join(response.content for response in responses)
