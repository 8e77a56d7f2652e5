"""Scores against naive loops, and against the package `scores` of the Australian Bureau of Meteorology."""

import math
from itertools import product

import numpy as np
import pytest
import scores
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from riskmodel import scoring

counts = st.one_of(st.integers(0, 30), st.integers(0, 5000)).map(float)
draws = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 25)), elements=counts)
events = st.lists(st.tuples(st.integers(0, 10).map(lambda tenth: tenth / 10), st.booleans()), min_size=1, max_size=30)

BINS = (
    (0, 0),
    (1, 2),
    (3, 5),
    (6, 10),
    (11, 25),
    (26, 50),
    (51, 100),
    (101, 250),
    (251, 500),
    (501, 1000),
    (1001, 10**9),
)


def naive_crps(x: list[float], y: float) -> float:
    n = len(x)
    return sum(abs(a - y) for a in x) / n - sum(abs(a - b) for a, b in product(x, x)) / n**2 / 2


def naive_bin(value: float) -> int:
    return next(i for i, (low, high) in enumerate(BINS) if low <= value <= high)


def naive_ignorance(x: list[float], y: float) -> float:
    share = sum(naive_bin(a) == naive_bin(y) for a in x) / len(x)
    return -math.log2((1000 * share + 1) / 1011)


def naive_quantile(x: list[float], q: float) -> float:
    ordered = sorted(x)
    index = q * (len(x) - 1)
    below = math.floor(index)
    above = min(below + 1, len(x) - 1)
    return ordered[below] + (index - below) * (ordered[above] - ordered[below])


def naive_interval_score(x: list[float], y: float) -> float:
    lower, upper = naive_quantile(x, 0.05), naive_quantile(x, 0.95)
    return (upper - lower) + 20 * max(lower - y, 0) + 20 * max(y - upper, 0)


@settings(max_examples=60, deadline=None)
@given(forecast=draws, data=st.data())
def test_scores_of_draws_equal_a_naive_loop(forecast: np.ndarray, data: st.DataObject) -> None:
    observed = data.draw(arrays(np.float64, forecast.shape[:-1], elements=counts))
    scores = {
        naive_crps: scoring.crps(forecast, observed),
        naive_ignorance: scoring.ignorance(forecast, observed),
        naive_interval_score: scoring.interval_score(forecast, observed),
        lambda x, y: naive_crps([math.log1p(a) for a in x], math.log1p(y)): scoring.log_crps(forecast, observed),
    }
    for naive, result in scores.items():
        assert result.shape == observed.shape
        for index in np.ndindex(observed.shape):
            assert result[index] == pytest.approx(naive(forecast[index].tolist(), observed[index]), rel=1e-6, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(forecast=draws, data=st.data(), level=st.sampled_from([0.5, 0.9]))
def test_intervals_equal_a_naive_loop(forecast: np.ndarray, data: st.DataObject, level: float) -> None:
    observed = data.draw(arrays(np.float64, forecast.shape[:-1], elements=counts))
    lower, upper = scoring.interval(forecast, level)
    for index in np.ndindex(observed.shape):
        x, tail = forecast[index].tolist(), (1 - level) / 2
        assert lower[index] == pytest.approx(naive_quantile(x, tail))
        assert upper[index] == pytest.approx(naive_quantile(x, 1 - tail))


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), min_size=1, max_size=20),
    level=st.sampled_from([0.5, 0.9]),
)
def test_coverage_equals_a_naive_loop(pairs: list[list[int]], level: float) -> None:
    below, up_to = (np.array([pair[i] for pair in pairs]) / 20 for i in (0, 1))
    coverage, steps = scoring.interval_coverage(below, up_to, level), 10_000
    for result, low, high in zip(coverage, below, up_to, strict=True):
        points = low + (high - low) * (np.arange(steps) + 0.5) / steps
        assert result == pytest.approx(np.mean(np.abs(points - 0.5) <= level / 2 + 1e-9), abs=2e-4)
    tenths = scoring.pit_histogram(below, up_to, bins=20)
    if (below < up_to).all():
        inside = slice(1, 19) if level == 0.9 else slice(5, 15)
        assert coverage.mean() == pytest.approx(tenths[inside].sum())


