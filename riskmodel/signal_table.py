"""Signals as flat rows, for CSV and data frames: one row for each signal, and one for each country without any."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_PER_FAMILY = 3
"""At most this many signals of a family are listed."""

COLUMNS = (
    *("location_code", "month", "indicator", "family", "unit", "months", "value", "highest_in_five_years"),
    *("as_high", "past_months", "since", "earlier", "event_ids", "events_counted", "sentence"),
    *("escalation_share", "escalation_share_without", "escalation_months"),
    *("month_25_share", "month_25_share_without", "month_25_months", "reasons"),
)


def rows(countries: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of countries, with `COLUMNS`; texts are English.

    A country without a signal has a row with its code, its month and the reasons alone: none of its indicators stands
    out, or, with a reason, that is unknown.
    """
    for country in countries:
        own = {**dict.fromkeys(COLUMNS), **{name: country[name] for name in ("location_code", "month", "reasons")}}
        for signal in country["signals"] or ():
            yield {
                **own,
                **{name: signal[name] for name in COLUMNS if name in signal},
                "earlier": [f"{each['month']}: {each['value']}" for each in signal["earlier"]],
                "event_ids": [event["event_id"] for event in signal["events"]],
                "sentence": signal["sentence"]["en"],
                **_rate_columns(signal["base_rates"]),
            }
        if not country["signals"]:
            yield own


def _rate_columns(rates: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for target, rate in rates.items():
        if rate:
            columns[f"{target}_share"] = rate["with_signal"]["share"]
            columns[f"{target}_share_without"] = rate["without_signal"]["share"]
            columns[f"{target}_months"] = rate["with_signal"]["months"]
    return columns
