"""Counts of reported events by country-month. Where no event file has precedence the count is unknown, not zero."""

import numpy as np
from numpy.typing import NDArray

from riskmodel.events.columns import months_of, positions
from riskmodel.events.view import View
from riskmodel.outcomes import CountryMonths


def events_have_precedence(view: View, kind: str) -> NDArray[np.bool_]:
    """Return where deaths of a kind come from events, not from a country-month table.

    Of the shape (country, month) of `view.outcomes()`.
    """
    of_events = [number for number, ingest in enumerate(view.ingests) if ingest.kind == "events"]
    return np.isin(view.outcomes().source[kind], of_events)


def event_counts(view: View, outcome: str) -> NDArray[np.float64]:
    """Return the events of an outcome, shape (country, month) of `view.outcomes()`; NaN where unknown."""
    events, _ = count_events(view, outcome, view.outcomes())
    return np.where(events_have_precedence(view, outcome), events, np.nan)


def count_events(view: View, outcome: str, frame: CountryMonths) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the events of an outcome and their deaths [deaths] by country-month of a frame; 0 where there are none.

    The frame must have the country-months of all events of the view.
    """
    table = view.events(["iso3", "date_start", "type_of_violence", "deaths"])
    row, column = positions(table["iso3"], frame.iso3), months_of(table["date_start"]) - frame.months[:1]
    counted = positions(table["type_of_violence"], [outcome]) == 0 if outcome != "all" else np.ones(row.size, bool)
    shape, size = frame.shape, len(frame.iso3) * frame.months.size
    cell = (row * shape[1] + column.astype(np.int64))[counted]
    events = np.bincount(cell, minlength=size)
    deaths = np.bincount(cell, table["deaths"].to_numpy()[counted], minlength=size)
    return events.reshape(shape).astype(np.float64), deaths.reshape(shape).astype(np.float64)
