"""Claims: a sender takes messages of a route for a limited time, and records what became of them.

Both take one transaction for many messages, because each transaction waits for the disk. Writers come one after
another, so no two senders claim the same message. The receiver may have a message from its claim on, also if its sender
dies before it can record the result.
"""

import logging
import random
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.alerts import operator_alerts, outbox, pacing, routes
from service.alerts.backoff import MAX_ATTEMPTS, pause, retry_delay
from service.alerts.channels.attempt import DeliveryError
from service.alerts.outbox import LEASE, Message
from service.settings import EmailRoute, Settings
from service.store.database import Store
from service.store.tables import deliveries

log = logging.getLogger(__name__)


class Claim(NamedTuple):
    """Messages for a sender, as they were read before the claim, and the number of damaged ones that were given up."""

    messages: list[Message]
    damaged: int


class Attempt(NamedTuple):
    """One attempt to send a claimed message: how it failed, if it did, and how long it took [s]."""

    message: Message
    failure: DeliveryError | None
    seconds: float

    @property
    def result(self) -> str:
        """`sent`; `retry`: it is sent again; `failed`: it is given up; `refused`: the receiver is gone."""
        if self.failure is None:
            return "sent"
        if self.message.kind == "test":
            return "failed"
        if self.failure.gone:
            return "refused"
        return "failed" if self.failure.permanent or self.message.attempts + 1 >= MAX_ATTEMPTS else "retry"


def take(store: Store, settings: Settings, route: str, number: int, now: datetime) -> Claim:
    """Claim at most so many messages of a route that can be sent now, oldest first, for the length of a lease.

    A damaged message is given up, so that it is listed and stops no other.
    """
    with store.writing() as connection:
        pacing.pace(connection, route, settings.routes[route], now)
        found = outbox.read(connection, outbox.ready(now) & (deliveries.c.route == route), limit=number)
        readable = [message for message in found if message.readable]
        damaged = [message for message in found if not message.readable]
        connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.id.in_([message.id for message in readable]))
            .values(not_before=now + LEASE, attempts=deliveries.c.attempts + 1, maybe_received=True)
        )
        outbox.update_parts(connection, _digests(readable), maybe_received=True)
        if isinstance(settings.routes[route], EmailRoute):
            roots = outbox.threads(connection, route, [message.id for message in readable])
            readable = [message._replace(thread=roots.get(message.id)) for message in readable]
        for message in damaged:
            _give_up_damaged(connection, message)
        if damaged:
            operator_alerts.given_up(connection, settings, route, [message.kind for message in damaged], now)
    return Claim(readable, len(damaged))


def _give_up_damaged(connection: sa.Connection, message: Message) -> None:
    log.error("delivery %s by route %r: %s", message.id, message.route, outbox.UNREADABLE)
    # What could not be read gets its placeholder, except the message itself, which a person may want to look at.
    times = {"created_at": message.created_at, "not_before": message.not_before}
    values = {"status": "failed", "error": outbox.UNREADABLE, "attempts": message.attempts, **times}
    outbox.dissolve(connection, _digests([message]))
    connection.execute(sa.update(deliveries).where(deliveries.c.id == message.id).values(**values))


def _digests(messages: Iterable[Message]) -> list[str]:
    return [message.id for message in messages if message.kind == outbox.DIGEST]


def store_results(
    store: Store,
    settings: Settings,
    route: str,
    attempts: Sequence[Attempt],
    unsent: Iterable[Message],
    *,
    now: datetime,
    rng: random.Random,
) -> None:
    """Store the results of attempts by a route, and release the claimed messages that were not sent.

    If the receiver is gone, the route is disabled, and the message waits with all others of the route. An operator
    alert says so, and also if a message was given up.
    """
    with store.writing() as connection:
        _sent(connection, [attempt.message for attempt in attempts if attempt.failure is None], now)
        for attempt in attempts:
            if attempt.failure is not None:
                _failed(connection, settings, attempt, attempt.failure, now, rng)
        given_up = [attempt.message.kind for attempt in attempts if attempt.result == "failed"]
        if given_up:
            operator_alerts.given_up(connection, settings, route, given_up, now)
        for message in unsent:
            values = {"attempts": message.attempts, "maybe_received": message.maybe_received}
            released = sa.update(deliveries).where(_still_ours(message)).values(not_before=message.not_before, **values)
            connection.execute(released)
            outbox.update_parts(connection, _digests([message]), maybe_received=message.maybe_received)
        routes.record_attempts(connection, route, [(attempt.result, attempt.seconds) for attempt in attempts])


def _sent(connection: sa.Connection, messages: Sequence[Message], now: datetime) -> None:
    # Whatever happened to the rows meanwhile (another claim, a withdrawal): the receiver has the messages.
    sent = sa.update(deliveries).where(deliveries.c.id.in_([message.id for message in messages]))
    connection.execute(sent.values(status="sent", sent_at=now, error=None))
    outbox.update_parts(connection, _digests(messages), status="sent", sent_at=now)


def _failed(
    connection: sa.Connection,
    settings: Settings,
    attempt: Attempt,
    failure: DeliveryError,
    now: datetime,
    rng: random.Random,
) -> None:
    message, route = attempt.message, attempt.message.route
    outcomes: dict[str, dict[str, Any]] = {
        "failed": {"status": "failed"},
        "refused": {"not_before": now},
        "retry": {"not_before": now + retry_delay(message.attempts + 1, rng)},
    }
    maybe_received = message.maybe_received or failure.maybe_received
    values: dict[str, Any] = {"error": str(failure), "maybe_received": maybe_received, **outcomes[attempt.result]}
    connection.execute(sa.update(deliveries).where(_still_ours(message)).values(**values))
    outbox.update_parts(connection, _digests([message]), maybe_received=maybe_received)
    if attempt.result == "refused" and routes.disable(connection, route, now, str(failure)):
        operator_alerts.route_disabled(connection, settings, route, now)
    if failure.retry_after is not None:
        routes.pause(connection, route, now, now + pause(failure.retry_after, rng))


def _still_ours(message: Message) -> sa.ColumnElement[bool]:
    """Select the row of a message that we claimed, if nobody changed it.

    After our lease another sender can have claimed it. Then `attempts` is higher, and the row is theirs.
    """
    row = deliveries.c
    return (row.id == message.id) & (row.status == "waiting") & (row.attempts == message.attempts + 1)
