"""Indicators: their declarations at `/v1/indicators`, and one country's values at `/v1/indicators/{iso3}`."""

from collections.abc import Mapping
from typing import Any, Literal

from flask import Blueprint

from service.api.endpoints import AS_OF_PROBLEMS, OUTCOME_PROBLEMS, Payload, endpoint
from service.api.shared_schemas import CountryRef, LocalizedText, Meta, Schema, described
from service.api.tabular import as_csv
from service.api.tasks import TASK_ACCEPTED, AsOfQuery
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import read_model

resource = Blueprint("indicators", __name__)


class LiteratureReference(Schema):
    """A publication that an indicator is based on."""

    reference: str
    doi: str | None


class IndicatorDeclaration(Schema):
    """The definition of an indicator."""

    name: str
    unit: str
    window: int = described("how many past months a value needs [months]")
    scale: Literal["log1p", "share", "number"]
    direction: Literal[-1, 0, 1] = described("1: goes with more violence; -1: with less; 0: no direction is claimed")
    meaning: LocalizedText
    missing: LocalizedText = described("what a missing value means")
    literature: list[LiteratureReference]
    inputs: list[str]
    input_missing: bool = described("true: a table that it needs is not in the archive, so all its values are null")


class IndicatorFamily(Schema):
    """A family of indicators."""

    name: str
    title: LocalizedText
    theme: LocalizedText
    indicators: list[IndicatorDeclaration]


class IndicatorsResponse(Meta):
    """The definitions of the indicators, by family."""

    data: list[IndicatorFamily]


class IndicatorValue(Schema):
    """One indicator of one country."""

    name: str
    value: float | None = described("at the origin")
    before: float | None = described("12 months earlier")
    reasons: dict[str, str]
    missing: LocalizedText | None = described("what a missing value of this indicator means")


class IndicatorFamilyValues(Schema):
    """The values of one family."""

    name: str
    title: LocalizedText
    indicators: list[IndicatorValue]


class CountryIndicators(CountryRef):
    """The values of one country, by family."""

    families: list[IndicatorFamilyValues]
    reasons: dict[str, str]


class CountryIndicatorsResponse(Meta):
    """The values of one country, at the origin and 12 months earlier."""

    data: CountryIndicators


DECLARATION_COLUMNS = [
    *(
        "family",
        "name",
        "unit",
        "window",
        "scale",
        "direction",
        "meaning",
        "missing",
        "literature",
        "inputs",
        "input_missing",
    ),
]


def _declaration_rows(payload: Payload) -> list[dict[str, Any]]:
    """Return one row per indicator, with the English texts."""
    return [
        {
            **indicator,
            "family": family["name"],
            **{name: indicator[name]["en"] for name in ("meaning", "missing")},
            "literature": [_citation(work) for work in indicator["literature"]],
        }
        for family in payload["data"]
        for indicator in family["indicators"]
    ]


def _citation(work: Mapping[str, Any]) -> str:
    return f"{work['reference']} doi:{work['doi']}" if work["doi"] else str(work["reference"])


def _value_rows(payload: Payload) -> list[dict[str, Any]]:
    """Return one row per indicator of the country."""
    country = {name: payload["data"][name] for name in CountryRef.model_fields}
    return [
        {**country, "family": family["name"], **indicator}
        for family in payload["data"]["families"]
        for indicator in family["indicators"]
    ]


@endpoint(
    resource,
    "/v1/indicators",
    "List the definitions of the indicators",
    IndicatorsResponse,
    formats=[as_csv(_declaration_rows, DECLARATION_COLUMNS)],
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS),
)
def indicators(query: AsOfQuery) -> Payload:
    """Return the definitions of the indicators, by family."""
    with request_session() as session:
        return read_model.declarations_payload(session.served(query.as_of, query.outcome))


@endpoint(
    resource,
    "/v1/indicators/<iso3>",
    "Get a country's indicators, at the origin and 12 months earlier",
    CountryIndicatorsResponse,
    formats=[as_csv(_value_rows, [*CountryRef.model_fields, "family", "name", "value", "before", "reasons"])],
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country"),
)
def country(query: AsOfQuery, iso3: str) -> Payload:
    """Return the values of one country, by family."""
    with request_session() as session:
        payload = read_model.indicators_payload(session.served(query.as_of, query.outcome), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload
