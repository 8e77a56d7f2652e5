"""Scores: the region's table at `/v1/scores`, everything about one country at `/v1/scores/{iso3}`, and what snapshots
before said of it at `/v1/scores/{iso3}/history`.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from flask import Blueprint, current_app
from pydantic import Field, create_model

from riskmodel import geography
from service.api.openapi import OF_PAST, SEPARATED, UNSERVED, Form, Payload, offers
from service.api.paging import Paged, address, page
from service.api.schemas import Called, CompletenessOf, DataWarning, Lead, Meta, Page, Said, Source, key, lacking
from service.api.tabular import as_csv, listed
from service.api.tasks import ON_ITS_WAY, OfPast
from service.http.problems import Problem
from service.http.request_context import ReadSession, current_context, request_session
from service.snapshots import csv, geojson, history, read_model, snapshot_view

resource = Blueprint("scores", __name__)

ScoreKey = Literal[
    "location_name",
    "reference_period_start",
    "reference_period_end",
    "risk_score",
    "band",
    "rungs",
    "escalation_probability",
    "onset_probability",
    "expected_deaths",
    "escalation_model",
    "escalation_from_draws",
    "onset_model",
    "completeness",
    "data_quality",
    "reasons",
    "sources",
]
"""The keys of a country that one may ask for; its code comes with any of them."""

CSV = Form("csv", "text/csv", lambda payload, asked: csv.scores_table(payload, asked.fields))


def _bands(schema: dict[str, Any]) -> None:
    """Let the description name the bands as they are set here."""
    schema["anyOf"][0]["enum"] = list(current_context().settings.bands)


class ScoresAsked(OfPast):
    """Which countries, and which of their keys."""

    region: (
        Annotated[str, Field(pattern="^[A-Z]{3}$", description="the focal country; else the region in service")] | None
    ) = None
    band_at_least: str | None = Field(
        default=None,
        description="only countries in this band or a higher one; those without a score are left out",
        json_schema_extra=_bands,
    )
    fields: Annotated[list[ScoreKey], Field(min_length=1), SEPARATED] | None = Field(
        default=None, description="only these keys of each country"
    )


class HistoryAsked(Paged, OfPast):
    """A page of a history that may end at a past moment."""


class Rung(Said):
    """How probable it is that deaths in the reference period reach a number."""

    deaths: int
    probability: float


class Score(Called):
    """What is forecast for one country over the three months after the origin."""

    reference_period_start: str
    reference_period_end: str
    risk_score: float | None = key("0-100: 100 times the mean of the probabilities in rungs")
    band: str | None = key("the band that the score is in")
    rungs: list[Rung]
    escalation_probability: float | None = key("that deaths reach 25 and twice those of the three months before")
    onset_probability: float | None = key("of a quiet country: that a month of 25 deaths comes within 12")
    expected_deaths: float | None = key("mean of the forecast for the period [deaths]")
    escalation_model: str | None = lacking(
        "the model that gave escalation_probability: draws, h24 or draws_and_regression"
    )
    escalation_from_draws: float | None = lacking("the share of the draws of the forecast that escalate")
    onset_model: str | None = lacking("the model that gives onset_probability: draws")
    completeness: CompletenessOf | None = lacking("how much of the origin's deaths is reported by now")
    data_quality: list[DataWarning] = lacking("warnings about the data")
    reasons: dict[str, str] = key("why a value is null, by its name")
    sources: list[Source] = key("which ingest and release speaks for which months")


_SOME: dict[str, Any] = {
    name: (Score.model_fields[name].annotation, lacking("as in Score")) for name in get_args(ScoreKey)
}
SomeOfScore = create_model(
    "SomeOfScore", __doc__="A country's keys that were asked for.", location_code=(str, key("ISO alpha-3")), **_SOME
)


class OfRegion(Meta):
    """What is said of the region as a whole."""

    bands: dict[str, float] = key("the score at which each band begins")
    data_quality: list[DataWarning] = key("warnings about the region's data as a whole")


class Scores(OfRegion):
    """All countries, highest risk first."""

    data: list[Score | SomeOfScore]  # type: ignore[valid-type]  # made of Score


class Past(Called):
    """What one snapshot said of a country."""

    snapshot_id: int
    issued_at: str
    origin: str
    reference_period_start: str
    reference_period_end: str
    risk_score: float | None
    band: str | None
    escalation_probability: float | None
    onset_probability: float | None
    expected_deaths: float | None
    completeness: float | None = key("share of the origin's deaths that was reported then")
    model_id: str
    withdrawn_at: str | None = key("when the snapshot was taken back; it counts no more")
    withdrawn_reason: str | None
    reasons: dict[str, str]


class History(Page):
    """What snapshots said of one country, newest first."""

    data: list[Past]


class Point(Said):
    """A capital (RFC 7946)."""

    type: Literal["Point"]
    coordinates: list[float] = key("longitude, latitude [degrees, WGS 84]")


class Feature(Said):
    """A country."""

    type: Literal["Feature"]
    id: str
    geometry: Point
    properties: dict[str, Any] = key("as in data of /v1/scores, capital and simulated beside it")


class ScoresOnMap(OfRegion):
    """All countries as GeoJSON (RFC 7946); what a Scores says beside its data stands here too."""

    type: Literal["FeatureCollection"]
    features: list[Feature]


GEOJSON = Form(
    "geojson",
    "application/geo+json",
    lambda payload, _: current_app.json.dumps(geojson.scores(payload)),
    ScoresOnMap,
)


class Observed(Said):
    """A month as reported."""

    month: str
    deaths: int | None = key("null: no source covers the month [deaths]")


class Nowcast(Said):
    """A month that is reported in part."""

    month: str
    reported: int
    expected: int = key("in the end [deaths]")
    value: float = key("completeness")
    low: float
    high: float


class CountryScore(Score):
    """All that the snapshot says of a country."""

    forecast: list[Lead] = key("see /v1/forecasts/{iso3}")
    observed: list[Observed]
    nowcast: list[Nowcast] = lacking("the months known to be reported in part")
    indicators: dict[str, float | None]
    indicators_before: dict[str, float | None] = lacking("the same 12 months earlier")
    drivers: dict[str, Any] | None = lacking("see /v1/drivers/{iso3}")


class OneScore(OfRegion):
    """One country."""

    data: CountryScore


@offers(
    resource,
    "/v1/scores",
    "The region's scores, highest risk first",
    Scores,
    asks=ScoresAsked,
    more=ON_ITS_WAY,
    forms=[CSV, GEOJSON],
    problems=(*UNSERVED, *OF_PAST, "unknown-region"),
    leads_to={
        "scores.country": {"iso3": "/data/0/location_code"},
        "scores.past": {"iso3": "/data/0/location_code"},
        "forecasts.forecast": {"iso3": "/data/0/location_code"},
        "indicators.country": {"iso3": "/data/0/location_code"},
        "drivers.country": {"iso3": "/data/0/location_code"},
    },
)
def scores(asked: ScoresAsked) -> Payload:
    """The region's table, or a part of it."""
    with request_session() as session:
        served = (_of(session, asked.region) if asked.region else session).served(asked.as_of)
        at_least = None
        if asked.band_at_least is not None:
            floors = served.document["bands"]
            if asked.band_at_least not in floors:
                raise Problem(
                    "bad-query", parameter="band_at_least", rule=f"one of {', '.join(sorted(floors, key=floors.get))}"
                )
            at_least = floors[asked.band_at_least]
        return read_model.scores_payload(served, at_least, asked.fields)


