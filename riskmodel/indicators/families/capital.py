"""The family `capital`: violence near the capital, airports and larger towns, and violence on new ground.

An event is at its coordinate and counts on its first day. An event placed less precisely than its second-order unit is
left out, because UCDP gives it the centre of a larger area. `riskmodel.geography` has the airports and towns.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography, windows
from riskmodel.indicators import new_ground, site_events
from riskmodel.indicators.declaration import (
    DIFFUSION,
    EVENTS_NOT_COVERED,
    GED,
    MAX_KEY_EVENTS,
    VIEWS,
    Citation,
    Declarations,
    Family,
    Indicator,
    Text,
    either,
    last_months,
    signals_of,
)
from riskmodel.indicators.inputs import Indices, Inputs
from riskmodel.indicators.site_events import SEPARATE_SITES, SITE_RADIUS
from riskmodel.windows import YEAR, Rectangle

NAME = "capital"

RINGS = (25, 50, 100, 250)  # [km] from the capital
NEAR = RINGS[-1]
SECTORS = 8

_MARGIN = 1e-6
"""Added to the bounding box of a ring, so that rounding excludes no event inside the ring [degrees]."""
_GRAIN = 2.0**-28
"""Coordinates are rounded to this part of the Earth's radius (2 cm), so that sums are exact in any order."""

GEOGRAPHY = Citation(
    "Buhaug & Gates (2002), The Geography of Civil War, JPR 39(4): 417-433", "10.1177/0022343302039004003"
)
TOWNS = Citation(
    "Raleigh & Hegre (2009), Population size, concentration, and civil war: A geographically disaggregated analysis, "
    "Political Geography 28(4): 224-238",
    "10.1016/j.polgeo.2009.05.007",
)


def _of_located(reason: Text) -> Text:
    """A reason why a value is absent, with a note on the events that count."""
    return {
        "en": f"{reason['en']}; only located events count (UCDP's where_prec 3 or better), each on its first day",
        "fr": f"{reason['fr']} ; seuls comptent les événements localisés (where_prec d’UCDP de 3 ou moins), chacun à "
        "son premier jour",
    }


def _not_covered_or(en: str, fr: str) -> Text:
    return _of_located(either(EVENTS_NOT_COVERED, en, fr))


NOT_COVERED = _of_located(EVENTS_NOT_COVERED)
NO_EVENTS = _not_covered_or("no located event in the window", "aucun événement localisé dans la fenêtre")
NO_EVENTS_IN_A_YEAR = _not_covered_or(
    "no located event in one of the two years", "aucun événement localisé dans l’une des deux années"
)
NO_DEATHS = _not_covered_or(
    "no deaths in located events of the window", "aucun mort dans les événements localisés de la fenêtre"
)
NO_DEATHS_IN_A_YEAR = _not_covered_or(
    "no deaths in located events of one of the two years",
    "aucun mort dans les événements localisés de l’une des deux années",
)
NO_AIRPORT = _not_covered_or("no airport of the country is known", "aucun aéroport connu dans le pays")
NO_TOWN = _not_covered_or(
    "no town of 50,000 or more is known in the country", "aucune ville connue d’au moins 50 000 habitants dans le pays"
)
NO_SITE = _not_covered_or("no such site of the country is known", "aucun site de ce genre connu dans le pays")


def _distance(inputs: Inputs, chosen: Indices | slice = slice(None)) -> NDArray[np.float64]:
    """The distance of events from their country's capital [km]; NaN where they are not located."""
    events = inputs.required_events
    capital = inputs.capitals[events.row[chosen]]
    km = geography.distance(events.latitude[chosen], events.longitude[chosen], capital[:, 0], capital[:, 1])
    return np.where(events.located[chosen], km, np.nan)


def _in_widest_ring(inputs: Inputs) -> tuple[Indices, NDArray[np.float64]]:
    """The located events within the widest ring, and their distance from the capital [km].

    A bounding box excludes most events before any distance is computed.
    """
    events, capitals = inputs.required_events, inputs.capitals
    widest = max(RINGS) / geography.EARTH_RADIUS
    north = np.degrees(widest) + _MARGIN
    east = np.degrees(np.arcsin(np.minimum(np.sin(widest) / np.cos(np.radians(capitals[:, 0])), 1.0))) + _MARGIN
    chosen = np.flatnonzero(events.located & (np.abs(events.latitude - capitals[:, 0][events.row]) <= north))
    row = events.row[chosen]
    degrees_east = np.abs(events.longitude[chosen] - capitals[row, 1])
    chosen = chosen[np.minimum(degrees_east, 360 - degrees_east) <= east[row]]
    km = _distance(inputs, chosen)
    inside = km <= max(RINGS)
    return chosen[inside], km[inside]


def _within(inputs: Inputs, ring: int) -> Indices:
    chosen, km = inputs.cached(_in_widest_ring)
    return chosen[km <= ring]


def _events(inputs: Inputs, *, within: int, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.required_events.count(_within(inputs, within)), months))


