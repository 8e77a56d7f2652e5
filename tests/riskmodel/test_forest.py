"""The forest: its draws, that nothing later is used, and what it does with too short a history."""

import pickle
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from histories import forecast_in_a_fork, made, rectangle
from numpy.typing import NDArray

from riskmodel.errors import BadInput
from riskmodel.forecasting.forecast import LEADS
from riskmodel.forecasting.forest import Forest
from riskmodel.indicators.panel import Panel, assemble

SMALL = Forest(trees=10, leaf=5, draws=200)


def panel_of(deaths: NDArray[np.float64]) -> Panel:
    return assemble(rectangle(deaths), "state_based")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of(made())


def test_nothing_after_the_origin_is_learned_or_used(panel: Panel) -> None:
    origin = panel.months[99]
    ours = SMALL.fit(panel, origin).forecast(panel, origin)
    deaths = panel.deaths.copy()
    deaths[:, 100:] = np.random.default_rng(1).integers(0, 10**6, deaths[:, 100:].shape)
    other = panel_of(deaths)
    np.testing.assert_array_equal(ours.draws, SMALL.fit(other, origin).forecast(other, origin).draws)
    deaths[:, 99] += 1
    changed = panel_of(deaths)
    assert not np.array_equal(ours.draws, SMALL.fit(changed, origin).forecast(changed, origin).draws)


def test_the_same_seed_gives_the_same_draws_on_any_number_of_threads(panel: Panel) -> None:
    origin = panel.months[-1]
    one, two = (Forest(trees=10, jobs=jobs).fit(panel, origin) for jobs in (1, 2))
    assert pickle.dumps(one.fitted) == pickle.dumps(two.fitted)
    other = Forest(trees=10, seed=9).fit(panel, origin).forecast(panel, origin).draws
    assert not np.array_equal(one.forecast(panel, origin).draws, other)


def test_threads_leave_the_filters_of_warnings_as_they_were(panel: Panel) -> None:
    before = list(warnings.filters)
    for seed in range(8):
        Forest(trees=200, leaf=5, seed=seed).fit(panel, panel.months[-1])
    assert list(warnings.filters) == before


def test_paths_are_sampled_by_shared_leaves_and_recency(panel: Panel) -> None:
    origin = panel.months[-1]
    fitted = Forest(trees=7, leaf=5, half_life=24.0, max_factor=1.0, draws=20_000).fit(panel, origin)
    assert fitted.fitted is not None
    trees, end = fitted.fitted.trees, len(panel.months)
    training = [(country, month) for country in range(8) for month in range(11, end - LEADS)]
    paths = [tuple(panel.deaths[c, m + 1 : m + 1 + LEADS]) for c, m in training]
    recency = np.array([0.5 ** ((end - 1 - month) / 24) for _, month in training])
    columns = fitted.fitted.columns
    rows = trees.apply(np.array([panel.values[cell][columns] for cell in training]))
    for country, leaves in enumerate(trees.apply(panel.at(origin)[:, columns])):
        expected: Counter[tuple[float, ...]] = Counter()
        for tree, leaf in enumerate(leaves):
            inside = np.where(rows[:, tree] == leaf, recency, 0.0)
            for path, weight in zip(paths, inside / inside.sum() / len(leaves), strict=True):
                expected[path] += weight
        drawn = Counter(tuple(map(float, path)) for path in fitted.forecast(panel, origin).draws[country].T)
        for path, weight in expected.items():
            assert drawn[path] / 20_000 == pytest.approx(weight, abs=2e-4)


def test_a_draw_is_a_path_that_was_observed(panel: Panel) -> None:
    origin = panel.months[-1]
    draws = Forest(trees=10, max_factor=1.0, draws=50).fit(panel, origin).forecast(panel, origin).draws
    seen = {
        tuple(country[start : start + LEADS])
        for country in panel.deaths
        for start in range(panel.deaths.shape[1] - LEADS + 1)
    }
    for country in draws:
        assert {tuple(map(float, path)) for path in country.T} <= seen


def test_paths_are_scaled_to_the_level_of_the_country_within_the_limit() -> None:
    quiet, violent = np.tile([0.0, 2.0], 60), np.tile([100.0, 120.0], 60)
    panel = panel_of(np.stack([quiet, quiet, quiet, violent]))
    origin = panel.months[-1]
    fitted = Forest(trees=5, leaf=120, features=1.0, draws=100).fit(panel, origin)
    draws = fitted.forecast(panel, origin).draws
    assert draws[3].max() <= 120 * 10
    assert draws[0].max() <= 40  # a violent path at a tenth of its size would be 12, a quiet one 2
    assert draws[3].mean() > 5 * draws[0].mean()


def test_an_indicator_is_read_if_at_least_half_of_the_training_months_know_it(panel: Panel) -> None:
    origin, values = panel.months[-1], panel.values.copy()
    values[:, :, 0], values[:, :, 1] = 1.0, np.nan
    values[:5, :, 1] = 2.0
    values[5:, :, 0] = np.nan
    values[:2, :, 0] = np.nan
    fitted = SMALL.fit(replace(panel, values=values), origin).fitted
    assert fitted is not None
    assert 1 in fitted.columns, "known of five countries of eight"
    assert 0 not in fitted.columns, "known of three of eight"
    known = (~np.isnan(panel.values[:, 11:-LEADS])).mean(axis=(0, 1))
    assert SMALL.fit(panel, origin).used_indicators == set(np.flatnonzero(known >= 0.5))


def test_draws_are_whole_and_sorted_by_the_deaths_of_the_next_three_months(panel: Panel) -> None:
    origin = panel.months[-1]
    draws = SMALL.fit(panel, origin).forecast(panel, origin).draws
    assert (draws >= 0).all()
    assert (draws == np.rint(draws)).all()
    assert (np.diff(draws[:, :3].sum(axis=1), axis=1) >= 0).all()


def test_a_world_without_deaths_is_forecast_to_have_none() -> None:
    panel = panel_of(np.zeros((4, 120)))
    assert (SMALL.fit(panel, panel.months[-1]).forecast(panel, panel.months[-1]).draws == 0).all()


def test_unknown_indicators_and_countries_without_history_are_accepted() -> None:
    deaths = made()
    deaths[4, :] = np.nan  # a neighbour that nothing covers: the neighbours' indicators are unknown throughout
    deaths[6, -3:] = np.nan
    panel = panel_of(deaths)
    draws = SMALL.fit(panel, panel.months[-1]).forecast(panel, panel.months[-1]).draws
    assert np.isnan(draws[[4, 6]]).all()
    assert not np.isnan(np.delete(draws, [4, 6], axis=0)).any()


def test_too_short_a_history_is_refused_with_a_reason() -> None:
    panel = panel_of(made(months=30))
    with pytest.raises(BadInput, match=r"state-based conflict up to 2002-06 has 40 country-months .* needs 200"):
        SMALL.fit(panel, panel.months[-1])
    with pytest.raises(ValueError, match="fitted before"):
        SMALL.forecast(panel, panel.months[-1])


def test_a_fork_after_training_can_forecast(panel: Panel) -> None:
    origin = panel.months[-1]
    fitted = SMALL.fit(panel, origin)
    np.testing.assert_array_equal(forecast_in_a_fork(fitted, panel, origin), fitted.forecast(panel, origin).draws)
