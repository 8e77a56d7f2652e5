"""The family `capital`: how near violence comes to the capital, to airports and larger towns, and to untouched ground.

An event stands where its coordinate says and counts by its first day. One that is placed less precisely than its
second-order unit is nowhere here: it would stand at the centre of a province. Which airports and towns there are is
`riskmodel.geography`'s to say.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators import sites, windows
from riskmodel.indicators.declaration import (
    DIFFUSION,
    GED,
    MAX_KEY_EVENTS,
    UNTOLD,
    VIEWS,
    Citation,
    Family,
    Indicator,
    Text,
    either,
    last,
)
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle
from riskmodel.indicators.sites import APART, AT_SITE
from riskmodel.indicators.windows import YEAR

NAME = "capital"

RINGS = (25, 50, 100, 250)  # [km] from the capital
NEAR = RINGS[-1]
SECTORS = 8
AROUND, QUIET = 100, 24  # ground is new where nothing was so near [km] for so long [months]

_CELL = 0.5  # [degrees]: two places in one cell lie less than AROUND apart
_SLACK = 1e-6
"""Beyond a ring's bounding box, so that rounding leaves none of it out [degrees]."""
_GRAIN = 2.0**-28  # of the Earth's radius, 2 cm: sums of whole grains are exact in any order

GEOGRAPHY = Citation(
    "Buhaug & Gates (2002), The Geography of Civil War, JPR 39(4): 417-433", "10.1177/0022343302039004003"
)
TOWNS = Citation(
    "Raleigh & Hegre (2009), Population size, concentration, and civil war: A geographically disaggregated analysis, "
    "Political Geography 28(4): 224-238",
    "10.1016/j.polgeo.2009.05.007",
)


def _located(reason: Text) -> Text:
    """The reason, with which events are looked at in any case."""
    return {
        "en": f"{reason['en']}; only located events count (UCDP's where_prec 3 or better), each on its first day",
        "fr": f"{reason['fr']} ; seuls comptent les événements localisés (where_prec d’UCDP de 3 ou moins), chacun à "
        "son premier jour",
    }


def _or(en: str, fr: str) -> Text:
    return _located(either(UNTOLD, en, fr))


UNKNOWN = _located(UNTOLD)
NONE_LOCATED = _or("no located event in the window", "aucun événement localisé dans la fenêtre")
NONE_BEFORE = _or("no located event in one of the two years", "aucun événement localisé dans l’une des deux années")
NO_DEATHS = _or("no deaths in located events of the window", "aucun mort dans les événements localisés de la fenêtre")
NO_DEATHS_BEFORE = _or(
    "no deaths in located events of one of the two years",
    "aucun mort dans les événements localisés de l’une des deux années",
)
NO_AIRPORT = _or("no airport of the country is known", "aucun aéroport connu dans le pays")
NO_TOWN = _or(
    "no town of 50,000 or more is known in the country", "aucune ville connue d’au moins 50 000 habitants dans le pays"
)
NO_SITE = _or("no such site of the country is known", "aucun site de ce genre connu dans le pays")


def _distance(inputs: Inputs, of: Places | slice = slice(None)) -> NDArray[np.float64]:
    """How far events are from their country's capital [km]; NaN where they are not located."""
    events = inputs.reported
    capital = inputs.capitals[events.row[of]]
    km = geography.distance(events.latitude[of], events.longitude[of], capital[:, 0], capital[:, 1])
    return np.where(events.located[of], km, np.nan)


def _ringed(inputs: Inputs) -> tuple[Places, NDArray[np.float64]]:
    """The located events within the widest ring, and how far each is from the capital [km]."""
    events, capitals = inputs.reported, inputs.capitals
    widest = max(RINGS) / geography.EARTH_RADIUS
    north = np.degrees(widest) + _SLACK
    east = np.degrees(np.arcsin(np.minimum(np.sin(widest) / np.cos(np.radians(capitals[:, 0])), 1.0))) + _SLACK
    places = np.flatnonzero(events.located & (np.abs(events.latitude - capitals[:, 0][events.row]) <= north))
    row = events.row[places]
    away = np.abs(events.longitude[places] - capitals[row, 1])
    places = places[np.minimum(away, 360 - away) <= east[row]]
    km = _distance(inputs, places)
    inside = km <= max(RINGS)
    return places[inside], km[inside]


def _within(inputs: Inputs, ring: int) -> Places:
    places, km = inputs.once(_ringed)
    return places[km <= ring]


def _events(inputs: Inputs, *, within: int, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.reported.count(_within(inputs, within)), months))


