"""The family `capital` against plain counting: on real event histories, and by brute force on made-up ones."""

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import worlds
from numpy.typing import NDArray

from riskmodel import geography, reference
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.indicators.families import capital
from riskmodel.indicators.inputs import Events, Inputs
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.months import month, span

Vigie = Callable[..., Any]

CAPITALS = {
    "MLI": "gedevents_mali_to_2022.csv.gz",
    "BFA": "gedevents_burkina_faso_to_2022.csv.gz",
    "NER": "gedevents_niger_to_2022.csv.gz",
    "CAF": "GEDEvent_v23_1_CAF.csv.gz",
}
YEARS = range(2012, 2023)
RINGS = (25, 50, 100, 250)
COMPUTE = {indicator.name: indicator.compute for indicator in capital.INDICATORS}
KEY_EVENTS = capital.FAMILY.key_events


def distances(path: Path, latitude: float, longitude: float) -> dict[int, list[float]]:
    """By year, how far from a point the events of a file lie that are located [km]."""
    found: dict[int, list[float]] = {year: [] for year in YEARS}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            day = row["date_start"]
            year = int(day[6:10] if "/" in day else day[:4])
            if year in found and row["where_prec"] in ("1", "2", "3"):
                found[year].append(worlds.km(latitude, longitude, float(row["latitude"]), float(row["longitude"])))
    return found


def real(vigie: Vigie, home: Home, path: Path, iso3: str) -> Inputs:
    """What indicators are computed from, of one country's event file."""
    assert vigie("ingest", "ucdp", path, "--covers", f"{iso3}:2010-01..2022-12").code == 0
    view = Archive(home.archive).view()
    frame = view.outcomes()
    return read_inputs(view, frame, "state_based", frame.deaths["state_based"])


def at_year_ends(inputs: Inputs, name: str, years: range = YEARS) -> NDArray[np.float64]:
    """The values at the ends of years: of twelve months, they are those of the calendar year."""
    columns = [int((month(f"{year}-12") - inputs.months[0]).astype(int)) for year in years]
    return COMPUTE[name](inputs)[0, columns]


@pytest.mark.parametrize("iso3", CAPITALS)
def test_rings_around_a_capital_match_counts_by_hand(vigie: Vigie, home: Home, shared: Path, iso3: str) -> None:
    (here,) = (row for row in reference.rows("countries.csv") if row["iso3"] == iso3)
    found = distances(shared / CAPITALS[iso3], float(here["latitude"]), float(here["longitude"]))
    inputs = real(vigie, home, shared / CAPITALS[iso3], iso3)
    for ring in RINGS:
        counted = [sum(one <= ring for one in found[year]) for year in YEARS]
        np.testing.assert_allclose(np.expm1(at_year_ends(inputs, f"capital_events_{ring}km_12m")), counted, atol=1e-9)
    shares = [sum(one <= 250 for one in found[year]) / len(found[year]) if found[year] else np.nan for year in YEARS]
    medians = [median(found[year]) if found[year] else np.nan for year in YEARS]
    np.testing.assert_allclose(at_year_ends(inputs, "capital_share_12m"), shares)
    np.testing.assert_allclose(at_year_ends(inputs, "capital_median_12m"), medians)
    np.testing.assert_allclose(at_year_ends(inputs, "capital_median_change_12m")[1:], np.diff(medians))


