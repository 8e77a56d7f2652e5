"""Lists of alerts, and one alert with its history and its messages, as the pages, the API and the command line show."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import ACTIVE, CORRECTED, EXPIRED, FIRING, OK, PENDING, RESOLVED
from service.alerts import records, silence_matching
from service.store.tables import (
    alert_actions,
    alert_states,
    alerts,
    deliveries,
    delivery_alerts,
    silences,
    transitions,
)
from service.store.values import instant

SEVEREST_FIRST = ("severe", "warning", "info")

ACKNOWLEDGED, SILENCED = "acknowledged", "silenced"

STATES = (PENDING, FIRING, ACKNOWLEDGED, SILENCED, RESOLVED, CORRECTED, EXPIRED, OK)
"""What a list can be restricted to. Those of `acknowledged` and `silenced` are active, those of `ok` never fired."""

LISTED_KEYS = (
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
"""Keys that the list copies from the transition into the present state."""


def listed(
    connection: sa.Connection, region: str, simulated: bool, states: Collection[str] = (FIRING,)
) -> list[dict[str, Any]]:
    """Return the alerts in one of these states: the severest first, then those that have been in theirs for longest.

    `value` is the last value of an active alert; if it is null, `reason` says why. `since_origin`, `causes`,
    `headline` and `text` are those of the moment when the alert came into its state.
    """
    wanted = alerts.c.state.in_({*ACTIVE, *states} if {ACKNOWLEDGED, SILENCED} & {*states} else {*states})
    found = _entries(connection, region, simulated, wanted)
    chosen = [
        alert
        for alert in found
        if alert["state"] in states
        or (ACKNOWLEDGED in states and alert["acknowledged"])
        or (SILENCED in states and alert["silence"])
    ]
    return sorted(chosen, key=lambda alert: SEVEREST_FIRST.index(alert["severity"]))


def find(connection: sa.Connection, region: str, simulated: bool, alert_id: str) -> dict[str, Any] | None:
    """Return an alert with `history`, `deliveries` and `results`, or None if there is none with this id."""
    found = _entries(connection, region, simulated, alerts.c.id == alert_id)
    if not found:
        return None
    return {
        **found[0],
        "history": _history(connection, alert_id),
        "deliveries": _deliveries(connection, alert_id),
        "results": records.results_of(connection, alert_id),
    }


def _entries(
    connection: sa.Connection, region: str, simulated: bool, which: sa.ColumnElement[bool]
) -> list[dict[str, Any]]:
    into = transitions.alias().c
    of_state = (into.alert_id == alerts.c.id) & (into.to_state == alerts.c.state)
    last = sa.select(sa.func.max(into.id)).where(of_state).correlate(alerts).scalar_subquery()
    rows = connection.execute(
        sa.select(alerts, transitions.c.at, transitions.c.document, alert_states.c.value, alert_states.c.reason)
        .select_from(alerts)
        .join(transitions, transitions.c.id == last)
        .outerjoin(alert_states, alert_states.c.alert_id == alerts.c.id)
        .where(alerts.c.region == region, alerts.c.simulated == simulated, which)
        .order_by(transitions.c.at, alerts.c.rule, alerts.c.location_code)
    )
    lasting = {silence.id: silence for silence in silence_matching.active(connection, region, simulated)}
    return [_entry(row, lasting) for row in rows]


def _entry(row: Any, lasting: Mapping[str, Any]) -> dict[str, Any]:
    active = row.state in ACTIVE
    silence_id = silence_matching.id_of_match(list(lasting.values()), dict(row._mapping)) if active else None
    reading = row if active else None
    return {
        "alert_id": row.id,
        "state": row.state,
        **{key: row.document[key] for key in LISTED_KEYS},
        "value": reading.value if reading else row.document["value"],
        "reason": reading.reason if reading else row.document["reason"],
        "since": instant(row.at),
        "since_origin": row.document["origin"],
        "fired_at": instant(row.fired_at),
        "ended_at": instant(row.ended_at),
        "acknowledged": acknowledgement(row) if active else None,
        "silence": silence_entry(lasting[silence_id]) if silence_id else None,
        "inhibited_by": row.inhibited_by if active else None,
    }


def acknowledgement(row: Any) -> dict[str, Any] | None:
    """Return who acknowledged an alert, when, and why; None if nobody did. `row` is one of `alerts`."""
    if row.acknowledged_at is None:
        return None
    return {"at": instant(row.acknowledged_at), "by": row.acknowledged_by, "note": row.acknowledged_note}


def silence_entry(row: Any) -> dict[str, Any]:
    """Return a silence as it is shown. `row` is one of `silences`."""
    return {
        "silence_id": row.id,
        **{key: getattr(row, key) for key in silence_matching.MATCHER},
        "starts_at": instant(row.starts_at),
        "until": instant(row.until),
        "ended_at": instant(row.ended_at),
        "reason": row.reason,
        "by": row.by,
    }


def list_silences(connection: sa.Connection, region: str, simulated: bool) -> list[dict[str, Any]]:
    """Return all silences of a region: those that last first, then the newest first."""
    of_region = (silences.c.region == region) & (silences.c.simulated == simulated)
    order = [silences.c.ended_at.is_not(None), silences.c.id.desc()]
    return [silence_entry(row) for row in connection.execute(sa.select(silences).where(of_region).order_by(*order))]


def _history(connection: sa.Connection, alert_id: str) -> list[dict[str, Any]]:
    """Return what happened to an alert, oldest first: its transitions, and what people did."""
    changes = connection.execute(sa.select(transitions).where(transitions.c.alert_id == alert_id))
    actions = connection.execute(sa.select(alert_actions).where(alert_actions.c.alert_id == alert_id))
    events: list[tuple[datetime, int, dict[str, Any]]] = []
    for row in changes:
        read = {key: row.document[key] for key in ("value", "reason", "causes", "origin", "snapshot_id", "silence_id")}
        events.append((row.at, row.id, {"event": row.to_state, **read, "by": None, "note": None}))
    for row in actions:
        # People act on what they have seen: at the same moment, transitions come first.
        unread = dict.fromkeys(("value", "reason", "origin", "snapshot_id")) | {"causes": []}
        done = {"event": row.kind, **unread, "silence_id": row.silence_id, "by": row.by, "note": row.note}
        events.append((row.at, row.id, done))
    return [{"at": instant(at), **event} for at, _, event in sorted(events, key=lambda each: each[:1])]


def _deliveries(connection: sa.Connection, alert_id: str) -> list[dict[str, Any]]:
    """Return the messages about an alert, oldest first. They name routes, and no addresses of receivers."""
    columns = [deliveries.c[name] for name in ("id", "route", "kind", "status", "attempts", "created_at", "sent_at")]
    about = sa.select(*columns).join(delivery_alerts, delivery_alerts.c.delivery_id == deliveries.c.id)
    rows = connection.execute(about.where(delivery_alerts.c.alert_id == alert_id).order_by(deliveries.c.id))
    times = ("created_at", "sent_at")
    return [dict(row._mapping) | {name: instant(row._mapping[name]) for name in times} for row in rows]
