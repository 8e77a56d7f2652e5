"""Deaths per country-month, by outcome: what is forecast, and what history is made of. Unknown is NaN, never 0."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel.months import Month, Months

TYPES = ("state_based", "non_state", "one_sided")
OUTCOMES = ("state_based", "all")

HISTORY = 24
"""The fewest unbroken months that make a history [months]: a sample or a single month never does."""


@dataclass(frozen=True)
class CountryMonths:
    """A rectangle of country-months.

    `deaths[kind]` is float64 of shape (country, month) [deaths]; kinds are the three types of violence and `all`, their
    sum. A cell that no source covers is NaN. `source` is int16 of the same shape: the place in `sources` of the ingest
    that speaks for the cell's state-based deaths, -1 where there is none.
    """

    iso3: tuple[str, ...]
    months: Months
    deaths: dict[str, NDArray[np.float64]]
    source: NDArray[np.int16]
    sources: tuple[str, ...] = field(default=())

    def rows(self, iso3: tuple[str, ...]) -> NDArray[np.intp]:
        """The places of these countries. Raises KeyError for one that is not there."""
        place = {code: i for i, code in enumerate(self.iso3)}
        return np.array([place[code] for code in iso3], dtype=np.intp)

    def until(self, origin: Month) -> "CountryMonths":
        """The same, cut after `origin`: nothing later can be seen through it."""
        keep = int(np.searchsorted(self.months, origin, side="right"))
        return CountryMonths(
            self.iso3,
            self.months[:keep],
            {kind: values[:, :keep] for kind, values in self.deaths.items()},
            self.source[:, :keep],
            self.sources,
        )

    def since(self, first: Month) -> "CountryMonths":
        """The same, without the months before `first`."""
        cut = int(np.searchsorted(self.months, first))
        return CountryMonths(
            self.iso3,
            self.months[cut:],
            {kind: values[:, cut:] for kind, values in self.deaths.items()},
            self.source[:, cut:],
            self.sources,
        )

    def with_deaths(self, outcome: str, deaths: NDArray[np.float64]) -> "CountryMonths":
        """The same with other deaths of one outcome, float64 of shape (country, month) [deaths]."""
        return replace(self, deaths={**self.deaths, outcome: deaths})

    def including(self, iso3: tuple[str, ...]) -> "CountryMonths":
        """The same with these countries in it; those that were not there are unknown throughout."""
        more = tuple(code for code in iso3 if code not in self.iso3)
        below = ((0, len(more)), (0, 0))
        return CountryMonths(
            (*self.iso3, *more),
            self.months,
            {kind: np.pad(values, below, constant_values=np.nan) for kind, values in self.deaths.items()},
            np.pad(self.source, below, constant_values=-1),
            self.sources,
        )

    def histories(self, outcome: str, origin: Month) -> "CountryMonths":
        """The same with only those countries that have a history (`HISTORY`) up to the origin."""
        known = ~np.isnan(self.until(origin).deaths[outcome])
        return self.only(tuple(code for code, row in zip(self.iso3, known, strict=True) if history(row)))

    def only(self, iso3: tuple[str, ...]) -> "CountryMonths":
        """The same with these countries alone. Raises KeyError for one that is not there."""
        rows = self.rows(iso3)
        deaths = {kind: values[rows] for kind, values in self.deaths.items()}
        return CountryMonths(iso3, self.months, deaths, self.source[rows], self.sources)


def history(known: NDArray[np.bool_]) -> slice | None:
    """The latest unbroken run of at least `HISTORY` known months in one country's row, or None."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    for start, stop in zip(edges[-2::-2], edges[::-2], strict=True):
        if stop - start >= HISTORY:
            return slice(int(start), int(stop))
    return None
