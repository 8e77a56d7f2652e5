"""Errors as pages for people: what a problem document says, in the reader's language, with the way out.

A client gets a page if its `Accept` prefers HTML, as that of a browser does. Programs get the problem document.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, quote

from markupsafe import escape
from werkzeug.datastructures import LanguageAccept, MIMEAccept
from werkzeug.http import parse_accept_header

from service.drawing.language import DEFAULT_LANGUAGE, LOCALES
from service.http.message import Request, Response
from service.http.problems import MEDIA_TYPE
from service.web.templating import environment

HTML = "text/html; charset=utf-8"
JSON_TYPES = ("application/json", "application/problem+json")

SHOWN = ("type", "status", "title", "detail", "reason", "parameter", "rule", "error", "since")
"""Members of a problem document that a page shows, besides the id of the request."""

NO_PAGES = ("/v1/", "/static/", "/feeds/", "/openapi.json", "/metrics", "/readyz")
"""Addresses that have no other language: the links of their error pages lead home."""

NO_CHOICES = dict.fromkeys(("outcome_path", "as_of_query", "outcome_query", "data_query"), "")
"""What links of a page add for its outcome and its past moment: an error page is about no snapshot."""

_PATH, _REQUEST_ID = "/path-of-the-request", "id-of-the-request"
"""What stands for them in a page that is rendered once for many requests."""


@lru_cache(maxsize=256)
def prefers_page(accept: str) -> bool:
    """Return whether an `Accept` header names HTML, and names JSON with a lower preference or not at all."""
    named = {media.partition(";")[0].strip(): quality for media, quality in parse_accept_header(accept, MIMEAccept)}
    return named.get("text/html", 0) > max(named.get(each, 0) for each in JSON_TYPES)


def present(request: Request, response: Response) -> Response:
    """Return a refusal as a page if a browser asks. Any other response is returned as it is."""
    if response.status < 400 or not response.body or not prefers_page(request.preference("accept")):
        return response
    if response.header("Content-Type") != MEDIA_TYPE:
        return response
    page = render(response.body, request.prefix, request.path, request.query, request.preference("accept-language"))
    replaced = ("content-type", "content-length")
    headers = [(name, value) for name, value in response.headers if name.lower() not in replaced]
    body = page.encode()
    headers += [("Content-Type", HTML), ("Content-Length", str(len(body))), ("Vary", "Accept, Accept-Language")]
    return Response(response.status, headers, body)


def render(problem_document: bytes, root: str, path: str, query: str, accept_language: str) -> str:
    """Return the page of a problem. `root` precedes paths in links; `path` is that of the request."""
    document: Mapping[str, Any] = json.loads(problem_document)
    _, first, rest = path.split("/", 2) if path.count("/") > 1 else ("", "", "")
    named = first if first in LOCALES else (parse_qs(query).get("lang") or [""])[0]
    language = named if named in LOCALES else _best_language(accept_language)
    page_path = f"/{rest}" if first in LOCALES else path
    if page_path.startswith(NO_PAGES):
        page_path = "/"
    page = rendered_page(language, root, tuple((name, document.get(name)) for name in SHOWN))
    request_id = str(escape(document.get("request_id", "")))
    return page.replace(_REQUEST_ID, request_id).replace(_PATH, quote(page_path))


@lru_cache(maxsize=128)
def rendered_page(language: str, root: str, members: tuple[tuple[str, Any], ...]) -> str:
    template = environment(language).get_template("error.html")
    return template.render(problem=dict(members), root=root, path=_PATH, site="", **NO_CHOICES, request_id=_REQUEST_ID)


@lru_cache(maxsize=256)
def _best_language(accept_language: str) -> str:
    accepted = parse_accept_header(accept_language, LanguageAccept)
    return accepted.best_match(list(LOCALES), DEFAULT_LANGUAGE) or DEFAULT_LANGUAGE
