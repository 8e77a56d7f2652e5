"""What receivers know of an alert: the messages about it that they have, may have, or will get."""

import sqlalchemy as sa

from riskmodel.alerting.states import CORRECTED, EXPIRED, FIRING, RESOLVED
from service.alerts import outbox
from service.alerts.outbox import Message
from service.store.tables import deliveries, delivery_alerts, transitions

ANNOUNCING = (FIRING, "summary")
"""Kinds of messages that say that an alert fires."""

RULE_CHANGED = "rule_changed"
"""The kind of message about alerts that ended with their rule."""

ENDING = (RESOLVED, CORRECTED, EXPIRED, RULE_CHANGED)
"""Kinds of messages that say that an alert has ended."""

ABOUT_ONE = (FIRING, RESOLVED, CORRECTED, EXPIRED)
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


def was_announced_long_ago(connection: sa.Connection, alert_id: str) -> bool:
    """Return whether an alert was announced by messages so old that they are deleted."""
    if connection.scalar(
        sa.select(delivery_alerts.c.delivery_id).where(delivery_alerts.c.alert_id == alert_id).limit(1)
    ):
        return False
    fired = sa.select(transitions.c.document).where(
        transitions.c.alert_id == alert_id, transitions.c.to_state == FIRING
    )
    document = connection.execute(fired).scalar_one_or_none()
    return document is not None and document["route"] is not None and document["silence_id"] is None


def ids_of_own_messages(alert_id: str) -> sa.Select[tuple[str]]:
    """Select the ids of the messages about an alert alone."""
    return (
        _about(alert_id)
        .join(deliveries, deliveries.c.id == delivery_alerts.c.delivery_id)
        .where(deliveries.c.kind.in_(ABOUT_ONE))
    )


def _about(alert_id: str) -> sa.Select[tuple[str]]:
    return sa.select(delivery_alerts.c.delivery_id).where(delivery_alerts.c.alert_id == alert_id)
