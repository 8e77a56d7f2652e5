"""Outbox: one row for each message to a receiver, claimed by a sender, sent, and tried again until it is delivered.

The row is written before anything is sent, in the transaction of the change that it announces. A sender claims a row by
compare-and-set for a limited time, so two senders never work on one row at once. If a sender dies, another one sends
the message again under the same id. This module does not know what a message means.
"""

import logging
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from service.alerts import channels, wording
from service.alerts.backoff import MAX_ATTEMPTS, longest_delay, retry_delay
from service.alerts.channels import DeliveryError
from service.settings import EmailRoute, Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries
from service.store.values import instant

LEASE = timedelta(minutes=5)
"""How long a claim lasts. It is ten times longer than the deadline of a delivery, so that no sender outlives its
claim."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clocks of two machines can differ."""

MAX_ERROR_LENGTH = 500

NO_ROUTE = "the settings have no route of this name"

Clock: TypeAlias = Callable[[], datetime]
Send: TypeAlias = Callable[[WebhookRoute | EmailRoute, str, Mapping[str, Any], datetime], None]

UNDELIVERED = (deliveries.c.status == "failed") | ((deliveries.c.status == "waiting") & deliveries.c.error.is_not(None))
"""Messages that are given up, or that wait after at least one failure."""

NO_TEST = deliveries.c.kind != "test"

_SHOWN = sa.select(deliveries).where(UNDELIVERED, NO_TEST)

RECEIVED = (deliveries.c.status == "sent") | deliveries.c.maybe_received
"""Messages that the receiver has, or may have."""

log = logging.getLogger(__name__)
_rng = random.SystemRandom()


class AttemptResult(NamedTuple):
    """Result of one attempt: `sent`, `retry` or `failed`; the last two have an error."""

    status: str
    error: str | None = None


def enqueue(
    connection: sa.Connection,
    *,
    route: str,
    kind: str,
    data: Mapping[str, Any],
    now: datetime,
    follows: str | None = None,
    claimed: bool = False,
) -> str:
    """Add a message to the outbox in the caller's transaction. Return its id, which all attempts carry.

    `follows` is the id of an earlier message without which this one makes no sense. `claimed` reserves the message for
    the caller, who sends it at once.
    """
    delivery_id = f"msg_{uuid.uuid4().hex}"
    connection.execute(
        sa.insert(deliveries).values(
            id=delivery_id,
            run_id=data.get("run_id"),
            route=route,
            kind=kind,
            document={"type": f"alert.{kind}", "timestamp": instant(now), "data": data},
            created_at=now,
            status="waiting",
            attempts=int(claimed),
            maybe_received=claimed,
            follows=follows,
            not_before=now + LEASE if claimed else now,
        )
    )
    return delivery_id


def has_due(store: Store, settings: Settings, now: datetime) -> bool:
    """Return whether `deliver_due` would find something to do."""
    due = _is_due(now) & deliveries.c.route.in_(list(settings.routes))
    with store.reading() as connection:
        found = sa.select(deliveries.c.id).where(due | _lacks_route(settings)).limit(1)
        return connection.execute(found).first() is not None


