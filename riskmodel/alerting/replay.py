"""Replay alert rules over past origins: what would have fired, and when it would have ended.

The states are those of the service (`states.next_state`). This module reads no file and loads no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from riskmodel.alerting import metrics
from riskmodel.alerting.metrics import REGION_METRIC, Reading, RegionScores
from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import FIRING, AlertState, next_state
from riskmodel.hindcast_payload import as_in_snapshot
from riskmodel.months import last_day, month


@dataclass(frozen=True)
class ReplayedAlert:
    """One alert of a rule: it fired at `fired_origin` (YYYY-MM) with `value`, in the unit of the metric.

    `peak` is its highest value while it fired. `ended_origin` is None while it still fires at the last origin of the
    replay. `ended_value` is below `clear_at`, or None if the alert expired because its value was unknown for long.
    """

    rule: str
    location_code: str
    fired_origin: str
    value: float
    peak: float
    ended_origin: str | None = None
    ended_value: float | None = None


@dataclass(frozen=True)
class RuleReplay:
    """What a rule read in each country at each of `origins` (YYYY-MM, oldest first), and the alerts that followed.

    `readings` has one reading for each origin, by country. `alerts` are in the order in which they fired.
    """

    rule: Rule
    origins: tuple[str, ...]
    readings: Mapping[str, tuple[Reading, ...]]
    alerts: tuple[ReplayedAlert, ...]


def replay(rule: Rule, scores: Sequence[RegionScores]) -> RuleReplay:
    """Replay a rule over the scores of a region at past origins, which must be in the order of time.

    Each alert starts in the state `ok` before the first origin. A rule about the data of the whole region reads
    nothing, because its value depends on the day and not on the origin.
    """
    origins = tuple(str(each.document["origin"]) for each in scores)
    readings: dict[str, tuple[Reading, ...]] = {}
    if rule.metric != REGION_METRIC:
        codes = dict.fromkeys(iso3 for each in scores for iso3 in each.countries)
        readings = {
            iso3: tuple(_read(rule, each, iso3) for each in scores)
            for iso3 in codes
            if rule.countries is None or iso3 in rule.countries
        }
    found = [
        alert
        for iso3, of_country in readings.items()
        for alert in alerts_of(rule, iso3, origins, [reading.value for reading in of_country])
    ]
    ordered = sorted(found, key=lambda alert: (alert.fired_origin, alert.location_code))
    return RuleReplay(rule, origins, readings, tuple(ordered))


def alerts_of(
    rule: Rule, location_code: str, origins: Sequence[str], values: Sequence[float | None]
) -> list[ReplayedAlert]:
    """Return the alerts of a rule in one country, given the value of its metric at each origin; None is unknown."""
    alerts: list[ReplayedAlert] = []
    state, since = AlertState(), ("", 0.0)
    for origin, value in zip(origins, values, strict=True):
        before, state = state, next_state(state, rule, value, origin)
        if state.state == FIRING and before.state != FIRING and value is not None:
            since = origin, value
        elif before.state == FIRING and state.state != FIRING:
            peak = since[1] if before.peak is None else before.peak
            alerts.append(ReplayedAlert(rule.name, location_code, *since, peak, origin, value))
    if state.state == FIRING:
        alerts.append(ReplayedAlert(rule.name, location_code, *since, since[1] if state.peak is None else state.peak))
    return alerts


def past_scores(documents: Sequence[Mapping[str, Any]]) -> list[RegionScores]:
    """Return what rules read at the origins of some flat documents of one outcome, oldest first.

    The documents are those of snapshots, or come from `of_hindcast`; each origin has one. The scores of earlier origins
    are those of the other documents.
    """
    ordered = sorted(documents, key=lambda document: str(document["origin"]))
    earlier = {
        str(document["origin"]): {each["location_code"]: each["risk_score"] for each in document["countries"]}
        for document in ordered
    }
    return [RegionScores(document, earlier, date.fromisoformat(document["data_as_of"])) for document in ordered]


def of_hindcast(
    hindcast: Mapping[str, Any], bands: Mapping[str, float], indicator_families: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a hindcast as the flat document that rules read; what it does not have is None, with the reason.

    `hindcast` has `origin` and `countries` (see `riskmodel.hindcasts.Hindcast`). `bands` gives the lowest risk score of
    each band. `indicator_families` declare the indicators and families of signals, as in a snapshot.
    """
    return {
        "origin": str(hindcast["origin"]),
        "data_as_of": last_day(month(str(hindcast["origin"]))),
        "bands": bands,
        "indicator_families": indicator_families,
        "countries": list(map(as_in_snapshot, hindcast["countries"])),
    }


def _read(rule: Rule, scores: RegionScores, iso3: str) -> Reading:
    if iso3 not in scores.countries:
        return Reading(None, "unknown")
    return metrics.read(rule.metric, scores, iso3, rule.thresholds, rule.min_settled)
