"""The shipped nginx configuration before a real `vigie web`."""

import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx2
import pytest
from announced import issue
from attacks import attacking
from servers import free_port, web
from snapshots_support import SnapshotHome

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib" / "nginx" / "vigie.conf"
HOST = "vigie.example.org"
FAR = "127.0.0.2"
"""Another address than that of the attackers."""

ANSWER_SECONDS = 5.0
"""Within this time `/healthz` and polls are answered under each attack (docs/security.md, promise 9) [s]."""

PER_ADDRESS = 100
"""`limit_conn` of the configuration."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    made = SnapshotHome(tmp_path_factory.mktemp("nginx") / "home")
    made.add_ingests("real")
    issue(made)
    return made


def configured(folder: Path, backend: str, port: int, plain_port: int, path: str = "") -> str:
    """The shipped configuration with the ports and the files of a test; under a path if one is set."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    if path:
        under_root, _, under_path = text.rpartition("# Under a path")
        under_root = re.sub(r"\n        location .*", "", under_root, flags=re.DOTALL)
        locations = re.sub(r"^ +# ?", "", under_path.split("\n", 2)[2], flags=re.MULTILINE)
        text = under_root.replace('set $vigie_path "";', f"set $vigie_path {path};") + "\n" + locations
    temporary = "".join(
        f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    changes = {
        "server 127.0.0.1:8000": f"server {urlsplit(backend).netloc}",
        "listen [::]:443 ssl http2 backlog=4096;": "",
        "listen [::]:80 default_server;": "",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen 80 ": f"listen 127.0.0.1:{plain_port} ",
        "/etc/ssl/certs/vigie.pem": f"{folder}/vigie.pem",
        "/etc/ssl/private/vigie.key": f"{folder}/vigie.key",
        "/var/log/nginx": str(folder),
        "/run/nginx.pid": f"{folder}/pid",
        "\nhttp {": f"\nhttp {{ {temporary}",
    }
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    user = "user root; " if os.geteuid() == 0 else ""  # other users cannot read the folder of a test
    return f"daemon off; {user}{text}"


@contextmanager
def proxied(nginx: str, openssl: str, folder: Path, backend: str, path: str = "") -> Iterator[tuple[str, str]]:
    """The URLs of nginx, with TLS and without, before a server."""
    port, plain_port = free_port(), free_port()
    (folder / "nginx.conf").write_text(configured(folder, backend, port, plain_port, path))
    make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={HOST}",
    ]
    files = ["-keyout", str(folder / "vigie.key"), "-out", str(folder / "vigie.pem")]
    subprocess.run([openssl, *make, *files], check=True, capture_output=True)
    server = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "error.log").read_text()
                time.sleep(0.05)
        yield f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain_port}"
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def vigie(home: SnapshotHome, path: str = "") -> Iterator[str]:
    """The URL of `vigie web` with the settings that the configuration names."""
    settings = {"VIGIE_TRUSTED_PROXIES": '["127.0.0.1"]', "VIGIE_BASE_URL": f"https://{HOST}{path}"}
    with web(home, **settings) as url:
        yield url


@pytest.fixture(scope="module")
def backend(home: SnapshotHome) -> Iterator[str]:
    with vigie(home) as url:
        yield url


