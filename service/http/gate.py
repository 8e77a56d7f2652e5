"""The door of a web worker: who may come in, how often, and with how much; a WSGI wrapper before everything else.

It lets through what is well-formed, within the limits, and has shown the key it needs; everything else it answers
itself, with a problem document. What leaves through it is armoured, whoever made it. It knows no resource and no
snapshot. A request that is let through names the key it came with as `vigie.key` in its environment: that is how a
resource knows that a write was asked for by somebody who may.
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
from service.http.keys import SPOKEN, Key, Keyring
from service.http.problems import KINDS, MEDIA_TYPE, text, text_of
from service.http.rate_limit import Counters
from service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""The armour of every answer: no script, no frame, no guessing of types, no telling where a reader came from."""

READING, WRITING = ("GET", "HEAD", "OPTIONS"), ("POST",)
OPEN = ("/healthz",)
"""What takes no key on any server: whether the process lives."""

WINDOW = 60
"""How long a limit counts before it begins anew [s]."""

BODIES_AT_ONCE = 4
"""How many requests may be sending a body to a worker: the server gives a body no deadline, and must not be answered
while it is being read, so slow senders, all of whom hold a key, may keep a few threads and never all of them."""

_CHALLENGES = {
    "GET": 'Bearer realm="vigie", Basic realm="vigie", charset="UTF-8"',
    "POST": 'Bearer realm="vigie"',
}
_ARMED = ("X-Content-Type-Options", "nosniff")
_MOST_KNOWN = 4_096

_LOG = logging.getLogger(__name__)

Headers = list[tuple[str, str]]


class Refusal(Exception):
    """The door answers a request itself."""

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


def refuse(name: str, *headers: tuple[str, str]) -> NoReturn:
    """End a request at the door with a problem of this kind: the same words for everybody it meets."""
    raise Refusal(KINDS[name].status, text_of(KINDS[name]), list(headers))


