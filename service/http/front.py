"""The front of the web server: one asynchronous application that answers every request.

Cached responses, refusals, liveness, long polls and event streams are answered in the event loop. Flask answers the
rest in a bounded pool of threads. A client that waits for news holds a task of the event loop and no thread. The
server interfaces, RSGI and ASGI, are in `service.http.interfaces`.
"""

import asyncio
import itertools
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Flask

from service import logs
from service.http.connections import Connections
from service.http.flask_pool import FlaskPool
from service.http.gate import (
    SECURITY_HEADERS,
    WRITE_METHODS,
    Gate,
    Refusal,
    body_length,
    client_request_id,
    finished_response,
    refusal_response,
    refuse,
)
from service.http.message import EventStream, Headers, Request, Response
from service.http.places import Places
from service.http.response_cache import ResponseCache
from service.http.state_version import StateVersion
from service.settings import Settings

FLASK_SECONDS = 20.0
"""How long Flask may take for a request [s]. A database that hangs ends it earlier by its own time-outs."""

READY_SECONDS = 4.0
"""How long `/readyz` may take [s]: a probe must learn in time that the database hangs."""

BODY_SECONDS = 10.0
"""How long a client may take to send a body [s]."""

MAX_BODIES = 256
"""How many bodies a worker receives at the same time. They bound the memory that slow senders with a key take."""

KEYS_SECONDS = 2.0
"""How long requests wait for the database when the keys are read again [s]. After that the keys read before count."""

NEXT_CURSOR, HAS_NEWS = "Vigie-Next-Cursor", "Vigie-Has-News"
"""Headers from Flask to the front: the cursor after a batch of changes, and `1` if the batch is not empty."""

HEARTBEAT_INTERVAL = 15.0
"""How often a stream without news sends a comment [s]: proxies close connections that are silent."""

STREAM_BYTES = 64 * 1024
"""After how much news a stream ends [bytes]. The client reconnects with its last id and loses nothing. This bounds what
a client that never reads costs, because granian's RSGI interface queues without a limit."""

STREAM_HEADERS = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # nginx would hold events back
    ("Vary", "Last-Event-ID"),
]

_ALIVE, _NOT_ALIVE = b'{"alive":true}', b'{"alive":false}'
log = logging.getLogger("vigie.web")

Disconnected = Callable[[], Awaitable[Any]]
"""Waits until the client has closed the connection."""


class ClientGone(Exception):
    """The client closed the connection while it waited."""


