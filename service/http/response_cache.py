"""A WSGI wrapper that serves cached responses without calling Flask.

The cache holds what Flask responded under the present state version (`service.http.state_version`). A watcher thread
reads the version several times a second. When it changes, an empty table replaces the old one in one assignment, and
is filled again with the responses that were in use. So each response belongs to one state, the old or the new.

Flask can read a state that this table does not have yet, so the version of its response is compared with the table's.
The workers of one machine share a counter of new tables. A client that has seen a new state therefore never gets an
older one. Apart from the age of the data, this module knows nothing of what responses contain.
"""

import fcntl
import json
import logging
import mmap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast
from wsgiref.util import setup_testing_defaults

import sqlalchemy as sa
from flask import Flask

from service.http import conditional, state_version
from service.http.conditional import Freshness
from service.http.request_context import context_of
from service.http.state_version import StateVersion
from service.snapshots.snapshot_view import SnapshotView

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("vigie.response_cache")

WATCH_EVERY = 0.1
"""How often the watcher reads the state version [s]."""

MAX_BYTES = 8 * 2**20
"""How much the cache of one state holds [bytes]. The least recently used responses are dropped first."""

MAX_RESPONSE_BYTES = MAX_BYTES // 32
"""A larger response is not cached [bytes]."""

REFILL_WITHIN = 600.0
"""A response requested within this time is requested again when the state changes [s]."""

FOUND = "vigie.cached_response"
"""Key in the WSGI environment: the cached response that `ResponseCache.has` found."""

LOCKS = 64

CACHED_METHODS = ("GET", "HEAD")

KEY_PARTS = 2
"""Path and query, the parts that every key has. The host is not one: no response depends on it."""

Headers = list[tuple[str, str]]
Key = tuple[str, ...]


class _HeaderSets(NamedTuple):
    """The headers of a response from one moment until another: plain, gzipped, and of its 304."""

    since: datetime
    until: datetime
    modified: str | None
    plain: Headers
    compressed: Headers
    not_modified: Headers


_EXPIRED = _HeaderSets(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), None, [], [], [])


class CachedRequest(NamedTuple):
    """A request that the cache repeats when the state changes."""

    key: Key
    vary: tuple[str, ...]
    used: float


class CachedResponse:
    """One cached response: its body, plain and gzipped, and its headers."""

    def __init__(self, environ: "WSGIEnvironment", headers: Headers, body: bytes, version: StateVersion) -> None:
        by_name = {name.lower(): value for name, value in headers}
        media_type = by_name["content-type"].partition(";")[0]
        self.headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        self.vary = tuple(
            f"HTTP_{name.strip().upper().replace('-', '_')}"
            for name in by_name.get("vary", "").split(",")
            if name.strip() and name.strip().lower() != "accept-encoding"
        )
        self.key = (*_path_and_query(environ), *(environ.get(name, "") for name in self.vary))
        self.body, self.tag, self.used = body, by_name["etag"], time.monotonic()
        self.freshness = Freshness(version, page=media_type == "text/html")
        self.compressed = conditional.compress(body) if media_type in conditional.COMPRESSED_TYPES else None
        self._header_sets = _EXPIRED

    @property
    def size(self) -> int:
        """Return the size of both bodies [bytes]."""
        return len(self.body) + len(self.compressed or b"")

    def send(self, environ: "WSGIEnvironment", start: "StartResponse", now: datetime) -> list[bytes]:
        """Respond to a request: 304, or 200 with the body in the coding that the client accepts."""
        header_sets = self._header_sets
        if not header_sets.since <= now < header_sets.until:
            header_sets = self._header_sets = self._make_header_sets(now)
        if conditional.is_not_modified(environ, self.tag, header_sets.modified):
            start("304 NOT MODIFIED", header_sets.not_modified)
            return []
        compressed = self.compressed is not None and conditional.accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
        start("200 OK", header_sets.compressed if compressed else header_sets.plain)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return [cast(bytes, self.compressed) if compressed else self.body]

    def _make_header_sets(self, now: datetime) -> "_HeaderSets":
        """Return the headers for the present second: `max-age` counts down."""
        self.used = time.monotonic()
        second = now.replace(microsecond=0)
        control = [("Cache-Control", self.freshness.cache_control(now))]
        modified = self.freshness.last_modified(now)
        dates = control if modified is None else [*control, ("Last-Modified", modified)]
        compressed_length = str(len(self.compressed or b""))
        return _HeaderSets(
            since=second,
            until=second + timedelta(seconds=1),
            modified=modified,
            plain=[*self.headers, ("Content-Length", str(len(self.body))), *dates],
            compressed=[*self.headers, ("Content-Encoding", "gzip"), ("Content-Length", compressed_length), *dates],
            not_modified=[*conditional.not_modified_headers(self.headers), *control],
        )