class Door:
    """A WSGI application behind a door. `listens_on` is the host that the server is bound to, None if nobody told."""

    def __init__(
        self,
        app: "WSGIApplication",
        settings: Settings,
        keyring: Keyring,
        counters: Counters,
        *,
        listens_on: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._keyring, self._counters, self._clock = app, keyring, counters, clock
        self._limits, self._proxies = settings.limits, settings.trusted_proxies
        self._origins = frozenset(settings.cors_origins)
        self._open = settings.allows_public_read(listens_on)
        self._always: Headers = []
        if settings.hsts_seconds:
            self._always.append(("Strict-Transport-Security", f"max-age={settings.hsts_seconds}"))
        if self._origins and "*" not in self._origins:
            self._always.append(("Vary", "Origin"))
        self._clients: dict[str, tuple[str, bool]] = {}
        self._bodies = threading.BoundedSemaphore(BODIES_AT_ONCE)
        self._warned = False

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request, or let it through."""
        extra = list(self._always)
        try:
            self._examine(environ, extra)
        except Refusal as refusal:
            return self._answer(refusal, extra, start_response)
        hidden = not self._open and environ["PATH_INFO"] not in OPEN

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            if hidden:
                headers = _private(headers)
            if _ARMED not in headers:
                headers = [*headers, *SAFE.items()]
            return start_response(status, [*headers, *extra] if extra else headers, exc_info)

        return self._app(environ, start)

    def _examine(self, environ: "WSGIEnvironment", extra: Headers) -> None:
        """Look at a request; `extra` takes the headers its answer gets. Raises Refusal."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self._origins and (origin := environ.get("HTTP_ORIGIN")) is not None:
            self._meet_foreigner(origin, environ, extra)
        if method not in READING and method not in WRITING:
            _refuse_method()
        if len(path) + len(environ.get("QUERY_STRING", "")) > self._limits.url_bytes:
            refuse("long-address")
        if "\0" in path:
            refuse("unreadable-request")
        shown = _shown(environ.get("HTTP_AUTHORIZATION"), method)
        try:
            key = self._keyring.find(shown) if shown is not None else None
        except sa.exc.SQLAlchemyError as failure:
            _LOG.error("the keys cannot be read: %s", failure)
            refuse("unreadable-store", ("Retry-After", "5"))
        self._count(environ, method, key, extra)
        self._check(method, path, shown, key)
        if key is not None:
            environ["vigie.key"] = key.prefix
        if method in WRITING or environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
            self._take_body(environ, method)

    def _check(self, method: str, path: str, shown: str | None, key: Key | None) -> None:
        """Let nobody do what takes a key without one. Raises Refusal."""
        writes = method in WRITING
        if key is None:
            asked = writes or not (self._open or path in OPEN or method == "OPTIONS")
            if shown is not None and (asked or shown.startswith(SPOKEN)):
                refuse("key-refused", ("WWW-Authenticate", _CHALLENGES["POST" if writes else "GET"]))
            if asked:
                refuse("key-needed", ("WWW-Authenticate", _CHALLENGES["POST" if writes else "GET"]))
        elif writes and key.scope != "write":
            refuse("key-cannot-write")

    def _count(self, environ: "WSGIEnvironment", method: str, key: Key | None, extra: Headers) -> None:
        """Count a request against the limit of its key, or else of its address. Raises Refusal beyond it."""
        if key is None:
            who, free = self._client(environ)
            policy, most = "address", 0 if free else self._limits.address_per_minute
        elif method in WRITING:
            who, policy, most = f"{key.prefix} writes", "write", self._limits.write_per_minute
        else:
            who, policy, most = key.prefix, "key", self._limits.key_per_minute
        if not most:
            return
        window, passed = divmod(int(self._clock()), WINDOW)
        count, left = self._counters.count(who, window), WINDOW - passed
        extra.append(("RateLimit-Policy", f'"{policy}";q={most};w={WINDOW}'))
        extra.append(("RateLimit", f'"{policy}";r={max(0, most - count)};t={left}'))
        if count > most:
            refuse("too-many-requests", ("Retry-After", str(left)))

    def _client(self, environ: "WSGIEnvironment") -> tuple[str, bool]:
        """Who asks, as one name for all their requests, and whether no limit holds for them: this machine's own."""
        remote, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR")
        if forwarded is None:
            if (known := self._clients.get(remote)) is None:
                if len(self._clients) >= _MOST_KNOWN:
                    self._clients.clear()
                known = self._clients[remote] = self._named(remote, forwarded=False)
            return known
        if self._proxies:
            remote = self._forwarded(remote, forwarded)
        return self._named(remote, forwarded=True)

    def _named(self, remote: str, *, forwarded: bool) -> tuple[str, bool]:
        address = parse_address(remote)
        if address is None:
            return remote, False
        here = address.is_loopback
        if here and forwarded and not self._warned:
            self._warned = True
            _LOG.warning("requests come through a proxy that trusted_proxies does not name: they share one limit")
        return client_network(address), here and not forwarded and not self._limits.count_loopback

    def _forwarded(self, remote: str, forwarded: str) -> str:
        """The nearest address that is none of our proxies: what stands further away anybody may have written."""
        for hop in [*reversed(forwarded.split(",")), ""]:
            address = parse_address(remote)
            nearer = parse_address(hop.strip())
            if address is None or nearer is None or not any(address in proxies for proxies in self._proxies):
                break
            remote = str(nearer)
        return remote

    def _meet_foreigner(self, origin: str, environ: "WSGIEnvironment", extra: Headers) -> None:
        """Let pages of an origin that is set read the answer; answer what a browser asks first. Raises Refusal."""
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

    def _take_body(self, environ: "WSGIEnvironment", method: str) -> None:
        """Read a body whole and within its size, for whoever comes after. Raises Refusal."""
        try:
            length = int(environ.get("CONTENT_LENGTH") or -1)
        except ValueError:
            refuse("unreadable-request")
        if length > self._limits.body_bytes:
            refuse("large-request")
        if method not in WRITING:
            return  # nobody reads it
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
    def _answer(refusal: Refusal, extra: Headers, start_response: "StartResponse") -> Iterable[bytes]:
        headers = [("Cache-Control", "no-store"), *SAFE.items(), *extra, *refusal.headers]
        if refusal.body:
            headers += [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(refusal.body)))]
        start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", headers)
        return [refusal.body]


def _shown(authorization: str | None, method: str) -> str | None:
    """The key in a header. As the password of Basic it may only read: a browser sends that to wherever a page posts."""
    if authorization is None:
        return None
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic" and method in READING:
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return None


def _read(stream: Any, wanted: int) -> bytes:
    parts: list[bytes] = []
    while wanted > 0 and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _private(headers: Headers) -> Headers:
    """What was read with a key is kept by no cache that others share."""
    kept = [
        (name, value.replace("public", "private") if name.lower() == "cache-control" else value)
        for name, value in headers
    ]
    return [*kept, ("Vary", "Authorization")]


def _refuse_method() -> NoReturn:
    status = HTTPStatus.METHOD_NOT_ALLOWED
    raise Refusal(status, text(status, status.phrase, None), [("Allow", ", ".join((*READING, *WRITING)))])
