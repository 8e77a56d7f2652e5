"""The rows of alerts: states and transitions, with the messages that follow from them.

`evaluate` applies the life-cycle of `riskmodel.alerting.states` in the transaction of the run that computed the values:
a state, its transition and its message are written together or not at all. It sends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.metrics import REGION_METRIC
from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import ACTIVE, FIRING, OK, RESOLVED, AlertState, next_state
from service.alerts import episodes, notifications, wording
from service.alerts.readings import AlertReading, readings
from service.snapshots import change_feed
from service.snapshots.outcome_parts import MISSING_REASONS, available, of_outcome
from service.store.tables import alert_states, transitions
from service.store.values import instant, sortable_id

SEVEREST_FIRST = ("severe", "warning", "info")

LISTED_KEYS = (
    "alert_id",
    "rule",
    "severity",
    "title",
    "note",
    "location_code",
    "name",
    "outcome",
    "metric",
    "fire_at",
    "clear_at",
    "causes",
    "simulated",
    "headline",
    "text",
)
"""Keys that the list of firing alerts copies from the transition to firing."""

STATE_COLUMNS = tuple(field.name for field in fields(AlertState))
"""Columns of a row of `alert_states` that are its `AlertState`."""

RECORDED_KEYS = (
    "run_id",
    "snapshot_id",
    "region",
    "rule",
    "location_code",
    "simulated",
    "outcome",
    "from_state",
    "to_state",
    "alert_id",
)
"""Keys of a transition's document that are columns of its row too."""


