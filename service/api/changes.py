"""Changes: `/v1/changes` after a cursor, which can wait for the next change, and `/v1/stream` as they happen.

These resources return the changes that there are. The front (`service.http.front`) waits and streams.
"""

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from pydantic import Field

from riskmodel.errors import BadInput
from service.api.endpoints import OutcomeQuery, endpoint
from service.api.paging import DEFAULT_LIMIT, Limit
from service.api.shared_schemas import LocalizedText, Meta, Schema, described
from service.http.front import HAS_NEWS, NEXT_CURSOR
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import change_feed
from service.snapshots.change_feed import Batch, Cursor

resource = Blueprint("changes", __name__)

START_CURSOR = "start"
"""The cursor before the oldest stored change."""

RECONNECT_AFTER = 5
"""When a client should reconnect after a stream ended or found no free place [s]."""

SINCE_FIELD = Field(
    default=None, description="a cursor; start: from the oldest stored change; without it: only changes from now on"
)


class StreamQuery(OutcomeQuery):
    """Where to start, and the outcome whose changes of bands are wanted."""

    since: str | None = SINCE_FIELD


class ChangesQuery(StreamQuery):
    """Where to start, and how many changes to return."""

    limit: Limit = DEFAULT_LIMIT


def only_for(kinds: str, description: str) -> Any:
    """Return a key that is present only in changes of some kinds, with its description."""
    return Field(default=None, description=f"{kinds}: {description}")


class Change(Schema):
    """One change."""

    cursor: str = described("the cursor after this change")
    at: str
    kind: str = described("snapshot, band, alert, withdrawal, scorecard, hindcast or realm")
    simulated: bool | None
    outcome: str | None = described("the outcome that changed; null: a change of all outcomes")
    location_code: str | None = described("null: the region as a whole")
    snapshot_id: int | None
    digest: str | None = only_for("snapshot", "SHA-256 of its document")
    issued_at: str | None = only_for("snapshot", "when it was issued")
    origin: str | None = only_for("snapshot", "the last month of the data used by the headline's forecast")
    data_as_of: str | None = only_for("snapshot", "the last day of the data used by the headline's forecast")
    causes: list[str] | None = only_for("snapshot, alert", "what had changed")
    location_name: str | None = only_for("band", "English name of the country")
    from_band: str | None = only_for("band", "the band before")
    to_band: str | None = only_for("band", "the band after")
    from_score: float | None = only_for("band", "the score before")
    to_score: float | None = only_for("band", "the score after")
    of_headline: bool | None = only_for("band", "whether the outcome is the headline of the snapshot")
    reasons: dict[str, str] | None = only_for("band, withdrawal", "why a key is null")
    rule: str | None = only_for("alert", "the rule")
    severity: str | None = only_for("alert", "info, warning or severe")
    title: LocalizedText | None = only_for("alert", "title of the rule")
    headline: LocalizedText | None = only_for("alert", "what happened")
    metric: str | None = only_for("alert", "the metric of the rule")
    value: float | None = only_for("alert", "value of the metric")
    reason: str | None = only_for("alert", "why the value is null")
    from_state: str | None = only_for("alert", "the state before")
    to_state: str | None = only_for("alert", "the state after")
    withdrawn_reason: str | None = only_for("withdrawal", "why the snapshot was withdrawn")
    in_service: int | None = only_for("withdrawal", "the snapshot that is in service now")
    cases: int | None = only_for("scorecard", "number of scored forecasts")
    last_month: str | None = only_for("scorecard", "the newest scored month")
    basis: str | None = only_for("scorecard", "issued or hindcast: the forecasts that it is about")
    origins: int | None = only_for("hindcast", "number of origins with a hindcast")
    first_origin: str | None = only_for("hindcast", "the oldest of them, YYYY-MM")
    last_origin: str | None = only_for("hindcast", "the newest of them, YYYY-MM")
    realm: str | None = only_for("realm", "real, simulated or none")


class ChangesResponse(Meta):
    """Changes, oldest first."""

    data: list[Change]
    next: str = described("the cursor after these changes")
    more: bool = described("true: there are more changes after these")


@endpoint(
    resource,
    "/v1/changes",
    "List the changes after a cursor",
    ChangesResponse,
    query=ChangesQuery,
    problems=("bad-cursor", "no-outcome"),
)
def changes(query: ChangesQuery) -> Response:
    """Return the changes after a cursor. Without a cursor, return no changes and the newest cursor."""
    with request_session() as session:
        view = session.find_served(query.outcome)
        batch = _changes_since(session, _cursor(session, query.since), query.limit, query.outcome)
        payload = {"data": batch.data, "next": batch.next.text, "more": batch.more}
        return _for_front(jsonify(payload | session.meta(view)), batch)


@endpoint(
    resource,
    "/v1/stream",
    "Stream the changes as server-sent events",
    "text/event-stream",
    query=StreamQuery,
    problems=("bad-cursor", "no-outcome", "too-many-waiters"),
)
def stream(query: StreamQuery) -> Response:
    """Return the changes after a cursor, or only the newest cursor, as server-sent events.

    The front continues the stream. Under a plain WSGI server it ends here, and the client reconnects.
    """
    since = request.headers.get("Last-Event-ID") or query.since
    with request_session() as session:
        session.find_served(query.outcome)  # an outcome that is not there is a problem, and not a stream without news
        batch = _changes_since(session, _cursor(session, since), DEFAULT_LIMIT, query.outcome)
    events = [_event(change["kind"], change["cursor"], change) for change in batch.data]
    if since is None:  # a client whose connection breaks before the first change can resume too
        events.insert(0, _event("cursor", batch.next.text, {"cursor": batch.next.text}))
    response = Response(events, content_type="text/event-stream; charset=utf-8")
    response.vary.add("Last-Event-ID")
    return _for_front(response, batch)


def _for_front(response: Response, batch: Batch) -> Response:
    """Tell the front where to continue, and that the response depends on the state version alone."""
    response.headers[NEXT_CURSOR] = batch.next.text
    if batch.data:
        response.headers[HAS_NEWS] = "1"
    g.state_only = True
    return response


def _event(kind: str, cursor: str, data: Mapping[str, Any]) -> str:
    """Return a server-sent event. Each one has data: some clients report an event without data as an empty message."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"id: {cursor}\nevent: {kind}\nretry: {RECONNECT_AFTER * 1000}\ndata: {text}\n\n"


@resource.after_request
def never_cache(response: Response) -> Response:
    """Forbid caches of clients and proxies. The cursor already keeps a client from getting a change twice."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _cursor(session: ReadSession, text: str | None) -> Cursor:
    """Return the cursor that a client sent; the newest one if it sent none."""
    region = session.settings.region
    if text is None:
        return change_feed.now(session.connection, region, session.simulated)
    if text == START_CURSOR:
        return change_feed.start(session.connection, region, session.simulated)
    try:
        return change_feed.cursor(text, region)
    except BadInput as invalid:
        raise Problem("bad-cursor", reason=str(invalid)) from None


def _changes_since(session: ReadSession, cursor: Cursor, limit: int, outcome: str | None) -> Batch:
    try:
        return change_feed.since(session.connection, cursor, session.simulated, limit, session.now, outcome)
    except BadInput as invalid:
        raise Problem("bad-cursor", reason=str(invalid)) from None
