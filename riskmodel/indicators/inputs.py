"""What indicators are computed from: a rectangle of country-months with tables, events and neighbours.

It knows neither archive nor indicator. Nothing that a source does not cover is zero here.
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

Rectangle = NDArray[np.float64]
Places = NDArray[np.intp]
T = TypeVar("T")

LOCATED = 3
"""The greatest `where_prec` at which a coordinate tells where within its second-order unit an event was."""

_GOVERNMENT = re.compile(r"(^|: )Government( of |$)")
_CIVILIANS = re.compile(r"^(SIMULATED )?[Cc]ivilians$")


@dataclass(frozen=True)
class Events:
    """The events of a rectangle's countries and months, in order of day and id; arrays of shape (event,).

    `row` and `column` are the places of country and month, `day` the first day [days since 1970-01-01], `deaths` the
    best estimate, `civilians` those of civilians [deaths]. `kind` is the place in `outcomes.TYPES`, -1 where unknown.
    `dyad`, `side_a` and `side_b` number the names of `dyads` and `actors`, and `adm_1` the pairs of country and
    first-order unit of `units`; -1 where unknown. `state_a` marks a government on side a. `latitude` and `longitude`
    [degrees] are NaN and `where_prec`, `date_prec` and `sources` NaN where unknown. `told`, of shape (country, month),
    is where events are known at all: elsewhere no event is no sign of peace.
    """

    event_id: NDArray[np.str_]
    row: Places
    column: Places
    day: NDArray[np.int64]
    deaths: NDArray[np.float64]
    civilians: NDArray[np.float64]
    kind: Places
    dyad: Places
    side_a: Places
    side_b: Places
    adm_1: Places
    state_a: NDArray[np.bool_]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    where_prec: NDArray[np.float64]
    date_prec: NDArray[np.float64]
    sources: NDArray[np.float64]
    told: NDArray[np.bool_]
    dyads: tuple[str, ...]
    actors: tuple[str, ...]
    units: tuple[tuple[str, str], ...]

    @cached_property
    def located(self) -> NDArray[np.bool_]:
        """Whether an event's coordinate can be trusted to within its second-order unit."""
        return np.asarray(~np.isnan(self.latitude) & (self.where_prec <= LOCATED))

    @cached_property
    def armed(self) -> NDArray[np.bool_]:
        """Whether an actor bears arms, shape (actor,): civilians do not."""
        return np.array([not _CIVILIANS.search(name) for name in self.actors], dtype=bool)

    @cached_property
    def groups(self) -> NDArray[np.bool_]:
        """Whether an actor is armed and no government, shape (actor,)."""
        return self.armed & ~governments(self.actors)

    def count(
        self, where: NDArray[np.bool_] | Places | None = None, weights: NDArray[np.float64] | None = None
    ) -> Rectangle:
        """Events by country-month, or the sum of their weights; NaN where events are not known."""
        chosen = slice(None) if where is None else where
        cell = (self.row * self.told.shape[1] + self.column)[chosen]
        summed = np.bincount(cell, None if weights is None else weights[chosen], minlength=self.told.size)
        return np.where(self.told, summed.reshape(self.told.shape), np.nan)

    def recent(self, row: int, column: int, months: int) -> NDArray[np.bool_]:
        """Whether an event is of a country's last months up to one."""
        return np.asarray((self.row == row) & (self.column <= column) & (self.column > column - months))

    def only(self, where: NDArray[np.bool_]) -> "Events":
        """The same without the other events; what is told stays."""
        arrays = {name: values[where] for name, values in vars(self).items() if name in _OF_EVENTS}
        return replace(self, **arrays)

    def times(self, row: int, after: int, factor: float) -> "Events":
        """The same, with the deaths of a country's events after a month multiplied."""
        there = np.where((self.row == row) & (self.column > after), factor, 1.0)
        return replace(self, deaths=self.deaths * there, civilians=self.civilians * there)


def governments(actors: Sequence[str]) -> NDArray[np.bool_]:
    """Which actors are governments, as UCDP names them."""
    return np.array([bool(_GOVERNMENT.search(name)) for name in actors], dtype=bool)


_OF_EVENTS = {part.name for part in fields(Events)} - {"told", "dyads", "actors", "units"}


@dataclass(frozen=True)
class Inputs:
    """What indicators are computed from.

    `tables[name]` is float64 of shape (country, month), NaN where unknown; `deaths` [deaths] is always there, and is
    the outcome that is forecast. `events` are of every type; `outcome` names what `deaths` are of.
    """

    iso3: tuple[str, ...]
    months: Months
    tables: Mapping[str, Rectangle]
    events: Events | None = None
    outcome: str = "state_based"
    _found: dict[Callable[["Inputs"], Any], Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    @cached_property
    def neighbours(self) -> NDArray[np.bool_]:
        """Who borders on whom, shape (country, country): row i marks the neighbours by land of country i."""
        rows = [np.isin(self.iso3, geography.country(code).neighbours) for code in self.iso3]
        return np.array(rows, dtype=bool).reshape(len(self.iso3), len(self.iso3))

    @cached_property
    def capitals(self) -> NDArray[np.float64]:
        """Latitude and longitude of the capitals [degrees], shape (country, 2)."""
        known = map(geography.country, self.iso3)
        return np.array([(country.latitude, country.longitude) for country in known]).reshape(-1, 2)

    def once(self, part: Callable[["Inputs"], T]) -> T:
        """What several indicators are made from, computed once for these inputs."""
        if part not in self._found:
            self._found[part] = part(self)
        found: T = self._found[part]
        return found

    @property
    def known(self) -> frozenset[str]:
        """The names of what is there."""
        return frozenset(self.tables) | ({"events"} if self.events is not None else set())

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """Which events the outcome counts, shape (event,)."""
        if self.outcome == "all":
            return np.ones(self.reported.kind.size, dtype=bool)
        return np.asarray(self.reported.kind == TYPES.index(self.outcome))

    @property
    def reported(self) -> Events:
        """The events. Raises KeyError where there are none: an indicator that needs them has to declare it."""
        if self.events is None:
            raise KeyError("events")
        return self.events

    def last(self, months: int) -> "Inputs":
        """The same without the months before the last ones."""
        cut = max(len(self.months) - months, 0)
        events = self.events
        if events is not None:
            kept = events.only(events.column >= cut)
            events = replace(kept, column=kept.column - cut, told=kept.told[:, cut:])
        tables = {name: table[:, cut:] for name, table in self.tables.items()}
        return replace(self, months=self.months[cut:], tables=tables, events=events)

    def with_deaths_multiplied(self, row: int, after: int, factor: float) -> "Inputs":
        """The same, with a country's deaths after a month multiplied; by 0 it is at peace, and has no events either."""
        deaths = self.tables["deaths"].copy()
        deaths[row, after + 1 :] *= factor
        events = self.events
        if events is not None:
            later = (events.row == row) & (events.column > after)
            events = events.times(row, after, factor) if factor else events.only(~later)
        return replace(self, tables={**self.tables, "deaths": deaths}, events=events)
