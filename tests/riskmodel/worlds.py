"""Random inputs of indicators by a seed, with everything that an indicator can need, and functions that change them.

Actors, units and tables are noise with unknown spells.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from histories import SAHEL, made, rectangle
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators.declaration import Indicator
from riskmodel.indicators.inputs import Events, Inputs
from riskmodel.indicators.panel import INDICATORS, Panel, assemble
from riskmodel.months import month
from riskmodel.outcomes import CountryMonths
from riskmodel.windows import Rectangle

T = TypeVar("T")
ISLAND = "MDG"
WORLD = (*SAHEL, ISLAND)
MONTHS = 140
FIRST = np.datetime64("2000-01", "M")
GROUPS = tuple(f"Invented group {letter}" for letter in "ABCDEFGH")


def world(
    seed: int,
    *,
    months: int = MONTHS,
    iso3: tuple[str, ...] = WORLD,
    days: int = 10,
    holes: int = 3,
    events: int = 1200,
) -> Inputs:
    """Inputs with events and every table that an indicator declares; events are on the first days of a month.

    `holes` is the number of unknown spells of each table and of the coverage of events.
    """
    rng = np.random.default_rng(seed)
    shape = len(iso3), months
    tables = {
        name: _with_holes(_table(name, shape, rng), holes, rng)
        for name in sorted({name for indicator in INDICATORS for name in indicator.inputs} - {"events"})
    }
    span = FIRST + np.arange(months)
    # A generator of their own: another table does not change the events.
    return Inputs(iso3, span, tables, _events(np.random.default_rng([seed, 1]), iso3, span, days, events, holes))


def panel(inputs: Inputs, indicators: Sequence[Indicator] = INDICATORS) -> Panel:
    """The panel of some inputs."""
    return assemble(observed(inputs), "state_based", inputs, indicators=indicators)


def observed(inputs: Inputs) -> CountryMonths:
    """The outcome of some inputs."""
    return rectangle(inputs.tables["deaths"], inputs.iso3, str(inputs.months[0]))


def column(inputs: Inputs, when: str) -> int:
    """The index of a month, `2020-01`."""
    return int((month(when) - inputs.months[0]).astype(int))


def km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance by the haversine formula, without the code under test [km]."""
    a, b, c, d = map(math.radians, (latitude, longitude, other_latitude, other_longitude))
    square = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(square))


def cut(inputs: Inputs, first: int, stop: int) -> Inputs:
    """The inputs of some of the months, as if no other month were known."""
    events = inputs.required_events
    inside = (events.column >= first) & (events.column < stop)
    covered = events.covered[:, first:stop]
    events = chosen(replace(events, column=events.column - first), inside)
    tables = {name: table[:, first:stop] for name, table in inputs.tables.items()}
    return Inputs(inputs.iso3, inputs.months[first:stop], tables, renumbered(replace(events, covered=covered)))


def chosen(events: Events, chosen_indices: NDArray[np.bool_] | NDArray[np.intp]) -> Events:
    """Some of the events, in the order of day and id, with the names of all."""
    parts = {field.name: getattr(events, field.name) for field in fields(events)}
    size = events.day.size
    parts |= {
        name: part[chosen_indices]
        for name, part in parts.items()
        if isinstance(part, np.ndarray) and part.shape == (size,)
    }
    order = np.lexsort((parts["event_id"], parts["day"]))
    parts |= {
        name: part[order] for name, part in parts.items() if isinstance(part, np.ndarray) and part.shape == order.shape
    }
    return Events(**parts)


def joined(one: Events, other: Events) -> Events:
    """The events of two tables that share their names, in the order of day and id."""
    parts = {
        field.name: np.concatenate([getattr(one, field.name), getattr(other, field.name)])
        for field in fields(one)
        if field.name not in ("covered", "actors", "dyads", "units")
    }
    return chosen(replace(one, **parts), np.ones(parts["day"].size, dtype=bool))


def numbered_after(events: Events, others: Events) -> Events:
    """The events with ids of their own, and with their names numbered as in others; new names come last."""
    actors, actor = _together(others.actors, events.actors)
    dyads, dyad = _together(others.dyads, events.dyads)
    units, unit = _together(others.units, events.units)
    return replace(
        events,
        side_a=actor[events.side_a],
        side_b=actor[events.side_b],
        dyad=dyad[events.dyad],
        adm_1=unit[events.adm_1],
        actors=actors,
        dyads=dyads,
        units=units,
        event_id=np.char.add("8", events.event_id),
    )


def renumbered(events: Events) -> Events:
    """The same events with only the names that they use, as the archive returns them."""
    actor, (side_a, side_b) = _used(len(events.actors), events.side_a, events.side_b)
    dyad, (dyads,) = _used(len(events.dyads), events.dyad)
    unit, (units,) = _used(len(events.units), events.adm_1)
    return replace(
        events,
        side_a=side_a,
        side_b=side_b,
        dyad=dyads,
        adm_1=units,
        actors=tuple(events.actors[i] for i in actor),
        dyads=tuple(events.dyads[i] for i in dyad),
        units=tuple(events.units[i] for i in unit),
    )


