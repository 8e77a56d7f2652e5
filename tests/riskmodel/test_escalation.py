"""Escalation models: their definitions, how one is chosen, and that none sees anything after the origin."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import joblib
import numpy as np
import pytest
from histories import made, monthly, rectangle
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.escalation import (
    DRAWS,
    POOLED,
    RULE,
    Escalation,
    Regression,
    escalation_from_draws,
    escalation_from_history,
)
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.families import intensity
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month, month
from riskmodel.targets import escalation_threshold, observed_escalations

INDICATORS = intensity.FAMILY.indicators


def panel_of(deaths: ArrayLike) -> Panel:
    return assemble(rectangle(deaths), "state_based", indicators=INDICATORS)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of(made(seed=4, months=240))


def test_the_draws_that_escalate_are_counted_country_by_country(panel: Panel) -> None:
    origin = panel.months[-1]
    draws = History().forecast(panel, origin).draws
    history = panel.history(origin, 60)
    expected = []
    for country in range(len(panel.iso3)):
        threshold = max(25.0, 2 * sum(history[country, -3:]))
        sums = [float(path[:3].sum()) for path in draws[country].T]
        expected.append(np.mean([deaths >= threshold for deaths in sums]))
    np.testing.assert_array_equal(escalation_from_draws(draws, history), expected)
    assert len(set(expected)) > 2


def test_the_threshold_is_25_or_twice_the_last_three_months() -> None:
    history = np.array([[99.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0], [0.0, 10.0, 5.0, 5.0], [0.0, np.nan, 5.0, 5.0]])
    np.testing.assert_array_equal(escalation_threshold(history), [25.0, 25.0, 40.0, np.nan])
    assert np.isnan(escalation_threshold(np.zeros((2, 2)))).all()


def test_the_rule_counts_sums_of_three_months() -> None:
    """Of 24 sums, the three that hold the 30 reach the 25 that are needed once it is four months old."""
    history = np.zeros((3, 30))
    history[0, -5] = 30.0
    history[1, -26] = 30.0
    history[2, -27] = 30.0
    np.testing.assert_allclose(escalation_from_history(history), [3 / 24, 1 / 24, 0.0])
    np.testing.assert_array_equal(escalation_from_history(history * 25 / 30), escalation_from_history(history))
    history[:, -26] = np.nan
    assert np.isnan(escalation_from_history(history)).all()
    assert np.isnan(escalation_from_history(np.zeros((2, 25)))).all()


def test_observed_escalations_month_by_month(panel: Panel) -> None:
    deaths = panel.deaths.copy()
    deaths[1, 50] = np.nan
    observed = observed_escalations(deaths)
    for country in range(len(deaths)):
        for column in range(deaths.shape[1]):
            before, after = deaths[country, max(column - 2, 0) : column + 1], deaths[country, column + 1 : column + 4]
            if len(before) < 3 or len(after) < 3 or np.isnan(before).any() or np.isnan(after).any():
                assert np.isnan(observed[country, column])
            else:
                assert observed[country, column] == (after.sum() >= max(25.0, 2.0 * before.sum()))
    assert 20 < np.nansum(observed) < observed.size / 2
    assert np.isnan(observed_escalations(np.zeros((1, 5)))).all()


@dataclass(frozen=True)
class Oracle:
    """A forecaster that knows which months escalate, or forecasts the opposite; it needs `least` months to learn."""

    truth: NDArray[np.float64]
    right: bool = True
    least: int = 0
    name: str = "oracle"

    def fit(self, panel: Panel, origin: Month) -> Self:
        if len(panel.months) < self.least:
            raise BadInput("too short")
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        escalates = np.nan_to_num(observed_escalations(self.truth)[:, panel.month_index(origin)])
        deaths = np.where((escalates > 0) == self.right, 1e6, 0.0)[:, None, None]
        return Forecast(origin, panel.iso3, panel.outcome, np.broadcast_to(deaths, (len(deaths), 14, 10)).astype("f4"))


def test_the_draws_are_chosen_when_right_and_another_model_when_they_mislead(panel: Panel) -> None:
    origin = panel.months[-1]
    right = Escalation(every=3).fit(panel, origin, Oracle(panel.deaths))
    assert (right.chosen, right.scores[DRAWS]) == (DRAWS, 0.0)
    wrong = Escalation(every=3).fit(panel, origin, Oracle(panel.deaths, right=False))
    assert (wrong.chosen, wrong.scores[DRAWS]) == (RULE, 1.0)
    assert wrong.scores[RULE] < wrong.scores[POOLED] < 1.0
    assert wrong.events >= 20
    forecast = Oracle(panel.deaths, right=False).forecast(panel, origin)
    escalation = wrong.probabilities(panel, forecast)
    assert escalation.models == (RULE,) * len(panel.iso3)
    np.testing.assert_array_equal(escalation.probability, escalation_from_history(panel.history(origin, 26)))


def test_the_scores_are_brier_scores_of_held_out_months(panel: Panel) -> None:
    origin, model = panel.months[-1], History()
    fitted = Escalation(years=4, every=2).fit(panel, origin, model)
    past = Regression().fit(panel, panel.months[-1] - 48)
    losses, pooled = [], []
    for column in range(240 - 1 - 48, 240 - 3, 2):
        seen = panel.until(panel.months[column])
        observed = observed_escalations(panel.deaths)[:, column]
        from_draws = escalation_from_draws(model.forecast(seen, panel.months[column]).draws, seen.deaths)
        losses.append((from_draws - observed) ** 2)
        pooled.append(((from_draws + past.probability(seen, panel.months[column])) / 2 - observed) ** 2)
    assert fitted.scores[POOLED] == pytest.approx(np.mean(pooled))
    assert fitted.scores[DRAWS] == pytest.approx(np.mean(losses))
    assert fitted.cases == np.size(losses)
    assert fitted.scores[fitted.chosen] == min(fitted.scores.values())


def test_forecasts_of_held_out_months_see_nothing_after_their_origin(panel: Panel) -> None:
    origin, early = panel.months[-1], panel.months[-1] - 60
    fits, forecasts = [], []

    @dataclass(frozen=True)
    class Watched(Zero):
        def fit(self, panel: Panel, origin: Month) -> Self:
            fits.append((panel.months[-1], origin))
            return self

        def forecast(self, panel: Panel, origin: Month) -> Forecast:
            forecasts.append((panel.months[-1], origin))
            return super().forecast(panel, origin)

    Escalation().fit(panel, origin, Watched())
    assert fits == [(early, early)]
    assert forecasts == [(when, when) for when in np.arange(early, origin - 2, 6)]


def test_garbage_after_the_origin_changes_nothing(panel: Panel) -> None:
    origin = panel.months[200]
    deaths, values = panel.deaths.copy(), panel.values.copy()
    deaths[:, 201:], values[:, 201:] = 1e6, -7.0
    garbled = replace(panel, deaths=deaths, values=values)
    forecast = History().forecast(panel, origin)
    clean, dirty = (Escalation().fit(p, origin, History()) for p in (panel, garbled))
    assert clean.scores == dirty.scores
    assert (clean.chosen, clean.cases, clean.events) == (dirty.chosen, dirty.cases, dirty.events)
    for name in (DRAWS, RULE, POOLED):
        a, b = (replace(e, chosen=name).probabilities(p, forecast) for e, p in ((clean, panel), (dirty, garbled)))
        np.testing.assert_array_equal(a.probability, b.probability)


def test_fitting_is_deterministic_and_survives_the_disk(panel: Panel) -> None:
    origin = panel.months[-1]
    forecast = History().forecast(panel, origin)
    once, again = (replace(Escalation().fit(panel, origin, History()), chosen=POOLED) for _ in range(2))
    assert joblib.hash(once) == joblib.hash(again)
    file = io.BytesIO()
    joblib.dump(once, file)
    file.seek(0)
    loaded, fresh = joblib.load(file).probabilities(panel, forecast), once.probabilities(panel, forecast)
    np.testing.assert_array_equal(loaded.probability, fresh.probability)
    pooled = (escalation_from_draws(forecast.draws, panel.deaths) + once.regression.probability(panel, origin)) / 2
    np.testing.assert_array_equal(fresh.probability, pooled)


def test_a_country_has_the_same_probability_alone_and_among_others(panel: Panel) -> None:
    origin = panel.months[-1]
    fitted = replace(Escalation().fit(panel, origin, History()), chosen=POOLED)
    together = fitted.probabilities(panel, History().forecast(panel, origin)).probability
    one = panel.only(["MLI"])
    alone = fitted.probabilities(one, History().forecast(one, origin)).probability
    np.testing.assert_allclose(alone, together[:1], rtol=1e-12)


def test_the_draws_replace_the_chosen_model_where_the_history_is_too_short(panel: Panel) -> None:
    """Twelve known months are enough to draw from and too few for the rule; of the last three, all are needed."""
    origin = panel.months[-1]
    fitted = replace(Escalation().fit(panel, origin, History()), chosen=POOLED)
    deaths = panel.deaths.copy()
    deaths[0, :-12], deaths[1, -2] = np.nan, np.nan
    short = panel_of(deaths)
    escalation = fitted.probabilities(short, forecast := Conflictology().forecast(short, origin))
    assert escalation.models[:3] == (DRAWS, DRAWS, POOLED)
    assert escalation.probability[0] == escalation_from_draws(forecast.draws, deaths)[0]
    assert np.isnan(escalation.probability).tolist() == [False, True, *[False] * 6]


@pytest.mark.parametrize(
    ("months", "model"),
    [(40, History()), (240, Oracle(np.zeros((8, 240)), least=200))],
    ids=["history too short", "model cannot learn so early"],
)
def test_the_draws_are_chosen_where_nothing_is_held_out(months: int, model: Oracle) -> None:
    panel = panel_of(made(seed=4, months=months))
    fitted = Escalation().fit(panel, panel.months[-1], model)
    assert (fitted.chosen, fitted.scores, fitted.cases, fitted.events) == (DRAWS, {}, 0, 0)


def test_the_draws_are_chosen_with_too_few_held_out_escalations() -> None:
    deaths = made(seed=4, months=240)
    deaths[:, 175:] = 0.0
    deaths[0, 200] = 100.0
    fitted = Escalation().fit(panel := panel_of(deaths), panel.months[-1], Oracle(deaths, right=False))
    assert fitted.regression.pipeline is not None
    assert (fitted.chosen, fitted.scores) == (DRAWS, {})
    assert 0 < fitted.events < 20


def test_too_few_escalations_leave_the_regression_unfitted() -> None:
    deaths = np.zeros((8, 240))
    deaths[0, 200] = 100.0
    panel = panel_of(deaths)
    fitted = Escalation().fit(panel, panel.months[-1], Oracle(deaths))
    assert fitted.regression.pipeline is None
    assert np.isnan(fitted.regression.probability(panel, panel.months[-1])).all()
    forecast = Oracle(deaths).forecast(panel, panel.months[-1])
    escalation = replace(fitted, chosen=POOLED).probabilities(panel, forecast)
    assert escalation.models == (DRAWS,) * 8
    assert (escalation.probability == 0).all()


def test_the_regression_reads_only_indicators_that_were_mostly_known(panel: Panel) -> None:
    values = panel.values.copy()
    values[5:, :, 0] = np.nan
    values[3:, :, 1] = np.nan
    regression = Regression().fit(replace(panel, values=values), panel.months[-1])
    last = len(panel.names)
    assert regression.columns is not None
    assert {0, last, last + 1} <= set(regression.columns.tolist())
    assert 1 not in regression.columns


def test_the_regression_equals_one_built_row_by_row(panel: Panel) -> None:
    """Signed logs, medians, the threshold, the rule; the weight of a month halves every ten years."""
    origin = panel.months[180]
    values = panel.values.copy()
    values[2:4, :, 0] = np.nan
    panel = replace(panel, values=values)
    rows, events, weights = [], [], []
    for column in range(25, 181 - 3):
        history = panel.history(panel.months[column], 26)
        for country in range(len(panel.iso3)):
            x = panel.values[country, column].astype(float)
            own = [np.log(escalation_threshold(history)[country]), escalation_from_history(history)[country]]
            rows.append([*(np.sign(x) * np.log1p(np.abs(x))), *own])
            events.append(observed_escalations(panel.deaths)[country, column])
            weights.append(0.5 ** ((180 - column) / 120))
    table = np.array(rows)
    known = np.flatnonzero(np.isfinite(table).mean(axis=0) >= 0.5)
    middle = np.nanmedian(table[:, known], axis=0)
    table = np.where(np.isnan(table[:, known]), middle, table[:, known])
    mean, sd = table.mean(axis=0), table.std(axis=0)
    by_hand = LogisticRegression(C=0.01, max_iter=1000)
    by_hand.fit((table - mean) / np.where(sd > 0, sd, 1), events, weights)
    fitted = Regression().fit(panel, origin)
    np.testing.assert_array_equal(fitted.columns, known)
    now = table[-len(panel.iso3) :]
    expected = by_hand.predict_proba((now - mean) / np.where(sd > 0, sd, 1))[:, 1]
    np.testing.assert_allclose(fitted.probability(panel, panel.months[177]), expected, rtol=1e-4)
    assert expected.max() > 2 * expected.min()


def test_a_forecast_of_other_countries_is_refused(panel: Panel) -> None:
    forecast = History().forecast(panel.only(["MLI"]), panel.months[-1])
    with pytest.raises(ValueError, match="other countries"):
        Escalation().probabilities(panel, forecast)


def test_on_real_history_the_regression_beats_the_rule_and_the_base_rate(shared: Path) -> None:
    """Learned to 2012 from the world, tested to 2015, by Brier score."""
    panel = assemble(monthly(shared), "state_based", indicators=INDICATORS)
    origin = month("2012-12")
    regression = Regression().fit(panel.until(origin), origin)
    by_month = observed_escalations(panel.deaths)
    observed, by_regression, by_rule = [], [], []
    for when in np.arange(origin, month("2015-10"), 3):
        observed.append(by_month[:, panel.month_index(when)])
        by_regression.append(regression.probability(panel, when))
        by_rule.append(escalation_from_history(panel.history(when, 26)))
    event, probability, rule = (np.concatenate(part) for part in (observed, by_regression, by_rule))
    assert event.sum() > 50
    loss = np.mean((probability - event) ** 2)
    assert loss < 0.9 * np.mean((rule - event) ** 2)
    assert loss < 0.9 * np.mean((event.mean() - event) ** 2)
