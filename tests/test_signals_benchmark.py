"""What `benchmarks/signals.py` counts: escalations, what followed, and which country-months count."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from histories import made, rectangle

from riskmodel.explanation.base_rates import FIRST_YEAR, LAST_YEAR
from riskmodel.explanation.signals import observations

MONTHS = 200
DEATHS = made(seed=3, months=MONTHS)
DEATHS[2, 100] = np.nan


@pytest.fixture(scope="module")
def benchmark(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("signals")


def escalates(deaths: np.ndarray, month: int) -> float:
    """The definition of `targets`, one month at a time."""
    if month < 2 or month + 3 >= deaths.size:
        return np.nan
    after, threshold = deaths[month + 1 : month + 4].sum(), max(25.0, 2 * deaths[month - 2 : month + 1].sum())
    return np.nan if np.isnan(after + deaths[month - 2 : month + 1].sum()) else float(after >= threshold)


def test_what_followed_against_a_naive_loop(benchmark: ModuleType) -> None:
    labels = benchmark.labels(DEATHS)
    for country, month in np.ndindex(DEATHS.shape):
        deaths = DEATHS[country]
        next_origins = [escalates(deaths, month + lead) for lead in range(6)]
        expected = np.nan if np.isnan(next_origins).any() else max(next_origins)
        np.testing.assert_equal(labels["escalation"][country, month], expected)
        after = deaths[month + 1 : month + 7]
        expected = np.nan if after.size < 6 or np.isnan(after).any() else float((after >= 25).any())
        np.testing.assert_equal(labels["month_25"][country, month], expected)
    assert 0 < np.nanmean(labels["escalation"]) < 1


def test_rates_count_active_countries_with_and_without_the_signal(benchmark: ModuleType) -> None:
    frame = rectangle(DEATHS, first="2000-01")
    signals = observations(frame.iso3, frame, None).of("state_based")
    rows = {(row["indicator"], row["followed_by"]): row for row in benchmark.base_rates(signals)}
    part = next(part for part in signals.comparisons if part.kind.name == "deaths_12m")
    labels, counted = benchmark.labels(DEATHS)["escalation"], {True: [], False: []}
    for country, month in np.ndindex(DEATHS.shape):
        known = not np.isnan(part.as_high_5[country, month]) and not np.isnan(labels[country, month])
        in_years = FIRST_YEAR <= 2000 + month // 12 <= LAST_YEAR
        if known and in_years and DEATHS[country, month - 11 : month + 1].sum() > 0:
            counted[part.is_signal(country, month)].append(labels[country, month])
    row = rows["deaths_12m", "escalation"]
    for name, on in (("with", True), ("without", False)):
        assert row[f"{name}_months"] == len(counted[on]) > 0
        assert row[f"{name}_share"] == pytest.approx(np.mean(counted[on]), abs=1e-4)
        assert row[f"{name}_low"] <= row[f"{name}_share"] <= row[f"{name}_high"]
