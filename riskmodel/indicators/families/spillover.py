"""The family `spillover`: violence in the countries around, above all in those that share a land border.

Weights are whole numbers or multiples of 1/65,536, so that weighted sums are exact in any order of countries.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from riskmodel import geography, windows
from riskmodel.indicators.declaration import (
    EVENTS_NOT_COVERED,
    GED,
    MAX_KEY_EVENTS,
    MIN_SIGNAL_DEATHS,
    VIEWS,
    Citation,
    Declarations,
    Family,
    Indicator,
    either,
    signals_of,
)
from riskmodel.indicators.inputs import Events, Indices, Inputs
from riskmodel.targets import BATTLE_DEATHS
from riskmodel.windows import Rectangle

NAME = "spillover"
LONG_WINDOW = 60  # [months]
MAX_DISTANCE = 1500
"""Countries count by distance if their capital is this near to the country's own [km]."""
FULL_WEIGHT_DISTANCE = 100
"""Capitals this near have weight 1, others this distance / their distance [km]."""
ACROSS_BORDER = 100
"""Events count on the other side of a border up to this distance [km]."""
INSIDE_BORDER = 50
"""Events count on the country's own side of a border up to this distance [km]."""
WEIGHT_STEPS = 1 << 16
"""Weights are rounded to so many parts of 1: sums of them then do not depend on the order of the countries."""
NO_EVENTS = np.empty(0, dtype=np.intp)
SIGNAL_MONTHS = (3, 12)
"""Of these windows, what happens in the neighbouring countries can be a signal [months]."""

CONTAGION = Citation(
    "Buhaug & Gleditsch (2008), Contagion or Confusion? Why Conflicts Cluster in Space, ISQ 52(2): 215-233",
    "10.1111/j.1468-2478.2008.00499.x",
)
DISTANCE = Citation(
    "Gleditsch & Ward (2001), Measuring Space: A Minimum-Distance Database and Applications to International Studies, "
    "JPR 38(6): 739-758",
    "10.1177/0022343301038006006",
)
NEIGHBOUR_NOT_COVERED = {
    "en": "no neighbour by land, or a month of a neighbour's window lies outside the coverage of every source",
    "fr": "pas de voisin terrestre, ou un mois de la fenêtre d’un voisin n’est couvert par aucune source",
}
NO_COUNTRY_COVERED = {
    "en": f"no other country within {MAX_DISTANCE:,} km whose deaths are known in every month of the window; "
    "a country whose deaths are unknown is left out of the sum",
    "fr": f"aucun autre pays à moins de {MAX_DISTANCE} km dont les morts soient connus pour tous les mois de la "
    "fenêtre ; un pays dont les morts ne sont pas connus est laissé hors de la somme",
}
NO_BORDER_COVERED = {
    "en": "no neighbour whose border is mapped and whose events are known in every month of the window; "
    "a neighbour whose events are unknown is left out of the sum",
    "fr": "aucun voisin dont la frontière soit tracée et dont les événements soient connus pour tous les mois de la "
    "fenêtre ; un voisin dont les événements ne sont pas connus est laissé hors de la somme",
}
NO_BORDER = either(
    EVENTS_NOT_COVERED, "no land border of the country is mapped", "aucune frontière terrestre du pays n’est tracée"
)


def _weighted_sum(values: Rectangle, weights: NDArray[np.bool_] | Rectangle) -> Rectangle:
    """Sums over other countries, weights of shape (country, other country); NaN if one with a weight is unknown."""
    unknown = (weights > 0) @ np.isnan(values).astype(np.float64)
    summed = weights @ np.nan_to_num(values)
    return np.where((unknown == 0) & weights.any(axis=1, keepdims=True), summed, np.nan)


