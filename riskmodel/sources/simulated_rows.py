"""The rows of simulated events in UCDP's official layout: who, where, when and whose deaths.

Every row is computed from the simulated history and from uniform numbers of its own, so that later events never change
the rows of earlier ones.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.months import Months
from riskmodel.sources.ucdp_layout import GED_COLUMNS

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Texts: TypeAlias = NDArray[np.object_]

SITES = 24
"""Sites per country, the capital apart."""
REGION_SITES = 4
"""Sites per first-order unit."""
MOST_GROUPS = 99
"""The largest number of armed groups in a country."""
CIVILIANS = MOST_GROUPS + 1
"""The number of the civilians among a country's actors; the government is 0."""
UCDP_CIVILIANS = 1
"""UCDP's actor number of civilians."""
FIRST_ID = 900_000_001

_WORDS = (
    *("Alder", "Amber", "Aster", "Basalt", "Cedar", "Cobalt", "Comet", "Copper"),
    *("Coral", "Fern", "Garnet", "Heron", "Indigo", "Juniper", "Larch", "Lichen"),
    *("Marble", "Meteor", "Onyx", "Osprey", "Quartz", "Saffron", "Slate", "Thistle"),
)
_GROUP_KINDS = ("Front", "League", "Column", "Movement", "Pact")
_SITE_KINDS = ("Ford", "Hill", "Wells", "Cross", "Mill", "Bend", "Market")

# UCDP's five regions, by country number.
_UCDP_REGIONS = np.array(["Americas", "Europe", "Africa", "Middle East", "Asia"], dtype=object)
_UCDP_ENDS = np.array([200, 400, 630, 700])

