"""Calls a Flask application from the event loop, in a bounded pool of threads."""

import asyncio
import contextlib
import contextvars
import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask

from service.http.conditional import OBSERVED, Observed
from service.http.gate import WRITE_METHODS, refuse
from service.http.message import MAX_PREFERENCE, PREFERENCES, Headers, Request, Response
from service.http.places import Places
from service.http.state_version import StateVersion
from service.http.task_quota import TaskQuota

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY = "vigie.key"
"""Key in the WSGI environment: the prefix of the API key that the request showed."""

BY_LINK = "vigie.by_link"
"""Key in the WSGI environment: there is no key, and only a valid signature of the address opens the page."""

START_TASK = "vigie.start_task"
"""Key in the WSGI environment: what a view calls before it adds a task to the queue (`task_quota.Start`)."""

FLASK_THREADS = 32
"""How many requests read at the same time."""

WRITE_THREADS = 4
"""How many requests write at the same time. The database lets one write, and the others must not stop readers."""

MAX_QUEUED = 512
"""How many more requests wait for a thread. Beyond that the server says that it is busy."""


class FlaskResponse(NamedTuple):
    """A response of Flask, the state version that it was made from if any, and whether it depends on that alone."""

    response: Response
    version: StateVersion | None
    cacheable: bool


class FlaskPool:
    """A Flask application and the threads that call it. Each client has at most `each` calls at the same time."""

    def __init__(self, app: Flask, each: int, quota: TaskQuota) -> None:
        self._app, self._quota = app, quota
        self._readers = ThreadPoolExecutor(FLASK_THREADS, thread_name_prefix="flask")
        self._writers = ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="flask-write")
        self._places = Places(FLASK_THREADS + MAX_QUEUED, each)

    def start(self, request: Request, *, may_cache: bool) -> "asyncio.Future[FlaskResponse]":
        """Start a call, and return its future response. Raises Refusal if too many calls run or wait already."""
        loop, admission = asyncio.get_running_loop(), request.admission
        if not self._places.take(admission):
            refuse("busy", ("Retry-After", "1"))

        def end(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._places.release, admission)

        # A thread has the context of its request, so that log lines have the request's id.
        threads = self._writers if request.method in WRITE_METHODS else self._readers
        future = threads.submit(contextvars.copy_context().run, self._call, request, may_cache)
        # The place is free when the call ends: one whose client has left still has its thread.
        future.add_done_callback(end)
        return asyncio.wrap_future(future)

    def _call(self, request: Request, may_cache: bool) -> FlaskResponse:
        environ, observed = wsgi_environ(request), Observed(may_cache)
        environ |= {OBSERVED: observed, START_TASK: self._quota.of(request)}
        response = call_wsgi(self._app, environ)
        return FlaskResponse(response, observed.version, observed.cacheable)


def call_wsgi(app: Flask, environ: "WSGIEnvironment") -> Response:
    """Call Flask by its WSGI interface, and return its complete response."""
    response = Response(500)

    def start(status: str, headers: Headers, _: object = None, /) -> Callable[[bytes], object]:
        response.status, response.headers = int(status.partition(" ")[0]), list(headers)
        return _refuse_write

    chunks = app.wsgi_app(environ, start)
    try:
        response.body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return response


def _refuse_write(_: bytes) -> None:
    raise NotImplementedError("Flask returns its body and never writes it")


def wsgi_environ(request: Request) -> "WSGIEnvironment":
    """Return the WSGI environment of a request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": request.prefix,
        "PATH_INFO": request.path.encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": request.client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name == "host":
            continue  # Flask cannot repeat a Host that it does not know
        if "_" in name or (name in PREFERENCES and len(value) > MAX_PREFERENCE):
            continue  # WSGI cannot tell `x_real_ip` from `x-real-ip`
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    environ["CONTENT_LENGTH"] = str(len(request.body))  # also of a body that was chunked
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    if request.admission.key is not None:
        environ[KEY] = request.admission.key
    if request.admission.by_link:
        environ[BY_LINK] = True
    return environ
