"""The family `spread`: how much of a country has violence, how much of that is new, and how far apart it is.

The areas are first-order administrative units.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography, windows
from riskmodel.indicators import categories
from riskmodel.indicators.categories import EFFECTIVE_NUMBER, QUIET_BEFORE_NEW, CategoryCounts
from riskmodel.indicators.declaration import (
    DIFFUSION,
    EVENTS_NOT_COVERED,
    GED,
    VIEWS,
    Declarations,
    Family,
    Indicator,
    either,
    signals_of,
)
from riskmodel.indicators.inputs import Indices, Inputs
from riskmodel.windows import YEAR, Rectangle

NAME = "spread"

PARTS_OF_RADIUS = 2**18
"""Offsets from the capital are rounded to this part of the Earth's radius, about 24 m, so that their sums are exact."""


def _units(inputs: Inputs) -> CategoryCounts:
    """Events by first-order unit."""
    events = inputs.required_events
    known = events.adm_1 >= 0
    return CategoryCounts.count(events.row[known], events.column[known], events.adm_1[known], events.covered.shape)


def _share_hit_recently(inputs: Inputs, *, recent: int, months: int) -> Rectangle:
    units = inputs.cached(_units)
    share = windows.ratio(units.total(units.recent(recent) > 0), units.total(units.recent(months) > 0))
    return np.where(windows.throughout(inputs.required_events.covered, months), share, np.nan)


def _dispersion(inputs: Inputs, *, months: int) -> Rectangle:
    """The root-mean-square distance of located events from their centre [km]."""
    events = inputs.required_events
    capital = geography.unit_vectors(*inputs.capitals.T)
    vectors = geography.unit_vectors(events.latitude, events.longitude)
    offset = np.rint((vectors - capital[events.row]) * PARTS_OF_RADIUS)
    number = windows.total(events.count(events.located), months)

    def mean(values: NDArray[np.float64]) -> Rectangle:
        return windows.ratio(windows.total(events.count(events.located, values), months), number)

    variance = mean((offset**2).sum(axis=1)) - sum(mean(axis) ** 2 for axis in offset.T)
    return np.asarray(np.sqrt(np.maximum(variance, 0)) * (geography.EARTH_RADIUS / PARTS_OF_RADIUS))


def _events_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    events = inputs.required_events
    recent = events.of_months(column, months)
    return np.asarray(recent[(events.row[recent] == row) & (events.adm_1[recent] >= 0)])


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The deadliest event of each first-order unit."""
    return categories.deadliest_of_each(inputs.required_events, inputs.required_events.adm_1, row, column)


declare = Declarations(NAME, literature=(DIFFUSION, GED), inputs=("events",), missing=EVENTS_NOT_COVERED, direction=+1)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare.log_count(
            f"units_{months}m",
            "first-order units",
            window=months,
            en=f"First-order administrative units with events in the last {months} months",
            fr=f"Unités administratives de premier niveau touchées ces {months} derniers mois",
            compute=partial(categories.active, of=_units, months=months),
            signal=signals_of(months, _events_behind, minimum=2) if months == YEAR else None,
        )
        for months in (3, 12)
    ),
    *(
        declare.log_count(
            f"new_units_{months}m",
            "first-order units",
            window=months + quiet,
            en=f"First-order units with events in the last {months} months and none in the {quiet} before",
            fr=f"Unités de premier niveau touchées ces {months} derniers mois, "
            f"mais épargnées durant les {quiet} précédents",
            compute=partial(categories.new, of=_units, months=months, quiet=quiet),
        )
        for months, quiet in ((3, 24), (12, QUIET_BEFORE_NEW))
    ),
    declare.share(
        "units_share_12m",
        f"the first-order units with events in {QUIET_BEFORE_NEW} months",
        window=QUIET_BEFORE_NEW,
        en=f"Share of the first-order units hit in {QUIET_BEFORE_NEW} months that were hit in the last 12",
        fr=f"Part des unités de premier niveau touchées en {QUIET_BEFORE_NEW} mois qui l’ont été ces 12 derniers mois",
        compute=partial(_share_hit_recently, recent=12, months=QUIET_BEFORE_NEW),
        missing=either(
            EVENTS_NOT_COVERED,
            f"no event of {QUIET_BEFORE_NEW} months lies in a known unit",
            f"aucun événement de ces {QUIET_BEFORE_NEW} mois n’est situé dans une unité connue",
        ),
    ),
    declare.value(
        "effective_units_12m",
        "first-order units",
        window=12,
        en="Effective number of first-order units, by events of the last 12 months",
        fr="Nombre effectif d’unités de premier niveau, d’après les événements des 12 derniers mois",
        compute=partial(categories.effective_number, of=_units, months=12),
        missing=either(
            EVENTS_NOT_COVERED,
            "no event of the window lies in a known unit",
            "aucun événement de la fenêtre n’est situé dans une unité connue",
        ),
        literature=(EFFECTIVE_NUMBER, DIFFUSION),
    ),
    declare.value(
        "dispersion_12m",
        "km",
        window=12,
        en="Root-mean-square distance in km of located events from their mean centre, 12 months",
        fr="Distance quadratique moyenne, en km, des événements localisés à leur centre, 12 mois",
        compute=partial(_dispersion, months=12),
        direction=0,
        missing=either(
            EVENTS_NOT_COVERED,
            "no event of the window is located (where_prec of 3 or less)",
            "aucun événement de la fenêtre n’est localisé (where_prec de 3 au plus)",
        ),
        literature=(DIFFUSION, VIEWS),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Spread", "fr": "Extension"},
    theme={
        "en": "How much of the country violence touches, how much of that is new, and how far apart it lies",
        "fr": "L’étendue du territoire touché par la violence, sa part nouvelle et sa dispersion",
    },
    headline=("units_12m", "new_units_12m"),
    indicators=INDICATORS,
    key_events=_key_events,
)
