"""The two lanes of a web worker under granian: what is kept is answered at once, by the few threads that take requests
in; everything else waits its turn in a pool of threads.

With many threads taking requests in, each request wakes another one, and all of them contend for Python's lock: kept
answers, which take microseconds, then wait milliseconds for it. It knows granian's calls, and nothing of what is
answered. Under another server `service.cli.app:worker()` does the same without lanes.
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
from service.http.gate import BODIES_AT_ONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from service.http.unavailable import AtOnce

TAKING_IN = BODIES_AT_ONCE + 2
"""How many threads take requests in: slow bodies, which they wait for themselves, never hold all of them."""

THREADS = 32
"""How many requests are answered at once beside the cached ones: more than `max_waiting_clients` of the settings."""

TURN = 0.0005
"""How long a thread may keep Python's lock while others want it: one that computes a page must not hold up those that
are served what is kept [s]."""

_LOG = logging.getLogger(__name__)


class Lanes:
    """What granian calls with each request. `at_once` tells those that are answered without waiting for anything."""

    def __init__(self, application: "WSGIApplication", at_once: "AtOnce") -> None:
        self._app, self._at_once, self._slow = application, at_once, Pool(THREADS)
        self._always: dict[str, Any] = {
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
        """Take a request in; `protocol` is given its answer, by this thread or later by another."""
        environ = self._always | scope
        if self._at_once(environ) or "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            self._answer(protocol, environ)  # a body can be read no more once we have returned
        else:
            self._slow.give(partial(self._answer, protocol, environ))

    def _answer(self, protocol: Any, environ: "WSGIEnvironment") -> None:
        begun = _Begun()
        try:
            body = self._app(environ, begun)  # type: ignore[arg-type]  # nobody here calls what start_response returns
            if isinstance(body, list):
                protocol.response_bytes(begun.status, begun.headers, body[0] if len(body) == 1 else b"".join(body))
            else:
                protocol.response_iter(begun.status, begun.headers, ResponseIterWrap(body))  # type: ignore[no-untyped-call]
        except Exception:
            _LOG.exception("a request has no answer")
            protocol.response_bytes(500, [], b"")


class _Begun:
    """How an answer begins."""

    __slots__ = ("headers", "status")

    def __call__(self, status: str, headers: list[tuple[str, str]], failure: Any = None) -> None:
        self.status, self.headers = int(status[:3]), headers


class Pool:
    """Threads that work off what they are given; they are begun as they are needed, and end with the process.

    Those of `concurrent.futures` would hold up its end until the last stream has ended.
    """

    def __init__(self, most: int) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle, self._left = threading.Semaphore(0), threading.Semaphore(most)

    def give(self, work: Callable[[], None]) -> None:
        """Have something done."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._left.acquire(blocking=False):
            threading.Thread(target=self._run, daemon=True, name="slow").start()

    def _run(self) -> None:
        while True:
            self._work.get()()
            self._idle.release()


def worker() -> "WSGIApplication":
    """The application in a worker of granian, which from here on hands requests to lanes instead of its own wrapper."""
    application, at_once = app.assembled()
    mp._wsgi_call_wrap = lambda *_: Lanes(application, at_once)  # type: ignore[attr-defined]  # granian's own name
    sys.setswitchinterval(TURN)
    gc.freeze()  # what was made at the start stays: nobody need look through it again and again for garbage
    return application
