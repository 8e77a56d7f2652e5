"""Signals at `/v1/signals` and `/v1/signals/{iso3}`: what stands out in the events against a country's own past."""

from collections.abc import Iterator
from typing import Any, Literal

from flask import Blueprint

from riskmodel import signal_table
from service.api.country_history import HistoryPoint, HistoryQuery, history_payload
from service.api.endpoints import AS_OF_PROBLEMS, OUTCOME_PROBLEMS, Payload, endpoint
from service.api.shared_schemas import (
    CountryRef,
    EventReference,
    LocalizedText,
    Meta,
    Page,
    Schema,
    described,
)
from service.api.tabular import as_csv
from service.api.tasks import TASK_ACCEPTED, AsOfQuery
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import read_model
from service.snapshots.history import SIGNAL_VALUES

resource = Blueprint("signals", __name__)


class EarlierCount(Schema):
    """The count of an earlier month."""

    month: str
    value: int


class SignalRate(Schema):
    """How often something followed, with the 90 % interval over countries, and in how many country-months."""

    share: float
    low: float
    high: float
    months: int
    countries: int


class BaseRate(Schema):
    """How often something followed within six months with this kind of signal, and without it."""

    first_year: int
    last_year: int
    with_signal: SignalRate
    without_signal: SignalRate


class BaseRates(Schema):
    """The base rates of a kind of signal; null with a reason in `reasons` of the signal."""

    escalation: BaseRate | None
    month_25: BaseRate | None = described("a month of 25 deaths, in countries that had none in the last 12 months")


class Signal(Schema):
    """An indicator that stands out against a country's own past. It is an observation, and no forecast."""

    indicator: str = described("name, as in /v1/indicators")
    family: str
    meaning: LocalizedText
    unit: str
    months: int = described("over how many months it counts [months]")
    value: int
    highest_in_five_years: bool
    as_high: int = described("how many of the past_months before had a count at least as high")
    past_months: int = described("120, or 60 where fewer are known [months]")
    earlier: list[EarlierCount] = described("the same month of the five years before")
    since: str = described("the first month of the present spell, YYYY-MM")
    events: list[EventReference] = described("the deadliest events that are counted, at most five")
    events_counted: int | None = described("how many events are counted")
    sentence: LocalizedText
    base_rates: BaseRates
    base_rate_sentence: LocalizedText
    reasons: dict[str, str]


class NotCompared(Schema):
    """An indicator that cannot be compared with its past."""

    indicator: str
    family: str
    reason: Literal["value_unknown", "past_too_short"]


class EarlierSignal(Schema):
    """A signal of an earlier origin, in brief."""

    indicator: str
    family: str
    value: int
    unit: str
    months: int
    highest_in_five_years: bool
    as_high: int
    past_months: int
    since: str
    sentence: LocalizedText


class SignalHistoryEntry(HistoryPoint):
    """The signals of a country in one snapshot or hindcast. Those of a hindcast are found in the newest figures."""

    signals: list[EarlierSignal] | None


class SignalHistoryResponse(Page):
    """The signals of one country in every snapshot and hindcast, newest origin first."""

    data: list[SignalHistoryEntry]


class CountrySignals(CountryRef):
    """What stands out in one country at the end of a month."""

    month: str = described("the origin, YYYY-MM")
    signals: list[Signal] | None = described("rarest first, at most three of a family; empty: nothing stands out")
    not_compared: list[NotCompared] = described("indicators that cannot be compared with their past")
    percentiles: dict[str, float | None] = described(
        "of each indicator that can be a signal: in how many of the 120 months before it was lower [%]"
    )
    unlisted_signals: list[str] = described("indicators that stand out too, behind rarer ones of their family")
    reasons: dict[str, str]


class SignalsResponse(Meta):
    """What stands out in each country of the region."""

    data: list[CountrySignals]
    note: LocalizedText = described("what signals are and are not; show it with them")


class CountrySignalsResponse(Meta):
    """What stands out in one country."""

    data: CountrySignals
    note: LocalizedText


COLUMNS = [*CountryRef.model_fields, *(name for name in signal_table.COLUMNS if name not in CountryRef.model_fields)]


def _rows(payload: Payload) -> Iterator[dict[str, Any]]:
    """Yield one row for each signal, and one for each country without any."""
    countries = payload["data"] if isinstance(payload["data"], list) else [payload["data"]]
    names = {country["location_code"]: country["location_name"] for country in countries}
    for row in signal_table.rows(countries):
        yield {**row, "location_name": names[row["location_code"]]}


@endpoint(
    resource,
    "/v1/signals",
    "List what stands out in each country against its own past",
    SignalsResponse,
    formats=[as_csv(_rows, COLUMNS)],
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS),
)
def signals(query: AsOfQuery) -> Payload:
    """Return the signals of the countries of the region."""
    with request_session() as session:
        return read_model.signals_payload(session.served(query.as_of, query.outcome, hindcast=True))


@endpoint(
    resource,
    "/v1/signals/<iso3>",
    "Get what stands out in a country against its own past",
    CountrySignalsResponse,
    formats=[as_csv(_rows, COLUMNS)],
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country"),
)
def country(query: AsOfQuery, iso3: str) -> Payload:
    """Return the signals of one country."""
    with request_session() as session:
        view = session.served(query.as_of, query.outcome, hindcast=True)
        payload = read_model.country_signals_payload(view, iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return payload


HISTORY_COLUMNS = [
    *(name for name in SignalHistoryEntry.model_fields if name != "signals"),
    *EarlierSignal.model_fields,
]


def _history_rows(payload: Payload) -> Iterator[dict[str, Any]]:
    """Yield one row for each signal of each entry, and one for each entry without any; texts are English."""
    for entry in payload["data"]:
        for signal in entry["signals"] or (dict.fromkeys(EarlierSignal.model_fields),):
            yield {**entry, **signal, "sentence": (signal["sentence"] or {}).get("en")}


@endpoint(
    resource,
    "/v1/signals/<iso3>/history",
    "List what stood out in a country in every snapshot and hindcast, newest first",
    SignalHistoryResponse,
    query=HistoryQuery,
    formats=[as_csv(_history_rows, HISTORY_COLUMNS)],
    problems=(*OUTCOME_PROBLEMS, "nothing-issued", "unknown-country"),
)
def country_history(query: HistoryQuery, iso3: str) -> Payload:
    """Return one entry per snapshot, and per hindcast of an origin without a valid snapshot."""
    return _in_brief(history_payload(query, iso3, SIGNAL_VALUES))


def _in_brief(payload: Payload) -> Payload:
    """Return a page of a history without the keys that are about the forecast."""
    keys = SignalHistoryEntry.model_fields
    data = [
        {**{key: entry[key] for key in keys}, "reasons": {k: v for k, v in entry["reasons"].items() if k in keys}}
        for entry in payload["data"]
    ]
    return {**payload, "data": data}
