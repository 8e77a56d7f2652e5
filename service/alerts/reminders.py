"""Reminders: messages that an alert still fires, for rules with `repeat_every`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import FIRING
from service.alerts import digest_wording, known_alerts, outbox, silence_matching
from service.alerts import facts as location_facts
from service.alerts.known_alerts import REMINDER
from service.alerts.notifications import alert_key, message_data
from service.store.tables import alert_states, alerts
from service.store.values import instant

TEXTS = ("headline", "sms", "text", "full")


def enqueue(
    connection: sa.Connection,
    rules: Sequence[Rule],
    facts: Mapping[str, Mapping[str, Any]],
    forecasts: Mapping[str, Mapping[str, Any]],
    region: str,
    simulated: bool,
    now: datetime,
) -> None:
    """Add a reminder for each alert that fires, that nobody has acknowledged, and whose last message is old enough.

    `facts` has those of each forecast by outcome, and `forecasts` the flat documents. Alerts that are silenced or
    inhibited get none, and neither do those that were never announced. There is at most one for each interval, however
    often and after whatever stop this runs.
    """
    repeated = {rule.name: rule for rule in rules if rule.repeat_every and rule.route}
    if not repeated:
        return
    lasting = silence_matching.active(connection, region, simulated)
    rows = connection.execute(
        sa.select(alerts, alert_states.c.value, alert_states.c.reason)
        .join(alert_states, alert_states.c.alert_id == alerts.c.id)
        .where(alerts.c.region == region, alerts.c.simulated == simulated, alerts.c.rule.in_(list(repeated)))
        .where(alerts.c.state == FIRING, alerts.c.acknowledged_at.is_(None), alerts.c.inhibited_by.is_(None))
        .where(alerts.c.notified_at.is_not(None))
        .order_by(alerts.c.id)
    ).all()
    for row in rows:
        rule = repeated[row.rule]
        if row.notified_at > now:  # the clock was set back: the interval starts again
            known_alerts.note_announced(connection, [row.id], now)
            continue
        is_due = now - row.notified_at >= timedelta(days=rule.repeat_every or 0)
        if is_due and silence_matching.id_of_match(lasting, dict(row._mapping)) is None:
            _enqueue(connection, row, rule, facts.get(row.outcome, {}), forecasts.get(row.outcome), now)


def _enqueue(
    connection: sa.Connection,
    row: Any,
    rule: Rule,
    facts: Mapping[str, Any],
    forecast: Mapping[str, Any] | None,
    now: datetime,
) -> None:
    change = known_alerts.last_change(connection, row.id)
    data = {key: value for key, value in message_data(change).items() if key not in TEXTS}
    data |= {**facts, "value": row.value, "reason": row.reason, "since": instant(row.fired_at), "at": instant(now)}
    data |= {
        "facts": location_facts.of_location(forecast, row.location_code, rule.metric) if forecast else {},
        "earlier": {"value": change["value"], "origin": change["origin"]},
    }
    data |= digest_wording.reminder(data)
    outbox.enqueue(connection, route=str(rule.route), kind=REMINDER, data=data, now=now, alert=alert_key(change))
    known_alerts.note_announced(connection, [row.id], now)