class CacheTable:
    """The cached responses of one state version. `generation` is the shared counter when it was known to be newest."""

    def __init__(self, version: StateVersion | None, generation: bytes) -> None:
        self.version, self.generation = version, generation
        self.responses: dict[Key, CachedResponse] = {}
        self.vary: dict[Key, tuple[str, ...]] = {}
        self.size = 0
        self._adding = threading.Lock()

    def find(self, environ: "WSGIEnvironment") -> CachedResponse | None:
        """Return the cached response to a request, by path, query and the headers that Flask's `Vary` named."""
        key = _path_and_query(environ)
        vary = self.vary.get(key)
        return None if vary is None else self.responses.get((*key, *[environ.get(name, "") for name in vary]))

    def add(self, response: CachedResponse) -> None:
        """Cache a response, unless it is too large."""
        if response.size > MAX_RESPONSE_BYTES:
            return
        with self._adding:
            self.vary[response.key[:KEY_PARTS]] = response.vary
            if (replaced := self.responses.get(response.key)) is not None:
                self.size -= replaced.size
            self.responses[response.key] = response
            self.size += response.size
            while self.size > MAX_BYTES:
                oldest = min(self.responses.values(), key=lambda cached: cached.used)
                self.size -= self.responses.pop(oldest.key).size


