"""Events by part of a country and month: a part is a first-order unit, an armed actor, a pair of actors.

How many parts were active, how many of them are new, and how many there are in effect: the same questions for every
kind of part, each answered by country and month, NaN where a month of the window is not told of. It knows no family.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import MAX_KEY_EVENTS, Citation
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle

MEMORY = 60
"""How long a part of a country must have been quiet to be new [months]."""

EFFECTIVE = Citation(
    'Laakso & Taagepera (1979), "Effective" Number of Parties: A Measure with Application to West Europe, '
    "CPS 12(1): 3-27",
    "10.1177/001041407901200101",
)


@dataclass(frozen=True)
class Parts:
    """Events by month of each part of a country (a unit, an actor), the parts in order of country.

    `row` is the place of the country and `part` the number of the part, shape (pair,); `events` is int64 of shape
    (pair, month). A part without any event is not there.
    """

    row: Places
    part: Places
    events: NDArray[np.int64]
    countries: int

    @classmethod
    def of(cls, row: Places, column: Places, part: Places, shape: tuple[int, ...]) -> "Parts":
        """Count events, given the country, month and part of each, in a rectangle of this shape (country, month)."""
        parts = int(part.max(initial=0)) + 1
        pair = row * parts + part
        there = np.zeros(shape[0] * parts, dtype=bool)
        there[pair] = True
        pairs = np.flatnonzero(there)
        place = np.cumsum(there)[pair] - 1
        events = np.bincount(place * shape[1] + column, minlength=pairs.size * shape[1])
        return cls(pairs // parts, pairs % parts, events.reshape(pairs.size, shape[1]), shape[0])

    def recent(self, months: int) -> NDArray[np.int64]:
        """Events of the last months, shape (pair, month); those before the first month count as none."""
        running = np.cumsum(self.events, axis=1)
        running[:, months:] -= running[:, :-months].copy()
        return running

    def new(self, months: int, memory: int) -> NDArray[np.bool_]:
        """Whether the last months have events and those before have none, shape (pair, month)."""
        lately = self.recent(months)
        return np.asarray((lately > 0) & (self.recent(months + memory) == lately))

    def total(self, values: NDArray[np.int64] | NDArray[np.bool_]) -> Rectangle:
        """The sum over each country's parts, shape (country, month)."""
        return self._each(np.add, values)

    def highest(self, values: NDArray[np.int64]) -> Rectangle:
        """The highest value, 0 or more, of each country's parts, shape (country, month)."""
        return self._each(np.maximum, values)

    def effective(self, months: int) -> Rectangle:
        """The number of equally active parts that would be as concentrated; NaN without events.

        The inverse of the sum of squared shares of events (Laakso & Taagepera 1979, doi:10.1177/001041407901200101).
        """
        lately = self.recent(months)
        return windows.ratio(self.total(lately) ** 2, self.total(lately**2))

    def _each(self, reduce: np.ufunc, values: NDArray[np.int64] | NDArray[np.bool_]) -> Rectangle:
        gathered = np.zeros((self.countries, self.events.shape[1]))
        if self.row.size:
            starts = np.flatnonzero(np.diff(self.row, prepend=-1))
            gathered[self.row[starts]] = reduce.reduceat(values, starts, axis=0, dtype=np.int64)
        return gathered


Kind: TypeAlias = Callable[[Inputs], Parts]
"""How events are put down to parts."""


def active(inputs: Inputs, *, of: Kind, months: int) -> Rectangle:
    """The log of one more than the number of parts with events in the last months."""
    parts = inputs.once(of)
    return logged(parts, parts.recent(months) > 0, windows.throughout(inputs.reported.told, months))


def new(inputs: Inputs, *, of: Kind, months: int, memory: int = MEMORY) -> Rectangle:
    """The log of one more than the number of parts with events in the last months and none in those before."""
    parts = inputs.once(of)
    return logged(parts, parts.new(months, memory), windows.throughout(inputs.reported.told, months + memory))


def effective(inputs: Inputs, *, of: Kind, months: int) -> Rectangle:
    """The effective number of parts by events of the last months; NaN without events."""
    known = windows.throughout(inputs.reported.told, months)
    return np.where(known, inputs.once(of).effective(months), np.nan)


def logged(parts: Parts, holds: NDArray[np.bool_], known: NDArray[np.bool_]) -> Rectangle:
    """The log of one more than the number of parts of which something holds; NaN where that is not known."""
    return np.where(known, np.log1p(parts.total(holds)), np.nan)


def one_each(events: Events, part: Places, row: int, column: int) -> Places:
    """Of each part with events in a country's last 12 months its deadliest one, at most `MAX_KEY_EVENTS`.

    `part` numbers each event's part, -1 for none. Parts without an event in the `MEMORY` before come first, then the
    deadlier and the newer event.
    """
    lately = np.flatnonzero(events.recent(row, column, windows.YEAR) & (part >= 0))
    deadliest = lately[np.lexsort((-lately, -events.deaths[lately]))]
    chosen = deadliest[np.unique(part[deadliest], return_index=True)[1]]
    known = np.isin(part[chosen], part[events.recent(row, column - windows.YEAR, MEMORY)])
    return np.asarray(chosen[np.lexsort((-chosen, -events.deaths[chosen], known))][:MAX_KEY_EVENTS])
