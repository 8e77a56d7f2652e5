"""The scorecard at `/v1/scorecard`: how the forecasts that were issued have done, beside what they have to beat."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint
from pydantic import Field

from service.api.openapi import UNSERVED, Payload, offers
from service.api.schemas import Called, Meta, Said, key
from service.api.tabular import as_csv
from service.http.request_context import request_session
from service.snapshots import scorecard

resource = Blueprint("scorecard", __name__)


class Losses(Said):
    """Mean losses over single months; less is better."""

    crps: float
    log_crps: float
    ign: float
    mis: float
    brier_25: float = key("of the probability of 25 deaths")


class Coverage(Said):
    """How often the intervals held, of active countries."""

    cases: int
    within_50: float | None
    within_90: float | None


class Escalations(Said):
    """What was said of escalation, and how often it came."""

    cases: int
    came: int
    brier: float | None
    brier_h24: float | None = key("of the share of the country's own last 24 sums")


class ThreeMonths(Said):
    """The sums of the three months after the origin."""

    cases: int
    brier_rungs: float | None = key("of the risk score's six probabilities")
    escalation: Escalations


class Forecaster(Said):
    """How one forecaster has done."""

    forecaster: str = key("served, a baseline, or a challenger")
    cases: int
    scores: Losses | None
    coverage: Coverage | None
    three_months: ThreeMonths | None
    reasons: dict[str, str]


class LeadGroup(Said):
    """The same by lead."""

    first_lead: int
    last_lead: int
    forecasters: list[Forecaster]


class OfCountry(Called):
    """The same by country."""

    forecasters: list[Forecaster]


class Difference(Said):
    """A relative difference of mean losses; -0.05 is five per cent better."""

    forecaster: str
    against: str
    score: str
    cases: int
    months: int
    countries: int
    value: float | None
    low: float | None = key("of its 90 % interval")
    high: float | None = key("of its 90 % interval")
    reasons: dict[str, str]


class Challenged(Said):
    """A model that ran in the shadow, where both it and what was served forecast."""

    model_id: str
    forecasters: list[Forecaster]
    differences: list[Difference]


class Shadow(Said):
    """The model that runs in the shadow now."""

    model_id: str
    digest: str | None
    origin: str | None
    reason: str | None = key("why it cannot")


class ReliabilityClass(Said):
    """Probabilities of one class, and how often the event came."""

    from_: float = Field(alias="from")
    to: float
    cases: int
    probability: float
    frequency: float


class Reliability(Said):
    """Whether what was said to be probable came as often."""

    month_25: list[ReliabilityClass]
    three_months: list[ReliabilityClass]


class PitShares(Said):
    """The share of outcomes in each tenth of their forecast."""

    cases: int
    shares: list[float] | None


class Pit(Said):
    """Probability integral transform, randomised; level is calibrated."""

    all: PitShares
    active: PitShares


class Incomplete(Said):
    """The months of a country that a source covers and that are not complete."""

    location_code: str
    months: list[str]


class NextMonth(Said):
    """What is waited for."""

    month: str
    not_before: str


class Card(Said):
    """How the forecasts that were issued have done."""

    cases: int
    origins: int
    first_month: str | None
    last_month: str | None
    forecasters: list[Forecaster]
    lead_groups: list[LeadGroup]
    countries: list[OfCountry]
    differences: list[Difference]
    challengers: list[Challenged]
    reliability: Reliability
    pit: Pit
    incomplete: list[Incomplete]
    updated_at: str | None
    next: NextMonth
    challenger: Shadow | None
    reasons: dict[str, str]


class Scorecard(Meta):
    """The scorecard of the region in service."""

    data: Card


COLUMNS = [
    *(
        "location_code",
        "first_lead",
        "last_lead",
        "forecaster",
        "cases",
        *Losses.model_fields,
        "within_50",
        "within_90",
    ),
    *("brier_rungs", "escalations", "escalations_came", "escalation_brier", "escalation_brier_h24"),
]


def _rows(payload: Payload) -> Iterator[Mapping[str, Any]]:
    """One line for each forecaster: of all cases, then by lead, then by country."""
    card = payload["data"]
    for scope in ({"forecasters": card["forecasters"]}, *card["lead_groups"], *card["countries"]):
        for told in scope["forecasters"]:
            sums = told["three_months"] or {"brier_rungs": None, "escalation": {}}
            yield {
                **{name: scope.get(name) for name in ("location_code", "first_lead", "last_lead")},
                **{name: told[name] for name in ("forecaster", "cases")},
                **(told["scores"] or dict.fromkeys(Losses.model_fields)),
                **{name: (told["coverage"] or {}).get(name) for name in ("within_50", "within_90")},
                "brier_rungs": sums["brier_rungs"],
                "escalations": sums["escalation"].get("cases"),
                "escalations_came": sums["escalation"].get("came"),
                "escalation_brier": sums["escalation"].get("brier"),
                "escalation_brier_h24": sums["escalation"].get("brier_h24"),
            }


@offers(
    resource,
    "/v1/scorecard",
    "How the forecasts that were issued have done",
    Scorecard,
    forms=[as_csv(_rows, COLUMNS)],
    problems=UNSERVED,
)
def card() -> Payload:
    """The scorecard of the region in service."""
    with request_session() as session:
        return scorecard.payload(session.connection, session.served())
