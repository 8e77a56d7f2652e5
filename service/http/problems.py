"""Problems of a request or of the service, as RFC 9457 problem documents.

Each kind has a section in `docs/api.md`. A problem document never contains a traceback, a path or a secret: those go to
the log.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from riskmodel.errors import VigieError
from service import logs
from service.drawing.labels import MISSING_OUTCOME_ACTIONS, MISSING_OUTCOME_LABELS
from service.drawing.language import LOCALES, language, sentence_case
from service.snapshots.outcome_parts import OutcomeMissing

MEDIA_TYPE = "application/problem+json; charset=utf-8"


@dataclass(frozen=True)
class Kind:
    """One kind of problem. The English title and detail are also the keys of their translations."""

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
            "No data yet",
            "The archive has no events, so no scores can be computed.",
        ),
        Kind(
            "no-snapshot",
            503,
            "No scores yet",
            "The first computation has not finished. Try again in a minute.",
        ),
        Kind(
            "no-real-snapshot",
            503,
            "No scores from real data yet",
            "Real data have been ingested, but no scores have been computed from them yet.",
        ),
        Kind(
            "late-snapshot",
            503,
            "The scores are out of date",
            "The last successful computation is older than the operator allows.",
        ),
        Kind(
            "unknown-country",
            404,
            "Country not in this region",
            "Scores are served for the countries of one region. Use an ISO alpha-3 code.",
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
            "Key not accepted",
            "The key is unknown, revoked or mistyped.",
        ),
        Kind(
            "key-cannot-write",
            403,
            "The key is not allowed to do this",
            "This request needs a key with the scope write. For acknowledging and silencing, ack is enough.",
        ),
        Kind(
            "too-many-requests",
            429,
            "Too many requests",
            "The limit for this minute is reached. Retry-After gives the seconds until the next one.",
        ),
        Kind(
            "unreadable-request",
            400,
            "The request cannot be read",
            "The address has a null byte, or the body is shorter than Content-Length.",
        ),
        Kind(
            "large-request",
            413,
            "The request is too large",
            "The body is longer than the operator allows.",
        ),
        Kind(
            "long-address",
            414,
            "The address is too long",
            "The address with its query is longer than the operator allows.",
        ),
        Kind(
            "unknown-host",
            421,
            "Unknown host name",
            "The service does not answer under this name. The operator can add it to allowed_hosts.",
        ),
        Kind(
            "busy",
            503,
            "Too many requests at the same time",
            "The server is still answering other requests. Try again in a moment.",
        ),
        Kind(
            "draining",
            503,
            "The server is about to stop",
            "It still answers requests. Send new clients to another server.",
        ),
        Kind(
            "incomparable-snapshots",
            409,
            "These snapshots cannot be compared",
            "The first does not forecast the headline of the second. Name an outcome that both have.",
        ),
        Kind(
            "no-outcome",
            404,
            "Outcome not available",
            "The snapshot has no forecast of these deaths. Leave out the outcome to get the forecast that it has.",
        ),
        Kind(
            "no-draws",
            404,
            "No draws",
            "The country has no forecast, or the snapshot comes from a version of Vigie that did not store draws.",
        ),
        Kind(
            "nothing-known",
            404,
            "No data at that time",
            "No data on deaths in this region had been published by that time, among the data in use today.",
        ),
        Kind(
            "nothing-issued",
            404,
            "No snapshot at that time",
            "No snapshot that is still valid had been issued by that time.",
        ),
        Kind(
            "unknown-task", 404, "No such task", "No task has this id, or it finished so long ago that it was deleted."
        ),
        Kind("unknown-alert", 404, "No such alert", "No alert of the region in service has this id."),
        Kind("alert-over", 409, "The alert has ended", "Only an alert that is pending or firing can be acknowledged."),
        Kind(
            "link-refused",
            403,
            "The link does not open this page",
            "It is more than 90 days old, or it was changed. Use the link in a newer message, or a key.",
        ),
        Kind("unknown-silence", 404, "No such silence", "No silence of the region in service has this id."),
        Kind("silence-over", 409, "The silence has ended", "It has ended before, and cannot be ended again."),
        Kind(
            "task-failed",
            503,
            "The computation failed",
            "The result could not be computed. Request it again later to try once more.",
        ),
        Kind(
            "tasks-need-a-key",
            403,
            "Not computed yet",
            "Nothing was issued at that time, and on this server only clients with a key can have it computed.",
        ),
        Kind(
            "too-many-tasks",
            429,
            "Too many computations",
            "The limit for this hour is reached. Retry-After gives the seconds until the next one.",
        ),
        Kind(
            "queue-full",
            503,
            "The task queue is full",
            "Too many computations are waiting. Try again in a moment.",
        ),
        Kind(
            "key-needed",
            401,
            "An API key is needed",
            "Send it as Authorization: Bearer vigie_… To read, you can also send it as the password of HTTP Basic.",
        ),
        Kind(
            "unknown-region",
            404,
            "No scores for this region",
            "Another region is in service, and this one has no snapshot here.",
        ),
        Kind(
            "bad-query",
            400,
            "Invalid query",
            "A parameter is unknown, appears twice, or has a value that is not allowed.",
        ),
        Kind(
            "bad-cursor",
            400,
            "Invalid cursor",
            "The cursor is not from this service. Read the present state, then request changes without a cursor.",
        ),
        Kind(
            "too-many-waiters",
            503,
            "Too many waiting clients",
            "No more clients can wait for changes now. Try again later, or poll /v1/changes.",
        ),
        Kind("bad-body", 400, "Invalid body", "A field is unknown or missing, or has a value that is not allowed."),
        Kind(
            "not-acceptable",
            406,
            "No acceptable media type",
            "The Accept header names none of the media types of this resource.",
        ),
        Kind(
            "unreadable-data",
            503,
            "The data cannot be read",
            "The archive is damaged. The operator’s log says where.",
        ),
        Kind(
            "unreadable-store",
            503,
            "The database cannot be read",
            "The database does not answer. The operator’s log says why.",
        ),
    )
}


class Problem(Exception):
    """Ends a request with a problem document of this kind. `members` are added to the document."""

    def __init__(self, name: str, **members: Any) -> None:
        super().__init__(name)
        self.kind = KINDS[name]
        self.members = members


def document(status: int, title: str, detail: str | None, *, name: str | None = None, **members: Any) -> bytes:
    """Return a problem document as UTF-8 JSON. Works outside an application too."""
    body = {"type": f"urn:vigie:problem:{name}" if name else "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if request_id := logs.request_id.get():
        body["request_id"] = request_id
    return json.dumps({**body, **members}, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def document_of(kind: Kind, **members: Any) -> bytes:
    """Return the document of a problem of this kind."""
    return document(kind.status, kind.title, kind.detail, name=kind.name, **members)


def problem_response(problem: Problem) -> Response:
    """Return the response to a request that a problem has ended."""
    response = Response(document_of(problem.kind, **problem.members), problem.kind.status, content_type=MEDIA_TYPE)
    if "retry_after_seconds" in problem.members:
        response.headers["Retry-After"] = str(problem.members["retry_after_seconds"])
    return response


def no_outcome(outcome: str, reason: str, available: Sequence[str]) -> Problem:
    """Return the problem of an outcome that is not there: why (a key of `MISSING_OUTCOME_LABELS`), and what helps."""
    explanation = {}
    for code in LOCALES:
        translate = language(code).translations.gettext
        why = translate(MISSING_OUTCOME_LABELS[reason])
        explanation[code] = f"{sentence_case(why)}. {translate(MISSING_OUTCOME_ACTIONS[reason])}"
    facts = {"outcome": outcome, "reason": reason, "outcomes": list(available)}
    return Problem("no-outcome", **facts, explanation=explanation)


def register(app: Flask) -> None:
    """Make every failure of the application a problem document."""

    def handle_http_error(error: HTTPException) -> Response:
        status = error.code or 500
        body = document(status, error.name, error.description if status != 500 else None)
        response = Response(body, status, content_type=MEDIA_TYPE)
        for name, value in error.get_headers():
            if name.lower() != "content-type":
                response.headers[name] = value
        return response

    def handle_database_error(error: sa.exc.SQLAlchemyError) -> Response:
        app.logger.error("the database cannot be read: %s", error)
        return problem_response(Problem("unreadable-store"))

    def handle_missing_outcome(missing: OutcomeMissing) -> Response:
        return problem_response(no_outcome(missing.outcome, missing.reason, missing.available))

    def handle_data_error(error: VigieError) -> Response:
        app.logger.error("the data cannot be read: %s", error)
        return problem_response(Problem("unreadable-data"))

    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, handle_http_error)
    app.register_error_handler(sa.exc.DBAPIError, handle_database_error)
    app.register_error_handler(sa.exc.TimeoutError, handle_database_error)
    app.register_error_handler(OutcomeMissing, handle_missing_outcome)
    app.register_error_handler(VigieError, handle_data_error)