class Front:
    """Answers requests with a Flask app, a gate before it and a cache of its responses."""

    def __init__(self, app: Flask, settings: Settings, gate: Gate) -> None:
        self._gate, self._settings = gate, settings
        limits = settings.limits
        self.cache = ResponseCache(app, FlaskPool(app, limits.in_flight_per_address, gate.tasks))
        self._waiting = Places(limits.waiting_clients, limits.waiting_per_address)
        self._connections = Connections(limits, gate)
        self._bodies = Places(MAX_BODIES, limits.in_flight_per_address)
        self._worker, self._numbers = secrets.token_hex(5), itertools.count(1)
        # Of its own: a database that hangs blocks this thread, and no other request.
        self._key_reader = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._keys_read: asyncio.Future[None] | None = None
        self._keys_wanted_at = 0.0
        self._draining = self._ending = False

    async def run(self) -> None:
        """Keep the cache up to date, and limit the connections, until cancelled."""
        await asyncio.gather(self.cache.watch(), self._connections.watch())

    def drain(self) -> None:
        """Be no longer ready, because the server will stop soon. End the clients that wait after `drain_seconds`."""
        self._draining = True
        asyncio.get_running_loop().call_later(self._settings.drain_time(self._gate.listens_on), self._end_waiting)

    def _end_waiting(self) -> None:
        self._ending = True
        self.cache.wake_waiting()

    def answer_from_cache(self, request: Request) -> Response | None:
        """Place a request, and answer it at once if its response is cached. Nearly all polls end here."""
        self._gate.site.normalise(request)
        if self._gate.needs_keys(request) or (found := self.cache.find(request)) is None or found.internal:
            return None
        if self._draining and request.path == "/readyz":
            return None
        self._name(request)
        try:
            request.admission = self._gate.check(request)
        except Refusal as refusal:
            return self._refused(request, refusal)
        return finished_response(request, found.response(request, self.cache.now()))

    async def answer(self, request: Request, disconnected: Disconnected) -> Response | EventStream:
        """Answer a request that `answer_from_cache` has left."""
        self._name(request)
        token = logs.request_id.set(request.request_id)
        try:
            if request.path == "/healthz" and request.method in ("GET", "HEAD"):
                # Before the gate: no database, pool or lock can delay the answer that this process lives.
                return finished_response(request, alive_response(self._gate.common_headers()))
            if self._draining and request.path == "/readyz":
                refuse("draining", ("Retry-After", "5"))
            if self._gate.needs_keys(request):
                await self._read_keys()
            request.admission = self._gate.check(request)
            if request.method in WRITE_METHODS:
                request.body = await self._read_body(request)
            streams = request.method == "GET" and request.path == "/v1/stream"
            if streams and (last := request.headers.get("last-event-id")):
                request = _with_cursor(request, last)
            response = await self._respond(request)
            if request.method == "GET" and response.header(NEXT_CURSOR) is not None:
                if streams:
                    return self._open_stream(request, response)
                if seconds := _preferred_wait(request):
                    response = await self._wait_for_news(request, response, seconds, disconnected)
            return finished_response(request, without_internal(response))
        except Refusal as refusal:
            return self._refused(request, refusal)
        except ClientGone:
            return Response(499)
        except Exception:
            log.exception("a request failed")
            return self._refused(request, Refusal(500, []))
        finally:
            logs.request_id.reset(token)

    def _name(self, request: Request) -> None:
        """Give a request its id: the client's own if it is well-formed."""
        if not request.request_id:
            request.request_id = client_request_id(request) or f"{self._worker}-{next(self._numbers):x}"

    async def _read_keys(self) -> None:
        """Read the keys again, once for all requests that wait for them."""
        loop = asyncio.get_running_loop()
        if self._keys_read is None or self._keys_read.done():
            self._keys_wanted_at = loop.time()
            self._keys_read = loop.run_in_executor(self._key_reader, self._gate.read_keys)
        await asyncio.wait({self._keys_read}, timeout=max(0.0, self._keys_wanted_at + KEYS_SECONDS - loop.time()))

    @staticmethod
    def _refused(request: Request, refusal: Refusal) -> Response:
        """Return the response of a refusal."""
        token = logs.request_id.set(request.request_id)
        try:
            return finished_response(request, refusal_response(refusal))
        finally:
            logs.request_id.reset(token)

    async def _respond(self, request: Request) -> Response:
        """Answer from the cache or by Flask. Raises Refusal if that takes too long."""
        try:
            seconds = READY_SECONDS if request.path == "/readyz" else FLASK_SECONDS
            async with asyncio.timeout(seconds):
                return await self.cache.respond(request)
        except TimeoutError:
            refuse("unreadable-store", ("Retry-After", "5"))

    async def _read_body(self, request: Request) -> bytes:
        """Read a body in full. Raises Refusal if it is too large, too slow or incomplete, or if too many are sent."""
        limit = self._settings.limits.body_bytes
        length, body = body_length(request, limit), bytearray()
        if not self._bodies.take(request.admission):
            refuse("busy", ("Retry-After", "5"))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if request.parts is not None:
                    async for part in request.parts:
                        body += part
                        if len(body) > limit:
                            refuse("large-request")
        except TimeoutError:
            refuse("unreadable-request", ("Connection", "close"))
        finally:
            self._bodies.release(request.admission)
        if length is not None and len(body) < length:
            refuse("unreadable-request")
        return bytes(body)

    # -- clients that wait

    async def _wait_for_news(
        self, request: Request, response: Response, seconds: int, disconnected: Disconnected
    ) -> Response:
        """Repeat a request for changes until there are some, or until the time is over [s]."""
        waited = min(seconds, self._settings.max_wait_seconds)
        cursor = response.header(NEXT_CURSOR)
        if cursor is None or response.header(HAS_NEWS) or not self._waiting.take(request.admission):
            return response  # without a place the client gets what there is at once
        gone = asyncio.ensure_future(disconnected())
        loop = asyncio.get_running_loop()
        until, behind = loop.time() + waited, _with_cursor(request, cursor)
        try:
            while True:
                # The version comes before the response: a change between the two ends the wait at once.
                version = self.cache.version
                response = await self._respond(behind)
                if response.status != HTTPStatus.OK or response.header(HAS_NEWS):
                    break
                if self._ending or (left := until - loop.time()) <= 0 or not await self._changed(version, left, gone):
                    break
        finally:
            gone.cancel()
            self._waiting.release(request.admission)
        return Response(response.status, [*response.headers, ("Preference-Applied", f"wait={waited}")], response.body)

    async def _changed(self, known: StateVersion | None, seconds: float, gone: "asyncio.Future[Any]") -> bool:
        """Wait for a change of state. Return False if the time is over. Raises ClientGone."""
        change = asyncio.ensure_future(self.cache.wait_for_change(known, seconds))
        done, _ = await asyncio.wait({change, gone}, return_when=asyncio.FIRST_COMPLETED)
        if change not in done:
            change.cancel()
            raise ClientGone
        return change.result()

    def _open_stream(self, request: Request, first: Response) -> EventStream:
        """Answer with a stream of events. Raises Refusal if there is no place."""
        if not self._waiting.take(request.admission):
            refuse("too-many-waiters", ("Retry-After", "5"))
        headers = finished_response(request, Response(200, STREAM_HEADERS)).headers
        return EventStream(headers, self._events(request, first), lambda: self._waiting.release(request.admission))

    async def _events(self, request: Request, batch: Response) -> AsyncIterator[bytes]:
        """Yield the changes as they come, in the form that Flask gives them."""
        loop = asyncio.get_running_loop()
        ends, sent = loop.time() + self._settings.stream_seconds, 0
        try:
            if batch.body:
                yield batch.body
            while loop.time() < ends and sent < STREAM_BYTES and (cursor := batch.header(NEXT_CURSOR)):
                if self._ending:
                    return
                version = self.cache.version
                batch = await self._respond(_with_cursor(request, cursor))
                if batch.status != HTTPStatus.OK:
                    return
                if batch.header(HAS_NEWS):
                    sent += len(batch.body)
                    yield batch.body
                    continue
                while (
                    not self._ending
                    and (left := ends - loop.time()) > 0
                    and not await self.cache.wait_for_change(version, min(HEARTBEAT_INTERVAL, left))
                ):
                    yield b": no news\n"  # no blank line: some clients would see an empty message
        except Refusal:
            pass  # a client that comes back is told why
        except Exception:
            log.exception("a stream failed")


