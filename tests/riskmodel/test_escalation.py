"""Escalation: what each voice says, who is believed, and that nothing after the origin is heard."""

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

from riskmodel import scores
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.escalation import (
    DRAWS,
    POOLED,
    RULE,
    Escalation,
    Regression,
    _escalated,
    implied,
    needed,
    rule,
)
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators import intensity
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month, month

INDICATORS = intensity.FAMILY.indicators


def panel_of(deaths: ArrayLike) -> Panel:
    return assemble(rectangle(deaths), "state_based", indicators=INDICATORS)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of(made(seed=4, months=240))


def test_the_definitions_are_those_of_the_scores(panel: Panel) -> None:
    origin = panel.months[-1]
    draws = History().forecast(panel, origin).draws
    history = panel.history(origin, 60)
    one_by_one = [scores.escalation(d.astype(float), h) for d, h in zip(draws, history, strict=True)]
    np.testing.assert_array_equal(implied(draws, history), one_by_one)
    assert len(set(one_by_one)) > 2


def test_what_has_to_be_reached() -> None:
    history = np.array([[99.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0], [0.0, 10.0, 5.0, 5.0], [0.0, np.nan, 5.0, 5.0]])
    np.testing.assert_array_equal(needed(history), [25.0, 25.0, 40.0, np.nan])


def test_the_rule_counts_sums_of_three_months() -> None:
    """Of 24 sums, the three that hold the 30 reach the 25 that are needed once it is four months old."""
    history = np.zeros((3, 30))
    history[0, -5] = 30.0
    history[1, -26] = 30.0
    history[2, -27] = 30.0
    np.testing.assert_allclose(rule(history), [3 / 24, 1 / 24, 0.0])
    np.testing.assert_array_equal(rule(history * 25 / 30), rule(history))
    history[:, -26] = np.nan
    assert np.isnan(rule(history)).all()
    assert np.isnan(rule(np.zeros((2, 25)))).all()


def test_what_came_month_by_month(panel: Panel) -> None:
    deaths = panel.deaths.copy()
    deaths[1, 50] = np.nan
    came = _escalated(deaths)
    for country in range(len(deaths)):
        for place in range(deaths.shape[1]):
            before, after = deaths[country, max(place - 2, 0) : place + 1], deaths[country, place + 1 : place + 4]
            if len(before) < 3 or len(after) < 3 or np.isnan(before).any() or np.isnan(after).any():
                assert np.isnan(came[country, place])
            else:
                assert came[country, place] == (after.sum() >= max(25.0, 2.0 * before.sum()))
    assert 20 < np.nansum(came) < came.size / 2
    assert np.isnan(_escalated(np.zeros((1, 5)))).all()


@dataclass(frozen=True)
class Knows:
    """A model that knows what comes, or the opposite of it; it learns from `least` months or not at all."""

    truth: NDArray[np.float64]
    right: bool = True
    least: int = 0
    name: str = "knows"

    def fit(self, panel: Panel, origin: Month) -> Self:
        if len(panel.months) < self.least:
            raise BadInput("too short")
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        come = np.nan_to_num(_escalated(self.truth)[:, panel.place(origin)])
        said = np.where((come > 0) == self.right, 1e6, 0.0)[:, None, None]
        return Forecast(origin, panel.iso3, panel.outcome, np.broadcast_to(said, (len(said), 14, 10)).astype("f4"))


def test_draws_that_know_speak_and_draws_that_mislead_are_not_heard(panel: Panel) -> None:
    origin = panel.months[-1]
    right = Escalation(every=3).fit(panel, origin, Knows(panel.deaths))
    assert (right.chosen, right.scores[DRAWS]) == (DRAWS, 0.0)
    wrong = Escalation(every=3).fit(panel, origin, Knows(panel.deaths, right=False))
    assert (wrong.chosen, wrong.scores[DRAWS]) == (RULE, 1.0)
    assert wrong.scores[RULE] < wrong.scores[POOLED] < 1.0
    assert wrong.events >= 20
    forecast = Knows(panel.deaths, right=False).forecast(panel, origin)
    said = wrong.say(panel, forecast)
    assert said.by == (RULE,) * len(panel.iso3)
    np.testing.assert_array_equal(said.probability, rule(panel.history(origin, 26)))


