"""Conditional requests: the ETag, Last-Modified, Cache-Control and coding of a response, and when it is a 304.

The rules are the same for a response from Flask and for one from `service.http.response_cache`.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from flask import Response
from werkzeug.http import http_date, is_resource_modified, parse_accept_header, remove_entity_headers

from service.http.state_version import StateVersion

_CODING = re.compile(r'-(?:gzip|br|zstd|deflate)(?=")')

OBSERVED = "vigie.observed"
"""Key in the WSGI environment: an `Observed` that `finish` fills in for the front."""

PAGE_MAX_AGE = 30
"""`max-age` of a page, and of a response that depends on no run [s]."""

DATA_MAX_AGE = 60
"""The longest `max-age` of data [s]: new data can bring a snapshot before the next run is due."""

OVERDUE_MAX_AGE = 5
"""`max-age` of a response that the next run should have replaced by now [s]."""

DATE_CERTAIN_AFTER = timedelta(seconds=1)
"""HTTP dates are in whole seconds: until the second is over, another change could get the same date."""

COMPRESSED_TYPES = ("text/html", "text/css", "text/csv", "application/json")
"""Media types that are sent gzipped to clients that accept it. The others are small, or compressed already."""

NO_STORE = "no-store"
NO_CACHE = "no-cache"
"""For a response that depends on more than the state version: it has an ETag, and clients revalidate it each time."""


@dataclass
class Observed:
    """What the front learns of a response besides itself.

    `version` is the state that it was made from. The front sets `may_cache`. If the response can be cached, `finish`
    sets `cacheable`, and leaves its conditional headers and its coding to the cache.
    """

    may_cache: bool
    version: StateVersion | None = None
    cacheable: bool = False


@dataclass(frozen=True)
class Freshness:
    """How long a response of one state version is fresh, and when it last changed."""

    version: StateVersion | None
    page: bool

    def cache_control(self, now: datetime) -> str:
        """Return the header: fresh for a minute, at most until the next run; pages for a shorter time."""
        if self.page or self.version is None:
            return f"public, max-age={PAGE_MAX_AGE}"
        until_next_run = int((self.version.fresh_until - now).total_seconds())
        return f"public, max-age={max(OVERDUE_MAX_AGE, min(DATA_MAX_AGE, until_next_run))}"

    def last_modified(self, now: datetime) -> str | None:
        """Return the header, or None while another change in the same second is possible."""
        changed = self.version.modified_at if self.version else None
        if changed is None or now - changed.replace(microsecond=0) < DATE_CERTAIN_AFTER:
            return None
        return http_date(changed)


def finish(
    response: Response, environ: dict[str, Any], version: StateVersion | None, now: datetime, *, state_only: bool
) -> Response:
    """Add the conditional headers and the coding to a Flask response, or turn it into a 304.

    A response that sets its own `Cache-Control` gets an ETag only with `no-cache`. The response cache stores it only if
    `state_only` says that it depends on nothing but `version`.
    """
    own = response.headers.get("Cache-Control")
    observed: Observed = environ.get(OBSERVED) or Observed(may_cache=False)
    observed.version = version
    cacheable = version is not None and observed.may_cache and (own is None or state_only)
    if response.status_code != HTTPStatus.OK:
        response.headers.setdefault("Cache-Control", NO_STORE)
    elif own in (None, NO_CACHE) and not response.direct_passthrough:
        response.set_etag(digest(response.get_data()), weak=True)
        if response.mimetype in COMPRESSED_TYPES:
            response.vary.add("Accept-Encoding")
        if cacheable:
            observed.cacheable = True
            return response
        if own is None:
            freshness = Freshness(version, response.mimetype == "text/html")
            response.headers["Cache-Control"] = freshness.cache_control(now)
            if modified := freshness.last_modified(now):
                response.headers["Last-Modified"] = modified
        response.make_conditional(environ | {"HTTP_IF_NONE_MATCH": _without_coding(environ.get("HTTP_IF_NONE_MATCH"))})
        del response.headers["Date"]  # werkzeug adds one; the web server adds its own
    elif cacheable:
        observed.cacheable = True
        if response.mimetype in COMPRESSED_TYPES:
            response.vary.add("Accept-Encoding")
        return response
    if response.status_code == HTTPStatus.OK and response.mimetype in COMPRESSED_TYPES:
        _compress_response(response, environ)
    return response


def _compress_response(response: Response, environ: dict[str, Any]) -> None:
    """Gzip a response if the client accepts it. Its ETag becomes weak, because the bytes differ."""
    response.vary.add("Accept-Encoding")
    if accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
        response.direct_passthrough = False
        response.set_data(compress(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
        tag, _ = response.get_etag()
        if tag:
            response.set_etag(tag, weak=True)


def digest(body: bytes) -> str:
    """Return the SHA-256 of a body before compression, in hexadecimal: the content of its ETag."""
    return hashlib.sha256(body).hexdigest()


def compress(body: bytes) -> bytes:
    """Gzip a body. The same body always gives the same bytes."""
    return gzip.compress(body, compresslevel=6, mtime=0)


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an `Accept-Encoding` header accepts gzip."""
    return parse_accept_header(accept_encoding)["gzip"] > 0


def is_not_modified(client_tag: str | None, client_date: str | None, tag: str, modified: str | None) -> bool:
    """Return whether the client already has the body with this ETag, so that a 304 is enough.

    `client_tag` and `client_date` are its `If-None-Match` and `If-Modified-Since`.
    """
    client_tag = _without_coding(client_tag)
    if client_tag == tag:  # nearly all conditional requests; werkzeug's parser is slow
        return True
    if client_tag is None and (modified is None or client_date is None):
        return False
    environ = {"REQUEST_METHOD": "GET", "HTTP_IF_NONE_MATCH": client_tag, "HTTP_IF_MODIFIED_SINCE": client_date}
    environ = {name: value for name, value in environ.items() if value is not None}
    return not is_resource_modified(environ, tag, last_modified=modified)


def _without_coding(client_tag: str | None) -> str | None:
    """Return the ETags of a client without the coding that proxies which compress add to them: `W/"…-gzip"`."""
    return client_tag if client_tag is None or "-" not in client_tag else _CODING.sub("", client_tag)


def not_modified_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a 200 that its 304 has too."""
    remaining = [*headers]
    remove_entity_headers(remaining)
    return remaining
