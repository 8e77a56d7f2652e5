"""The family `spillover`: violence in the countries around, those that share a land border above all.

What is summed with weights is summed in whole numbers or 65,536ths, so that no order of countries leaves a rounding.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from riskmodel import geography
from riskmodel.indicators import windows
from riskmodel.indicators.declaration import GED, MAX_KEY_EVENTS, UNTOLD, VIEWS, Citation, Family, Indicator, either
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle

NAME = "spillover"
MEMORY = 60
REACH = 1500
"""How far a capital may be from the country's own for its country's deaths to count by distance [km]."""
NEAR = 100
"""Capitals this close or closer weigh 1, others `NEAR` / distance [km]."""
BEYOND = 100
"""How far on the other side of a border an event counts [km]."""
WITHIN = 50
"""How far on its own side of a border an event counts [km]."""
FINENESS = 1 << 16

Line: TypeAlias = NDArray[np.float64]
NO_EVENTS = np.empty(0, dtype=np.intp)

CONTAGION = Citation(
    "Buhaug & Gleditsch (2008), Contagion or Confusion? Why Conflicts Cluster in Space, ISQ 52(2): 215-233",
    "10.1111/j.1468-2478.2008.00499.x",
)
DISTANCE = Citation(
    "Gleditsch & Ward (2001), Measuring Space: A Minimum-Distance Database and Applications to International Studies, "
    "JPR 38(6): 739-758",
    "10.1177/0022343301038006006",
)
UNKNOWN = {
    "en": "no neighbour by land, or a month of a neighbour's window lies outside the coverage of every source",
    "fr": "pas de voisin terrestre, ou un mois de la fenêtre d’un voisin n’est couvert par aucune source",
}
NONE_KNOWN = {
    "en": f"no other country within {REACH:,} km whose deaths are known in every month of the window; "
    "a country whose deaths are not known is left out of the sum",
    "fr": f"aucun autre pays à moins de {REACH} km dont les morts soient connus pour tous les mois de la fenêtre ; "
    "un pays dont les morts ne sont pas connus est laissé hors de la somme",
}
NONE_TOLD = {
    "en": "no neighbour whose border is drawn and whose events are known in every month of the window; "
    "a neighbour whose events are not known is left out of the sum",
    "fr": "aucun voisin dont la frontière soit tracée et dont les événements soient connus pour tous les mois de la "
    "fenêtre ; un voisin dont les événements ne sont pas connus est laissé hors de la somme",
}
NO_BORDER = either(UNTOLD, "no land border of the country is drawn", "aucune frontière terrestre du pays n’est tracée")


def _sum(values: Rectangle, weights: NDArray[np.bool_] | Rectangle) -> Rectangle:
    unknown = (weights > 0) @ np.isnan(values).astype(np.float64)
    summed = weights @ np.nan_to_num(values)
    return np.where((unknown == 0) & weights.any(axis=1, keepdims=True), summed, np.nan)


def _number(inputs: Inputs) -> Rectangle:
    return np.asarray(np.maximum(inputs.neighbours.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def _around(inputs: Inputs, *, months: int) -> Rectangle:
    return _sum(windows.total(inputs.tables["deaths"], months), inputs.neighbours)


def _deaths(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_around(inputs, months=months))


def _mean(inputs: Inputs, *, months: int) -> Rectangle:
    return np.asarray(np.log1p(_around(inputs, months=months) / _number(inputs)))


def _worst(inputs: Inputs, *, months: int) -> Rectangle:
    deaths = windows.total(inputs.tables["deaths"], months)
    worst = np.full(deaths.shape, np.nan)
    for place, row in enumerate(inputs.neighbours):
        if row.any():
            worst[place] = deaths[row].max(axis=0)
    return np.asarray(np.log1p(worst))


def _at_war(inputs: Inputs, *, deaths: int, months: int) -> Rectangle:
    summed = windows.total(inputs.tables["deaths"], months)
    at_war = np.where(np.isnan(summed), np.nan, summed >= deaths)
    return _sum(at_war, inputs.neighbours) / _number(inputs)


def _decayed(inputs: Inputs, *, half_life: float) -> Rectangle:
    around = _sum(inputs.tables["deaths"], inputs.neighbours)
    return np.log1p(windows.decayed(around, half_life, MEMORY))


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_deaths(inputs, months=months), months)


def _by_border(inputs: Inputs, *, months: int) -> Rectangle:
    lengths = inputs.once(_lengths)
    summed = _sum(windows.total(inputs.tables["deaths"], months), lengths)
    return np.asarray(np.log1p(summed / np.maximum(lengths.sum(axis=1, keepdims=True), 1)))


def _lengths(inputs: Inputs) -> Rectangle:
    """The points along each common border, at least 1, by country and neighbour: one stands for about 20 km."""
    lengths = inputs.neighbours.astype(np.float64)
    for here, there in np.argwhere(inputs.neighbours):
        lengths[here, there] = max(len(geography.borders()[inputs.iso3[here], inputs.iso3[there]]), 1)
    return lengths


def _by_distance(inputs: Inputs, *, months: int) -> Rectangle:
    deaths, weights = windows.total(inputs.tables["deaths"], months), inputs.once(_nearness)
    known = (weights > 0) @ (~np.isnan(deaths)).astype(np.float64) > 0
    return np.log1p(np.where(known, weights @ np.nan_to_num(deaths), np.nan))


def _nearness(inputs: Inputs) -> Rectangle:
    """The weight of each other country for each country by the distance of their capitals, 0 beyond `REACH`."""
    latitude, longitude = inputs.capitals.T
    away = geography.distance(latitude[:, None], longitude[:, None], latitude, longitude)
    weights = np.where(away <= REACH, np.rint(FINENESS * NEAR / np.maximum(away, NEAR)) / FINENESS, 0.0)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _beyond(inputs: Inputs, *, months: int, deadly: bool) -> Rectangle:
    events = inputs.reported
    here, there, _ = inputs.once(_drawn)
    counts = np.where(events.told[there], 0.0, np.nan)
    for pair, near in enumerate(inputs.once(_beyond_each)):
        weights = events.deaths[near] if deadly else None
        counts[pair] += np.bincount(events.column[near], weights, minlength=counts.shape[1])
    recent = windows.total(counts, months)
    summed, known = np.zeros(events.told.shape), np.zeros(events.told.shape, dtype=bool)
    np.add.at(summed, here, np.nan_to_num(recent))
    np.logical_or.at(known, here, ~np.isnan(recent))
    return np.log1p(np.where(known, summed, np.nan))


def _beyond_each(inputs: Inputs) -> list[Places]:
    """The located events near each border that is drawn, on its other side."""
    _, there, lines = inputs.once(_drawn)
    return list(_near(inputs.reported, np.flatnonzero(inputs.reported.located), there, lines, BEYOND))


def _drawn(inputs: Inputs) -> tuple[Places, Places, list[Line]]:
    """Each country and neighbour whose common border is drawn, and its points, shape (point, 2) [degrees]."""
    here, there = np.nonzero(inputs.neighbours)
    lines = [geography.borders()[inputs.iso3[i], inputs.iso3[j]] for i, j in zip(here, there, strict=True)]
    drawn = np.array([len(line) > 0 for line in lines], dtype=bool)
    return here[drawn], there[drawn], [line for line in lines if len(line)]


def _near(events: Events, placed: Places, rows: Places, lines: Sequence[Line], reach: float) -> Iterator[Places]:
    """For each row and line, those of some located events that are the row's and within reach [km] of the line."""
    placed = placed[np.argsort(events.row[placed], kind="stable")]
    where = geography.unit_vectors(events.latitude[placed], events.longitude[placed])
    starts, stops = (np.searchsorted(events.row[placed], rows, side) for side in ("left", "right"))
    for line, start, stop in zip(lines, starts, stops, strict=True):
        tree = cKDTree(geography.unit_vectors(line[:, 0], line[:, 1]))
        away, _ = tree.query(where[start:stop], distance_upper_bound=geography.chord(reach))
        yield placed[start:stop][np.isfinite(away)]