def test_violence_came_closer_to_bamako(vigie: Vigie, home: Home, shared: Path) -> None:
    inputs = real(vigie, home, shared / CAPITALS["MLI"], "MLI")
    years = range(2017, 2023)
    counts = np.expm1(at_year_ends(inputs, "capital_events_250km_12m", years))
    np.testing.assert_allclose(counts, [4, 5, 3, 5, 8, 19])
    shares = at_year_ends(inputs, "capital_share_12m", years)
    np.testing.assert_allclose(100 * shares, [3.8, 2.4, 1.8, 2.7, 4.4, 5.4], atol=0.05)
    medians = at_year_ends(inputs, "capital_median_12m", years)
    np.testing.assert_allclose(medians[[0, -1]], [781, 516], atol=1)  # of a point 1.2 km distances_km
    assert (np.diff(medians) < 0).all()
    nearest = np.expm1(at_year_ends(inputs, "capital_events_25km_12m", years))
    np.testing.assert_allclose(nearest[1:], [0, 0, 0, 0, 1])
    events = inputs.required_events
    shown = KEY_EVENTS(inputs, 0, len(inputs.months) - 1)
    assert np.datetime64(int(events.day[shown[0]]), "D") == np.datetime64("2022-07-22"), "Kati"
    assert len(shown) == 5
    bamako = geography.country("MLI")
    distances_km = [
        worlds.km(bamako.latitude, bamako.longitude, events.latitude[index], events.longitude[index]) for index in shown
    ]
    assert all(one <= 250 for one in distances_km)


def made(seed: int, events: int = 400, months: int = 40) -> Inputs:
    """Two countries' events: half at random within a few degrees, half around sites; some not located."""
    rng = np.random.default_rng(seed)
    iso3, when = ("MLI", "NER"), span(month("2001-01"), month("2001-01") + months - 1)
    first, last = (when[[0, -1]] + [0, 1]).astype("datetime64[D]").astype(np.int64)
    day = np.sort(rng.integers(first, last, events))
    row = rng.integers(0, 2, events)
    sites = geography.sites()
    own = np.array([rng.choice(np.flatnonzero(sites.iso3 == iso3[i])) for i in row])
    at_site = rng.random(events) < 0.5
    spread = np.where(at_site, 0.08, 2.0)
    capitals = np.array([(c.latitude, c.longitude) for c in map(geography.country, iso3)])
    nowhere = np.zeros(events, dtype=np.intp)
    return Inputs(
        iso3,
        when,
        {"deaths": np.zeros((2, months))},
        Events(
            event_id=np.arange(events).astype(str),
            row=row,
            column=(day.astype("datetime64[D]").astype("datetime64[M]") - when[0]).astype(np.intp),
            day=day,
            deaths=rng.integers(0, 9, events).astype(np.float64),
            civilians=np.zeros(events),
            kind=nowhere,
            dyad=nowhere,
            side_a=nowhere,
            side_b=nowhere,
            adm_1=nowhere,
            state_a=np.zeros(events, dtype=bool),
            latitude=np.where(at_site, sites.latitude[own], capitals[row, 0]) + spread * rng.normal(size=events),
            longitude=np.where(at_site, sites.longitude[own], capitals[row, 1]) + spread * rng.normal(size=events),
            where_prec=rng.choice([1.0, 2.0, 3.0, 4.0, np.nan], events),
            date_prec=rng.choice([1.0, 1.0, 2.0], events),
            sources=np.ones(events),
            covered=np.ones((2, months), dtype=bool),
            dyads=("Invented dyad",),
            actors=("Invented side A",),
            units=(("MLI", "Invented region"),),
        ),
    )


def located(inputs: Inputs) -> list[tuple[int, int, int, float, float, int]]:
    """Row, column, day, latitude, longitude and index of each event that is located."""
    events = inputs.required_events
    return [
        (
            int(events.row[i]),
            int(events.column[i]),
            int(events.day[i]),
            float(events.latitude[i]),
            float(events.longitude[i]),
            i,
        )
        for i in range(events.row.size)
        if events.where_prec[i] <= 3
    ]


@pytest.mark.parametrize("seed", range(4))
def test_new_ground_equals_a_comparison_of_all_pairs(seed: int) -> None:
    inputs = made(seed, months=60)
    there = located(inputs)
    expected = np.zeros((2, 60))
    for row, column, day, latitude, longitude, _ in there:
        since = (inputs.months[column] - 24).astype("datetime64[D]").astype(int)
        earlier = (
            worlds.km(latitude, longitude, one[3], one[4]) <= 100
            for one in there
            if one[0] == row and since <= one[2] < day
        )
        expected[row, column] += not any(earlier)
    for months in (3, 12):
        values = np.expm1(COMPUTE[f"new_ground_{months}m"](inputs))
        assert np.isnan(values[:, : 23 + months]).all()
        for column in range(23 + months, 60):
            summed = expected[:, column - months + 1 : column + 1].sum(axis=1)
            np.testing.assert_allclose(values[:, column], summed, atol=1e-9)
    assert expected[:, 24:].sum() > 3, "there is something to find"