def alive_response(headers: Headers, *, alive: bool = True) -> Response:
    """Return the response that this process lives, or that it does not, with these headers too."""
    body = _ALIVE if alive else _NOT_ALIVE
    length = ("Content-Length", str(len(body)))
    own = [("Content-Type", "application/json"), length, ("Cache-Control", "no-store"), *SECURITY_HEADERS.items()]
    return Response(200 if alive else 503, [*own, *headers], body)


def without_internal(response: Response) -> Response:
    """Return a response without the headers that are for the front alone."""
    headers = [(name, value) for name, value in response.headers if name not in (NEXT_CURSOR, HAS_NEWS)]
    return Response(response.status, headers, response.body)


def _preferred_wait(request: Request) -> int:
    """Return how long the client would wait for news [s]. A preference that is not understood is none (RFC 7240)."""
    found = re.search(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\b", request.headers.get("prefer") or "", re.IGNORECASE)
    return int(found[1]) if found else 0


def _with_cursor(request: Request, cursor: str) -> Request:
    """Return the same request for the changes after a cursor. All clients at one cursor then share a response."""
    query = [(name, value) for name, value in parse_qsl(request.query, keep_blank_values=True) if name != "since"]
    headers = {name: value for name, value in request.headers.items() if name not in ("last-event-id", "if-none-match")}
    return request.variant(query=urlencode([*query, ("since", cursor)]), headers=headers)
