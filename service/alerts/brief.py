"""The monthly brief: what moved, what fires, how the alerts of the month before did, and how old the data is.

It is sent once for each new origin and route, also if nothing fires: it shows that Vigie and the route work.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from riskmodel import score_changes
from riskmodel.alerting.judgement import FALSE_ALARM, HIT
from riskmodel.alerting.rule import SEVEREST_FIRST, Rule
from riskmodel.alerting.states import FIRING
from riskmodel.bands import band_of
from riskmodel.geography import WHOLE_REGION
from riskmodel.months import month
from service.alerts import digest_wording, outbox, wording
from service.alerts.outbox import Message
from service.settings import Settings
from service.snapshots import earlier_scores
from service.store.tables import alert_results, alert_states, alerts, deliveries, runs, snapshots, transitions

BRIEF = "brief"

LATEST_AFTER = timedelta(days=35)
"""If no new origin comes, a brief is sent so long after the last one: it says that the data is late."""

MOVED = 3
"""How many countries whose score moved most are named."""

MOVED_POINTS = 1.0
"""A smaller change of a risk score is not named [points]."""


def enqueue(
    connection: sa.Connection,
    rules: Sequence[Rule],
    forecast: Mapping[str, Any],
    facts: Mapping[str, Any],
    settings: Settings,
    now: datetime,
) -> None:
    """Add the brief for each route of a rule that is due, unless the settings of the route want none.

    `forecast` is the flat document of the headline, and `facts` are its facts.
    """
    content: dict[str, Any] | None = None
    for route in sorted({rule.route for rule in rules if rule.route} & settings.routes.keys()):
        if not settings.routes[route].brief:
            continue
        last = _last(connection, route, facts)
        if last is not None and not _is_due(last, facts["origin"], now):
            continue
        content = content or _content(connection, forecast, facts, settings, now)
        data = {**content, "last_month": _since(connection, facts, last)}
        outbox.enqueue(connection, route=route, kind=BRIEF, data=data | digest_wording.monthly_brief(data), now=now)


def _is_due(last: Message, origin: str, now: datetime) -> bool:
    return origin > last.document["data"]["origin"] or now - last.created_at >= LATEST_AFTER


def _last(connection: sa.Connection, route: str, facts: Mapping[str, Any]) -> Message | None:
    """Return the last brief of a region by a route, or the summary of its first forecast if there is none.

    Those that were cancelled or withdrawn do not count.
    """
    withdrawn = sa.exists().where(
        runs.c.id == deliveries.c.run_id, snapshots.c.id == runs.c.snapshot_id, snapshots.c.withdrawn_at.is_not(None)
    )
    which = (deliveries.c.route == route) & deliveries.c.kind.in_((BRIEF, "summary"))
    which &= (deliveries.c.status != "dismissed") & ~withdrawn
    for message in outbox.read(connection, which, newest_first=True):
        data = message.document["data"]
        if message.readable and all(data[key] == facts[key] for key in ("region", "simulated")):
            return message
    return None


def _content(
    connection: sa.Connection,
    forecast: Mapping[str, Any],
    facts: Mapping[str, Any],
    settings: Settings,
    now: datetime,
) -> dict[str, Any]:
    """Return what the brief says by all routes.

    `moved` has the countries whose risk score moved most since the origin before, with `reason` if that is unknown.
    """
    before = earlier_scores.at_origin(connection, forecast, str(month(facts["origin"]) - 1)).scores
    changes = score_changes.changes(forecast["countries"], {"1m": before, "12m": {}})
    scores = {country["location_code"]: country["risk_score"] for country in forecast["countries"]}
    known = {iso3: each["change_1m"] for iso3, each in changes.items() if each["change_1m"] is not None}
    moved = sorted((iso3 for iso3 in known if abs(known[iso3]) >= MOVED_POINTS), key=lambda iso3: -abs(known[iso3]))
    age = (now.date() - date.fromisoformat(facts["data_as_of"])).days
    limits = {"stale": settings.stale_after_days, "late": settings.late_after_days}
    return {
        **facts,
        "name": wording.name(WHOLE_REGION, facts["region"]),
        "severity": "info",
        "moved": [
            {
                "location_code": iso3,
                "name": wording.name(iso3, facts["region"]),
                "risk_score": scores[iso3],
                "band": band_of(scores[iso3], facts["bands"]),
                "change_1m": known[iso3],
            }
            for iso3 in moved[:MOVED]
        ],
        "reason": None if known else score_changes.NO_EARLIER_SCORE,
        "firing": _firing(connection, facts),
        "data_age_days": age,
        "data_status": next((status for status, days in limits.items() if age > days), "fresh"),
    }


def _firing(connection: sa.Connection, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the firing alerts of the region that are not inhibited, severest first, then those that fire longest."""
    rows = connection.execute(
        sa.select(alerts.c.id, alerts.c.fired_origin, transitions.c.document)
        .join(alert_states, alert_states.c.alert_id == alerts.c.id)
        .join(transitions, transitions.c.id == alert_states.c.transition_id)
        .where(alerts.c.region == facts["region"], alerts.c.simulated == facts["simulated"], alerts.c.state == FIRING)
        .where(alerts.c.inhibited_by.is_(None))
        .order_by(alerts.c.fired_at, alerts.c.id)
    )
    keys = ("rule", "title", "severity", "location_code", "name", "outcome")
    firing = [
        {"alert_id": row.id, "since_origin": row.fired_origin, **{key: row.document[key] for key in keys}}
        for row in rows
    ]
    return sorted(firing, key=lambda alert: SEVEREST_FIRST.index(alert["severity"]))


def _since(connection: sa.Connection, facts: Mapping[str, Any], last: Message | None) -> dict[str, int] | None:
    """Return how many alerts began since the last brief and how many of these fire, and how many turned out right or
    false since then; None without a last brief."""
    if last is None:
        return None
    of_region = (alerts.c.region == facts["region"]) & (alerts.c.simulated == facts["simulated"])
    began = connection.scalars(sa.select(alerts.c.state).where(of_region, alerts.c.fired_at > last.created_at)).all()
    newest = sa.select(sa.func.max(alert_results.c.id)).group_by(alert_results.c.alert_id)
    judged = connection.scalars(
        sa.select(alert_results.c.result)
        .join(alerts, alerts.c.id == alert_results.c.alert_id)
        .where(of_region, alert_results.c.at > last.created_at, alert_results.c.id.in_(newest))
    ).all()
    return {
        "began": len(began),
        "firing": sum(state == FIRING for state in began),
        "hits": sum(result == HIT for result in judged),
        "false_alarms": sum(result == FALSE_ALARM for result in judged),
    }