@pytest.fixture(scope="module")
def urls(nginx: str, openssl: str, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with proxied(nginx, openssl, tmp_path_factory.mktemp("proxy"), backend) as urls:
        yield urls


def client(url: str, source: str = "127.0.0.1") -> httpx2.Client:
    """A client with a source address, which opens a connection for each request."""
    transport = httpx2.HTTPTransport(
        verify=False, local_address=source, limits=httpx2.Limits(max_keepalive_connections=0)
    )
    return httpx2.Client(base_url=url, transport=transport, headers={"Host": HOST}, timeout=30)


def until(truth: Callable[[], bool], within: float = 20) -> None:
    """Wait until something is true."""
    patience = time.monotonic() + within
    while not truth():
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_nginx_serves_the_service_with_tls(urls: tuple[str, str]) -> None:
    encrypted, plain = urls
    with client(encrypted) as visitor:
        scores = visitor.get("/v1/scores")
        assert scores.status_code == 200
        assert scores.headers.get_list("x-content-type-options") == ["nosniff"]
        assert visitor.get("/v1/scores", headers={"If-None-Match": scores.headers["etag"]}).status_code == 304
        assert visitor.get("/").status_code == 200
        for address in (
            "/metrics",
            "/metrics/",
            f"{visitor.base_url}/metrics",
            "/metrics//",
            "/%6detrics",
            "/metrics?_=1",
        ):
            assert visitor.get(address).status_code == 404, address
        assert visitor.post("/v1/recompute").status_code == 401
        assert visitor.post("/v1/recompute", content=b"x" * 70_000).status_code == 413
    with client(plain) as visitor:
        moved = visitor.get("/fr/?a=b")
        assert (moved.status_code, moved.headers["location"]) == (301, f"https://{HOST}/fr/?a=b")


def test_nginx_passes_changes_at_once(urls: tuple[str, str], home: SnapshotHome) -> None:
    with client(urls[0]) as visitor, visitor.stream("GET", "/v1/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("id: ")
        number, began = issue(home), time.monotonic()
        assert next(line for line in lines if f'"snapshot_id":{number}' in line)
        assert time.monotonic() - began < ANSWER_SECONDS


@pytest.mark.long
def test_vigie_counts_the_clients_of_nginx_each(urls: tuple[str, str]) -> None:
    """And believes no address that a client invents."""
    if time.time() % 60 > 50:
        time.sleep(60.5 - time.time() % 60)  # all requests must fall into one minute

    def left(visitor: httpx2.Client, **headers: str) -> int:
        return int(re.findall(r"r=(\d+)", visitor.get("/v1/scores", headers=headers).headers["ratelimit"])[0])

    with client(urls[0]) as near, client(urls[0], FAR) as far:
        before = left(near)
        other = left(far)
        assert [left(near), left(near, X_Forwarded_For=FAR)] == [before - 1, before - 2]
        assert left(near, **{"X-Forwarded-For": FAR}) == before - 3
        assert left(far) == other - 1
        assert b"/evil" not in near.get("/", headers={"X-Forwarded-Prefix": "/evil"}).content


def test_nginx_refuses_what_one_address_asks_beyond_its_share(urls: tuple[str, str]) -> None:
    """Vigie lets 64 of its clients wait. nginx lets it have 100 requests under way."""
    secure = ssl.create_default_context()
    secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    request = f"GET /v1/stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    address = urlsplit(urls[0])
    with ExitStack() as stack:
        statuses = []
        for _ in range(70):
            connection = secure.wrap_socket(socket.create_connection(("127.0.0.1", address.port or 443), timeout=20))
            stack.enter_context(closing(connection))
            connection.sendall(request)
            statuses.append(int(connection.recv(4_096).split()[1]))
        assert statuses == [200] * 64 + [503] * 6
        with client(urls[0], FAR) as other:
            assert other.get("/healthz").status_code == 200


def test_a_header_line_that_ends_without_a_carriage_return_smuggles_no_request(urls: tuple[str, str]) -> None:
    """nginx writes each header anew, so Vigie sees the same request as nginx."""
    smuggled = f"GET /nowhere HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    for framing in (
        f"Content-Length: {len(smuggled)}\nX: ",
        f"X: 1\nTransfer-Encoding: chunked\nContent-Length: {len(smuggled)}",
        f"X: 1\nContent-Length: {len(smuggled)}\nContent-Length: 0",
    ):
        raw = f"GET /v1/scores HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{framing}\r\n\r\n{smuggled}".encode()
        secure = ssl.create_default_context()
        secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
        with secure.wrap_socket(socket.create_connection(("127.0.0.1", urlsplit(urls[0]).port or 443))) as connection:
            connection.settimeout(20)
            connection.sendall(raw)
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert received.count(b"HTTP/1.1 ") == 1


def test_nginx_serves_under_a_path(nginx: str, openssl: str, home: SnapshotHome, tmp_path: Path) -> None:
    with (
        vigie(home, "/vigie") as url,
        proxied(nginx, openssl, tmp_path, url, "/vigie") as (encrypted, _),
        client(encrypted) as visitor,
    ):
        page = visitor.get("/vigie/")
        assert (page.status_code, 'href="/vigie/static/' in page.text) == (200, True)
        assert visitor.get("/vigie/v1/scores").status_code == 200
        assert visitor.get("/v1/scores").status_code == 404
        for address in ("/vigie/metrics", "/vigie/metrics/", "/vigie//metrics", "/vigie/metrics//"):
            assert visitor.get(address).status_code == 404, address
        with visitor.stream("GET", "/vigie/v1/stream") as stream:
            assert next(stream.iter_lines()).startswith("id: ")


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "count"), [("one_cheap_request_each_14_s", 1_100), ("drip", 3_000), ("pipeline", 1_030)]
)
def test_one_address_cannot_stop_the_service_behind_nginx(urls: tuple[str, str], kind: str, count: int) -> None:
    with attacking(urls[0], kind, count), client(urls[0], FAR) as visitor:
        end = time.monotonic() + 40
        while time.monotonic() < end:
            for path in ("/healthz", "/v1/scores", "/v1/jobs"):
                began = time.monotonic()
                assert visitor.get(path).status_code == 200
                assert time.monotonic() - began < ANSWER_SECONDS, path
            time.sleep(0.1)
