"""Indicators of the family `reporting`: against naive loops, and Mali at the end of 2022 by hand."""

from collections.abc import Callable
from dataclasses import replace
from math import comb, exp, factorial
from pathlib import Path
from statistics import mean, variance

import ged
import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel.indicators.families.reporting import FAMILY, INDICATORS
from riskmodel.indicators.inputs import Events, Inputs
from riskmodel.reporting.under_reporting import RECENT_MONTHS, probability_at_most
from riskmodel.windows import Rectangle

COMPUTE = {indicator.name: indicator.compute for indicator in INDICATORS}

Made = Callable[..., Inputs]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Two countries with one event, to make others from."""
    folder = tmp_path_factory.mktemp("one")
    path = ged.write(folder / "events.csv", {"date": "2000-01-05"})
    return ged.inputs(folder, {"MLI:2000-01..2011-12, NER:2000-01..2011-12": path})


def repeated(inputs: Inputs, counts: NDArray[np.int64], covered: NDArray[np.bool_]) -> Inputs:
    """The same with so many events by country and month, shape (country, month)."""
    events = inputs.required_events
    row, column = np.nonzero(counts)
    times = counts[row, column]
    row, column = np.repeat(row, times), np.repeat(column, times)
    inside = covered[row, column]
    arrays = {
        name: np.repeat(getattr(events, name)[:1], int(inside.sum()))
        for name in Events.__dataclass_fields__
        if name not in ("row", "column", "covered", "dyads", "actors", "units")
    }
    return replace(inputs, events=replace(events, **arrays, row=row[inside], column=column[inside], covered=covered))


def naive_probability(events: NDArray[np.float64], share: NDArray[np.float64], months: int) -> float:
    """P(as few events or fewer) in the last months of one country, from its history one month at a time."""
    quiet = 0
    while quiet < min(12, events.size) and events[-1 - quiet] == 0:
        quiet += 1
    history = events[: max(events.size - max(months, quiet), 0)][-60:]
    unknown = np.flatnonzero(np.isnan(history))
    history = history[unknown[-1] + 1 :] if unknown.size else history
    newest = events[-months:]
    if history.size < 24 or np.isnan(newest).any():
        return float("nan")
    sums = [float(history[i : i + months].sum()) for i in range(history.size - months + 1)]
    average, spread = mean(sums), variance(sums)
    if average == 0:
        return 1.0
    reported = float(np.mean(np.where(np.isnan(share[-months:]), 1.0, share[-months:])))
    size = average**2 / (spread - average) if spread > average else float("inf")
    return float(probability_at_most(newest.sum(), average * reported, size))


histories = st.tuples(st.integers(0, 10**6), st.sampled_from([0.03, 0.3, 2.0, 20.0]), st.integers(0, 20))


@settings(max_examples=40, deadline=None)
@given(made=histories, hole=st.none() | st.integers(0, 143), share=st.none() | st.floats(0.05, 1))
def test_the_probability_equals_a_naive_computation(
    one: Inputs, made: tuple[int, float, int], hole: int | None, share: float | None
) -> None:
    seed, level, quiet = made
    rng = np.random.default_rng(seed)
    counts = rng.poisson(level * rng.gamma(0.7, 1 / 0.7, (2, 144)))
    counts[1, 144 - quiet :] = 0
    covered = np.ones((2, 144), dtype=bool)
    if hole is not None:
        covered[1, hole] = False
    inputs = repeated(one, counts, covered)
    reported = np.full((2, 144), np.nan)
    if share is not None:
        reported[:, 70:] = share
        inputs = replace(inputs, tables={**inputs.tables, "share_of_events": reported})
    events = np.where(covered, counts, np.nan).astype(np.float64)
    for months in RECENT_MONTHS:
        found = COMPUTE[f"under_reporting_{months}m"](inputs)
        for row in range(2):
            for end in (3, 20, 40, 80, 120, 140, 144):
                expected = naive_probability(events[row, :end], reported[row, :end], months)
                np.testing.assert_allclose(found[row, end - 1], expected, rtol=1e-6, atol=1e-9)


def test_the_probability_is_poisson_s_where_the_variance_is_the_mean(one: Inputs) -> None:
    """A history whose variance is its mean exactly, which rounding puts on either side of it."""
    counts = np.zeros((2, 144), dtype=np.int64)
    counts[:, 83:143] = _scattered(60)
    history = counts[0, 83:143]
    assert variance(history.tolist()) == pytest.approx(mean(history.tolist()), rel=1e-12)
    counts[:, 143] = 1
    found = COMPUTE["under_reporting_1m"](repeated(one, counts, np.ones((2, 144), dtype=bool)))
    average = float(history.mean())
    np.testing.assert_allclose(found[:, -1], exp(-average) * (1 + average), rtol=1e-9)


def _scattered(months: int) -> NDArray[np.int64]:
    """Whole counts whose sample variance is their mean: some ones, twos and noughts, found by trying."""
    for ones in range(1, months):
        for twos in range(1, months - ones):
            total, squares = ones + 2 * twos, ones + 4 * twos
            if months * squares - total**2 == total * (months - 1):
                return np.array([1] * ones + [2] * twos + [0] * (months - ones - twos))
    raise AssertionError("there are none")


def test_no_reports_from_a_busy_country_are_improbable(one: Inputs) -> None:
    counts = np.full((2, 144), 8)
    counts[0, ::2] = 12
    counts[0, -3:] = 0
    found = COMPUTE["under_reporting_3m"](repeated(one, counts, np.ones((2, 144), dtype=bool)))
    assert found[0, -1] < 1e-9
    assert found[0, -4] > 0.3
    assert found[1, -1] > 0.3


def test_the_share_of_events_explains_events_that_are_not_reported_yet(one: Inputs) -> None:
    counts = np.full((2, 144), 8)
    counts[:, -1] = 2
    inputs = repeated(one, counts, np.ones((2, 144), dtype=bool))
    share = np.ones((2, 144))
    share[0, -1] = 0.25
    found = COMPUTE["under_reporting_1m"](replace(inputs, tables={**inputs.tables, "share_of_events": share}))
    assert found[0, -1] > 0.5
    assert found[1, -1] < 0.02


def test_key_events_are_the_deadliest_vague_events_of_the_year(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "date": "2019-01-05", "best": 900, "high": 900, "date_prec": 5},
        {"id": 2, "date": "2020-01-05", "best": 50, "high": 50},
        {"id": 3, "date": "2020-02-05", "best": 7, "high": 7, "date_prec": 5},
        {"id": 4, "date": "2020-03-05", "best": 9, "high": 9, "where_prec": 6},
        {"id": 5, "date": "2020-04-05", "best": 7, "high": 7, "where_prec": 4},
        {"id": 6, "date": "2020-04-05", "best": 80, "high": 80, "where_prec": 4, "country_id": ged.NIGER},
        {"id": 7, "date": "2020-09-05", "best": 80, "high": 80, "where_prec": 4},
    ]
    path = ged.write(tmp_path / "events.csv", *rows)
    inputs = ged.inputs(tmp_path, {"MLI:2019-01..2020-12, NER:2019-01..2020-12": path})
    assert FAMILY.key_events is not None
    column = worlds.column(inputs, "2020-06")
    key_events = FAMILY.key_events(inputs, inputs.iso3.index("MLI"), column)
    assert inputs.required_events.event_id[key_events].tolist() == ["4", "5", "3"]
    assert FAMILY.key_events(inputs, inputs.iso3.index("NER"), column - 3).size == 0


def at_most(count: int, average: float, spread: float) -> float:
    """P(X <= count), a negative binomial of whole size by its definition, or Poisson's."""
    if spread <= average:
        return sum(exp(-average) * average**k / factorial(k) for k in range(count + 1))
    size = average**2 / (spread - average)
    term = (size / (size + average)) ** size
    total = term
    for k in range(count):
        term *= (size + k) / (k + 1) * average / (size + average)
        total += term
    return total


