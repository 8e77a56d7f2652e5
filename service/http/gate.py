"""The gate of the web server: authentication, limits and security headers, checked before anything else.

It admits requests that are well-formed, within the limits, and show the key they need. It refuses all others with a
problem document. It reads keys from the store; it knows no resource and no snapshot.
"""

import base64
import binascii
import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NoReturn

import sqlalchemy as sa

from service.http.client_address import client_network, parse_address
from service.http.keys import KEY_START, Key, Keyring, KeysUnread
from service.http.message import Admission, Headers, Request, Response
from service.http.problems import KINDS, MEDIA_TYPE, Kind, document, document_of
from service.http.rate_limit import RequestCounter
from service.http.site import Site
from service.http.task_quota import TaskQuota
from service.settings import Settings

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Sent with every response: no script, no frame, no guessing of media types, no referrer."""

READ_METHODS, WRITE_METHODS = ("GET", "HEAD", "OPTIONS"), ("POST", "DELETE")

ALERT_PAGE = re.compile(r"(?:/[a-z]{2})?/alerts/alr_[0-9a-f]{32}").fullmatch
"""The page of one alert. Its form has a field for the key, and a link to it can have a signature: see `_check_key`."""

ACK_PATH = re.compile(r"/v1/alerts/[^/]+/ack|/v1/silences(?:/[^/]+)?").fullmatch
"""Where a key of the scope `ack` may write."""

PUBLIC_PATHS = ("/healthz", "/favicon.ico", "/robots.txt")
"""Paths that need no key on any server: a monitor must learn whether the process lives, a browser shows an icon."""

PUBLIC_FOLDER = "/static/"
"""Files of the program, the same on every server: also the page that asks for a key has a style sheet."""

WINDOW = 60
"""Length of the window in which requests are counted [s]."""

_CHALLENGES = {
    "GET": 'Bearer realm="vigie", Basic realm="vigie", charset="UTF-8"',
    "POST": 'Bearer realm="vigie"',
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch

_MAX_REMEMBERED = 4_096
"""For how many addresses a worker remembers how they are counted."""

_LOG = logging.getLogger(__name__)


class Refusal(Exception):
    """Ends a request with a problem document: of a kind, or else of the status alone."""

    def __init__(self, status: int, headers: Headers, kind: Kind | None = None) -> None:
        super().__init__(status)
        self.status, self.headers, self._kind = status, headers, kind

    def body(self) -> bytes:
        """Return the problem document. Its text depends on nothing in the request but its id."""
        if self.status == HTTPStatus.NO_CONTENT:
            return b""
        if self._kind is not None:
            return document_of(self._kind)
        return document(self.status, HTTPStatus(self.status).phrase, None)


def refuse(name: str, *headers: tuple[str, str]) -> NoReturn:
    """Refuse a request with a problem of this kind."""
    raise Refusal(KINDS[name].status, list(headers), KINDS[name])


class Gate:
    """Checks requests. `listens_on` is the host that the server is bound to, or None if unknown."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        counter: RequestCounter,
        *,
        listens_on: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.site, self.tasks = Site(settings, listens_on), TaskQuota(settings, counter, listens_on, clock)
        self.listens_on = listens_on
        self._keyring, self._counter, self._clock = keyring, counter, clock
        self._limits, self._proxies = settings.limits, settings.trusted_proxies
        self._origins = frozenset(settings.cors_origins)
        self._public_read = settings.allows_public_read(listens_on)
        self._headers: Headers = []
        if settings.hsts_seconds:
            self._headers.append(("Strict-Transport-Security", f"max-age={settings.hsts_seconds}"))
        if self._origins and "*" not in self._origins:
            self._headers.append(("Vary", "Origin"))
        self.nearly_full = False
        """Whether the worker has nearly as many connections as it can have. Each ends after its response then."""
        self._clients: dict[str, tuple[str, bool]] = {}
        self._warned = False

    def common_headers(self) -> Headers:
        """Return the headers of every response."""
        return [*self._headers, ("Connection", "close")] if self.nearly_full else list(self._headers)

    def needs_keys(self, request: Request) -> bool:
        """Return whether `read_keys` must be called before `check`: a key is shown and the keys are too old."""
        return "authorization" in request.headers and not self._keyring.is_current

    def read_keys(self) -> None:
        """Read the keys from the database. If that fails, those read before stay valid."""
        try:
            self._keyring.read()
        except sa.exc.SQLAlchemyError as failure:
            _LOG.error("the keys cannot be read: %s", failure)

    def check(self, request: Request) -> Admission:
        """Admit a request. Reads no database and waits for nothing. Raises Refusal."""
        method, path, headers = request.method, request.path, self.common_headers()
        try:
            if self._origins and (origin := request.headers.get("origin")) is not None:
                self._allow_origin(origin, request, headers)
            if not is_public(path) and not self.site.answers_to_host(request):
                refuse("unknown-host")
            if method not in (*READ_METHODS, "POST") and not (method == "DELETE" and ACK_PATH(path)):
                _refuse_method()
            if len(path) + len(request.query) > self._limits.url_bytes:
                refuse("long-address")
            if "\0" in path or not request.query.isascii():
                refuse("unreadable-request")
            credentials = _credentials(request.headers.get("authorization"), method)
            try:
                key = self._keyring.find(credentials) if credentials is not None else None
            except KeysUnread:
                refuse("unreadable-store", ("Retry-After", "5"))
            client, unlimited = self._client(request)
            # Count before the key is checked: wrong keys count against the address that guesses.
            self._count(client, unlimited, method, key, headers)
            by_link = self._check_key(request, credentials, key)
            body_length(request, self._limits.body_bytes)
        except Refusal as refusal:
            refusal.headers = [*headers, *refusal.headers]
            raise
        private = not self._public_read and not is_public(path)
        return Admission(headers, client, unlimited, None if key is None else key.prefix, private, by_link)

    def _check_key(self, request: Request, credentials: str | None, key: Key | None) -> bool:
        """Check that a request has the key it needs. Raises Refusal.

        Return whether the view must check the signature of the address, because there is no key. The form of an alert
        has its key in a field, which its view checks: no header that a browser adds by itself counts there.
        """
        method, path = request.method, request.path
        writes = method in WRITE_METHODS
        if ALERT_PAGE(path) and method == "POST":
            return key is None and not self._public_read
        if ALERT_PAGE(path) and credentials is None and "signature=" in request.query and not self._public_read:
            return True
        if key is None:
            needed = writes or not (self._public_read or is_public(path) or method == "OPTIONS")
            # Where no key is needed, other credentials can be meant for a proxy. A wrong key of ours is refused.
            if credentials is not None and (needed or credentials.startswith(KEY_START)):
                refuse("key-refused", ("WWW-Authenticate", _CHALLENGES["POST" if writes else "GET"]))
            if needed:
                refuse("key-needed", ("WWW-Authenticate", _CHALLENGES["POST" if writes else "GET"]))
        elif writes and key.scope != "write" and not (key.scope == "ack" and ACK_PATH(path)):
            refuse("key-cannot-write")
        return False

    def _count(self, client: str, unlimited: bool, method: str, key: Key | None, headers: Headers) -> None:
        """Count a request against the limit of its key, or else of its address. Raises Refusal beyond the limit."""
        if key is None:
            policy, limit = "address", 0 if unlimited else self._limits.address_per_minute
        elif method in WRITE_METHODS:
            client, policy, limit = f"{key.prefix} writes", "write", self._limits.write_per_minute
        else:
            client, policy, limit = key.prefix, "key", self._limits.key_per_minute
        if not limit:
            return
        window, passed = divmod(int(self._clock()), WINDOW)
        count, seconds_left = self._counter.count(client, window), WINDOW - passed
        headers.append(("RateLimit-Policy", f'"{policy}";q={limit};w={WINDOW}'))
        headers.append(("RateLimit", f'"{policy}";r={max(0, limit - count)};t={seconds_left}'))
        if count > limit:
            refuse("too-many-requests", ("Retry-After", str(seconds_left)))

    def _client(self, request: Request) -> tuple[str, bool]:
        """Return the name that a client is counted under, and whether it is this machine, which has no limit."""
        remote, forwarded = request.client, request.headers.get("x-forwarded-for")
        if forwarded is None:
            if (known := self._clients.get(remote)) is None:
                if len(self._clients) >= _MAX_REMEMBERED:
                    self._clients.clear()
                known = self._clients[remote] = self._name_client(remote, forwarded=False)
            return known
        if self._proxies:
            remote = self._forwarded_address(remote, forwarded)
        return self._name_client(remote, forwarded=True)

    def owner_of_connections(self, remote: str) -> str | None:
        """Return the name that connections from an address are counted under, or None if their number has no limit."""
        address = parse_address(remote)
        if address is not None and any(address in proxies for proxies in self._proxies):
            return None
        name, unlimited = self._name_client(remote, forwarded=False)
        return None if unlimited else name

    def _name_client(self, remote: str, *, forwarded: bool) -> tuple[str, bool]:
        address = parse_address(remote)
        if address is None:
            return remote, False
        local = address.is_loopback
        if local and forwarded and not self._warned:
            self._warned = True
            _LOG.warning("a proxy that trusted_proxies does not name: all its clients share one limit")
        return client_network(address), local and not forwarded and not self._limits.loopback

    def _forwarded_address(self, remote: str, forwarded: str) -> str:
        """Return the nearest address that is not a trusted proxy. A client can invent the addresses before it."""
        for hop in [*reversed(forwarded.split(",")), ""]:
            address = parse_address(remote)
            nearer = parse_address(hop.strip())
            if address is None or nearer is None or not any(address in proxies for proxies in self._proxies):
                break
            remote = str(nearer)
        return remote

    def _allow_origin(self, origin: str, request: Request, headers: Headers) -> None:
        """Let pages of a configured origin read the response. Raises Refusal, with 204, to answer a CORS preflight."""
        if "*" not in self._origins and origin not in self._origins:
            return
        headers.append(("Access-Control-Allow-Origin", "*" if "*" in self._origins else origin))
        headers.append(
            ("Access-Control-Expose-Headers", "ETag, Last-Modified, Link, RateLimit, RateLimit-Policy, Retry-After")
        )
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            allowed = [
                ("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE"),
                ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, If-None-Match, Prefer"),
                ("Access-Control-Max-Age", "600"),
            ]
            raise Refusal(HTTPStatus.NO_CONTENT, allowed)


