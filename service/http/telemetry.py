"""What is seen of each request, before everything else in a worker: its id, its line in the log, its count.

On the way of every answer, so it costs a few microseconds. Counts are kept by each worker for itself and published as a
file every second, so that any of them can tell the sum; what they mean is told by `service.api.metrics`.
"""

import itertools
import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from flask import Flask
from werkzeug.exceptions import HTTPException

from riskmodel.home import Home
from service import logs
from service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FOLDER = "VIGIE_METRICS"
"""The environment variable that tells workers of one web server where they publish their counts."""

REQUEST_ID = "vigie.request_id"
"""Where the id of a request stands in its WSGI environment."""

SANE = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
"""What an id may look like that a client gives."""

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper ends of what is told apart in the time to an answer [s]."""

PUBLISH_EVERY = 1.0
"""How often a worker publishes its counts [s]."""

ACCESS_LINES = 100
"""How many requests a worker logs in one second, where nothing else is set and lines are JSON."""

LONGEST_PATH = 200
"""The longest address whose route is looked for [characters]."""

OTHER = "other"
"""Stands for every address that there is not: what strangers ask for is no list to keep."""

Totals: TypeAlias = dict[tuple[str, str], list[float]]
"""By route and status: the seconds spent, then the requests in each bucket, the last one for those beyond all."""

_access = logging.getLogger("vigie.access")
_log = logging.getLogger(__name__)
_hidden = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class Counts:
    """How many requests were answered, and how fast, by route and status: of this process, and of its siblings."""

    def __init__(self, folder: Path | None) -> None:
        self._lock, self._cells = threading.Lock(), Totals()
        self._file = None if folder is None else folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._published: object = None
        if self._file:
            threading.Thread(target=self._keep_publishing, daemon=True, name="counts").start()

    def add(self, route: str, status: str, seconds: float) -> None:
        """Count one answer."""
        key, place = (route, status), bisect_left(BUCKETS, seconds) + 1
        with self._lock:
            cell = self._cells.get(key)
            if cell is None:
                cell = self._cells[key] = [0.0] * (len(BUCKETS) + 2)
            cell[0] += seconds
            cell[place] += 1

    def total(self) -> Totals:
        """The sum over all workers of this web server, those that have ended included; of others up to a second ago."""
        totals = self._own()
        if self._file:
            for path in self._file.parent.glob("*.json"):
                if path != self._file:
                    _add(totals, path)
        return totals

    def _own(self) -> Totals:
        with self._lock:
            return {key: list(cell) for key, cell in self._cells.items()}

    def _keep_publishing(self) -> None:
        while True:
            time.sleep(PUBLISH_EVERY)
            self.publish()

    def publish(self) -> None:
        """Write this process's part for the others, if it has changed; a full disk costs only their sight of it."""
        own = self._own()
        if self._file is None or own == self._published:
            return
        part = self._file.with_suffix(".part")
        try:
            part.write_text(json.dumps([[*key, *cell] for key, cell in own.items()]), encoding="utf-8")
            part.replace(self._file)
        except OSError as failure:
            if self._published is not failure.errno:
                _log.warning("the counts of this worker cannot be published: %s", failure.strerror)
                self._published = failure.errno
        else:
            self._published = own


