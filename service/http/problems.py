"""What can be wrong with a request or with the service, told as RFC 9457 problem documents; one maker for all of them.

Every kind has a heading in `docs/api.md`. A problem never shows a trace, a path or a secret: those go to the log.
"""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from riskmodel.errors import VigieError
from service import logs

MEDIA_TYPE = "application/problem+json; charset=utf-8"


@dataclass(frozen=True)
class Kind:
    """One kind of problem. Title and detail are English and the keys of their translations."""

    name: str
    status: int
    title: str
    detail: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "no-data",
            503,
            "There are no data yet",
            "The archive holds no events, so there is nothing to compute from.",
        ),
        Kind(
            "no-snapshot",
            503,
            "No scores yet",
            "The first computation has not ended. Try again in a minute.",
        ),
        Kind(
            "no-real-snapshot",
            503,
            "No scores from real data yet",
            "Real data have come in and the simulated scores are retired; none are computed from real data yet.",
        ),
        Kind(
            "late-snapshot",
            503,
            "The scores are not being renewed",
            "No computation has ended well for longer than it should take.",
        ),
        Kind(
            "unknown-country",
            404,
            "Not a country of this region",
            "Scores are served for the countries of one region, by ISO alpha-3 code in capitals.",
        ),
        Kind("unknown-snapshot", 404, "No such snapshot", "No snapshot of the region in service has this number."),
        Kind(
            "retired-snapshot",
            404,
            "This snapshot is retired",
            "It was made from simulated data, and real data are in service; or the other way round.",
        ),
        Kind(
            "key-refused",
            401,
            "The key is not accepted",
            "The key is unknown, revoked or misspelt.",
        ),
        Kind(
            "key-cannot-write",
            403,
            "The key may only read",
            "What was asked takes a key made with the scope write.",
        ),
        Kind(
            "too-many-requests",
            429,
            "Too many requests",
            "The limit for this minute is used up; Retry-After says how many seconds are left of it.",
        ),
        Kind(
            "unreadable-request",
            400,
            "The request cannot be read",
            "Its address holds a null byte, or its body is shorter than it said.",
        ),
        Kind(
            "large-request",
            413,
            "The request is too large",
            "Its body is longer than the operator allows.",
        ),
        Kind(
            "long-address",
            414,
            "The address is too long",
            "The address with its query is longer than the operator allows.",
        ),
        Kind(
            "busy",
            503,
            "Too much is being written",
            "Other requests are still sending their bodies. Try again in a moment.",
        ),
        Kind(
            "incomparable-snapshots",
            409,
            "These snapshots cannot be compared",
            "They forecast different outcomes.",
        ),
        Kind(
            "no-draws",
            404,
            "There are no draws",
            "The country is not forecast, or the snapshot was made by a Vigie that kept no draws.",
        ),
        Kind(
            "nothing-known",
            404,
            "Nothing was known then",
            "No data on the deaths of this region that count today had been published by that moment.",
        ),
        Kind(
            "nothing-issued", 404, "Nothing was issued then", "No snapshot that still stands was issued by that moment."
        ),
        Kind(
            "unknown-task", 404, "No such task", "No task has this id, or it was done so long ago that it is deleted."
        ),
        Kind(
            "task-failed",
            503,
            "It could not be computed",
            "The computation that answers this has failed. It is tried anew when asked again after a while.",
        ),
        Kind(
            "queue-full",
            503,
            "Too much has been asked for",
            "As many computations wait as may. Try again in a moment.",
        ),
        Kind(
            "key-needed",
            401,
            "A key is needed",
            "Show an API key: Authorization: Bearer vigie_… (reading also takes it as the password of HTTP Basic).",
        ),
        Kind(
            "unknown-region",
            404,
            "No scores of this region",
            "One region is in service, and no snapshot of this other one was ever made here.",
        ),
        Kind(
            "bad-query",
            400,
            "The query is not understood",
            "A parameter is unknown, stands twice, or has a value that its rule does not allow.",
        ),
        Kind(
            "bad-cursor",
            400,
            "Not a cursor of this service",
            "Begin anew: read what you follow as it is now, and ask for changes without a cursor.",
        ),
        Kind(
            "too-many-waiters",
            503,
            "No place for another stream",
            "The places for those who wait for news are taken. Come back later, or ask /v1/changes from time to time.",
        ),
        Kind("bad-body", 400, "The body is not understood", "A field is unknown, missing, or breaks its rule."),
        Kind(
            "not-acceptable",
            406,
            "Not offered in a form that you accept",
            "The Accept header names none of the media types in which this is offered.",
        ),
        Kind(
            "unreadable-data",
            503,
            "The data cannot be read",
            "The archive is damaged or not understood; the operator’s log says where.",
        ),
        Kind(
            "unreadable-store",
            503,
            "The store cannot be read",
            "The database does not answer; the operator’s log says why.",
        ),
    )
}


class Problem(Exception):
    """Ends a request with a problem document; `members` are added to it."""

    def __init__(self, name: str, **members: Any) -> None:
        super().__init__(name)
        self.kind = KINDS[name]
        self.members = members


def text(status: int, title: str, detail: str | None, *, name: str | None = None, **members: Any) -> bytes:
    """The one maker of problem documents: the bytes of one, in UTF-8. It needs no application around it."""
    body = {"type": f"urn:vigie:problem:{name}" if name else "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if request_id := logs.request_id.get():
        body["request_id"] = request_id
    return json.dumps({**body, **members}, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def text_of(kind: Kind, **members: Any) -> bytes:
    """The document of a problem of this kind."""
    return text(kind.status, kind.title, kind.detail, name=kind.name, **members)


def answer(problem: Problem) -> Response:
    """A problem as its document."""
    response = Response(text_of(problem.kind, **problem.members), problem.kind.status, content_type=MEDIA_TYPE)
    if "retry_after_seconds" in problem.members:
        response.headers["Retry-After"] = str(problem.members["retry_after_seconds"])
    return response


def register(app: Flask) -> None:
    """Make every failure of the app a problem document."""

    def of_http(error: HTTPException) -> Response:
        status = error.code or 500
        said = text(status, error.name, error.description if status != 500 else None)
        response = Response(said, status, content_type=MEDIA_TYPE)
        for name, value in error.get_headers():
            if name.lower() != "content-type":
                response.headers[name] = value
        return response

    def of_store(error: sa.exc.SQLAlchemyError) -> Response:
        app.logger.error("the store cannot be read: %s", error)
        return answer(Problem("unreadable-store"))

    def of_data(error: VigieError) -> Response:
        app.logger.error("the data cannot be read: %s", error)
        return answer(Problem("unreadable-data"))

    app.register_error_handler(Problem, answer)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(sa.exc.DBAPIError, of_store)
    app.register_error_handler(sa.exc.TimeoutError, of_store)
    app.register_error_handler(VigieError, of_data)
