"""Trajectories: which runs of months are found, their weights, the draws, and that nothing later is used."""

import pickle
from collections import Counter

import numpy as np
import pytest
from histories import forecast_in_a_fork, made, rectangle
from numpy.typing import NDArray

from riskmodel.forecasting.component import Scenarios
from riskmodel.forecasting.forecast import LEADS
from riskmodel.forecasting.trajectories import Trajectories
from riskmodel.indicators.panel import Panel, assemble

SMALL = Trajectories(neighbours=20, draws=200)


def panel_of(deaths: NDArray[np.float64]) -> Panel:
    return assemble(rectangle(deaths), "state_based", indicators=[])


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of(made())


def draws_of(component: Trajectories, panel: Panel) -> NDArray[np.float32]:
    origin = panel.months[-1]
    return component.fit(panel, origin).forecast(panel, origin).draws


def test_paths_are_drawn_as_often_as_a_naive_search_weighs_them(panel: Panel) -> None:
    component = Trajectories(neighbours=25, memory=3.0, level_weight=0.5, half_life=24.0, max_factor=10.0, draws=20_000)
    draws, deaths, end = draws_of(component, panel), panel.deaths, len(panel.months)

    def level(run: NDArray[np.float64]) -> float:
        weights = [0.5 ** ((11 - i) / 4.0) for i in range(12)]
        return float(sum(w * d for w, d in zip(weights, run, strict=True)) / sum(weights))

    def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        shapes = [np.log1p(run) - np.log1p(level(run)) for run in (one, other)]
        weights = np.array([0.5 ** ((11 - i) / 3.0) for i in range(12)])
        levels = np.log1p(level(one)) - np.log1p(level(other))
        return float(np.sqrt((weights / weights.sum() * (shapes[0] - shapes[1]) ** 2).sum() + (0.5 * levels) ** 2))

    for country in np.flatnonzero(deaths[:, -12:].sum(axis=1) > 0):
        now = deaths[country, -12:]
        found = []
        for other in range(len(deaths)):
            for month in range(11, end - LEADS):
                run = deaths[other, month - 11 : month + 1]
                if run.sum() > 0:
                    scale = np.clip((1 + level(now)) / (1 + level(run)), 0.1, 10)
                    path = tuple(np.rint(deaths[other, month + 1 : month + 1 + LEADS] * scale))
                    found.append((distance(now, run), 0.5 ** ((end - 1 - month) / 24.0), path))
        found.sort(key=lambda one: one[0])
        nearest, farthest = found[:25], found[24][0]
        expected: Counter[tuple[float, ...]] = Counter()
        for gap, recency, path in nearest:
            expected[path] += (1 - (gap / farthest) ** 2) * recency
        total = sum(expected.values())
        drawn = Counter(tuple(map(float, path)) for path in draws[country].T)
        for path, weight in expected.items():
            assert drawn[path] / 20_000 == pytest.approx(weight / total, abs=2e-4)


def test_the_months_after_a_run_seen_before_are_forecast() -> None:
    deaths = made()
    deaths[:, :60] = 0
    shape = np.array([0, 0, 1, 0, 2, 5, 0, 9, 30, 4, 60, 90.0])
    after = np.arange(14.0) * 10
    deaths[0, 10:22], deaths[0, 22:36] = shape, after
    deaths[3, -12:] = shape
    draws = draws_of(Trajectories(neighbours=2, draws=50), panel_of(deaths))[3]
    assert np.equal(draws.T, after).mean() > 0.9


def test_nothing_after_the_origin_is_stored_or_used(panel: Panel) -> None:
    origin = panel.months[99]
    ours = SMALL.fit(panel, origin).forecast(panel, origin).draws
    deaths = panel.deaths.copy()
    deaths[:, 100:] = np.random.default_rng(1).integers(0, 10**6, deaths[:, 100:].shape)
    other = panel_of(deaths)
    np.testing.assert_array_equal(ours, SMALL.fit(other, origin).forecast(other, origin).draws)
    deaths[:, 99] += 1
    changed = panel_of(deaths)
    assert not np.array_equal(ours, SMALL.fit(changed, origin).forecast(changed, origin).draws)


def test_fitting_is_deterministic_and_countries_do_not_affect_each_other(
    panel: Panel,
) -> None:
    origin = panel.months[-1]
    one, two = SMALL.fit(panel, origin), SMALL.fit(panel, origin)
    assert pickle.dumps(one.fitted) == pickle.dumps(two.fitted)
    together = one.forecast(panel, origin)
    for iso3 in panel.iso3:
        np.testing.assert_array_equal(one.forecast(panel.only([iso3]), origin).draws, together.only([iso3]).draws)