def _of(session: ReadSession, region: str) -> ReadSession:
    """The reading of another region than the one in service. Ends the request where no snapshot of it is served."""
    other = replace(session, settings=session.settings.model_copy(update={"region": region}))
    if region != session.settings.region and other.find_served() is None:
        raise Problem("unknown-region", region=region)
    return other


@offers(
    resource,
    "/v1/scores/<iso3>",
    "Everything about one country",
    OneScore,
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST, "unknown-country"),
)
def country(asked: OfPast, iso3: str) -> Payload:
    """One country, with its months of history and forecast."""
    with request_session() as session:
        payload = read_model.country_payload(session.served(asked.as_of), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload


@offers(
    resource,
    "/v1/scores/<iso3>/history",
    "What snapshots said of a country, newest first",
    History,
    asks=HistoryAsked,
    forms=[as_csv(listed, list(Past.model_fields))],
    problems=(*UNSERVED, "nothing-issued", "unknown-country"),
)
def past(asked: HistoryAsked, iso3: str) -> Payload:
    """One line per snapshot, withdrawn ones too; of the past, those issued by then, as they are marked now."""
    with request_session() as session:
        served, until = session.served(), None
        if not any(row["location_code"] == iso3 for row in served.document["countries"]):
            raise Problem("unknown-country", location_code=iso3)
        region, simulated = session.settings.region, bool(session.simulated)
        if asked.as_of is not None:
            until = session.parse_as_of(asked.as_of)
            served = session.issued_by(until)
        read = history.of_country(session.connection, region, simulated, iso3, asked.before, asked.limit + 1, until)
        rows, last = page(read, asked.limit)
        name = geography.country(iso3).name()
        lines = [{"location_name": name, **row} for row in rows]
        return {
            "data": lines,
            "next": address(str(last["snapshot_id"]) if last else None),
            **snapshot_view.meta(served, iso3),
        }
