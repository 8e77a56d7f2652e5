"""Complete responses for the present state of the service, served from the event loop without calling Flask.

Each response belongs to one state version (`service.http.state_version`). A watcher reads the version several times a
second. When it changes, a new and empty table replaces the old one in one assignment, and the requests in use are
repeated to fill it. So every response is complete and of one state. Workers of one machine share a counter of table
changes: a client that has seen the new state from one worker never sees the old state from another.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from functools import lru_cache
from typing import NamedTuple

import sqlalchemy as sa
from flask import Flask
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from service.drawing.language import LOCALES
from service.http import conditional, state_version
from service.http.conditional import Freshness
from service.http.flask_pool import FlaskPool, FlaskResponse
from service.http.gate import Refusal
from service.http.generation import GenerationCounter
from service.http.message import PREFERENCES, Headers, Request, Response
from service.http.request_context import context_of
from service.http.state_version import StateVersion
from service.snapshots.snapshot_view import SnapshotView

log = logging.getLogger("vigie.response_cache")

WATCH_EVERY = 0.1
"""How often the watcher reads the state version [s]."""

MAX_BYTES = 8 * 2**20
"""Size of all cached responses of a worker [bytes]."""

MAX_RESPONSES = 1_024
"""How many responses a worker caches: small ones cost memory beyond their bytes."""

MAX_RESPONSE_BYTES = MAX_BYTES // 32
"""Larger responses are not cached [bytes]."""

REFILL_WITHIN = 600.0
"""How long after its last use a response is refilled when the state changes [s]."""

MAX_REFILLS = 256
"""How many responses are refilled when the state changes: more would delay the clients that ask now."""

CACHED_METHODS, READ_METHODS = ("GET", "HEAD"), ("GET", "HEAD", "OPTIONS")

Key = tuple[str, ...]
"""Prefix, path and query, then the values of the headers that the response varies with."""


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

    __slots__ = (
        "_header_sets",
        "body",
        "compressed",
        "freshness",
        "headers",
        "internal",
        "key",
        "stored",
        "tag",
        "used",
        "vary",
    )

    def __init__(self, request: Request, headers: Headers, body: bytes, version: StateVersion) -> None:
        """`headers` are those of Flask. A response with its own `Cache-Control` keeps it: clients must not store it."""
        by_name = {name.lower(): value for name, value in headers}
        media_type = by_name["content-type"].partition(";")[0]
        self.internal = tuple(name for name in by_name if name.startswith("vigie-"))
        self.headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        names = (name.strip().lower() for name in by_name.get("vary", "").split(","))
        self.vary = tuple(name for name in names if name and name != "accept-encoding")
        self.key = _key(request, self.vary)
        self.body, self.tag, self.used = body, by_name.get("etag"), time.monotonic()
        self.stored = "cache-control" not in by_name
        self.freshness = Freshness(version, page=media_type == "text/html")
        self.compressed = conditional.compress(body) if media_type in conditional.COMPRESSED_TYPES else None
        self._header_sets = _EXPIRED

    @property
    def size(self) -> int:
        """Return the size of both bodies and of the key [bytes]."""
        return len(self.body) + len(self.compressed or b"") + sum(map(len, self.key))

    def answers(self, request: Request) -> bool:
        """Return whether this is the response to a request."""
        return self.key == _key(request, self.vary)

    def response(self, request: Request, now: datetime) -> Response:
        """Return the response to a request: 304, or 200 with the body in the coding that the client accepts."""
        header_sets = self._header_sets
        if not header_sets.since <= now < header_sets.until:
            header_sets = self._header_sets = self._make_header_sets(now)
        headers = request.headers
        if self.tag is not None and conditional.is_not_modified(
            headers.get("if-none-match"), headers.get("if-modified-since"), self.tag, header_sets.modified
        ):
            return Response(304, header_sets.not_modified)
        if self.compressed is not None and conditional.accepts_gzip(request.preference("accept-encoding")):
            return Response(200, header_sets.compressed, self.compressed)
        return Response(200, header_sets.plain, self.body)

    def _make_header_sets(self, now: datetime) -> "_HeaderSets":
        """Return the headers for the present second: `max-age` counts down."""
        self.used = time.monotonic()
        second = now.replace(microsecond=0)
        control = [("Cache-Control", self.freshness.cache_control(now))] if self.stored else []
        modified = self.freshness.last_modified(now) if self.stored else None
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
        self.size = 0
        self.pending: dict[Key, asyncio.Task[tuple[Response, CachedResponse | None]]] = {}
        """Calls of Flask that other clients can wait for. A client never joins a call that an older table began."""
        # By prefix, path and query: which headers the responses vary with, and how many responses there are.
        self._vary: dict[Key, tuple[tuple[str, ...], int]] = {}

    def find(self, request: Request) -> CachedResponse | None:
        """Return the cached response to a request, by path, query and the headers that Flask's `Vary` named."""
        found = self._vary.get((request.prefix, request.path, request.query))
        if found is None:
            return None
        return self.responses.get(_key(request, found[0]))

    def add(self, response: CachedResponse) -> None:
        """Cache a response, unless it is too large."""
        if response.size > MAX_RESPONSE_BYTES:
            return
        self._remove(response.key)
        self.responses[response.key] = response
        self.size += response.size
        _, count = self._vary.get(response.key[:3], ((), 0))
        self._vary[response.key[:3]] = response.vary, count + 1
        while self.size > MAX_BYTES or len(self.responses) > MAX_RESPONSES:
            self._remove(min(self.responses.values(), key=lambda cached: cached.used).key)

    def _remove(self, key: Key) -> None:
        if (removed := self.responses.pop(key, None)) is None:
            return
        self.size -= removed.size
        vary, count = self._vary.pop(key[:3])
        if count > 1:
            self._vary[key[:3]] = vary, count - 1


class ResponseCache:
    """Responses of a Flask application, cached by state version. All methods run in the event loop."""

    def __init__(self, app: Flask, pool: FlaskPool) -> None:
        self._app, self._pool = app, pool
        self._context = context_of(app)
        self._counter = GenerationCounter(self._context.home.run / "response_cache.generation")
        self._table = CacheTable(None, b"")
        self._to_refill: dict[Key, CachedRequest] = {}
        self._database_away = False
        self._refreshing = asyncio.Lock()
        self._changed = asyncio.Event()
        # Of its own: a database that hangs blocks this thread, and no other request.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="state")

    @property
    def table(self) -> CacheTable:
        """Return the table in use."""
        return self._table

    @property
    def version(self) -> StateVersion | None:
        """Return the state version of the table in use."""
        return self._table.version

    def now(self) -> datetime:
        """Return the present by the clock of the application."""
        return self._context.clock()

    def find(self, request: Request) -> CachedResponse | None:
        """Return the cached response to a request if it is surely of the present state, without waiting."""
        table = self._table
        if not _is_cached(request) or table.generation != self._counter.current():
            return None
        return table.find(request)

    async def respond(self, request: Request) -> Response:
        """Respond to a request, from the cache if possible. Raises Refusal if too many requests wait for Flask.

        A client whose response another one has requested already needs no place among them.
        """
        if not self._is_newest():
            await self.refresh(unless=self._is_newest)
        if not _is_cached(request):
            result = await self._pool.start(request, may_cache=False)
            if request.method in READ_METHODS:
                await self._catch_up(result.version)
            else:
                await self.refresh()  # a write can have changed the state: its client must see that next
            return result.response
        if (found := self._table.find(request)) is None:
            response, found = await self._forward_once(request)
            if found is None:
                return response
        return found.response(request, self.now())

    async def wait_for_change(self, known: StateVersion | None, seconds: float) -> bool:
        """Wait until the state differs from a known version. Return False if it did not within the time [s]."""
        if self._table.version != known:
            return True
        try:
            async with asyncio.timeout(seconds):  # unlike wait_for, it makes no task for each client
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def watch(self) -> None:
        """Keep the table up to date until cancelled."""
        # Beside the watch: requests that Flask answers slowly must not delay the news.
        refilling = asyncio.create_task(self._keep_refilling())
        try:
            while True:
                try:
                    await self.refresh()
                except Exception:
                    log.exception("the state cannot be read; the watcher tries again")
                await asyncio.sleep(WATCH_EVERY)
        finally:
            refilling.cancel()

    async def refresh(self, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Read the state version, and start a new table if it has changed.

        Calls wait for each other. `unless` says whether the call before has made this one unnecessary.
        """
        async with self._refreshing:
            if unless():
                return
            generation, table, now = self._counter.current(), self._table, self._context.clock()
            try:
                version = await asyncio.get_running_loop().run_in_executor(self._reader, self._read_version, now)
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
            replaced, self._table = self._table, table
            table.generation = generation
            if replaced is not table:
                self.wake_waiting()

    def wake_waiting(self) -> None:
        """Let all who wait for a change look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _is_newest(self) -> bool:
        return self._table.generation == self._counter.current()

    async def _catch_up(self, version: StateVersion | None) -> None:
        """Refresh the table before a response of another state is sent: its client must not see an older state next."""
        if version is not None and self._table.version != version:
            await self.refresh(unless=lambda: self._table.version == version)

    def _read_version(self, now: datetime) -> StateVersion:
        files = state_version.file_versions(self._context.home)
        with self._context.store.reading() as connection:
            return state_version.read(connection, files, self._context.settings, now)

    async def refill(self) -> None:
        """Request again what was in use before the state changed."""
        while self._to_refill:
            wanted = self._to_refill.pop(next(iter(self._to_refill)))
            request = _request(wanted)
            if self._table.find(request) is None:
                await self._forward_once(request)
            if (filled := self._table.find(request)) is not None:
                # A refill is not a use: a response that no client requests is forgotten after REFILL_WITHIN.
                filled.used = wanted.used

    async def _keep_refilling(self) -> None:
        while True:
            changed = self._changed
            try:
                with contextlib.suppress(Refusal):  # Flask is busy: clients come first
                    await self.refill()
            except Exception:
                log.exception("cached responses cannot be refilled")
            await changed.wait()

    def _note_requests(self, table: CacheTable) -> None:
        """Note which requests to repeat: those of a table that were used lately, most recent first."""
        used_since = time.monotonic() - REFILL_WITHIN
        recent = [CachedRequest(r.key, r.vary, r.used) for r in table.responses.values() if r.used > used_since]
        requests = sorted([*self._to_refill.values(), *recent], key=lambda each: -each.used)
        self._to_refill = {each.key: each for each in requests[:MAX_REFILLS]}

    async def _forward_once(self, request: Request) -> tuple[Response, CachedResponse | None]:
        """Call Flask once for all clients that make the same request at the same time, if they can share a response."""
        pending = self._table.pending
        key = _key(request, PREFERENCES[:2])
        if (running := pending.get(key)) is not None:
            response, cached = await asyncio.shield(running)
            if cached is not None and cached.answers(request):
                return response, cached
            # What cannot be cached can have changed since that call began.
            return await self._receive(request, self._start(request))
        # Started here: a refusal concerns this client, and not those who join it.
        task = pending[key] = asyncio.create_task(self._receive(request, self._start(request)))

        def end(_: object) -> None:
            del pending[key]
            if not task.cancelled():
                task.exception()  # its clients can all have left

        task.add_done_callback(end)
        # Shielded: the client that came first can leave while others wait for the same response.
        return await asyncio.shield(task)

    def _start(self, request: Request) -> "asyncio.Future[FlaskResponse]":
        return self._pool.start(request.variant(method="GET"), may_cache=True)

    async def _receive(
        self, request: Request, response_of_flask: "asyncio.Future[FlaskResponse]"
    ) -> tuple[Response, CachedResponse | None]:
        """Wait for a response of Flask, and cache it if it depends on nothing but the state version."""
        result = await response_of_flask
        await self._catch_up(result.version)
        response, version = result.response, result.version
        if version is None or not result.cacheable or response.status != 200:
            return response, None
        cached = CachedResponse(request, response.headers, response.body, version)
        if self._table.version == version:
            self._table.add(cached)
        return response, cached

    def _next_day(self, table: CacheTable, version: StateVersion, now: datetime) -> CacheTable:
        """Return the table for a new day while the database is away: the same JSON with the present age of the data."""
        midnight = datetime.combine(now.astimezone(UTC).date(), clock_time(), UTC)
        today = version._replace(day=midnight.date(), changed_at=(*version.changed_at, midnight))
        aged = CacheTable(today, table.generation)
        for response in table.responses.values():
            if (body := self._with_present_age(response.body, response.headers, now)) is not None:
                tag = [("ETag", f'W/"{conditional.digest(body)}"')]
                headers = [*((name, value) for name, value in response.headers if name != "ETag"), *tag]
                request = _request(CachedRequest(response.key, response.vary, response.used))
                aged.add(CachedResponse(request, headers, body, today))
        return aged

    def _with_present_age(self, body: bytes, headers: Headers, now: datetime) -> bytes | None:
        """Return a JSON payload with its present age; None for a response that shows its age in another form."""
        if ("Content-Type", "application/json") not in headers:
            return None
        payload = json.loads(body)
        if not isinstance(payload, dict) or not payload.get("data_as_of"):
            return None
        view = SnapshotView(
            payload["snapshot_id"],
            payload["digest"],
            {**payload, "shipped_only": payload["status"] == "history"},
            self._context.settings,
            now,
            None,
            failing=payload["status"] != "fresh",  # while the database is away nothing can have improved
        )
        payload |= {"data_age_days": view.data_age_days, "status": view.status}
        return self._app.json.dumps(payload).encode()


def _is_cached(request: Request) -> bool:
    """Return whether a response to this request can come from the cache."""
    return request.method in CACHED_METHODS and "if-match" not in request.headers


def _key(request: Request, vary: tuple[str, ...]) -> Key:
    """Return the key of a response that varies with these headers: of languages, the one that is served counts."""
    return (request.prefix, request.path, request.query, *[_varying(request, name) for name in vary])


def _varying(request: Request, name: str) -> str:
    if name == "accept-language":
        value = request.preference(name)
        return _language(value) if value else ""
    return request.preference(name) if name in PREFERENCES else request.headers.get(name) or ""


@lru_cache(maxsize=512)
def _language(accept_language: str) -> str:
    return parse_accept_header(accept_language, LanguageAccept).best_match(list(LOCALES)) or ""


def _request(cached: CachedRequest) -> Request:
    prefix, path, query, *values = cached.key
    headers = {name: value for name, value in zip(cached.vary, values, strict=True) if value}
    return Request("GET", path, query, headers, "", prefix=prefix)
