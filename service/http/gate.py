"""The gate: a WSGI wrapper around a web worker that checks keys, limits and sizes before anything else runs.

It passes on well-formed requests that are within the limits and have the key they need. It refuses all others with a
problem document. Every response gets the security headers. The gate knows no resource and no snapshot. It passes on the
prefix of the key as `vigie.key` in the WSGI environment, from which a resource knows that a write is authorised.
"""

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy as sa

from service.http.client_address import client_network, parse_address
from service.http.keys import KEY_START, Key, Keyring
from service.http.problems import KINDS, MEDIA_TYPE, document, document_of
from service.http.rate_limit import RequestCounter
from service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""On every response: no script, no frame, no guessing of media types, no referrer."""

READ_METHODS, WRITE_METHODS = ("GET", "HEAD", "OPTIONS"), ("POST",)

PUBLIC_PATHS = ("/healthz",)
"""Paths that need no key on any server."""

WINDOW = 60
"""The length of the window that a limit counts in [s]."""

MAX_BODIES = 4
"""How many request bodies a worker reads at once.

The web server sets no deadline for a body, and cannot be answered while it reads one. Slow senders, all of whom have a
key, can therefore occupy a few threads, and never all.
"""

_CHALLENGES = {
    "GET": 'Bearer realm="vigie", Basic realm="vigie", charset="UTF-8"',
    "POST": 'Bearer realm="vigie"',
}
_SECURED = ("X-Content-Type-Options", "nosniff")
"""A response that has this header has all security headers already."""

_MAX_REMEMBERED = 4_096
"""For how many addresses a worker remembers how they are counted."""

_LOG = logging.getLogger(__name__)

Headers = list[tuple[str, str]]


class Refusal(Exception):
    """Ends a request with a response of the gate."""

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


def refuse(name: str, *headers: tuple[str, str]) -> NoReturn:
    """Refuse a request with a problem of this kind. The text never depends on the request."""
    raise Refusal(KINDS[name].status, document_of(KINDS[name]), list(headers))


class Gate:
    """A WSGI application behind a gate. `listens_on` is the host that the server is bound to, or None if unknown."""

    def __init__(
        self,
        app: "WSGIApplication",
        settings: Settings,
        keyring: Keyring,
        counter: RequestCounter,
        *,
        listens_on: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._keyring, self._counter, self._clock = app, keyring, counter, clock
        self._limits, self._proxies = settings.limits, settings.trusted_proxies
        self._origins = frozenset(settings.cors_origins)
        self._public_read = settings.allows_public_read(listens_on)
        self._common_headers: Headers = []
        if settings.hsts_seconds:
            self._common_headers.append(("Strict-Transport-Security", f"max-age={settings.hsts_seconds}"))
        if self._origins and "*" not in self._origins:
            self._common_headers.append(("Vary", "Origin"))
        self._clients: dict[str, tuple[str, bool]] = {}
        self._bodies = threading.BoundedSemaphore(MAX_BODIES)
        self._warned = False

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Pass a request on, or refuse it."""
        extra = list(self._common_headers)
        try:
            self._check(environ, extra)
        except Refusal as refusal:
            return self._refuse(refusal, extra, start_response)
        private = not self._public_read and environ["PATH_INFO"] not in PUBLIC_PATHS

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            if private:
                headers = _make_private(headers)
            if _SECURED not in headers:
                headers = [*headers, *SECURITY_HEADERS.items()]
            return start_response(status, [*headers, *extra] if extra else headers, exc_info)

        return self._app(environ, start)

    def _check(self, environ: "WSGIEnvironment", extra: Headers) -> None:
        """Check a request. Adds the headers of its response to `extra`. Raises Refusal."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self._origins and (origin := environ.get("HTTP_ORIGIN")) is not None:
            self._allow_origin(origin, environ, extra)
        if method not in READ_METHODS and method not in WRITE_METHODS:
            _refuse_method()
        if len(path) + len(environ.get("QUERY_STRING", "")) > self._limits.url_bytes:
            refuse("long-address")
        if "\0" in path:
            refuse("unreadable-request")
        credentials = _credentials(environ.get("HTTP_AUTHORIZATION"), method)
        try:
            key = self._keyring.find(credentials) if credentials is not None else None
        except sa.exc.SQLAlchemyError as failure:
            _LOG.error("the keys cannot be read: %s", failure)
            refuse("unreadable-store", ("Retry-After", "5"))
        # Count before the key is checked: wrong keys count against the address that guesses.
        self._count(environ, method, key, extra)
        self._check_key(method, path, credentials, key)
        if key is not None:
            environ["vigie.key"] = key.prefix
        if method in WRITE_METHODS or environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
            self._read_body(environ, method)

    def _check_key(self, method: str, path: str, credentials: str | None, key: Key | None) -> None:
        """Check that a request has the key it needs. Raises Refusal."""
        writes = method in WRITE_METHODS
        if key is None:
            needed = writes or not (self._public_read or path in PUBLIC_PATHS or method == "OPTIONS")
            # Where no key is needed, other credentials can be meant for a proxy. A wrong key of ours is refused.
            if credentials is not None and (needed or credentials.startswith(KEY_START)):
                refuse("key-refused", ("WWW-Authenticate", _CHALLENGES["POST" if writes else "GET"]))
            if needed:
                refuse("key-needed", ("WWW-Authenticate", _CHALLENGES["POST" if writes else "GET"]))
        elif writes and key.scope != "write":
            refuse("key-cannot-write")

    def _count(self, environ: "WSGIEnvironment", method: str, key: Key | None, extra: Headers) -> None:
        """Count a request against the limit of its key, or else of its address. Raises Refusal beyond the limit."""
        if key is None:
            client, unlimited = self._client(environ)
            policy, limit = "address", 0 if unlimited else self._limits.address_per_minute
        elif method in WRITE_METHODS:
            client, policy, limit = f"{key.prefix} writes", "write", self._limits.write_per_minute
        else:
            client, policy, limit = key.prefix, "key", self._limits.key_per_minute
        if not limit:
            return
        window, passed = divmod(int(self._clock()), WINDOW)
        count, seconds_left = self._counter.count(client, window), WINDOW - passed
        extra.append(("RateLimit-Policy", f'"{policy}";q={limit};w={WINDOW}'))
        extra.append(("RateLimit", f'"{policy}";r={max(0, limit - count)};t={seconds_left}'))
        if count > limit:
            refuse("too-many-requests", ("Retry-After", str(seconds_left)))

    def _client(self, environ: "WSGIEnvironment") -> tuple[str, bool]:
        """Return the name that a client is counted under, and whether it is this machine, which has no limit."""
        remote, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR")
        if forwarded is None:
            if (known := self._clients.get(remote)) is None:
                if len(self._clients) >= _MAX_REMEMBERED:
                    self._clients.clear()
                known = self._clients[remote] = self._name_client(remote, forwarded=False)
            return known
        if self._proxies:
            remote = self._forwarded_address(remote, forwarded)
        return self._name_client(remote, forwarded=True)

    def _name_client(self, remote: str, *, forwarded: bool) -> tuple[str, bool]:
        address = parse_address(remote)
        if address is None:
            return remote, False
        local = address.is_loopback
        if local and forwarded and not self._warned:
            self._warned = True
            _LOG.warning("a proxy that trusted_proxies does not name: all its clients share one limit")
        return client_network(address), local and not forwarded and not self._limits.count_loopback

    def _forwarded_address(self, remote: str, forwarded: str) -> str:
        """Return the nearest address that is not a trusted proxy. A client can invent the addresses before it."""
        for hop in [*reversed(forwarded.split(",")), ""]:
            address = parse_address(remote)
            nearer = parse_address(hop.strip())
            if address is None or nearer is None or not any(address in proxies for proxies in self._proxies):
                break
            remote = str(nearer)
        return remote

    def _allow_origin(self, origin: str, environ: "WSGIEnvironment", extra: Headers) -> None:
        """Let pages of a configured origin read the response. Raises Refusal, with 204, to answer a CORS preflight."""
        if "*" not in self._origins and origin not in self._origins:
            return
        extra.append(("Access-Control-Allow-Origin", "*" if "*" in self._origins else origin))
        extra.append(
            ("Access-Control-Expose-Headers", "ETag, Last-Modified, Link, RateLimit, RateLimit-Policy, Retry-After")
        )
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            allowed = [
                ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
                ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, If-None-Match, Prefer"),
                ("Access-Control-Max-Age", "600"),
            ]
            raise Refusal(HTTPStatus.NO_CONTENT, b"", allowed)

    def _read_body(self, environ: "WSGIEnvironment", method: str) -> None:
        """Read a body in full and put it back into `environ`. Raises Refusal if it is too large or incomplete."""
        try:
            length = int(environ.get("CONTENT_LENGTH") or -1)
        except ValueError:
            refuse("unreadable-request")
        if length > self._limits.body_bytes:
            refuse("large-request")
        if method not in WRITE_METHODS:
            return  # no resource reads the body of a GET
        if not self._bodies.acquire(blocking=False):
            refuse("busy", ("Retry-After", "5"))
        try:
            body = _read(environ["wsgi.input"], length if length >= 0 else self._limits.body_bytes + 1)
        finally:
            self._bodies.release()
        if len(body) < length:
            refuse("unreadable-request")
        if len(body) > self._limits.body_bytes:
            refuse("large-request")
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))

    @staticmethod
    def _refuse(refusal: Refusal, extra: Headers, start_response: "StartResponse") -> Iterable[bytes]:
        headers = [("Cache-Control", "no-store"), *SECURITY_HEADERS.items(), *extra, *refusal.headers]
        if refusal.body:
            headers += [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(refusal.body)))]
        start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", headers)
        return [refusal.body]


def _credentials(authorization: str | None, method: str) -> str | None:
    """Return the key in an Authorization header.

    The password of HTTP Basic only reads: a browser adds it to forms of other sites too.
    """
    if authorization is None:
        return None
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic" and method in READ_METHODS:
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return None


def _read(stream: Any, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (part := stream.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _make_private(headers: Headers) -> Headers:
    """Return the headers of a response to a key, which no shared cache may store."""
    private = [
        (name, value.replace("public", "private") if name.lower() == "cache-control" else value)
        for name, value in headers
    ]
    return [*private, ("Vary", "Authorization")]


def _refuse_method() -> NoReturn:
    status = HTTPStatus.METHOD_NOT_ALLOWED
    raise Refusal(
        status, document(status, status.phrase, None), [("Allow", ", ".join((*READ_METHODS, *WRITE_METHODS)))]
    )