def test_the_coverage_of_a_calibrated_forecast_equals_the_level() -> None:
    rng = np.random.default_rng(1)
    observed = rng.poisson(0.4, 4000)
    draws = rng.poisson(0.4, (4000, 400))
    below, up_to = ((draws < observed[:, None]).mean(axis=1), (draws <= observed[:, None]).mean(axis=1))
    for level in (0.5, 0.9):
        assert scoring.interval_coverage(below, up_to, level).mean() == pytest.approx(level, abs=0.015)


@settings(max_examples=60, deadline=None)
@given(cases=events, units=st.integers(1, 4), seed=st.integers(0, 9))
def test_bootstrap_ranking_equals_scores_of_repeated_units(
    cases: list[tuple[float, bool]], units: int, seed: int
) -> None:
    size = -(-len(cases) // units)
    probability, observed = np.full((2, units * size), np.nan)
    probability[: len(cases)], observed[: len(cases)] = zip(*cases, strict=True)
    probability, observed = probability.reshape(units, size), observed.reshape(units, size)
    counts_by_unit = scoring.bootstrap_counts(units, np.random.default_rng(seed), 5)
    assert len(counts_by_unit) == (6 if units > 1 else 1)
    assert (counts_by_unit[0] == 1).all()
    assert (counts_by_unit.sum(axis=1) == units).all()
    areas, precisions = scoring.bootstrap_ranking(probability, observed, counts_by_unit)
    for row, area, precision in zip(counts_by_unit, areas, precisions, strict=True):
        forecast, event = (np.repeat(cells, row, axis=0).ravel() for cells in (probability, observed))
        known = ~np.isnan(forecast)
        if not known.any():
            assert math.isnan(area)
            continue
        forecast, occurred = forecast[known], event[known] > 0
        assert area == pytest.approx(scoring.auroc(forecast, occurred), nan_ok=True)
        assert precision == pytest.approx(scoring.average_precision(forecast, occurred), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(forecast=draws, data=st.data())
def test_scores_of_draws_equal_those_of_another_package(forecast: np.ndarray, data: st.DataObject) -> None:
    observed = data.draw(arrays(np.float64, forecast.shape[:-1], elements=counts))
    ensemble = xr.DataArray(forecast.astype(np.float64), dims=("country", "month", "draw"))
    outcome = xr.DataArray(observed, dims=("country", "month"))
    for ours, transform in ((scoring.crps, lambda values: values), (scoring.log_crps, np.log1p)):
        theirs = scores.probability.crps_for_ensemble(
            transform(ensemble), transform(outcome), "draw", method="ecdf", preserve_dims="all"
        )
        np.testing.assert_allclose(ours(forecast, observed), theirs.values, rtol=1e-6, atol=1e-6)
    lower, upper = (xr.DataArray(bound, dims=outcome.dims) for bound in scoring.interval(forecast, 0.9))
    theirs = scores.continuous.quantile_interval_score(lower, upper, outcome, 0.05, 0.95, preserve_dims="all")
    np.testing.assert_allclose(scoring.interval_score(forecast, observed), theirs["total"].values, rtol=1e-6, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(cases=events)
def test_scores_of_probabilities_equal_those_of_another_package(cases: list[tuple[float, bool]]) -> None:
    probability, event = (xr.DataArray([case[i] for case in cases], dims="case") for i in (0, 1))
    theirs = scores.probability.brier_score(probability, event.astype(float), preserve_dims="all")
    np.testing.assert_allclose(scoring.brier(probability.values, event.values), theirs.values)
    if event.any() and not event.all():
        area = float(scores.probability.roc_auc(probability, event.astype(float)))
        assert scoring.auroc(probability.values, event.values) == pytest.approx(area)


def test_the_pit_histogram_equals_that_of_another_package() -> None:
    rng = np.random.default_rng(3)
    forecast, observed = rng.poisson(3.0, (300, 40)), rng.poisson(3.0, 300)
    below = (forecast < observed[:, None]).mean(axis=1)
    up_to = (forecast <= observed[:, None]).mean(axis=1)
    ensemble = xr.DataArray(forecast.astype(float), dims=("case", "draw"))
    outcome = xr.DataArray(observed.astype(float), dims="case")
    theirs = scores.probability.Pit(ensemble, outcome, ensemble_member_dim="draw").hist_values(10, right=False)
    np.testing.assert_allclose(scoring.pit_histogram(below, up_to), theirs.values, atol=1e-9)


def test_an_estimate_of_one_unit_has_no_interval() -> None:
    ones = np.ones((1, 5))
    result = scoring.paired_difference(ones * 0.5, ones, np.random.default_rng(1))
    assert result.value == -0.5
    assert math.isnan(result.low)
    assert math.isnan(result.high)


@settings(max_examples=80, deadline=None)
@given(cases=events)
def test_scores_of_probabilities_equal_a_naive_loop(cases: list[tuple[float, bool]]) -> None:
    probability, event = np.array([p for p, _ in cases]), np.array([e for _, e in cases])
    for result, (p, e) in zip(scoring.brier(probability, event), cases, strict=True):
        assert result == pytest.approx((p - e) ** 2)

    observed, without = [p for p, e in cases if e], [p for p, e in cases if not e]
    if observed and without:
        wins = sum((a > b) + (a == b) / 2 for a, b in product(observed, without))
        assert scoring.auroc(probability, event) == pytest.approx(wins / len(observed) / len(without))
    else:
        assert math.isnan(scoring.auroc(probability, event))

    if observed:
        precision, recalled = 0.0, 0.0
        for threshold in sorted(set(probability), reverse=True):
            alarms = [e for p, e in cases if p >= threshold]
            recall = sum(alarms) / len(observed)
            precision += (recall - recalled) * sum(alarms) / len(alarms)
            recalled = recall
        assert scoring.average_precision(probability, event) == pytest.approx(precision)
    else:
        assert math.isnan(scoring.average_precision(probability, event))


@settings(max_examples=40, deadline=None)
@given(cases=events)
def test_reliability_equals_a_naive_loop(cases: list[tuple[float, bool]]) -> None:
    table = scoring.reliability(np.array([p for p, _ in cases]), np.array([e for _, e in cases]), classes=5)
    for i in range(5):
        inside = [(p, e) for p, e in cases if min(int(p * 5), 4) == i]
        assert table.number[i] == len(inside)
        if inside:
            assert table.probability[i] == pytest.approx(sum(p for p, _ in inside) / len(inside))
            assert table.frequency[i] == pytest.approx(sum(e for _, e in inside) / len(inside))
        else:
            assert math.isnan(table.probability[i])
            assert math.isnan(table.frequency[i])


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 16), st.integers(0, 16)).map(sorted), min_size=1, max_size=20))
def test_the_pit_histogram_equals_a_naive_loop(pairs: list[list[int]]) -> None:
    below, up_to = (np.array([pair[i] for pair in pairs]) / 16 for i in (0, 1))
    result, steps = scoring.pit_histogram(below, up_to, bins=4), 10_000
    assert result.sum() == pytest.approx(1)
    share = np.zeros(4)
    for low, high in zip(below, up_to, strict=True):
        if low == high:
            share[min(int(low * 4), 3)] += 1 / len(pairs)
        else:
            points = low + (high - low) * (np.arange(steps) + 0.5) / steps
            share += np.bincount((points * 4).astype(int), minlength=4) / steps / len(pairs)
    np.testing.assert_allclose(result, share, atol=2e-3)
    assert np.isnan(scoring.pit_histogram(np.array([]), np.array([]))).all()


