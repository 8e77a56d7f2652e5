"""The scorecards at `/v1/scorecard`: how well issued forecasts and hindcasts have done, next to the baselines."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint
from pydantic import Field

from service.api.endpoints import OUTCOME_PROBLEMS, OutcomeQuery, Payload, endpoint
from service.api.shared_schemas import CountryRef, LocalizedText, Meta, Schema, described
from service.api.tabular import as_csv
from service.drawing import verdict
from service.http.request_context import request_session
from service.snapshots import scorecard as stored_scorecard

resource = Blueprint("scorecard", __name__)


class MeanLosses(Schema):
    """Mean losses over single months. Lower is better."""

    crps: float
    log_crps: float
    ign: float
    mis: float
    brier_25: float = described("of the probability of 25 deaths")


class IntervalCoverage(Schema):
    """How often the outcome was within the forecast intervals, for active countries."""

    cases: int
    within_50: float | None
    within_90: float | None


class EscalationScores(Schema):
    """The escalation probabilities, and how many escalations were observed."""

    cases: int
    observed: int
    brier: float | None
    brier_h24: float | None = described("Brier score of the share of the country's own last 24 three-month sums")


class ThreeMonthScores(Schema):
    """The scores of the sums over the three months after the origin."""

    cases: int
    brier_rungs: float | None = described("of the six probabilities of the risk score")
    escalation: EscalationScores


class ForecasterScores(Schema):
    """The scores of one forecaster."""

    forecaster: str = described("served, a baseline, or a challenger")
    cases: int
    scores: MeanLosses | None
    coverage: IntervalCoverage | None
    three_months: ThreeMonthScores | None
    reasons: dict[str, str]


class LeadGroupScores(Schema):
    """The scores for a range of leads."""

    first_lead: int
    last_lead: int
    forecasters: list[ForecasterScores]


class CountryForecasters(CountryRef):
    """The scores for one country."""

    forecasters: list[ForecasterScores]


class LossDifference(Schema):
    """A relative difference of mean losses: -0.05 is five per cent better."""

    forecaster: str
    against: str
    score: str
    cases: int
    months: int
    countries: int
    value: float | None
    low: float | None = described("lower end of its 90 % interval")
    high: float | None = described("upper end of its 90 % interval")
    reasons: dict[str, str]


class ChallengerScores(Schema):
    """The scores of a challenger, on the cases that both it and the served model forecast."""

    model_id: str
    forecasters: list[ForecasterScores]
    differences: list[LossDifference]


class ShadowModel(Schema):
    """The challenger that forecasts in the shadow now."""

    model_id: str
    digest: str | None
    origin: str | None
    reason: str | None = described("why it makes no forecast")


class ReliabilityBin(Schema):
    """The forecasts with a probability in one range, and how often the event was observed."""

    from_: float = Field(alias="from")
    to: float
    cases: int
    probability: float
    frequency: float


class Reliability(Schema):
    """Whether events were observed as often as their probabilities say."""

    month_25: list[ReliabilityBin]
    three_months: list[ReliabilityBin]


class PitHistogram(Schema):
    """The share of outcomes in each tenth of their forecast distribution."""

    cases: int
    shares: list[float] | None


class PitHistograms(Schema):
    """The randomised probability integral transform. A level histogram is calibrated."""

    all: PitHistogram
    active: PitHistogram


class IncompleteMonths(Schema):
    """The months of a country that have data which are not complete yet."""

    location_code: str
    months: list[str]


class Comparison(Schema):
    """On how many losses the forecasts were better than a baseline."""

    against: str = described("the baseline")
    measures: int = described("how many losses are compared")
    better: int = described("on how many the mean loss is lower")
    beyond_chance: int = described("on how many the whole 90 % interval of the difference is below zero: better")
    worse_beyond_chance: int = described("on how many it is above zero: worse")


class Verdict(Schema):
    """The result in a few figures and in words."""

    comparisons: list[Comparison]
    within_90: float | None = described("how much of the outcomes the 90 % interval held, for active countries")
    reason: str | None = described("why there is no comparison")
    text: LocalizedText


class Scorecard(Schema):
    """How well the forecasts of one basis have done."""

    basis: str = described("issued, or hindcast: computed later by models that saw only earlier data")
    verdict: Verdict
    cases: int
    origins: int
    first_month: str | None
    last_month: str | None
    forecasters: list[ForecasterScores]
    lead_groups: list[LeadGroupScores]
    countries: list[CountryForecasters]
    differences: list[LossDifference]
    challengers: list[ChallengerScores]
    reliability: Reliability
    pit: PitHistograms
    incomplete: list[IncompleteMonths]
    updated_at: str | None
    reasons: dict[str, str]


class DataBases(Schema):
    """How many hindcasts start from which figures."""

    as_known: int = described("from those that had been published by then")
    final_figures: int = described("from the newest ones, which nobody knew at that time")


class HindcastScorecard(Scorecard):
    """How well the hindcasts have done."""

    data_bases: DataBases


class NextMonth(Schema):
    """The next month to be scored."""

    month: str
    not_before: str


class Scorecards(Scorecard):
    """How well the issued forecasts have done; in a key of their own, the hindcasts."""

    next: NextMonth
    challenger: ShadowModel | None
    hindcast: HindcastScorecard


class ScorecardResponse(Meta):
    """The scorecards of the region in service."""

    data: Scorecards


SCORECARD_COLUMNS = [
    *("basis", "location_code", "first_lead", "last_lead", "forecaster", "cases", *MeanLosses.model_fields),
    *("within_50", "within_90", "brier_rungs"),
    *("escalations", "escalations_observed", "escalation_brier", "escalation_brier_h24"),
]


def _rows(payload: Payload) -> Iterator[Mapping[str, Any]]:
    """Yield one row per basis and forecaster: for all cases, then by lead, then by country."""
    for scorecard in (payload["data"], payload["data"]["hindcast"]):
        for group in ({"forecasters": scorecard["forecasters"]}, *scorecard["lead_groups"], *scorecard["countries"]):
            for scores in group["forecasters"]:
                yield {"basis": scorecard["basis"], **_row(group, scores)}


def _row(group: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    sums = scores["three_months"] or {"brier_rungs": None, "escalation": {}}
    return {
        **{name: group.get(name) for name in ("location_code", "first_lead", "last_lead")},
        **{name: scores[name] for name in ("forecaster", "cases")},
        **(scores["scores"] or dict.fromkeys(MeanLosses.model_fields)),
        **{name: (scores["coverage"] or {}).get(name) for name in ("within_50", "within_90")},
        "brier_rungs": sums["brier_rungs"],
        "escalations": sums["escalation"].get("cases"),
        "escalations_observed": sums["escalation"].get("observed"),
        "escalation_brier": sums["escalation"].get("brier"),
        "escalation_brier_h24": sums["escalation"].get("brier_h24"),
    }


@endpoint(
    resource,
    "/v1/scorecard",
    "Get the scores of the issued forecasts and of the hindcasts",
    ScorecardResponse,
    query=OutcomeQuery,
    formats=[as_csv(_rows, SCORECARD_COLUMNS)],
    problems=OUTCOME_PROBLEMS,
)
def scorecard(query: OutcomeQuery) -> Payload:
    """Return the scorecards of the region in service."""
    with request_session() as session:
        payload = stored_scorecard.payload(session.connection, session.served(outcome=query.outcome))
    return payload | {"data": verdict.with_texts(payload["data"])}
