"""Which messages follow from changes of alerts. Each is added to the outbox in the transaction of its change."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import FIRING, RESOLVED
from riskmodel.geography import WHOLE_REGION
from service.alerts import outbox, wording
from service.snapshots.outcome_parts import NOT_COMPUTED
from service.store.tables import alert_states, deliveries, transitions


class Transition(NamedTuple):
    """A change of state: its document, and the id of the transition that led to the state before, if any."""

    document: dict[str, Any]
    previous_id: int | None


def enqueue_messages(connection: sa.Connection, changes: Sequence[Transition], now: datetime) -> None:
    """Add one message for each alert that fires or is resolved, by the route of its rule."""
    for change, previous_id in changes:
        if not change["route"] or change["to_state"] not in (FIRING, RESOLVED):
            continue
        announcement = _announcement(connection, previous_id) if change["to_state"] == RESOLVED else None
        if announcement and announcement.status == "dismissed" and not announcement.maybe_received:
            continue  # the receiver does not know of the alert
        outbox.enqueue(
            connection,
            route=change["route"],
            kind=change["to_state"],
            data=_message_data(change),
            now=now,
            alert="/".join(change[key] for key in ("region", "rule", "location_code")),
            follows=announcement.id if announcement else None,
        )


def _announcement(connection: sa.Connection, transition_id: int | None) -> outbox.Message | None:
    """Return the message that announced a transition to firing, alone or in a summary; None if there is none (any
    more)."""
    transition = connection.execute(sa.select(transitions).where(transitions.c.id == transition_id)).one_or_none()
    if transition is None:
        return None
    of_run = (deliveries.c.run_id == transition.run_id) & (deliveries.c.created_at == transition.at)
    alert = (transition.rule, transition.location_code, transition.outcome)
    for message in outbox.read(connection, of_run & deliveries.c.kind.in_((FIRING, "summary"))):
        if not message.readable:
            continue
        data = message.document["data"]
        listed = data["alerts"] if message.kind == "summary" else [data]
        if any((entry["rule"], entry["location_code"], entry["outcome"]) == alert for entry in listed):
            return message
    return None


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
        .where(of_region, alert_states.c.state == FIRING, alert_states.c.outcome.in_(facts["outcomes"]))
        .order_by(transitions.c.id)
    )
    firing_alerts = [{**row.document, "value": row.value, "reason": row.reason} for row in rows]
    for route in sorted({rule.route for rule in rules if rule.route}):
        alerts = [_message_data(alert) for alert in firing_alerts if alert["route"] == route]
        summary = {**facts, "name": wording.name(WHOLE_REGION, facts["region"]), "alerts": alerts}
        outbox.enqueue(connection, route=route, kind="summary", data=summary | wording.summary(summary), now=now)


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


def _message_data(change: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a receiver gets of a transition: everything except the name that its route has in our settings."""
    return {key: value for key, value in change.items() if key != "route"}