@pytest.mark.parametrize("seed", range(4))
def test_events_at_sites_equal_a_comparison_of_all_pairs(seed: int) -> None:
    inputs = made(seed, events=3000, months=14)
    sites = geography.sites()
    at: dict[int, list[int]] = {}
    for row, _, _, latitude, longitude, event in located(inputs):
        at[event] = [
            int(site)
            for site in np.flatnonzero(sites.iso3 == inputs.iso3[row])
            if worlds.km(latitude, longitude, sites.latitude[site], sites.longitude[site]) <= 10
        ]
    events, last = inputs.required_events, len(inputs.months) - 1
    for row in range(2):
        recent = [event for event in at if events.row[event] == row and events.column[event] > last - 12]
        for kind in ("airport", "town"):
            counted = sum(any(sites.kind[site] == kind for site in at[event]) for event in recent)
            assert np.expm1(COMPUTE[f"{kind}_events_12m"](inputs))[row, last] == pytest.approx(counted)
        hit = {site for event in recent for site in at[event]}
        assert np.expm1(COMPUTE["sites_touched_12m"](inputs))[row, last] == pytest.approx(len(hit))
        by_day: dict[int, set[int]] = {}
        for event in recent:
            if events.date_prec[event] == 1:
                by_day.setdefault(int(events.day[event]), set()).update(at[event])
        several = sum(
            any(
                worlds.km(sites.latitude[a], sites.longitude[a], sites.latitude[b], sites.longitude[b]) >= 25
                for a in here
                for b in here
            )
            for here in by_day.values()
        )
        assert several > 5
        assert np.expm1(COMPUTE["sites_at_once_12m"](inputs))[row, last] == pytest.approx(several)


def test_the_order_of_events_within_a_day_changes_nothing() -> None:
    inputs = made(3, events=2000)
    events = inputs.required_events
    order = np.lexsort((np.random.default_rng(1).random(events.day.size), events.day))
    arrays = {
        name: value[order]
        for name, value in vars(events).items()
        if isinstance(value, np.ndarray) and value.shape == order.shape and name != "armed"
    }
    shuffled = replace(inputs, events=replace(events, **arrays))
    for name, compute in COMPUTE.items():
        np.testing.assert_array_equal(compute(shuffled), compute(inputs), err_msg=name)


def test_a_country_without_located_events_has_counts_and_no_distances() -> None:
    inputs = made(1)
    events = inputs.required_events
    vague = replace(inputs, events=replace(events, where_prec=np.full(events.row.size, 4.0)))
    for name, compute in COMPUTE.items():
        last = compute(vague)[:, -1]
        if "share" in name or "median" in name or "centre" in name:
            assert np.isnan(last).all(), name
        else:
            assert (last == 0).all(), name
    assert KEY_EVENTS(vague, 0, 39).size == 0


def test_key_events_are_the_nearest_and_newest_of_the_last_year() -> None:
    inputs = made(2, events=800)
    events = inputs.required_events
    here = geography.country("NER")
    for column in (11, 39):
        shown = KEY_EVENTS(inputs, 1, column)
        assert shown.size == 5
        assert (events.row[shown] == 1).all()
        assert ((events.column[shown] <= column) & (events.column[shown] > column - 12)).all()
        rings = [
            sum(
                worlds.km(here.latitude, here.longitude, events.latitude[i], events.longitude[i]) > ring
                for ring in RINGS
            )
            for i in shown
        ]
        newest = [(ring, -int(events.day[i])) for ring, i in zip(rings, shown, strict=True)]
        assert newest == sorted(newest)
