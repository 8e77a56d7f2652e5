"""Changes: `/v1/changes` after a cursor, which can wait for the next change, and `/v1/stream` as they happen.

A client that waits holds a thread of the web server. So there are fewer slots for waiting clients than threads, and
every wait ends.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from riskmodel.errors import BadInput, VigieError
from service.api.endpoints import Query, endpoint
from service.api.paging import DEFAULT_LIMIT, Limit
from service.api.shared_schemas import LocalizedText, Meta, Schema, described
from service.http.problems import Problem
from service.http.request_context import ReadSession, current_context, open_session, request_session, waiting_slots
from service.snapshots import change_feed
from service.snapshots.change_feed import Batch, Cursor
from service.store.context import Context

resource = Blueprint("changes", __name__)

START_CURSOR = "start"
"""The cursor before the oldest stored change."""

POLL_EVERY = 0.2
"""How often the store is read for a waiting client [s]."""

HEARTBEAT_INTERVAL = 15.0
"""How often a stream without changes sends a comment, so that proxies keep the connection open [s]."""

RECONNECT_AFTER = 5
"""When a client should reconnect after a stream ended or found no free slot [s]."""

SINCE_FIELD = Field(
    default=None, description="a cursor; start: from the oldest stored change; without it: only changes from now on"
)


class StreamQuery(Query):
    """Where to start."""

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
    kind: str = described("snapshot, band, alert, withdrawal, scorecard or realm")
    simulated: bool | None
    location_code: str | None = described("null: the region as a whole")
    snapshot_id: int | None
    digest: str | None = only_for("snapshot", "SHA-256 of its document")
    issued_at: str | None = only_for("snapshot", "when it was issued")
    origin: str | None = only_for("snapshot", "the last month of the data used")
    data_as_of: str | None = only_for("snapshot", "the last day of the data used")
    causes: list[str] | None = only_for("snapshot, alert", "what had changed")
    location_name: str | None = only_for("band", "English name of the country")
    from_band: str | None = only_for("band", "the band before")
    to_band: str | None = only_for("band", "the band after")
    from_score: float | None = only_for("band", "the score before")
    to_score: float | None = only_for("band", "the score after")
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
    problems=("bad-cursor",),
)
def changes(query: ChangesQuery) -> Response:
    """Return the changes after a cursor. Without a cursor, return no changes and the newest cursor."""
    context, preferred_wait, waited = current_context(), _preferred_wait(), 0
    with request_session() as session:
        cursor = _cursor(session, query.since)
        batch = _changes_since(session, cursor, query.limit)
        payload = _payload(session, batch)
    if preferred_wait and not batch.data and waiting_slots().acquire(blocking=False):
        try:
            waited = min(preferred_wait, context.settings.max_wait_seconds)
            _wait_for_change(context, cursor, time.monotonic() + waited)
        finally:
            waiting_slots().release()
        with request_session() as session:
            payload = _payload(session, _changes_since(session, cursor, query.limit))
    response = jsonify(payload)
    if waited:
        response.headers["Preference-Applied"] = f"wait={waited}"
    return response


@endpoint(
    resource,
    "/v1/stream",
    "Stream the changes as server-sent events",
    "text/event-stream",
    query=StreamQuery,
    problems=("bad-cursor", "too-many-waiters"),
)
def stream(query: StreamQuery) -> Response:
    """Stream the changes after a cursor, or from now on."""
    context = current_context()
    with request_session() as session:
        cursor = _cursor(session, request.headers.get("Last-Event-ID") or query.since)
        _changes_since(session, cursor, 1)  # raises a problem for a bad cursor while the status can still be 400
    if not waiting_slots().acquire(blocking=False):
        raise Problem("too-many-waiters", retry_after_seconds=RECONNECT_AFTER)
    response = Response(_events(context, cursor), content_type="text/event-stream; charset=utf-8")
    response.call_on_close(waiting_slots().release)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would buffer the events
    return response


@resource.after_request
def never_cache(response: Response) -> Response:
    """Forbid caches. The cursor already keeps a client from getting a change twice."""
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Prefer" if request.path == "/v1/changes" else "Last-Event-ID")
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


def _changes_since(session: ReadSession, cursor: Cursor, limit: int) -> Batch:
    try:
        return change_feed.since(session.connection, cursor, session.simulated, limit, session.now)
    except BadInput as invalid:
        raise Problem("bad-cursor", reason=str(invalid)) from None


def _payload(session: ReadSession, batch: Batch) -> dict[str, Any]:
    return {"data": batch.data, "next": batch.next.text, "more": batch.more, **session.meta(session.find_served())}


def _preferred_wait() -> int:
    """Return how long the client is ready to wait [s]. A preference that cannot be parsed is ignored (RFC 7240)."""
    found = re.search(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\b", request.headers.get("Prefer", ""), re.IGNORECASE)
    return int(found[1]) if found else 0


def _wait_for_change(context: Context, cursor: Cursor, deadline: float) -> None:
    """Return as soon as there is a change after a cursor, or at the deadline of the monotonic clock."""
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_EVERY, left))
        with open_session(context) as session:
            if _changes_since(session, cursor, 1).data:
                return


def _events(context: Context, cursor: Cursor) -> Iterator[str]:
    """Yield one event per change, and comments while there is none.

    The first block has only an id, so that a client whose connection breaks before the first change can resume.
    """
    yield f": vigie\nretry: {RECONNECT_AFTER * 1000}\nid: {cursor.text}\n\n"
    deadline, last_sent = time.monotonic() + context.settings.stream_seconds, time.monotonic()
    while time.monotonic() < deadline:
        try:
            with open_session(context) as session:
                batch = change_feed.since(session.connection, cursor, session.simulated, DEFAULT_LIMIT, session.now)
        except (VigieError, sa.exc.SQLAlchemyError):
            return  # the status is already sent; the client gets the problem when it reconnects
        for change in batch.data:
            text = json.dumps(change, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            yield f"id: {change['cursor']}\nevent: {change['kind']}\ndata: {text}\n\n"
            last_sent = time.monotonic()
        cursor = batch.next
        if batch.more:
            continue
        if time.monotonic() - last_sent >= HEARTBEAT_INTERVAL:
            yield ": still here\n\n"
            last_sent = time.monotonic()
        time.sleep(POLL_EVERY)