def _used(names: int, *columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
    used = np.intersect1d(np.arange(names), np.concatenate(columns))
    index = np.full(names + 1, -1)
    index[used] = np.arange(used.size)
    return used, [index[column] for column in columns]


def _table(name: str, shape: tuple[int, int], rng: np.random.Generator) -> Rectangle:
    if name == "deaths":
        return made(int(rng.integers(1 << 30)), shape[1], shape[0])
    if name == "reported_ratio":
        return rng.uniform(0.3, 1.5, shape)
    if "tone" in name:
        return rng.normal(-2, 3, shape)
    if name == "military":
        return (rng.random(shape) < 0.3).astype(np.float64)
    if "coup" in name:
        return rng.poisson(0.03, shape).astype(np.float64)
    if name == "news_events":
        return rng.poisson(400, shape).astype(np.float64)
    return rng.poisson(np.exp(rng.normal(2, 1, shape))).astype(np.float64)


def _with_holes(table: Rectangle, holes: int, rng: np.random.Generator) -> Rectangle:
    table = table.copy()
    for _ in range(holes):
        row, first = rng.integers(table.shape[0]), rng.integers(table.shape[1])
        table[row, first : first + rng.integers(1, 6)] = np.nan
    return table


def _events(
    rng: np.random.Generator, iso3: tuple[str, ...], months: NDArray[np.datetime64], days: int, size: int, holes: int
) -> Events:
    covered = ~np.isnan(_with_holes(np.zeros((len(iso3), months.size)), holes, rng))
    busy = rng.dirichlet(np.full(len(iso3), 0.8))
    row = rng.choice(len(iso3), size, p=0.5 * busy + 0.5 / len(iso3))
    wars = rng.integers(months.size, size=6)
    column = np.where(
        rng.random(size) < 0.5, rng.integers(months.size, size=size), rng.choice(wars, size) + rng.integers(0, 4, size)
    ).clip(0, months.size - 1)
    kind = rng.integers(-1, 3, size)
    governments = tuple(f"Government of {code}" for code in iso3)
    actors = tuple(sorted((*governments, *GROUPS, "Civilians")))
    by_state = (kind == 0) | ((kind == 2) & (rng.random(size) < 0.3))
    age = 0.2 + 0.8 * column / months.size  # new groups and units appear with time
    group = (rng.random((2, size)) * age * len(GROUPS)).astype(np.intp)
    side_a = np.where(by_state, _positions(governments, actors)[row], _positions(GROUPS, actors)[group[0]])
    side_b = np.where(kind == 2, actors.index("Civilians"), _positions(GROUPS, actors)[group[1]])
    side_a, side_b = (np.where(rng.random(size) < 0.03, -1, side) for side in (side_a, side_b))
    pairs, dyad = np.unique(side_a * 1000 + side_b, return_inverse=True)
    units = tuple((code, f"Unit {number}") for code in iso3 for number in range(6))
    latitude, longitude = _coordinates(rng, iso3, row)
    deaths = np.floor(rng.exponential(1, size) ** 2 * 4)
    events = Events(
        event_id=np.char.add("9", rng.permutation(size).astype(str)),
        row=row,
        column=column,
        day=months[column].astype("datetime64[D]").astype(np.int64)
        + np.where(rng.random(size) < 0.5, days // 2, rng.integers(days, size=size)),
        deaths=deaths,
        civilians=_unknown(np.floor(deaths * rng.random(size)), 0.05, rng),
        kind=kind,
        dyad=np.where(rng.random(size) < 0.03, -1, dyad),
        side_a=side_a,
        side_b=side_b,
        adm_1=np.where(rng.random(size) < 0.05, -1, row * 6 + (rng.random(size) * age * 6).astype(np.intp)),
        state_a=by_state & (side_a >= 0),
        latitude=latitude,
        longitude=np.where(np.isnan(latitude), np.nan, longitude),
        where_prec=_unknown(rng.choice([1, 1, 2, 3, 4, 6, 7], size).astype(np.float64), 0.03, rng),
        date_prec=_unknown(rng.choice([1, 1, 1, 2, 5], size).astype(np.float64), 0.03, rng),
        sources=_unknown(rng.integers(0, 7, size).astype(np.float64), 0.1, rng),
        covered=covered,
        dyads=tuple(f"Invented dyad {pair}" for pair in pairs),
        actors=actors,
        units=units,
    )
    return renumbered(chosen(events, covered[row, column]))


def _coordinates(rng: np.random.Generator, iso3: tuple[str, ...], row: NDArray[np.intp]) -> tuple[Rectangle, Rectangle]:
    """Places by the capital, the borders and the airports of each event's country; some unknown."""
    sites, spots = geography.sites(), []
    for code in iso3:
        country = geography.country(code)
        capital = np.array([(country.latitude, country.longitude)])
        border = np.concatenate([capital, *(geography.borders()[code, other] for other in country.neighbours)])
        airports = np.stack([sites.latitude, sites.longitude], axis=1)[(sites.iso3 == code) & (sites.kind == "airport")]
        spots.append(np.concatenate([capital, rng.choice(border, 12), rng.choice(airports, 12)]))
    where = np.stack(spots)[row, rng.integers(25, size=row.size)]
    where = np.round(where + rng.choice([0.0, 0.2, 1.5], (row.size, 1)) * rng.normal(size=where.shape), 2)
    return _unknown(where[:, 0], 0.03, rng), where[:, 1]


def _unknown(values: Rectangle, share: float, rng: np.random.Generator) -> Rectangle:
    return np.where(rng.random(values.size) < share, np.nan, values)


def _together(ours: tuple[T, ...], more: tuple[T, ...]) -> tuple[tuple[T, ...], NDArray[np.intp]]:
    names = tuple(dict.fromkeys((*ours, *more)))
    return names, np.array([*(names.index(name) for name in more), -1])


def _positions(names: tuple[str, ...], order: tuple[str, ...]) -> NDArray[np.intp]:
    return np.array([order.index(name) for name in names])
