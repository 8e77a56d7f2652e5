"""Pacing: holds messages back in the quiet hours of their route and above its rate cap.

What waited is sent as one digest. `pace` runs in the transaction in which a sender reads what to send, so no message
passes it.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from service.alerts import digests, outbox, quiet_hours
from service.alerts.digests import MERGEABLE
from service.alerts.outbox import DIGEST
from service.alerts.routes import CLOCK_SKEW
from service.settings import RouteOptions
from service.store.tables import deliveries

MERGED_KINDS = (*MERGEABLE, DIGEST)

CAP_PERIOD = timedelta(hours=1)
"""The period of a rate cap."""

SENT = (deliveries.c.status == "sent") & deliveries.c.digest_id.is_(None)
"""Messages that were sent for themselves."""


def pace(connection: sa.Connection, route: str, options: RouteOptions, now: datetime) -> None:
    """Hold back what a route must not get now, and merge what has waited."""
    of_route = outbox.ready(now) & (deliveries.c.route == route)
    for severity, hours in options.quiet_hours.items():
        if end := quiet_hours.end_of(hours, options.time_zone, now):
            quiet = of_route & (deliveries.c.severity == severity)
            connection.execute(sa.update(deliveries).where(quiet).values(held_until=end))
    fresh = of_route & digests.is_fresh(now)
    waited = fresh & deliveries.c.held_until.is_not(None) & deliveries.c.kind.in_(MERGED_KINDS)
    has_waited = (
        (deliveries.c.status == "waiting") & (deliveries.c.route == route) & deliveries.c.held_until.is_not(None)
    )
    if connection.scalar(sa.select(deliveries.c.id).where(has_waited).limit(1)) is not None:
        digests.merge(connection, outbox.read(connection, waited), now)
    if options.max_messages is not None:
        _cap(connection, route, fresh, options.max_messages, now)


def _cap(
    connection: sa.Connection, route: str, fresh: sa.ColumnElement[bool], max_messages: int, now: datetime
) -> None:
    """Merge the messages above the cap, and hold back what is still above it until the next message is allowed."""
    period = (deliveries.c.sent_at > now - CAP_PERIOD) & (deliveries.c.sent_at <= now + CLOCK_SKEW)
    tried = (deliveries.c.status == "waiting") & (deliveries.c.attempts > 0)
    of_route = deliveries.c.route == route
    used = connection.scalars(sa.select(deliveries.c.sent_at).where(of_route, (SENT & period) | tried)).all()
    room = max(max_messages - len(used), 0)
    due = outbox.read(connection, fresh)
    if len(due) <= room:
        return
    rest = due[max(room - 1, 0) :]  # the digest takes a place, too
    digests.merge(connection, [message for message in rest if message.kind in MERGED_KINDS], now)
    above = [message.id for message in outbox.read(connection, fresh)[room:]]
    sent = sorted(moment for moment in used if moment is not None)
    next_place = sent[max(len(sent) - max_messages, 0)] + CAP_PERIOD if sent else now + CAP_PERIOD
    hold = sa.update(deliveries).where(deliveries.c.id.in_(above))
    connection.execute(hold.values(held_until=max(next_place, now + CLOCK_SKEW)))