def evaluate(
    connection: sa.Connection,
    *,
    rules: Sequence[Rule],
    document: Mapping[str, Any],
    run_id: int,
    snapshot_id: int,
    now: datetime,
    causes: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Update all alerts of a region from a snapshot and the clock, in the run's transaction. Return the transitions.

    `causes` (keys of `wording.CAUSES`) say why alerts can change. By default they are those of the document, with which
    each outcome differs from the snapshot before; a run that issued no snapshot passes none. An alert that fires or is
    resolved gives one message by the route of its rule. The first forecast of an outcome gives one summary by each
    route instead. If an outcome is no longer forecast, each route of a rule that used it gets one message.
    """
    forecasts = {outcome: of_outcome(document, outcome) for outcome in available(document)}
    facts = {outcome: _facts(forecast, run_id, snapshot_id, now) for outcome, forecast in forecasts.items()}
    causes_by_outcome = {o: forecast["causes"] if causes is None else causes for o, forecast in forecasts.items()}
    region, simulated = document["region"], document["simulated"]
    of_region = (alert_states.c.region == region) & (alert_states.c.simulated == simulated)
    rows = connection.execute(sa.select(alert_states).where(of_region))
    before = {(row.rule, row.location_code, row.outcome): row for row in rows}
    outcomes_before = {row.rule: row.outcome for row in before.values()}
    # A forecast that the last run missed already is no news.
    lost = {
        (row.rule, row.outcome)
        for row in before.values()
        if row.outcome not in forecasts and row.reason not in MISSING_REASONS
    }

    states, changes = [], []
    for reading in readings(connection, rules, document, forecasts, now):
        rule, outcome = reading.rule, reading.outcome
        row = before.pop((rule.name, reading.location_code, outcome), None)
        old = AlertState(**{name: row._mapping[name] for name in STATE_COLUMNS}) if row else AlertState()
        since, transition_id, alert_id = (row.since, row.transition_id, row.alert_id) if row else (now, None, None)
        new = old
        if outcome in forecasts:
            new = next_state(old, rule, reading.value, facts[outcome]["origin"])
        if new.state != old.state:
            why = causes_by_outcome[outcome]
            if new.state == RESOLVED and "withdrawal" in why:
                new = new.without_cool_down()  # an alert that was wrong must not hold up the next one
            if not why and rule.kind.earlier_months and row is not None and row.value != reading.value:
                why = ["earlier_scores"]
            if outcomes_before.get(rule.name, outcome) != outcome and list(why) != ["first"]:
                why = ["outcome", *why]
            label = wording.metric_label(rule.metric, forecasts[outcome])
            if new.state in ACTIVE and old.state not in ACTIVE:
                alert_id = sortable_id("alr")
            change = _change(reading, label, old.state, new.state, facts[outcome], why) | {"alert_id": alert_id}
            changes.append(notifications.Transition(change, transition_id))
            since, transition_id = now, _record(connection, change, now)
            if new.state == OK:
                alert_id = None
        states.append(
            {
                "region": region,
                "simulated": simulated,
                "rule": rule.name,
                "outcome": outcome,
                "location_code": reading.location_code,
                "value": reading.value,
                "reason": reading.reason,
                "since": since,
                "transition_id": transition_id,
                "alert_id": alert_id,
                **asdict(new),
            }
        )
    read = {(state["rule"], state["location_code"]) for state in states}
    for row in before.values():  # no rule reads these any more, or it reads another outcome
        if row.state in ACTIVE:
            other_outcome = (row.rule, row.location_code) in read
            of_forecast = facts.get(row.outcome, facts[document["outcome"]])
            change = _end_unread(connection, row, of_forecast, other_outcome=other_outcome)
            changes.append(notifications.Transition(change, row.transition_id))
            _record(connection, change, now)
    connection.execute(sa.delete(alert_states).where(of_region))
    if states:
        connection.execute(sa.insert(alert_states), states)

    first = [outcome for outcome, found in causes_by_outcome.items() if list(found) == ["first"]]
    if readers := [rule for rule in rules if (rule.outcome or document["outcome"]) in first]:
        notifications.enqueue_summaries(connection, readers, {**facts[first[0]], "outcomes": first}, now)
    if lost:
        notifications.enqueue_losses(connection, rules, lost, document, facts[document["outcome"]], now)
    notifications.enqueue_messages(
        connection, [change for change in changes if change.document["outcome"] not in first], now
    )
    return [change.document for change in changes]


def _facts(forecast: Mapping[str, Any], run_id: int, snapshot_id: int, now: datetime) -> dict[str, Any]:
    """Return what every message about a forecast says of it."""
    facts = {key: forecast[key] for key in ("region", "simulated", "outcome", "origin", "data_as_of", "bands")}
    facts["of_headline"] = forecast["outcome"] == forecast["available_outcomes"][0]
    return facts | {"run_id": run_id, "snapshot_id": snapshot_id, "at": instant(now)}


def firing(connection: sa.Connection, region: str, simulated: bool) -> list[dict[str, Any]]:
    """Return the firing alerts: the severest first, then those that have fired longest.

    `value` is the last value; if it is null, `reason` says why. `since_origin`, `causes`, `headline` and `text` are
    those of the moment when the alert fired.
    """
    rows = connection.execute(
        sa.select(alert_states.c.since, alert_states.c.value, alert_states.c.reason, transitions.c.document)
        .join(transitions, transitions.c.id == alert_states.c.transition_id)
        .where(alert_states.c.region == region, alert_states.c.simulated == simulated, alert_states.c.state == FIRING)
        .order_by(alert_states.c.since, alert_states.c.rule, alert_states.c.location_code)
    )
    alerts = [
        {
            **{key: row.document[key] for key in LISTED_KEYS},
            "value": row.value,
            "reason": row.reason,
            "since": instant(row.since),
            "since_origin": row.document["origin"],
        }
        for row in rows
    ]
    return sorted(alerts, key=lambda alert: SEVEREST_FIRST.index(alert["severity"]))


def _change(
    reading: AlertReading,
    label: wording.Bilingual,
    from_state: str,
    to_state: str,
    facts: Mapping[str, Any],
    causes: Sequence[str],
) -> dict[str, Any]:
    rule = reading.rule
    change = {
        **facts,
        "rule": rule.name,
        "severity": rule.severity,
        "title": rule.title.model_dump(),
        "route": rule.route,
        "location_code": reading.location_code,
        "name": wording.name(reading.location_code, facts["region"]),
        "note": rule.note.model_dump() if rule.note else None,
        "metric": rule.metric,
        "metric_label": label,
        "value": reading.value,
        "reason": reading.reason,
        "fire_at": rule.fire_at,
        "clear_at": rule.clear_at,
        "for": rule.for_origins,
        "from_state": from_state,
        "to_state": to_state,
        "causes": _causes(rule, to_state, causes),
    }
    return change | wording.change(to_state, change)


def _causes(rule: Rule, to_state: str, causes: Sequence[str]) -> list[str]:
    """Return why an alert changed. Only the clock makes data too old, and only a rule changes an alert on old data."""
    if rule.metric == REGION_METRIC and to_state == FIRING and "first" not in causes:
        return ["clock"]
    return list(causes) or ["rules"]


def _end_unread(
    connection: sa.Connection, row: Any, facts: Mapping[str, Any], *, other_outcome: bool
) -> dict[str, Any]:
    """End an alert that no rule reads any more. The message goes by the route that it had.

    Its rule is gone, no longer covers its location, or reads another outcome.
    """
    last = connection.execute(
        sa.select(transitions.c.document).where(transitions.c.id == row.transition_id)
    ).scalar_one()
    change = {
        **last,
        **facts,
        "outcome": row.outcome,
        "value": None,
        "reason": "other_outcome" if other_outcome else "rule_withdrawn",
        "from_state": row.state,
        "to_state": RESOLVED if row.state == FIRING else OK,
        "causes": ["outcome" if other_outcome else "rules"],
    }
    return change | wording.change(change["to_state"], change, of_forecast=facts["outcome"])


def _record(connection: sa.Connection, change: Mapping[str, Any], now: datetime) -> int:
    """Store a transition and what it means for its alert. Return the id of the transition."""
    episodes.record(connection, change, now)
    row = sa.insert(transitions).values(at=now, document=change, **{name: change[name] for name in RECORDED_KEYS})
    transition_id: int = connection.execute(row.returning(transitions.c.id)).scalar_one()
    change_feed.alert_changed(connection, change, now)
    return transition_id
