"""The simulator: an archive of invented conflict in UCDP's official layout, for a home that has no real events yet.

Places are real. Groups, sites and deaths are not, and every name and text says SIMULATED.

Each country is at peace or at war. Peace ends by chance, sooner if neighbours fight (diffusion) or if fighting is
recent. In war the log of monthly deaths returns to the country's usual level, is excited by the deaths of past months
(Hawkes 1971, doi:10.1093/biomet/58.1.83), and sometimes jumps. A small war ends sooner than a large one. The eight
countries of the default region have set propensities, invented for demonstration: a busy Sahel (Mali, Burkina Faso,
Niger) and a nearly quiet Senegal. The seed decides which other countries are prone. None of it is an estimate of, or
an opinion on, any real country.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from riskmodel import geography
from riskmodel.home import atomic_write
from riskmodel.months import Month, Months, month, span
from riskmodel.sources.simulated_rows import (
    MOST_GROUPS,
    SITES,
    Countries,
    Events,
    Floats,
    UniformNumbers,
    event_rows,
)
from riskmodel.sources.ucdp_layout import GED_COLUMNS

FIRST = month("1989-01")


class Propensity(NamedTuple):
    """How prone a country is: monthly chances that a war begins and ends, and its usual log of monthly deaths.

    `onset` is for a calm neighbourhood, `end` for a war of about twelve deaths a month. From `since` on the country is
    under pressure: war comes `PRESSURE` times sooner and lasts `PRESSURE` times longer.
    """

    onset: float
    end: float
    level: float
    since: str = "NaT"


REGION_PROPENSITIES = {
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
OTHER_PRONE_COUNTRIES = 56
MOST_EVENTS = 30
"""The largest usual number of events in a country's month; chance can bring more."""
MOST_LEVEL = 7.5
"""The highest log of monthly deaths."""
FARTHEST_SITE = 400.0
"""The longest distance of a site from the capital [km]."""
KM_PER_DEGREE = 111.2


def simulate(path: Path, *, seed: int, last: Month) -> None:
    """Write simulated events from 1989-01 to `last` [month] as one .csv.gz in UCDP's 49 columns.

    The same seed gives the same bytes, and a later `last` only appends rows. All countries of `geography.countries()`
    are covered: one without events was quiet. Raises ValueError if `last` is before 1989-01.
    """
    countries, events = simulated_events(seed, last)
    write_events(path, rows_of(countries, events, [seed, 1]))


def simulated_events(seed: int, last: Month) -> tuple[Countries, Events]:
    """Return the prone countries and all events from 1989-01 to a month. Raises ValueError as `simulate` does."""
    if last < FIRST:
        raise ValueError(f"simulated events begin in {FIRST}; there are none up to {last}")
    rng = np.random.default_rng(seed)
    countries = _prone_countries(rng)
    return countries, _events(rng, countries, span(FIRST, last))


def rows_of(countries: Countries, events: Events, seed: Sequence[int]) -> pa.Table:
    """Return the rows of events in UCDP's 49 columns; more events do not change the rows of earlier ones."""
    # One row of uniform numbers per event, drawn row by row.
    uniform = np.random.default_rng(seed).random((len(events.when), len(UniformNumbers._fields)))
    return event_rows(countries, events, UniformNumbers(*uniform.T))


def write_events(path: Path, table: pa.Table) -> None:
    """Write rows of events as .csv.gz; the same rows give the same bytes."""
    # The gzip header holds neither the file's name nor the time, or the same seed would not give the same bytes.
    with (
        atomic_write(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=raw, mtime=0) as packed,
    ):
        packed.write((",".join(GED_COLUMNS) + "\n").encode())
        csv.write_csv(table, packed, csv.WriteOptions(include_header=False))