def deliver_due(
    store: Store,
    settings: Settings,
    clock: Clock,
    send: Send | None = None,
    rng: random.Random = _rng,
    ended: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Send the messages that are due, oldest first, and count the results: `sent`, `retry`, `failed`.

    After a failure the other messages of that route wait for the next call: a dead receiver must not delay the others.
    A message whose route is not in the settings waits, and says so in its error. No message is started once `ended`
    returns true.
    """
    _note_missing_routes(store, settings)
    due = sa.select(deliveries).where(_is_due(clock()))
    with store.reading() as connection:
        rows = connection.execute(due.order_by(deliveries.c.created_at, deliveries.c.id)).all()
    counts: Counter[str] = Counter()
    failing: set[str] = set()
    for row in rows:
        if ended():
            break
        if row.route in settings.routes and row.route not in failing and _claim(store, row, clock()):
            result = _attempt(store, settings, row, row.attempts + 1, clock, send, rng)
            counts[result.status] += 1
            if result.status != "sent":
                failing.add(row.route)
    return counts


def send_test(store: Store, settings: Settings, route: str, clock: Clock, send: Send | None = None) -> AttemptResult:
    """Send a test message by a route of the settings, once. It is a row of the outbox like any other."""
    with store.writing() as connection:
        delivery_id = enqueue(connection, route=route, kind="test", data=wording.test(route), now=clock(), claimed=True)
        row = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).one()
    return _attempt(store, settings, row, row.attempts, clock, send, _rng)


def undelivered(
    connection: sa.Connection, limit: int | None = None, before: tuple[datetime, str] | None = None
) -> list[dict[str, Any]]:
    """Return the messages that failed so far, newest first: `failed` is given up, `waiting` is tried again.

    `before` is the time and the id of a message: only earlier ones are returned. The list is public, so it has no
    errors, which can name hosts: `problem` is `no_route` or `not_accepted`, and `last_errors` has the rest. It leaves
    out failed tests, because the person who started a test has seen the error.
    """
    query = _SHOWN.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(limit)
    if before is not None:
        place = (deliveries.c.created_at, deliveries.c.id)
        values = (sa.literal(value, column.type) for value, column in zip(before, place, strict=True))
        query = query.where(sa.tuple_(*place) < sa.tuple_(*values))
    return [
        {
            "id": row.id,
            "route": row.route,
            "kind": row.kind,
            "outcome": row.document["data"].get("outcome"),
            "status": row.status,
            "attempts": row.attempts,
            "problem": "no_route" if row.error == NO_ROUTE else "not_accepted",
            "created_at": instant(row.created_at),
            "not_before": instant(row.not_before) if row.status == "waiting" else None,
            "headline": row.document["data"]["headline"],
        }
        for row in connection.execute(query)
    ]


def created_at(connection: sa.Connection, delivery_id: str) -> datetime | None:
    """Return when a message was created; None if there is no such message."""
    return connection.scalar(sa.select(deliveries.c.created_at).where(deliveries.c.id == delivery_id))


def count_undelivered(connection: sa.Connection) -> tuple[int, datetime | None]:
    """Return the number of undelivered messages, and when the oldest of them was created."""
    counted = sa.select(sa.func.count(), sa.func.min(deliveries.c.created_at)).where(UNDELIVERED, NO_TEST)
    number, oldest = connection.execute(counted).one()
    return number, oldest


def last_errors(connection: sa.Connection) -> dict[str, str]:
    """Return the last error of each undelivered message by id. It can name hosts and addresses: show it to operators
    only."""
    return {row.id: row.error for row in connection.execute(_SHOWN)}


def retry(store: Store, ids: Iterable[str], now: datetime) -> int:
    """Make undelivered messages due at once, under the same ids, with all attempts again. Return their number."""
    chosen = deliveries.c.id.in_(list(ids)) & UNDELIVERED
    return _update(store, chosen, status="waiting", attempts=0, not_before=now)


def dismiss(store: Store, ids: Iterable[str]) -> int:
    """Give up undelivered messages, and unsent messages that follow them. Return their number. The rows stay."""
    with store.writing() as connection:
        return cancel(connection, deliveries.c.id.in_(list(ids)) & UNDELIVERED)


def cancel(connection: sa.Connection, which: sa.ColumnElement[bool], error: str | None = None) -> int:
    """Dismiss the messages of `which` that are not sent, and those that follow them. Return the number of messages.

    A message that follows a cancelled one stays if the receiver may have the cancelled one: it then needs the end, too.
    """
    unsent = deliveries.c.status.in_(("waiting", "failed"))
    reason = {} if error is None else {"error": error}
    dismissed = sa.update(deliveries).where(unsent, which).values(status="dismissed", **reason)
    rows = connection.execute(dismissed.returning(deliveries.c.id, deliveries.c.maybe_received)).all()
    unknown_to_receiver = [row.id for row in rows if not row.maybe_received]
    if not unknown_to_receiver:
        return len(rows)
    followers = deliveries.c.follows.in_(unknown_to_receiver) & ~deliveries.c.maybe_received
    return len(rows) + cancel(connection, followers, error)


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Select waiting messages whose time has come.

    A message whose wait is longer than any wait after so many attempts is due as well: the clock was set back since
    that was written.
    """
    not_before = deliveries.c.not_before
    latest = {
        attempts: sa.literal(now + max(LEASE, longest_delay(attempts)) + CLOCK_SKEW, not_before.type)
        for attempts in range(MAX_ATTEMPTS + 1)
    }
    limit = sa.case(latest, value=deliveries.c.attempts, else_=latest[MAX_ATTEMPTS])
    return (deliveries.c.status == "waiting") & ((not_before <= now) | (not_before > limit))


def _lacks_route(settings: Settings) -> sa.ColumnElement[bool]:
    """Select waiting messages whose route is not in the settings and whose error does not say so yet."""
    return (
        (deliveries.c.status == "waiting")
        & deliveries.c.route.not_in(list(settings.routes))
        & deliveries.c.error.is_distinct_from(NO_ROUTE)
    )


def _note_missing_routes(store: Store, settings: Settings) -> None:
    lacks_route = _lacks_route(settings)
    with store.reading() as connection:  # most often there is nothing to write, and reading takes no lock
        if connection.execute(sa.select(deliveries.c.id).where(lacks_route).limit(1)).first() is None:
            return
    _update(store, lacks_route, error=NO_ROUTE)


def _claim(store: Store, row: Any, now: datetime) -> bool:
    """Claim a message for the length of a lease. Return false if another sender has changed it since it was read."""
    unchanged = (
        (deliveries.c.id == row.id)
        & (deliveries.c.status == "waiting")
        & (deliveries.c.not_before == row.not_before)
        & (deliveries.c.attempts == row.attempts)
    )
    # The receiver may have the message from now on, also if this sender dies before it can write the result.
    claim = {"not_before": now + LEASE, "attempts": row.attempts + 1, "maybe_received": True}
    return _update(store, unchanged, **claim) == 1


def _attempt(
    store: Store, settings: Settings, row: Any, attempts: int, clock: Clock, send: Send | None, rng: random.Random
) -> AttemptResult:
    """Send a claimed message once and record the result. `row` is the message as it was read before the claim."""
    send = send or partial(channels.send, allowed=settings.allow_private_webhooks)
    try:
        send(settings.routes[row.route], row.id, wording.with_links(row.document, settings.base_url), clock())
    except DeliveryError as failure:
        error, final = str(failure)[:MAX_ERROR_LENGTH], failure.permanent
        maybe_received = row.maybe_received or failure.maybe_received
    except Exception as fault:
        log.exception("delivery %s by route %r: internal error", row.id, row.route)
        error, final, maybe_received = f"internal error: {type(fault).__name__}", False, True
    else:
        # Whatever happened to the row meanwhile (another claim, a withdrawal): the receiver has the message.
        _update(store, deliveries.c.id == row.id, status="sent", sent_at=clock(), error=None)
        return AttemptResult("sent")
    final = final or attempts >= MAX_ATTEMPTS or row.kind == "test"
    # After our lease another sender can have claimed the row. Then `attempts` is higher, and the row is theirs.
    still_ours = (deliveries.c.id == row.id) & (deliveries.c.status == "waiting") & (deliveries.c.attempts == attempts)
    if final:
        _update(store, still_ours, status="failed", error=error, maybe_received=maybe_received)
    else:
        not_before = clock() + retry_delay(attempts, rng)
        _update(store, still_ours, not_before=not_before, error=error, maybe_received=maybe_received)
    log.warning("delivery %s by route %r: attempt %d failed: %s", row.id, row.route, attempts, error)
    return AttemptResult("failed" if final else "retry", error)


def _update(store: Store, which: sa.ColumnElement[bool], **values: Any) -> int:
    with store.writing() as connection:
        return connection.execute(sa.update(deliveries).where(which).values(**values)).rowcount