def test_the_distribution_of_the_naive_computation() -> None:
    assert at_most(2, 4.0, 8.0) == pytest.approx(sum(comb(k + 3, k) * 0.5**4 * 0.5**k for k in range(3)))


def test_mali_at_the_end_of_2022_by_hand(shared: Path, tmp_path: Path) -> None:
    """Mali's events read from the shared file in plain Python, against the indicators through the archive."""
    path = shared / "gedevents_mali_to_2022.csv.gz"
    inputs = ged.inputs(tmp_path, {"MLI:1989-01..2022-12": path})
    column = worlds.column(inputs, "2022-12")
    found: dict[str, float] = {
        name: float(compute(inputs)[0, column])
        for name, compute in COMPUTE.items()
        if not name.startswith("reported_ratio")
    }
    rows = ged.rows(path)
    assert len(rows) == 1801
    by_month = [0] * (12 * 34)
    for row in rows:
        number, _, year = row["date_start"][:10].split("/")
        by_month[(int(year) - 1989) * 12 + int(number) - 1] += 1
    year = [row for row in rows if row["date_start"][6:10] == "2022"]
    sources = [int(row["number_of_sources"]) for row in year if int(row["number_of_sources"]) >= 0]
    expected = {
        "vague_dates_12m": mean(int(row["date_prec"]) == 5 for row in year),
        "vague_deaths_12m": sum(int(row["best_est"]) for row in year if int(row["date_prec"]) == 5)
        / sum(int(row["best_est"]) for row in year),
        "vague_places_12m": mean(int(row["where_prec"]) > 3 for row in year),
        "sources_per_event_12m": mean(sources),
        "single_source_12m": mean(number == 1 for number in sources),
    }
    for months in (1, 3):
        history = by_month[-months - 60 : -months]
        sums = [sum(history[i : i + months]) for i in range(60 - months + 1)]
        expected[f"under_reporting_{months}m"] = at_most(sum(by_month[-months:]), mean(sums), variance(sums))
    assert by_month[-1] > 0, "the last month has events"
    assert found == pytest.approx(expected)


def test_mali_s_record_of_2022_is_uncertain_in_places(shared: Path, tmp_path: Path) -> None:
    """The shares differ from none and from all, so that the check above is one."""
    inputs = ged.inputs(tmp_path, {"MLI:1989-01..2022-12": shared / "gedevents_mali_to_2022.csv.gz"})
    last: dict[str, Rectangle] = {
        name: COMPUTE[name](inputs)[0, -1] for name in ("vague_places_12m", "single_source_12m")
    }
    assert all(0 < value < 1 for value in last.values())
