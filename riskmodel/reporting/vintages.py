"""Vintages: what the archive said of each country-month before it was settled, next to what it says now.

A vintage is the archive as it was when an ingest became known. A view of an earlier moment has no later vintage, so
nothing here looks ahead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from riskmodel.events import coverage
from riskmodel.events.columns import monthly_deaths
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Ingest
from riskmodel.events.view import View
from riskmodel.outcomes import CountryMonths, aligned
from riskmodel.reporting.counts import count_events, events_have_precedence
from riskmodel.reporting.release_class import (
    FINAL,
    NEXT_FINAL,
    UNKNOWN,
    UNSETTLED,
    Classes,
    classes_of_ingest,
    release_classes,
)

Floats = NDArray[np.float64]
ACTIVITY_MONTHS = 11
"""Activity looks this far before and after a month [months]."""


@dataclass(frozen=True)
class Revisions:
    """Figures of country-months before and after a revision; arrays of shape (revision,).

    `release_class` is the index of the class that the figure `first` [deaths] had; `final` [deaths] is the figure of
    the next settled class: for a final GED, that of a later one. `activity` is that of `activity`, at the time of
    `first`. `events_first` and `events_final` are the numbers of events, NaN where deaths come from tables.
    """

    iso3: NDArray[np.str_]
    month: NDArray[np.datetime64]
    release_class: NDArray[np.intp]
    first: Floats
    final: Floats
    activity: Floats
    events_first: Floats
    events_final: Floats

    def only(self, where: NDArray[np.bool_]) -> "Revisions":
        """Return some of the revisions."""
        return Revisions(*(values[where] for values in vars(self).values()))


def activity(deaths: Floats) -> Floats:
    """Return the share of months with deaths among the known months around each one, itself left out.

    From (country, month) [deaths] to the same shape; NaN where no month around is known. A report from a country at war
    is rarely withdrawn, and a lone report often.
    """
    known = np.isfinite(deaths)
    sums = []
    for values in (known & (np.nan_to_num(deaths) > 0), known):
        running = np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))
        month = np.arange(deaths.shape[1])
        first, last = np.maximum(month - ACTIVITY_MONTHS, 0), np.minimum(month + ACTIVITY_MONTHS + 1, month.size)
        sums.append(running[:, last] - running[:, first] - values)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[0] / np.where(sums[1] > 0, sums[1], np.nan))


def revisions_of(view: View, outcome: str, classes: Sequence[int] = UNSETTLED) -> Revisions:
    """Return the revisions that a view has seen: one for each country-month and release class that it left behind.

    `first` is the last figure that a country-month had in its class. `classes` are those that are looked for; the
    figures of final GEDs take long to decode. A figure is compared with one of the same source only, since sources
    count differently.
    """
    observed, now = view.outcomes(), release_classes(view, outcome)
    deaths, provider = observed.deaths[outcome], _providers(view.ingests)
    first, active, events = np.full((3, NEXT_FINAL, *now.shape), np.nan)
    for left, then, ingests in _steps(view, outcome):
        leaving = left & np.isin(then, classes) & (now > then) & (now >= FINAL)
        if not leaving.any():
            continue
        read = leaving | np.isin(then, UNSETTLED)
        vintage = view.with_ingests([ingest for ingest in ingests if (_mask(ingest, observed) & read).any()])
        frame = vintage.outcomes()
        figures = aligned(frame.deaths[outcome], frame.iso3, frame.months, observed, np.nan)
        source = aligned(frame.source[outcome], frame.iso3, frame.months, observed, -1)
        leaving &= provider[observed.source[outcome]] == _provider_of(vintage, view, source, provider)
        # Figures that were settled then are read from today's view: decoding old final releases would take long.
        known = np.where(np.isin(then, UNSETTLED), figures, np.where(then >= FINAL, deaths, np.nan))
        around, counted = activity(known), _events(vintage, outcome, observed)
        for code in classes:
            row, column = np.nonzero(leaving & (then == code) & np.isfinite(figures))
            first[code, row, column] = figures[row, column]
            active[code, row, column] = around[row, column]
            events[code, row, column] = counted[row, column]
    events_now = np.where(events_have_precedence(view, outcome), count_events(view, outcome, observed)[0], np.nan)
    reported, row, column = np.nonzero(np.isfinite(first) & np.isfinite(deaths))
    return Revisions(
        np.array(observed.iso3, dtype=str)[row],
        observed.months[column],
        reported,
        first[reported, row, column],
        deaths[row, column],
        active[reported, row, column],
        events[reported, row, column],
        events_now[row, column],
    )


def _steps(view: View, outcome: str) -> Iterator[tuple[NDArray[np.bool_], Classes, list[Ingest]]]:
    """Yield each moment after which some country-month left its release class, in order of time.

    With it: which left, the classes until then, and the ingests that were known, in rising precedence.
    """
    observed = view.outcomes()
    ingests = [ingest for ingest in view.ingests if _knows(view, ingest, outcome)]
    of_ingest = np.stack(
        [
            *(classes_of_ingest(ingest, observed.months) for ingest in ingests),
            np.full(observed.months.size, UNKNOWN, dtype=np.int8),  # for the index -1
        ]
    )
    authority = np.full(observed.shape, UNKNOWN, dtype=np.int16)
    month = np.arange(observed.months.size)
    then, known = of_ingest[authority, month], list[int]()
    in_time = sorted(range(len(ingests)), key=lambda number: datetime.fromisoformat(ingests[number].known_since))
    for _, numbers in groupby(in_time, key=lambda number: ingests[number].known_since):
        before = then
        new = list(numbers)
        for number in new:
            covered = _mask(ingests[number], observed)
            authority[covered] = np.maximum(authority[covered], number)
        then = of_ingest[authority, month]
        if (left := (before != then) & (before != UNKNOWN)).any():
            yield left, before, [ingests[number] for number in sorted(known)]
        known += new


def _mask(ingest: Ingest, observed: CountryMonths) -> NDArray[np.bool_]:
    return coverage.mask(map(Coverage.parse, ingest.covers), observed.iso3, observed.months)


def _knows(view: View, ingest: Ingest, outcome: str) -> bool:
    """Whether an ingest has deaths of an outcome: events have all, a table those of its columns."""
    if ingest.kind != "country_months":
        return ingest.kind == "events"
    return monthly_deaths(view.reader.read(ingest), outcome) is not None


def _providers(ingests: Sequence[Ingest]) -> NDArray[np.intp]:
    """The number of each ingest's source and kind, and -1 last, for the index -1."""
    names = [f"{ingest.source}/{ingest.kind}" for ingest in ingests]
    return np.array([*(sorted(set(names)).index(name) for name in names), -1], dtype=np.intp)


def _provider_of(vintage: View, view: View, source: NDArray[np.int16], provider: NDArray[np.intp]) -> NDArray[np.intp]:
    position = {ingest.id: number for number, ingest in enumerate(view.ingests)}
    return np.array([*(provider[position[ingest.id]] for ingest in vintage.ingests), -2], dtype=np.intp)[source]


def _events(vintage: View, outcome: str, observed: CountryMonths) -> Floats:
    if not any(ingest.kind == "events" for ingest in vintage.ingests):
        return np.full(observed.shape, np.nan)
    return count_events(vintage, outcome, observed)[0]
