"""Messages about the end of alerts: resolved, corrected, expired, and one for all that end with a changed rule."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import CORRECTED, ENDED, FIRING
from riskmodel.geography import WHOLE_REGION
from service.alerts import known_alerts, outbox, wording
from service.alerts.known_alerts import RULE_CHANGED
from service.alerts.notifications import alert_key, message_data
from service.store.tables import deliveries

RULE_REASONS = ("rule_changed", "rule_withdrawn", "other_outcome")
"""The reasons of an alert that ended with its rule. None of them says that the danger is over."""


def enqueue(
    connection: sa.Connection, changes: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], now: datetime
) -> None:
    """Add the messages about alerts that end, by the routes whose receivers know that they fire.

    `facts` are those of the forecast in service. What is taken back is not announced late: the messages about a
    corrected alert, or about one that ended with its rule, are cancelled if they are not sent yet.
    """
    with_rule: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    waits_for: dict[str, str] = {}
    for change in changes:
        if change["to_state"] not in ENDED:
            continue
        known_alerts.cancel_reminders(connection, change["alert_id"], "the alert has ended")
        by_rule = change["reason"] in RULE_REASONS
        if by_rule or change["to_state"] == CORRECTED:
            _cancel_unsent(connection, change)
        for route, announcement in _receivers(connection, change):
            if (
                announcement
                and announcement.kind == FIRING
                and outbox.is_waiting_on_purpose(connection, announcement, now)
            ):
                # It waits for the morning, and by then there is nothing to say.
                outbox.cancel(connection, deliveries.c.id == announcement.id, "the alert ended before it was sent")
                continue
            follows = announcement.id if announcement else None
            if by_rule:
                with_rule[route].append(message_data(change))
                if announcement and announcement.status == "waiting":  # a summary, which has other alerts too
                    waits_for[route] = announcement.id
            else:
                outbox.enqueue(
                    connection,
                    route=route,
                    kind=change["to_state"],
                    data=message_data(change),
                    now=now,
                    alert=alert_key(change),
                    follows=follows,
                )
    for route, ended in sorted(with_rule.items()):
        data = {**facts, "name": wording.name(WHOLE_REGION, facts["region"]), "alerts": ended}
        data |= wording.rule_change(data)
        follows = waits_for.get(route)
        outbox.enqueue(connection, route=route, kind=RULE_CHANGED, data=data, now=now, follows=follows)


def _cancel_unsent(connection: sa.Connection, change: Mapping[str, Any]) -> None:
    own = deliveries.c.id.in_(known_alerts.ids_of_own_messages(change["alert_id"]))
    error = "taken back before it was sent"
    # Those that may have been received first: what follows them is sent, and a retry is not.
    outbox.cancel(connection, own & outbox.RECEIVED, error)
    outbox.cancel(connection, own, error)


def _receivers(connection: sa.Connection, change: Mapping[str, Any]) -> Iterator[tuple[str, outbox.Message | None]]:
    """Yield the routes by which an alert was announced, each with the message that announced it if it still exists."""
    announced = known_alerts.announcements(connection, change["alert_id"])
    yield from announced.items()
    if not announced and change["route"] and known_alerts.was_announced_long_ago(connection, change["alert_id"]):
        yield change["route"], None
