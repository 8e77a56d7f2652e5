"""The pool: which draws it mixes, and when it has no forecast."""

from dataclasses import dataclass, replace

import numpy as np
from histories import made, rectangle

from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.component import Scenarios
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Pool, PoolMember, served_model
from riskmodel.forecasting.trajectories import Trajectories
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month


def test_each_member_has_its_share_of_the_draws_evenly_thinned() -> None:
    panel = assemble(rectangle(np.arange(1.0, 61.0)), "state_based", indicators=[])
    origin = panel.months[-1]
    draws = Pool((PoolMember(Zero(), 30), PoolMember(Conflictology(), 60), PoolMember(History(), 10))).fit(
        panel, origin
    )
    mixed = draws.forecast(panel, origin).draws[0]
    assert mixed.shape[-1] == 100
    assert (mixed[:, :30] == 0).all()
    values, times = np.unique(mixed[4, 30:90], return_counts=True)
    assert values.tolist() == list(range(49, 61))
    assert (times == 5).all()


def test_thinning_keeps_paths_whole() -> None:
    panel = assemble(rectangle(made()), "state_based", indicators=[])
    origin = panel.months[-1]
    all_draws = Conflictology().forecast(panel, origin).draws
    mixed = Pool((PoolMember(Conflictology(), 4),)).forecast(panel, origin).draws
    for country, paths in zip(mixed, all_draws, strict=True):
        assert {tuple(path) for path in country.T} <= {tuple(path) for path in paths.T}


@dataclass(frozen=True)
class WithoutThirdCountry(Zero):
    """Zero, without a forecast of the third country."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        forecast = super().forecast(panel, origin)
        forecast.draws[2] = np.nan
        return forecast


def test_a_country_that_one_member_cannot_forecast_has_no_forecast() -> None:
    panel = assemble(rectangle(made()), "state_based", indicators=[])
    draws = (
        Pool((PoolMember(WithoutThirdCountry(), 5), PoolMember(Conflictology(), 12)))
        .forecast(panel, panel.months[-1])
        .draws
    )
    assert np.isnan(draws[2]).all()
    assert np.isfinite(np.delete(draws, 2, axis=0)).all()


def test_the_served_pool_has_a_thousand_draws_of_three_components() -> None:
    pool = served_model(seed=3)
    forest, trajectories, history = pool.members
    assert [member.draws for member in pool.members] == [400, 200, 400]
    assert isinstance(forest.component, Forest)
    assert isinstance(trajectories.component, Trajectories)
    assert (forest.component.draws, forest.component.seed, trajectories.component.draws) == (400, 3, 200)
    panel = assemble(rectangle(made()), "state_based")
    small = replace(
        pool, members=(replace(forest, component=replace(forest.component, trees=5)), trajectories, history)
    )
    fitted = small.fit(panel, panel.months[-1])
    draws = fitted.forecast(panel, panel.months[-1]).draws
    assert draws.shape == (8, 14, 1000)
    for member, columns in zip(fitted.members[:2], (slice(400), slice(400, 600)), strict=True):
        alone = member.component.forecast(panel, panel.months[-1]).draws
        np.testing.assert_array_equal(draws[:, :, columns], alone)


def test_ensemble_probabilities_of_the_served_pool_match_its_draws() -> None:
    panel = assemble(rectangle(made(3, 160)), "state_based")
    origin = panel.months[-1]
    forest, *others = served_model(seed=3).members
    pool = Pool((replace(forest, component=Forest(trees=8, leaf=5, draws=400)), *others)).fit(panel, origin)
    histories, rungs = panel.history(origin, 84), np.tile([1.0, 5.0, 25.0, 100.0, 300.0, 1000.0], (8, 1, 1))
    probabilities = pool.ensemble_probabilities(Scenarios(panel.at(origin), np.arange(8), histories, rungs, 3))
    assert probabilities.shape == (8, 8, 1)
    sums = pool.forecast(panel, origin).draws[:, :3].sum(axis=1)
    drawn = (sums[:, None] >= rungs[:, 0, :, None]).mean(axis=(1, 2))
    np.testing.assert_allclose(probabilities.mean(axis=0)[:, 0], drawn, atol=2e-3)


def test_each_served_component_samples_just_its_share_of_the_draws() -> None:
    assert [member.component.draws for member in served_model(seed=3).members] == [
        member.draws for member in served_model(seed=3).members
    ]
