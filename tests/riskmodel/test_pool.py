"""The mixture: whose draws it holds, and when it says nothing."""

from dataclasses import dataclass, replace

import numpy as np
from histories import made, rectangle

from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Part, Pool, served
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


def test_the_served_pool_has_a_thousand_draws_of_which_half_are_learned() -> None:
    pool = served(seed=3)
    assert sum(part.draws for part in pool.parts) == 1000
    forest, smoother = pool.parts
    assert isinstance(forest.component, Forest)
    assert (forest.draws, forest.component.seed) == (500, 3)
    panel = assemble(rectangle(made()), "state_based")
    small = replace(pool, parts=(replace(forest, component=replace(forest.component, trees=5)), smoother))
    fitted = small.fit(panel, panel.months[-1])
    draws = fitted.forecast(panel, panel.months[-1]).draws
    learned = fitted.parts[0].component.forecast(panel, panel.months[-1]).draws
    assert draws.shape == (8, 14, 1000)
    np.testing.assert_array_equal(draws[:, :, :500], learned)
