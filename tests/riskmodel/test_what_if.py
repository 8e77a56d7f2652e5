"""What-if: the same deaths change nothing, and more deaths move the score."""

import numpy as np
from histories import SAHEL

from riskmodel.assessment import Assessment
from riskmodel.explanation.what_if import what_if_effect
from riskmodel.forecasting.pool import Pool


def test_the_same_deaths_change_nothing(pool: Pool, assessment: Assessment) -> None:
    effect = what_if_effect(pool, assessment, "MLI", 1.0, 3, np.random.default_rng(0))
    np.testing.assert_allclose(effect.after, effect.before, atol=1e-9)
    assert np.abs(effect.low).max() == np.abs(effect.high).max() == 0


def test_more_deaths_raise_the_score_within_the_interval(pool: Pool, assessment: Assessment) -> None:
    deadliest = int(assessment.panel.deaths[:, -3:].sum(axis=1).argmax())
    effect = what_if_effect(pool, assessment, SAHEL[deadliest], 20.0, 3, np.random.default_rng(0))
    difference = effect.after - effect.before
    assert difference[deadliest, 0] > 0
    assert (effect.low <= difference + 1e-9).all()
    assert (difference <= effect.high + 1e-9).all()
