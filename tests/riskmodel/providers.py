"""Providers on loopback, with faults: a real HTTP server, with files as UCDP's site has them and an API as UCDP's."""

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
class Asked:
    """One request: header names in lower case, the query's last value by name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One answer, and how it goes wrong.

    `announced` is the Content-Length where it is not that of the body; the connection closes after `cut` bytes of the
    body; with `drip` [s] each of its bytes comes that long after the one before, and with `late` its header does so.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    cut: int | None = None
    drip: float = 0.0
    late: float = 0.0


HTML = Answer(200, b"<!DOCTYPE html><title>Maintenance</title>", {"content-type": "text/html"})
Fault = Answer | Callable[[Asked, Answer], Answer]


class Provider:
    """A server that answers with `truth`, but first, for each path, with what stands in `faults[path]`.

    A fault is an answer, or a function of the request and the true answer. `asked` lists every request.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.over = threading.Event()
        self._lock = threading.Lock()

    def truth(self, asked: Asked) -> Answer:
        """The answer without faults."""
        return Answer(404, b"not found")

    def paths(self) -> list[str]:
        """What has been asked for, in order."""
        return [asked.path for asked in self.asked]

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve on a free port of loopback; gives the address."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

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
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are part of the tests
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        finally:
            self.over.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        asked = Asked(
            request.command,
            parts.path,
            {name: values[-1] for name, values in parse_qs(parts.query).items()},
            {name.lower(): value for name, value in request.headers.items()},
            request.rfile.read(int(request.headers.get("content-length", 0))),
        )
        with self._lock:
            self.asked.append(asked)
            fault = self.faults[asked.path].popleft() if self.faults[asked.path] else None
            answer = fault if isinstance(fault, Answer) else self.truth(asked)
            if fault and not isinstance(fault, Answer):
                answer = fault(asked, answer)
        with suppress(OSError):
            self._send(request, answer)

    def _send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in answer.headers.items())]
        if answer.status != 304:
            lines.append(f"Content-Length: {len(answer.body) if answer.announced is None else answer.announced}")
        self._drip(request, ("\r\n".join(lines) + "\r\n\r\n").encode(), answer.late)
        self._drip(request, answer.body[: answer.cut], answer.drip)
        request.close_connection = answer.cut is not None or answer.announced is not None

    def _drip(self, request: BaseHTTPRequestHandler, content: bytes, pause: float) -> None:
        for piece in [content[i : i + 1] for i in range(len(content))] if pause else [content]:
            if pause and self.over.wait(pause):
                return
            request.wfile.write(piece)
            request.wfile.flush()


class Files(Provider):
    """Keeps files by path (`put`), with ETag and Last-Modified, ranges and conditional requests."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.modified = email.utils.formatdate(time.mktime((2026, 6, 1, 12, 0, 0, 0, 0, 0)), usegmt=True)

    def truth(self, asked: Asked) -> Answer:
        """A file, a part of it, or 304 where it is the one that the client has."""
        if asked.path not in self.files:
            return super().truth(asked)
        content = self.files[asked.path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Last-Modified": self.modified, "Content-Type": "text/csv"}
        if asked.headers.get("if-none-match") == tag:
            return Answer(304, b"", headers)
        wanted = asked.headers.get("range", "")
        if wanted and asked.headers.get("if-range") in (tag, self.modified):
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                return Answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return Answer(206, content[first:], headers)
        return Answer(200, content, headers)


TOKEN = "token-of-the-tests-0123456789"  # noqa: S105 - no secret: the provider in the tests asks for it


class Ucdp(Files):
    """UCDP's site and its API: `publish` puts a release on both, `withdraw` takes it away from both."""

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
        """Make a release public; gives the path of its file."""
        path, text = path_of(release), ged.text(rows).encode()
        self.files[path] = zipped("GEDEvent_v26_1.csv", text) if path.endswith(".zip") else text
        self.releases[release] = records(text.decode())
        return path

    def withdraw(self, release: str) -> None:
        """Take a release from the site and the API."""
        del self.files[path_of(release)], self.releases[release]

    def truth(self, asked: Asked) -> Answer:
        """A file, or a page of the API for who has the token."""
        if not asked.path.startswith("/api/gedevents/"):
            return super().truth(asked)
        if asked.headers.get("x-ucdp-access-token") != TOKEN:
            return Answer(401, b'{"message":"no token"}')
        release = asked.path.rpartition("/")[2]
        if release not in self.releases:
            return Answer(400, f"Invalid object name 'GEDEvent_v{release.replace('.', '_')}'.".encode())
        rows, size, page = self.releases[release], int(asked.query["pagesize"]), int(asked.query["page"])
        size = min(size, self.page_size)
        pages = -(-len(rows) // size)
        following = f"{self.url}{asked.path}?pagesize={size}&page={page + 1}" if page + 1 < pages else ""
        envelope = {
            "TotalCount": len(rows),
            "TotalPages": pages,
            "PreviousPageUrl": None,
            "NextPageUrl": following,
            "Result": rows[page * size : (page + 1) * size],
        }
        return Answer(200, json.dumps(envelope).encode(), {"Content-Type": "application/json"})


def records(text: str) -> list[dict[str, object]]:
    """The rows of a file as the API writes them: null where empty, numbers as numbers, dates with a T."""
    return [
        {
            name: None if cell == "" else int(cell) if cell.isdecimal() else cell.replace(" 00:00:00.000", "T00:00:00")
            for name, cell in row.items()
        }
        for row in csv.DictReader(io.StringIO(text))
    ]


def path_of(release: str) -> str:
    """Where UCDP's site has a release."""
    yy, *rest = release.split(".")
    if len(rest) == 1:
        return f"/downloads/ged/ged{yy}{rest[0]}-csv.zip"
    return f"/downloads/candidateged/GEDEvent_v{release.replace('.', '_')}.csv"


def monthly_events(first: str, last: str, first_id: int = 1, best: int = 3) -> list[dict[str, object]]:
    """One event in every month, in Mali, with its id: enough for a release that covers these months."""
    months = span(month(first), month(last))
    return [
        {"id": first_id + i, "date": f"{when}-15", "best": best} for i, when in enumerate(np.datetime_as_string(months))
    ]


def zipped(name: str, content: bytes) -> bytes:
    """One file in a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def certificate(folder: Path) -> Path | None:
    """A certificate for loopback with its key, signed by itself; None where there is no openssl."""
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
