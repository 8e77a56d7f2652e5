"""Neighbour effects: which pairs have one, and that it is the difference between two forecasts."""

import numpy as np
import pytest
from histories import SAHEL

from riskmodel.assessment import Assessment
from riskmodel.explanation import neighbour_effects
from riskmodel.explanation.drivers import ScenarioModel
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.pool import Pool
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import assemble


def test_only_neighbours_have_an_effect(pool: Pool, assessment: Assessment) -> None:
    effects = neighbour_effects.compute(pool, assessment)
    source, target = SAHEL.index("NER"), SAHEL.index("SEN")
    assert np.isnan(effects.pairs[source, target])
    assert np.isnan(np.diagonal(effects.pairs)).all()
    assert np.nanmax(np.abs(effects.pairs)) > 0


def test_a_model_that_reads_no_neighbour_has_no_neighbour_effects(assessment: Assessment) -> None:
    effects = neighbour_effects.compute(Conflictology(), assessment)
    assert np.nanmax(np.abs(effects.pairs)) == 0


def test_an_effect_is_the_score_less_the_score_without_the_neighbours_deaths(
    pool: Pool, assessment: Assessment
) -> None:
    effects = neighbour_effects.compute(pool, assessment)
    deaths = assessment.inputs.tables["deaths"].copy()
    source, target = SAHEL.index("BFA"), SAHEL.index("MLI")
    deaths[source] = 0
    peaceful = assemble(assessment.expected, "state_based", Inputs(SAHEL, assessment.inputs.months, {"deaths": deaths}))
    scenario_model = ScenarioModel(pool, assessment.panel.history(assessment.origin, 84))
    score = scenario_model.targets(peaceful.at(assessment.origin), np.arange(len(SAHEL)))[target, 0]
    assert effects.pairs[source, target] == pytest.approx(effects.score[target] - score, abs=1e-4)