class GenerationCounter:
    """How often the workers of one machine have started a new table: a file that all map into memory."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        if path.stat().st_size < 8:
            self._file.truncate(8)
        self._memory = mmap.mmap(self._file.fileno(), 8)

    def current(self) -> bytes:
        """Return the count, as 8 bytes."""
        return self._memory[:8]

    def advance(self, known: bytes) -> bytes:
        """Add one. Return the new count, or `known` if another worker has added since: then read the state again."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = self._memory[:8]
            self._memory[:8] = (int.from_bytes(now, "little") + 1).to_bytes(8, "little")
            return self._memory[:8] if now == known else known
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class ResponseCache:
    """A Flask application behind a cache of its responses."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._context = context_of(app)
        self._counter = GenerationCounter(self._context.home.run / "response_cache.generation")
        self._table = CacheTable(None, b"")
        self._to_refill: dict[Key, CachedRequest] = {}
        self._refill_keys: frozenset[Key] = frozenset()
        self._database_away = False
        self._refreshing = threading.Lock()
        self._forwarding = tuple(threading.Lock() for _ in range(LOCKS))

    @property
    def table(self) -> CacheTable:
        """Return the table in use."""
        return self._table

    def has(self, environ: "WSGIEnvironment") -> bool:
        """Return whether a request is answered from the cache. Its response is remembered in `environ`."""
        table = self._table
        if (
            environ["REQUEST_METHOD"] not in CACHED_METHODS
            or "HTTP_IF_MATCH" in environ
            or table.generation != self._counter.current()
            or (response := table.find(environ)) is None
        ):
            return False
        environ[FOUND] = response
        return True

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """Respond to a request, from the cache if possible."""
        if FOUND in environ:
            found: CachedResponse = environ[FOUND]
            return found.send(environ, start, self._context.clock())
        table = self._table
        if table.generation != self._counter.current():
            table = self.refresh()
        if environ["REQUEST_METHOD"] not in CACHED_METHODS or "HTTP_IF_MATCH" in environ:
            return self._forward(environ, start)
        if (response := table.find(environ)) is not None:
            return response.send(environ, start, self._context.clock())
        if (key := _path_and_query(environ)) not in self._refill_keys:
            return self._forward(environ, start)
        # Many clients may want a response that has just changed: one of them calls Flask, the others wait for it.
        with self._forwarding[hash(key) % LOCKS]:
            if (response := self._table.find(environ)) is not None:
                return response.send(environ, start, self._context.clock())
            return self._forward(environ, start)

    def start_watching(self) -> Self:
        """Start the watcher, in a thread that ends with the process."""
        threading.Thread(target=self._watch, daemon=True, name="response-cache").start()
        return self

    def refresh(self) -> CacheTable:
        """Read the state version, and start a new table if it has changed. Return the table in use."""
        with self._refreshing:
            generation, table, now = self._counter.current(), self._table, self._context.clock()
            try:
                files = state_version.file_versions(self._context.home)
                with self._context.store.reading() as connection:
                    version = state_version.read(connection, files, self._context.settings, now)
            except sa.exc.SQLAlchemyError as failure:
                if not self._database_away:
                    log.warning("the database cannot be read; cached responses are served: %s", failure)
                self._database_away = True
                if table.version is not None and table.version.day != now.astimezone(UTC).date():
                    table = self._next_day(table, table.version, now)
            else:
                self._database_away = False
                if version != table.version:
                    self._note_requests(table)
                    generation, table = self._counter.advance(generation), CacheTable(version, generation)
            table.generation = generation
            self._table = table
            return table

    def refill(self) -> None:
        """Request again what was in use before the state changed."""
        while self._to_refill:
            wanted = self._to_refill.pop(next(iter(self._to_refill)))
            environ = _environ(wanted)
            with self._forwarding[hash(_path_and_query(environ)) % LOCKS]:
                if self._table.find(environ) is not None:
                    continue
                self._forward(environ, _ignore_start)
            if (filled := self._table.find(environ)) is not None:
                # A refill is not a use: a response that no client requests is forgotten after REFILL_WITHIN.
                filled.used = wanted.used

    def _note_requests(self, table: CacheTable) -> None:
        """Note which requests to repeat: those of a table that were used lately, most recent first."""
        used_since, responses = time.monotonic() - REFILL_WITHIN, [*table.responses.values()]
        recent = [CachedRequest(each.key, each.vary, each.used) for each in responses if each.used > used_since]
        requests = [*self._to_refill.values(), *recent]
        self._to_refill = {each.key: each for each in sorted(requests, key=lambda each: -each.used)}
        self._refill_keys = frozenset(key[:KEY_PARTS] for key in self._to_refill)

    def _forward(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """Call Flask, and cache the response if it depends on nothing but the state version."""
        versions: list[StateVersion] = []
        if environ["REQUEST_METHOD"] == "GET" and "HTTP_IF_MATCH" not in environ:
            environ[conditional.CACHEABLE] = versions
        started: list[tuple[str, Headers]] = []
        chunks = self._app(environ, lambda status, headers, _=None: started.append((status, headers)))  # type: ignore[arg-type]  # nobody calls `write`
        ((status, headers),) = started
        if any(name == "Content-Type" and value.startswith("text/event-stream") for name, value in headers):
            start(status, headers)
            return _Stream(chunks, self.refresh)
        body = _join(chunks)
        if not versions:
            self.refresh()
            start(status, headers)
            return [body]
        response = CachedResponse(environ, headers, body, versions[0])
        table = self._table
        if table.version != versions[0]:
            table = self.refresh()
        if table.version == versions[0]:
            table.add(response)
        return response.send(environ, start, self._context.clock())

    def _next_day(self, table: CacheTable, version: StateVersion, now: datetime) -> CacheTable:
        """Return the table for a new day while the database is away: the same JSON with the present age of the data."""
        midnight = datetime.combine(now.astimezone(UTC).date(), clock_time(), UTC)
        today = version._replace(day=midnight.date(), changed_at=(*version.changed_at, midnight))
        aged = CacheTable(today, table.generation)
        for response in table.responses.values():
            if (body := self._with_present_age(response.body, response.headers, now)) is not None:
                tag = [("ETag", f'W/"{conditional.digest(body)}"')]
                headers = [*((name, value) for name, value in response.headers if name != "ETag"), *tag]
                aged.add(CachedResponse(_environ(response), headers, body, today))
        return aged

    def _with_present_age(self, body: bytes, headers: Headers, now: datetime) -> bytes | None:
        """Return a JSON payload with the present age of its data; None for a response in another form."""
        if ("Content-Type", "application/json") not in headers:
            return None
        payload = json.loads(body)
        if not isinstance(payload, dict) or not payload.get("data_as_of"):
            return None
        view = SnapshotView(
            payload["snapshot_id"],
            payload["digest"],
            payload,
            self._context.settings,
            now,
            None,
            failing=payload["status"] != "fresh",  # nothing can have improved while the database is away
        )
        payload |= {"data_age_days": view.data_age_days, "status": view.status}
        return self._app.json.dumps(payload).encode()

    def _watch(self) -> None:
        while True:
            try:
                self.refresh()
                self.refill()
            except Exception:
                log.exception("the watcher failed and goes on")
            time.sleep(WATCH_EVERY)


class _Stream:
    """The chunks of a stream.

    The table is refreshed before each chunk: a client that reads of a change must not find an older state afterwards.
    """

    def __init__(self, chunks: Iterable[bytes], refresh: Callable[[], object]) -> None:
        self._chunks, self._refresh = chunks, refresh

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._refresh()
            yield chunk

    def close(self) -> None:
        """Release what the stream holds, even if it was never iterated."""
        cast(Any, self._chunks).close()


def _path_and_query(environ: "WSGIEnvironment") -> Key:
    return environ["PATH_INFO"], environ.get("QUERY_STRING", "")


def _join(chunks: Iterable[bytes]) -> bytes:
    try:
        return b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


def _environ(cached: "CachedRequest | CachedResponse") -> "WSGIEnvironment":
    """Return the WSGI environment of a request with this key."""
    path, query, *varied = cached.key
    environ: WSGIEnvironment = {"PATH_INFO": path, "QUERY_STRING": query}
    environ |= {name: value for name, value in zip(cached.vary, varied, strict=True) if value}
    setup_testing_defaults(environ)
    return environ


def _ignore_start(status: str, headers: Headers, exc_info: object = None, /) -> Callable[[bytes], object]:
    return lambda _: None
