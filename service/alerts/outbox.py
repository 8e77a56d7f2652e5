"""The outbox: a row for each message to somebody, claimed, sent, and tried again until it did or was given up.

A row exists before anything is sent. A sender claims it by compare-and-set and for a limited time, so two senders are
safe and a sender that dies loses nothing: the message goes again under the same id. What it means is not known here.
"""

import logging
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from service.alerts import channels, wording
from service.alerts.channels import DeliveryError
from service.settings import EmailRoute, Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries
from service.store.values import instant

LEASE = timedelta(minutes=5)
"""How long a claim holds; far longer than any channel may take."""

ATTEMPTS = 16
FIRST_WAIT = timedelta(seconds=30)
GROWTH = 3
LONGEST_WAIT = timedelta(hours=8)
JITTER = 0.2
"""Waits of 30 s, three times longer after each failure, at most 8 h, each ± 20 %: sixteen attempts in three days."""

SKEW = timedelta(minutes=1)
"""How far the clocks of two machines may be apart."""

LONGEST_ERROR = 500

NO_ROUTE = "the settings have no route of this name"

Clock: TypeAlias = Callable[[], datetime]
Send: TypeAlias = Callable[[WebhookRoute | EmailRoute, str, Mapping[str, Any], datetime], None]

TROUBLED = (deliveries.c.status == "failed") | ((deliveries.c.status == "waiting") & deliveries.c.error.is_not(None))

_LOG = logging.getLogger(__name__)
_RNG = random.SystemRandom()


class Outcome(NamedTuple):
    """What came of one attempt: `sent`, `retry` or `failed`, and the error where it was not sent."""

    status: str
    error: str | None = None


def post(
    connection: sa.Connection, *, route: str, kind: str, data: Mapping[str, Any], now: datetime, claimed: bool = False
) -> str:
    """Put one message into the outbox, in the caller's transaction, and return the id that every attempt will carry.

    `claimed` keeps other senders off it for the length of a claim: its sender is the caller.
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
            not_before=now + LEASE if claimed else now,
        )
    )
    return delivery_id


def anything_due(store: Store, settings: Settings, now: datetime) -> bool:
    """Whether `deliver_due` would find something to do."""
    mine = _due(now) & deliveries.c.route.in_(list(settings.routes))
    with store.reading() as connection:
        found = sa.select(deliveries.c.id).where(mine | _unknown(settings)).limit(1)
        return connection.execute(found).first() is not None


def deliver_due(
    store: Store,
    settings: Settings,
    clock: Clock,
    send: Send | None = None,
    rng: random.Random = _RNG,
    ended: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Send what is due, oldest first, and count what came of it: `sent`, `retry`, `failed`.

    A route that fails is left alone until the next call, so that one dead receiver cannot hold up the others. A message
    for a route that the settings do not have waits, and says so. Once `ended` says so, no other message is begun.
    """
    _say_unknown(store, settings)
    due = sa.select(deliveries).where(_due(clock()))
    with store.reading() as connection:
        rows = connection.execute(due.order_by(deliveries.c.created_at, deliveries.c.id)).all()
    counts: Counter[str] = Counter()
    left_alone: set[str] = set()
    for row in rows:
        if ended():
            break
        if row.route in settings.routes and row.route not in left_alone and _claim(store, row, clock()):
            outcome = _attempt(store, settings, row, row.attempts + 1, clock, send, rng)
            counts[outcome.status] += 1
            if outcome.status != "sent":
                left_alone.add(row.route)
    return counts


def try_route(
    store: Store, settings: Settings, route: str, clock: Clock, send: Send | None = None, rng: random.Random = _RNG
) -> Outcome:
    """Send a marked test by a route of the settings, at once and once only, as a row of the outbox like any other."""
    with store.writing() as connection:
        delivery_id = post(connection, route=route, kind="test", data=wording.test(route), now=clock(), claimed=True)
        row = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).one()
    return _attempt(store, settings, row, row.attempts, clock, send, rng)


def undelivered(connection: sa.Connection) -> list[dict[str, Any]]:
    """Messages that did not get through, oldest first: given up (`failed`), or tried in vain so far (`waiting`).

    Fit for anyone to read: `problem` is `no_route` or `not_taken`, and the error itself is the operator's (`errors`). A
    failed test is not among them: whoever asked for it was told.
    """
    return [
        {
            "id": row.id,
            "route": row.route,
            "kind": row.kind,
            "status": row.status,
            "attempts": row.attempts,
            "problem": "no_route" if row.error == NO_ROUTE else "not_taken",
            "created_at": instant(row.created_at),
            "not_before": instant(row.not_before) if row.status == "waiting" else None,
            "headline": row.document["data"]["headline"],
        }
        for row in _troubled(connection)
    ]


def errors(connection: sa.Connection) -> dict[str, str]:
    """The last error of each undelivered message, by its id. It may name hosts and addresses: for the operator only."""
    return {row.id: row.error for row in _troubled(connection)}


