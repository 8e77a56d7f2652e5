"""How many events are reported for each country-month. Where no event file speaks the number is unknown, not zero."""

import numpy as np
from numpy.typing import NDArray

from riskmodel.events.columns import months_of, positions
from riskmodel.events.view import View
from riskmodel.outcomes import CountryMonths


def spoken(view: View) -> NDArray[np.bool_]:
    """Where events make the figures, and not a country-month table; shape (country, month) of `view.outcomes()`."""
    of_events = [number for number, ingest in enumerate(view.ingests) if ingest.kind == "events"]
    return np.isin(view.outcomes().source, of_events)


def events(view: View, outcome: str) -> NDArray[np.float64]:
    """Events of an outcome by country-month, shape (country, month) of `view.outcomes()`; NaN where unknown."""
    return np.where(spoken(view), tally(view, outcome, view.outcomes())["events"], np.nan)


def tally(view: View, outcome: str, frame: CountryMonths) -> dict[str, NDArray[np.float64]]:
    """The `events` in service and their `deaths` by country-month of a frame that holds them all; 0 where none are."""
    table = view.events(["iso3", "date_start", "type_of_violence", "deaths"])
    row, column = positions(table["iso3"], frame.iso3), months_of(table["date_start"]) - frame.months[:1]
    counted = positions(table["type_of_violence"], [outcome]) == 0 if outcome != "all" else np.ones(row.size, bool)
    shape = frame.source.shape
    cell = (row * shape[1] + column.astype(np.int64))[counted]
    deaths = table["deaths"].to_numpy()[counted]
    sums = {"events": np.bincount(cell, minlength=frame.source.size)}
    sums["deaths"] = np.bincount(cell, deaths, minlength=frame.source.size)
    return {name: summed.reshape(shape).astype(np.float64) for name, summed in sums.items()}