# Shares as in UCDP GED, roughly. Each row is cumulative, and a uniform number selects a position in it.
_TYPE = np.array([0.62, 0.79, 1.0])
_DATE_PREC = np.array([0.87, 0.96, 0.967, 0.99, 1.0])
_WHERE_PREC = np.array([0.48, 0.70, 0.85, 0.93, 0.985, 0.998, 1.0])
_SOURCES = np.array([0.68, 0.85, 0.93, 0.97, 0.99, 1.0])
# Shares of the deaths of side a, side b, civilians and unknown, by type of violence.
_SHARES = np.array([[0.28, 0.42, 0.12, 0.18], [0.38, 0.38, 0.06, 0.18], [0.0, 0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Countries:
    """The prone countries. Arrays of shape (country,) or (country, site); site 0 is the capital [degrees]."""

    gw: Ints
    iso3: Texts
    names: Texts
    capitals: Texts
    borders: Floats
    onset: Floats
    end: Floats
    level: Floats
    since: Months
    latitude: Floats
    longitude: Floats


class Events(NamedTuple):
    """The simulated events in order of time, one entry each; `country` is the position in `Countries`.

    `groups` is how many groups the country has had by then, `active` how many of the latest fight. `focus` is the site
    where they fight most.
    """

    when: Months
    country: Ints
    best: Ints
    groups: Ints
    active: Ints
    focus: Ints


class UniformNumbers(NamedTuple):
    """The uniform numbers of each event, by what they decide; shape (event,) each."""

    kind: Floats
    first: Floats
    attacker: Floats
    site: Floats
    capital: Floats
    where_prec: Floats
    north: Floats
    east: Floats
    date_prec: Floats
    length: Floats
    day: Floats
    split: Floats
    is_low: Floats
    low: Floats
    is_high: Floats
    high: Floats
    sources: Floats
    clarity: Floats


def event_rows(countries: Countries, events: Events, draws: UniformNumbers) -> pa.Table:
    """Return UCDP's 49 columns, one row per event."""
    ids = FIRST_ID + np.arange(len(events.when))
    kind = 1 + _select(_TYPE, draws.kind)
    country = _take_names(countries.names, events.country)
    columns = (
        {
            "id": ids,
            "code_status": _repeat("Clear", len(ids)),
            "type_of_violence": kind,
            "number_of_sources": 1 + _select(_SOURCES, draws.sources),
            "source_article": _join("SIMULATED report on event ", ids, " (there is no such source)"),
            "source_office": _repeat("SIMULATED newsroom", len(ids)),
            "source_headline": _join("SIMULATED violence in ", country),
            "source_original": _repeat("SIMULATED witness", len(ids)),
            "country": country,
            "country_id": countries.gw[events.country],
            "region": _take_names(
                _UCDP_REGIONS, np.searchsorted(_UCDP_ENDS, countries.gw, side="right")[events.country]
            ),
            "event_clarity": np.where(draws.clarity < 0.06, 2, 1),
        }
        | _sides(countries, events, kind, draws)
        | _place(countries, events, draws)
        | _dates(events, draws)
        | _deaths(events, kind, draws)
    )
    return pa.table([columns[name] for name in GED_COLUMNS], names=list(GED_COLUMNS))


def _sides(countries: Countries, events: Events, kind: Ints, draws: UniformNumbers) -> dict[str, Any]:
    """Return the columns of the two sides. Actor 0 is the government, `CIVILIANS` the civilians, others are groups."""
    first = events.groups - (events.active * draws.first**1.5).astype(np.int64)
    rival = np.where(first > 1, first - 1, 2)
    attacker = np.where(draws.attacker < 0.25, 0, first)
    a = np.choose(kind - 1, [np.zeros_like(first), np.minimum(first, rival), attacker])
    b = np.choose(kind - 1, [first, np.maximum(first, rival), np.full_like(first, CIVILIANS)])

    by_country = zip(countries.gw, countries.iso3, countries.names, strict=True)
    names = np.array([_actor_names(*country) for country in by_country], dtype=object)
    side_a, side_b = (_take_names(names.ravel(), events.country * names.shape[1] + side) for side in (a, b))
    gw = countries.gw[events.country]
    actor = 9_000_000 + 1000 * gw
    dyad = 100_000 * (1000 * kind + gw) + 1000 * a + b
    conflict = np.where(kind == 1, 100_000 * (1000 * kind + gw), dyad)
    dyad_name = _join(side_a, " - ", side_b)
    government = _join("SIMULATED ", _take_names(countries.names, events.country), ": Government")

    year = events.when.astype("datetime64[Y]").astype(np.int64) + 1970
    in_year = dyad * 10_000 + year
    ids = {
        "conflict": conflict,
        "dyad": dyad,
        "side_a": actor + a,
        "side_b": np.where(b == CIVILIANS, UCDP_CIVILIANS, actor + b),
    }
    return (
        {f"{name}_new_id": number for name, number in ids.items()}
        | {f"{name}_dset_id": _join("SIM", number) for name, number in ids.items()}
        | {
            "relid": _join(
                *(_take_names(countries.iso3, events.country), "-", year, "-", kind, "-", dyad, "-"),
                _running_sum(in_year, np.ones_like(kind)),
            ),
            "year": year,
            # UCDP's threshold of 25 deaths a year, applied to the deaths so far: the rest of the year is not known yet.
            "active_year": (_running_sum(in_year, events.best) >= 25).astype(np.int64),
            "conflict_name": pc.if_else(pa.array(kind == 1), government, dyad_name),
            "dyad_name": dyad_name,
            "side_a": side_a,
            "side_b": side_b,
            "gwnoa": pa.array(gw, mask=a > 0),
            "gwnob": pa.nulls(len(kind), pa.int64()),
        }
    )


def _actor_names(gw: int, iso3: str, country: str) -> list[str]:
    """Return the names of a country's actors: government, groups 1 to `MOST_GROUPS`, civilians."""
    groups = []
    for number in range(1, MOST_GROUPS + 1):
        word, kind = _WORDS[(5 * number + gw) % len(_WORDS)], _GROUP_KINDS[(number + gw) % len(_GROUP_KINDS)]
        groups.append(f"SIMULATED {word} {kind} {iso3}-{number}")
    return [f"SIMULATED Government of {country}", *groups, "SIMULATED civilians"]


def _place(countries: Countries, events: Events, draws: UniformNumbers) -> dict[str, Any]:
    """Return the columns of the place, as precise as `where_prec` says: site, district, region or country."""
    country = events.country
    site = 1 + (events.focus + (SITES * draws.site**2.5).astype(np.int64)) % SITES
    site = np.where(draws.capital < 0.03, 0, site)
    region = (site + REGION_SITES - 1) // REGION_SITES
    where_prec = 1 + _select(_WHERE_PREC, draws.where_prec)
    latitude, longitude = (
        np.select(
            [where_prec <= 3, where_prec <= 5],
            [
                values[country, site] + np.where(where_prec == 2, 0.3, 0) * (draw - 0.5),
                _by_region(values)[country, region],
            ],
            values.mean(axis=1)[country],
        ).round(4)
        for values, draw in ((countries.latitude, draws.north), (countries.longitude, draws.east))
    )
    sites = np.array([_site_names(*entry) for entry in enumerate(countries.capitals)], dtype=object)
    regions = ["SIMULATED capital region", *(f"SIMULATED region {n + 1}" for n in range(SITES // REGION_SITES))]
    site_names = _take_names(sites.ravel(), country * sites.shape[1] + site)
    adm_1 = _take_names(np.array(regions, dtype=object), region)
    adm_2 = _join("SIMULATED district of ", pc.utf8_slice_codeunits(site_names, len("SIMULATED ")))
    somewhere = _join("SIMULATED: somewhere in ", _take_names(countries.names, country))
    levels = pa.array(np.digitize(where_prec, [3, 4, 6]))
    return {
        "where_prec": where_prec,
        "where_coordinates": pc.choose(levels, site_names, adm_2, adm_1, somewhere),
        "where_description": _join("SIMULATED, precision ", where_prec, " of 7"),
        "adm_1": pc.if_else(pa.array(where_prec < 6), adm_1, None),
        "adm_2": pc.if_else(pa.array(where_prec < 4), adm_2, None),
        "latitude": latitude,
        "longitude": longitude,
        "geom_wkt": _join("POINT (", longitude, " ", latitude, ")"),
        "priogrid_gid": priogrid(latitude, longitude),
    }


def _site_names(position: int, capital: str) -> list[str]:
    """Return the names of a country's sites, the capital first."""
    names = [f"SIMULATED {capital} outskirts"]
    for site in range(SITES):
        word = _WORDS[(7 * position + site) % len(_WORDS)]
        names.append(f"SIMULATED {word} {_SITE_KINDS[(position + 3 * site) % len(_SITE_KINDS)]}")
    return names


def _by_region(values: Floats) -> Floats:
    """Return the mean of each region, the capital's first; (country, site) to (country, region)."""
    means = values[:, 1:].reshape(len(values), -1, REGION_SITES).mean(axis=2)
    return np.hstack([values[:, :1], means])


def priogrid(latitude: Floats, longitude: Floats) -> Ints:
    """Return the PRIO-GRID cell of places [degrees, WGS 84]: half-degree cells by row from the south-west, from 1.

    Tollefsen, Strand & Buhaug 2012, doi:10.1177/0022343311431287.
    """
    row, column = np.floor(2 * (latitude + 90)), np.floor(2 * (longitude + 180))
    return (720 * row + column + 1).astype(np.int64)


def _dates(events: Events, draws: UniformNumbers) -> dict[str, Any]:
    """Return the columns of the time. An event stays within its month: the newest month has no dates after it."""
    first = events.when.astype("datetime64[D]")
    days = ((events.when + 1).astype("datetime64[D]") - first).astype(np.int64)
    date_prec = 1 + _select(_DATE_PREC, draws.date_prec)
    days_of_week, weeks = 1 + np.floor(5 * draws.length), 7 + np.floor((days - 7) * draws.length**0.3)
    length = np.choose(date_prec - 1, [np.zeros_like(days), days_of_week, 6, weeks, days - 1])
    start = first + np.floor((days - length) * draws.day).astype(np.int64)
    end = start + length.astype(np.int64)
    return {
        "date_prec": date_prec,
        "date_start": _join(start.astype(str), " 00:00:00.000"),
        "date_end": _join(end.astype(str), " 00:00:00.000"),
        "source_date": pa.array(end.astype(str)),
    }


def _deaths(events: Events, kind: Ints, draws: UniformNumbers) -> dict[str, Any]:
    """Return the columns of deaths: low ≤ best ≤ high, and the four parts sum to best."""
    best = events.best
    # Cutting the line of deaths at the shares with one random offset keeps the parts integers and their sum exact.
    cuts = np.floor(best[:, None] * np.cumsum(_SHARES, axis=1)[kind - 1, :3] + draws.split[:, None]).astype(np.int64)
    parts = np.diff(np.column_stack([np.zeros_like(best), cuts, best]), axis=1)
    higher = best + 1 + np.floor((1 + 0.5 * best) * -np.log1p(-draws.high)).astype(np.int64)
    return {
        "deaths_a": parts[:, 0],
        "deaths_b": parts[:, 1],
        "deaths_civilians": parts[:, 2],
        "deaths_unknown": parts[:, 3],
        "best": best,
        "high": np.where((best == 0) | (draws.is_high < 0.15), higher, best),
        "low": np.where(draws.is_low < 0.06, np.floor(best * draws.low).astype(np.int64), best),
    }


def _running_sum(key: Ints, values: Ints) -> Ints:
    """Return the running sum of the values that share a key, the row's own included."""
    order = np.argsort(key, kind="stable")
    total = np.cumsum(values[order])
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    before = np.repeat((total - values[order])[starts], np.diff(starts, append=len(key)))
    running = np.empty_like(total)
    running[order] = total - before
    return running


def _select(cumulative: Floats, uniform: Floats) -> Ints:
    """Return the position in a row of cumulative shares that each uniform number selects."""
    return np.searchsorted(cumulative, uniform, side="right")


def _take_names(names: Texts, positions: Ints) -> Any:
    """Return names by their position in a list, as an Arrow array."""
    return pa.array(names).take(pa.array(positions))


def _repeat(text: str, rows: int) -> Any:
    """Return one text in every row."""
    return pa.repeat(text, rows)


def _join(*parts: Any) -> Any:
    """Join texts row by row; numbers are written as the CSV writes them."""
    texts = (part if isinstance(part, str) else pc.cast(pa.array(part), pa.string()) for part in parts)
    return pc.binary_join_element_wise(*texts, "")
