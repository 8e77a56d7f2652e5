"""Outbox: one row for each message to a receiver, claimed by a sender, sent, and tried again until it is delivered.

The row is written before anything is sent, in the transaction of the change that it announces. A sender claims rows
for a limited time (`claims`), so two senders never work on one row at once. If a sender dies, another one sends its
messages again under the same ids. `delivery` is the sender. This module does not know what a message means.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.alerts import routes, signed_links, wording
from service.alerts.backoff import MAX_ATTEMPTS, longest_delay
from service.alerts.routes import CLOCK_SKEW
from service.settings import Settings
from service.store import seals
from service.store.database import Store
from service.store.tables import deliveries, delivery_alerts
from service.store.values import instant, sortable_id

LEASE = timedelta(minutes=5)
"""How long a claim lasts. It is ten times longer than the deadline of a delivery, so that no sender outlives its
claim."""

NO_ROUTE = "the settings have no route of this name"

LONGEST_HOLD = timedelta(hours=25)
"""The longest time that a message waits for the end of quiet hours, on the day when a clock is set back."""

UNREADABLE = "the stored message is damaged and cannot be sent"

UNDELIVERED = (deliveries.c.status == "failed") | ((deliveries.c.status == "waiting") & deliveries.c.error.is_not(None))
"""Messages that are given up, or that wait after at least one failure."""

DIGEST = "digest"
"""The kind of a message that is sent in place of its parts: several messages by the same route."""

NO_TEST = deliveries.c.kind != "test"

RECEIVED = (deliveries.c.status == "sent") | deliveries.c.maybe_received
"""Messages that the receiver has, or may have."""

_WAITING: sa.ColumnClause[str] = sa.literal_column("'waiting'")
"""Not a bound value: only a constant lets a database use an index of the rows that wait."""

_DAMAGED = {"data": {"headline": wording.UNREADABLE}}


class Message(NamedTuple):
    """A row of the outbox. If its row is damaged, `readable` is false, and what cannot be read has a placeholder."""

    id: str
    route: str
    kind: str
    document: dict[str, Any]
    status: str
    attempts: int
    maybe_received: bool
    error: str | None
    created_at: datetime
    not_before: datetime
    severity: str
    held_until: datetime | None
    digest_id: str | None
    readable: bool
    thread: str | None = None  # the first message about the same alert by this route, where the sender asked for it


def enqueue(
    connection: sa.Connection,
    *,
    route: str,
    kind: str,
    data: Mapping[str, Any],
    now: datetime,
    alert: str | None = None,
    follows: str | None = None,
    severity: str | None = None,
    claimed: bool = False,
) -> str:
    """Add a message to the outbox in the caller's transaction. Return its id, which all attempts carry.

    `alert` names what the message is about: messages with the same name by one route are sent in their order.
    `follows` is the id of an earlier message without which this one makes no sense. `claimed` reserves the message for
    the caller, who sends it at once. The default `severity` is that in the data, else `warning`.
    A message is about the alerts that its data names: `alert_id`, or that of each entry of `alerts`. Each gets the
    signed `path` of its page.
    """
    data = _with_paths(connection, data, now)
    # Ids sort by time: the messages of one transaction have the same `created_at`.
    delivery_id = sortable_id("msg")
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
            alert=alert,
            severity=severity or data.get("severity", "warning"),
            not_before=now + LEASE if claimed else now,
        )
    )
    if alert_ids := {entry["alert_id"] for entry in data.get("alerts", [data]) if entry.get("alert_id")}:
        links = [{"delivery_id": delivery_id, "alert_id": alert_id} for alert_id in sorted(alert_ids)]
        connection.execute(sa.insert(delivery_alerts), links)
    return delivery_id


def _with_paths(connection: sa.Connection, data: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    if "alerts" in data:
        return {**data, "alerts": [_with_paths(connection, entry, now) for entry in data["alerts"]]}
    if not data.get("alert_id"):
        return data
    return {**data, "path": signed_links.path(connection, data["alert_id"], now.date())}


def read(
    connection: sa.Connection, which: sa.ColumnElement[bool], *, newest_first: bool = False, limit: int | None = None
) -> list[Message]:
    """Return messages in the order of their creation. A damaged row is among them and not an error."""
    order = [deliveries.c.created_at, deliveries.c.id]
    query = sa.select(*seals.stored(connection, deliveries)).where(which).limit(limit)
    rows = connection.execute(query.order_by(*(column.desc() for column in order) if newest_first else order))
    return [_message(row._mapping) for row in rows]


def threads(connection: sa.Connection, route: str, ids: Collection[str]) -> dict[str, str]:
    """Return, for each of some messages about one alert, the id of the first message about it by the route."""
    of_message, of_alert = delivery_alerts.alias().c, delivery_alerts.alias().c
    first = (
        sa.select(of_message.delivery_id, sa.func.min(deliveries.c.id))
        .join(of_alert.alert_id.table, of_alert.alert_id == of_message.alert_id)
        .join(deliveries, deliveries.c.id == of_alert.delivery_id)
        .where(of_message.delivery_id.in_(ids), deliveries.c.route == route)
        .group_by(of_message.delivery_id)
        .having(sa.func.count(of_message.alert_id.distinct()) == 1)
    )
    return {row[0]: row[1] for row in connection.execute(first)}


def ready(now: datetime) -> sa.ColumnElement[bool]:
    """Select the messages that can be sent now: they are due, their route is not paused, and it is their turn."""
    # A digest waits until it is the turn of each part. Otherwise the end of an alert could come before its start.
    part = deliveries.alias("part").c
    part_waits = sa.exists().where(part.digest_id == deliveries.c.id, _is_behind(part))
    in_turn = ~_is_behind(deliveries.c) & ((deliveries.c.kind != DIGEST) | ~part_waits)
    return _is_due(now) & deliveries.c.route.not_in(routes.paused(now)) & in_turn


def _is_behind(message: Any) -> sa.ColumnElement[bool]:
    """Select messages (columns of `deliveries`) that wait for another one: one that they follow, or an earlier one
    about the same alert. Parts of the same digest do not wait for each other."""
    earlier = deliveries.alias("earlier").c
    # A message that is part of a digest counts as sent once the digest is.
    digest = deliveries.alias("digest").c
    other_digest = earlier.digest_id != sa.func.coalesce(message.digest_id, "")
    in_digest = sa.exists().where(digest.id == earlier.digest_id, digest.status == _WAITING)
    is_unsent = [(earlier.status == _WAITING, True), ((earlier.status == "merged") & other_digest & in_digest, True)]
    is_earlier = sa.tuple_(earlier.created_at, earlier.id) < sa.tuple_(message.created_at, message.id)
    # A case is in no index: PostgreSQL would read all that waits for each message, instead of the few about its alert.
    return sa.or_(
        sa.exists().where(earlier.id == message.follows, sa.case(*is_unsent, else_=False)),
        sa.exists().where(
            earlier.alert == message.alert,
            is_earlier,
            sa.case((earlier.route != message.route, False), *is_unsent, else_=False),
        ),
    )


def routes_with_ready(connection: sa.Connection, names: Iterable[str], now: datetime) -> list[str]:
    """Return those of some routes that have something to send now."""
    which = ready(now)
    return [
        name
        for name in names
        if connection.scalar(sa.select(deliveries.c.id).where(which, deliveries.c.route == name).limit(1))
    ]


def has_due(store: Store, settings: Settings, now: datetime) -> bool:
    """Return whether a sender would find something to do."""
    with store.reading() as connection:
        lacking = sa.select(deliveries.c.id).where(_lacks_route(settings)).limit(1)
        return bool(routes_with_ready(connection, settings.routes, now)) or connection.scalar(lacking) is not None


def undelivered(
    connection: sa.Connection, limit: int | None = None, before: tuple[datetime, str] | None = None
) -> list[dict[str, Any]]:
    """Return the messages that failed so far, newest first: `failed` is given up, `waiting` is tried again.

    `before` is the time and the id of a message: only earlier ones are returned. The list is public, so it has no
    errors, which can name hosts: `problem` is `no_route`, `unreadable` or `not_accepted`, and `last_errors` has the
    rest. It leaves out failed tests, because the person who started a test has seen the error.
    """
    which = UNDELIVERED & NO_TEST
    if before is not None:
        place = (deliveries.c.created_at, deliveries.c.id)
        values = (sa.literal(value, column.type) for value, column in zip(before, place, strict=True))
        which &= sa.tuple_(*place) < sa.tuple_(*values)
    problems = {NO_ROUTE: "no_route", UNREADABLE: "unreadable"}
    return [
        {
            "id": message.id,
            "route": message.route,
            "kind": message.kind,
            "outcome": message.document["data"].get("outcome"),
            "status": message.status,
            "attempts": message.attempts,
            "problem": problems.get(message.error or "", "not_accepted") if message.readable else "unreadable",
            "created_at": instant(message.created_at),
            "not_before": instant(message.not_before) if message.status == "waiting" else None,
            "headline": message.document["data"]["headline"],
        }
        for message in read(connection, which, newest_first=True, limit=limit)
    ]


def created_at(connection: sa.Connection, delivery_id: str) -> datetime | None:
    """Return when a message was created; None if there is no such message."""
    return connection.scalar(sa.select(deliveries.c.created_at).where(deliveries.c.id == delivery_id))


def count_undelivered(connection: sa.Connection) -> tuple[int, datetime | None]:
    """Return the number of undelivered messages, and when the oldest of them was created."""
    oldest = sa.type_coerce(sa.func.min(deliveries.c.created_at), sa.Text)
    number, text = connection.execute(sa.select(sa.func.count(), oldest).where(UNDELIVERED, NO_TEST)).one()
    return number, _moment(text)


def last_errors(connection: sa.Connection) -> dict[str, str]:
    """Return the last error of each undelivered message by id. It can name hosts and addresses: show it to operators
    only."""
    shown = sa.select(deliveries.c.id, deliveries.c.error).where(UNDELIVERED, NO_TEST)
    return {row.id: row.error for row in connection.execute(shown)}


def retry(store: Store, ids: Iterable[str], now: datetime) -> int:
    """Make undelivered messages due at once, under the same ids, with all attempts again. Return their number.

    Their routes are no longer paused or disabled. A damaged message cannot be sent again.
    """
    chosen = deliveries.c.id.in_(list(ids)) & UNDELIVERED & deliveries.c.error.is_distinct_from(UNREADABLE)
    with store.writing() as connection:
        again = sa.update(deliveries).where(chosen).values(status="waiting", attempts=0, not_before=now)
        names = connection.scalars(again.returning(deliveries.c.route)).all()
        routes.enable(connection, set(names))
    return len(names)


def dismiss(store: Store, ids: Iterable[str]) -> int:
    """Give up undelivered messages, and unsent messages that follow them. Return their number. The rows stay."""
    with store.writing() as connection:
        return cancel(connection, deliveries.c.id.in_(list(ids)) & UNDELIVERED)


def cancel(connection: sa.Connection, which: sa.ColumnElement[bool], error: str | None = None) -> int:
    """Dismiss the messages of `which` that are not sent, and those that follow them. Return the number of messages.

    A message that follows a cancelled one stays if the receiver may have the cancelled one: it then needs the end, too.
    With a digest, its parts are dismissed. Where only a part is, the digest is dissolved.
    """
    unsent = deliveries.c.status.in_(("waiting", "failed", "merged"))
    reason = {} if error is None else {"error": error}
    columns = (deliveries.c.id, deliveries.c.maybe_received, deliveries.c.digest_id)

    def dismissed(chosen: sa.ColumnElement[bool]) -> list[sa.Row[Any]]:
        update = sa.update(deliveries).where(unsent, chosen).values(status="dismissed", **reason)
        return list(connection.execute(update.returning(*columns)).all())

    rows = dismissed(which)
    ids = {row.id for row in rows}
    dissolve(connection, {row.digest_id for row in rows if row.digest_id} - ids)
    parts = dismissed(deliveries.c.digest_id.in_(ids)) if ids else []
    unknown_to_receiver = [row.id for row in (*rows, *parts) if not row.maybe_received]
    if not unknown_to_receiver:
        return len(rows)
    followers = deliveries.c.follows.in_(unknown_to_receiver) & ~deliveries.c.maybe_received
    return len(rows) + cancel(connection, followers, error)


def held(connection: sa.Connection, now: datetime) -> tuple[int, datetime | None]:
    """Return how many messages wait for the end of quiet hours or for the rate cap, and when the first of them ends."""
    first = sa.type_coerce(sa.func.min(deliveries.c.held_until), sa.Text)
    waiting = deliveries.c.status == _WAITING
    number, text = connection.execute(sa.select(sa.func.count(), first).where(waiting, is_held(now))).one()
    return number, _moment(text)


def is_waiting_on_purpose(connection: sa.Connection, message: Message, now: datetime) -> bool:
    """Return whether nobody has tried to send a message, or its digest, because of quiet hours or the rate cap."""
    carrier = deliveries.c.id == (message.digest_id if message.status == "merged" else message.id)
    untried = (deliveries.c.status == "waiting") & (deliveries.c.attempts == 0) & ~deliveries.c.maybe_received
    return connection.scalar(sa.select(deliveries.c.id).where(carrier, untried, is_held(now))) is not None


def merge(connection: sa.Connection, ids: Collection[str], digest_id: str) -> None:
    """Make messages parts of a digest, which is sent in their place."""
    parts = sa.update(deliveries).where(deliveries.c.id.in_(ids))
    connection.execute(parts.values(status="merged", digest_id=digest_id))


def update_parts(connection: sa.Connection, digest_ids: Collection[str], **values: Any) -> None:
    """Let the parts of digests follow them. What is true of an attempt to send a digest is true of its parts."""
    if digest_ids:
        parts = deliveries.c.digest_id.in_(digest_ids) & (deliveries.c.status == "merged")
        connection.execute(sa.update(deliveries).where(parts).values(values))


def dissolve(connection: sa.Connection, digest_ids: Collection[str]) -> None:
    """Dismiss unsent digests. Their parts wait again, and what is left of them becomes a digest (`pacing`)."""
    if not digest_ids:
        return
    unsent = deliveries.c.id.in_(digest_ids) & deliveries.c.status.in_(("waiting", "failed"))
    connection.execute(sa.update(deliveries).where(unsent).values(status="dismissed", error="its parts changed"))
    parts = deliveries.c.digest_id.in_(digest_ids) & (deliveries.c.status == "merged")
    waited_until = sa.func.coalesce(deliveries.c.held_until, deliveries.c.created_at)
    connection.execute(
        sa.update(deliveries).where(parts).values(status="waiting", digest_id=None, held_until=waited_until)
    )


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
    is_time = (not_before <= now) | (not_before > limit)
    return (deliveries.c.status == _WAITING) & is_time & ~is_held(now)


def is_held(now: datetime) -> sa.ColumnElement[bool]:
    """Select the messages that wait for the end of quiet hours or for the rate cap. No such wait is longer than a day:
    one that seems to be is over, because the clock was set back."""
    held_until = deliveries.c.held_until
    return held_until.is_not(None) & (held_until > now) & (held_until <= now + LONGEST_HOLD + CLOCK_SKEW)


def _lacks_route(settings: Settings) -> sa.ColumnElement[bool]:
    """Select waiting messages whose route is not in the settings and whose error does not say so yet."""
    return (
        (deliveries.c.status == "waiting")
        & deliveries.c.route.not_in(list(settings.routes))
        & deliveries.c.error.is_distinct_from(NO_ROUTE)
    )


def note_missing_routes(store: Store, settings: Settings) -> None:
    """Write into each waiting message without a route in the settings that it has none."""
    lacks_route = _lacks_route(settings)
    with store.reading() as connection:  # most often there is nothing to write, and reading takes no lock
        if connection.execute(sa.select(deliveries.c.id).where(lacks_route).limit(1)).first() is None:
            return
    with store.writing() as connection:
        connection.execute(sa.update(deliveries).where(lacks_route).values(error=NO_ROUTE))


def _message(row: Mapping[Any, Any]) -> Message:
    """Return a message from its stored values."""
    names = ("id", "route", "kind", "status", "document", "error", "severity", "digest_id")
    text = {name: seals.stored_text(row[name]) for name in names}
    document = _document(text["document"])
    created_at, not_before = (_moment(seals.stored_text(row[name])) for name in ("created_at", "not_before"))
    attempts = row["attempts"] if isinstance(row["attempts"], int) else None
    unknown = datetime.fromtimestamp(0, UTC)
    return Message(
        id=text["id"],
        route=text["route"],
        kind=text["kind"],
        document=document or _DAMAGED,
        status=text["status"],
        attempts=attempts or 0,
        maybe_received=bool(row["maybe_received"]),
        error=text["error"] or None,
        created_at=created_at or unknown,
        not_before=not_before or unknown,
        severity=text["severity"],
        held_until=_moment(seals.stored_text(row["held_until"])),
        digest_id=text["digest_id"] or None,
        readable=None not in (document, created_at, not_before, attempts),
    )


def _document(text: str) -> dict[str, Any] | None:
    """Return the payload of a message; None if it is not one."""
    try:
        document = json.loads(text)
        return document if isinstance(document["data"]["headline"], dict) else None
    except (ValueError, LookupError, TypeError):
        return None


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
