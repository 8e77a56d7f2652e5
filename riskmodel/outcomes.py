"""Deaths by country, month and outcome. An unknown number of deaths is NaN, never 0."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from riskmodel.months import Month, Months

TYPES = ("state_based", "non_state", "one_sided")
KINDS = (*TYPES, "all")
"""What deaths are counted by: each type, and all of them together."""
OUTCOMES = ("all", "state_based")
"""What models forecast, the headline first."""
OUTCOME_LABELS: Mapping[str, Mapping[str, str]] = {
    "all": {"en": "all organised violence", "fr": "ensemble des violences organisées"},
    "state_based": {"en": "state-based conflict", "fr": "conflits impliquant un État"},
}
"""The outcomes in words, by language. Pages, messages, tables and commands all use these."""

MIN_HISTORY = 24
"""The fewest unbroken months that make a history [months]. A sample or a single month never makes one."""


def ranked(origins: Mapping[str, str]) -> list[str]:
    """Return outcomes, the headline first, given the origin of each, YYYY-MM.

    The newest origin comes first, and among equals the order of `OUTCOMES` counts: an outcome whose data end earlier
    never hides a newer one.
    """
    in_order = [outcome for outcome in OUTCOMES if outcome in origins]
    return sorted(in_order, key=lambda outcome: origins[outcome], reverse=True)


Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class CountryMonths:
    """A rectangle of country-months.

    `deaths[kind]` is float64 of shape (country, month) [deaths], for each of `KINDS`. A country-month that no source
    covers is NaN. `source[kind]` is int16 of the same shape: the position in `sources` of the ingest that these deaths
    come from, -1 if there is none. A kind comes from one ingest, and another kind can come from another one: so the
    three types can be unknown where their sum is known, and need not add up to it.
    """

    iso3: tuple[str, ...]
    months: Months
    deaths: dict[str, NDArray[np.float64]]
    source: dict[str, NDArray[np.int16]]
    sources: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of countries and of months."""
        return len(self.iso3), self.months.size

    def rows(self, iso3: tuple[str, ...]) -> NDArray[np.intp]:
        """Return the positions of these countries. Raises KeyError for one that is not there."""
        position = {code: i for i, code in enumerate(self.iso3)}
        return np.array([position[code] for code in iso3], dtype=np.intp)

    def until(self, origin: Month) -> "CountryMonths":
        """Return the months up to `origin`; nothing later is in the result."""
        stop = int(np.searchsorted(self.months, origin, side="right"))
        return CountryMonths(
            self.iso3,
            self.months[:stop],
            {kind: values[:, :stop] for kind, values in self.deaths.items()},
            {kind: values[:, :stop] for kind, values in self.source.items()},
            self.sources,
        )

    def since(self, first: Month) -> "CountryMonths":
        """Return the months from `first` on."""
        start = int(np.searchsorted(self.months, first))
        return CountryMonths(
            self.iso3,
            self.months[start:],
            {kind: values[:, start:] for kind, values in self.deaths.items()},
            {kind: values[:, start:] for kind, values in self.source.items()},
            self.sources,
        )

    def with_deaths(self, outcome: str, deaths: NDArray[np.float64]) -> "CountryMonths":
        """Return a copy with other deaths of one outcome, float64 of shape (country, month) [deaths]."""
        return replace(self, deaths={**self.deaths, outcome: deaths})

    def including(self, iso3: tuple[str, ...]) -> "CountryMonths":
        """Return a copy that has these countries too; those that were not there are unknown in every month."""
        more = tuple(code for code in iso3 if code not in self.iso3)
        padding = ((0, len(more)), (0, 0))
        return CountryMonths(
            (*self.iso3, *more),
            self.months,
            {kind: np.pad(values, padding, constant_values=np.nan) for kind, values in self.deaths.items()},
            {kind: np.pad(values, padding, constant_values=-1) for kind, values in self.source.items()},
            self.sources,
        )

    @property
    def default_outcome(self) -> str:
        """The outcome of a command that names none: `all` where a country has a history of it, else `state_based`."""
        known = (each for each in OUTCOMES if self.months.size and self.with_history(each, self.months[-1]).iso3)
        return next(known, OUTCOMES[-1])

    def with_history(self, outcome: str, origin: Month) -> "CountryMonths":
        """Return only the countries that have a history (`MIN_HISTORY`) up to the origin."""
        known = ~np.isnan(self.until(origin).deaths[outcome])
        return self.only(tuple(code for code, row in zip(self.iso3, known, strict=True) if latest_history(row)))

    def only(self, iso3: tuple[str, ...]) -> "CountryMonths":
        """Return only these countries. Raises KeyError for one that is not there."""
        rows = self.rows(iso3)
        deaths = {kind: values[rows] for kind, values in self.deaths.items()}
        source = {kind: values[rows] for kind, values in self.source.items()}
        return CountryMonths(iso3, self.months, deaths, source, self.sources)


def aligned(
    values: NDArray[Scalar], iso3: tuple[str, ...], months: Months, frame: CountryMonths, empty: float
) -> NDArray[Scalar]:
    """Return values, shape (iso3, month), on the country-months of a frame; `empty` where there is none."""
    result = np.full(frame.shape, empty, dtype=values.dtype)
    _, to_row, row = np.intersect1d(np.array(frame.iso3, dtype=str), np.array(iso3, dtype=str), return_indices=True)
    _, to_column, column = np.intersect1d(frame.months, months, return_indices=True)
    result[np.ix_(to_row, to_column)] = values[np.ix_(row, column)]
    return result


def raise_to_newer_types(deaths: dict[str, NDArray[np.float64]], source: dict[str, NDArray[np.int16]]) -> None:
    """Let all deaths of a country-month be at least those of the types that a newer ingest knows. Changes both.

    An event file can cover a month without an event, and a newer table of state-based deaths have deaths in it: then
    all deaths are known to be more than the file says. A greater number in `source` is an ingest of higher precedence.
    """
    newer = {name: source[name] > source["all"] for name in TYPES}
    parts = np.sum([np.where(newer[name], deaths[name], 0.0) for name in TYPES], axis=0)
    more = parts > deaths["all"]
    deaths["all"] = np.where(more, parts, deaths["all"])
    highest = np.max([np.where(newer[name], source[name], -1) for name in TYPES], axis=0)
    source["all"] = np.where(more, highest, source["all"])


def latest_history(known: NDArray[np.bool_]) -> slice | None:
    """Return the latest unbroken run of at least `MIN_HISTORY` known months in one country's row, or None."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    for start, stop in zip(edges[-2::-2], edges[::-2], strict=True):
        if stop - start >= MIN_HISTORY:
            return slice(int(start), int(stop))
    return None
