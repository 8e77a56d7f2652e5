"""What receivers know of an alert: the messages about it that they have, may have, or will get."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import CORRECTED, EXPIRED, FIRING, RESOLVED
from service.alerts import outbox, wording
from service.alerts.outbox import Message
from service.store.tables import alert_states, alerts, deliveries, delivery_alerts, transitions
from service.store.values import instant

ANNOUNCING = (FIRING, "summary")
"""Kinds of messages that say that an alert fires."""

RULE_CHANGED = "rule_changed"
"""The kind of message about alerts that ended with their rule."""

REMINDER = "reminder"
"""The kind of message that an alert still fires."""

ENDING = (RESOLVED, CORRECTED, EXPIRED, RULE_CHANGED)
"""Kinds of messages that say that an alert has ended."""

ABOUT_ONE = (FIRING, REMINDER, RESOLVED, CORRECTED, EXPIRED)
"""Kinds of messages about one alert alone."""

_REACHES = (deliveries.c.status != "dismissed") | deliveries.c.maybe_received


def announcements(connection: sa.Connection, alert_id: str) -> dict[str, Message]:
    """Return the newest message by each route that says that an alert fires, and that no newer one has ended."""
    newest: dict[str, Message] = {}
    which = deliveries.c.id.in_(_about(alert_id)) & deliveries.c.kind.in_((*ANNOUNCING, *ENDING)) & _REACHES
    for message in outbox.read(connection, which):
        if message.kind in ANNOUNCING:
            newest[message.route] = message
        else:
            newest.pop(message.route, None)
    return newest


def note_announced(connection: sa.Connection, alert_ids: Collection[str], now: datetime) -> None:
    """Note that there is a message that says that these alerts fire."""
    connection.execute(sa.update(alerts).where(alerts.c.id.in_(alert_ids)).values(notified_at=now))


def was_announced_long_ago(connection: sa.Connection, alert_id: str) -> bool:
    """Return whether an alert was announced by messages so old that they are deleted."""
    if connection.scalar(_about(alert_id).limit(1)):
        return False
    notified_at = sa.select(alerts.c.notified_at).where(alerts.c.id == alert_id)
    return connection.scalar(notified_at) is not None


def cancel_reminders(connection: sa.Connection, alert_id: str, error: str) -> None:
    """Cancel the reminders of an alert that no receiver has."""
    reminders = deliveries.c.id.in_(ids_of_own_messages(alert_id)) & (deliveries.c.kind == REMINDER)
    outbox.cancel(connection, reminders & ~outbox.RECEIVED, error)


def still_firing(connection: sa.Connection, alert_id: str, cause: str, now: datetime) -> dict[str, Any]:
    """Return a firing alert as it is announced late, with its newest value. `cause` is a key of `wording.CAUSES`."""
    change = last_change(connection, alert_id)
    state = connection.execute(sa.select(alert_states).where(alert_states.c.alert_id == alert_id)).one()
    change |= {"value": state.value, "reason": state.reason, "causes": [cause], "at": instant(now)}
    change |= {"facts": {}, "earlier": None}  # those of the transition are of an earlier forecast than the value
    return change | wording.change(FIRING, change)


def last_change(connection: sa.Connection, alert_id: str) -> dict[str, Any]:
    """Return the transition with which an alert came into its present state."""
    last = sa.select(transitions.c.document).where(transitions.c.alert_id == alert_id, transitions.c.to_state != "ok")
    document: dict[str, Any] = connection.execute(last.order_by(transitions.c.id.desc()).limit(1)).scalar_one()
    return document | {"silence_id": None}


def ids_of_own_messages(alert_id: str) -> sa.Select[tuple[str]]:
    """Select the ids of the messages about an alert alone."""
    return (
        _about(alert_id)
        .join(deliveries, deliveries.c.id == delivery_alerts.c.delivery_id)
        .where(deliveries.c.kind.in_(ABOUT_ONE))
    )


def _about(alert_id: str) -> sa.Select[tuple[str]]:
    return sa.select(delivery_alerts.c.delivery_id).where(delivery_alerts.c.alert_id == alert_id)