def failed(connection: sa.Connection) -> list[dict[str, Any]]:
    """The messages that were given up, as `undelivered` lists them. A person retries or dismisses them."""
    return [message for message in undelivered(connection) if message["status"] == "failed"]


def retry(store: Store, ids: Iterable[str], now: datetime) -> int:
    """Make undelivered messages due at once, with all attempts before them, under their own ids; return how many."""
    return _settle_by_hand(store, ids, status="waiting", attempts=0, not_before=now)


def dismiss(store: Store, ids: Iterable[str]) -> int:
    """Stop telling of undelivered messages, and stop sending them; their rows stay. Return how many."""
    return _settle_by_hand(store, ids, status="dismissed")


def wait_after(attempts: int, rng: random.Random) -> timedelta:
    """How long to wait after that many attempts have failed."""
    return _wait(attempts) * rng.uniform(1 - JITTER, 1 + JITTER)


def _wait(attempts: int) -> timedelta:
    wait: timedelta = min(FIRST_WAIT * GROWTH ** max(0, attempts - 1), LONGEST_WAIT)
    return wait


def _troubled(connection: sa.Connection) -> Sequence[Any]:
    query = sa.select(deliveries).where(TROUBLED, deliveries.c.kind != "test")
    return connection.execute(query.order_by(deliveries.c.created_at, deliveries.c.id)).all()


def _due(now: datetime) -> sa.ColumnElement[bool]:
    """What waits and whose time has come.

    What is to wait longer than anything waits after so many attempts was written before a clock was set back: it is
    due, too.
    """
    not_before = deliveries.c.not_before
    ever = {
        tried: sa.literal(now + max(LEASE, _wait(tried) * (1 + JITTER)) + SKEW, not_before.type)
        for tried in range(ATTEMPTS + 1)
    }
    longest = sa.case(ever, value=deliveries.c.attempts, else_=ever[ATTEMPTS])
    return (deliveries.c.status == "waiting") & ((not_before <= now) | (not_before > longest))


def _unknown(settings: Settings) -> sa.ColumnElement[bool]:
    """Waiting messages for a route that the settings do not have, of which that is not said yet."""
    return (
        (deliveries.c.status == "waiting")
        & deliveries.c.route.not_in(list(settings.routes))
        & deliveries.c.error.is_distinct_from(NO_ROUTE)
    )


def _say_unknown(store: Store, settings: Settings) -> None:
    unknown = _unknown(settings)
    with store.reading() as connection:
        if connection.execute(sa.select(deliveries.c.id).where(unknown).limit(1)).first() is None:
            return
    with store.writing() as connection:
        connection.execute(sa.update(deliveries).where(unknown).values(error=NO_ROUTE))


def _claim(store: Store, seen: Any, now: datetime) -> bool:
    """Take a message for the length of a lease, if it still stands as it was seen."""
    with store.writing() as connection:
        taken = connection.execute(
            sa.update(deliveries)
            .where(
                deliveries.c.id == seen.id,
                deliveries.c.status == "waiting",
                deliveries.c.not_before == seen.not_before,
                deliveries.c.attempts == seen.attempts,
            )
            .values(not_before=now + LEASE, attempts=seen.attempts + 1)
        )
    return taken.rowcount == 1


def _attempt(
    store: Store, settings: Settings, row: Any, attempts: int, clock: Clock, send: Send | None, rng: random.Random
) -> Outcome:
    """Send one claimed message and write down what came of it."""
    send = send or partial(channels.send, allowed=settings.allow_private_webhooks)
    try:
        send(settings.routes[row.route], row.id, row.document, clock())
    except DeliveryError as failure:
        error, final = str(failure)[:LONGEST_ERROR], failure.permanent
    except Exception as fault:
        _LOG.exception("delivery %s by route %r met a fault of ours", row.id, row.route)
        error, final = f"internal error: {type(fault).__name__}", False
    else:
        _settle(store, deliveries.c.id == row.id, status="sent", sent_at=clock(), error=None)
        return Outcome("sent")
    final = final or attempts >= ATTEMPTS or row.kind == "test"
    # Another sender may have taken over after our lease: then the row is theirs, and `attempts` has moved on.
    ours = (deliveries.c.id == row.id) & (deliveries.c.status == "waiting") & (deliveries.c.attempts == attempts)
    if final:
        _settle(store, ours, status="failed", error=error)
    else:
        _settle(store, ours, not_before=clock() + wait_after(attempts, rng), error=error)
    _LOG.warning("delivery %s by route %r failed at attempt %d: %s", row.id, row.route, attempts, error)
    return Outcome("failed" if final else "retry", error)


def _settle(store: Store, which: sa.ColumnElement[bool], **values: Any) -> int:
    with store.writing() as connection:
        return connection.execute(sa.update(deliveries).where(which).values(**values)).rowcount


def _settle_by_hand(store: Store, ids: Iterable[str], **values: Any) -> int:
    return _settle(store, deliveries.c.id.in_(list(ids)) & TROUBLED, **values)