def is_public(path: str) -> bool:
    """Return whether everybody can read a path on any server."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDER)


def client_request_id(request: Request) -> str:
    """Return the request id that a client proposes; an empty text if it proposes none that can go into logs."""
    proposed = request.headers.get("x-request-id")
    return proposed if proposed and _REQUEST_ID(proposed) else ""


def body_length(request: Request, limit: int) -> int | None:
    """Return the announced length of a body, or None if there is none [bytes]. Raises Refusal if it is too large."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        refuse("unreadable-request")
    if len(text) > len(str(limit)) or int(text) > limit:
        refuse("large-request")
    return int(text)


def refusal_response(refusal: Refusal) -> Response:
    """Return the response of a refusal."""
    headers, body = [("Cache-Control", "no-store"), *SECURITY_HEADERS.items(), *refusal.headers], refusal.body()
    if body:
        headers += [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(body)))]
    return Response(refusal.status, headers, body)


def finished_response(request: Request, response: Response) -> Response:
    """Make a response as it is sent, and return it: with the headers that all have, and no body for HEAD."""
    headers, admission = response.headers, request.admission
    if ("X-Content-Type-Options", "nosniff") not in headers:
        headers = [*headers, *SECURITY_HEADERS.items()]
    if admission.private:
        headers = private_headers(headers)
    response.headers = [*headers, *admission.headers, ("X-Request-Id", request.request_id)]
    if request.method == "HEAD":
        response.body = b""
    return response


def private_headers(headers: Headers) -> Headers:
    """Return the headers of a response to a key, which no shared cache may store."""
    private = [
        (name, value.replace("public", "private") if name.lower() == "cache-control" else value)
        for name, value in headers
    ]
    return [*private, ("Vary", "Authorization")]


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


def _refuse_method() -> NoReturn:
    raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, [("Allow", ", ".join((*READ_METHODS, "POST")))])