def _prone_countries(rng: np.random.Generator) -> Countries:
    """Draw which countries are prone, how much, and where fighting can take place."""
    known = geography.countries()
    # A country without a land border has no neighbour that diffusion could come from, and sites around its capital
    # would lie in the sea.
    candidates = [iso3 for iso3 in known if known[iso3].neighbours and iso3 not in REGION_PROPENSITIES]
    own = rng.standard_normal(len(candidates))
    shared = _borders(candidates)
    proneness = own + shared @ own / np.maximum(shared.sum(axis=1), 1)
    drawn = sorted(candidates[i] for i in np.argsort(-proneness, kind="stable")[:OTHER_PRONE_COUNTRIES])
    size = len(drawn)
    values = zip(
        0.004 * np.exp(0.6 * rng.standard_normal(size)),
        0.04 * np.exp(0.5 * rng.standard_normal(size)),
        2.9 + 0.8 * rng.standard_normal(size),
        strict=True,
    )
    others = {iso3: Propensity(*drawn_values) for iso3, drawn_values in zip(drawn, values, strict=True)}
    propensities = REGION_PROPENSITIES | others
    prone = [known[iso3] for iso3 in propensities]
    latitude, longitude = zip(*(_sites(rng, country) for country in prone), strict=True)
    return Countries(
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
    """Return which of these countries border each other: 1.0 or 0.0, shape (country, country)."""
    known = geography.countries()
    return np.array([[float(b in known[a].neighbours) for b in iso3] for a in iso3])


def _sites(rng: np.random.Generator, country: geography.Country) -> tuple[Floats, Floats]:
    """Return latitudes and longitudes [degrees] of the capital and of sites around it, by bearing; shape (site,).

    A site lies less than half-way to the neighbours' capitals and within `FARTHEST_SITE`: mostly on land, and mostly
    inside the country.
    """
    capital = np.array([country.latitude, country.longitude])
    neighbours = [geography.countries()[iso3] for iso3 in country.neighbours]
    directions = np.array([(neighbour.latitude, neighbour.longitude) for neighbour in neighbours]) - capital
    pull = rng.exponential(size=(SITES, len(neighbours))) ** 2
    offsets = (pull / pull.sum(axis=1, keepdims=True)) @ directions * rng.uniform(0.05, 0.48, (SITES, 1))
    offsets += 0.2 * rng.standard_normal((SITES, 2))
    km = KM_PER_DEGREE * np.hypot(offsets[:, 0], offsets[:, 1] * np.cos(np.radians(capital[0])))
    offsets *= np.minimum(1, FARTHEST_SITE / km)[:, None]
    offsets = offsets[np.argsort(np.arctan2(offsets[:, 0], offsets[:, 1]))]
    sites = capital + np.vstack([np.zeros(2), offsets])
    return sites[:, 0], sites[:, 1]


def _events(rng: np.random.Generator, countries: Countries, months: Months) -> Events:
    """Simulate month after month. What is drawn for a month never depends on how many months follow."""
    size = len(countries.gw)
    at_war = rng.random(size) < countries.onset / (countries.onset + countries.end)
    level = countries.level
    heat = np.zeros(size)  # a moving average of the log of deaths: how recent and strong fighting is
    groups = np.full(size, 2)
    active = np.ones(size, dtype=np.int64)
    focus = rng.integers(SITES, size=size)
    simulated: list[Events] = []
    for now in months:
        luck = rng.random((5, size))
        shock = rng.standard_normal((3, size))
        jump = rng.exponential(size=size)
        spill = 1 - np.exp(-countries.borders @ heat / 5)
        pressure = np.where(now >= countries.since, PRESSURE, 1)

        begins = ~at_war & (luck[0] < countries.onset * pressure * (1 + 5 * spill + 2 * heat))
        ends = at_war & (luck[0] < countries.end / pressure * np.exp(0.4 * (2.5 - level)))
        at_war = (at_war | begins) & ~ends

        new_group = (begins & (luck[1] < 0.6)) | (at_war & (luck[1] > 0.99))
        new_group &= groups < MOST_GROUPS
        groups = groups + new_group
        active = np.clip(np.where(begins, 1, active + new_group - (luck[2] < 0.02)), 1, 3)
        focus = np.where(begins, (luck[3] * SITES).astype(np.int64), (focus + (luck[3] < 0.04)) % SITES)

        level = level + 0.2 * (countries.level - level) + 0.08 * (heat - countries.level)
        level = level + 0.06 * spill + 0.42 * shock[0]
        level = np.minimum(level + np.where(luck[4] < 0.012, 0.8 + 0.7 * jump, 0), MOST_LEVEL)
        level = np.where(begins, 1.5 + 0.8 * shock[1], level)

        # At peace a few events remain, more of them the more recent the last war.
        usual = np.where(at_war, np.minimum(np.exp(0.5 * level), MOST_EVENTS), 0.0)
        remaining = np.where(at_war, 0.0, 2 * countries.onset + 0.02 * heat)
        count = rng.poisson(usual * np.exp(0.5 * shock[2] - 0.125) + remaining)
        country = np.repeat(np.arange(size), count)
        deaths_each = np.where(at_war, np.exp(level) / np.maximum(usual, 1), 1.5)
        best = np.floor(rng.lognormal(np.log(deaths_each[country]) - 0.3, 1.1)).astype(np.int64)
        heat = 0.75 * heat + 0.25 * np.log1p(np.bincount(country, weights=best, minlength=size))
        month_of_events = np.full(len(country), now)
        simulated.append(Events(month_of_events, country, best, groups[country], active[country], focus[country]))
    return Events(*(np.concatenate(column) for column in zip(*simulated, strict=True)))