def _deaths(inputs: Inputs, *, within: int, months: int) -> Rectangle:
    events = inputs.required_events
    return np.log1p(windows.total(events.count(_within(inputs, within), events.deaths), months))


def _share(inputs: Inputs, *, within: int, months: int) -> Rectangle:
    events = inputs.required_events
    near = windows.total(events.count(_within(inputs, within)), months)
    return windows.ratio(near, windows.total(events.count(events.located), months))


def _median(inputs: Inputs) -> Rectangle:
    """The median distance from the capital of the events of the last year [km]."""
    events = inputs.required_events
    km, months = inputs.cached(_distance), events.covered.shape[1]
    order = np.argsort(km, kind="stable")[: np.count_nonzero(events.located)]
    if not order.size:
        return np.full(events.covered.shape, np.nan)
    row, column, rank = events.row[order], events.column[order], np.arange(order.size)
    # List each event once for every window that it belongs to, as one number of window and rank. Sorted, each window
    # is a run of ranks, and the middle of the run is the median.
    entries = [((row * months + column + age) * order.size + rank)[column + age < months] for age in range(YEAR)]
    listed = np.sort(np.concatenate(entries))
    size = np.bincount(listed // order.size, minlength=events.covered.size)
    start, filled = np.cumsum(size) - size, np.flatnonzero(size)
    middle = [km[order[listed[(start + (size - 1 + more) // 2)[filled]] % order.size]] for more in (0, 1)]
    median = np.full(events.covered.size, np.nan)
    median[filled] = (middle[0] + middle[1]) / 2
    return np.where(windows.throughout(events.covered, YEAR), median.reshape(events.covered.shape), np.nan)


def _centre(inputs: Inputs, *, months: int) -> Rectangle:
    """The distance from the capital to the centre of deaths, the mean of their places as unit vectors [km]."""
    events = inputs.required_events
    vectors = np.rint(geography.unit_vectors(events.latitude, events.longitude) / _GRAIN) * _GRAIN
    x, y, z = (windows.total(events.count(events.located, events.deaths * axis), months) for axis in vectors.T)
    latitude, longitude = np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
    capital = inputs.capitals
    km = geography.distance(latitude, longitude, capital[:, :1], capital[:, 1:])
    return np.where(windows.total(events.count(events.located, events.deaths), months) > 0, km, np.nan)


def _cached_median(inputs: Inputs) -> Rectangle:
    return inputs.cached(_median)


def _median_change(inputs: Inputs) -> Rectangle:
    return windows.change(inputs.cached(_median), YEAR)


def _centre_change(inputs: Inputs) -> Rectangle:
    return windows.change(_centre(inputs, months=YEAR), YEAR)


def _sectors(inputs: Inputs, *, months: int) -> Rectangle:
    """The number of directions from the capital, of eight, with events; the first is centred on north."""
    events, near = inputs.required_events, _within(inputs, NEAR)
    capital = inputs.capitals[events.row[near]]
    bearing = geography.bearing(capital[:, 0], capital[:, 1], events.latitude[near], events.longitude[near])
    sector = (
        (bearing + 180 / SECTORS) % 360 // (360 / SECTORS)
    )  # NaN, so no sector, for an event at the capital's point
    monthly = [events.count(near[sector == direction]) for direction in range(SECTORS)]
    number = sum((windows.total(counts, months) > 0).astype(np.float64) for counts in monthly)
    return np.where(windows.throughout(events.covered, months), number, np.nan)


def _events_behind(inputs: Inputs, row: int, column: int, *, within: int, months: int) -> Indices:
    events = inputs.required_events
    recent = events.of_months(column, months)
    return np.intersect1d(recent[events.row[recent] == row], _within(inputs, within), assume_unique=True)


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The located events of the last 12 months: nearest ring first, then those at sites, then others; newest first."""
    events = inputs.required_events
    recent = np.flatnonzero(events.recent(row, column, YEAR) & events.located)
    ring = np.searchsorted(RINGS, _distance(inputs, recent))
    at_site = np.isin(recent, site_events.events_at_sites(inputs, recent)[0])
    rank = np.where(ring < len(RINGS), ring, np.where(at_site, len(RINGS), len(RINGS) + 1))
    return recent[np.lexsort((-events.deaths[recent], -events.day[recent], rank))][:MAX_KEY_EVENTS]


declare = Declarations(NAME, missing=NOT_COVERED, literature=(GEOGRAPHY, GED), inputs=("events",), direction=+1)

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
        declare.log_count(
            f"capital_events_{within}km_{months}m",
            "events",
            window=months,
            en=f"Located events within {within} km of the capital over {last_months(months, 'en')}",
            fr=f"Événements localisés dans un rayon de {within} km autour de la capitale "
            f"sur {last_months(months, 'fr')}",
            compute=partial(_events, within=within, months=months),
            signal=signals_of(months, partial(_events_behind, within=within)),
        )
        for within, months in ((NEAR, 12), (NEAR, 3), (100, 12), (50, 12), (25, 12))
    ),
    *(
        declare.log_count(
            f"capital_deaths_{within}km_12m",
            "deaths",
            window=12,
            en=f"Deaths in located events of all types within {within} km of the capital over the last 12 months",
            fr=f"Morts lors d’événements localisés de tous types dans un rayon de {within} km autour de la capitale "
            "sur les 12 derniers mois",
            compute=partial(_deaths, within=within, months=12),
        )
        for within in reversed(RINGS)
    ),
    declare.share(
        "capital_share_12m",
        "located events",
        window=12,
        en=f"Share of located events that lie within {NEAR} km of the capital over the last 12 months",
        fr=f"Part des événements localisés situés dans un rayon de {NEAR} km autour de la capitale "
        "sur les 12 derniers mois",
        compute=partial(_share, within=NEAR, months=12),
        missing=NO_EVENTS,
    ),
    declare.value(
        "capital_median_12m",
        "km",
        window=12,
        en="Median distance of located events from the capital over the last 12 months",
        fr="Distance médiane entre les événements localisés et la capitale sur les 12 derniers mois",
        compute=_cached_median,
        direction=-1,
        missing=NO_EVENTS,
    ),
    declare.value(
        "capital_median_change_12m",
        "km",
        window=24,
        en="Median distance of located events from the capital over the last 12 months against the 12 before",
        fr="Distance médiane entre les événements localisés et la capitale sur les 12 derniers mois, comparée "
        "aux 12 précédents",
        compute=_median_change,
        direction=-1,
        missing=NO_EVENTS_IN_A_YEAR,
    ),
    declare.value(
        "capital_centre_12m",
        "km",
        window=12,
        en="Distance from the capital to the centre of deaths in located events over the last 12 months",
        fr="Distance entre la capitale et le centre de gravité des morts lors d’événements localisés "
        "sur les 12 derniers mois",
        compute=partial(_centre, months=12),
        direction=-1,
        missing=NO_DEATHS,
    ),
    declare.value(
        "capital_centre_change_12m",
        "km a year",
        window=24,
        en="Distance from the capital to the centre of deaths in located events over the last 12 months against "
        "the 12 before",
        fr="Distance entre la capitale et le centre de gravité des morts lors d’événements localisés sur les 12 "
        "derniers mois, comparée aux 12 précédents",
        compute=_centre_change,
        direction=-1,
        missing=NO_DEATHS_IN_A_YEAR,
    ),
    declare.value(
        "capital_sectors_12m",
        f"directions, of {SECTORS}",
        window=12,
        en=f"Directions (of {SECTORS}) from the capital with located events within {NEAR} km over the last 12 months",
        fr=f"Directions (sur {SECTORS}) autour de la capitale où des événements sont localisés dans un rayon de "
        f"{NEAR} km sur les 12 derniers mois",
        compute=partial(_sectors, months=12),
        signal=signals_of(12, partial(_events_behind, within=NEAR), minimum=2),
    ),
    *(
        declare.log_count(
            f"{kind}_events_{months}m",
            "events",
            window=months,
            en=f"Located events within {SITE_RADIUS} km of {english} over {last_months(months, 'en')}",
            fr=f"Événements localisés à {SITE_RADIUS} km au plus {french} sur {last_months(months, 'fr')}",
            compute=partial(site_events.log_events_at_sites, kind=kind, months=months),
            missing=missing,
            literature=(TOWNS, GED),
        )
        for kind, (english, french, missing) in _SITES.items()
        for months in (3, 12)
    ),
    declare.log_count(
        "sites_touched_12m",
        "sites",
        window=12,
        en=f"Airports and towns of 50,000 or more with a located event within {SITE_RADIUS} km over the last 12 months",
        fr=f"Aéroports et villes d’au moins 50 000 habitants ayant connu un événement localisé à {SITE_RADIUS} km "
        f"au plus sur les 12 derniers mois",
        compute=partial(site_events.log_sites_with_events, months=12),
        missing=NO_SITE,
        literature=(TOWNS, GED),
    ),
    declare.log_count(
        "sites_at_once_12m",
        "days",
        window=12,
        en=f"Days with located events at airports or larger towns {SEPARATE_SITES} km or more apart, exact days only, "
        f"over the last 12 months",
        fr=f"Jours comptant des événements localisés près d’aéroports ou de grandes villes distants d’au moins "
        f"{SEPARATE_SITES} km, dates exactes seulement, sur les 12 derniers mois",
        compute=partial(site_events.log_days_at_several_sites, months=12),
        missing=NO_SITE,
        literature=(TOWNS, GED),
    ),
    *(
        declare.log_count(
            f"new_ground_{months}m",
            "events",
            window=new_ground.QUIET_MONTHS + months,
            en=f"Located events that were the first within {new_ground.RADIUS} km for {new_ground.QUIET_MONTHS} "
            f"months, over {last_months(months, 'en')}",
            fr=f"Événements localisés qui étaient les premiers depuis {new_ground.QUIET_MONTHS} mois dans un rayon de "
            f"{new_ground.RADIUS} km, sur {last_months(months, 'fr')}",
            compute=partial(new_ground.log_events_on_new_ground, months=months),
            literature=(DIFFUSION, VIEWS),
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
