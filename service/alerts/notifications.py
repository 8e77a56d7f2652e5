"""Which messages follow from changes of alerts. Each is added to the outbox in the transaction of its change."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.rule import SEVEREST_FIRST, Rule
from riskmodel.alerting.states import FIRING
from riskmodel.geography import WHOLE_REGION
from service.alerts import known_alerts, outbox, silence_matching, wording
from service.snapshots.outcome_parts import NOT_COMPUTED
from service.store.tables import alert_states, alerts, transitions


def enqueue_messages(connection: sa.Connection, changes: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Add one message for each alert that fires, by the route of its rule. Those about its end are in `endings`."""
    announced = [change for change in changes if change["route"] and change["to_state"] == FIRING]
    known_alerts.note_announced(connection, [change["alert_id"] for change in announced], now)
    for change in announced:
        outbox.enqueue(
            connection,
            route=change["route"],
            kind=FIRING,
            data=message_data(change),
            now=now,
            alert=alert_key(change),
        )


def alert_key(change: Mapping[str, Any]) -> str:
    """Return the name under which the messages of a rule about a location are sent in their order."""
    return "/".join(change[key] for key in ("region", "rule", "location_code"))


def enqueue_summaries(
    connection: sa.Connection, rules: Sequence[Rule], facts: Mapping[str, Any], now: datetime
) -> None:
    """Add one summary of the outcomes in `facts` for each route that a rule names, even if nothing fires.

    It shows that the route works. It lists every firing alert: also those that began before their forecast was missing
    for some time.
    """
    of_region = (alert_states.c.region == facts["region"]) & (alert_states.c.simulated == facts["simulated"])
    rows = connection.execute(
        sa.select(transitions.c.document, alert_states.c.value, alert_states.c.reason)
        .join(alert_states, transitions.c.id == alert_states.c.transition_id)
        .join(alerts, alerts.c.id == alert_states.c.alert_id)
        .where(of_region, alert_states.c.state == FIRING, alert_states.c.outcome.in_(facts["outcomes"]))
        .where(alerts.c.inhibited_by.is_(None))
        .order_by(transitions.c.id)
    )
    lasting = silence_matching.active(connection, facts["region"], facts["simulated"])
    firing_alerts = [
        {**row.document, "value": row.value, "reason": row.reason}
        for row in rows
        if silence_matching.id_of_match(lasting, row.document) is None
    ]
    for route in sorted({rule.route for rule in rules if rule.route}):
        listed = [message_data(alert) for alert in firing_alerts if alert["route"] == route]
        known_alerts.note_announced(connection, [alert["alert_id"] for alert in listed], now)
        summary = {**facts, "name": wording.name(WHOLE_REGION, facts["region"]), "alerts": listed}
        severity = min((alert["severity"] for alert in listed), key=SEVEREST_FIRST.index, default="info")
        summary |= wording.summary(summary)
        outbox.enqueue(connection, route=route, kind="summary", data=summary, severity=severity, now=now)


def enqueue_losses(
    connection: sa.Connection,
    rules: Sequence[Rule],
    lost: Collection[tuple[str, str]],
    document: Mapping[str, Any],
    facts: Mapping[str, Any],
    now: datetime,
) -> None:
    """Add one message by each route of a rule whose outcome the snapshot no longer has; `lost` has rule and outcome.

    Without it, a rule that can no longer fire would look like peace.
    """
    (outcome,) = {outcome for _, outcome in lost}  # a snapshot has at least one of the two
    reason = document["missing_outcomes"].get(outcome, NOT_COMPUTED)
    loss = {
        **facts,
        "outcome": outcome,
        "reason": reason,
        "name": wording.name(WHOLE_REGION, facts["region"]),
    }
    loss |= wording.loss(loss, of_forecast=facts["outcome"])
    for route in sorted({rule.route for rule in rules if rule.route and (rule.name, outcome) in lost}):
        outbox.enqueue(connection, route=route, kind="missing", data=loss, now=now)


def message_data(change: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a receiver gets of a transition: all except our names of routes and silences."""
    return {key: value for key, value in change.items() if key not in ("route", "silence_id")}
