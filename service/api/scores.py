"""Scores: the region at `/v1/scores`, one country at `/v1/scores/{iso3}`, and a country's history.

Fields are described here. `service.jobs.snapshot_content` and `riskmodel.country_scores` compute them.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from flask import Blueprint, current_app
from pydantic import Field, create_model

from service.api.country_history import HistoryPoint, HistoryQuery, history_payload
from service.api.endpoints import AS_OF_PROBLEMS, COMMA_SEPARATED, OUTCOME_PROBLEMS, Format, Iso3, Payload, endpoint
from service.api.shared_schemas import (
    Basis,
    CountryRef,
    DataWarning,
    ForecastLead,
    Meta,
    MonthsSource,
    Page,
    ReleaseClass,
    Schema,
    described,
    optional,
)
from service.api.tabular import as_csv, listed
from service.api.tasks import TASK_ACCEPTED, AsOfQuery
from service.http.problems import Problem
from service.http.request_context import ReadSession, current_context, request_session
from service.snapshots import csv, geojson, read_model
from service.snapshots.history import SCORE_VALUES

resource = Blueprint("scores", __name__)

ScoreKey = Literal[
    "location_name",
    "reference_period_start",
    "reference_period_end",
    "risk_score",
    "band",
    "rank",
    "rank_change",
    "change_1m",
    "change_12m",
    "earlier",
    "rungs",
    "escalation_probability",
    "onset_probability",
    "expected_deaths",
    "escalation_model",
    "escalation_from_draws",
    "onset_model",
    "latest_month",
    "data_quality",
    "reasons",
    "sources",
]
"""The keys of a country that `fields` may name. Its code is always there."""


def _name_bands(schema: dict[str, Any]) -> None:
    """Add the bands of the settings to the schema of `band_at_least`."""
    schema["anyOf"][0]["enum"] = list(current_context().settings.bands)


class ScoresQuery(AsOfQuery):
    """Which countries, and which of their keys."""

    region: Iso3 | None = Field(
        default=None, description="ISO alpha-3 code of the focal country; by default the region in service"
    )
    band_at_least: str | None = Field(
        default=None,
        description="only countries in this band or a higher one; countries without a score are left out",
        json_schema_extra=_name_bands,
    )
    fields: Annotated[list[ScoreKey], Field(min_length=1), COMMA_SEPARATED] | None = Field(
        default=None, description="only these keys of each country"
    )


class RungProbability(Schema):
    """The probability that deaths in the reference period reach a number."""

    deaths: int
    probability: float


class LatestMonth(Schema):
    """The figure of the origin. A settled figure is its own expectation and interval."""

    month: str = described("YYYY-MM")
    reported: int = described("as reported [deaths]")
    expected_final: float = described("the mean of its final figure [deaths]")
    p05: int = described("lower end of the 90 % interval of its final figure [deaths]")
    p25: int = described("lower end of the 50 % interval [deaths]")
    p75: int = described("upper end of the 50 % interval [deaths]")
    p95: int = described("upper end of the 90 % interval [deaths]")
    release_class: ReleaseClass


class EarlierScore(Schema):
    """The score of an earlier origin."""

    origin: str = described("YYYY-MM")
    basis: Basis | None = described("issued in a snapshot, or of a hindcast; null: there is no score of this origin")
    risk_score: float | None


class EarlierScores(Schema):
    """The scores that changes are measured from."""

    one_month: EarlierScore = Field(alias="1m", description="of the origin one month before")
    twelve_months: EarlierScore = Field(alias="12m", description="of the origin twelve months before")


class CountryScore(CountryRef):
    """The forecast of one country for the three months after the origin."""

    reference_period_start: str
    reference_period_end: str
    risk_score: float | None = described("0-100: 100 times the mean of the probabilities in rungs")
    band: str | None = described("the band of the score")
    rank: int | None = described("1 is the highest score in the region; equal scores share a rank")
    rank_change: int | None = described("positive: this many ranks higher than one month before")
    change_1m: float | None = described("the score minus that of the origin one month before [points]")
    change_12m: float | None = described("the score minus that of the origin twelve months before [points]")
    earlier: EarlierScores = described("the scores that the changes are measured from")
    rungs: list[RungProbability]
    escalation_probability: float | None = described(
        "probability of at least 25 deaths and twice the deaths of the three months before"
    )
    onset_probability: float | None = described(
        "for a quiet country: probability of a month with 25 deaths in the next 12"
    )
    expected_deaths: float | None = described("mean of the forecast for the period [deaths]")
    escalation_model: str | None = described("the model of escalation_probability: draws, h24 or draws_and_regression")
    escalation_from_draws: float | None = described("the escalation probability of the forecast's draws")
    onset_model: str | None = described("the model of onset_probability: draws")
    latest_month: LatestMonth | None = described("the figure of the origin, and what it will be in the end")
    data_quality: list[DataWarning] | None = described("warnings about the data")
    reasons: dict[str, str] = described("why a key is null, by its name")
    sources: list[MonthsSource] | None = described("the ingest and release of each span of months")


_OPTIONAL_KEYS: dict[str, Any] = {
    name: (CountryScore.model_fields[name].annotation, optional("as in CountryScore")) for name in get_args(ScoreKey)
}
PartialCountryScore = create_model(
    "PartialCountryScore",
    __base__=Schema,
    __doc__="The keys of a country that `fields` named.",
    location_code=(str, described("ISO alpha-3 code")),
    **_OPTIONAL_KEYS,
)


class RegionMeta(Meta):
    """The keys about the region as a whole."""

    bands: dict[str, float] = described("the lowest score of each band")
    newer_data: dict[str, str] = described(
        "the last month of data of each country that has data after the origin; these months do not count yet"
    )
    data_quality: list[DataWarning] | None = described("warnings about the data of the whole region")
    missing_outcomes: dict[str, str] = described("why an outcome is not in the snapshot, by its name")


class ScoresResponse(RegionMeta):
    """All countries, highest risk first."""

    data: list[CountryScore | PartialCountryScore]  # type: ignore[valid-type]  # made of CountryScore


class HistoryEntry(HistoryPoint):
    """The scores of a country in one snapshot or hindcast."""

    reference_period_start: str
    reference_period_end: str
    risk_score: float | None
    band: str | None
    escalation_probability: float | None
    onset_probability: float | None
    expected_deaths: float | None
    release_class: ReleaseClass | None = described("how settled the origin's figure was at that time")
    model_id: str | None
    model_origin: str = described("the last month of the model's training data")


class HistoryResponse(Page):
    """The scores of one country in every snapshot and hindcast, newest origin first."""

    data: list[HistoryEntry]


class CapitalPoint(Schema):
    """The position of a capital (RFC 7946)."""

    type: Literal["Point"]
    coordinates: list[float] = described("longitude, latitude [degrees, WGS 84]")


class ScoreFeature(Schema):
    """One country as a GeoJSON feature."""

    type: Literal["Feature"]
    id: str
    geometry: CapitalPoint
    properties: dict[str, Any] = described("the keys of CountryScore, capital, outcome, outcome_label and simulated")


class ScoresGeoJsonResponse(RegionMeta):
    """All countries as a GeoJSON feature collection (RFC 7946), with the keys of ScoresResponse next to it."""

    type: Literal["FeatureCollection"]
    features: list[ScoreFeature]


_OF_UNSETTLED = "only of a month whose figure can still change: "


class ObservedMonth(Schema):
    """A month as reported, and what its final figure will be."""

    month: str
    deaths: int | None = described("as reported; null: no source covers the month [deaths]")
    reported: int = optional(_OF_UNSETTLED + "the deaths again, as reported [deaths]")
    expected_final: float = optional(_OF_UNSETTLED + "the mean of its final figure [deaths]")
    p05: int = optional(_OF_UNSETTLED + "lower end of the 90 % interval of its final figure [deaths]")
    p25: int = optional(_OF_UNSETTLED + "lower end of the 50 % interval [deaths]")
    p75: int = optional(_OF_UNSETTLED + "upper end of the 50 % interval [deaths]")
    p95: int = optional(_OF_UNSETTLED + "upper end of the 90 % interval [deaths]")
    release_class: ReleaseClass = optional(_OF_UNSETTLED + "how settled it is")


class CountryDetail(CountryScore):
    """Everything about one country."""

    forecast: list[ForecastLead] = described("see /v1/forecasts/{iso3}")
    observed: list[ObservedMonth]
    indicators: dict[str, float | None] | None
    indicators_before: dict[str, float | None] | None = described("the same 12 months earlier")
    drivers: dict[str, Any] | None = described("see /v1/drivers/{iso3}")
    signals: list[dict[str, Any]] | None = described("see /v1/signals/{iso3}")
    not_compared: list[dict[str, Any]] | None = described("see /v1/signals/{iso3}")
    percentiles: dict[str, float | None] | None = described("see /v1/signals/{iso3}")
    unlisted_signals: list[str] | None = described("see /v1/signals/{iso3}")


class CountryResponse(RegionMeta):
    """One country."""

    data: CountryDetail


CSV = Format("csv", "text/csv", lambda payload, query: csv.scores_table(payload, query.fields))
GEOJSON = Format(
    "geojson",
    "application/geo+json",
    lambda payload, _: current_app.json.dumps(geojson.scores(payload)),
    ScoresGeoJsonResponse,
)


@endpoint(
    resource,
    "/v1/scores",
    "List the scores of the region, highest risk first",
    ScoresResponse,
    query=ScoresQuery,
    other_responses=TASK_ACCEPTED,
    formats=[CSV, GEOJSON],
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-region"),
    links={
        "scores.country": {"iso3": "/data/0/location_code"},
        "scores.country_history": {"iso3": "/data/0/location_code"},
        "forecasts.forecast": {"iso3": "/data/0/location_code"},
        "indicators.country": {"iso3": "/data/0/location_code"},
        "drivers.country": {"iso3": "/data/0/location_code"},
        "signals.country": {"iso3": "/data/0/location_code"},
    },
)
def scores(query: ScoresQuery) -> Payload:
    """Return the scores of a region, or some of them."""
    with request_session() as session:
        of_region = _of_region(session, query.region) if query.region else session
        view = of_region.served(query.as_of, query.outcome, hindcast=True)
        minimum_score = None
        if query.band_at_least is not None:
            bands = view.document["bands"]
            if query.band_at_least not in bands:
                rule = f"one of {', '.join(sorted(bands, key=bands.get))}"
                raise Problem("bad-query", parameter="band_at_least", rule=rule)
            minimum_score = bands[query.band_at_least]
        return read_model.scores_payload(session.connection, view, minimum_score, query.fields)


def _of_region(session: ReadSession, region: str) -> ReadSession:
    """Return the session for another region. Raises Problem if that region has no snapshot."""
    other = replace(session, settings=session.settings.model_copy(update={"region": region}))
    if region != session.settings.region and other.find_served() is None:
        raise Problem("unknown-region", region=region)
    return other


def _observed_months(payload: Payload) -> list[dict[str, Any]]:
    """Return the observed months of a country; settled ones have empty cells for what only unsettled ones have."""
    country = {name: payload["data"][name] for name in CountryRef.model_fields}
    return [{**country, **dict.fromkeys(ObservedMonth.model_fields), **month} for month in payload["data"]["observed"]]


@endpoint(
    resource,
    "/v1/scores/<iso3>",
    "Get everything about one country",
    CountryResponse,
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    formats=[as_csv(_observed_months, [*CountryRef.model_fields, *ObservedMonth.model_fields])],
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country"),
)
def country(query: AsOfQuery, iso3: str) -> Payload:
    """Return one country with its months of history and forecast."""
    with request_session() as session:
        view = session.served(query.as_of, query.outcome, hindcast=True)
        payload = read_model.country_payload(session.connection, view, iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload


@endpoint(
    resource,
    "/v1/scores/<iso3>/history",
    "List the scores of a country in every snapshot and hindcast, newest first",
    HistoryResponse,
    query=HistoryQuery,
    formats=[as_csv(listed, list(HistoryEntry.model_fields))],
    problems=(*OUTCOME_PROBLEMS, "nothing-issued", "unknown-country"),
)
def country_history(query: HistoryQuery, iso3: str) -> Payload:
    """Return one entry per snapshot, withdrawn ones too, and per hindcast of an origin without a valid snapshot.

    `as_of` leaves out what was issued later, and later hindcasts; withdrawals are today's.
    """
    return history_payload(query, iso3, SCORE_VALUES)
