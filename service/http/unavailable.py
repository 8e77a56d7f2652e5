"""What answers in a web worker that comes to life while the database is away: it says so, and tries until it is back.

A worker that ended instead would be started again, and end again, until its server has had enough of it. Of the
application it knows only how to make it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from riskmodel.errors import VigieError
from service.http.gate import SAFE
from service.http.problems import KINDS, MEDIA_TYPE, text_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    AtOnce = Callable[[WSGIEnvironment], bool]
    """Tells the requests that are answered without waiting for anything."""

TRY_EVERY = 1.0
"""How often to try whether the application can be made [s]."""

log = logging.getLogger("vigie.web")


class StandIn:
    """Answers that it lives, and for the rest `unreadable-store`; once the application can be made, that answers."""

    def __init__(self, make: "Callable[[], tuple[WSGIApplication, AtOnce]]") -> None:
        self._make = make
        self._made: tuple[WSGIApplication, AtOnce] | None = None

    def trying(self) -> "StandIn":
        """Begin to try, in a thread of its own, and go on until it succeeds."""
        threading.Thread(target=self._try, daemon=True, name="stand-in").start()
        return self

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if self._made is not None:
            return self._made[0](environ, start_response)
        kind = KINDS["unreadable-store"]
        status, media_type, body = HTTPStatus(kind.status), MEDIA_TYPE, text_of(kind)
        if environ["PATH_INFO"] == "/healthz":
            status, media_type, body = HTTPStatus.OK, "application/json", b'{"alive":true}'
        headers = {**SAFE, "Content-Type": media_type, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        if status is not HTTPStatus.OK:
            headers["Retry-After"] = "5"
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def at_once(self, environ: "WSGIEnvironment") -> bool:
        """Whether a request is answered without waiting for anything: all are, as long as nothing can be served."""
        return self._made is None or self._made[1](environ)

    def _try(self) -> None:
        told = ""
        while self._made is None:
            try:
                self._made = self._make()
            except VigieError as failure:
                if str(failure) != told:
                    told = str(failure)
                    log.error("nothing can be served: %s", told)
                time.sleep(TRY_EVERY)
        log.info("the database is there again")
