"""Indicators: their declarations at `/v1/indicators`, and one country's values at `/v1/indicators/{iso3}`."""

from typing import Any, Literal

from flask import Blueprint

from service.api.openapi import OF_PAST, UNSERVED, Payload, offers
from service.api.schemas import Called, Meta, Said, Texts, key
from service.api.tabular import as_csv
from service.api.tasks import ON_ITS_WAY, OfPast
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import read_model

resource = Blueprint("indicators", __name__)


class Work(Said):
    """A work that an indicator rests on."""

    reference: str
    doi: str | None


class Declared(Said):
    """What an indicator is."""

    name: str
    unit: str
    window: int = key("how many months of the past a value needs [months]")
    scale: Literal["log1p", "share", "number"]
    direction: Literal[-1, 0, 1] = key("goes with more violence, less, or neither is claimed")
    meaning: Texts
    missing: Texts = key("what an absent value says")
    literature: list[Work]
    inputs: list[str]
    absent: bool = key("an input is not in the archive, so that all values are null")


class Family(Said):
    """A family of indicators."""

    name: str
    title: Texts
    theme: Texts
    indicators: list[Declared]


class Indicators(Meta):
    """The indicators as they are declared."""

    data: list[Family]


class Value(Said):
    """One indicator of one country."""

    name: str
    value: float | None = key("at the origin")
    before: float | None = key("12 months earlier")
    reasons: dict[str, str]
    missing: Texts | None = key("what the declaration says of an unknown value")


class Values(Said):
    """The values of one family."""

    name: str
    title: Texts
    indicators: list[Value]


class OfCountry(Called):
    """One country's values, by family."""

    families: list[Values]
    reasons: dict[str, str]


class CountryIndicators(Meta):
    """One country's values now and 12 months earlier."""

    data: OfCountry


DECLARED = [
    *("family", "name", "unit", "window", "scale", "direction", "meaning", "missing", "literature", "inputs", "absent"),
]


def _declared(payload: Payload) -> list[dict[str, Any]]:
    """One line for each indicator, in English."""
    return [
        {
            **indicator,
            "family": family["name"],
            **{name: indicator[name]["en"] for name in ("meaning", "missing")},
            "literature": [f"{work['reference']} doi:{work['doi']}" for work in indicator["literature"]],
        }
        for family in payload["data"]
        for indicator in family["indicators"]
    ]


def _values(payload: Payload) -> list[dict[str, Any]]:
    """One line for each indicator of the country."""
    named = {name: payload["data"][name] for name in Called.model_fields}
    return [
        {**named, "family": family["name"], **indicator}
        for family in payload["data"]["families"]
        for indicator in family["indicators"]
    ]


@offers(
    resource,
    "/v1/indicators",
    "What the indicators are",
    Indicators,
    forms=[as_csv(_declared, DECLARED)],
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST),
)
def indicators(asked: OfPast) -> Payload:
    """What the indicators are."""
    with request_session() as session:
        return read_model.declarations_payload(session.served(asked.as_of))


@offers(
    resource,
    "/v1/indicators/<iso3>",
    "A country's indicators, now and 12 months earlier",
    CountryIndicators,
    forms=[as_csv(_values, [*Called.model_fields, "family", "name", "value", "before", "reasons"])],
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST, "unknown-country"),
)
def country(asked: OfPast, iso3: str) -> Payload:
    """One country's values, now and 12 months earlier."""
    with request_session() as session:
        payload = read_model.indicators_payload(session.served(asked.as_of), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload
