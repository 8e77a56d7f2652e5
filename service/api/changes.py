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

from riskmodel.errors import BadInput, VigieError
from service import changes as followed
from service import payloads
from service.api.problems import Problem
from service.api.reading import Parts, Reading, of_app, read, reading
from service.changes import Batch, Cursor

resource = Blueprint("changes", __name__)

START = "start"
"""The cursor before everything that is kept."""

USUAL, MOST = 100, 1000
"""How many changes an answer holds, unless asked otherwise, and at most."""

LOOK_EVERY = 0.2
"""How often somebody who waits looks whether there is something new [s]."""

HEARTBEAT = 15.0
"""How often a stream without news shows that it is alive [s]."""

RETRY = 5
"""When to come back to a stream that ended, or had no place [s]."""


@resource.get("/v1/changes")
def changes() -> Response:
    """What has changed behind a cursor; without one, the cursor of now."""
    parts, limit, wanted, waited = of_app(), _limit(), _wait(), 0
    with reading() as sight:
        seen = _asked(sight, request.args.get("since"))
        batch = _since(sight, seen, limit)
        told = _payload(sight, batch)
    if wanted and not batch.data and parts.places.acquire(blocking=False):
        try:
            waited = min(wanted, parts.settings.wait_at_most_seconds)
            _wait_for_news(parts, seen, time.monotonic() + waited)
        finally:
            parts.places.release()
        with reading() as sight:
            told = _payload(sight, _since(sight, seen, limit))
    response = jsonify(told)
    if waited:
        response.headers["Preference-Applied"] = f"wait={waited}"
    return response


@resource.get("/v1/stream")
def stream() -> Response:
    """The same as server-sent events, from now or from a cursor on."""
    parts = of_app()
    with reading() as sight:
        seen = _asked(sight, request.headers.get("Last-Event-ID") or request.args.get("since"))
        _since(sight, seen, 1)
    if not parts.places.acquire(blocking=False):
        raise Problem("too-many-waiters", retry_after_seconds=RETRY)
    response = Response(_events(parts, seen), content_type="text/event-stream; charset=utf-8")
    response.call_on_close(parts.places.release)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


@resource.after_request
def live(response: Response) -> Response:
    """What depends on the moment of asking is kept by nobody; the cursor is what saves sending it twice."""
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Prefer" if request.path == "/v1/changes" else "Last-Event-ID")
    return response


def _asked(sight: Reading, text: str | None) -> Cursor:
    """The cursor that a client sent; the place of now where it sent none."""
    region = sight.settings.region
    seen = followed.now(sight.connection, region, sight.simulated)
    if text is None:
        return seen
    if text == START:
        return Cursor(0, seen.region, seen.realm)
    try:
        return followed.cursor(text, region)
    except BadInput as wrong:
        raise Problem("bad-cursor", why=str(wrong)) from None


def _since(sight: Reading, seen: Cursor, limit: int) -> Batch:
    try:
        return followed.since(sight.connection, seen, sight.simulated, limit, sight.now)
    except BadInput as wrong:
        raise Problem("bad-cursor", why=str(wrong)) from None


def _payload(sight: Reading, batch: Batch) -> dict[str, Any]:
    served = sight.find()
    if served is not None:
        meta = payloads.meta(served)
    else:
        then = payloads.next_run_at(sight.connection, sight.settings)
        meta = payloads.no_meta(sight.settings, then, simulated=sight.simulated)
    return {"data": batch.data, "next": batch.next.text, "more": batch.more, **meta}


def _limit() -> int:
    asked = request.args.get("limit", str(USUAL))
    if not re.fullmatch("[0-9]{1,4}", asked) or not 1 <= int(asked) <= MOST:
        raise Problem("bad-query", parameter="limit", why=f"a whole number from 1 to {MOST}")
    return int(asked)


def _wait() -> int:
    """How long the client would wait for news [s]; a preference that is not understood is none (RFC 7240)."""
    found = re.search(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\b", request.headers.get("Prefer", ""), re.IGNORECASE)
    return int(found[1]) if found else 0


def _wait_for_news(parts: Parts, seen: Cursor, until: float) -> None:
    """Return when something has changed behind a cursor, or when the time is over."""
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_EVERY, left))
        with read(parts) as sight:
            if _since(sight, seen, 1).data:
                return


def _events(parts: Parts, seen: Cursor) -> Iterator[str]:
    """One event for each change. The first block has only an id, so that a client that is cut off early can resume."""
    yield f": vigie\nretry: {RETRY * 1000}\nid: {seen.text}\n\n"
    ends, spoke = time.monotonic() + parts.settings.stream_seconds, time.monotonic()
    while time.monotonic() < ends:
        try:
            with read(parts) as sight:
                batch = followed.since(sight.connection, seen, sight.simulated, USUAL, sight.now)
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
