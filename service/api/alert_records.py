"""The record of each alert rule at `/v1/alerts/record`, and each judged alert at `/v1/alerts/results`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from flask import Blueprint
from pydantic import Field

from riskmodel import geography
from riskmodel.hindcast_payload import HINDCAST
from service.alerts import records
from service.alerts.records import ALL_RULES
from service.api.endpoints import NO_SNAPSHOT_PROBLEMS, Iso3, Payload, Query, endpoint
from service.api.shared_schemas import LocalizedText, Meta, Schema, described
from service.api.tabular import as_csv, listed
from service.drawing.language import LOCALES
from service.http.request_context import ReadSession, request_session
from service.snapshots.earlier_scores import ISSUED
from service.store.values import instant

resource = Blueprint("alert_records", __name__)

Basis = Literal["issued", "hindcast"]
BASES = (ISSUED, HINDCAST)


SHARED_KEYS = ("rule", "title", "severity", "outcome", "metric", "fire_at", "clear_at", "announces")
"""The keys of both records of a rule."""


class Announced(Schema):
    """What an alert of a rule announces."""

    event: Literal["escalation", "onset", "deaths"]
    months: int = described("within how many months; for deaths: in which month")
    deaths: int = described("the deaths in a month that an onset or deaths begin with")
    seen: bool = described("the rule is about something seen; its share of hits is compared with the base rate")


class RuleRecord(Schema):
    """How often the alerts of a rule were right, on one basis."""

    rule: str | None = described("null: all rules of the headline together")
    basis: Basis
    title: LocalizedText | None
    severity: str | None
    outcome: str
    metric: str | None
    fire_at: float | None
    clear_at: float | None
    announces: Announced | None = described("null: the rule is about the data")
    first_month: str | None = described("the first origin that the rule has read")
    last_month: str | None = described("the last origin that the rule has read")
    alerts: int | None
    hits: int | None
    false_alarms: int | None
    too_early: int | None = described("alerts whose period is not over")
    unknown: int | None = described("alerts that cannot be judged, because deaths are unknown")
    episodes: int | None = described("events that the rule could have announced")
    misses: int | None = described("events that it did not announce")
    precision: float | None
    recall: float | None
    false_alarms_per_hit: float | None
    alerts_per_country_year: float | None
    median_lead_months: float | None
    base_rate: float | None = described("how often the event followed, with or without an alert")
    reason: str | None = described("why there is no record, or why it says little")


class RecordsResponse(Meta):
    """The records of the rules in force."""

    computed_at: str | None
    data: list[RuleRecord]


class AlertResult(Schema):
    """An alert that was judged, or an event that no alert of the rule announced."""

    rule: str | None = described("null: all rules of the headline together")
    basis: Basis
    outcome: str
    location_code: str
    name: LocalizedText
    result: Literal["hit", "false_alarm", "too_early", "unknown", "miss"]
    origin: str = described("the last month of data when the alert fired; of a miss, when the event came into sight")
    first_month: str = described("the period in which the event was to be or was")
    last_month: str
    lead_months: int | None = described("from the alert to the event; null unless it is a hit")
    deaths: list[int | None] | None = described("deaths of each month of the period; null of a miss")
    reason: str | None


class ResultsResponse(Meta):
    """Judged alerts and missed events, newest first."""

    computed_at: str | None
    data: list[AlertResult]


class ResultsQuery(Query):
    """Which judged alerts."""

    rule: Annotated[str | None, Field(description="the name of a rule", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = None
    location: Annotated[Iso3 | None, Field(description="ISO alpha-3 code of a country")] = None
    basis: Annotated[Basis | None, Field(description="issued alerts, or a replay of the rules over hindcasts")] = None


@endpoint(
    resource,
    "/v1/alerts/record",
    "List how often the alerts of each rule were right",
    RecordsResponse,
    formats=[as_csv(listed, [name for name in RuleRecord.model_fields if name not in ("title", "announces")])],
    problems=NO_SNAPSHOT_PROBLEMS,
)
def record() -> Payload:
    """Return two records of each rule, of issued alerts and of hindcasts, and those of all rules together."""
    with request_session() as session:
        meta = session.meta(session.served())
        computed_at, of_rules = _stored(session)
        return {
            "computed_at": computed_at,
            "data": [_record(each, basis) for each in of_rules for basis in BASES],
            **meta,
        }


@endpoint(
    resource,
    "/v1/alerts/results",
    "List judged alerts and missed events, newest first",
    ResultsResponse,
    query=ResultsQuery,
    formats=[as_csv(listed, [name for name in AlertResult.model_fields if name != "name"])],
    problems=NO_SNAPSHOT_PROBLEMS,
)
def results(query: ResultsQuery) -> Payload:
    """Return the judged alerts and the missed events of the rules in force."""
    with request_session() as session:
        meta = session.meta(session.served())
        computed_at, of_rules = _stored(session)
        found = [
            result
            for each in of_rules
            if query.rule in (None, each["rule"])
            for basis in BASES
            if query.basis in (None, basis)
            for result in _results(each, basis)
            if query.location in (None, result["location_code"])
        ]
        found.sort(key=lambda result: result["origin"], reverse=True)
        return {"computed_at": computed_at, "data": found, **meta}


def _stored(session: ReadSession) -> tuple[str | None, list[dict[str, Any]]]:
    """Return when the records were computed, and those of each rule, the last of all rules together."""
    row = records.stored(session.connection, session.settings.region, simulated=bool(session.simulated))
    if row is None:
        return None, []
    together = {
        **dict.fromkeys(("rule", "title", "severity", "metric", "fire_at", "clear_at")),
        **row.document[ALL_RULES],
    }
    return instant(row.at), [*row.document["rules"], together]


def _record(of_rule: Mapping[str, Any], basis: str) -> dict[str, Any]:
    of_basis = of_rule[basis] or {
        **dict.fromkeys(RuleRecord.model_fields),
        "reason": "nothing_in_past" if of_rule["announces"] else "announces_nothing",
    }
    shared = {key: of_rule[key] for key in SHARED_KEYS}
    counts = {key: of_basis[key] for key in RuleRecord.model_fields if key in of_basis}
    return {**counts, **shared, "basis": basis}


def _results(of_rule: Mapping[str, Any], basis: str) -> Iterator[dict[str, Any]]:
    of_basis = of_rule[basis]
    if of_basis is None:
        return
    shared = {"rule": of_rule["rule"], "basis": basis, "outcome": of_rule["outcome"]}
    for judged in of_basis["judged"]:
        named = {"name": _name(judged["location_code"]), "lead_months": judged["lead"]}
        yield {**shared, **{key: value for key, value in judged.items() if key != "lead"}, **named}
    for missed in of_basis["missed"]:
        yield {
            **shared,
            "location_code": missed["location_code"],
            "name": _name(missed["location_code"]),
            "result": "miss",
            "origin": missed["first"],
            "first_month": missed["first"],
            "last_month": missed["last"],
            "lead_months": None,
            "deaths": None,
            "reason": None,
        }


def _name(iso3: str) -> dict[str, str]:
    return {language: geography.country(iso3).name(language) for language in LOCALES}
