"""Each score against a naive loop."""

import math
from itertools import product

import numpy as np
import pytest
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
    place = q * (len(x) - 1)
    below = math.floor(place)
    above = min(below + 1, len(x) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def naive_interval_score(x: list[float], y: float) -> float:
    lower, upper = naive_quantile(x, 0.05), naive_quantile(x, 0.95)
    return (upper - lower) + 20 * max(lower - y, 0) + 20 * max(y - upper, 0)


@settings(max_examples=60, deadline=None)
@given(forecast=draws, data=st.data())
def test_scores_of_draws_equal_a_naive_loop(forecast: np.ndarray, data: st.DataObject) -> None:
    came = data.draw(arrays(np.float64, forecast.shape[:-1], elements=counts))
    scores = {
        naive_crps: scoring.crps(forecast, came),
        naive_ignorance: scoring.ignorance(forecast, came),
        naive_interval_score: scoring.interval_score(forecast, came),
        lambda x, y: naive_crps([math.log1p(a) for a in x], math.log1p(y)): scoring.log_crps(forecast, came),
    }
    for naive, found in scores.items():
        assert found.shape == came.shape
        for place in np.ndindex(came.shape):
            assert found[place] == pytest.approx(naive(forecast[place].tolist(), came[place]), rel=1e-6, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(forecast=draws, data=st.data(), level=st.sampled_from([0.5, 0.9]))
def test_intervals_equal_a_naive_loop(forecast: np.ndarray, data: st.DataObject, level: float) -> None:
    came = data.draw(arrays(np.float64, forecast.shape[:-1], elements=counts))
    lower, upper = scoring.interval(forecast, level)
    for place in np.ndindex(came.shape):
        x, tail = forecast[place].tolist(), (1 - level) / 2
        assert lower[place] == pytest.approx(naive_quantile(x, tail))
        assert upper[place] == pytest.approx(naive_quantile(x, 1 - tail))


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), min_size=1, max_size=20),
    level=st.sampled_from([0.5, 0.9]),
)
def test_coverage_equals_a_naive_loop(pairs: list[list[int]], level: float) -> None:
    below, upto = (np.array([pair[i] for pair in pairs]) / 20 for i in (0, 1))
    held, fine = scoring.covered(below, upto, level), 10_000
    for found, low, high in zip(held, below, upto, strict=True):
        points = low + (high - low) * (np.arange(fine) + 0.5) / fine
        assert found == pytest.approx(np.mean(np.abs(points - 0.5) <= level / 2 + 1e-9), abs=2e-4)
    tenths = scoring.pit(below, upto, parts=20)
    if (below < upto).all():
        inside = slice(1, 19) if level == 0.9 else slice(5, 15)
        assert held.mean() == pytest.approx(tenths[inside].sum())


def test_a_calibrated_forecast_of_counts_is_covered_as_it_says() -> None:
    rng = np.random.default_rng(1)
    came = rng.poisson(0.4, 4000)
    draws = rng.poisson(0.4, (4000, 400))
    below, upto = ((draws < came[:, None]).mean(axis=1), (draws <= came[:, None]).mean(axis=1))
    for level in (0.5, 0.9):
        assert scoring.covered(below, upto, level).mean() == pytest.approx(level, abs=0.015)


