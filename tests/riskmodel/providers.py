"""Providers on loopback, with faults: a real HTTP server that offers files and an API as UCDP does."""

import csv
import email.utils
import hashlib
import io
import json
import shutil
import ssl
import subprocess
import threading
import time
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import ged
import numpy as np

from riskmodel.months import month, span


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case, and the last value of each name in the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """One response, and what is wrong with it.

    `announced` is a wrong Content-Length. The connection closes after `cut` bytes of the body. `drip` is the pause
    before each byte of the body [s], `late` the pause before each byte of the header [s].
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    cut: int | None = None
    drip: float = 0.0
    late: float = 0.0


HTML = Response(200, b"<!DOCTYPE html><title>Maintenance</title>", {"content-type": "text/html"})
Fault = Response | Callable[[Request, Response], Response]


class Provider:
    """A server that sends `respond(request)`, but first, for each path, the faults of `faults[path]` in order.

    A fault is a response, or a function of the request and the correct response. `requests` lists every request, and
    `connections` counts the connections.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.connections = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Response:
        """Return the correct response."""
        return Response(404, b"not found")

    def paths(self) -> list[str]:
        """Return the paths requested so far, in order."""
        return [request.path for request in self.requests]

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve on a free port of loopback, and yield the address."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                provider.connections += 1
                super().setup()

            def do_GET(self) -> None:
                provider._serve(self)

            do_POST = do_GET  # noqa: N815 - http.server calls it by this name

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.block_on_close = False
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # tests cut connections
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        finally:
            self.stopped.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        request = Request(
            handler.command,
            parts.path,
            {name: values[-1] for name, values in parse_qs(parts.query).items()},
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(int(handler.headers.get("content-length", 0))),
        )
        with self._lock:
            self.requests.append(request)
            fault = self.faults[request.path].popleft() if self.faults[request.path] else None
            response = fault if isinstance(fault, Response) else self.respond(request)
            if fault and not isinstance(fault, Response):
                response = fault(request, response)
        with suppress(OSError):
            self._send(handler, response)

    def _send(self, handler: BaseHTTPRequestHandler, response: Response) -> None:
        headers = [f"{name}: {value}" for name, value in response.headers.items()]
        lines = [f"HTTP/1.1 {response.status} Reason", *headers]
        if response.status != 304:
            lines.append(f"Content-Length: {len(response.body) if response.announced is None else response.announced}")
        self._drip(handler, ("\r\n".join(lines) + "\r\n\r\n").encode(), response.late)
        self._drip(handler, response.body[: response.cut], response.drip)
        handler.close_connection = response.cut is not None or response.announced is not None

    def _drip(self, handler: BaseHTTPRequestHandler, content: bytes, pause: float) -> None:
        for piece in [content[i : i + 1] for i in range(len(content))] if pause else [content]:
            if pause and self.stopped.wait(pause):
                return
            handler.wfile.write(piece)
            handler.wfile.flush()


class Files(Provider):
    """Serves `files` by path, with ETag and Last-Modified, ranges and conditional requests.

    `modified` is the Last-Modified of all files, `modified_of` that of some.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.modified = email.utils.formatdate(time.mktime((2026, 6, 1, 12, 0, 0, 0, 0, 0)), usegmt=True)
        self.modified_of: dict[str, str] = {}

    def respond(self, request: Request) -> Response:
        """Return a file, a part of it, or 304 if the client has it."""
        if request.path not in self.files:
            return super().respond(request)
        content = self.files[request.path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        modified = self.modified_of.get(request.path, self.modified)
        headers = {"ETag": tag, "Last-Modified": modified, "Content-Type": "text/csv"}
        if request.headers.get("if-none-match") == tag:
            return Response(304, b"", headers)
        requested = request.headers.get("range", "")
        if requested and request.headers.get("if-range") in (tag, modified):
            first = int(requested.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                return Response(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return Response(206, content[first:], headers)
        return Response(200, content, headers)


TOKEN = "token-of-the-tests-0123456789"  # noqa: S105 - no secret: only the provider of the tests knows it


class Ucdp(Files):
    """UCDP's site and its API. `publish` adds a release to them, `withdraw` removes it."""

    def __init__(self, page_size: int = 1000) -> None:
        super().__init__()
        self.page_size = page_size
        self.releases: dict[str, list[dict[str, object]]] = {}
        self.url = ""

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        with super().listening(tls) as self.url:
            yield self.url

    def publish(self, release: str, rows: list[dict[str, object]]) -> str:
        """Publish a release, and return the path of its file."""
        path, text = path_of(release), ged.text(rows).encode()
        self.files[path] = zipped("GEDEvent_v26_1.csv", text) if path.endswith(".zip") else text
        self.releases[release] = records(text.decode())
        return path

    def withdraw(self, release: str) -> None:
        """Remove a release from the site and the API."""
        del self.files[path_of(release)], self.releases[release]

    def respond(self, request: Request) -> Response:
        """Return a file, or a page of the API if the request has the token."""
        if not request.path.startswith("/api/gedevents/"):
            return super().respond(request)
        if request.headers.get("x-ucdp-access-token") != TOKEN:
            return Response(401, b'{"message":"no token"}')
        release = request.path.rpartition("/")[2]
        if release not in self.releases:
            return Response(400, f"Invalid object name 'GEDEvent_v{release.replace('.', '_')}'.".encode())
        rows, size, page = self.releases[release], int(request.query["pagesize"]), int(request.query["page"])
        size = min(size, self.page_size)
        pages = -(-len(rows) // size)
        next_url = f"{self.url}{request.path}?pagesize={size}&page={page + 1}" if page + 1 < pages else ""
        envelope = {
            "TotalCount": len(rows),
            "TotalPages": pages,
            "PreviousPageUrl": None,
            "NextPageUrl": next_url,
            "Result": rows[page * size : (page + 1) * size],
        }
        return Response(200, json.dumps(envelope).encode(), {"Content-Type": "application/json"})


def records(text: str) -> list[dict[str, object]]:
    """Return the rows of a file as the API writes them: null for empty, numbers as numbers, dates with a T."""
    return [
        {
            name: None if cell == "" else int(cell) if cell.isdecimal() else cell.replace(" 00:00:00.000", "T00:00:00")
            for name, cell in row.items()
        }
        for row in csv.DictReader(io.StringIO(text))
    ]


def path_of(release: str) -> str:
    """Return the path of a release on UCDP's site."""
    yy, *rest = release.split(".")
    if len(rest) == 1:
        return f"/downloads/ged/ged{yy}{rest[0]}-csv.zip"
    return f"/downloads/candidateged/GEDEvent_v{release.replace('.', '_')}.csv"


def monthly_events(first: str, last: str, first_id: int = 1, best: int = 3) -> list[dict[str, object]]:
    """Return one event in Mali in every month, each with an id: enough for a release that covers these months."""
    months = span(month(first), month(last))
    return [
        {"id": first_id + i, "date": f"{when}-15", "best": best} for i, when in enumerate(np.datetime_as_string(months))
    ]


def zipped(name: str, content: bytes) -> bytes:
    """Return a zip with one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def certificate(folder: Path) -> Path | None:
    """Return a self-signed certificate for loopback with its key; None without openssl."""
    if not (openssl := shutil.which("openssl")):
        return None
    path = folder / "loopback.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", folder / "only.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (folder / "only.pem").read_text())
    return path
