"""Drivers at `/v1/drivers/{iso3}`: what the model associates a country's score with, its neighbours included."""

from typing import Any

from flask import Blueprint
from pydantic import Field

from service.api.openapi import OF_PAST, UNSERVED, Payload, offers
from service.api.schemas import Called, Meta, Said, Texts, key, lacking
from service.api.tabular import as_csv
from service.api.tasks import ON_ITS_WAY, OfPast
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import read_model

resource = Blueprint("drivers", __name__)


class IndicatorPart(Said):
    """What one indicator contributes."""

    name: str
    contribution: float
    standard_error: float


class FamilyPart(Said):
    """What one family of indicators contributes."""

    family: str
    contribution: float
    read: bool = lacking("whether the model reads the family at all")
    sentence: Texts
    indicators: list[IndicatorPart] = key("those that contribute most")
    others: float = lacking("what the rest of the family adds")


class Split(Said):
    """A score against its background."""

    value: float
    average: float
    difference: float
    rounding: float
    sentence: Texts
    families: list[FamilyPart]


class Splits(Said):
    """Against the country's own 12 origins before, and against the region's countries today."""

    own_year: Split = lacking("may be absent")
    region: Split = lacking("may be absent")


class EventBehind(Said):
    """An event behind a family."""

    event_id: str
    date: str
    iso3: str
    deaths: int
    where: str | None


class Driven(Said):
    """Both scores split, and the events behind families."""

    risk_score: Splits = key("in points")
    escalation_from_draws: Splits = lacking("in percentage points: the escalation probability of the draws")
    escalation_probability: Splits = lacking("of an older Vigie, where it was the same")
    events: dict[str, list[EventBehind]] = key("by family")
    method: Texts


class NeighbourEffect(Said):
    """What goes with the violence of a neighbour, or of all of them."""

    from_: str | None = Field(default=None, alias="from", description="may be absent: all neighbours")
    to: str
    points: float | None
    share: float | None
    reason: str = lacking("why points is null")


class NeighbourEffects(Said):
    """What the model associates with neighbours."""

    note: Texts
    from_neighbours: list[NeighbourEffect]
    to_neighbours: list[NeighbourEffect]
    all: NeighbourEffect | None


class CountryDrivers(Called):
    """What the model associates with a country's score: associations that it has learned, not causes."""

    drivers: Driven | None
    neighbour_effects: NeighbourEffects | None
    reasons: dict[str, str]


class Drivers(Meta):
    """One country's drivers."""

    data: CountryDrivers


COLUMNS = [
    *Called.model_fields,
    *("score", "against", "family", "contribution", "read", "others", "value", "average", "difference", "rounding"),
]


def _families(payload: Payload) -> list[dict[str, Any]]:
    """One line for each score, background and family."""
    named = {name: payload["data"][name] for name in Called.model_fields}
    return [
        {
            **named,
            "score": score,
            "against": against,
            **{name: split[name] for name in ("value", "average", "difference", "rounding")},
            **{name: family.get(name) for name in ("family", "contribution", "read", "others")},
        }
        for score in ("risk_score", "escalation_from_draws", "escalation_probability")
        for against, split in ((payload["data"]["drivers"] or {}).get(score) or {}).items()
        for family in split["families"]
    ]


@offers(
    resource,
    "/v1/drivers/<iso3>",
    "What the model associates with a country's score",
    Drivers,
    forms=[as_csv(_families, COLUMNS)],
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST, "unknown-country"),
)
def country(asked: OfPast, iso3: str) -> Payload:
    """One country's drivers."""
    with request_session() as session:
        payload = read_model.drivers_payload(session.served(asked.as_of), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload
