"""The service for any WSGI server: the gate and Flask, without streams and without the response cache."""

import io
import itertools
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask

from riskmodel.errors import VigieError
from service import logs
from service.http.flask_pool import BY_LINK, KEY, START_TASK, call_wsgi
from service.http.front import alive_response, without_internal
from service.http.gate import (
    WRITE_METHODS,
    Gate,
    Refusal,
    body_length,
    client_request_id,
    finished_response,
    refusal_response,
    refuse,
)
from service.http.message import Presenter, Request, Response, unchanged
from service.http.problems import KINDS
from service.http.site import Site
from service.http.telemetry import Telemetry
from service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("vigie.web")


class LazyWsgi:
    """A WSGI application that is made at the first request of each process.

    A server that loads the application before it forks its workers shares nothing with them but this object: locks and
    database connections must not cross a fork.
    """

    def __init__(
        self, make: "Callable[[], WSGIApplication]", present: Presenter, make_site: Callable[[], Site]
    ) -> None:
        self._make, self._present, self._make_site, self._reported = make, present, make_site, ""
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._made: WSGIApplication | None = None
        self._site: Site | None = None
        self._making = threading.Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request. While the application cannot be made, only `/healthz` is answered."""
        request = _request(environ)
        try:
            if self._made is not None and not request.path.rstrip("/").endswith("/healthz"):
                return self._made(environ, start_response)
            if self._site is None:
                self._site = self._make_site()
            self._site.normalise(request)
            if request.path != "/healthz":
                return self._application()(environ, start_response)
            response = alive_response([])
        except VigieError as failure:
            if str(failure) != self._reported:
                self._reported = str(failure)
                log.error("nothing can be served: %s", failure)
            kind = KINDS["unreadable-store"]
            response = refusal_response(Refusal(kind.status, [("Retry-After", "5")], kind))
        request.request_id = client_request_id(request) or secrets.token_hex(8)
        return _send(self._present(request, finished_response(request, response)), start_response)

    def _application(self) -> "WSGIApplication":
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = self._make()
        return self._made


class GatedWsgi:
    """A Flask app behind a gate, as a WSGI application."""

    def __init__(
        self, app: Flask, settings: Settings, gate: Gate, telemetry: Telemetry, present: Presenter = unchanged
    ) -> None:
        self._app, self._gate, self._telemetry, self._present = app, gate, telemetry, present
        self._body_bytes = settings.limits.body_bytes
        self._worker, self._numbers = secrets.token_hex(5), itertools.count(1)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        started, request = time.perf_counter(), _request(environ)
        self._gate.site.normalise(request)
        request.request_id = client_request_id(request) or f"{self._worker}-{next(self._numbers):x}"
        token = logs.request_id.set(request.request_id)
        try:
            response = self._answer(request, environ)
        except Refusal as refusal:
            response = refusal_response(refusal)
        finally:
            logs.request_id.reset(token)
        response = self._present(request, finished_response(request, response))
        self._telemetry.record(request, response.status, len(response.body), time.perf_counter() - started)
        return _send(response, start_response)

    def _answer(self, request: Request, environ: "WSGIEnvironment") -> Response:
        if self._gate.needs_keys(request):
            self._gate.read_keys()
        request.admission = self._gate.check(request)
        if request.method in WRITE_METHODS:
            request.body = self._read_body(request, environ["wsgi.input"])
        for name in (KEY, BY_LINK, "HTTP_HOST"):  # Flask cannot repeat a Host that it does not know
            environ.pop(name, None)
        environ |= {
            START_TASK: self._gate.tasks.of(request),
            "SERVER_NAME": "localhost",
            "SCRIPT_NAME": request.prefix,
            "PATH_INFO": request.path.encode("utf-8", "replace").decode("latin-1"),
            "QUERY_STRING": request.query,
        }
        if request.admission.key is not None:
            environ[KEY] = request.admission.key
        if request.admission.by_link:
            environ[BY_LINK] = True
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(request.body), str(len(request.body))
        return without_internal(call_wsgi(self._app, environ))

    def _read_body(self, request: Request, stream: Any) -> bytes:
        length = body_length(request, self._body_bytes)
        left, body = self._body_bytes + 1 if length is None else length, b""
        while left > 0 and (part := stream.read(left)):
            body += part
            left -= len(part)
        if len(body) > self._body_bytes:
            refuse("large-request")
        if length is not None and len(body) < length:
            refuse("unreadable-request")
        return body


def _request(environ: "WSGIEnvironment") -> Request:
    """Return the request in a WSGI environment."""
    headers = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.lower().replace("_", "-")] = environ[name]
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
    query, client = environ.get("QUERY_STRING", ""), environ.get("REMOTE_ADDR", "")
    return Request(environ["REQUEST_METHOD"], path, query, headers, client, prefix=environ.get("SCRIPT_NAME", ""))


def _send(response: Response, start_response: "StartResponse") -> Iterable[bytes]:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Unknown"
    start_response(f"{response.status} {phrase}", response.headers)
    return [response.body]
