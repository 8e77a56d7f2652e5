"""Precision of the dates and places of events, and the spreading of vaguely dated deaths over several months.

Outcomes count an event in the month of its first day, as the public benchmark does. Only indicators use spread deaths.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from riskmodel.events.columns import months_of, positions
from riskmodel.events.view import View
from riskmodel.months import Month
from riskmodel.outcomes import KINDS, TYPES, CountryMonths
from riskmodel.reporting.counts import events_have_precedence

VAGUE_DATE = 5
"""UCDP's `date_prec` of an event dated to more than a month; most of these are summaries of many events."""
DISTRICT = 3
"""UCDP's `where_prec` up to which the place is known to a district (ADM2)."""
WARNING_MONTHS = 12
"""Warnings about precision are about this many months up to the origin [months]."""
PARTS_OF_A_DEATH = 1024
"""Deaths are split into parts of 1/1024: these are exact in binary, so sums of them are exact."""


def spread_vague_deaths(view: View) -> CountryMonths:
    """Return deaths by country-month, with those of vaguely dated events spread over the days of the event.

    Vague events have `date_prec` 5; they last from `date_start` to `date_end`. The part of a month counts in that month
    only, so a cut after an origin hides everything that comes later. Parts in months where events have no precedence
    are dropped. Without such events the result equals the outcomes.
    """
    observed = view.outcomes()
    columns = ["iso3", "date_start", "date_end", "date_prec", "type_of_violence", "deaths"]
    table = view.events(columns)
    table = table.filter(
        pc.and_(
            pc.fill_null(pc.equal(table["date_prec"], VAGUE_DATE), False),
            pc.fill_null(pc.greater(table["date_end"], table["date_start"]), False),
        )
    )
    first_month, last_month = months_of(table["date_start"]), months_of(table["date_end"])
    row, kind = positions(table["iso3"], observed.iso3), positions(table["type_of_violence"], TYPES)
    column = (first_month - observed.months[:1]).astype(np.int64)
    spread = (last_month > first_month) & (kind >= 0)
    if not spread.any():
        return observed
    row, column, kind = row[spread], column[spread], kind[spread]
    first_month, last_month = first_month[spread], last_month[spread]
    deaths = table["deaths"].to_numpy()[spread].astype(np.float64)
    first_day, last_day = (
        table[name].to_numpy().astype("datetime64[D]")[spread] for name in ("date_start", "date_end")
    )

    # One entry for each event and each of its months but the first: what these receive, the first month gives away.
    event = np.repeat(np.arange(row.size), (last_month - first_month).astype(np.int64))
    months_after = np.arange(event.size) - np.searchsorted(event, event) + 1
    month = first_month[event] + months_after
    end = np.minimum((month + 1).astype("datetime64[D]") - 1, last_day[event])
    days = (end - month.astype("datetime64[D]")).astype(np.int64) + 1
    length = (last_day - first_day).astype(np.int64) + 1
    part = np.floor(PARTS_OF_A_DEATH * deaths[event] * days / length[event]) / PARTS_OF_A_DEATH

    spread_deaths = {name: values.copy() for name, values in observed.deaths.items()}
    target = column[event] + months_after
    inside = target < observed.months.size
    for name in KINDS:
        from_events = events_have_precedence(view, name)
        gives = from_events[row[event], column[event]]
        if name in TYPES:
            gives &= kind[event] == TYPES.index(name)
        receives = gives & inside
        receives[receives] = from_events[row[event[receives]], target[receives]]
        np.subtract.at(spread_deaths[name], (row[event[gives]], column[event[gives]]), part[gives])
        np.add.at(spread_deaths[name], (row[event[receives]], target[receives]), part[receives])
    return CountryMonths(observed.iso3, observed.months, spread_deaths, observed.source, observed.sources)


def precision_warnings(view: View, iso3: Sequence[str], origin: Month) -> dict[str, list[dict[str, Any]]]:
    """Return warnings about vague dates and places in the last twelve months by country, ready for JSON.

    `imprecise_dates` counts events with `date_prec` 5, `imprecise_places` those with `where_prec` above 3. Their shares
    of `events` and `deaths` are among the events whose precision is known; the share of deaths is None without deaths.
    A country without such events has no warning.
    """
    table = view.events(["iso3", "date_start", "date_prec", "where_prec", "deaths"])
    month, row = months_of(table["date_start"]), positions(table["iso3"], iso3)
    recent = (row >= 0) & (month > origin - WARNING_MONTHS) & (month <= origin)
    row, deaths = row[recent], table["deaths"].to_numpy()[recent].astype(np.float64)
    warnings: dict[str, list[dict[str, Any]]] = {code: [] for code in iso3}
    for code, column, precise_up_to in (
        ("imprecise_dates", "date_prec", VAGUE_DATE - 1),
        ("imprecise_places", "where_prec", DISTRICT),
    ):
        precision = np.asarray(table[column].cast("float64").to_numpy(zero_copy_only=False), dtype=np.float64)[recent]
        known, vague = np.isfinite(precision), precision > precise_up_to
        for number, country in enumerate(iso3):
            of_country = known & (row == number)
            if (vague & of_country).any():
                total = deaths[of_country].sum()
                warnings[country].append(
                    {
                        "code": code,
                        "events": round(float(vague[of_country].mean()), 4),
                        "deaths": round(float(deaths[vague & of_country].sum() / total), 4) if total else None,
                        "months": WARNING_MONTHS,
                    }
                )
    return warnings