def _at_border(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    lines = [_frontier(iso3) for iso3 in inputs.iso3]
    bordered = np.array([len(line) > 0 for line in lines], dtype=bool)
    rows, drawn = np.flatnonzero(bordered), [line for line in lines if len(line)]
    near = np.concatenate([*_near(events, np.flatnonzero(events.located), rows, drawn, WITHIN), NO_EVENTS])
    counts = np.where(bordered[:, None], events.count(near), np.nan)
    return np.log1p(windows.total(counts, months))


def _frontier(iso3: str) -> Line:
    """The points along all land borders of a country."""
    lines = [geography.borders()[iso3, neighbour] for neighbour in geography.country(iso3).neighbours]
    return np.concatenate([np.empty((0, 2)), *lines])


def _around_the_border(inputs: Inputs, row: int, column: int) -> Places:
    """The neighbours' events of the last 12 months, the deadliest first: near the common border, then those counted."""
    events = inputs.reported
    here, there, lines = inputs.once(_drawn)
    last = (events.column <= column) & (events.column > column - windows.YEAR)
    recent = np.flatnonzero(last & inputs.neighbours[row][events.row])
    chosen = np.flatnonzero(here == row)
    placed = recent[events.located[recent]]
    near = list(_near(events, placed, there[chosen], [lines[pair] for pair in chosen], BEYOND))
    far = ~np.isin(recent, np.concatenate([*near, NO_EVENTS]))
    telling = ~far | inputs.counted[recent]
    recent, far = recent[telling], far[telling]
    return recent[np.lexsort((-events.day[recent], -events.deaths[recent], far))][:MAX_KEY_EVENTS]


declare = partial(Indicator, family=NAME, missing=UNKNOWN, inputs=("deaths",), literature=(CONTAGION, VIEWS))
declare_events = partial(Indicator, family=NAME, inputs=("events",), literature=(CONTAGION, GED), scale="log1p")

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"neighbours_deaths_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deaths in the neighbouring countries, {months} month{'s' * (months > 1)}",
                "fr": f"Morts dans les pays voisins, {months} mois",
            },
            compute=partial(_deaths, months=months),
            scale="log1p",
        )
        for months in (1, 3, 12, 60)
    ),
    declare(
        name="neighbours_mean_12m",
        unit="log(1 + deaths)",
        window=12,
        direction=+1,
        meaning={
            "en": "Mean deaths of a neighbouring country, 12 months",
            "fr": "Moyenne des morts par pays voisin, 12 mois",
        },
        compute=partial(_mean, months=12),
        scale="log1p",
    ),
    *(
        declare(
            name=f"neighbours_worst_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deaths in the worst-hit neighbour, {months} months",
                "fr": f"Morts chez le voisin le plus touché, {months} mois",
            },
            compute=partial(_worst, months=months),
            scale="log1p",
        )
        for months in (3, 12, 60)
    ),
    declare(
        name="neighbours_at_war_12m",
        unit="share of neighbours",
        window=12,
        direction=+1,
        meaning={
            "en": "Share of the neighbours with at least 25 deaths in the last 12 months",
            "fr": "Part des voisins comptant au moins 25 morts sur les 12 derniers mois",
        },
        compute=partial(_at_war, deaths=25, months=12),
        scale="share",
    ),
    declare(
        name="neighbours_half_life_4m",
        unit="log(1 + deaths a month)",
        window=MEMORY,
        direction=+1,
        meaning={
            "en": "Mean monthly deaths in the neighbouring countries, weight halving every 4 months",
            "fr": "Moyenne mensuelle des morts dans les pays voisins, au poids divisé par deux tous les 4 mois",
        },
        compute=partial(_decayed, half_life=4),
        scale="log1p",
    ),
    declare(
        name="neighbours_trend_3m",
        unit="difference of log(1 + deaths)",
        window=6,
        direction=0,
        meaning={
            "en": "Deaths in the neighbouring countries over the last 3 months against the 3 before",
            "fr": "Morts dans les pays voisins sur les 3 derniers mois comparés aux 3 précédents",
        },
        compute=partial(_trend, months=3),
    ),
    *(
        declare(
            name=f"neighbours_by_border_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": "Mean deaths of the neighbouring countries, weighted by length of the common border, "
                f"{months} months",
                "fr": "Moyenne des morts des pays voisins, pondérée par la longueur de la frontière commune, "
                f"{months} mois",
            },
            compute=partial(_by_border, months=months),
            scale="log1p",
        )
        for months in (3, 12)
    ),
    *(
        declare(
            name=f"deaths_by_distance_{months}m",
            unit="log(1 + weighted deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deaths in the countries within {REACH:,} km, each weighted by {NEAR} km over the distance of "
                f"the capitals (at most 1), {months} months",
                "fr": f"Morts dans les pays à moins de {REACH} km, chacun pondéré par {NEAR} km divisés par la "
                f"distance entre les capitales (au plus 1), {months} mois",
            },
            missing=NONE_KNOWN,
            literature=(DISTANCE, CONTAGION),
            compute=partial(_by_distance, months=months),
            scale="log1p",
        )
        for months in (3, 12)
    ),
    *(
        declare_events(
            name=f"beyond_border_{what}_{months}m",
            unit=f"log(1 + {what})",
            window=months,
            direction=+1,
            meaning={
                "en": f"{told['en']} across the land borders, within {BEYOND} km of them, in neighbouring "
                f"countries whose events are known, {months} months",
                "fr": f"{told['fr']} de l’autre côté des frontières terrestres, à moins de {BEYOND} km, dans les pays "
                f"voisins dont les événements sont connus, {months} mois",
            },
            missing=NONE_TOLD,
            compute=partial(_beyond, months=months, deadly=what == "deaths"),
        )
        for what, told in (
            ("deaths", {"en": "Deaths in located events", "fr": "Morts dans des événements localisés"}),
            ("events", {"en": "Located events", "fr": "Événements localisés"}),
        )
        for months in (3, 12)
    ),
    declare_events(
        name="border_events_12m",
        unit="log(1 + events)",
        window=12,
        direction=+1,
        meaning={
            "en": f"Located events within {WITHIN} km of a land border, on the country's own side, 12 months",
            "fr": f"Événements localisés à moins de {WITHIN} km d’une frontière terrestre, côté pays, 12 mois",
        },
        missing=NO_BORDER,
        compute=partial(_at_border, months=12),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Spill-over", "fr": "Voisinage"},
    theme={
        "en": "Violence in the countries around, and near the borders with them",
        "fr": "La violence dans les pays alentour et près des frontières communes",
    },
    headline=("neighbours_deaths_12m", "beyond_border_deaths_12m"),
    indicators=INDICATORS,
    key_events=_around_the_border,
    abroad=True,
)
