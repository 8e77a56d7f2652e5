"""How fast the panel of indicators is: `python benchmarks/indicators.py [--events 418000]` prints tables.

191 countries, 408 months and as many events as GED 26.1 has, made by a seed: few countries have most of them, events
pile up on places, and groups come and go. Then the same with a half and a quarter of the events, and five indicators of
different kinds beside pandas, written plainly; whether both agree is checked. Each panel is a process of its own, so
that peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators.inputs import Events, Inputs, Rectangle
from riskmodel.indicators.panel import FAMILIES, INDICATORS, assemble
from riskmodel.outcomes import TYPES, CountryMonths

COUNTRIES, MONTHS, EVENTS = 191, 408, 418_000
FIRST = np.datetime64("1989-01", "M")
GROUPS, UNITS = 6, 20
RUNS = 3


def main() -> None:
    """Print what the panel costs, by family and by number of events, and how it compares."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS)
    options.add_argument("--panel", action="store_true", help="measure one panel and print JSON")
    asked = options.parse_args()
    if asked.panel:
        print(json.dumps(measure(asked.events)))
        return
    print(f"{COUNTRIES} countries, {MONTHS} months, {len(INDICATORS)} indicators")
    print(f"{'events':>10}{'panel, s':>10}{'peak MB':>9}{'of them inputs':>16}")
    for part in (4, 2, 1):
        cost = alone(asked.events // part)
        print(
            f"{asked.events // part:>10,}{cost['seconds']:>10.2f}{cost['peak']:>9.0f}{cost['before']:>16.0f}",
            flush=True,
        )
    print(f"\n{'family':<14}{'indicators':>11}{'seconds':>9}")
    for family in FAMILIES:
        print(
            f"{family.name:<14}{len(family.indicators):>11}{sum(cost['each'][i.name] for i in family.indicators):>9.2f}"
        )
    slowest = sorted(cost["each"], key=cost["each"].__getitem__, reverse=True)[:8]
    print("slowest:", ", ".join(f"{name} {cost['each'][name]:.2f}" for name in slowest))
    compare(asked.events)


def alone(events: int) -> dict[str, dict[str, float]]:
    """What a panel costs in a process of its own: see `measure`."""
    command = [sys.executable, __file__, "--panel", "--events", str(events)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 - ourselves


def measure(events: int) -> dict[str, object]:
    """Seconds of a panel and of each indicator [s], and peak memory before the panel and at its end [MB]."""
    inputs = world(events)
    observed = outcome(inputs)
    before = peak()
    began = time.perf_counter()
    panel = assemble(observed, "state_based", inputs)
    seconds = time.perf_counter() - began
    if panel.absent:
        raise SystemExit(f"no input for {', '.join(panel.absent)}")
    after = peak()
    anew = replace(inputs)  # what several indicators share is charged to the first of them
    each = {indicator.name: shortest(lambda i=indicator: i.compute(anew), 1)[0] for indicator in INDICATORS}
    return {"seconds": seconds, "before": before, "peak": after, "each": each}


def peak() -> float:
    """The most memory that this process has had [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def shortest(work: Callable[[], Rectangle], runs: int = RUNS) -> tuple[float, Rectangle]:
    """The shortest of some runs [s], and what they gave."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        given = work()
        taken.append(time.perf_counter() - began)
    return min(taken), given


def world(size: int, seed: int = 1) -> Inputs:
    """Inputs by a seed, with every table that an indicator declares."""
    rng = np.random.default_rng(seed)
    iso3 = tuple(sorted(geography.countries())[:COUNTRIES])
    events = made(rng, iso3, size)
    of_type = events.kind == TYPES.index("state_based")
    tables = {"deaths": events.count(of_type, events.deaths)}
    for name in sorted({name for indicator in INDICATORS for name in indicator.inputs} - {"events", "deaths"}):
        tables[name] = rng.poisson(3, (COUNTRIES, MONTHS)).astype(np.float64)
    if "completeness" in tables:
        tables["completeness"] = np.minimum(0.6 + 0.1 * tables["completeness"], 1.0)
    return Inputs(iso3, FIRST + np.arange(MONTHS), tables, events)


def outcome(inputs: Inputs) -> CountryMonths:
    """The outcome of some inputs."""
    deaths = dict.fromkeys((*TYPES, "all"), inputs.tables["deaths"])
    return CountryMonths(inputs.iso3, inputs.months, deaths, np.zeros((COUNTRIES, MONTHS), dtype=np.int16), ("0001",))


def made(rng: np.random.Generator, iso3: tuple[str, ...], size: int) -> Events:
    """Events of all countries, in the order of day and id; a few countries have most of them."""
    weight = 1 / (1 + rng.permutation(COUNTRIES)) ** 1.1
    row = rng.choice(COUNTRIES, size, p=weight / weight.sum())
    wars = rng.integers(0, MONTHS, (COUNTRIES, 8))
    lasting = wars[row, rng.integers(0, 8, size)] + rng.exponential(20, size).astype(np.int64)
    column = np.where(rng.random(size) < 0.85, lasting, rng.integers(0, MONTHS, size)) % MONTHS
    day = (FIRST + column).astype("datetime64[D]").astype(np.int64) + rng.integers(0, 28, size)
    order = np.lexsort((np.arange(size), day))
    row, column, day = row[order], column[order], day[order]
    deaths = np.floor(rng.exponential(1.0, size) ** 2 * 2)
    kind = rng.choice(3, size, p=[0.7, 0.15, 0.15])
    actors = (
        *(f"Government of {code}" for code in iso3),
        *(f"Group {n}" for n in range(COUNTRIES * GROUPS)),
        "Civilians",
    )
    first = rng.integers(0, 4, size)
    pick = np.stack([first, (first + rng.integers(1, 4, size)) % 4])  # nobody fights against itself
    group = COUNTRIES + (row * GROUPS + column * GROUPS // MONTHS + pick) % (COUNTRIES * GROUPS)
    side_a = np.where((kind == 0) | ((kind == 2) & (rng.random(size) < 0.3)), row, group[0])
    side_b = np.where(kind == 2, len(actors) - 1, group[1])
    pairs, dyad = np.unique(side_a * len(actors) + side_b, return_inverse=True)
    latitude, longitude = spots(rng, iso3, row)
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
        adm_1=row * UNITS + (rng.random(size) ** 2 * UNITS).astype(np.intp),
        state_a=side_a < COUNTRIES,
        latitude=latitude,
        longitude=longitude,
        where_prec=rng.choice([1, 2, 3, 4, 5, 6], size, p=[0.5, 0.2, 0.1, 0.15, 0.03, 0.02]).astype(np.float64),
        date_prec=rng.choice([1, 2, 5], size, p=[0.85, 0.13, 0.02]).astype(np.float64),
        sources=1.0 + rng.poisson(1, size),
        told=np.ones((COUNTRIES, MONTHS), dtype=bool),
        dyads=tuple(f"Dyad {pair}" for pair in pairs.tolist()),
        actors=actors,
        units=tuple((code, f"Unit {number}") for code in iso3 for number in range(UNITS)),
    )


def spots(rng: np.random.Generator, iso3: tuple[str, ...], row: NDArray[np.intp]) -> tuple[Rectangle, Rectangle]:
    """Coordinates: 300 places a country between the capital, its towns and airports, and its borders."""
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
    """Five indicators beside pandas. Raises SystemExit where they do not agree."""
    inputs = world(events)
    frame = table(inputs)
    compute = {indicator.name: indicator.compute for indicator in INDICATORS}
    print(f"\n{'indicator':<28}{'pandas, s':>11}{'ours, s':>9}{'times':>7}")
    slow_all = fast_all = 0.0
    for name, reference in REFERENCES.items():
        fast, ours = shortest(lambda name=name: compute[name](replace(inputs)))
        slow, theirs = shortest(lambda reference=reference: reference(frame, inputs))
        known = ~np.isnan(ours)
        if (known & np.isnan(theirs)).any() or not np.allclose(ours[known], theirs[known], rtol=1e-9, atol=1e-12):
            raise SystemExit(f"{name}: pandas says otherwise")
        slow_all, fast_all = slow_all + slow, fast_all + fast
        print(f"{name:<28}{slow:>11.2f}{fast:>9.3f}{slow / fast:>7.0f}", flush=True)
    print(f"{'in all':<28}{slow_all:>11.2f}{fast_all:>9.3f}{slow_all / fast_all:>7.0f}")


def table(inputs: Inputs) -> pd.DataFrame:
    """The events as a table that a user of pandas would have."""
    events, iso3, actors = inputs.reported, np.array(inputs.iso3), np.array(inputs.reported.actors)
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
    """The events of each country, further key and month."""
    return frame.groupby(["iso3", *keys, "month"])


def complete(values: pd.Series, inputs: Inputs) -> pd.Series:
    """Sums by country and month with all countries and months, 0 where nothing happened."""
    index = pd.MultiIndex.from_product([inputs.iso3, range(MONTHS)], names=["iso3", "month"])
    return values.reindex(index, fill_value=0)


def rolled(values: pd.Series, months: int) -> pd.Series:
    """The sum over the last months of a country's sums."""
    return values.groupby("iso3", group_keys=False).rolling(months).sum().droplevel(0)


def rectangle(values: pd.Series, inputs: Inputs) -> Rectangle:
    """Values by country and month as an array."""
    return values.unstack("month").reindex(index=list(inputs.iso3)).to_numpy()


def deaths(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Deaths over 12 months."""
    in_war = complete(monthly(frame[frame["type"] == 0])["deaths"].sum(), inputs)
    return np.log1p(rectangle(rolled(in_war, 12), inputs))


def ring(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Located events within 250 km of the capital over 12 months."""
    located = frame[frame["where_prec"] <= 3]
    places = ("latitude", "longitude", "capital_latitude", "capital_longitude")
    lat, lon, capital_lat, capital_lon = (np.radians(located[name]) for name in places)
    across, along = np.sin((capital_lat - lat) / 2) ** 2, np.sin((capital_lon - lon) / 2) ** 2
    km = 2 * geography.EARTH_RADIUS * np.arcsin(np.sqrt(across + np.cos(lat) * np.cos(capital_lat) * along))
    return np.log1p(rectangle(rolled(complete(monthly(located[km <= 250]).size(), inputs), 12), inputs))


def parts(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Events over 12 months by country and another key in every month, columns `iso3`, `month` and `events`."""
    counted = monthly(frame, key).size().unstack("month", fill_value=0)
    long = counted.reindex(columns=range(MONTHS), fill_value=0).stack().rename("events").reset_index()
    long["events"] = long.groupby(["iso3", key])["events"].rolling(12).sum().to_numpy()
    return long.dropna()


def units(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """First-order units touched in 12 months."""
    recent = parts(frame, "adm_1")
    touched = recent[recent["events"] > 0].groupby(["iso3", "month"]).size()
    return np.log1p(rectangle(complete(touched, inputs), inputs))


def effective_actors(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Effective number of armed actors by the events in which each took part, 12 months."""
    sides = [frame[["iso3", "month", side]].rename(columns={side: "actor"}) for side in ("side_a", "side_b")]
    took_part = pd.concat(sides)
    recent = parts(took_part[took_part["actor"] != "Civilians"], "actor")
    recent["square"] = recent["events"] ** 2
    summed = recent.groupby(["iso3", "month"])[["events", "square"]].sum()
    effective = summed["events"] ** 2 / summed["square"]
    return rectangle(effective.unstack("month").reindex(columns=range(MONTHS)).stack(future_stack=True), inputs)


def waiting(frame: pd.DataFrame, inputs: Inputs) -> Rectangle:
    """Months since one with 25 or more deaths, at most 120."""

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
    "capital_events_250km_12m": ring,
    "since_25": waiting,
}


if __name__ == "__main__":
    main()
