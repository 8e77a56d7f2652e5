"""What rules read from a snapshot: a value for each of their locations, or the reason why it is unknown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting import metrics
from riskmodel.alerting.metrics import REGION_METRIC, RegionScores
from riskmodel.alerting.rule import Rule
from riskmodel.geography import WHOLE_REGION
from riskmodel.months import month
from riskmodel.score_changes import RiskScores
from service.snapshots import earlier_scores


@dataclass(frozen=True)
class AlertReading:
    """What a rule reads for one location: a value in the unit of its metric, or None and the reason."""

    rule: Rule
    outcome: str
    location_code: str
    value: float | None
    reason: str | None


def readings(
    connection: sa.Connection,
    rules: Sequence[Rule],
    document: Mapping[str, Any],
    forecasts: Mapping[str, Mapping[str, Any]],
    now: datetime,
) -> Iterator[AlertReading]:
    """Yield what each rule reads for each location.

    `document` is that of a snapshot, and `forecasts` has its flat documents by outcome. Scores of earlier origins are
    those that the store has now.
    """
    headline: str = document["outcome"]
    scores = {
        outcome: RegionScores(
            forecast,
            _earlier(connection, forecast, [rule for rule in rules if (rule.outcome or headline) == outcome]),
            now.date(),
        )
        for outcome, forecast in forecasts.items()
    }
    for rule in rules:
        outcome = rule.outcome or headline
        read = scores.get(outcome)
        missing = document["missing_outcomes"].get(outcome, "unknown")
        for location in _locations(rule, (read or scores[headline]).countries):
            if read is None:
                yield AlertReading(rule, outcome, location, None, missing)
                continue
            value, reason = metrics.read(rule.metric, read, location, rule.thresholds, rule.min_settled)
            yield AlertReading(rule, outcome, location, value, reason)


def _locations(rule: Rule, countries: Mapping[str, Any]) -> list[str]:
    if rule.metric == REGION_METRIC:
        return [WHOLE_REGION]
    return [iso3 for iso3 in countries if rule.countries is None or iso3 in rule.countries]


def _earlier(connection: sa.Connection, forecast: Mapping[str, Any], rules: Sequence[Rule]) -> dict[str, RiskScores]:
    """Return the risk scores of the origins before that some rules read."""
    months = max((rule.kind.earlier_months for rule in rules), default=0)
    origins = [str(month(forecast["origin"]) - before) for before in range(1, months + 1)]
    return {origin: earlier_scores.at_origin(connection, forecast, origin).scores for origin in origins}
