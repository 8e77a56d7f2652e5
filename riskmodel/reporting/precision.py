"""How precisely events are dated and placed, and deaths of vaguely dated events spread over the months they may be of.

Outcomes count an event in the month it began, as the public benchmark does; only indicators are made of spread deaths.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from riskmodel.events.columns import months_of, positions
from riskmodel.events.view import View
from riskmodel.months import Month
from riskmodel.outcomes import TYPES, CountryMonths
from riskmodel.reporting import counts

VAGUE_DATE = 5
"""`date_prec` of an event known to more than a month, mostly a summary of many."""
PLACED = 3
"""The last `where_prec` that knows the place to a district (ADM2)."""
RECENT = 12
"""The months up to the origin that the shares are of [months]."""
FINENESS = 1024
"""Parts of a death are whole 1,024ths, so that sums of them are exact."""


def spread(view: View) -> CountryMonths:
    """Deaths by country-month, those of events with `date_prec` 5 over the days from `date_start` to `date_end`.

    A month's part stands in that month alone, so cutting after an origin shows nothing of what comes after it. A part
    in a month for which events do not speak is left out. Without such events the outcomes as they are.
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
    begins, ends = months_of(table["date_start"]), months_of(table["date_end"])
    row, kind = positions(table["iso3"], observed.iso3), positions(table["type_of_violence"], TYPES)
    speaks = counts.spoken(view)
    column = (begins - observed.months[:1]).astype(np.int64)
    long = (ends > begins) & (kind >= 0) & speaks[row, column]
    if not long.any():
        return observed
    row, column, kind = row[long], column[long], kind[long]
    begins, ends = begins[long], ends[long]
    deaths = table["deaths"].to_numpy()[long].astype(np.float64)
    first, last = (table[name].to_numpy().astype("datetime64[D]")[long] for name in ("date_start", "date_end"))

    event = np.repeat(np.arange(row.size), (ends - begins).astype(np.int64))  # each month but the first
    after = np.arange(event.size) - np.searchsorted(event, event) + 1
    opening = begins[event] + after
    until = np.minimum((opening + 1).astype("datetime64[D]") - 1, last[event])
    days = (until - opening.astype("datetime64[D]")).astype(np.int64) + 1
    length = (last - first).astype(np.int64) + 1
    part = np.floor(FINENESS * deaths[event] * days / length[event]) / FINENESS

    spread_deaths = {name: values.copy() for name, values in observed.deaths.items()}
    there = column[event] + after
    inside = there < observed.months.size
    inside[inside] = speaks[row[event[inside]], there[inside]]
    for number, name in enumerate(TYPES):
        for target in (name, "all"):
            of_type = kind[event] == number
            np.subtract.at(spread_deaths[target], (row[event[of_type]], column[event[of_type]]), part[of_type])
            put = of_type & inside
            np.add.at(spread_deaths[target], (row[event[put]], there[put]), part[put])
    return CountryMonths(observed.iso3, observed.months, spread_deaths, observed.source, observed.sources)


def shares(view: View, iso3: Sequence[str], origin: Month) -> dict[str, list[dict[str, Any]]]:
    """What of the last `RECENT` months is vaguely dated or placed, by country, as warnings ready for JSON.

    `imprecise_dates`: `date_prec` 5. `imprecise_places`: `where_prec` above 3. `events` and `deaths` are shares of
    those whose precision is known; None where there are no deaths. A country without such events has no warning.
    """
    table = view.events(["iso3", "date_start", "date_prec", "where_prec", "deaths"])
    month, row = months_of(table["date_start"]), positions(table["iso3"], iso3)
    recent = (row >= 0) & (month > origin - RECENT) & (month <= origin)
    row, deaths = row[recent], table["deaths"].to_numpy()[recent].astype(np.float64)
    found: dict[str, list[dict[str, Any]]] = {code: [] for code in iso3}
    for name, column, most in (
        ("imprecise_dates", "date_prec", VAGUE_DATE - 1),
        ("imprecise_places", "where_prec", PLACED),
    ):
        precision = np.asarray(table[column].cast("float64").to_numpy(zero_copy_only=False), dtype=np.float64)[recent]
        known, vague = np.isfinite(precision), precision > most
        for place, code in enumerate(iso3):
            of_country = known & (row == place)
            if (vague & of_country).any():
                dead = deaths[of_country].sum()
                found[code].append(
                    {
                        "code": name,
                        "events": round(float(vague[of_country].mean()), 4),
                        "deaths": round(float(deaths[vague & of_country].sum() / dead), 4) if dead else None,
                        "months": RECENT,
                    }
                )
    return found