def _deaths(inputs: Inputs, *, within: int, months: int) -> Rectangle:
    events = inputs.reported
    return np.log1p(windows.total(events.count(_within(inputs, within), events.deaths), months))


def _share(inputs: Inputs, *, within: int, months: int) -> Rectangle:
    events = inputs.reported
    near = windows.total(events.count(_within(inputs, within)), months)
    return windows.ratio(near, windows.total(events.count(events.located), months))


def _median(inputs: Inputs) -> Rectangle:
    """The median distance from the capital, of the events of each window of a year [km]."""
    events = inputs.reported
    km, span = inputs.once(_distance), events.told.shape[1]
    order = np.argsort(km, kind="stable")[: np.count_nonzero(events.located)]
    if not order.size:
        return np.full(events.told.shape, np.nan)
    row, column, rank = events.row[order], events.column[order], np.arange(order.size)
    # An event is listed in every window that it belongs to, by window and then by rank: what lies in the middle of a
    # window's stretch is its median.
    lists = [((row * span + column + age) * order.size + rank)[column + age < span] for age in range(YEAR)]
    listed = np.sort(np.concatenate(lists))
    size = np.bincount(listed // order.size, minlength=events.told.size)
    start, filled = np.cumsum(size) - size, np.flatnonzero(size)
    middle = [km[order[listed[(start + (size - 1 + more) // 2)[filled]] % order.size]] for more in (0, 1)]
    median = np.full(events.told.size, np.nan)
    median[filled] = (middle[0] + middle[1]) / 2
    return np.where(windows.throughout(events.told, YEAR), median.reshape(events.told.shape), np.nan)


def _centre(inputs: Inputs, *, months: int) -> Rectangle:
    """How far from the capital the deaths' centre is, the mean of their places as unit vectors [km]."""
    events = inputs.reported
    places = np.rint(geography.unit_vectors(events.latitude, events.longitude) / _GRAIN) * _GRAIN
    x, y, z = (windows.total(events.count(events.located, events.deaths * axis), months) for axis in places.T)
    latitude, longitude = np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
    capital = inputs.capitals
    km = geography.distance(latitude, longitude, capital[:, :1], capital[:, 1:])
    return np.where(windows.total(events.count(events.located, events.deaths), months) > 0, km, np.nan)


def _median_change(inputs: Inputs) -> Rectangle:
    return windows.change(inputs.once(_median), YEAR)


def _centre_change(inputs: Inputs) -> Rectangle:
    return windows.change(_centre(inputs, months=YEAR), YEAR)


def _sectors(inputs: Inputs, *, months: int) -> Rectangle:
    """In how many of eight directions from the capital there were events; the first is centred on north."""
    events, near = inputs.reported, _within(inputs, NEAR)
    capital = inputs.capitals[events.row[near]]
    bearing = geography.bearing(capital[:, 0], capital[:, 1], events.latitude[near], events.longitude[near])
    sector = (bearing + 180 / SECTORS) % 360 // (360 / SECTORS)  # an event at the very capital lies in no direction
    monthly = [events.count(near[sector == direction]) for direction in range(SECTORS)]
    hit = sum((windows.total(seen, months) > 0).astype(np.float64) for seen in monthly)
    return np.where(windows.throughout(events.told, months), hit, np.nan)


def _on_new_ground(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.once(_new_ground), months))


def _new_ground(inputs: Inputs) -> Rectangle:
    events = inputs.reported
    known = windows.throughout(events.told, QUIET + 1)
    return np.where(known, events.count(_first_around(inputs, known)), np.nan)


def _first_around(inputs: Inputs, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether an event of some country-months is the first within `AROUND` km for `QUIET` months in its country.

    Nothing located happened so near on an earlier day, from the first day of the month `QUIET` months before on.
    """
    events = inputs.reported
    located = np.flatnonzero(events.located)
    by_country = located[np.argsort(events.row[located], kind="stable")]  # and by day, as events are
    row, column, day = (each[by_country] for each in (events.row, events.column, events.day))
    since = (inputs.months[column] - QUIET).astype("datetime64[D]").astype(np.int64)
    candidates = cells[row, column] & _first_in_cell(events, by_country, since)

    vectors = geography.unit_vectors(events.latitude[by_country], events.longitude[by_country])
    nearest = 1 - geography.chord(AROUND) ** 2 / 2  # the cosine of the angle
    calendar = day.max(initial=0) - day.min(initial=0) + 40 * QUIET
    clock = row * calendar + day  # rises along `by_country`
    places = np.flatnonzero(candidates)
    starts = np.searchsorted(clock, row[places] * calendar + since[places])
    ends = np.searchsorted(clock, clock[places])  # a day's own events are no earlier ones
    first = np.zeros(events.row.size, dtype=bool)
    for month in np.split(np.arange(places.size), np.flatnonzero(np.diff(starts)) + 1):
        if month.size:
            before = slice(starts[month[0]], ends[month[-1]])
            near = vectors[places[month]] @ vectors[before].T >= nearest
            near &= np.arange(before.start, before.stop) < ends[month, None]
            first[by_country[places[month]]] = ~near.any(axis=1)
    return first


def _first_in_cell(events: Events, order: Places, since: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether no earlier event since a day lies in the same cell of a grid: few do not, and only they can be first."""
    north, east = (np.floor(degrees[order] / _CELL).astype(np.int64) for degrees in (events.latitude, events.longitude))
    cell, day = (events.row[order] * 1024 + north) * 1024 + east, events.day[order]
    sorting = np.lexsort((day, cell))
    cell, day = cell[sorting], day[sorting]
    new_day = np.r_[True, (cell[1:] != cell[:-1]) | (day[1:] != day[:-1])][: cell.size]
    opening = np.maximum.accumulate(np.where(new_day, np.arange(cell.size), 0))  # the first event of that cell and day
    last = opening - 1
    visited = (opening > 0) & (cell[last] == cell) & (day[last] >= since[sorting])
    free = np.empty(cell.size, dtype=bool)
    free[sorting] = ~visited
    return free


def _key_events(inputs: Inputs, row: int, column: int) -> Places:
    """The located events of the last 12 months: nearest ring first, then those at sites, then others; newest first."""
    events = inputs.reported
    chosen = np.flatnonzero(events.recent(row, column, YEAR) & events.located)
    ring = np.searchsorted(RINGS, _distance(inputs, chosen))
    at_site = np.isin(chosen, sites.touching(inputs, chosen)[0])
    rank = np.where(ring < len(RINGS), ring, np.where(at_site, len(RINGS), len(RINGS) + 1))
    return chosen[np.lexsort((-events.deaths[chosen], -events.day[chosen], rank))][:MAX_KEY_EVENTS]


declare = partial(Indicator, family=NAME, missing=UNKNOWN, inputs=("events",), literature=(GEOGRAPHY, GED))

_SITES = {
    "airport": ("an airport", "d’un aéroport", NO_AIRPORT),
    "town": (
        "the centre of a town of 50,000 or more inhabitants",
        "du centre d’une ville d’au moins 50 000 habitants",
        NO_TOWN,
    ),
}

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"capital_events_{within}km_{months}m",
            unit="log(1 + events)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Located events within {within} km of the capital over {last(months, 'en')}",
                "fr": f"Événements localisés dans un rayon de {within} km autour de la capitale "
                f"sur {last(months, 'fr')}",
            },
            scale="log1p",
            compute=partial(_events, within=within, months=months),
        )
        for within, months in ((NEAR, 12), (NEAR, 3), (100, 12), (50, 12), (25, 12))
    ),
    *(
        declare(
            name=f"capital_deaths_{within}km_12m",
            unit="log(1 + deaths)",
            window=12,
            direction=+1,
            meaning={
                "en": f"Deaths in located events within {within} km of the capital over the last 12 months",
                "fr": f"Morts lors d’événements localisés dans un rayon de {within} km autour de la capitale "
                "sur les 12 derniers mois",
            },
            scale="log1p",
            compute=partial(_deaths, within=within, months=12),
        )
        for within in reversed(RINGS)
    ),
    declare(
        name="capital_share_12m",
        unit="share of located events",
        window=12,
        direction=+1,
        meaning={
            "en": f"Share of located events that lie within {NEAR} km of the capital over the last 12 months",
            "fr": f"Part des événements localisés situés dans un rayon de {NEAR} km autour de la capitale "
            "sur les 12 derniers mois",
        },
        missing=NONE_LOCATED,
        scale="share",
        compute=partial(_share, within=NEAR, months=12),
    ),
    declare(
        name="capital_median_12m",
        unit="km",
        window=12,
        direction=-1,
        meaning={
            "en": "Median distance of located events from the capital over the last 12 months",
            "fr": "Distance médiane entre les événements localisés et la capitale sur les 12 derniers mois",
        },
        missing=NONE_LOCATED,
        compute=lambda inputs: inputs.once(_median),
    ),
    declare(
        name="capital_median_change_12m",
        unit="km",
        window=24,
        direction=-1,
        meaning={
            "en": "Median distance of located events from the capital over the last 12 months against the 12 before",
            "fr": "Distance médiane entre les événements localisés et la capitale sur les 12 derniers mois, comparée "
            "aux 12 précédents",
        },
        missing=NONE_BEFORE,
        compute=_median_change,
    ),
    declare(
        name="capital_centre_12m",
        unit="km",
        window=12,
        direction=-1,
        meaning={
            "en": "Distance from the capital to the centre of deaths in located events over the last 12 months",
            "fr": "Distance entre la capitale et le centre de gravité des morts lors d’événements localisés "
            "sur les 12 derniers mois",
        },
        missing=NO_DEATHS,
        compute=partial(_centre, months=12),
    ),
    declare(
        name="capital_centre_change_12m",
        unit="km a year",
        window=24,
        direction=-1,
        meaning={
            "en": "Distance from the capital to the centre of deaths in located events over the last 12 months against "
            "the 12 before",
            "fr": "Distance entre la capitale et le centre de gravité des morts lors d’événements localisés sur les 12 "
            "derniers mois, comparée aux 12 précédents",
        },
        missing=NO_DEATHS_BEFORE,
        compute=_centre_change,
    ),
    declare(
        name="capital_sectors_12m",
        unit=f"directions, of {SECTORS}",
        window=12,
        direction=+1,
        meaning={
            "en": f"Directions (of {SECTORS}) from the capital with located events within {NEAR} km over the last 12 "
            "months",
            "fr": f"Directions (sur {SECTORS}) autour de la capitale où des événements sont localisés dans un rayon de "
            f"{NEAR} km sur les 12 derniers mois",
        },
        compute=partial(_sectors, months=12),
    ),
    *(
        declare(
            name=f"{kind}_events_{months}m",
            unit="log(1 + events)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Located events within {AT_SITE} km of {english} over {last(months, 'en')}",
                "fr": f"Événements localisés à {AT_SITE} km au plus {french} sur {last(months, 'fr')}",
            },
            missing=missing,
            literature=(TOWNS, GED),
            scale="log1p",
            compute=partial(sites.at_sites, kind=kind, months=months),
        )
        for kind, (english, french, missing) in _SITES.items()
        for months in (3, 12)
    ),
    declare(
        name="sites_touched_12m",
        unit="log(1 + sites)",
        window=12,
        direction=+1,
        meaning={
            "en": f"Airports and towns of 50,000 or more with a located event within {AT_SITE} km over the last 12 "
            "months",
            "fr": f"Aéroports et villes d’au moins 50 000 habitants ayant connu un événement localisé à {AT_SITE} km "
            f"au plus sur les 12 derniers mois",
        },
        missing=NO_SITE,
        literature=(TOWNS, GED),
        scale="log1p",
        compute=partial(sites.touched, months=12),
    ),
    declare(
        name="sites_at_once_12m",
        unit="log(1 + days)",
        window=12,
        direction=+1,
        meaning={
            "en": f"Days with located events at airports or larger towns {APART} km or more apart, exact days only, "
            f"over the last 12 months",
            "fr": f"Jours comptant des événements localisés près d’aéroports ou de grandes villes distants d’au moins "
            f"{APART} km, dates exactes seulement, sur les 12 derniers mois",
        },
        missing=NO_SITE,
        literature=(TOWNS, GED),
        scale="log1p",
        compute=partial(sites.several_at_once, months=12),
    ),
    *(
        declare(
            name=f"new_ground_{months}m",
            unit="log(1 + events)",
            window=QUIET + months,
            direction=+1,
            meaning={
                "en": f"Located events that were the first within {AROUND} km for {QUIET} months, "
                f"over {last(months, 'en')}",
                "fr": f"Événements localisés qui étaient les premiers depuis {QUIET} mois dans un rayon de {AROUND} "
                f"km, sur {last(months, 'fr')}",
            },
            literature=(DIFFUSION, VIEWS),
            scale="log1p",
            compute=partial(_on_new_ground, months=months),
        )
        for months in (3, 12)
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Capital and sites", "fr": "Capitale et sites"},
    theme={
        "en": "Violence nearing the capital, airports and larger towns, or ground that it had not touched",
        "fr": "La violence qui s’approche de la capitale, des aéroports et des grandes villes, ou gagne des zones "
        "jusque-là épargnées",
    },
    headline=("capital_events_250km_12m", "capital_share_12m", "capital_events_25km_12m", "capital_median_12m"),
    indicators=INDICATORS,
    key_events=_key_events,
)
