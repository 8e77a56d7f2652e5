"""The inputs of indicators: a rectangle of country-months with tables, events and neighbours.

Nothing that a source does not cover is zero here: it is NaN, or outside `Events.covered`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.months import Months
from riskmodel.outcomes import TYPES
from riskmodel.windows import Rectangle

Indices = NDArray[np.intp]
T = TypeVar("T")

LOCATED = 3
"""An event is located if its `where_prec` is at most this: then its second-order unit is known."""

_GOVERNMENT = re.compile(r"(^|: )Government( of |$)")
_CIVILIANS = re.compile(r"^(SIMULATED )?[Cc]ivilians$")


@dataclass(frozen=True)
class Events:
    """The events of a rectangle's countries and months, sorted by day and id; arrays of shape (event,).

    `row` and `column` are the indices of country and month, `day` is the first day [days since 1970-01-01], `deaths`
    the best estimate and `civilians` the civilians among them [deaths]. `kind` is the index in `outcomes.TYPES`.
    `dyad`, `side_a` and `side_b` are indices into the names of `dyads` and `actors`, `adm_1` into the pairs of country
    and first-order unit of `units`. An unknown index is -1. `state_a` marks a government on side a. `latitude` and
    `longitude` [degrees], `where_prec`, `date_prec` and `sources` are NaN where unknown. `covered`, of shape (country,
    month), is where events are known at all: elsewhere no event does not mean peace.
    """

    event_id: NDArray[np.str_]
    row: Indices
    column: Indices
    day: NDArray[np.int64]
    deaths: NDArray[np.float64]
    civilians: NDArray[np.float64]
    kind: Indices
    dyad: Indices
    side_a: Indices
    side_b: Indices
    adm_1: Indices
    state_a: NDArray[np.bool_]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    where_prec: NDArray[np.float64]
    date_prec: NDArray[np.float64]
    sources: NDArray[np.float64]
    covered: NDArray[np.bool_]
    dyads: tuple[str, ...]
    actors: tuple[str, ...]
    units: tuple[tuple[str, str], ...]

    @cached_property
    def located(self) -> NDArray[np.bool_]:
        """Whether an event's coordinate is right to within its second-order unit, shape (event,)."""
        return np.asarray(~np.isnan(self.latitude) & (self.where_prec <= LOCATED))

    @cached_property
    def armed(self) -> NDArray[np.bool_]:
        """Whether an actor is armed, shape (actor,): civilians are not."""
        return np.array([not _CIVILIANS.search(name) for name in self.actors], dtype=bool)

    @cached_property
    def groups(self) -> NDArray[np.bool_]:
        """Whether an actor is armed and no government, shape (actor,)."""
        return self.armed & ~governments(self.actors)

    def count(
        self, where: NDArray[np.bool_] | Indices | None = None, weights: NDArray[np.float64] | None = None
    ) -> Rectangle:
        """Return events by country-month, or the sum of their weights; NaN where events are not covered."""
        chosen = slice(None) if where is None else where
        cell = (self.row * self.covered.shape[1] + self.column)[chosen]
        summed = np.bincount(cell, None if weights is None else weights[chosen], minlength=self.covered.size)
        return np.where(self.covered, summed.reshape(self.covered.shape), np.nan)

    def recent(self, row: int, column: int, months: int) -> NDArray[np.bool_]:
        """Return which events belong to a country's last months up to one, shape (event,)."""
        return np.asarray((self.row == row) & (self.column <= column) & (self.column > column - months))

    def of_months(self, column: int, months: int) -> Indices:
        """Return the indices of all countries' events of the last months up to one, sorted by day."""
        first, end = np.searchsorted(self.column, (column - months + 1, column + 1))
        return np.arange(first, end)

    def only(self, where: NDArray[np.bool_]) -> "Events":
        """Return some of the events; `covered` stays the same."""
        arrays = {name: values[where] for name, values in vars(self).items() if name in _EVENT_ARRAYS}
        return replace(self, **arrays)

    def with_deaths_multiplied(self, row: int, after: int, factor: float) -> "Events":
        """Return the events with the deaths of one country's events after a month multiplied."""
        factors = np.where((self.row == row) & (self.column > after), factor, 1.0)
        return replace(self, deaths=self.deaths * factors, civilians=self.civilians * factors)


def governments(actors: Sequence[str]) -> NDArray[np.bool_]:
    """Return which actors are governments by the way UCDP names them, shape (actor,)."""
    return np.array([bool(_GOVERNMENT.search(name)) for name in actors], dtype=bool)


_EVENT_ARRAYS = {part.name for part in fields(Events)} - {"covered", "dyads", "actors", "units"}


@dataclass(frozen=True)
class Inputs:
    """The data that indicators are computed from.

    `tables[name]` is float64 of shape (country, month), NaN where unknown. The table `deaths` [deaths] is always there
    and counts the outcome that is forecast, `outcome`. `events` are of every type of violence.
    """

    iso3: tuple[str, ...]
    months: Months
    tables: Mapping[str, Rectangle]
    events: Events | None = None
    outcome: str = "state_based"
    _cache: dict[Callable[["Inputs"], Any], Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    @cached_property
    def neighbours(self) -> NDArray[np.bool_]:
        """Land borders, shape (country, country): row i marks the neighbours of country i."""
        rows = [np.isin(self.iso3, geography.country(code).neighbours) for code in self.iso3]
        return np.array(rows, dtype=bool).reshape(len(self.iso3), len(self.iso3))

    @cached_property
    def capitals(self) -> NDArray[np.float64]:
        """Latitude and longitude of the capitals [degrees], shape (country, 2)."""
        known = map(geography.country, self.iso3)
        return np.array([(country.latitude, country.longitude) for country in known]).reshape(-1, 2)

    def cached(self, compute: Callable[["Inputs"], T]) -> T:
        """Return what a function computes from these inputs; it runs once, as several indicators share its result."""
        if compute not in self._cache:
            self._cache[compute] = compute(self)
        result: T = self._cache[compute]
        return result

    @property
    def available(self) -> frozenset[str]:
        """The names of the tables, and `events` if there are any."""
        return frozenset(self.tables) | ({"events"} if self.events is not None else set())

    @cached_property
    def counted_by_outcome(self) -> NDArray[np.bool_]:
        """Which events the outcome counts, shape (event,)."""
        if self.outcome == "all":
            return np.ones(self.required_events.kind.size, dtype=bool)
        return np.asarray(self.required_events.kind == TYPES.index(self.outcome))

    @property
    def required_events(self) -> Events:
        """The events. Raises KeyError without events: an indicator that reads them has to declare them as input."""
        if self.events is None:
            raise KeyError("events")
        return self.events

    def last(self, months: int) -> "Inputs":
        """Return the inputs of the last months only."""
        cut = max(len(self.months) - months, 0)
        events = self.events
        if events is not None:
            recent = events.only(events.column >= cut)
            events = replace(recent, column=recent.column - cut, covered=recent.covered[:, cut:])
        tables = {name: table[:, cut:] for name, table in self.tables.items()}
        return replace(self, months=self.months[cut:], tables=tables, events=events)

    def with_deaths_multiplied(self, row: int, after: int, factor: float) -> "Inputs":
        """Return the inputs with a country's deaths after a month multiplied; the factor 0 removes its events too."""
        deaths = self.tables["deaths"].copy()
        deaths[row, after + 1 :] *= factor
        events = self.events
        if events is not None:
            later = (events.row == row) & (events.column > after)
            events = events.with_deaths_multiplied(row, after, factor) if factor else events.only(~later)
        return replace(self, tables={**self.tables, "deaths": deaths}, events=events)
