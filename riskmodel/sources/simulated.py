"""The simulator: an archive of invented conflict in UCDP's official layout, for a home that holds no real events yet.

Places are real; groups, sites and deaths are not, and every name and text says SIMULATED. It knows geography and the
layout, never the archive, the models or how the file is read.

Each country is at peace or at war. Peace ends by chance, sooner where neighbours fight (diffusion) or where fighting is
fresh; in war the log of monthly deaths returns to the country's usual level, is excited by the deaths of past months
(Hawkes 1971, doi:10.1093/biomet/58.1.83) and sometimes leaps; a small war ends sooner than a great one. The eight
countries of the default region have set propensities, invented for demonstration: a busy Sahel (Mali, Burkina Faso,
Niger) and a nearly quiet Senegal. Which other countries are prone is drawn by the seed alone. None of it is an
estimate of, or an opinion on, any real country.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from riskmodel import geography
from riskmodel.home import atomic_write
from riskmodel.months import Month, Months, month, span
from riskmodel.sources.ucdp_layout import GED_COLUMNS

FIRST = month("1989-01")

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Texts: TypeAlias = NDArray[np.object_]


class Propensity(NamedTuple):
    """How prone a country is: monthly chances that a war begins and ends, and its usual log of monthly deaths.

    `onset` is for a calm neighbourhood, `end` for a war of some twelve deaths a month. From `since` on the country is
    under pressure: war comes `PRESSURE` times sooner and lasts as many times longer.
    """

    onset: float
    end: float
    level: float
    since: str = "NaT"


REGION = {
    "MLI": Propensity(0.006, 0.04, 4.3, "2012-01"),
    "BFA": Propensity(0.001, 0.10, 4.5, "2016-01"),
    "NER": Propensity(0.004, 0.05, 4.0, "2014-06"),
    "DZA": Propensity(0.006, 0.02, 3.4),
    "CIV": Propensity(0.003, 0.04, 2.6),
    "GIN": Propensity(0.001, 0.10, 2.2),
    "MRT": Propensity(0.001, 0.12, 1.8),
    "SEN": Propensity(0.001, 0.20, 1.0),
}
PRESSURE = 12
OTHERS = 56
SITES = 24
REGION_SITES = 4
MOST_GROUPS = 99
CIVILIANS = MOST_GROUPS + 1
UCDP_CIVILIANS = 1
FIRST_ID = 900_000_001
MOST_EVENTS = 30
MOST_LEVEL = 7.5
FARTHEST = 400.0
KM_PER_DEGREE = 111.2

_WORDS = (
    *("Alder", "Amber", "Aster", "Basalt", "Cedar", "Cobalt", "Comet", "Copper"),
    *("Coral", "Fern", "Garnet", "Heron", "Indigo", "Juniper", "Larch", "Lichen"),
    *("Marble", "Meteor", "Onyx", "Osprey", "Quartz", "Saffron", "Slate", "Thistle"),
)
_KINDS = ("Front", "League", "Column", "Movement", "Pact")
_GROUNDS = ("Ford", "Hill", "Wells", "Cross", "Mill", "Bend", "Market")

# UCDP's five regions, by country number.
_UCDP_REGIONS = np.array(["Americas", "Europe", "Africa", "Middle East", "Asia"], dtype=object)
_UCDP_ENDS = np.array([200, 400, 630, 700])

# Shares of UCDP GED, roughly; each row is cumulative and a uniform number picks the place.
_TYPE = np.array([0.62, 0.79, 1.0])
_DATE_PREC = np.array([0.87, 0.96, 0.967, 0.99, 1.0])
_WHERE_PREC = np.array([0.48, 0.70, 0.85, 0.93, 0.985, 0.998, 1.0])
_SOURCES = np.array([0.68, 0.85, 0.93, 0.97, 0.99, 1.0])
# Deaths of side a, side b, civilians, unknown, by type of violence.
_SHARES = np.array([[0.28, 0.42, 0.12, 0.18], [0.38, 0.38, 0.06, 0.18], [0.0, 0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class _Stage:
    """The prone countries. Arrays of shape (country,) or (country, site); site 0 is the capital; places in degrees."""

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


class _Events(NamedTuple):
    """What the months have brought, one entry an event in order of time; `country` is the place on the stage.

    `groups`, `active` and `focus` are the country's when it happened: groups ever heard of, how many of the latest
    fight, and the site where they fight most.
    """

    when: Months
    country: Ints
    best: Ints
    groups: Ints
    active: Ints
    focus: Ints


def simulate(path: Path, *, seed: int, last: Month) -> None:
    """Write simulated events from 1989-01 to `last` [month] as one .csv.gz in UCDP's 49 columns.

    The same seed gives the same bytes, and a later `last` only appends rows. All countries of `geography.countries()`
    are covered: one without events was quiet. Raises ValueError if `last` is before 1989-01.
    """
    if last < FIRST:
        raise ValueError(f"simulated events begin in {FIRST}; there are none up to {last}")
    chance = np.random.default_rng(seed)
    stage = _stage(chance)
    events = _history(chance, stage, span(FIRST, last))
    # One row of uniform numbers an event, drawn row by row: more events leave the numbers of the earlier ones alone.
    uniform = np.random.default_rng([seed, 1]).random((len(events.when), len(_Draws._fields)))
    table = _table(stage, events, _Draws(*uniform.T))
    # Neither the file's name nor the hour goes into the gzip header, or the same seed would not give the same bytes.
    with (
        atomic_write(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=raw, mtime=0) as packed,
    ):
        packed.write((",".join(GED_COLUMNS) + "\n").encode())
        csv.write_csv(table, packed, csv.WriteOptions(include_header=False))


def _stage(chance: np.random.Generator) -> _Stage:
    """Draw who is prone, how much, and where fighting can take place."""
    countries = geography.countries()
    # Without a land border there is nobody to catch a war from, and sites around the capital would lie in the sea.
    candidates = [iso3 for iso3 in countries if countries[iso3].neighbours and iso3 not in REGION]
    own = chance.standard_normal(len(candidates))
    shared = _borders(candidates)
    proneness = own + shared @ own / np.maximum(shared.sum(axis=1), 1)
    drawn = sorted(candidates[i] for i in np.argsort(-proneness, kind="stable")[:OTHERS])
    size = len(drawn)
    others = zip(
        0.004 * np.exp(0.6 * chance.standard_normal(size)),
        0.04 * np.exp(0.5 * chance.standard_normal(size)),
        2.9 + 0.8 * chance.standard_normal(size),
        strict=True,
    )
    propensities = REGION | {iso3: Propensity(*drawn_for) for iso3, drawn_for in zip(drawn, others, strict=True)}
    prone = [countries[iso3] for iso3 in propensities]
    latitude, longitude = zip(*(_sites(chance, country) for country in prone), strict=True)
    return _Stage(
        gw=np.array([country.gw[0] for country in prone]),
        iso3=np.array([country.iso3 for country in prone], dtype=object),
        names=np.array([country.name() for country in prone], dtype=object),
        capitals=np.array([country.capital for country in prone], dtype=object),
        borders=_borders(list(propensities)),
        onset=np.array([propensity.onset for propensity in propensities.values()]),
        end=np.array([propensity.end for propensity in propensities.values()]),
        level=np.array([propensity.level for propensity in propensities.values()]),
        since=np.array([propensity.since for propensity in propensities.values()], dtype="datetime64[M]"),
        latitude=np.array(latitude),
        longitude=np.array(longitude),
    )


def _borders(iso3: list[str]) -> Floats:
    """Who borders whom among these countries: 1.0 or 0.0, shape (country, country)."""
    countries = geography.countries()
    return np.array([[float(b in countries[a].neighbours) for b in iso3] for a in iso3])


def _sites(chance: np.random.Generator, country: geography.Country) -> tuple[Floats, Floats]:
    """Latitudes and longitudes [degrees] of the capital and of sites around it, ordered by bearing; shape (site,).

    A site lies less than half-way to the neighbours' capitals and within `FARTHEST` km: mostly on land, mostly inside.
    """
    home = np.array([country.latitude, country.longitude])
    others = [geography.countries()[iso3] for iso3 in country.neighbours]
    ways = np.array([(other.latitude, other.longitude) for other in others]) - home
    pull = chance.exponential(size=(SITES, len(others))) ** 2
    offsets = (pull / pull.sum(axis=1, keepdims=True)) @ ways * chance.uniform(0.05, 0.48, (SITES, 1))
    offsets += 0.2 * chance.standard_normal((SITES, 2))
    km = KM_PER_DEGREE * np.hypot(offsets[:, 0], offsets[:, 1] * np.cos(np.radians(home[0])))
    offsets *= np.minimum(1, FARTHEST / km)[:, None]
    offsets = offsets[np.argsort(np.arctan2(offsets[:, 0], offsets[:, 1]))]
    places = home + np.vstack([np.zeros(2), offsets])
    return places[:, 0], places[:, 1]


def _history(chance: np.random.Generator, stage: _Stage, months: Months) -> _Events:
    """Let the months pass, one after the other: what is drawn for a month never depends on how many follow."""
    size = len(stage.gw)
    at_war = chance.random(size) < stage.onset / (stage.onset + stage.end)
    level = stage.level
    heat = np.zeros(size)
    groups = np.full(size, 2)
    active = np.ones(size, dtype=np.int64)
    focus = chance.integers(SITES, size=size)
    passed: list[_Events] = []
    for now in months:
        luck = chance.random((5, size))
        shock = chance.standard_normal((3, size))
        leap = chance.exponential(size=size)
        spill = 1 - np.exp(-stage.borders @ heat / 5)
        pressure = np.where(now >= stage.since, PRESSURE, 1)

        begins = ~at_war & (luck[0] < stage.onset * pressure * (1 + 5 * spill + 2 * heat))
        ends = at_war & (luck[0] < stage.end / pressure * np.exp(0.4 * (2.5 - level)))
        at_war = (at_war | begins) & ~ends

        born = (begins & (luck[1] < 0.6)) | (at_war & (luck[1] > 0.99))
        born &= groups < MOST_GROUPS
        groups = groups + born
        active = np.clip(np.where(begins, 1, active + born - (luck[2] < 0.02)), 1, 3)
        focus = np.where(begins, (luck[3] * SITES).astype(np.int64), (focus + (luck[3] < 0.04)) % SITES)

        level = level + 0.2 * (stage.level - level) + 0.08 * (heat - stage.level) + 0.06 * spill + 0.42 * shock[0]
        level = np.minimum(level + np.where(luck[4] < 0.012, 0.8 + 0.7 * leap, 0), MOST_LEVEL)
        level = np.where(begins, 1.5 + 0.8 * shock[1], level)

        # At peace a country keeps a trickle, the more so the fresher its last war.
        usual = np.where(at_war, np.minimum(np.exp(0.5 * level), MOST_EVENTS), 0.0)
        trickle = np.where(at_war, 0.0, 2 * stage.onset + 0.02 * heat)
        count = chance.poisson(usual * np.exp(0.5 * shock[2] - 0.125) + trickle)
        country = np.repeat(np.arange(size), count)
        each = np.where(at_war, np.exp(level) / np.maximum(usual, 1), 1.5)
        best = np.floor(chance.lognormal(np.log(each[country]) - 0.3, 1.1)).astype(np.int64)
        heat = 0.75 * heat + 0.25 * np.log1p(np.bincount(country, weights=best, minlength=size))
        passed.append(
            _Events(np.full(len(country), now), country, best, groups[country], active[country], focus[country])
        )
    return _Events(*(np.concatenate(column) for column in zip(*passed, strict=True)))


class _Draws(NamedTuple):
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


def _table(stage: _Stage, events: _Events, draws: _Draws) -> pa.Table:
    """Fill in the 49 columns, one row an event."""
    ids = FIRST_ID + np.arange(len(events.when))
    kind = 1 + _pick(_TYPE, draws.kind)
    country = _named(stage.names, events.country)
    columns = (
        {
            "id": ids,
            "code_status": _same("Clear", len(ids)),
            "type_of_violence": kind,
            "number_of_sources": 1 + _pick(_SOURCES, draws.sources),
            "source_article": _joined("SIMULATED report on event ", ids, " (there is no such source)"),
            "source_office": _same("SIMULATED newsroom", len(ids)),
            "source_headline": _joined("SIMULATED violence in ", country),
            "source_original": _same("SIMULATED witness", len(ids)),
            "country": country,
            "country_id": stage.gw[events.country],
            "region": _named(_UCDP_REGIONS, np.searchsorted(_UCDP_ENDS, stage.gw, side="right")[events.country]),
            "event_clarity": np.where(draws.clarity < 0.06, 2, 1),
        }
        | _sides(stage, events, kind, draws)
        | _place(stage, events, draws)
        | _dates(events, draws)
        | _deaths(events, kind, draws)
    )
    return pa.table([columns[name] for name in GED_COLUMNS], names=list(GED_COLUMNS))


def _sides(stage: _Stage, events: _Events, kind: Ints, draws: _Draws) -> dict[str, Any]:
    """Who fights whom. In a country, actor 0 is the government, `CIVILIANS` the civilians, and the rest are groups."""
    first = events.groups - (events.active * draws.first**1.5).astype(np.int64)
    rival = np.where(first > 1, first - 1, 2)
    attacker = np.where(draws.attacker < 0.25, 0, first)
    a = np.choose(kind - 1, [np.zeros_like(first), np.minimum(first, rival), attacker])
    b = np.choose(kind - 1, [first, np.maximum(first, rival), np.full_like(first, CIVILIANS)])

    names = np.array([_actors(*who) for who in zip(stage.gw, stage.iso3, stage.names, strict=True)], dtype=object)
    side_a, side_b = (_named(names.ravel(), events.country * names.shape[1] + side) for side in (a, b))
    gw = stage.gw[events.country]
    actor = 9_000_000 + 1000 * gw
    dyad = 100_000 * (1000 * kind + gw) + 1000 * a + b
    conflict = np.where(kind == 1, 100_000 * (1000 * kind + gw), dyad)
    dyad_name = _joined(side_a, " - ", side_b)
    government = _joined("SIMULATED ", _named(stage.names, events.country), ": Government")

    year = events.when.astype("datetime64[Y]").astype(np.int64) + 1970
    in_year = dyad * 10_000 + year
    ids = {
        "conflict": conflict,
        "dyad": dyad,
        "side_a": actor + a,
        "side_b": np.where(b == CIVILIANS, UCDP_CIVILIANS, actor + b),
    }
    return (
        {f"{what}_new_id": number for what, number in ids.items()}
        | {f"{what}_dset_id": _joined("SIM", number) for what, number in ids.items()}
        | {
            "relid": _joined(
                *(_named(stage.iso3, events.country), "-", year, "-", kind, "-", dyad, "-"),
                _running(in_year, np.ones_like(kind)),
            ),
            "year": year,
            # UCDP's 25 deaths a year, as far as they have come: the rest of the year is not known yet.
            "active_year": (_running(in_year, events.best) >= 25).astype(np.int64),
            "conflict_name": pc.if_else(pa.array(kind == 1), government, dyad_name),
            "dyad_name": dyad_name,
            "side_a": side_a,
            "side_b": side_b,
            "gwnoa": pa.array(gw, mask=a > 0),
            "gwnob": pa.nulls(len(kind), pa.int64()),
        }
    )


def _actors(gw: int, iso3: str, country: str) -> list[str]:
    """The names of a country's actors: government, groups 1 to `MOST_GROUPS`, civilians."""
    return [
        f"SIMULATED Government of {country}",
        *(
            f"SIMULATED {_WORDS[(5 * number + gw) % len(_WORDS)]} {_KINDS[(number + gw) % len(_KINDS)]} {iso3}-{number}"
            for number in range(1, MOST_GROUPS + 1)
        ),
        "SIMULATED civilians",
    ]


