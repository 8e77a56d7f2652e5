"""The rows of alerts: states and transitions, with the messages that follow from them.

`evaluate` applies the life-cycle of `riskmodel.alerting.states` in the transaction of the run that computed the values:
a state, its transition and its message are written together or not at all. It sends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.metrics import REGION_METRIC
from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import (
    ACTIVE,
    CORRECTED,
    ENDED,
    EXPIRED,
    FIRING,
    OK,
    AlertState,
    ended,
    next_state,
)
from service.alerts import (
    brief,
    digests,
    endings,
    episodes,
    inhibition,
    metric_words,
    notifications,
    records,
    reminders,
    silence_matching,
    silences,
    wording,
)
from service.alerts import facts as location_facts
from service.alerts.readings import AlertReading, readings
from service.settings import Settings
from service.snapshots import change_feed
from service.snapshots.outcome_parts import MISSING_REASONS, available, of_outcome
from service.store.tables import alert_states, transitions
from service.store.values import instant, sortable_id

DECIDING_KEYS = ("metric", "fire_at", "clear_at", "for_origins", "min_settled", "cool_down")
"""Keys of a rule that decide the state of its alerts. Who changes one of them ends no danger."""

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
    settings: Settings | None = None,
) -> list[dict[str, Any]]:
    """Update all alerts of a region from a snapshot and the clock, in the run's transaction. Return the transitions.

    `causes` (keys of `wording.CAUSES`) say why alerts can change. By default they are those of the document, with which
    each outcome differs from the snapshot before; a run that issued no snapshot passes none. An alert that fires or
    ends gives one message by the route of its rule, unless it is silenced. Alerts that end with a changed rule give one
    message for all. The first forecast of an outcome gives one summary by each route instead. If an outcome is no
    longer forecast, each route of a rule that used it gets one message.
    """
    forecasts = {outcome: of_outcome(document, outcome) for outcome in available(document)}
    facts = {outcome: _facts(forecast, run_id, snapshot_id, now) for outcome, forecast in forecasts.items()}
    headline = facts[document["outcome"]]
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

    log = _TransitionLog(connection, now, silence_matching.active(connection, region, simulated))
    states = []
    of_rules = records.of_rules(connection, region, simulated=simulated)
    for reading in readings(connection, rules, document, forecasts, now):
        rule, outcome = reading.rule, reading.outcome
        definition = rule.model_dump(include=set(DECIDING_KEYS))
        row = before.pop((rule.name, reading.location_code, outcome), None)
        of_forecast = facts.get(outcome, headline)
        if row is not None and row.definition["metric"] != rule.metric:  # the old value and the new one are no pair
            if row.state in ACTIVE:
                log.add(_end_unread(connection, row, of_forecast, "rule_changed", "rules"))
            row = None
        old = AlertState(**{name: row._mapping[name] for name in STATE_COLUMNS}) if row else AlertState()
        since, transition_id, alert_id = (row.since, row.transition_id, row.alert_id) if row else (now, None, None)
        new = next_state(old, rule, reading.value, of_forecast["origin"])
        edited = row is not None and row.definition != definition
        if edited and old.state == FIRING and new.state in ENDED:
            new = ended(old, of_forecast["origin"])
        if row is not None and reading.value is None:  # an edit counts from the first known value on
            definition = row.definition
        if new.state != old.state:
            why = causes_by_outcome.get(outcome, ())
            if new.state in ENDED and "withdrawal" in why:
                new = new.without_cool_down()  # an alert that was wrong must not hold up the next one
            if not why and rule.kind.earlier_months and row is not None and row.value != reading.value:
                why = ["earlier_scores"]
            if outcomes_before.get(rule.name, outcome) != outcome and list(why) != ["first"]:
                why = ["outcome", *why]
            if new.state in ACTIVE and old.state not in ACTIVE:
                alert_id = sortable_id("alr")
            if row is not None and (new.state == EXPIRED or (reading.value is None and old.state in ACTIVE)):
                forgotten = reading.value is None
                reason, cause = (reading.reason, "unknown") if forgotten else ("rule_changed", "rules")
                change = _end_unread(connection, row, of_forecast, reason, cause)
            else:
                of_location = _of_location(forecasts[outcome], reading, row)
                of_location["record"] = records.of_rule(of_rules, rule)
                change = _change(reading, of_location, old.state, new.state, of_forecast, why) | {"alert_id": alert_id}
            since, transition_id = now, log.add(change)
        states.append(
            {
                "region": region,
                "simulated": simulated,
                "rule": rule.name,
                "outcome": outcome,
                "location_code": reading.location_code,
                "definition": definition,
                "value": reading.value,
                "value_origin": of_forecast["origin"],
                "reason": reading.reason,
                "since": since,
                "transition_id": transition_id,
                "alert_id": None if new.state == OK else alert_id,
                **asdict(new),
            }
        )
    read = {(state["rule"], state["location_code"]) for state in states}
    for row in before.values():  # no rule reads these any more, or it reads another outcome
        if row.state in ACTIVE:
            other_outcome = (row.rule, row.location_code) in read
            reason, cause = ("other_outcome", "outcome") if other_outcome else ("rule_withdrawn", "rules")
            log.add(_end_unread(connection, row, facts.get(row.outcome, headline), reason, cause))
    connection.execute(sa.delete(alert_states).where(of_region))
    if states:
        connection.execute(sa.insert(alert_states), states)

    inhibited = inhibition.update(connection, rules, region, simulated, now)
    first = [outcome for outcome, found in causes_by_outcome.items() if list(found) == ["first"]]
    if readers := [rule for rule in rules if (rule.outcome or document["outcome"]) in first]:
        notifications.enqueue_summaries(connection, readers, {**facts[first[0]], "outcomes": first}, now)
    if lost:
        notifications.enqueue_losses(connection, rules, lost, document, headline, now)
    news = [change for change in log.changes if change["outcome"] not in first and not change["silence_id"]]
    endings.enqueue(connection, news, headline, now)
    announced = [change for change in news if change["alert_id"] not in inhibited]
    notifications.enqueue_messages(connection, announced, now)
    silences.end_due(connection, now)
    reminders.enqueue(connection, rules, facts, forecasts, region, simulated, now)
    if settings is not None:
        brief.enqueue(connection, rules, forecasts[document["outcome"]], headline, settings, now)
    digests.group(connection, rules, now)
    return log.changes


@dataclass
class _TransitionLog:
    """The transitions of one evaluation, as they are stored. `silences` are those that last."""

    connection: sa.Connection
    now: datetime
    silences: Sequence[Any]
    changes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, change: dict[str, Any]) -> int:
        """Store a transition and what it means for its alert. Return the id of the transition."""
        change["silence_id"] = silence_matching.id_of_match(self.silences, change)
        episodes.record(self.connection, change, self.now)
        columns = {name: change[name] for name in RECORDED_KEYS}
        row = sa.insert(transitions).values(at=self.now, document=change, **columns)
        transition_id: int = self.connection.execute(row.returning(transitions.c.id)).scalar_one()
        change_feed.alert_changed(self.connection, change, self.now)
        self.changes.append(change)
        return transition_id


def end_all(
    connection: sa.Connection, document: Mapping[str, Any], run_id: int, snapshot_id: int, now: datetime
) -> None:
    """End the alerts of a region that has no snapshot left. `document` is that of the withdrawn one.

    The correction of the withdrawn snapshot takes its messages back, so there are no others.
    """
    facts = _facts(of_outcome(document), run_id, snapshot_id, now)
    region, simulated = document["region"], document["simulated"]
    of_region = (alert_states.c.region == region) & (alert_states.c.simulated == simulated)
    log = _TransitionLog(connection, now, silence_matching.active(connection, region, simulated))
    for row in connection.execute(sa.select(alert_states).where(of_region, alert_states.c.state.in_(ACTIVE))).all():
        log.add(_end_unread(connection, row, facts, "no_snapshot", "withdrawal", CORRECTED))
    connection.execute(sa.delete(alert_states).where(of_region))


def _facts(forecast: Mapping[str, Any], run_id: int, snapshot_id: int, now: datetime) -> dict[str, Any]:
    """Return what every message about a forecast says of it."""
    facts = {key: forecast[key] for key in ("region", "simulated", "outcome", "origin", "data_as_of", "bands")}
    facts["of_headline"] = forecast["outcome"] == forecast["available_outcomes"][0]
    return facts | {"run_id": run_id, "snapshot_id": snapshot_id, "at": instant(now)}


def _of_location(forecast: Mapping[str, Any], reading: AlertReading, row: Any) -> dict[str, Any]:
    """Return what a change says of its location: the facts, and the value of the origin before, if it is known."""
    known = row is not None and row.value is not None
    return {
        "metric_label": metric_words.metric_label(reading.rule.metric, forecast),
        "facts": location_facts.of_location(forecast, reading.location_code, reading.rule.metric),
        "earlier": {"value": row.value, "origin": row.value_origin} if known else None,
    }


def _change(
    reading: AlertReading,
    of_location: Mapping[str, Any],
    from_state: str,
    to_state: str,
    facts: Mapping[str, Any],
    causes: Sequence[str],
) -> dict[str, Any]:
    rule = reading.rule
    change = {
        **facts,
        **of_location,
        "rule": rule.name,
        "severity": rule.severity,
        "title": rule.title.model_dump(),
        "route": rule.route,
        "location_code": reading.location_code,
        "name": wording.name(reading.location_code, facts["region"]),
        "note": rule.note.model_dump() if rule.note else None,
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


def _end_unread(
    connection: sa.Connection,
    row: Any,
    facts: Mapping[str, Any],
    reason: str | None,
    cause: str,
    to_state: str = EXPIRED,
) -> dict[str, Any]:
    """End an alert whose value is not known to be below `clear_at`. The message goes by the route that it had.

    Its rule is gone, changed, no longer covers its location, or reads another outcome; or its value is unknown.
    `reason` says why there is no value.
    """
    last = connection.execute(
        sa.select(transitions.c.document).where(transitions.c.id == row.transition_id)
    ).scalar_one()
    change = {
        **last,
        **facts,
        "outcome": row.outcome,
        "facts": {},
        "value": None,
        "reason": reason,
        "from_state": row.state,
        "to_state": to_state if row.state == FIRING else OK,
        "causes": [cause],
    }
    return change | wording.change(change["to_state"], change, of_forecast=facts["outcome"])
