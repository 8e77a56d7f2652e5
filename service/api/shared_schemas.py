"""The schemas that several endpoints share. The OpenAPI document is made from them.

Nothing is validated with them while serving; tests compare every response with its schema. A schema that one endpoint
alone uses stands in that endpoint's module. Class names are unique in the whole API: generators of clients make one
class for each name.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Schema(BaseModel):
    """An object in a response. New keys may be added, so a client must ignore keys that it does not know."""


class LocalizedText(Schema):
    """A text for people, in English and French. Its wording may change."""

    en: str
    fr: str


def described(description: str) -> Any:
    """Return a key that is always present, with its description."""
    return Field(description=description)


def optional(description: str) -> Any:
    """Return a key that may be absent, with its description."""
    return Field(default=None, description=description)


def as_of_only(description: str) -> Any:
    """Return a key that is present only with `as_of`, with its description."""
    return Field(default=None, description=f"only with as_of: {description}")


ReleaseClass = Literal["monthly_candidate", "year_file", "final", "next_final"]
"""How far UCDP's cycle of revisions has gone with a figure; the first two can still change."""


Basis = Literal["issued", "hindcast"]
"""Whether scores were issued in a snapshot, or computed later for a past origin."""

DataBasis = Literal["as_known", "final_figures"]
"""Whether a forecast starts from what was known at its time, or from the newest figures."""


class Meta(Schema):
    """The keys of every payload: which snapshot, from which data, by which model, how old, real or simulated."""

    region: str = described("ISO alpha-3 code of the focal country")
    snapshot_id: int | None = described("number of the snapshot")
    digest: str | None = described("SHA-256 of the snapshot's document")
    issued_at: str | None = described("when the snapshot was issued")
    data_as_of: str | None = described("the last day of the data used")
    origin: str | None = described("the last month of the data used, YYYY-MM")
    outcome: str | None = described("the deaths that are forecast: all or state_based")
    outcome_label: LocalizedText | None = described("the outcome in words")
    outcomes: list[str] | None = described("the outcomes of the snapshot, the headline first")
    source: str | None = described("the data sources and their releases")
    licence: str | None = described("the licence of the data, and whom to name: CC BY 4.0 · UCDP")
    model_id: str | None = described("the model bundle")
    release_class: ReleaseClass | None = described(
        "how settled the origin's figures are: of the country, or of the least settled country of the region"
    )
    status: Literal["fresh", "late", "stale", "history"] | None = described(
        "age of the data at the time of the request; history: the data that ship with Vigie"
    )
    data_age_days: int | None = described("days since data_as_of [days]")
    simulated: bool | None = described("true: all data are invented; null: the archive is empty")
    next_run_at: str | None = described("when the next run is expected; it is overdue if this is in the past")
    as_of: str = as_of_only("the past moment; status and data_age_days are those at that moment")
    basis: Literal["issued", "recomputed", "hindcast"] = as_of_only(
        "issued: a snapshot of that time; recomputed, hindcast: computed later; see data_basis"
    )
    data_basis: DataBasis = as_of_only("as_known: from the data known then; final_figures: from the newest data")
    model_origin: str = as_of_only("the last month of the model's training data, YYYY-MM")
    computed_at: str | None = as_of_only("when the scores were computed, if that was later")
    vigie: str | None = as_of_only("version of Vigie that computed the scores")
    reasons: dict[str, str] = described("why a key is null, by its name")


class DataWarning(Schema):
    """A warning about the quality of the data. It says nothing about the level of violence."""

    code: str = described("few_reports, imprecise_dates or imprecise_places")
    months: int = described("number of months up to the origin that the warning is about [months]")
    probability: float | None = Field(
        default=None, description="few_reports: probability of so few reports, given the country's own history"
    )
    events: float | None = Field(default=None, description="the other codes: share of events")
    deaths: float | None = Field(default=None, description="the other codes: share of deaths")


class MonthsSource(Schema):
    """The ingest, source and release that a span of months comes from."""

    ingest: str
    source: str
    release: str | None
    first: str
    last: str


class Page(Meta):
    """One page of a long list, newest first."""

    next: str | None = described("address of the next page; null on the last page")


class CountryRef(Schema):
    """A country and its English name."""

    location_code: str = described("ISO alpha-3 code")
    location_name: str = described("English name")


class EventReference(Schema):
    """An event behind a driver or a signal."""

    event_id: str = described("as in /v1/events")
    date: str
    iso3: str
    deaths: int
    where: str | None = described("first-order administrative unit")


class ForecastLead(Schema):
    """The forecast of one month."""

    lead: int = described("1 is the month after the origin")
    month: str = described("YYYY-MM")
    expected: float = described("mean [deaths]")
    p05: float = described("5 % quantile [deaths]")
    p25: float = described("25 % quantile [deaths]")
    p50: float = described("median [deaths]")
    p75: float = described("75 % quantile [deaths]")
    p95: float = described("95 % quantile [deaths]")
    probability_1: float = described("probability of at least 1 death")
    probability_25: float = described("probability of at least 25 deaths")
    probability_100: float = described("probability of at least 100 deaths")


class ProblemDocument(Schema):
    """What went wrong (RFC 9457)."""

    type: str = described("urn:vigie:problem:…, or about:blank where the HTTP status says everything")
    title: str
    status: int
    detail: str | None = Field(default=None)
    request_id: str | None = Field(default=None, description="identifies the request in the operator's log")
    location_code: str | None = Field(default=None, description="unknown-country, no-draws: the country requested")
    region: str | None = Field(default=None, description="unknown-region: the region requested")
    snapshot_id: int | None = Field(
        default=None, description="unknown-snapshot, retired-snapshot: the snapshot requested"
    )
    as_of: str | None = Field(default=None, description="nothing-known, nothing-issued: the moment requested")
    since: str | None = Field(
        default=None, description="nothing-known: when data were first known, null if there are none"
    )
    task: str | None = Field(default=None, description="unknown-task: the id requested; task-failed: its address")
    error: str | None = Field(default=None, description="task-failed: why it failed")
    retry_after_seconds: int | None = Field(default=None, description="when to try again, as in Retry-After [s]")
    outcome: str | None = Field(default=None, description="no-outcome: the outcome requested")
    outcomes: list[str] | None = Field(default=None, description="no-outcome: those that the snapshot has")
    reason: str | None = Field(default=None, description="no-outcome, no-draws, bad-cursor: why")
    explanation: LocalizedText | None = Field(default=None, description="no-outcome: why, and what can be done")
    renewed_at: str | None = Field(default=None, description="late-snapshot: when a run last succeeded")
    parameter: str | None = Field(default=None, description="bad-query: the parameter that is wrong")
    field: str | None = Field(default=None, description="bad-body: the field that is wrong")
    rule: str | None = Field(default=None, description="bad-query, bad-body: the rule that it breaks")
    offered: list[str] | None = Field(default=None, description="not-acceptable: the media types on offer")
