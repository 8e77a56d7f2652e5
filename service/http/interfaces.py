"""The front behind the interfaces of web servers: RSGI (granian) and ASGI (uvicorn and others)."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from riskmodel.errors import VigieError
from service.http.front import Disconnected, alive_response
from service.http.gate import Refusal, finished_response, refusal_response
from service.http.heartbeats import WORKER_NUMBER, Heartbeats
from service.http.message import EventStream, Presenter, Request, Response, unchanged
from service.http.problems import KINDS
from service.http.site import Site
from service.http.telemetry import Telemetry

SEND_SECONDS = 20.0
"""How long a server may take to accept one piece of a stream [s]: ASGI servers wait for a client that reads slowly."""

START_SECONDS = 5.0
"""How long a worker waits for its front before it accepts requests [s]. A database that hangs must not keep it from
answering that it lives."""

DRAIN_SIGNAL = signal.SIGUSR1
"""Tells a worker that its server will stop soon."""

TRY_EVERY = 1.0
"""How often to try to make the front while the database is away [s]."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("vigie.web")


class RsgiProtocol(Protocol):
    """What granian passes for a request: reads its body and takes its response."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def client_disconnect(self) -> None: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Any: ...


class RequestHandler(Protocol):
    """What answers the requests of an application."""

    async def run(self) -> None:
        """Run beside the requests until cancelled."""

    def drain(self) -> None:
        """Prepare for the end of the server."""

    def answer_from_cache(self, request: Request) -> Response | None:
        """Answer a request at once, or return None."""

    async def answer(self, request: Request, disconnected: Disconnected) -> Response | EventStream:
        """Answer a request that `answer_from_cache` has left."""


class Application:
    """The front as an application of RSGI and of ASGI.

    `make_front` is called until it succeeds, first before any request is accepted. While it raises VigieError, because
    the database is away, the application answers that it lives and that nothing can be served.
    """

    def __init__(
        self,
        make_front: Callable[[], tuple[RequestHandler, Telemetry]],
        present: Presenter = unchanged,
        *,
        site: Site | None = None,
        heartbeats: Heartbeats | None = None,
    ) -> None:
        """`site` normalises requests while there is no front. `heartbeats` are those of the workers of this server."""
        self._make_front, self._present, self._heartbeats = make_front, present, heartbeats
        self._site = site
        self._front: RequestHandler | None = None
        self._telemetry: Telemetry | None = None
        self._running: list[asyncio.Task[None]] = []
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="front")
        self._made = self._maker.submit(make_front)
        with contextlib.suppress(VigieError, TimeoutError):
            self._front, self._telemetry = self._made.result(START_SECONDS)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start, in a worker of granian."""
        self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        work = [self._run()]
        if self._heartbeats is not None and (number := os.environ.get(WORKER_NUMBER)):
            work.append(self._heartbeats.keep_beating(int(number)))
        self._running = [loop.create_task(each) for each in work]
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # only where it is the main thread
            loop.add_signal_handler(DRAIN_SIGNAL, self._drain)

    def _drain(self) -> None:
        if self._front is not None:
            self._front.drain()

    async def __rsgi__(self, scope: Any, protocol: RsgiProtocol) -> None:
        """Answer a request of granian."""
        started = time.perf_counter()
        client = scope.client.rpartition(":")[0].strip("[]")
        request = Request(scope.method, scope.path, scope.query_string, scope.headers, client, scope.scheme, protocol)
        front = self._front
        response: Response | EventStream | None = front.answer_from_cache(request) if front else None
        if response is None:
            response = await self._answer(request, protocol.client_disconnect)
        if isinstance(response, Response):
            response = self._present(request, response)
            if response.body:
                protocol.response_bytes(response.status, response.headers, response.body)
            else:
                protocol.response_empty(response.status, response.headers)
            self._record(request, response, started)
            return
        self._record(request, response, started)
        with contextlib.closing(response):
            transport = protocol.response_stream(response.status, response.headers)
            gone = asyncio.ensure_future(protocol.client_disconnect())
            try:
                async for chunk in _until(response.chunks, gone):
                    await transport.send_bytes(chunk)
            except RuntimeError:
                pass  # granian raises this for a connection that is closed
            finally:
                gone.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of an ASGI server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        started, messages = time.perf_counter(), _Messages(receive)
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        client, _ = scope.get("client") or ("", 0)
        query = scope["query_string"].decode("latin-1")
        scheme, prefix = scope.get("scheme", "http"), scope.get("root_path", "")
        request = Request(scope["method"], scope["path"], query, headers, client, scheme, messages, prefix)
        front = self._front
        response: Response | EventStream | None = front.answer_from_cache(request) if front else None
        if response is None:
            response = await self._answer(request, messages.disconnected)
        if isinstance(response, Response):
            response = self._present(request, response)
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        start = {"type": "http.response.start", "status": response.status, "headers": raw}
        self._record(request, response, started)
        if isinstance(response, Response):
            await send(start)
            await send({"type": "http.response.body", "body": response.body})
            return
        with contextlib.closing(response):
            await send(start)
            gone = asyncio.ensure_future(messages.disconnected())
            try:
                async for chunk in _until(response.chunks, gone):
                    part = {"type": "http.response.body", "body": chunk, "more_body": True}
                    await asyncio.wait_for(send(part), SEND_SECONDS)
                await send({"type": "http.response.body", "body": b""})
            except (OSError, TimeoutError):
                pass  # a client that does not read is dropped; it resumes with its last id
            finally:
                gone.cancel()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._start(asyncio.get_running_loop())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._running:
            task.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self) -> None:
        """Make the front, and keep it up to date."""
        reported = ""
        while self._front is None:
            try:
                front, telemetry = await asyncio.wrap_future(self._made)
                self._front, self._telemetry = front, telemetry
            except Exception as failure:
                if str(failure) != reported:
                    reported = str(failure)
                    unexpected = not isinstance(failure, VigieError)
                    log.error("nothing can be served: %s", failure, exc_info=failure if unexpected else None)
                await asyncio.sleep(TRY_EVERY)
                self._made = self._maker.submit(self._make_front)
        if reported:
            log.info("the database is back")
        await self._front.run()

    async def _answer(self, request: Request, disconnected: Disconnected) -> Response | EventStream:
        if self._front is not None:
            return await self._front.answer(request, disconnected)
        if self._site is not None:
            self._site.normalise(request)
        request.request_id = secrets.token_hex(8)
        if request.path == "/healthz" and request.method in ("GET", "HEAD"):
            return finished_response(request, alive_response([]))
        kind = KINDS["unreadable-store"]
        return finished_response(request, refusal_response(Refusal(kind.status, [("Retry-After", "5")], kind)))

    def _record(self, request: Request, response: Response | EventStream, started: float) -> None:
        if self._telemetry is not None:
            size = len(response.body) if isinstance(response, Response) else None
            self._telemetry.record(request, response.status, size, time.perf_counter() - started)


class _Messages:
    """The messages of an ASGI request: its body, then its disconnect."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._complete = receive, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the parts of the body."""
        while not self._complete:
            message = await self._receive()
            self._complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
            yield message.get("body", b"")

    async def disconnected(self) -> None:
        """Wait until the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _until(chunks: AsyncIterator[bytes], gone: "asyncio.Future[Any]") -> AsyncIterator[bytes]:
    """Iterate over the chunks of a stream until its client has gone: its place is free at once."""
    while True:
        following = asyncio.ensure_future(anext(chunks, None))
        await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            return
        if (chunk := following.result()) is None:
            return
        yield chunk
