"""The life-cycle of each alert, ok → pending → firing → resolved, and its rows: states, transitions, what must be told.

`step` is the whole logic, without a database; `evaluate` runs it inside the transaction of the run that found the
values, so that a state, its change and the message about it stand or fall together. Nothing is sent from here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from service.alerts import outbox, wording
from service.alerts.rules import REGION_METRIC, Rule
from service.snapshots import change_feed
from service.store.tables import alert_states, transitions
from service.store.values import instant

OK, PENDING, FIRING, RESOLVED = "ok", "pending", "firing", "resolved"

SEVEREST_FIRST = ("severe", "warning", "info")

SHOWN = (
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
"""What a list of firing alerts takes over from the moment each fired."""


@dataclass(frozen=True)
class Standing:
    """Where one alert stands. `origins` counts those at or beyond `fire_at`; `last_origin` is the newest of them.

    Of a resolved alert `last_origin` is the origin that resolved it.
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


def step(standing: Standing, rule: Rule, value: float | None, origin: str) -> Standing:
    """The next standing of an alert whose metric reads `value` at `origin` (YYYY-MM).

    An unknown value changes nothing. The same origin read again counts once, and one known value below `fire_at` ends
    the count. An alert that was resolved says so until a later origin.
    """
    if value is None:
        return standing
    if standing.state == FIRING:
        return standing if value >= rule.clear_at else Standing(RESOLVED, 0, origin)
    seen = standing.last_origin or ""
    if value < rule.fire_at:
        return standing if standing.state == RESOLVED and origin <= seen else Standing()
    origins = standing.origins + (origin > seen) if standing.origins else 1
    return Standing(FIRING if origins >= rule.for_origins else PENDING, origins, max(origin, seen))


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
    """Bring every alert of a region up to a snapshot and the clock; return what changed, as its transitions say it.

    For every run, inside its transaction; a run that made no snapshot gives the one in service and no `causes` (which
    are keys of `words.CAUSES`). Every change is a transition. An alert that fires or is resolved is one delivery by its
    rule's route; on the `first` snapshot of a region on its kind of data, one summary goes by each route instead.
    `data_age_days` [days] is the age of the end of the origin month.
    """
    facts = {key: document[key] for key in ("region", "simulated", "outcome", "origin", "data_as_of")}
    facts |= {"run_id": run_id, "snapshot_id": snapshot_id, "at": instant(now)}
    ours = (alert_states.c.region == facts["region"]) & (alert_states.c.simulated == facts["simulated"])
    before = {(row.rule, row.location_code): row for row in connection.execute(sa.select(alert_states).where(ours))}

    states, changes = [], []
    for reading in _readings(rules, document, data_age_days):
        row = before.pop((reading.rule.name, reading.location_code), None)
        was = Standing(row.state, row.origins, row.last_origin) if row else Standing()
        new = step(was, reading.rule, reading.value, facts["origin"])
        since, transition_id = (row.since, row.transition_id) if row else (now, None)
        if new.state != was.state:
            change = _change(reading, was.state, new.state, facts, ("first",) if first else causes)
            since, transition_id = now, _record(connection, change, now)
            changes.append(change)
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
    for row in before.values():
        if row.state in (PENDING, FIRING):
            change = _withdrawal(connection, row, facts)
            _record(connection, change, now)
            changes.append(change)
    connection.execute(sa.delete(alert_states).where(ours))
    if states:
        connection.execute(sa.insert(alert_states), states)

    if first:
        _tell_at_once(connection, rules, changes, facts, now)
    else:
        _tell_each(connection, changes, now)
    return changes


def firing(connection: sa.Connection, region: str, simulated: bool) -> list[dict[str, Any]]:
    """The alerts that fire now, severest first, then the longest standing.

    `value` is as last read; where it is null, `reason` says why. `since_origin`, `causes`, `headline` and `text` are of
    the moment the alert fired.
    """
    rows = connection.execute(
        sa.select(alert_states.c.since, alert_states.c.value, alert_states.c.reason, transitions.c.document)
        .join(transitions, transitions.c.id == alert_states.c.transition_id)
        .where(alert_states.c.region == region, alert_states.c.simulated == simulated, alert_states.c.state == FIRING)
        .order_by(alert_states.c.since, alert_states.c.rule, alert_states.c.location_code)
    )
    alerts = [
        {
            **{key: row.document[key] for key in SHOWN},
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
            yield Reading(rule, wording.REGION, data_age_days, None)
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
    """Why an alert changed: data grows old by the clock alone, and what reads anew in an old snapshot is a rule."""
    if rule.metric == REGION_METRIC and to_state == FIRING and "first" not in causes:
        return ["clock"]
    return list(causes) or ["rules"]


def _withdrawal(connection: sa.Connection, row: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The end of an alert whose rule is gone or no longer asks about its location, told by the route it had."""
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


def _tell_each(connection: sa.Connection, changes: Sequence[Mapping[str, Any]], now: datetime) -> None:
    for change in changes:
        if change["route"] and change["to_state"] in (FIRING, RESOLVED):
            outbox.post(connection, route=change["route"], kind=change["to_state"], data=_payload(change), now=now)


def _tell_at_once(
    connection: sa.Connection,
    rules: Sequence[Rule],
    changes: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    now: datetime,
) -> None:
    """One summary by each route that a rule names, also where nothing fires: it shows that the route carries."""
    for route in sorted({rule.route for rule in rules if rule.route}):
        alerts = [_payload(c) for c in changes if c["route"] == route and c["to_state"] == FIRING]
        summary = {**facts, "name": wording.name(wording.REGION, facts["region"]), "alerts": alerts}
        outbox.post(connection, route=route, kind="summary", data=summary | wording.summary(summary), now=now)


def _payload(change: Mapping[str, Any]) -> dict[str, Any]:
    """What a receiver is told of a change: all of it but the name that its route has here."""
    return {key: value for key, value in change.items() if key != "route"}