def _neighbours(inputs: Inputs) -> Rectangle:
    """The number of neighbours, at least 1, shape (country, 1)."""
    return np.asarray(np.maximum(inputs.neighbours.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def _neighbours_deaths(inputs: Inputs, months: int) -> Rectangle:
    return _weighted_sum(windows.total(inputs.tables["deaths"], months), inputs.neighbours)


def _deaths(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_neighbours_deaths(inputs, months))


def _mean(inputs: Inputs, *, months: int) -> Rectangle:
    return np.asarray(np.log1p(_neighbours_deaths(inputs, months) / _neighbours(inputs)))


def _worst(inputs: Inputs, *, months: int) -> Rectangle:
    deaths = windows.total(inputs.tables["deaths"], months)
    worst = np.full(deaths.shape, np.nan)
    for country, neighbours in enumerate(inputs.neighbours):
        if neighbours.any():
            worst[country] = deaths[neighbours].max(axis=0)
    return np.asarray(np.log1p(worst))


def _at_war(inputs: Inputs, *, months: int) -> Rectangle:
    deaths = windows.total(inputs.tables["deaths"], months)
    at_war = np.where(np.isnan(deaths), np.nan, deaths >= BATTLE_DEATHS)
    return _weighted_sum(at_war, inputs.neighbours) / _neighbours(inputs)


def _decayed(inputs: Inputs, *, half_life: float) -> Rectangle:
    deaths = _weighted_sum(inputs.tables["deaths"], inputs.neighbours)
    return np.log1p(windows.decayed_mean(deaths, half_life, LONG_WINDOW))


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_deaths(inputs, months=months), months)


def _by_border(inputs: Inputs, *, months: int) -> Rectangle:
    lengths = inputs.cached(border_lengths)
    summed = _weighted_sum(windows.total(inputs.tables["deaths"], months), lengths)
    return np.asarray(np.log1p(summed / np.maximum(lengths.sum(axis=1, keepdims=True), 1)))


def border_lengths(inputs: Inputs) -> Rectangle:
    """Return the points along each common border, at least 1, shape (country, neighbour): one for about 20 km."""
    lengths = inputs.neighbours.astype(np.float64)
    for here, there in np.argwhere(inputs.neighbours):
        lengths[here, there] = max(len(geography.borders()[inputs.iso3[here], inputs.iso3[there]]), 1)
    return lengths


def _by_distance(inputs: Inputs, *, months: int) -> Rectangle:
    deaths, weights = windows.total(inputs.tables["deaths"], months), inputs.cached(_distance_weights)
    any_known = (weights > 0) @ (~np.isnan(deaths)).astype(np.float64) > 0
    return np.log1p(np.where(any_known, weights @ np.nan_to_num(deaths), np.nan))


def _distance_weights(inputs: Inputs) -> Rectangle:
    """The weight of each other country by the distance of the capitals, shape (country, country); 0 when too far."""
    latitude, longitude = inputs.capitals.T
    km = geography.distance(latitude[:, None], longitude[:, None], latitude, longitude)
    steps = np.rint(WEIGHT_STEPS * FULL_WEIGHT_DISTANCE / np.maximum(km, FULL_WEIGHT_DISTANCE))
    weights = np.where(km <= MAX_DISTANCE, steps / WEIGHT_STEPS, 0.0)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _across_borders(inputs: Inputs, *, months: int, deaths: bool) -> Rectangle:
    """Events near the borders on the other side, or their deaths; neighbours that are not covered are left out."""
    events = inputs.required_events
    here, there, _ = inputs.cached(_mapped_borders)
    counts = np.where(events.covered[there], 0.0, np.nan)
    for border, near in enumerate(inputs.cached(_events_across_borders)):
        weights = events.deaths[near] if deaths else None
        counts[border] += np.bincount(events.column[near], weights, minlength=counts.shape[1])
    recent = windows.total(counts, months)
    summed, known = np.zeros(events.covered.shape), np.zeros(events.covered.shape, dtype=bool)
    np.add.at(summed, here, np.nan_to_num(recent))
    np.logical_or.at(known, here, ~np.isnan(recent))
    return np.log1p(np.where(known, summed, np.nan))


def _events_across_borders(inputs: Inputs) -> list[Indices]:
    """For each mapped border, the located events near it on its other side."""
    _, there, borders = inputs.cached(_mapped_borders)
    located = np.flatnonzero(inputs.required_events.located)
    return list(_events_near(inputs.required_events, located, there, borders, ACROSS_BORDER))


def _mapped_borders(inputs: Inputs) -> tuple[Indices, Indices, list[cKDTree]]:
    """The row of each country and of its neighbour whose common border is mapped, and the points of the border."""
    here, there = np.nonzero(inputs.neighbours)
    borders = [_border(inputs.iso3[i], (inputs.iso3[j],)) for i, j in zip(here, there, strict=True)]
    mapped = np.array([border.n > 0 for border in borders], dtype=bool)
    return here[mapped], there[mapped], [border for border in borders if border.n]


@cache
def _border(iso3: str, neighbours: tuple[str, ...]) -> cKDTree:
    """The points along the land borders of a country with some neighbours. Neighbour effects ask for them often."""
    lines = [geography.borders()[iso3, neighbour] for neighbour in neighbours]
    points = np.concatenate([np.empty((0, 2)), *lines])
    return cKDTree(geography.unit_vectors(points[:, 0], points[:, 1]))


def _events_near(
    events: Events, located: Indices, rows: Indices, borders: Sequence[cKDTree], radius: float
) -> Iterator[Indices]:
    """For each row and border, those of some located events that are in the row's country and near the border [km]."""
    located = located[np.argsort(events.row[located], kind="stable")]
    vectors = geography.unit_vectors(events.latitude[located], events.longitude[located])
    starts, stops = (np.searchsorted(events.row[located], rows, side) for side in ("left", "right"))
    for border, start, stop in zip(borders, starts, stops, strict=True):
        nearest, _ = border.query(vectors[start:stop], distance_upper_bound=geography.chord(radius))
        yield located[start:stop][np.isfinite(nearest)]


def _inside_border(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.required_events
    borders = [_border(iso3, geography.country(iso3).neighbours) for iso3 in inputs.iso3]
    mapped = np.array([border.n > 0 for border in borders], dtype=bool)
    rows, mapped_borders = np.flatnonzero(mapped), [border for border in borders if border.n]
    by_country = _events_near(events, np.flatnonzero(events.located), rows, mapped_borders, INSIDE_BORDER)
    counts = np.where(mapped[:, None], events.count(np.concatenate([*by_country, NO_EVENTS])), np.nan)
    return np.log1p(windows.total(counts, months))


def _neighbours_events_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    events = inputs.required_events
    recent = events.of_months(column, months)
    counted = inputs.neighbours[row][events.row[recent]] & inputs.counted_by_outcome[recent]
    return np.asarray(recent[counted & (events.deaths[recent] > 0)])


def _events_across_borders_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    here, _, _ = inputs.cached(_mapped_borders)
    near = [events for i, events in zip(here, inputs.cached(_events_across_borders), strict=True) if i == row]
    return np.intersect1d(inputs.required_events.of_months(column, months), np.concatenate([*near, NO_EVENTS]))


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The neighbours' events of the last 12 months: first those near the common border, then others; deadliest first.

    Away from the border, only events that the outcome counts are shown.
    """
    events = inputs.required_events
    here, there, borders = inputs.cached(_mapped_borders)
    in_window = (events.column <= column) & (events.column > column - windows.YEAR)
    recent = np.flatnonzero(in_window & inputs.neighbours[row][events.row])
    own = np.flatnonzero(here == row)
    located = recent[events.located[recent]]
    near = list(_events_near(events, located, there[own], [borders[border] for border in own], ACROSS_BORDER))
    far = ~np.isin(recent, np.concatenate([*near, NO_EVENTS]))
    shown = ~far | inputs.counted_by_outcome[recent]
    recent, far = recent[shown], far[shown]
    return recent[np.lexsort((-events.day[recent], -events.deaths[recent], far))][:MAX_KEY_EVENTS]


declare = Declarations(
    NAME, missing=NEIGHBOUR_NOT_COVERED, literature=(CONTAGION, VIEWS), inputs=("deaths",), direction=+1
)
declare_events = Declarations(
    NAME, missing=NO_BORDER_COVERED, literature=(CONTAGION, GED), inputs=("events",), direction=+1
)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare.log_count(
            f"neighbours_deaths_{months}m",
            "deaths",
            window=months,
            en=f"Deaths in the neighbouring countries, {months} month{'s' * (months > 1)}",
            fr=f"Morts dans les pays voisins, {months} mois",
            compute=partial(_deaths, months=months),
            signal=signals_of(months, _neighbours_events_behind, minimum=MIN_SIGNAL_DEATHS, of_neighbours=True)
            if months in SIGNAL_MONTHS
            else None,
        )
        for months in (1, 3, 12, 60)
    ),
    declare.log_count(
        "neighbours_mean_12m",
        "deaths",
        window=12,
        en="Mean deaths of a neighbouring country, 12 months",
        fr="Moyenne des morts par pays voisin, 12 mois",
        compute=partial(_mean, months=12),
    ),
    *(
        declare.log_count(
            f"neighbours_worst_{months}m",
            "deaths",
            window=months,
            en=f"Deaths in the worst-hit neighbour, {months} months",
            fr=f"Morts chez le voisin le plus touché, {months} mois",
            compute=partial(_worst, months=months),
        )
        for months in (3, 12, 60)
    ),
    declare.share(
        "neighbours_at_war_12m",
        "neighbours",
        window=12,
        en=f"Share of the neighbours with at least {BATTLE_DEATHS} deaths in the last 12 months",
        fr=f"Part des voisins comptant au moins {BATTLE_DEATHS} morts sur les 12 derniers mois",
        compute=partial(_at_war, months=12),
    ),
    declare.log_count(
        "neighbours_half_life_4m",
        "deaths a month",
        window=LONG_WINDOW,
        en="Mean monthly deaths in the neighbouring countries, weight halving every 4 months",
        fr="Moyenne mensuelle des morts dans les pays voisins, au poids divisé par deux tous les 4 mois",
        compute=partial(_decayed, half_life=4),
    ),
    declare.value(
        "neighbours_trend_3m",
        "difference of log(1 + deaths)",
        window=6,
        en="Deaths in the neighbouring countries over the last 3 months against the 3 before",
        fr="Morts dans les pays voisins sur les 3 derniers mois comparés aux 3 précédents",
        compute=partial(_trend, months=3),
        direction=0,
    ),
    *(
        declare.log_count(
            f"neighbours_by_border_{months}m",
            "deaths",
            window=months,
            en=f"Mean deaths of the neighbouring countries, weighted by length of the common border, {months} months",
            fr=f"Moyenne des morts des pays voisins, pondérée par la longueur de la frontière commune, {months} mois",
            compute=partial(_by_border, months=months),
        )
        for months in (3, 12)
    ),
    *(
        declare.log_count(
            f"deaths_by_distance_{months}m",
            "weighted deaths",
            window=months,
            en=f"Deaths in the countries within {MAX_DISTANCE:,} km, each weighted by {FULL_WEIGHT_DISTANCE} km over "
            f"the distance of the capitals (at most 1), {months} months",
            fr=f"Morts dans les pays à moins de {MAX_DISTANCE} km, chacun pondéré par {FULL_WEIGHT_DISTANCE} km "
            f"divisés par la distance entre les capitales (au plus 1), {months} mois",
            compute=partial(_by_distance, months=months),
            missing=NO_COUNTRY_COVERED,
            literature=(DISTANCE, CONTAGION),
        )
        for months in (3, 12)
    ),
    *(
        declare_events.log_count(
            f"beyond_border_{what}_{months}m",
            what,
            window=months,
            en=f"{label['en']} across the land borders, within {ACROSS_BORDER} km of them, in neighbouring "
            f"countries whose events are known, {months} months",
            fr=f"{label['fr']} de l’autre côté des frontières terrestres, à moins de {ACROSS_BORDER} km, dans les pays "
            f"voisins dont les événements sont connus, {months} mois",
            compute=partial(_across_borders, months=months, deaths=what == "deaths"),
            signal=signals_of(months, _events_across_borders_behind, of_neighbours=True)
            if what == "events" and months in SIGNAL_MONTHS
            else None,
            missing=NO_BORDER_COVERED,
        )
        for what, label in (
            (
                "deaths",
                {
                    "en": "Deaths in located events of all types",
                    "fr": "Morts dans des événements localisés de tous types",
                },
            ),
            ("events", {"en": "Located events", "fr": "Événements localisés"}),
        )
        for months in (3, 12)
    ),
    declare_events.log_count(
        "border_events_12m",
        "events",
        window=12,
        en=f"Located events within {INSIDE_BORDER} km of a land border, on the country's own side, 12 months",
        fr=f"Événements localisés à moins de {INSIDE_BORDER} km d’une frontière terrestre, côté pays, 12 mois",
        compute=partial(_inside_border, months=12),
        missing=NO_BORDER,
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
    key_events=_key_events,
    abroad=True,
)
