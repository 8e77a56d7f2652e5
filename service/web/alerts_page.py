"""What the page of alerts shows: what fires now, what is near its threshold, how past alerts turned out, each rule."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.metrics import BAND
from riskmodel.alerting.states import FIRING
from riskmodel.hindcast_payload import HINDCAST
from riskmodel.months import month
from service.alerts import alert_list, metric_words, records, sentences
from service.http.request_context import ReadSession
from service.snapshots.earlier_scores import ISSUED
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import alert_states

NEAR = 0.8
"""A value is near its threshold from this share of it on."""
MAX_NEAR = 8
PAST_MONTHS = 12
"""How many origins back past alerts are shown [months]."""


def content(session: ReadSession, snapshot: SnapshotView) -> dict[str, Any]:
    """Return what the template needs besides the snapshot. The alerts are those of all outcomes."""
    region, simulated = session.settings.region, bool(session.simulated)
    row = records.stored(session.connection, region, simulated=simulated)
    document: Mapping[str, Any] = row.document if row else {"rules": []}
    earliest = str(month(snapshot.document["origin"]) - PAST_MONTHS + 1)
    return {
        "firing": alert_list.listed(session.connection, region, simulated),
        "near": _near(session.connection, document, snapshot, region, simulated=simulated),
        "past": _past(document, earliest),
        "missed": _missed(document, earliest),
        "rules": [_rule(rule, snapshot.document) for rule in document["rules"]],
        "records_at": row.at if row else None,
        "past_months": PAST_MONTHS,
    }


def _near(
    connection: sa.Connection, document: Mapping[str, Any], snapshot: SnapshotView, region: str, *, simulated: bool
) -> list[dict[str, Any]]:
    """Return the values that do not fire and are near the threshold of their rule, the nearest first.

    Counts are left out: one of two is no near miss. So is a move into a band.
    """
    c = alert_states.c
    of_region = (c.region == region) & (c.simulated == simulated) & (c.state != FIRING) & c.value.is_not(None)
    rules = {rule["rule"]: rule for rule in document["rules"]}
    found = []
    for row in connection.execute(sa.select(c.rule, c.location_code, c.outcome, c.value).where(of_region)):
        rule = rules.get(row.rule)
        if rule is None or rule["metric"] == BAND or rule["metric"].startswith(("signal:", "neighbours", "few_")):
            continue
        share = row.value / rule["fire_at"] if rule["fire_at"] > 0 else 0.0
        if share >= NEAR:
            label = metric_words.metric_label(rule["metric"], snapshot.document)
            found.append({**row._mapping, "share": share, "label": label, **_of_rule(rule)})
    return sorted(found, key=lambda each: -each["share"])[:MAX_NEAR]


def _of_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {key: rule[key] for key in ("title", "severity", "metric", "fire_at", "clear_at")}


def _past(document: Mapping[str, Any], earliest: str) -> list[dict[str, Any]]:
    """Return the alerts since an origin with their results, newest first: as issued, before that as in hindcasts."""
    entries = []
    for rule in document["rules"]:
        issued = rule[ISSUED]
        first_issued = issued["first_month"] if issued and issued["first_month"] else "9999-12"
        for basis in (ISSUED, HINDCAST):
            for judged in (rule[basis] or {"judged": []})["judged"]:
                if judged["origin"] >= earliest and (basis == ISSUED or judged["origin"] < first_issued):
                    known = [deaths for deaths in judged["deaths"] if deaths is not None]
                    total = sum(known) if known else None
                    shown = {"basis": basis, "total": total, "complete": len(known) == len(judged["deaths"])}
                    shown |= {key: rule[key] for key in ("outcome", "rule")}
                    entries.append({**judged, **shown, **_of_rule(rule)})
    return sorted(entries, key=lambda each: each["origin"], reverse=True)


def _missed(document: Mapping[str, Any], earliest: str) -> list[dict[str, Any]]:
    """Return the events since an origin that no rule of the headline announced, newest first."""
    together = document.get(records.ALL_RULES) or {}
    found = [missed for basis in (ISSUED, HINDCAST) for missed in (together.get(basis) or {"missed": []})["missed"]]
    return sorted((each for each in found if each["last"] >= earliest), key=lambda each: each["first"], reverse=True)


def _rule(rule: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    shown = records.shown(rule)
    judged = {"record": shown, "metric": rule["metric"]}
    return {
        **_of_rule(rule),
        "rule": rule["rule"],
        "outcome": rule["outcome"],
        "label": metric_words.metric_label(rule["metric"].replace("signal:", "indicator:"), document),
        "record": shown,
        "sentence": {code: sentences.record(judged, code) for code in ("en", "fr")},
    }
