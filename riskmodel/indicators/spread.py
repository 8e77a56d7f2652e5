"""The family `spread`: how much of a country violence touches, how much of that is new, and how far apart it lies.

Its parts are first-order administrative units. It knows no model and no other family.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators import parts, windows
from riskmodel.indicators.declaration import DIFFUSION, GED, UNTOLD, VIEWS, Family, Indicator, either
from riskmodel.indicators.inputs import Inputs, Places, Rectangle
from riskmodel.indicators.parts import EFFECTIVE, MEMORY, Parts

NAME = "spread"

GRAIN = 2**18
"""Offsets from the capital are whole parts of the Earth's radius, of about 24 m, so that sums of them are exact."""


def _units(inputs: Inputs) -> Parts:
    events = inputs.reported
    there = events.adm_1 >= 0
    return Parts.of(events.row[there], events.column[there], events.adm_1[there], events.told.shape)


def _again(inputs: Inputs, *, months: int, memory: int) -> Rectangle:
    units = inputs.once(_units)
    share = windows.ratio(units.total(units.recent(months) > 0), units.total(units.recent(memory) > 0))
    return np.where(windows.throughout(inputs.reported.told, memory), share, np.nan)


def _dispersion(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    home = geography.unit_vectors(*inputs.capitals.T)
    offset = np.rint((geography.unit_vectors(events.latitude, events.longitude) - home[events.row]) * GRAIN)
    number = windows.total(events.count(events.located), months)

    def mean(values: NDArray[np.float64]) -> Rectangle:
        return windows.ratio(windows.total(events.count(events.located, values), months), number)

    variance = mean((offset**2).sum(axis=1)) - sum(mean(axis) ** 2 for axis in offset.T)
    return np.asarray(np.sqrt(np.maximum(variance, 0)) * (geography.EARTH_RADIUS / GRAIN))


def _key_events(inputs: Inputs, row: int, column: int) -> Places:
    return parts.one_each(inputs.reported, inputs.reported.adm_1, row, column)


declare = partial(Indicator, family=NAME, literature=(DIFFUSION, GED), inputs=("events",))

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"units_{months}m",
            unit="log(1 + first-order units)",
            scale="log1p",
            window=months,
            direction=+1,
            meaning={
                "en": f"First-order administrative units with events in the last {months} months",
                "fr": f"Unités administratives de premier niveau touchées ces {months} derniers mois",
            },
            missing=UNTOLD,
            compute=partial(parts.active, of=_units, months=months),
        )
        for months in (3, 12)
    ),
    *(
        declare(
            name=f"new_units_{months}m",
            unit="log(1 + first-order units)",
            scale="log1p",
            window=months + memory,
            direction=+1,
            meaning={
                "en": f"First-order units with events in the last {months} months and none in the {memory} before",
                "fr": f"Unités de premier niveau touchées ces {months} derniers mois, "
                f"mais épargnées durant les {memory} précédents",
            },
            missing=UNTOLD,
            compute=partial(parts.new, of=_units, months=months, memory=memory),
        )
        for months, memory in ((3, 24), (12, MEMORY))
    ),
    declare(
        name="units_share_12m",
        unit=f"share of the first-order units with events in {MEMORY} months",
        scale="share",
        window=MEMORY,
        direction=+1,
        meaning={
            "en": f"Share of the first-order units hit in {MEMORY} months that were hit in the last 12",
            "fr": f"Part des unités de premier niveau touchées en {MEMORY} mois qui l’ont été ces 12 derniers mois",
        },
        missing=either(
            UNTOLD,
            f"no event of {MEMORY} months lies in a known unit",
            f"aucun événement de ces {MEMORY} mois n’est situé dans une unité connue",
        ),
        compute=partial(_again, months=12, memory=MEMORY),
    ),
    declare(
        name="effective_units_12m",
        unit="first-order units",
        window=12,
        direction=+1,
        meaning={
            "en": "Effective number of first-order units, by events of the last 12 months",
            "fr": "Nombre effectif d’unités de premier niveau, d’après les événements des 12 derniers mois",
        },
        missing=either(
            UNTOLD,
            "no event of the window lies in a known unit",
            "aucun événement de la fenêtre n’est situé dans une unité connue",
        ),
        literature=(EFFECTIVE, DIFFUSION),
        compute=partial(parts.effective, of=_units, months=12),
    ),
    declare(
        name="dispersion_12m",
        unit="km",
        window=12,
        direction=0,
        meaning={
            "en": "Root-mean-square distance in km of located events from their mean centre, 12 months",
            "fr": "Distance quadratique moyenne, en km, des événements localisés à leur centre, 12 mois",
        },
        missing=either(
            UNTOLD,
            "no event of the window is located (where_prec of 3 or less)",
            "aucun événement de la fenêtre n’est localisé (where_prec de 3 au plus)",
        ),
        literature=(DIFFUSION, VIEWS),
        compute=partial(_dispersion, months=12),
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
