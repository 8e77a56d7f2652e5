"""How a web worker runs under granian: a few threads accept requests, and a pool of threads answers slow ones.

The accepting threads answer cached requests themselves, and pass all others on to the pool. There are few of them on
purpose: many threads contend for Python's lock, and a cached response, which takes microseconds, would wait
milliseconds for it. Under any other WSGI server, run `service.cli.app:worker()`, which has only one kind of threads.
This module depends on the interface of granian 2.8.
"""

import gc
import logging
import sys
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from granian.server import mp
from granian.wsgi import ResponseIterWrap

from service.cli import app
from service.http.gate import MAX_BODIES

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from service.http.unavailable import IsImmediate

ACCEPT_THREADS = MAX_BODIES + 2
"""How many threads accept requests. They read bodies themselves, so there must be more than the gate reads at once."""

POOL_THREADS = 32
"""How many slow requests are answered at once: more than `max_waiting_clients` of the settings."""

SWITCH_INTERVAL = 0.0005
"""How long a thread can keep Python's lock while others want it [s]. Python's own 5 ms would let a thread that renders
a page delay cached responses."""

_LOG = logging.getLogger(__name__)


class GranianAdapter:
    """What granian calls with each request. `is_immediate` tells which requests are answered without waiting."""

    def __init__(self, application: "WSGIApplication", is_immediate: "IsImmediate") -> None:
        self._app, self._is_immediate, self._pool = application, is_immediate, ThreadPool(POOL_THREADS)
        self._environ: dict[str, Any] = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SCRIPT_NAME": "",
            "SERVER_SOFTWARE": "granian",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multiprocess": False,
            "wsgi.multithread": True,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
        }

    def __call__(self, protocol: Any, scope: "WSGIEnvironment") -> None:
        """Answer a request, in this thread or in the pool; `protocol` takes the response."""
        environ = self._environ | scope
        if self._is_immediate(environ) or "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            self._respond(protocol, environ)  # granian closes the body when this call returns
        else:
            self._pool.submit(partial(self._respond, protocol, environ))

    def _respond(self, protocol: Any, environ: "WSGIEnvironment") -> None:
        start = _StartResponse()
        try:
            body = self._app(environ, start)  # type: ignore[arg-type]  # nobody here calls what start_response returns
            if isinstance(body, list):
                protocol.response_bytes(start.status, start.headers, body[0] if len(body) == 1 else b"".join(body))
            else:
                protocol.response_iter(start.status, start.headers, ResponseIterWrap(body))  # type: ignore[no-untyped-call]
        except Exception:
            _LOG.exception("a request failed")
            protocol.response_bytes(500, [], b"")


class _StartResponse:
    """Remembers the status and headers of a response."""

    __slots__ = ("headers", "status")

    def __call__(self, status: str, headers: list[tuple[str, str]], failure: Any = None) -> None:
        self.status, self.headers = int(status[:3]), headers


class ThreadPool:
    """Threads that are started when needed and end with the process.

    Those of `concurrent.futures` would delay the end of the process until the last stream has ended.
    """

    def __init__(self, max_threads: int) -> None:
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle, self._unstarted = threading.Semaphore(0), threading.Semaphore(max_threads)

    def submit(self, work: Callable[[], None]) -> None:
        """Run a function in one of the threads."""
        self._queue.put(work)
        if not self._idle.acquire(blocking=False) and self._unstarted.acquire(blocking=False):
            threading.Thread(target=self._run, daemon=True, name="slow").start()

    def _run(self) -> None:
        while True:
            self._queue.get()()
            self._idle.release()


def worker() -> "WSGIApplication":
    """Return the application for a worker of granian, and make granian pass requests to `GranianAdapter`."""
    application, is_immediate = app.assemble()
    # granian 2.8 has no public hook for this: it calls this function to wrap the application.
    mp._wsgi_call_wrap = lambda *_: GranianAdapter(application, is_immediate)  # type: ignore[attr-defined]
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # objects made at the start live as long as the worker: the collector need not visit them
    return application
