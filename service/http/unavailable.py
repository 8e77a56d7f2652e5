"""The responses of a web worker that starts while the database is away, until the application can be made.

If the worker ended instead, the web server would start it again and again, and give up after a while.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from riskmodel.errors import VigieError
from service.http.gate import SECURITY_HEADERS
from service.http.problems import KINDS, MEDIA_TYPE, document_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    IsImmediate = Callable[[WSGIEnvironment], bool]
    """Whether a request is answered without waiting for anything."""

RETRY_EVERY = 1.0
"""How often to try to make the application [s]."""

log = logging.getLogger("vigie.web")


class UnavailableApp:
    """Responds that the process is alive, and otherwise `unreadable-store`, until the real application can be made."""

    def __init__(self, make: "Callable[[], tuple[WSGIApplication, IsImmediate]]") -> None:
        self._make = make
        self._made: tuple[WSGIApplication, IsImmediate] | None = None

    def start_retrying(self) -> "UnavailableApp":
        """Try to make the application, in a thread, until it succeeds."""
        threading.Thread(target=self._retry, daemon=True, name="unavailable").start()
        return self

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Respond to a request, with the application if it has been made."""
        if self._made is not None:
            return self._made[0](environ, start_response)
        kind = KINDS["unreadable-store"]
        status, media_type, body = HTTPStatus(kind.status), MEDIA_TYPE, document_of(kind)
        if environ["PATH_INFO"] == "/healthz":
            status, media_type, body = HTTPStatus.OK, "application/json", b'{"alive":true}'
        headers = {
            **SECURITY_HEADERS,
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        }
        if status is not HTTPStatus.OK:
            headers["Retry-After"] = "5"
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def is_immediate(self, environ: "WSGIEnvironment") -> bool:
        """Return whether a request is answered without waiting: every request, until the application is made."""
        return self._made is None or self._made[1](environ)

    def _retry(self) -> None:
        logged = ""
        while self._made is None:
            try:
                self._made = self._make()
            except VigieError as failure:
                if str(failure) != logged:
                    logged = str(failure)
                    log.error("the application cannot be made, trying again every second: %s", logged)
                time.sleep(RETRY_EVERY)
        log.info("the database answers again")
