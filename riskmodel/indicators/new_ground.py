"""Events on new ground: the first located events near their place for a long time.

The family `capital` declares the indicators that are computed here.
"""

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography, windows
from riskmodel.indicators.inputs import Events, Indices, Inputs
from riskmodel.windows import Rectangle

RADIUS = 100
"""Ground is new if there was no located event this near [km] …"""
QUIET_MONTHS = 24
"""… for this long [months]."""

CELL_SIZE = 0.5
"""Any two places in one cell of the grid are nearer to each other than `RADIUS` [degrees]."""


def log_events_on_new_ground(inputs: Inputs, *, months: int) -> Rectangle:
    """Return log(1 + the events on new ground over the last months)."""
    return np.log1p(windows.total(inputs.cached(_events_on_new_ground), months))


def _events_on_new_ground(inputs: Inputs) -> Rectangle:
    events = inputs.required_events
    known = windows.throughout(events.covered, QUIET_MONTHS + 1)
    return np.where(known, events.count(_on_new_ground(inputs, known)), np.nan)


def _on_new_ground(inputs: Inputs, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether an event is the first within `RADIUS` in its country for `QUIET_MONTHS`, shape (event,).

    No located event happened so near on an earlier day, from the first day of the month `QUIET_MONTHS` before on. Only
    events of the known country-months are tested.
    """
    events = inputs.required_events
    located = np.flatnonzero(events.located)
    by_country = located[np.argsort(events.row[located], kind="stable")]  # stable: within a country, still by day
    row, column, day = (each[by_country] for each in (events.row, events.column, events.day))
    since = (inputs.months[column] - QUIET_MONTHS).astype("datetime64[D]").astype(np.int64)
    # Comparing all pairs of events would take too long. Few events have no earlier one in their grid cell, and only
    # these can be on new ground.
    candidate = np.flatnonzero(known[row, column] & _first_in_cell(events, by_country, since))

    vectors = geography.unit_vectors(events.latitude[by_country], events.longitude[by_country])
    min_cosine = 1 - geography.chord(RADIUS) ** 2 / 2  # of the angle between two places within the radius
    # One number that rises with country and day, so that one search finds the earlier events of the same country.
    days_per_country = day.max(initial=0) - day.min(initial=0) + 40 * QUIET_MONTHS
    country_day = row * days_per_country + day
    start = np.searchsorted(country_day, row[candidate] * days_per_country + since[candidate])
    end = np.searchsorted(country_day, country_day[candidate])  # events of the same day are not earlier
    first = np.zeros(events.row.size, dtype=bool)
    # Candidates with the same start are of one country and month: one matrix product compares them together.
    for month in np.split(np.arange(candidate.size), np.flatnonzero(np.diff(start)) + 1):
        if month.size:
            earlier = slice(start[month[0]], end[month[-1]])
            near = vectors[candidate[month]] @ vectors[earlier].T >= min_cosine
            near &= np.arange(earlier.start, earlier.stop) < end[month, None]
            first[by_country[candidate[month]]] = ~near.any(axis=1)
    return first


def _first_in_cell(events: Events, order: Indices, since: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether no event of an earlier day, from the day `since` on, is in the same grid cell and country.

    `order` are the indices of the events to test, sorted by country and day; the result has its shape.
    """
    north, east = (
        np.floor(degrees[order] / CELL_SIZE).astype(np.int64) for degrees in (events.latitude, events.longitude)
    )
    cell, day = (events.row[order] * 1024 + north) * 1024 + east, events.day[order]  # 1024 > 360 / CELL_SIZE
    by_cell = np.lexsort((day, cell))
    cell, day = cell[by_cell], day[by_cell]
    new_day = np.r_[True, (cell[1:] != cell[:-1]) | (day[1:] != day[:-1])][: cell.size]
    first_of_day = np.maximum.accumulate(np.where(new_day, np.arange(cell.size), 0))
    previous = first_of_day - 1
    visited = (first_of_day > 0) & (cell[previous] == cell) & (day[previous] >= since[by_cell])
    first = np.empty(cell.size, dtype=bool)
    first[by_cell] = ~visited
    return first
