"""The log line and the metrics of each request.

They must cost only microseconds. Each worker counts for itself, and publishes its counts as a file every second, so
that any worker can report the sum. `service.api.metrics` describes the metrics.
"""

import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from flask import Flask
from werkzeug.exceptions import HTTPException

from riskmodel.home import Home
from service import logs
from service.http.message import Request
from service.settings import Settings

METRICS_FOLDER = "VIGIE_METRICS"
"""Environment variable: the folder in which the workers of one web server publish their counts."""

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram of durations [s]."""

PUBLISH_EVERY = 1.0
"""How often a worker publishes its counts [s]."""

DEFAULT_LINES_PER_SECOND = 100
"""How many requests a worker logs in one second, unless the setting says otherwise and if lines are JSON."""

MAX_PATH = 200
"""The longest path whose route is looked up [characters]."""

OTHER_ROUTE = "other"
"""Label of every path without a route. Clients can invent any number of paths, and a label never goes away."""

Totals: TypeAlias = dict[tuple[str, str], list[float]]
"""By route and status: the sum of durations [s], then the number of requests in each bucket, the last one unbounded."""

_access = logging.getLogger("vigie.access")
_log = logging.getLogger(__name__)
_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""Control characters of a path, which must not reach a terminal that shows the log."""


class RequestMetrics:
    """Number and duration of requests by route and status, of this worker and of the others of its web server."""

    def __init__(self, folder: Path | None) -> None:
        self._lock, self._totals = threading.Lock(), Totals()
        self._file = None if folder is None else folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._published: object = None
        if self._file:
            threading.Thread(target=self._keep_publishing, daemon=True, name="metrics").start()

    def add(self, route: str, status: str, seconds: float) -> None:
        """Count one request."""
        key, bucket = (route, status), bisect_left(BUCKETS, seconds) + 1
        with self._lock:
            counts = self._totals.get(key)
            if counts is None:
                counts = self._totals[key] = [0.0] * (len(BUCKETS) + 2)
            counts[0] += seconds
            counts[bucket] += 1

    def total(self) -> Totals:
        """Return the sum over all workers, also those that have ended. The part of others is up to a second old."""
        totals = self._own()
        if self._file:
            for path in self._file.parent.glob("*.json"):
                if path != self._file:
                    _add_published(totals, path)
        return totals

    def _own(self) -> Totals:
        with self._lock:
            return {key: list(counts) for key, counts in self._totals.items()}

    def _keep_publishing(self) -> None:
        while True:
            time.sleep(PUBLISH_EVERY)
            self.publish()

    def publish(self) -> None:
        """Write this worker's counts for the others, if they have changed. A full disk is logged and tolerated."""
        own = self._own()
        if self._file is None or own == self._published:
            return
        part = self._file.with_suffix(".part")
        try:
            part.write_text(json.dumps([[*key, *counts] for key, counts in own.items()]), encoding="utf-8")
            part.replace(self._file)
        except OSError as failure:
            if self._published is not failure.errno:
                _log.warning("the metrics of this worker cannot be published: %s", failure.strerror)
                self._published = failure.errno
        else:
            self._published = own


def _add_published(totals: Totals, path: Path) -> None:
    """Add the counts that another worker has published."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for route, status, *counts in rows:
        sums = totals.setdefault((route, status), [0.0] * len(counts))
        sums[:] = map(sum, zip(sums, counts, strict=True))


class AccessLog:
    """Logs requests, at most so many in a second. The next line has the number of those left out."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second
        self._second, self._written, self._left_out = 0, 0, 0

    def __call__(self, request: Request, status: int, size: int | None, seconds: float) -> None:
        """Log one request, without its query, which can contain a key. `size` is None for a stream [bytes]."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= self._limit:
            self._left_out += 1
            return
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        fields: dict[str, Any] = {
            "request_id": request.request_id,
            "method": request.method,
            "path": request.path.translate(_ESCAPED),
            "status": status,
            "bytes": size,
            "ms": round(1000 * seconds, 3),
        }
        if left_out:
            fields["left_out"] = left_out
        _access.info("%(method)s %(path)s %(status)s %(bytes)s B %(ms)s ms", fields, extra=fields)


class Telemetry:
    """Counts and logs each request of a worker, until its response begins."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        folder = os.environ.get(METRICS_FOLDER)
        metrics = app.extensions["vigie_request_metrics"] = RequestMetrics(Path(folder) if folder else None)
        lines = settings.access_log_per_second
        if lines is None:
            lines = DEFAULT_LINES_PER_SECOND if logs.resolve_format(settings.log_format) == "json" else 0
        self._count, self._route_of = metrics.add, route_finder(app)
        self._access_log = AccessLog(lines) if lines else None

    def record(self, request: Request, status: int, size: int | None, seconds: float) -> None:
        """Count and log one request that was answered after so many seconds."""
        self._count(self._route_of(request.method, request.path), str(status), seconds)
        if self._access_log is not None:
            self._access_log(request, status, size, seconds)


def route_finder(app: Flask) -> Callable[[str, str], str]:
    """Return a function that gives the route of a method and a path as the API documents it: `/v1/scores/{iso3}`."""
    url_map = app.url_map.bind("localhost")

    @lru_cache(maxsize=4096)
    def find(method: str, path: str) -> str:
        try:
            rule, _ = url_map.match(path, method, return_rule=True)
        except HTTPException:
            return OTHER_ROUTE
        return re.sub(r"<(?:[^:<>]*:)?([^<>]+)>", r"{\1}", rule.rule)

    return lambda method, path: find(method, path) if len(path) <= MAX_PATH else OTHER_ROUTE


def new_folder(home: Home) -> Path:
    """Make the folder for the counts of this web server's workers. Folders of dead web servers are removed."""
    for old in home.run.glob("web-*"):
        if not _is_alive(int(old.name.removeprefix("web-"))):
            shutil.rmtree(old, ignore_errors=True)
    folder = home.run / f"web-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