def test_the_scores_are_brier_scores_of_held_out_months(panel: Panel) -> None:
    origin, model = panel.months[-1], History()
    fitted = Escalation(years=4, every=2).fit(panel, origin, model)
    past = Regression().fit(panel, panel.months[-1] - 48)
    losses, pooled = [], []
    for place in range(240 - 1 - 48, 240 - 3, 2):
        then = panel.until(panel.months[place])
        came = _escalated(panel.deaths)[:, place]
        drawn = implied(model.forecast(then, panel.months[place]).draws, then.deaths)
        losses.append((drawn - came) ** 2)
        pooled.append(((drawn + past.probability(then, panel.months[place])) / 2 - came) ** 2)
    assert fitted.scores[POOLED] == pytest.approx(np.mean(pooled))
    assert fitted.scores[DRAWS] == pytest.approx(np.mean(losses))
    assert fitted.cases == np.size(losses)
    assert fitted.scores[fitted.chosen] == min(fitted.scores.values())


def test_the_past_voices_saw_nothing_of_the_held_out_months(panel: Panel) -> None:
    """Whoever is asked for a held-out month has learned, and is shown, nothing that came after it."""
    origin, early = panel.months[-1], panel.months[-1] - 60
    fits, asked = [], []

    @dataclass(frozen=True)
    class Watched(Zero):
        def fit(self, panel: Panel, origin: Month) -> Self:
            fits.append((panel.months[-1], origin))
            return self

        def forecast(self, panel: Panel, origin: Month) -> Forecast:
            asked.append((panel.months[-1], origin))
            return super().forecast(panel, origin)

    Escalation().fit(panel, origin, Watched())
    assert fits == [(early, early)]
    assert asked == [(when, when) for when in np.arange(early, origin - 2, 6)]


def test_garbage_after_the_origin_changes_nothing(panel: Panel) -> None:
    origin = panel.months[200]
    deaths, values = panel.deaths.copy(), panel.values.copy()
    deaths[:, 201:], values[:, 201:] = 1e6, -7.0
    garbled = replace(panel, deaths=deaths, values=values)
    forecast = History().forecast(panel, origin)
    clean, dirty = (Escalation().fit(p, origin, History()) for p in (panel, garbled))
    assert clean.scores == dirty.scores
    assert (clean.chosen, clean.cases, clean.events) == (dirty.chosen, dirty.cases, dirty.events)
    for voice in (DRAWS, RULE, POOLED):
        a, b = (replace(e, chosen=voice).say(p, forecast) for e, p in ((clean, panel), (dirty, garbled)))
        np.testing.assert_array_equal(a.probability, b.probability)


def test_it_learns_alike_each_time_and_survives_the_disk(panel: Panel) -> None:
    origin = panel.months[-1]
    forecast = History().forecast(panel, origin)
    once, again = (replace(Escalation().fit(panel, origin, History()), chosen=POOLED) for _ in range(2))
    assert joblib.hash(once) == joblib.hash(again)
    file = io.BytesIO()
    joblib.dump(once, file)
    file.seek(0)
    kept, fresh = joblib.load(file).say(panel, forecast), once.say(panel, forecast)
    np.testing.assert_array_equal(kept.probability, fresh.probability)
    pooled = (implied(forecast.draws, panel.deaths) + once.regression.probability(panel, origin)) / 2
    np.testing.assert_array_equal(fresh.probability, pooled)


def test_a_country_alone_is_told_what_it_is_told_among_others(panel: Panel) -> None:
    origin = panel.months[-1]
    fitted = replace(Escalation().fit(panel, origin, History()), chosen=POOLED)
    together = fitted.say(panel, History().forecast(panel, origin)).probability
    one = panel.only(["MLI"])
    np.testing.assert_allclose(fitted.say(one, History().forecast(one, origin)).probability, together[:1], rtol=1e-12)


def test_where_the_chosen_voice_cannot_speak_the_draws_do(panel: Panel) -> None:
    """Twelve known months are enough to draw from and too few for the rule; of the last three, all are needed."""
    origin = panel.months[-1]
    fitted = replace(Escalation().fit(panel, origin, History()), chosen=POOLED)
    deaths = panel.deaths.copy()
    deaths[0, :-12], deaths[1, -2] = np.nan, np.nan
    short = panel_of(deaths)
    said = fitted.say(short, forecast := Conflictology().forecast(short, origin))
    assert said.by[:3] == (DRAWS, DRAWS, POOLED)
    assert said.probability[0] == implied(forecast.draws, deaths)[0]
    assert np.isnan(said.probability).tolist() == [False, True, *[False] * 6]


@pytest.mark.parametrize(
    ("months", "model"),
    [(40, History()), (240, Knows(np.zeros((8, 240)), least=200))],
    ids=["history too short", "model cannot learn so early"],
)
def test_without_anything_held_out_the_draws_speak(months: int, model: Knows) -> None:
    panel = panel_of(made(seed=4, months=months))
    fitted = Escalation().fit(panel, panel.months[-1], model)
    assert (fitted.chosen, fitted.scores, fitted.cases, fitted.events) == (DRAWS, {}, 0, 0)