def test_bins_of_the_ignorance_score() -> None:
    edges = np.array([edge for low_high in BINS for edge in low_high], dtype=np.float64)
    best = -math.log2(1001 / 1011)
    for i, (low, high) in enumerate(BINS):
        score = scoring.ignorance(np.tile([low, high], (len(edges), 1)), edges)
        np.testing.assert_allclose(np.flatnonzero(np.isclose(score, best)), [2 * i, 2 * i + 1])


def test_equal_losses_have_a_difference_of_zero_with_no_interval() -> None:
    loss = np.random.default_rng(1).random((10, 3))
    result = scoring.paired_difference(loss, loss, np.random.default_rng(2))
    assert (result.value, result.low, result.high) == (0.0, 0.0, 0.0)
    better = scoring.paired_difference(loss * 0.9, loss, np.random.default_rng(2))
    assert (better.value, better.low, better.high) == pytest.approx((-0.1, -0.1, -0.1))


def test_one_country_that_decides_widens_the_interval() -> None:
    theirs = np.ones((20, 1))
    ours = theirs * 0.9
    ours[0] = 3.0
    result = scoring.paired_difference(ours, theirs, np.random.default_rng(1))
    assert result.value == pytest.approx(0.005)
    assert result.low == pytest.approx(-0.1)
    assert result.high > 0.1


def test_a_difference_from_zero_loss_is_unknown() -> None:
    result = scoring.paired_difference(np.ones((3, 2)), np.zeros((3, 2)), np.random.default_rng(1))
    assert math.isnan(result.value)
