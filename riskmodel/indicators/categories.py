"""Events by category of a country: first-order units, armed actors, or pairs of actors.

The functions count the active categories, the new ones and their effective number, by country and month. They are NaN
where a month of the window is not covered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from riskmodel import windows
from riskmodel.indicators.declaration import MAX_KEY_EVENTS, Citation
from riskmodel.indicators.inputs import Events, Indices, Inputs
from riskmodel.windows import Rectangle

QUIET_BEFORE_NEW = 60
"""A category is new if it had no events for this long before [months]."""

EFFECTIVE_NUMBER = Citation(
    'Laakso & Taagepera (1979), "Effective" Number of Parties: A Measure with Application to West Europe, '
    "CPS 12(1): 3-27",
    "10.1177/001041407901200101",
)


@dataclass(frozen=True)
class CategoryCounts:
    """Events by month of each category of a country, in order of country. Categories without any event are absent.

    A pair is a country and a category: `row` is the index of the country and `category` the number of the category,
    shape (pair,). `events` is int64 of shape (pair, month).
    """

    row: Indices
    category: Indices
    events: NDArray[np.int64]
    countries: int

    @classmethod
    def count(cls, row: Indices, column: Indices, category: Indices, shape: tuple[int, ...]) -> "CategoryCounts":
        """Count events by their country, month and category, for a rectangle of shape (country, month)."""
        categories = int(category.max(initial=0)) + 1
        pair = row * categories + category
        used = np.zeros(shape[0] * categories, dtype=bool)
        used[pair] = True
        pairs = np.flatnonzero(used)
        index = np.cumsum(used)[pair] - 1
        events = np.bincount(index * shape[1] + column, minlength=pairs.size * shape[1])
        return cls(pairs // categories, pairs % categories, events.reshape(pairs.size, shape[1]), shape[0])

    def recent(self, months: int) -> NDArray[np.int64]:
        """Return the events of the last months, shape (pair, month); months before the first count as 0."""
        running = np.cumsum(self.events, axis=1)
        running[:, months:] -= running[:, :-months].copy()
        return running

    def new(self, months: int, quiet: int) -> NDArray[np.bool_]:
        """Return which pairs have events in the last `months` and none in the `quiet` months before."""
        recent = self.recent(months)
        return np.asarray((recent > 0) & (self.recent(months + quiet) == recent))

    def total(self, values: NDArray[np.int64] | NDArray[np.bool_]) -> Rectangle:
        """Return the sum over each country's categories, shape (country, month)."""
        return self._reduced(np.add, values)

    def maximum(self, values: NDArray[np.int64]) -> Rectangle:
        """Return the largest value of each country's categories, 0 without any, shape (country, month)."""
        return self._reduced(np.maximum, values)

    def effective_number(self, months: int) -> Rectangle:
        """Return the number of equally active categories with the same concentration; NaN without events.

        The inverse of the sum of squared shares of events. Laakso & Taagepera (1979), doi:10.1177/001041407901200101.
        """
        recent = self.recent(months)
        return windows.ratio(self.total(recent) ** 2, self.total(recent**2))

    def _reduced(self, reduce: np.ufunc, values: NDArray[np.int64] | NDArray[np.bool_]) -> Rectangle:
        reduced = np.zeros((self.countries, self.events.shape[1]))
        if self.row.size:
            starts = np.flatnonzero(np.diff(self.row, prepend=-1))
            reduced[self.row[starts]] = reduce.reduceat(values, starts, axis=0, dtype=np.int64)
        return reduced


Categorise: TypeAlias = Callable[[Inputs], CategoryCounts]
"""A function that assigns events to categories and counts them."""


def active(inputs: Inputs, *, of: Categorise, months: int) -> Rectangle:
    """Return log(1 + the number of categories with events in the last months)."""
    counts = inputs.cached(of)
    return log_number(counts, counts.recent(months) > 0, windows.throughout(inputs.required_events.covered, months))


def new(inputs: Inputs, *, of: Categorise, months: int, quiet: int = QUIET_BEFORE_NEW) -> Rectangle:
    """Return log(1 + the number of categories with events in the last months and none in the quiet months before)."""
    counts = inputs.cached(of)
    known = windows.throughout(inputs.required_events.covered, months + quiet)
    return log_number(counts, counts.new(months, quiet), known)


def effective_number(inputs: Inputs, *, of: Categorise, months: int) -> Rectangle:
    """Return the effective number of categories by the events of the last months; NaN without events."""
    known = windows.throughout(inputs.required_events.covered, months)
    return np.where(known, inputs.cached(of).effective_number(months), np.nan)


def log_number(counts: CategoryCounts, condition: NDArray[np.bool_], known: NDArray[np.bool_]) -> Rectangle:
    """Return log(1 + the number of categories for which a condition is true); NaN where that is unknown."""
    return np.where(known, np.log1p(counts.total(condition)), np.nan)


def deadliest_of_each(events: Events, category: Indices, row: int, column: int) -> Indices:
    """Return the deadliest event of each category in a country's last 12 months, at most `MAX_KEY_EVENTS`.

    `category` is the category of each event, -1 for none. Categories that are new come first, then deadlier events,
    then newer ones.
    """
    recent = np.flatnonzero(events.recent(row, column, windows.YEAR) & (category >= 0))
    deadliest = recent[np.lexsort((-recent, -events.deaths[recent]))]
    chosen = deadliest[np.unique(category[deadliest], return_index=True)[1]]
    not_new = np.isin(category[chosen], category[events.recent(row, column - windows.YEAR, QUIET_BEFORE_NEW)])
    return np.asarray(chosen[np.lexsort((-chosen, -events.deaths[chosen], not_new))][:MAX_KEY_EVENTS])