def test_too_few_held_out_escalations_choose_nobody() -> None:
    deaths = made(seed=4, months=240)
    deaths[:, 175:] = 0.0
    deaths[0, 200] = 100.0
    fitted = Escalation().fit(panel := panel_of(deaths), panel.months[-1], Knows(deaths, right=False))
    assert fitted.regression.learned is not None
    assert (fitted.chosen, fitted.scores) == (DRAWS, {})
    assert 0 < fitted.events < 20


def test_too_few_escalations_teach_nothing() -> None:
    deaths = np.zeros((8, 240))
    deaths[0, 200] = 100.0
    panel = panel_of(deaths)
    fitted = Escalation().fit(panel, panel.months[-1], Knows(deaths))
    assert fitted.regression.learned is None
    assert np.isnan(fitted.regression.probability(panel, panel.months[-1])).all()
    said = replace(fitted, chosen=POOLED).say(panel, Knows(deaths).forecast(panel, panel.months[-1]))
    assert said.by == (DRAWS,) * 8
    assert (said.probability == 0).all()


def test_the_regression_reads_only_what_was_mostly_known(panel: Panel) -> None:
    values = panel.values.copy()
    values[5:, :, 0] = np.nan
    values[3:, :, 1] = np.nan
    regression = Regression().fit(replace(panel, values=values), panel.months[-1])
    last = len(panel.names)
    assert regression.columns is not None
    assert {0, last, last + 1} <= set(regression.columns.tolist())
    assert 1 not in regression.columns


def test_the_regression_is_the_one_it_says_it_is(panel: Panel) -> None:
    """Row by row: logs with their sign, medians, what has to be reached, the rule; a month halves every ten years."""
    origin = panel.months[180]
    values = panel.values.copy()
    values[2:4, :, 0] = np.nan
    panel = replace(panel, values=values)
    rows, events, weights = [], [], []
    for place in range(25, 181 - 3):
        history = panel.history(panel.months[place], 26)
        for country in range(len(panel.iso3)):
            x = panel.values[country, place].astype(float)
            own = [np.log(needed(history)[country]), rule(history)[country]]
            rows.append([*(np.sign(x) * np.log1p(np.abs(x))), *own])
            events.append(_escalated(panel.deaths)[country, place])
            weights.append(0.5 ** ((180 - place) / 120))
    table = np.array(rows)
    known = np.flatnonzero(np.isfinite(table).mean(axis=0) >= 0.5)
    middle = np.nanmedian(table[:, known], axis=0)
    table = np.where(np.isnan(table[:, known]), middle, table[:, known])
    mean, sd = table.mean(axis=0), table.std(axis=0)
    by_hand = LogisticRegression(C=0.01, max_iter=1000)
    by_hand.fit((table - mean) / np.where(sd > 0, sd, 1), events, weights)
    learned = Regression().fit(panel, origin)
    np.testing.assert_array_equal(learned.columns, known)
    now = table[-len(panel.iso3) :]
    expected = by_hand.predict_proba((now - mean) / np.where(sd > 0, sd, 1))[:, 1]
    np.testing.assert_allclose(learned.probability(panel, panel.months[177]), expected, rtol=1e-4)
    assert expected.max() > 2 * expected.min()


def test_a_forecast_of_others_is_refused(panel: Panel) -> None:
    forecast = History().forecast(panel.only(["MLI"]), panel.months[-1])
    with pytest.raises(ValueError, match="other countries"):
        Escalation().say(panel, forecast)


def test_on_real_history_the_regression_tells_escalations_apart(shared: Path) -> None:
    """Learned to 2012 from the world, asked to 2015: its Brier score beats the rule's and the world's own frequency."""
    panel = assemble(monthly(shared), "state_based", indicators=INDICATORS)
    origin = month("2012-12")
    regression = Regression().fit(panel.until(origin), origin)
    came, learned, ruled = [], [], []
    for when in np.arange(origin, month("2015-10"), 3):
        came.append(_escalated(panel.deaths)[:, panel.place(when)])
        learned.append(regression.probability(panel, when))
        ruled.append(rule(panel.history(when, 26)))
    event, said, by_rule = (np.concatenate(part) for part in (came, learned, ruled))
    assert event.sum() > 50
    loss = np.mean((said - event) ** 2)
    assert loss < 0.9 * np.mean((by_rule - event) ** 2)
    assert loss < 0.9 * np.mean((event.mean() - event) ** 2)
