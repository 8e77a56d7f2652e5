"""Measure the panel of indicators: time and peak memory by number of events, and five indicators against pandas.

`python benchmarks/indicators.py [--events 418000]` prints tables for 191 countries and 408 months. The events are made
by a seed: few countries have most of them, events cluster at places, and groups come and go. Each panel is a process of
its own, so that its peak memory is its own. The five indicators are written in plain pandas too, and must agree.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from child_process import run_process
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators.inputs import Events, Inputs
from riskmodel.indicators.panel import FAMILIES, INDICATORS, assemble
from riskmodel.outcomes import KINDS, TYPES, CountryMonths
from riskmodel.windows import Rectangle

COUNTRIES, MONTHS, EVENTS = 191, 408, 418_000
FIRST_MONTH = np.datetime64("1989-01", "M")
GROUPS_PER_COUNTRY, UNITS_PER_COUNTRY = 6, 20
REPEATS = 3


def main() -> None:
    """Print the cost of the panel by number of events and by family, and the comparison with pandas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--panel", action="store_true", help="measure one panel and print JSON")
    arguments = parser.parse_args()
    if arguments.panel:
        print(json.dumps(measure(arguments.events)))
        return
    print(f"{COUNTRIES} countries, {MONTHS} months, {len(INDICATORS)} indicators")
    print(f"{'events':>10}{'panel, s':>10}{'peak MB':>9}{'inputs, MB':>12}")
    for part in (4, 2, 1):
        cost = measure_in_process(arguments.events // part)
        print(
            f"{arguments.events // part:>10,}{cost['seconds']:>10.2f}{cost['peak']:>9.0f}{cost['before']:>12.0f}",
            flush=True,
        )
    print(f"\n{'family':<14}{'indicators':>11}{'seconds':>9}")
    for family in FAMILIES:
        print(
            f"{family.name:<14}{len(family.indicators):>11}{sum(cost['each'][i.name] for i in family.indicators):>9.2f}"
        )
    slowest = sorted(cost["each"], key=cost["each"].__getitem__, reverse=True)[:8]
    print("slowest:", ", ".join(f"{name} {cost['each'][name]:.2f}" for name in slowest))
    compare(arguments.events)


def measure_in_process(events: int) -> dict[str, dict[str, float]]:
    """Run `measure` in a process of its own."""
    return json.loads(run_process(sys.executable, __file__, "--panel", "--events", events).output)


def measure(events: int) -> dict[str, object]:
    """Return seconds of the panel and of each indicator, and the peak memory before and after the panel [MB]."""
    inputs = make_inputs(events)
    observed = outcome_of(inputs)
    before = peak_memory()
    started = time.perf_counter()
    panel = assemble(observed, "state_based", inputs)
    seconds = time.perf_counter() - started
    if panel.absent:
        raise SystemExit(f"no input for {', '.join(panel.absent)}")
    after = peak_memory()
    fresh = replace(inputs)  # without caches: what several indicators share is counted at the first of them
    each = {indicator.name: shortest(lambda i=indicator: i.compute(fresh), 1)[0] for indicator in INDICATORS}
    return {"seconds": seconds, "before": before, "peak": after, "each": each}


def peak_memory() -> float:
    """Return the peak memory of this process [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def shortest(work: Callable[[], Rectangle], repeats: int = REPEATS) -> tuple[float, Rectangle]:
    """Return the shortest time of some runs [s], and the result."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - started)
    return min(times), result


def make_inputs(size: int, seed: int = 1) -> Inputs:
    """Make inputs from a seed, with every table that an indicator declares."""
    rng = np.random.default_rng(seed)
    iso3 = tuple(sorted(geography.countries())[:COUNTRIES])
    events = make_events(rng, iso3, size)
    of_type = events.kind == TYPES.index("state_based")
    tables = {"deaths": events.count(of_type, events.deaths)}
    for name in sorted({name for indicator in INDICATORS for name in indicator.inputs} - {"events", "deaths"}):
        tables[name] = rng.poisson(3, (COUNTRIES, MONTHS)).astype(np.float64)
    if "reported_ratio" in tables:
        tables["reported_ratio"] = 0.6 + 0.1 * tables["reported_ratio"]
    return Inputs(iso3, FIRST_MONTH + np.arange(MONTHS), tables, events)


def outcome_of(inputs: Inputs) -> CountryMonths:
    """Return the deaths of the inputs as an outcome."""
    deaths = dict.fromkeys(KINDS, inputs.tables["deaths"])
    source = dict.fromkeys(KINDS, np.zeros((COUNTRIES, MONTHS), dtype=np.int16))
    return CountryMonths(inputs.iso3, inputs.months, deaths, source, ("0001",))


def make_events(rng: np.random.Generator, iso3: tuple[str, ...], size: int) -> Events:
    """Make events of all countries, sorted by day and id; a few countries have most of them."""
    weight = 1 / (1 + rng.permutation(COUNTRIES)) ** 1.1
    row = rng.choice(COUNTRIES, size, p=weight / weight.sum())
    wars = rng.integers(0, MONTHS, (COUNTRIES, 8))
    lasting = wars[row, rng.integers(0, 8, size)] + rng.exponential(20, size).astype(np.int64)
    column = np.where(rng.random(size) < 0.85, lasting, rng.integers(0, MONTHS, size)) % MONTHS
    day = (FIRST_MONTH + column).astype("datetime64[D]").astype(np.int64) + rng.integers(0, 28, size)
    order = np.lexsort((np.arange(size), day))
    row, column, day = row[order], column[order], day[order]
    deaths = np.floor(rng.exponential(1.0, size) ** 2 * 2)
    kind = rng.choice(3, size, p=[0.7, 0.15, 0.15])
    actors = (
        *(f"Government of {code}" for code in iso3),
        *(f"Group {n}" for n in range(COUNTRIES * GROUPS_PER_COUNTRY)),
        "Civilians",
    )
    first = rng.integers(0, 4, size)
    pick = np.stack([first, (first + rng.integers(1, 4, size)) % 4])  # no group fights itself
    group = COUNTRIES + (row * GROUPS_PER_COUNTRY + column * GROUPS_PER_COUNTRY // MONTHS + pick) % (
        COUNTRIES * GROUPS_PER_COUNTRY
    )
    side_a = np.where((kind == 0) | ((kind == 2) & (rng.random(size) < 0.3)), row, group[0])
    side_b = np.where(kind == 2, len(actors) - 1, group[1])
    pairs, dyad = np.unique(side_a * len(actors) + side_b, return_inverse=True)
    latitude, longitude = make_coordinates(rng, iso3, row)
    return Events(
        event_id=np.char.zfill(np.arange(size).astype(str), 7),
        row=row,
        column=column,
        day=day,
        deaths=deaths,
        civilians=np.floor(deaths * rng.random(size)),
        kind=kind,
        dyad=dyad,
        side_a=side_a,
        side_b=side_b,
        adm_1=row * UNITS_PER_COUNTRY + (rng.random(size) ** 2 * UNITS_PER_COUNTRY).astype(np.intp),
        state_a=side_a < COUNTRIES,
        latitude=latitude,
        longitude=longitude,
        where_prec=rng.choice([1, 2, 3, 4, 5, 6], size, p=[0.5, 0.2, 0.1, 0.15, 0.03, 0.02]).astype(np.float64),
        date_prec=rng.choice([1, 2, 5], size, p=[0.85, 0.13, 0.02]).astype(np.float64),
        sources=1.0 + rng.poisson(1, size),
        covered=np.ones((COUNTRIES, MONTHS), dtype=bool),
        dyads=tuple(f"Dyad {pair}" for pair in pairs.tolist()),
        actors=actors,
        units=tuple((code, f"Unit {number}") for code in iso3 for number in range(UNITS_PER_COUNTRY)),
    )


def make_coordinates(
    rng: np.random.Generator, iso3: tuple[str, ...], row: NDArray[np.intp]
) -> tuple[Rectangle, Rectangle]:
    """Make coordinates: 300 places per country near its capital, towns, airports and borders."""
    sites = geography.sites()
    places = np.empty((len(iso3), 300, 2))
    for number, code in enumerate(iso3):
        country = geography.country(code)
        at = sites.iso3 == code
        known = [
            np.array([(country.latitude, country.longitude)]),
            np.stack([sites.latitude[at], sites.longitude[at]], 1),
        ]
        known += [geography.borders()[code, other] for other in country.neighbours]
        places[number] = rng.choice(np.concatenate(known), 300) + rng.normal(0, 0.3, (300, 2))
    where = np.round(places[row, (rng.random(row.size) ** 2 * 300).astype(np.intp)], 3)
    return np.clip(where[:, 0], -89, 89), (where[:, 1] + 180) % 360 - 180


def compare(events: int) -> None:
    """Time five indicators against pandas. Raises SystemExit where they do not agree."""
    inputs = make_inputs(events)
    frame = event_table(inputs)
    compute = {indicator.name: indicator.compute for indicator in INDICATORS}
    print(f"\n{'indicator':<28}{'pandas, s':>11}{'ours, s':>9}{'ratio':>7}")
    pandas_total = our_total = 0.0
    for name, reference in REFERENCES.items():
        our_seconds, ours = shortest(lambda name=name: compute[name](replace(inputs)))
        pandas_seconds, theirs = shortest(lambda reference=reference: reference(frame, inputs))
        known = ~np.isnan(ours)
        if (known & np.isnan(theirs)).any() or not np.allclose(ours[known], theirs[known], rtol=1e-9, atol=1e-12):
            raise SystemExit(f"{name}: pandas gives other values")
        pandas_total, our_total = pandas_total + pandas_seconds, our_total + our_seconds
        print(f"{name:<28}{pandas_seconds:>11.2f}{our_seconds:>9.3f}{pandas_seconds / our_seconds:>7.0f}", flush=True)
    print(f"{'in all':<28}{pandas_total:>11.2f}{our_total:>9.3f}{pandas_total / our_total:>7.0f}")


def event_table(inputs: Inputs) -> pd.DataFrame:
    """Return the events as a table for pandas."""
    events, iso3, actors = inputs.required_events, np.array(inputs.iso3), np.array(inputs.required_events.actors)
    capital = np.array([(geography.country(code).latitude, geography.country(code).longitude) for code in iso3])
    return pd.DataFrame(
        {
            "iso3": iso3[events.row],
            "month": events.column,
            "type": events.kind,
            "deaths": events.deaths,
            "side_a": actors[events.side_a],
            "side_b": actors[events.side_b],
            "adm_1": events.adm_1,
            "latitude": events.latitude,
            "longitude": events.longitude,
            "where_prec": events.where_prec,
            "capital_latitude": capital[events.row, 0],
            "capital_longitude": capital[events.row, 1],
        }
    )


def monthly(frame: pd.DataFrame, *keys: str) -> pd.core.groupby.DataFrameGroupBy:
    """Group events by country, further keys and month."""
    return frame.groupby(["iso3", *keys, "month"])


def complete(values: pd.Series, inputs: Inputs) -> pd.Series:
    """Fill sums by country and month with 0 where there is no event."""
    index = pd.MultiIndex.from_product([inputs.iso3, range(MONTHS)], names=["iso3", "month"])
    return values.reindex(index, fill_value=0)


def rolled(values: pd.Series, months: int) -> pd.Series:
    """Sum over the last months of each country."""
    return values.groupby("iso3", group_keys=False).rolling(months).sum().droplevel(0)


def rectangle(values: pd.Series, inputs: Inputs) -> Rectangle:
    """Lay values by country and month out as an array."""
    return values.unstack("month").reindex(index=list(inputs.iso3)).to_numpy()


def deaths(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Deaths over 12 months."""
    in_war = complete(monthly(frame[frame["type"] == 0])["deaths"].sum(), inputs)
    return np.log1p(rectangle(rolled(in_war, 12), inputs))


def capital_events(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Located events within 250 km of the capital over 12 months."""
    located = frame[frame["where_prec"] <= 3]
    places = ("latitude", "longitude", "capital_latitude", "capital_longitude")
    lat, lon, capital_lat, capital_lon = (np.radians(located[name]) for name in places)
    across, along = np.sin((capital_lat - lat) / 2) ** 2, np.sin((capital_lon - lon) / 2) ** 2
    km = 2 * geography.EARTH_RADIUS * np.arcsin(np.sqrt(across + np.cos(lat) * np.cos(capital_lat) * along))
    return np.log1p(rectangle(rolled(complete(monthly(located[km <= 250]).size(), inputs), 12), inputs))


def rolling_events(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Count events over 12 months by country, another key and month; columns `iso3`, `month` and `events`."""
    counted = monthly(frame, key).size().unstack("month", fill_value=0)
    long = counted.reindex(columns=range(MONTHS), fill_value=0).stack().rename("events").reset_index()
    long["events"] = long.groupby(["iso3", key])["events"].rolling(12).sum().to_numpy()
    return long.dropna()


def units(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """First-order units touched in 12 months."""
    recent = rolling_events(frame, "adm_1")
    touched = recent[recent["events"] > 0].groupby(["iso3", "month"]).size()
    return np.log1p(rectangle(complete(touched, inputs), inputs))


def effective_actors(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Effective number of armed actors by the events in which each took part, 12 months."""
    sides = [frame[["iso3", "month", side]].rename(columns={side: "actor"}) for side in ("side_a", "side_b")]
    took_part = pd.concat(sides)
    recent = rolling_events(took_part[took_part["actor"] != "Civilians"], "actor")
    recent["square"] = recent["events"] ** 2
    summed = recent.groupby(["iso3", "month"])[["events", "square"]].sum()
    effective = summed["events"] ** 2 / summed["square"]
    return rectangle(effective.unstack("month").reindex(columns=range(MONTHS)).stack(future_stack=True), inputs)


def since_25(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Months since the last month with 25 or more deaths, at most 120."""

    def since(window: NDArray[np.float64]) -> float:
        deadly = np.flatnonzero(window >= 25)
        return float(len(window) - 1 - deadly[-1]) if deadly.size else 120.0

    in_war = complete(monthly(frame[frame["type"] == 0])["deaths"].sum(), inputs)
    waits = in_war.groupby("iso3", group_keys=False).rolling(120, min_periods=1).apply(since, raw=True).droplevel(0)
    return rectangle(waits, inputs)


REFERENCES: dict[str, Callable[[pd.DataFrame, Inputs], Rectangle]] = {
    "deaths_12m": deaths,
    "units_12m": units,
    "effective_actors_12m": effective_actors,
    "capital_events_250km_12m": capital_events,
    "since_25": since_25,
}


if __name__ == "__main__":
    main()
