"""The family `spread`: how much of a country violence touches, how much of that is new, and how far apart it lies.

Events are counted by part of a country and month (`Parts`): here by first-order unit, in `actors` by armed actor. It
knows no model and no other family.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators import windows
from riskmodel.indicators.declaration import GED, VIEWS, Citation, Family, Indicator
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle

NAME = "spread"

MEMORY = 60
"""How long a part of a country must have been quiet to be new [months]."""

GRAIN = 2**18
"""Offsets from the capital are whole parts of the Earth's radius, of about 24 m, so that sums of them are exact."""

DIFFUSION = Citation(
    "Schutte & Weidmann (2011), Diffusion patterns of violence in civil wars, Political Geography 30(3): 143-152",
    "10.1016/j.polgeo.2011.03.005",
)
EFFECTIVE = Citation(
    'Laakso & Taagepera (1979), "Effective" Number of Parties: A Measure with Application to West Europe, '
    "CPS 12(1): 3-27",
    "10.1177/001041407901200101",
)

UNTOLD = {
    "en": "a month of the window lies outside the coverage of every event file",
    "fr": "un mois de la fenêtre n’est couvert par aucun fichier d’événements",
}


def untold_or(en: str, fr: str) -> dict[str, str]:
    """What an absent value says, by language, where there is one more reason for it."""
    return {"en": f"{UNTOLD['en']}, or {en}", "fr": f"{UNTOLD['fr']}, ou {fr}"}


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
        return ratio(self.total(lately) ** 2, self.total(lately**2))

    def _each(self, reduce: np.ufunc, values: NDArray[np.int64] | NDArray[np.bool_]) -> Rectangle:
        gathered = np.zeros((self.countries, self.events.shape[1]))
        if self.row.size:
            starts = np.flatnonzero(np.diff(self.row, prepend=-1))
            gathered[self.row[starts]] = reduce.reduceat(values, starts, axis=0, dtype=np.int64)
        return gathered


def ratio(part: Rectangle, whole: Rectangle) -> Rectangle:
    """A part of a whole; NaN where the whole is nothing or unknown."""
    shares: Rectangle = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares


def told(events: Events, months: int) -> NDArray[np.bool_]:
    """Whether events are known in all of the last months, shape (country, month)."""
    return np.asarray(~np.isnan(windows.total(np.where(events.told, 0.0, np.nan), months)))


def count(parts: Parts, values: NDArray[np.bool_], known: NDArray[np.bool_]) -> Rectangle:
    """The log of one more than the number of parts of which something holds; NaN where that is not known."""
    return np.where(known, np.log1p(parts.total(values)), np.nan)


def one_each(events: Events, part: Places, row: int, column: int) -> Places:
    """Of each part with events in a country's last 12 months its deadliest one, five at most.

    `part` numbers each event's part, -1 for none. Parts without an event in the `MEMORY` before come first, then the
    deadlier and the newer event.
    """
    lately = np.flatnonzero(events.recent(row, column, 12) & (part >= 0))
    deadliest = lately[np.lexsort((-lately, -events.deaths[lately]))]
    chosen = deadliest[np.unique(part[deadliest], return_index=True)[1]]
    known = np.isin(part[chosen], part[events.recent(row, column - 12, MEMORY)])
    return np.asarray(chosen[np.lexsort((-chosen, -events.deaths[chosen], known))][:5])


def _units(events: Events) -> Parts:
    there = events.adm_1 >= 0
    return Parts.of(events.row[there], events.column[there], events.adm_1[there], events.told.shape)


def _touched(inputs: Inputs, *, months: int) -> Rectangle:
    units = _units(inputs.reported)
    return count(units, units.recent(months) > 0, told(inputs.reported, months))


def _new(inputs: Inputs, *, months: int, memory: int) -> Rectangle:
    units = _units(inputs.reported)
    return count(units, units.new(months, memory), told(inputs.reported, months + memory))


def _again(inputs: Inputs, *, months: int, memory: int) -> Rectangle:
    units = _units(inputs.reported)
    share = ratio(units.total(units.recent(months) > 0), units.total(units.recent(memory) > 0))
    return np.where(told(inputs.reported, memory), share, np.nan)


def _effective(inputs: Inputs, *, months: int) -> Rectangle:
    return np.where(told(inputs.reported, months), _units(inputs.reported).effective(months), np.nan)


def _dispersion(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    capitals = [geography.country(iso3) for iso3 in inputs.iso3]
    home = geography.unit_vectors([known.latitude for known in capitals], [known.longitude for known in capitals])
    offset = np.rint((geography.unit_vectors(events.latitude, events.longitude) - home[events.row]) * GRAIN)
    number = windows.total(events.count(events.located), months)

    def mean(values: NDArray[np.float64]) -> Rectangle:
        return ratio(windows.total(events.count(events.located, values), months), number)

    variance = mean((offset**2).sum(axis=1)) - sum(mean(axis) ** 2 for axis in offset.T)
    return np.asarray(np.sqrt(np.maximum(variance, 0)) * (geography.EARTH_RADIUS / GRAIN))


def _behind(inputs: Inputs, row: int, column: int) -> Places:
    return one_each(inputs.reported, inputs.reported.adm_1, row, column)


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
            compute=partial(_touched, months=months),
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
            compute=partial(_new, months=months, memory=memory),
        )
        for months, memory in ((3, 24), (12, MEMORY))
    ),
    declare(
        name="units_share_12m",
        unit="share of the first-order units with events in 60 months",
        scale="share",
        window=MEMORY,
        direction=+1,
        meaning={
            "en": f"Share of the first-order units hit in {MEMORY} months that were hit in the last 12",
            "fr": f"Part des unités de premier niveau touchées en {MEMORY} mois qui l’ont été ces 12 derniers mois",
        },
        missing=untold_or(
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
        missing=untold_or(
            "no event of the window lies in a known unit",
            "aucun événement de la fenêtre n’est situé dans une unité connue",
        ),
        literature=(EFFECTIVE, DIFFUSION),
        compute=partial(_effective, months=12),
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
        missing=untold_or(
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
    behind=_behind,
)