@settings(max_examples=60, deadline=None)
@given(cases=events, units=st.integers(1, 4), seed=st.integers(0, 9))
def test_ranking_in_resamples_equals_scores_of_repeated_units(
    cases: list[tuple[float, bool]], units: int, seed: int
) -> None:
    size = -(-len(cases) // units)
    chance, came = np.full((2, units * size), np.nan)
    chance[: len(cases)], came[: len(cases)] = zip(*cases, strict=True)
    chance, came = chance.reshape(units, size), came.reshape(units, size)
    times = scoring.resampled(units, np.random.default_rng(seed), 5)
    assert len(times) == (6 if units > 1 else 1)
    assert (times[0] == 1).all()
    assert (times.sum(axis=1) == units).all()
    areas, precisions = scoring.ranking(chance, came, times)
    for row, area, precision in zip(times, areas, precisions, strict=True):
        said, event = (np.repeat(cells, row, axis=0).ravel() for cells in (chance, came))
        known = ~np.isnan(said)
        if not known.any():
            assert math.isnan(area)
            continue
        said, happened = said[known], event[known] > 0
        assert area == pytest.approx(scoring.auroc(said, happened), nan_ok=True)
        assert precision == pytest.approx(scoring.average_precision(said, happened), nan_ok=True)


def test_an_estimate_of_one_unit_has_no_interval() -> None:
    ones = np.ones((1, 5))
    found = scoring.paired_difference(ones * 0.5, ones, np.random.default_rng(1))
    assert found.value == -0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@settings(max_examples=80, deadline=None)
@given(cases=events)
def test_scores_of_probabilities_equal_a_naive_loop(cases: list[tuple[float, bool]]) -> None:
    chance, event = np.array([p for p, _ in cases]), np.array([e for _, e in cases])
    for found, (p, e) in zip(scoring.brier(chance, event), cases, strict=True):
        assert found == pytest.approx((p - e) ** 2)

    came, not_came = [p for p, e in cases if e], [p for p, e in cases if not e]
    if came and not_came:
        wins = sum((a > b) + (a == b) / 2 for a, b in product(came, not_came))
        assert scoring.auroc(chance, event) == pytest.approx(wins / len(came) / len(not_came))
    else:
        assert math.isnan(scoring.auroc(chance, event))

    if came:
        precision, recalled = 0.0, 0.0
        for threshold in sorted(set(chance), reverse=True):
            alarmed = [e for p, e in cases if p >= threshold]
            recall = sum(alarmed) / len(came)
            precision += (recall - recalled) * sum(alarmed) / len(alarmed)
            recalled = recall
        assert scoring.average_precision(chance, event) == pytest.approx(precision)
    else:
        assert math.isnan(scoring.average_precision(chance, event))


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
    below, upto = (np.array([pair[i] for pair in pairs]) / 16 for i in (0, 1))
    found, fine = scoring.pit(below, upto, parts=4), 10_000
    assert found.sum() == pytest.approx(1)
    share = np.zeros(4)
    for low, high in zip(below, upto, strict=True):
        if low == high:
            share[min(int(low * 4), 3)] += 1 / len(pairs)
        else:
            points = low + (high - low) * (np.arange(fine) + 0.5) / fine
            share += np.bincount((points * 4).astype(int), minlength=4) / fine / len(pairs)
    np.testing.assert_allclose(found, share, atol=2e-3)
    assert np.isnan(scoring.pit(np.array([]), np.array([]))).all()


def test_bins_of_the_ignorance_score() -> None:
    edges = np.array([edge for low_high in BINS for edge in low_high], dtype=np.float64)
    best = -math.log2(1001 / 1011)
    for i, (low, high) in enumerate(BINS):
        score = scoring.ignorance(np.tile([low, high], (len(edges), 1)), edges)
        np.testing.assert_allclose(np.flatnonzero(np.isclose(score, best)), [2 * i, 2 * i + 1])


def test_no_difference_is_none_for_certain() -> None:
    loss = np.random.default_rng(1).random((10, 3))
    found = scoring.paired_difference(loss, loss, np.random.default_rng(2))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    better = scoring.paired_difference(loss * 0.9, loss, np.random.default_rng(2))
    assert (better.value, better.low, better.high) == pytest.approx((-0.1, -0.1, -0.1))


def test_one_country_that_decides_widens_the_interval() -> None:
    theirs = np.ones((20, 1))
    ours = theirs * 0.9
    ours[0] = 3.0
    found = scoring.paired_difference(ours, theirs, np.random.default_rng(1))
    assert found.value == pytest.approx(0.005)
    assert found.low == pytest.approx(-0.1)
    assert found.high > 0.1


def test_a_difference_from_nothing_is_unknown() -> None:
    found = scoring.paired_difference(np.ones((3, 2)), np.zeros((3, 2)), np.random.default_rng(1))
    assert math.isnan(found.value)
