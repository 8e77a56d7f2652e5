"""The polling contract of one answer: its tag, its date, how long it is fresh, its coding, and when 304 says enough.

One place for the rule, whether an answer comes from Flask or from bytes kept by `service.http.response_cache`.
"""

import gzip
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from flask import Response
from werkzeug.http import http_date, is_resource_modified, parse_accept_header, remove_entity_headers

from service.http.state_version import Marks

KEEP = "vigie.keep"
"""Where in a request's environment a keeper of bytes, if there is one, left a list for the marks of the answer."""

PAGE_FOR = 30
"""How long a page, or what depends on no run, may be shown without asking again [s]."""

SHORTLY = 5
"""The same for what should have been computed anew by now [s]."""

CERTAIN_AFTER = timedelta(seconds=1)
"""A date in whole seconds tells two states apart once its second is over."""

THIN = ("text/html", "text/css", "text/csv", "application/json")
"""What is sent compressed to those who take it so: the rest is small, or compressed as it is."""

NO_STORE = "no-store"
NO_CACHE = "no-cache"
"""What an answer says of itself that has a tag, and depends on more than marks know: ask each time."""


@dataclass(frozen=True)
class Dated:
    """How long an answer of some marks is fresh, and since when it says what it says."""

    marks: Marks | None
    page: bool

    def cache_control(self, now: datetime) -> str:
        """The header at a moment: until the next run for data, a short while for pages."""
        if self.page or self.marks is None:
            return f"public, max-age={PAGE_FOR}"
        return f"public, max-age={max(SHORTLY, int((self.marks.fresh_until - now).total_seconds()))}"

    def last_modified(self, now: datetime) -> str | None:
        """The header at a moment, or None while another change in the same second is possible."""
        changed = self.marks.modified_at if self.marks else None
        if changed is None or now - changed.replace(microsecond=0) < CERTAIN_AFTER:
            return None
        return http_date(changed)


def finish(response: Response, environ: dict[str, Any], marks: Marks | None, now: datetime) -> Response:
    """Give a Flask answer the headers and the coding of the contract, or 304 to a reader who holds the same body.

    An answer that brings its own `Cache-Control` depends on more than `marks` know: it is never kept, and has a tag
    only where it says `no-cache`.
    """
    own = response.headers.get("Cache-Control")
    if response.status_code != HTTPStatus.OK:
        response.headers.setdefault("Cache-Control", NO_STORE)
    elif own in (None, NO_CACHE) and not response.direct_passthrough:
        response.set_etag(tag_of(response.get_data()), weak=True)
        if response.mimetype in THIN:
            response.vary.add("Accept-Encoding")
        if own is None:
            if marks is not None and KEEP in environ:
                environ[KEEP].append(marks)
                return response
            dated = Dated(marks, response.mimetype == "text/html")
            response.headers["Cache-Control"] = dated.cache_control(now)
            if modified := dated.last_modified(now):
                response.headers["Last-Modified"] = modified
        response.make_conditional(environ)
        del response.headers["Date"]  # servers say it themselves
    if response.status_code == HTTPStatus.OK and response.mimetype in THIN:
        _code(response, environ)
    return response


def _code(response: Response, environ: dict[str, Any]) -> None:
    """Compress an answer for a thin connection; its tag is weak from then on, for the bytes are others."""
    response.vary.add("Accept-Encoding")
    if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
        response.direct_passthrough = False
        response.set_data(thin(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
        tag, _ = response.get_etag()
        if tag:
            response.set_etag(tag, weak=True)


def tag_of(body: bytes) -> str:
    """The digest of a body before any coding: what its tag says."""
    return hashlib.sha256(body).hexdigest()


def thin(body: bytes) -> bytes:
    """A body for a thin connection; the same body always has the same bytes."""
    return gzip.compress(body, compresslevel=6, mtime=0)


@lru_cache(maxsize=256)
def takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` takes gzip."""
    return parse_accept_header(accepted)["gzip"] > 0


def unchanged(environ: dict[str, Any], tag: str, modified: str | None) -> bool:
    """Whether the reader holds the body with this tag, and may be told so."""
    held = environ.get("HTTP_IF_NONE_MATCH")
    if held == tag:
        return True
    if held is None and (modified is None or "HTTP_IF_MODIFIED_SINCE" not in environ):
        return False
    return not is_resource_modified(environ, tag, last_modified=modified)


def without_body(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a 200 that its 304 has too."""
    kept = [*headers]
    remove_entity_headers(kept)
    return kept