def test_paths_are_scaled_to_the_level_of_the_country_within_the_limit() -> None:
    low, high = np.tile([0.0, 2.0], 60), np.tile([0.0, 200.0], 60)
    draws = draws_of(Trajectories(neighbours=500, draws=100), panel_of(np.stack([low, low, low, high])))
    assert set(np.unique(draws[3])) <= {0.0, 20.0, 200.0}  # ten times the low ones, and its own
    assert (draws[3] == 20).any()
    assert draws[0].max() <= 20


def test_draws_are_whole_and_sorted_by_the_deaths_of_the_next_three_months(panel: Panel) -> None:
    draws = draws_of(SMALL, panel)
    assert (draws >= 0).all()
    assert (draws == np.rint(draws)).all()
    assert (np.diff(draws[:, :3].sum(axis=1), axis=1) >= 0).all()


def test_a_country_without_deaths_in_a_year_is_forecast_to_have_none(panel: Panel) -> None:
    deaths = panel.deaths.copy()
    deaths[2, -12:] = 0
    deaths[3, -12:] = 0
    deaths[3, -12] = 40
    draws = draws_of(SMALL, panel_of(deaths))
    assert (draws[2] == 0).all()
    assert (draws[3] > 0).any()
    assert (draws_of(SMALL, panel_of(np.zeros((4, 120)))) == 0).all()


@pytest.mark.parametrize("months", [12, 20, 25, 26])
def test_without_stored_runs_the_forecast_is_zero(months: int) -> None:
    deaths = np.full((2, months), 7.0)
    draws = draws_of(SMALL, panel_of(deaths))
    assert np.isfinite(draws).all()
    assert (draws == (7 if months == 26 else 0)).all()


def test_unknown_months_are_neither_stored_nor_forecast() -> None:
    deaths = made()
    deaths[4, :] = np.nan
    deaths[6, -3:] = np.nan
    deaths[1, 50] = np.nan
    panel = panel_of(deaths)
    fitted = SMALL.fit(panel, panel.months[-1])
    draws = fitted.forecast(panel, panel.months[-1]).draws
    assert np.isnan(draws[[4, 6]]).all()
    assert not np.isnan(np.delete(draws, [4, 6], axis=0)).any()
    assert fitted.fitted is not None
    assert np.isfinite(fitted.fitted.paths).all()
    all_runs = [
        deaths[country, month - 11 : month + 15]
        for country in range(8)
        for month in range(11, 120 - LEADS)
        if deaths[country, month - 11 : month + 1].sum() > 0
    ]
    assert len(fitted.fitted.paths) == sum(not np.isnan(run).any() for run in all_runs)


def test_ensemble_probabilities_match_the_draws(panel: Panel) -> None:
    origin = panel.months[-1]
    fitted = Trajectories(neighbours=30, draws=5000).fit(panel, origin)
    histories = np.concatenate([panel.history(origin, 84), panel.history(origin - 5, 84), np.zeros((1, 84))])
    thresholds = np.random.default_rng(2).choice([1.0, 5.0, 25.0, 100.0, 300.0], (len(histories), 2, 6))
    history = np.concatenate([np.arange(8), [3, 3, 16]])
    scenarios = Scenarios(np.empty((len(history), 0), np.float32), history, histories, thresholds, 3)
    probabilities = fitted.ensemble_probabilities(scenarios)
    assert probabilities.shape == (1, 11, 2)
    sums = fitted.forecast(panel, origin).draws[:, :3].sum(axis=1)
    drawn = (sums[:, None, None] >= thresholds[:8, :, :, None]).mean(axis=(-2, -1))
    np.testing.assert_allclose(probabilities[0, :8], drawn, atol=1e-3)
    np.testing.assert_array_equal(probabilities[0, 8], probabilities[0, 3])
    assert (probabilities[0, 10] == 0).all()
    assert fitted.used_indicators == frozenset()


def test_a_fork_after_forecasting_can_forecast(panel: Panel) -> None:
    origin = panel.months[-1]
    fitted = SMALL.fit(panel, origin)
    np.testing.assert_array_equal(forecast_in_a_fork(fitted, panel, origin), fitted.forecast(panel, origin).draws)
