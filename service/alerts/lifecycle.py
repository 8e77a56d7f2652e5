"""Life-cycle of an alert (ok → pending → firing → resolved), and its rows: states, transitions and messages.

`next_state` is the whole logic and uses no database. `evaluate` applies it in the transaction of the run that computed
the values: a state, its transition and its message are written together or not at all. It sends nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from riskmodel.geography import WHOLE_REGION
from service.alerts import outbox, wording
from service.alerts.rules import REGION_METRIC, Rule
from service.snapshots import change_feed
from service.store.tables import alert_states, deliveries, transitions
from service.store.values import instant

OK, PENDING, FIRING, RESOLVED = "ok", "pending", "firing", "resolved"

SEVEREST_FIRST = ("severe", "warning", "info")

LISTED_KEYS = (
    "rule",
    "severity",
    "title",
    "location_code",
    "name",
    "metric",
    "fire_at",
    "clear_at",
    "causes",
    "simulated",
    "headline",
    "text",
)
"""Keys that the list of firing alerts copies from the transition to firing."""


@dataclass(frozen=True)
class AlertState:
    """State of one alert. `origins` counts the origins at or above `fire_at`, and `last_origin` is the newest of them.

    In the state `resolved`, `last_origin` is the origin that resolved the alert.
    """

    state: str = OK
    origins: int = 0
    last_origin: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a rule reads for one location: a value in the unit of its metric, or None and the reason."""

    rule: Rule
    location_code: str
    value: float | None
    reason: str | None


class Transition(NamedTuple):
    """A change of state: its document, and the id of the transition that led to the state before, if any."""

    document: dict[str, Any]
    previous_id: int | None


def next_state(current: AlertState, rule: Rule, value: float | None, origin: str) -> AlertState:
    """Return the next state of an alert whose metric has this value at `origin` (YYYY-MM).

    An unknown value changes nothing. An origin that is read again counts once. A value below `fire_at` ends the count.
    A resolved alert stays so until a later origin, so that a recompute of the same month does not hide it.
    """
    if value is None:
        return current
    if current.state == FIRING:
        return current if value >= rule.clear_at else AlertState(RESOLVED, 0, origin)
    last_origin = current.last_origin or ""
    if value < rule.fire_at:
        return current if current.state == RESOLVED and origin <= last_origin else AlertState()
    origins = current.origins + (origin > last_origin) if current.origins else 1
    return AlertState(FIRING if origins >= rule.for_origins else PENDING, origins, max(origin, last_origin))


def evaluate(
    connection: sa.Connection,
    *,
    rules: Sequence[Rule],
    document: Mapping[str, Any],
    run_id: int,
    snapshot_id: int,
    now: datetime,
    data_age_days: float,
    causes: Sequence[str],
    first: bool,
) -> list[dict[str, Any]]:
    """Update all alerts of a region from a snapshot and the clock, in the run's transaction. Return the transitions.

    A run that issued no snapshot passes the one in service and no `causes` (keys of `wording.CAUSES`). An alert that
    fires or is resolved gives one message by the route of its rule. The `first` snapshot of a region on real or on
    simulated data gives one summary by each route instead. `data_age_days` [days] is the age of the end of the origin
    month.
    """
    facts = {key: document[key] for key in ("region", "simulated", "outcome", "origin", "data_as_of")}
    facts |= {"run_id": run_id, "snapshot_id": snapshot_id, "at": instant(now)}
    of_region = (alert_states.c.region == facts["region"]) & (alert_states.c.simulated == facts["simulated"])
    rows = connection.execute(sa.select(alert_states).where(of_region))
    before = {(row.rule, row.location_code): row for row in rows}

    states, changes = [], []
    for reading in _readings(rules, document, data_age_days):
        row = before.pop((reading.rule.name, reading.location_code), None)
        old = AlertState(row.state, row.origins, row.last_origin) if row else AlertState()
        new = next_state(old, reading.rule, reading.value, facts["origin"])
        since, transition_id = (row.since, row.transition_id) if row else (now, None)
        if new.state != old.state:
            change = _change(reading, old.state, new.state, facts, ("first",) if first else causes)
            changes.append(Transition(change, transition_id))
            since, transition_id = now, _record(connection, change, now)
        states.append(
            {
                "region": facts["region"],
                "simulated": facts["simulated"],
                "rule": reading.rule.name,
                "location_code": reading.location_code,
                "value": reading.value,
                "reason": reading.reason,
                "since": since,
                "transition_id": transition_id,
                **asdict(new),
            }
        )
    for row in before.values():  # no rule reads these any more
        if row.state in (PENDING, FIRING):
            change = _end_without_rule(connection, row, facts)
            changes.append(Transition(change, row.transition_id))
            _record(connection, change, now)
    connection.execute(sa.delete(alert_states).where(of_region))
    if states:
        connection.execute(sa.insert(alert_states), states)

    if first:
        _enqueue_summaries(connection, rules, changes, facts, now)
    else:
        _enqueue_messages(connection, changes, now)
    return [change.document for change in changes]


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


