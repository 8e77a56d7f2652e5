"""The form of what several resources say, as models: OpenAPI is made from them, and tests hold payloads to them.

Nothing is computed or checked with them while serving. A key with a default is one that snapshots of an older Vigie may
lack. What only one resource says stands beside that resource.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Said(BaseModel):
    """An object in a payload. Keys may be added to it one day, so readers ignore what they do not know."""


class Texts(Said):
    """A text for people. It may be reworded."""

    en: str
    fr: str


def key(description: str) -> Any:
    """A key that is always there, and what it means."""
    return Field(description=description)


def lacking(description: str) -> Any:
    """A key that snapshots of an older Vigie lack."""
    return Field(default=None, description=description)


def about_past(description: str) -> Any:
    """A key that only an answer about a past moment has."""
    return Field(default=None, description=f"with as_of only: {description}")


class CompletenessOf(Said):
    """How much of a month's deaths is reported by now."""

    month: str = key("YYYY-MM")
    value: float = key("share reported, in (0, 1]")
    low: float = key("of its 90 % interval")
    high: float = key("of its 90 % interval")


class RegionCompleteness(CompletenessOf):
    """The completeness of one country: the one that the payload is about, else the least complete of the region."""

    location_code: str = key("ISO alpha-3")


class Meta(Said):
    """What every payload carries: which snapshot, of what data, by which model, how old, real or simulated."""

    region: str = key("ISO alpha-3 of the focal country")
    snapshot_id: int | None = key("which snapshot")
    digest: str | None = key("SHA-256 of its document")
    issued_at: str | None = key("when it was made")
    data_as_of: str | None = key("the last day of data used")
    origin: str | None = key("the last month of data used, YYYY-MM")
    outcome: str | None = key("the deaths that are forecast: state_based or all")
    source: str | None = key("whose data, which release")
    model_id: str | None = key("the model bundle")
    completeness: RegionCompleteness | None = key("of the country, or of the least complete country of the region")
    status: Literal["fresh", "late", "stale"] | None = key("the age of the data when asked, in a word")
    data_age_days: int | None = key("days since data_as_of [days]")
    simulated: bool | None = key("true: everything is invented; null: the archive is empty")
    next_run_at: str | None = key("when the next computation is expected; in the past: overdue")
    as_of: str = about_past("the moment that it tells of, in which status and ages are judged, too")
    basis: Literal["issued", "recomputed"] = about_past(
        "a snapshot of then, or computed later from what was known then"
    )
    computed_at: str | None = about_past("when it was recomputed")
    vigie: str | None = about_past("the version that computed it")
    reasons: dict[str, str] = key("why a value is null, by its name")


class DataWarning(Said):
    """A warning about the data, never about the world."""

    code: str = key("few_reports, imprecise_dates or imprecise_places")
    months: int = key("how many months up to the origin it is of [months]")
    probability: float | None = Field(default=None, description="few_reports: of so few under the own history")
    events: float | None = Field(default=None, description="the others: share of events")
    deaths: float | None = Field(default=None, description="the others: share of deaths")


class Source(Said):
    """Which ingest speaks for which months."""

    ingest: str
    source: str
    release: str | None
    first: str
    last: str


class Page(Meta):
    """A part of a long list, newest first."""

    next: str | None = key("the address of the next page; null: this is the last")


class Called(Said):
    """A country and its English name."""

    location_code: str = key("ISO alpha-3")
    location_name: str = key("English name")


class Lead(Said):
    """The forecast of one month."""

    lead: int = key("1 is the month after the origin")
    month: str = key("YYYY-MM")
    expected: float = key("mean [deaths]")
    p05: float = key("quantiles [deaths]")
    p25: float
    p50: float
    p75: float
    p95: float
    probability_1: float = key("of that many deaths or more")
    probability_25: float
    probability_100: float


class ProblemDocument(Said):
    """What is wrong (RFC 9457)."""

    type: str = key("urn:vigie:problem:…, or about:blank where the status says it all")
    title: str
    status: int
    detail: str | None = Field(default=None)
    request_id: str | None = Field(default=None, description="under which the operator's log has it")
    location_code: str | None = Field(default=None, description="unknown-country: what was asked")
    region: str | None = Field(default=None, description="unknown-region: what was asked")
    run: int | None = Field(default=None, description="unknown-run: what was asked")
    as_of: str | None = Field(default=None, description="nothing-known and nothing-issued: what was asked")
    since: str | None = Field(default=None, description="nothing-known: when something first was, null if nothing is")
    task: str | None = Field(default=None, description="unknown-task: what was asked; task-failed: its address")
    error: str | None = Field(default=None, description="task-failed: why")
    retry_after_seconds: int | None = Field(default=None, description="when to ask again, as Retry-After [s]")
    reason: str | None = Field(default=None, description="no-draws and run-without-snapshot: why")
    renewed_at: str | None = Field(default=None, description="late-snapshot: when a run last ended well")
    parameter: str | None = Field(default=None, description="bad-query: which")
    field: str | None = Field(default=None, description="bad-body: which")
    rule: str | None = Field(default=None, description="bad-query and bad-body: the rule that is broken")
    offered: list[str] | None = Field(default=None, description="not-acceptable: the media types there are")
