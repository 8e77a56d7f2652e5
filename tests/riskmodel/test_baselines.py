"""Baselines: their draws, and that nothing after the origin is used."""

import numpy as np
import pytest
from histories import made, rectangle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Conflictology, History, Last, Zero
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import LEADS
from riskmodel.indicators.panel import Panel, assemble

ALL: list[Component] = [Zero(), Last(), Conflictology(), History(), SMOOTHED_HISTORY]
of_each = pytest.mark.parametrize("component", ALL, ids=lambda component: component.name)


def panel_of(deaths: object) -> Panel:
    return assemble(rectangle(deaths), "state_based", indicators=[])


def draws_of(component: Component, deaths: NDArray[np.float64]) -> NDArray[np.float32]:
    panel = panel_of(deaths)
    origin = panel.months[-1]
    return component.fit(panel, origin).forecast(panel, origin).draws


def test_conflictology_is_the_last_twelve_months_in_their_order() -> None:
    draws = draws_of(Conflictology(), np.arange(24.0))[0]
    assert draws.shape == (LEADS, 12)
    for lead in range(1, LEADS + 1):
        assert draws[lead - 1].tolist() == [12 + (i + lead) % 12 for i in range(12)]


def test_zero_forecasts_zero() -> None:
    assert (draws_of(Zero(), made())[:] == 0).all()


def test_last_is_poisson_around_the_last_month() -> None:
    deaths = np.zeros((2, 12))
    deaths[0, -1] = 400
    draws = draws_of(Last(), deaths)
    assert draws[0].mean() == pytest.approx(400, rel=0.01)
    assert draws[0].var() == pytest.approx(400, rel=0.1)
    assert (draws[1] == 0).all()


def test_history_weighs_a_month_half_as_much_after_a_half_life() -> None:
    draws = draws_of(History(), np.arange(100.0))[0]
    share = {month: float((draws == month).mean()) for month in range(100)}
    assert sum(share[month] for month in range(40)) == 0
    assert share[99] == pytest.approx(2 * share[90], rel=0.03)
    assert share[99] == pytest.approx((1 - 0.5 ** (1 / 9)) / (1 - 0.5 ** (60 / 9)), abs=0.001)


def test_history_has_one_distribution_for_all_leads_and_persists_along_a_path() -> None:
    draws = draws_of(History(), np.arange(100.0))[0]
    for lead in range(1, LEADS):
        np.testing.assert_array_equal(np.sort(draws[lead]), np.sort(draws[0]))
    assert not (draws[1] == draws[0]).all()
    assert np.corrcoef(draws[0][:900], draws[1][:900])[0, 1] > 0.9


def test_unknown_months_have_no_weight() -> None:
    deaths = np.full(60, 7.0)
    deaths[:48] = np.nan
    assert (draws_of(History(), deaths) == 7).all()


def test_a_spread_changes_neither_zeros_nor_the_median() -> None:
    deaths = np.zeros(84)
    deaths[-6:] = 100
    draws = draws_of(SMOOTHED_HISTORY, deaths)[0]
    plain = draws_of(History(months=84, half_life=4.0), deaths)[0]
    assert (draws == 0).mean() == (plain == 0).mean()
    above = np.log1p(draws[draws > 0])
    assert np.median(above) == pytest.approx(np.log1p(100), abs=0.02)
    assert above.std() == pytest.approx(0.5, abs=0.03)


@of_each
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), garbage=st.integers(0, 9), cut=st.integers(12, 119))
def test_draws_are_whole_and_use_nothing_after_the_origin(
    component: Component, seed: int, garbage: int, cut: int
) -> None:
    deaths = made(seed)
    other = deaths.copy()
    other[:, cut:] = np.random.default_rng(garbage).integers(0, 10**6, other[:, cut:].shape)
    ours, theirs = panel_of(deaths), panel_of(other)
    origin = ours.months[cut - 1]
    draws = component.fit(ours, origin).forecast(ours, origin).draws
    np.testing.assert_array_equal(draws, component.fit(theirs, origin).forecast(theirs, origin).draws)
    assert (draws >= 0).all()
    assert (draws == np.rint(draws)).all()


@of_each
def test_less_than_twelve_known_months_give_no_forecast(component: Component) -> None:
    deaths = made()
    deaths[1, -12] = np.nan
    draws = draws_of(component, deaths)
    assert np.isnan(draws[1]).all()
    assert not np.isnan(np.delete(draws, 1, axis=0)).any()
    deaths[2] = np.nan
    assert np.isnan(draws_of(component, deaths)[2]).all()
    assert np.isnan(draws_of(component, made(months=11))).all()


@of_each
def test_a_country_has_the_same_forecast_alone_and_among_others(component: Component) -> None:
    panel = panel_of(made())
    origin = panel.months[-1]
    alone = panel.only(["NER"])
    np.testing.assert_array_equal(
        component.forecast(panel, origin).only(["NER"]).draws,
        component.fit(alone, origin).forecast(alone, origin).only(["NER"]).draws,
    )
    assert component.forecast(panel, origin).only(["NER", "MLI"]).iso3 == ("NER", "MLI")