def _readings(rules: Sequence[Rule], document: Mapping[str, Any], data_age_days: float) -> Iterator[Reading]:
    for rule in rules:
        if rule.metric == REGION_METRIC:
            yield Reading(rule, WHOLE_REGION, data_age_days, None)
            continue
        for country in document["countries"]:
            if rule.countries is None or country["location_code"] in rule.countries:
                value = country[rule.metric]
                reason = None if value is not None else country["reasons"].get(rule.metric, "unknown")
                yield Reading(rule, country["location_code"], value, reason)


def _change(
    reading: Reading, from_state: str, to_state: str, facts: Mapping[str, Any], causes: Sequence[str]
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
        "metric": rule.metric,
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


def _end_without_rule(connection: sa.Connection, row: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """End an alert whose rule is gone or no longer covers its location. The message goes by the route that it had."""
    last = connection.execute(
        sa.select(transitions.c.document).where(transitions.c.id == row.transition_id)
    ).scalar_one()
    change = {
        **last,
        **facts,
        "value": None,
        "reason": "rule_withdrawn",
        "from_state": row.state,
        "to_state": RESOLVED if row.state == FIRING else OK,
        "causes": ["rules"],
    }
    return change | wording.change(change["to_state"], change)


def _record(connection: sa.Connection, change: Mapping[str, Any], now: datetime) -> int:
    columns = ("run_id", "snapshot_id", "region", "rule", "location_code", "simulated", "from_state", "to_state")
    row = sa.insert(transitions).values(at=now, document=change, **{column: change[column] for column in columns})
    transition_id: int = connection.execute(row.returning(transitions.c.id)).scalar_one()
    change_feed.alert_changed(connection, change, now)
    return transition_id


def _enqueue_messages(connection: sa.Connection, changes: Sequence[Transition], now: datetime) -> None:
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
            follows=announcement.id if announcement else None,
        )


def _announcement(connection: sa.Connection, transition_id: int | None) -> sa.Row[Any] | None:
    """Return the message that announced a transition to firing, alone or in a summary; None if there is none (any
    more)."""
    transition = connection.execute(sa.select(transitions).where(transitions.c.id == transition_id)).one_or_none()
    if transition is None:
        return None
    of_run = (deliveries.c.run_id == transition.run_id) & (deliveries.c.created_at == transition.at)
    alert = (transition.rule, transition.location_code)
    for message in connection.execute(sa.select(deliveries).where(of_run, deliveries.c.kind.in_((FIRING, "summary")))):
        data = message.document["data"]
        listed = data["alerts"] if message.kind == "summary" else [data]
        if any((entry["rule"], entry["location_code"]) == alert for entry in listed):
            return message
    return None


def _enqueue_summaries(
    connection: sa.Connection,
    rules: Sequence[Rule],
    changes: Sequence[Transition],
    facts: Mapping[str, Any],
    now: datetime,
) -> None:
    """Add one summary for each route that a rule names, even if nothing fires: it shows that the route works."""
    for route in sorted({rule.route for rule in rules if rule.route}):
        alerts = [
            _message_data(change) for change, _ in changes if change["route"] == route and change["to_state"] == FIRING
        ]
        summary = {**facts, "name": wording.name(WHOLE_REGION, facts["region"]), "alerts": alerts}
        outbox.enqueue(connection, route=route, kind="summary", data=summary | wording.summary(summary), now=now)


def _message_data(change: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a receiver gets of a transition: everything except the name that its route has in our settings."""
    return {key: value for key, value in change.items() if key != "route"}
