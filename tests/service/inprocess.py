"""An ASGI application in this process: a client whose requests run in an event loop of a background thread."""

import asyncio
import json as json_module
import queue
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

import flask
from flask import Flask
from werkzeug.test import EnvironBuilder, TestResponse

from service.http.front import Front
from service.http.gate import Gate
from service.http.interfaces import Application
from service.http.keys import Keyring
from service.http.rate_limit import RequestCounter
from service.http.request_context import context_of
from service.http.telemetry import Telemetry
from service.settings import Settings
from service.web import error_page

PATIENCE = 30.0
"""How long anything may take [s]."""

LOCAL = "127.0.0.1"


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """The event loop, which runs in a thread until the process ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="event loop").start()
    return loop


def run(work: Any, timeout: float = PATIENCE) -> Any:
    """The result of a coroutine."""
    return asyncio.run_coroutine_threadsafe(work, event_loop()).result(timeout)


class Exchange:
    """A request that is under way: more of its body can be sent, and its response is read as it comes."""

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self._received: queue.Queue[Any] = queue.Queue()
        self.to_send: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._start: dict[str, Any] | None = None
        self._ended = threading.Event()
        self.task = asyncio.run_coroutine_threadsafe(self._run(application, scope), event_loop())

    async def _run(self, application: Any, scope: dict[str, Any]) -> None:
        async def send(message: dict[str, Any]) -> None:
            self._received.put(message)

        try:
            await application(scope, self.to_send.get, send)
        finally:
            self._received.put(None)

    def send(self, part: bytes, *, more: bool = False) -> None:
        """Send a part of the body."""
        message = {"type": "http.request", "body": part, "more_body": more}
        event_loop().call_soon_threadsafe(self.to_send.put_nowait, message)

    def disconnect(self) -> None:
        """Close the connection."""
        event_loop().call_soon_threadsafe(self.to_send.put_nowait, {"type": "http.disconnect"})

    def start(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """The beginning of the response."""
        if self._start is None:
            self._start = self._next(timeout)
            assert self._start is not None
        return self._start

    @property
    def status(self) -> int:
        return int(self.start()["status"])

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.start()["headers"]]

    def read(self, timeout: float = PATIENCE) -> bytes | None:
        """The next part of the body; None at its end. Raises queue.Empty if there is none in time."""
        self.start()
        while (message := self._next(timeout)) is not None:
            if body := bytes(message.get("body", b"")):
                return body
        return None

    def _next(self, timeout: float) -> dict[str, Any] | None:
        message: dict[str, Any] | None = self._received.get(timeout=timeout)
        if message is None:
            self._received.put(None)
            self.task.result(timeout)
        return message

    def response(self, timeout: float = PATIENCE) -> TestResponse:
        """The complete response."""
        self.start(timeout)
        parts: list[bytes] = []
        while (part := self.read(timeout)) is not None:
            parts.append(part)
        request = EnvironBuilder().get_request()
        return TestResponse([b"".join(parts)], str(self.status), self.headers, request)  # type: ignore[arg-type]


class AsgiClient:
    """Sends requests to an ASGI application as one address."""

    def __init__(self, application: Any, remote: str = LOCAL) -> None:
        self.application, self._remote = application, remote

    def begin(
        self,
        target: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        remote: str | None = None,
        **scope: Any,
    ) -> Exchange:
        """Begin a request: its body has still to be sent."""
        path, _, query = target.partition("?")
        raw = [(n.lower().encode("latin-1"), v.encode("latin-1", "replace")) for n, v in (headers or {}).items()]
        made = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode("latin-1", "replace"),
            "root_path": "",
            "headers": raw,
            "client": (remote or self._remote, 50_000),
            "server": ("127.0.0.1", 8000),
        }
        return Exchange(self.application, {**made, **scope})

    def open(
        self,
        target: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
        json: object = None,
        **options: Any,
    ) -> TestResponse:
        """Send a request; the response to it."""
        sent = dict(headers or {})
        if json is not None:
            data = json_module.dumps(json).encode()
            sent["Content-Type"] = "application/json"
        if data:
            sent.setdefault("Content-Length", str(len(data)))
        exchange = self.begin(target, method, sent, **options)
        exchange.send(data)
        return exchange.response()

    def get(self, target: str, **options: Any) -> TestResponse:
        return self.open(target, **options)

    def head(self, target: str, **options: Any) -> TestResponse:
        return self.open(target, "HEAD", **options)

    def options(self, target: str, **options: Any) -> TestResponse:
        return self.open(target, "OPTIONS", **options)

    def post(self, target: str, **options: Any) -> TestResponse:
        return self.open(target, "POST", **options)


class FrontClient(AsgiClient):
    """A client of the front before a Flask app. The front watches the state only inside a `with`."""

    def __init__(
        self,
        app: Flask,
        settings: Settings | None = None,
        gate: Gate | None = None,
        remote: str = LOCAL,
    ) -> None:
        context = context_of(app)
        settings = settings or context.settings
        self.app = app
        if gate is None:
            counter = RequestCounter(context.home.run)
            gate = Gate(settings, Keyring(context.store), counter, listens_on=LOCAL)
        self.front = Front(app, settings, gate)
        super().__init__(Application(lambda: (self.front, Telemetry(app, settings)), error_page.present), remote)

    def refresh(self) -> None:
        """Let the cache read the state."""
        run(self.front.cache.refresh())

    def refill(self) -> None:
        """Let the cache repeat the requests that were in use."""
        run(self.front.cache.refill())

    def __enter__(self) -> "FrontClient":
        self._watching = asyncio.run_coroutine_threadsafe(self.front.run(), event_loop())
        return self

    def __exit__(self, *_: object) -> None:
        self._watching.cancel()


def record_requests(app: Flask) -> list[str]:
    """A list to which each request that reaches Flask from now on is added."""
    requests: list[str] = []
    flask.request_started.connect(lambda *_, **__: requests.append(flask.request.full_path), app, weak=False)
    return requests
