"""What has changed: `/v1/changes` behind a cursor, which can wait for the next change, and `/v1/stream` as it happens.

Whoever waits holds a thread of the web server. So there are few places, fewer than threads, and none waits for ever.
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
from service.api.openapi import Asked, offers
from service.api.paging import USUAL, Limit
from service.api.schemas import Meta, Said, key
from service.http.problems import Problem
from service.http.request_context import ReadSession, current_context, open_session, request_session, waiting_slots
from service.snapshots import change_feed
from service.snapshots.change_feed import Batch, Cursor
from service.store.context import Context

resource = Blueprint("changes", __name__)

START = "start"
"""The cursor before everything that is kept."""

LOOK_EVERY = 0.2
"""How often somebody who waits looks whether there is something new [s]."""

HEARTBEAT = 15.0
"""How often a stream without news shows that it is alive [s]."""

RETRY = 5
"""When to come back to a stream that ended, or had no place [s]."""


SINCE = Field(default=None, description="a cursor; start: the oldest change that is kept; without it: from now")


class StreamAsked(Asked):
    """From where on."""

    since: str | None = SINCE


class ChangesAsked(StreamAsked):
    """From where on, and how many."""

    limit: Limit = USUAL


def only(kinds: str, meaning: str) -> Any:
    """A key that only changes of some kinds have."""
    return Field(default=None, description=f"{kinds}: {meaning}")


class Change(Said):
    """One change."""

    cursor: str = key("behind it")
    at: str
    kind: str = key("snapshot, band, alert, withdrawal, scorecard or realm")
    simulated: bool | None
    location_code: str | None = key("null: the region as a whole")
    snapshot_id: int | None
    digest: str | None = only("snapshot", "SHA-256 of its document")
    issued_at: str | None = only("snapshot", "when it was made")
    origin: str | None = only("snapshot", "the last month of data used")
    data_as_of: str | None = only("snapshot", "the last day of data used")
    causes: list[str] | None = only("snapshot, alert", "why")
    location_name: str | None = only("band", "English name")
    from_band: str | None = only("band", "before")
    to_band: str | None = only("band", "after")
    from_score: float | None = only("band", "before")
    to_score: float | None = only("band", "after")
    reasons: dict[str, str] | None = only("band, withdrawal", "why a value is null")
    rule: str | None = only("alert", "which")
    severity: str | None = only("alert", "info, warning or severe")
    title: dict[str, str] | str | None = only("alert", "of the rule")
    headline: dict[str, str] | str | None = only("alert", "what happened")
    metric: str | None = only("alert", "what the rule reads")
    value: float | None = only("alert", "as read")
    reason: str | None = only("alert", "why that is null")
    from_state: str | None = only("alert", "before")
    to_state: str | None = only("alert", "after")
    why: str | None = only("withdrawal", "the reason")
    in_service: int | None = only("withdrawal", "the snapshot that stands again")
    cases: int | None = only("scorecard", "how many forecasts are scored")
    last_month: str | None = only("scorecard", "the newest month scored")
    realm: str | None = only("realm", "real, simulated or none")


class Changes(Meta):
    """What has changed, oldest first."""

    data: list[Change]
    next: str = key("the cursor behind them")
    more: bool = key("whether there are more behind it already")


@offers(
    resource, "/v1/changes", "What has changed behind a cursor", Changes, asks=ChangesAsked, problems=("bad-cursor",)
)
def changes(asked: ChangesAsked) -> Response:
    """What has changed behind a cursor; without one, the cursor of now."""
    context, limit, wanted, waited = current_context(), asked.limit, _wait(), 0
    with request_session() as session:
        seen = _asked(session, asked.since)
        batch = _since(session, seen, limit)
        told = _payload(session, batch)
    if wanted and not batch.data and waiting_slots().acquire(blocking=False):
        try:
            waited = min(wanted, context.settings.max_wait_seconds)
            _wait_for_news(context, seen, time.monotonic() + waited)
        finally:
            waiting_slots().release()
        with request_session() as session:
            told = _payload(session, _since(session, seen, limit))
    response = jsonify(told)
    if waited:
        response.headers["Preference-Applied"] = f"wait={waited}"
    return response


@offers(
    resource,
    "/v1/stream",
    "The same as server-sent events",
    "text/event-stream",
    asks=StreamAsked,
    problems=("bad-cursor", "too-many-waiters"),
)
def stream(asked: StreamAsked) -> Response:
    """The same as server-sent events, from now or from a cursor on."""
    context = current_context()
    with request_session() as session:
        seen = _asked(session, request.headers.get("Last-Event-ID") or asked.since)
        _since(session, seen, 1)
    if not waiting_slots().acquire(blocking=False):
        raise Problem("too-many-waiters", retry_after_seconds=RETRY)
    response = Response(_events(context, seen), content_type="text/event-stream; charset=utf-8")
    response.call_on_close(waiting_slots().release)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


@resource.after_request
def live(response: Response) -> Response:
    """What depends on the moment of asking is kept by nobody; the cursor is what saves sending it twice."""
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Prefer" if request.path == "/v1/changes" else "Last-Event-ID")
    return response


def _asked(session: ReadSession, text: str | None) -> Cursor:
    """The cursor that a client sent; the place of now where it sent none."""
    region = session.settings.region
    if text is None:
        return change_feed.now(session.connection, region, session.simulated)
    if text == START:
        return change_feed.start(session.connection, region, session.simulated)
    try:
        return change_feed.cursor(text, region)
    except BadInput as wrong:
        raise Problem("bad-cursor", why=str(wrong)) from None


def _since(session: ReadSession, seen: Cursor, limit: int) -> Batch:
    try:
        return change_feed.since(session.connection, seen, session.simulated, limit, session.now)
    except BadInput as wrong:
        raise Problem("bad-cursor", why=str(wrong)) from None


def _payload(session: ReadSession, batch: Batch) -> dict[str, Any]:
    return {"data": batch.data, "next": batch.next.text, "more": batch.more, **session.meta(session.find_served())}


def _wait() -> int:
    """How long the client would wait for news [s]; a preference that is not understood is none (RFC 7240)."""
    found = re.search(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\b", request.headers.get("Prefer", ""), re.IGNORECASE)
    return int(found[1]) if found else 0


def _wait_for_news(context: Context, seen: Cursor, until: float) -> None:
    """Return when something has changed behind a cursor, or when the time is over."""
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_EVERY, left))
        with open_session(context) as session:
            if _since(session, seen, 1).data:
                return


def _events(context: Context, seen: Cursor) -> Iterator[str]:
    """One event for each change. The first block has only an id, so that a client that is cut off early can resume."""
    yield f": vigie\nretry: {RETRY * 1000}\nid: {seen.text}\n\n"
    ends, spoke = time.monotonic() + context.settings.stream_seconds, time.monotonic()
    while time.monotonic() < ends:
        try:
            with open_session(context) as session:
                batch = change_feed.since(session.connection, seen, session.simulated, USUAL, session.now)
        except (VigieError, sa.exc.SQLAlchemyError):
            return  # whoever comes back is told why
        for change in batch.data:
            text = json.dumps(change, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            yield f"id: {change['cursor']}\nevent: {change['kind']}\ndata: {text}\n\n"
            spoke = time.monotonic()
        seen = batch.next
        if batch.more:
            continue
        if time.monotonic() - spoke >= HEARTBEAT:
            yield ": still here\n\n"
            spoke = time.monotonic()
        time.sleep(LOOK_EVERY)