def _place(stage: _Stage, events: _Events, draws: _Draws) -> dict[str, Any]:
    """Where it happened, told as precisely as `where_prec` claims: site, district, region or country."""
    who = events.country
    site = 1 + (events.focus + (SITES * draws.site**2.5).astype(np.int64)) % SITES
    site = np.where(draws.capital < 0.03, 0, site)
    region = (site + REGION_SITES - 1) // REGION_SITES
    where_prec = 1 + _pick(_WHERE_PREC, draws.where_prec)
    latitude, longitude = (
        np.select(
            [where_prec <= 3, where_prec <= 5],
            [values[who, site] + np.where(where_prec == 2, 0.3, 0) * (draw - 0.5), _by_region(values)[who, region]],
            values.mean(axis=1)[who],
        ).round(4)
        for values, draw in ((stage.latitude, draws.north), (stage.longitude, draws.east))
    )
    sites = np.array([_sites_named(*who) for who in enumerate(stage.capitals)], dtype=object)
    regions = ["SIMULATED capital region", *(f"SIMULATED region {n + 1}" for n in range(SITES // REGION_SITES))]
    spot = _named(sites.ravel(), who * sites.shape[1] + site)
    adm_1 = _named(np.array(regions, dtype=object), region)
    adm_2 = _joined("SIMULATED district of ", pc.utf8_slice_codeunits(spot, len("SIMULATED ")))
    country = _joined("SIMULATED: somewhere in ", _named(stage.names, who))
    levels = pa.array(np.digitize(where_prec, [3, 4, 6]))
    return {
        "where_prec": where_prec,
        "where_coordinates": pc.choose(levels, spot, adm_2, adm_1, country),
        "where_description": _joined("SIMULATED, precision ", where_prec, " of 7"),
        "adm_1": pc.if_else(pa.array(where_prec < 6), adm_1, None),
        "adm_2": pc.if_else(pa.array(where_prec < 4), adm_2, None),
        "latitude": latitude,
        "longitude": longitude,
        "geom_wkt": _joined("POINT (", longitude, " ", latitude, ")"),
        "priogrid_gid": priogrid(latitude, longitude),
    }


def _sites_named(place: int, capital: str) -> list[str]:
    """The names of a country's sites, the capital first."""
    return [
        f"SIMULATED {capital} outskirts",
        *(
            f"SIMULATED {_WORDS[(7 * place + site) % len(_WORDS)]} {_GROUNDS[(place + 3 * site) % len(_GROUNDS)]}"
            for site in range(SITES)
        ),
    ]


def _by_region(values: Floats) -> Floats:
    """The middle of each region, the capital's first; (country, site) to (country, region)."""
    middles = values[:, 1:].reshape(len(values), -1, REGION_SITES).mean(axis=2)
    return np.hstack([values[:, :1], middles])


def priogrid(latitude: Floats, longitude: Floats) -> Ints:
    """The PRIO-GRID cell of places [degrees, WGS 84]: half-degree cells by row from the south-west, from 1.

    Tollefsen, Strand & Buhaug 2012, doi:10.1177/0022343311431287.
    """
    row, column = np.floor(2 * (latitude + 90)), np.floor(2 * (longitude + 180))
    return (720 * row + column + 1).astype(np.int64)


def _dates(events: _Events, draws: _Draws) -> dict[str, Any]:
    """When it happened. An event stays within its month, or the newest month would hold dates to come."""
    first = events.when.astype("datetime64[D]")
    days = ((events.when + 1).astype("datetime64[D]") - first).astype(np.int64)
    date_prec = 1 + _pick(_DATE_PREC, draws.date_prec)
    few, many = 1 + np.floor(5 * draws.length), 7 + np.floor((days - 7) * draws.length**0.3)
    length = np.choose(date_prec - 1, [np.zeros_like(days), few, 6, many, days - 1])
    start = first + np.floor((days - length) * draws.day).astype(np.int64)
    end = start + length.astype(np.int64)
    return {
        "date_prec": date_prec,
        "date_start": _joined(start.astype(str), " 00:00:00.000"),
        "date_end": _joined(end.astype(str), " 00:00:00.000"),
        "source_date": pa.array(end.astype(str)),
    }


def _deaths(events: _Events, kind: Ints, draws: _Draws) -> dict[str, Any]:
    """Whose deaths, and how sure: low ≤ best ≤ high, and the four parts sum to best."""
    best = events.best
    # Cutting the line of deaths at the shares with one random offset keeps the parts whole and their sum exact.
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


def _running(key: Ints, values: Ints) -> Ints:
    """The sum so far of the values that share a key, the row's own included."""
    order = np.argsort(key, kind="stable")
    total = np.cumsum(values[order])
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    before = np.repeat((total - values[order])[starts], np.diff(starts, append=len(key)))
    running = np.empty_like(total)
    running[order] = total - before
    return running


def _pick(cumulative: Floats, uniform: Floats) -> Ints:
    """The place in a row of cumulative shares that each uniform number falls on."""
    return np.searchsorted(cumulative, uniform, side="right")


def _named(names: Texts, places: Ints) -> Any:
    """Names by their place in a list, as an Arrow array."""
    return pa.array(names).take(pa.array(places))


def _same(text: str, rows: int) -> Any:
    """One text in every row."""
    return pa.repeat(text, rows)


def _joined(*parts: Any) -> Any:
    """Texts put together row by row; numbers as the CSV writes them."""
    texts = (part if isinstance(part, str) else pc.cast(pa.array(part), pa.string()) for part in parts)
    return pc.binary_join_element_wise(*texts, "")
