"""The mixture: whose draws it holds, and when it says nothing."""

from dataclasses import dataclass, replace

import numpy as np
from histories import made, rectangle

from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.component import Supposed
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Part, Pool, served
from riskmodel.forecasting.trajectories import Trajectories
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month


def test_each_part_has_its_share_of_the_draws_evenly_thinned() -> None:
    panel = assemble(rectangle(np.arange(1.0, 61.0)), "state_based", indicators=[])
    origin = panel.months[-1]
    draws = Pool((Part(Zero(), 30), Part(Conflictology(), 60), Part(History(), 10))).fit(panel, origin)
    mixed = draws.forecast(panel, origin).draws[0]
    assert mixed.shape[-1] == 100
    assert (mixed[:, :30] == 0).all()
    values, times = np.unique(mixed[4, 30:90], return_counts=True)
    assert values.tolist() == list(range(49, 61))
    assert (times == 5).all()


def test_thinning_keeps_paths_whole() -> None:
    panel = assemble(rectangle(made()), "state_based", indicators=[])
    origin = panel.months[-1]
    whole = Conflictology().forecast(panel, origin).draws
    mixed = Pool((Part(Conflictology(), 4),)).forecast(panel, origin).draws
    for country, paths in zip(mixed, whole, strict=True):
        assert {tuple(path) for path in country.T} <= {tuple(path) for path in paths.T}


@dataclass(frozen=True)
class Choosy(Zero):
    """Zero, but nothing of the third country."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        said = super().forecast(panel, origin)
        said.draws[2] = np.nan
        return said


def test_what_one_part_cannot_forecast_the_pool_does_not() -> None:
    panel = assemble(rectangle(made()), "state_based", indicators=[])
    draws = Pool((Part(Choosy(), 5), Part(Conflictology(), 12))).forecast(panel, panel.months[-1]).draws
    assert np.isnan(draws[2]).all()
    assert np.isfinite(np.delete(draws, 2, axis=0)).all()


def test_the_served_pool_has_a_thousand_draws_two_parts_of_five_learned_by_a_forest() -> None:
    pool = served(seed=3)
    forest, trajectories, history = pool.parts
    assert [part.draws for part in pool.parts] == [400, 200, 400]
    assert isinstance(forest.component, Forest)
    assert isinstance(trajectories.component, Trajectories)
    assert (forest.component.draws, forest.component.seed, trajectories.component.draws) == (400, 3, 200)
    panel = assemble(rectangle(made()), "state_based")
    small = replace(pool, parts=(replace(forest, component=replace(forest.component, trees=5)), trajectories, history))
    fitted = small.fit(panel, panel.months[-1])
    draws = fitted.forecast(panel, panel.months[-1]).draws
    assert draws.shape == (8, 14, 1000)
    for part, place in zip(fitted.parts[:2], (slice(400), slice(400, 600)), strict=True):
        alone = part.component.forecast(panel, panel.months[-1]).draws
        np.testing.assert_array_equal(draws[:, :, place], alone)


def test_votes_of_the_served_parts_are_the_chances_that_draws_have() -> None:
    panel = assemble(rectangle(made(3, 160)), "state_based")
    origin = panel.months[-1]
    forest, *others = served(seed=3).parts
    pool = Pool((replace(forest, component=Forest(trees=8, leaf=5, draws=400)), *others)).fit(panel, origin)
    histories, rungs = panel.history(origin, 84), np.tile([1.0, 5.0, 25.0, 100.0, 300.0, 1000.0], (8, 1, 1))
    votes = pool.votes(Supposed(panel.at(origin), np.arange(8), histories, rungs, 3))
    assert votes.shape == (8, 8, 1)
    near = pool.forecast(panel, origin).draws[:, :3].sum(axis=1)
    drawn = (near[:, None] >= rungs[:, 0, :, None]).mean(axis=(1, 2))
    np.testing.assert_allclose(votes.mean(axis=0)[:, 0], drawn, atol=2e-3)


def test_each_served_part_draws_just_its_share_so_that_votes_say_what_draws_do() -> None:
    assert [part.component.draws for part in served(seed=3).parts] == [part.draws for part in served(seed=3).parts]