def _add(totals: Totals, path: Path) -> None:
    """Add what another process has published."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for route, status, *cell in rows:
        known = totals.setdefault((route, status), [0.0] * len(cell))
        known[:] = map(sum, zip(known, cell, strict=True))


class AccessLog:
    """A line for each answer, but no more than so many in a second: the next line says how many were left out."""

    def __init__(self, per_second: int) -> None:
        self._most, self._lock = per_second, threading.Lock()
        self._second, self._written, self._left_out = 0, 0, 0

    def __call__(self, environ: "WSGIEnvironment", status: str, size: int | None, seconds: float) -> None:
        """Log one answer: its address without the query, for that may hold a key."""
        with self._lock:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._written = second, 0
            if self._written >= self._most:
                self._left_out += 1
                return
            self._written += 1
            left_out, self._left_out = self._left_out, 0
        told: dict[str, Any] = {
            "request_id": environ[REQUEST_ID],
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"].translate(_hidden),
            "status": int(status),
            "bytes": size,
            "ms": round(1000 * seconds, 3),
        }
        if left_out:
            told["left_out"] = left_out
        _access.info("%(method)s %(path)s %(status)s %(bytes)s B %(ms)s ms", told, extra=told)


class Telemetry:
    """A WSGI application around another one, which gives each request an id and sees how it was answered."""

    def __init__(
        self,
        app: "WSGIApplication",
        counts: Counts,
        route_of: Callable[[str, str], str],
        access: AccessLog | None,
    ) -> None:
        self._app, self._count, self._route_of, self._access = app, counts.add, route_of, access
        self._worker, self._number = secrets.token_hex(5), itertools.count(1)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        began = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and SANE(given) else f"{self._worker}-{next(self._number):x}"
        environ[REQUEST_ID] = request_id
        status, bound = "500", logs.request_id.set(request_id)

        # Quoted: what is annotated here would be made anew for every request.
        def start(line: "str", headers: "list[tuple[str, str]]", *failure: "Any") -> "Callable[[bytes], object]":
            nonlocal status
            status = line[:3]
            return start_response(line, [*headers, ("X-Request-Id", request_id)], *failure)

        try:
            body = self._app(environ, start)
        finally:
            logs.request_id.reset(bound)
            seconds = time.perf_counter() - began
            self._count(self._route_of(environ["REQUEST_METHOD"], environ["PATH_INFO"]), status, seconds)
        if self._access is None:
            return body
        if isinstance(body, list):
            self._access(environ, status, sum(map(len, body)), seconds)
            return body
        return _Measured(body, partial(self._told_at_end, environ, status, began))

    def _told_at_end(self, environ: "WSGIEnvironment", status: str, began: float, size: int) -> None:
        if self._access:
            self._access(environ, status, size, time.perf_counter() - began)


class _Measured:
    """The body of an answer on its way out; tells its size [bytes] when it is closed."""

    def __init__(self, body: Iterable[bytes], told: Callable[[int], None]) -> None:
        self._body, self._parts, self._size, self._told = body, iter(body), 0, told

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self._parts)
        self._size += len(part)
        return part

    def close(self) -> None:
        """End the answer."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._told(self._size)


def watched(wsgi: "WSGIApplication", app: Flask, settings: Settings) -> Telemetry:
    """Put telemetry around all that a worker answers with; `app` is the Flask application within: it knows the routes.

    Every part in between calls `start_response` before it returns.
    """
    folder = os.environ.get(FOLDER)
    counts = app.extensions["vigie_counts"] = Counts(Path(folder) if folder else None)
    lines = settings.access_log_per_second
    if lines is None:
        lines = ACCESS_LINES if logs.form(settings.log_format) == "json" else 0
    return Telemetry(wsgi, counts, routes(app), AccessLog(lines) if lines else None)


def routes(app: Flask) -> Callable[[str, str], str]:
    """How the application names the route of a method and a path, as the API's documents do: `/v1/scores/{iso3}`."""
    there = app.url_map.bind("localhost")

    @lru_cache(maxsize=4096)
    def known(method: str, path: str) -> str:
        try:
            rule, _ = there.match(path, method, return_rule=True)
        except HTTPException:
            return OTHER
        return re.sub(r"<(?:[^:<>]*:)?([^<>]+)>", r"{\1}", rule.rule)

    return lambda method, path: known(method, path) if len(path) <= LONGEST_PATH else OTHER


def fresh_folder(home: Home) -> Path:
    """A folder for the counts of the workers of this process; those that a dead web server has left are removed."""
    for left in home.run.glob("web-*"):
        if not _lives(int(left.name.removeprefix("web-"))):
            shutil.rmtree(left, ignore_errors=True)
    folder = home.run / f"web-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
