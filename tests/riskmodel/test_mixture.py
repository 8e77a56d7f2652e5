"""A forecast from an uncertain present mixes over histories, and changes nothing where the present is certain."""

from dataclasses import replace

import numpy as np
import pytest

from riskmodel.assessment import Assessment
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Conflictology, Zero
from riskmodel.forecasting.mixture import mixed_forecast
from riskmodel.forecasting.pool import Pool
from riskmodel.indicators.panel import Panel


@pytest.fixture(scope="module")
def histories(assessment: Assessment) -> list[Panel]:
    """The panel ten times, with other deaths of the first country in the last month."""
    panels = []
    for factor in np.linspace(0.5, 2.0, 10):
        deaths, values = assessment.panel.deaths.copy(), assessment.panel.values.copy()
        deaths[0, -1] = np.rint((10 + deaths[0, -1]) * factor)
        values[0, -1] += np.float32(factor)
        panels.append(replace(assessment.panel, deaths=deaths, values=values))
    return panels


def test_without_histories_the_forecast_is_that_of_the_panel(assessment: Assessment, pool: Pool) -> None:
    one = mixed_forecast(pool, assessment.panel, (), assessment.origin)
    other = pool.forecast(assessment.panel, assessment.origin)
    np.testing.assert_array_equal(one.draws, other.draws)
    np.testing.assert_array_equal(assessment.forecast(pool).draws, other.draws)


def test_settled_countries_keep_their_draws_and_the_others_take_turns(
    assessment: Assessment, pool: Pool, histories: list[Panel]
) -> None:
    mixed = mixed_forecast(pool, assessment.panel, histories, assessment.origin)
    settled = pool.forecast(assessment.panel, assessment.origin)
    np.testing.assert_array_equal(mixed.draws[1:], settled.draws[1:])
    for number, history in enumerate(histories):
        own = pool.forecast(history, assessment.origin)
        np.testing.assert_array_equal(mixed.draws[0, :, number::10], own.draws[0, :, number::10])
    again = mixed_forecast(pool, assessment.panel, histories, assessment.origin)
    np.testing.assert_array_equal(mixed.draws, again.draws)


def test_an_uncertain_present_widens_the_forecast(assessment: Assessment, histories: list[Panel]) -> None:
    mixed = mixed_forecast(SMOOTHED_HISTORY, histories[4], histories, assessment.origin)
    certain = SMOOTHED_HISTORY.forecast(histories[4], assessment.origin)
    assert np.log1p(mixed.draws[0]).std() > np.log1p(certain.draws[0]).std()


@pytest.mark.parametrize("baseline", [Conflictology(), Zero()])
def test_forecasters_with_few_draws_can_be_mixed(
    assessment: Assessment, histories: list[Panel], baseline: Conflictology | Zero
) -> None:
    mixed = mixed_forecast(baseline, assessment.panel, histories, assessment.origin)
    assert mixed.draws.shape == baseline.forecast(assessment.panel, assessment.origin).draws.shape
    assert np.isfinite(mixed.draws).all()
