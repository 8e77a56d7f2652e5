"""Drivers at `/v1/drivers/{iso3}`: what the model associates with a country's score, and its neighbours' part in it."""

from typing import Any

from flask import Blueprint
from pydantic import Field

from service.api.endpoints import AS_OF_PROBLEMS, OUTCOME_PROBLEMS, Payload, endpoint
from service.api.shared_schemas import CountryRef, EventReference, LocalizedText, Meta, Schema, described, optional
from service.api.tabular import as_csv
from service.api.tasks import TASK_ACCEPTED, AsOfQuery
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import read_model

resource = Blueprint("drivers", __name__)


class IndicatorContribution(Schema):
    """The contribution of one indicator."""

    name: str
    contribution: float
    standard_error: float


class FamilyContribution(Schema):
    """The contribution of one family of indicators."""

    family: str
    contribution: float
    sentence: LocalizedText
    indicators: list[IndicatorContribution] = described("the indicators that contribute most")
    other_indicators: float = described("the contribution of the family's other indicators")


class ScoreDecomposition(Schema):
    """The difference between a score and an average, split into the contributions of the families."""

    value: float
    average: float
    difference: float
    rounding: float
    sentence: LocalizedText
    families: list[FamilyContribution]


class ScoreDecompositions(Schema):
    """The decompositions of one score: against the country's own past year, and against the region today."""

    own_year: ScoreDecomposition = optional("against the average of the country's 12 previous origins")
    region: ScoreDecomposition = optional("against the average of the region's countries today")


class ScoreDrivers(Schema):
    """The decompositions of two scores, and the events behind the families."""

    risk_score: ScoreDecompositions = described("in points")
    escalation_from_draws: ScoreDecompositions = described("in percentage points")
    events: dict[str, list[EventReference]] = described("by family")
    method: LocalizedText


class NeighbourEffect(Schema):
    """What the model associates with the violence in one neighbour, or in all neighbours together."""

    from_: str | None = Field(default=None, alias="from", description="absent for all neighbours together")
    to: str
    points: float | None
    share: float | None
    reason: str = optional("why points is null")


class NeighbourEffects(Schema):
    """The neighbour effects of one country."""

    note: LocalizedText
    from_neighbours: list[NeighbourEffect]
    to_neighbours: list[NeighbourEffect]
    all: NeighbourEffect | None


class CountryDrivers(CountryRef):
    """The drivers of one country's score. They are associations that the model has learned, not causes."""

    drivers: ScoreDrivers | None
    neighbour_effects: NeighbourEffects | None
    reasons: dict[str, str]


class DriversResponse(Meta):
    """The drivers of one country's score."""

    data: CountryDrivers


DRIVER_COLUMNS = [
    *CountryRef.model_fields,
    *(
        "score",
        "against",
        "family",
        "contribution",
        "other_indicators",
        "value",
        "average",
        "difference",
        "rounding",
    ),
]


def _rows(payload: Payload) -> list[dict[str, Any]]:
    """Return one row for each score, average and family."""
    country = {name: payload["data"][name] for name in CountryRef.model_fields}
    return [
        {
            **country,
            "score": score,
            "against": average,
            **{name: decomposition[name] for name in ("value", "average", "difference", "rounding")},
            **{name: family[name] for name in ("family", "contribution", "other_indicators")},
        }
        for score in ("risk_score", "escalation_from_draws")
        for average, decomposition in (payload["data"]["drivers"] or {}).get(score, {}).items()
        for family in decomposition["families"]
    ]


@endpoint(
    resource,
    "/v1/drivers/<iso3>",
    "Get what the model associates with a country's score",
    DriversResponse,
    formats=[as_csv(_rows, DRIVER_COLUMNS)],
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country"),
)
def country(query: AsOfQuery, iso3: str) -> Payload:
    """Return the drivers and neighbour effects of one country."""
    with request_session() as session:
        payload = read_model.drivers_payload(session.served(query.as_of, query.outcome), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload
