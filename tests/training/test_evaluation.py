"""The back-test: what a forecaster sees, what is left out, and the known figures of the public benchmark."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import worlds
from histories import SAHEL, made, monthly, rectangle
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from riskmodel import geography, scoring
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Conflictology, History, Zero
from riskmodel.forecasting.escalation import Escalation
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Pool, PoolMember, served_model
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month
from training import evaluation
from training.results import DEATHS, ESCALATION, ONSET, PROBABILITY_OF
from training.windows import Window, challenge_window, challenge_windows, service_windows

KNOWN_WORLD = [14.075, 8.811, 21.368, 76.909, 124.590]
KNOWN_REGION = [5.053, 7.865]


@dataclass(frozen=True)
class Spy:
    """Forecasts as conflictology does, and records each origin with the last month and the countries of its panel."""

    seen: list[tuple[str, str, int]] = field(default_factory=list)
    name: str = "spy"

    def fit(self, panel: Panel, origin: Month) -> Self:
        self.seen.append((str(origin), str(panel.months[-1]), len(panel.iso3)))
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        self.seen.append((str(origin), str(panel.months[-1]), len(panel.iso3)))
        return Conflictology().forecast(panel, origin)


def test_a_model_is_fitted_in_each_window_on_all_countries_and_sees_nothing_later() -> None:
    spy = Spy()
    result = evaluation.run(
        assemble(rectangle(made()), "state_based"), challenge_windows("2007:2008"), ["MLI", "NER", "FRA"], spy
    )
    assert spy.seen == [("2006-10", "2006-10", 8)] * 2 + [("2007-10", "2007-10", 8)] * 2
    assert result.iso3 == ("MLI", "NER")
    assert result.forecasters == ("spy", "ew4s", "conflictology12", "history60", "last", "zero")
    spied, same = (result.means("crps")[result.index_of(name)] for name in ("spy", "conflictology12"))
    np.testing.assert_array_equal(spied, same)
    assert result.means("crps").shape == (6, 3)


@dataclass(frozen=True)
class Leads:
    """Forecasts h deaths for lead h."""

    name: str = "leads"

    def fit(self, panel: Panel, origin: Month) -> Self:
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        draws = np.tile(np.arange(1, LEADS + 1, dtype=np.float32)[:, None], (len(panel.iso3), 1, 2))
        return Forecast(origin, panel.iso3, panel.outcome, draws)


def test_the_first_month_scored_is_lead_3() -> None:
    result = evaluation.run(
        assemble(rectangle(np.zeros((8, 120))), "state_based"), [challenge_window(2008)], SAHEL, Leads(), baselines=[]
    )
    np.testing.assert_array_equal(result.scores["crps"][0, 0], np.tile(np.arange(3, 15), (8, 1)))


def test_losses_are_those_of_leads_3_to_14() -> None:
    observed = rectangle(made())
    result = evaluation.run(
        assemble(observed, "state_based"), [challenge_window(2008)], SAHEL, Conflictology(), baselines=[Zero()]
    )
    year = observed.deaths["state_based"][:, 96:108]
    before = observed.deaths["state_based"][:, 82:94]
    for month in range(12):
        draws = before[:, (np.arange(12) + month + 3) % 12]
        np.testing.assert_allclose(result.scores["crps"][0, 0, :, month], scoring.crps(draws, year[:, month]))
    np.testing.assert_allclose(result.scores["crps"][1, 0], year)
    assert result.means("crps")[1, 0] == pytest.approx(year.mean())
    active = before.sum(axis=1) > 0
    np.testing.assert_array_equal(np.isnan(result.scores["within_90"][0, 0]).all(axis=1), ~active)


def test_unknown_months_are_left_out_for_all_forecasters() -> None:
    deaths = made()
    deaths[0, 100] = np.nan  # an outcome
    deaths[1, 90] = np.nan  # a month of the history
    result = evaluation.run(
        assemble(rectangle(deaths), "state_based"), [challenge_window(2008)], SAHEL, Conflictology(), baselines=[Zero()]
    )
    unknown = np.isnan(result.scores["ign"])
    np.testing.assert_array_equal(unknown[0], unknown[1])
    assert unknown[0, 0].sum() == 13
    assert unknown[0, 0, 0, 4]
    assert unknown[0, 0, 1].all()


def test_a_window_outside_the_data_or_without_outcomes_is_refused() -> None:
    observed = rectangle(made())
    for year in (2000, 2011):
        with pytest.raises(BadInput, match=rf"window {year} needs .* the archive holds 2000-01 to 2009-12"):
            evaluation.run(assemble(observed, "state_based"), [challenge_window(year)], SAHEL, Zero())
    observed.deaths["all"][:] = np.nan
    with pytest.raises(BadInput, match="the window 2008 cannot be scored: no deaths in all organised violence"):
        evaluation.run(assemble(observed, "all"), [challenge_window(2008)], SAHEL, Zero())


def test_differences_are_relative_to_another_forecaster() -> None:
    result = evaluation.run(
        assemble(rectangle(made()), "state_based"), challenge_windows("2006:2008"), SAHEL, History()
    )
    difference = result.difference("ign", "history60", "conflictology12", np.random.default_rng(1))
    means = result.means("ign")
    ours, theirs = (means[result.index_of(name)] for name in ("history60", "conflictology12"))
    assert difference.estimate.value == pytest.approx(ours[-1] / theirs[-1] - 1)
    assert difference.estimate.low <= difference.estimate.value <= difference.estimate.high
    assert (difference.windows_won, difference.windows) == (sum(ours[:3] < theirs[:3]), 3)
    estimate, *_ = result.difference("ign", "conflictology12", "conflictology12", np.random.default_rng(1))
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_each_forecast_of_the_model_is_passed_to_the_callback() -> None:
    issued: list[tuple[Window, Forecast]] = []
    windows = challenge_windows("2007:2008")
    evaluation.run(
        assemble(rectangle(made()), "state_based"),
        windows,
        ["MLI"],
        Zero(),
        on_forecast=lambda window, forecast: issued.append((window, forecast)),
    )
    assert [window for window, _ in issued] == list(windows)
    assert [str(forecast.origin) for _, forecast in issued] == ["2006-10", "2007-10"]


def test_the_baselines_have_the_known_figures(shared: Path) -> None:
    observed = monthly(shared)
    result = evaluation.run(
        assemble(observed, "state_based"),
        challenge_windows("2018:2022"),
        observed.iso3,
        SMOOTHED_HISTORY,
        baselines=[Conflictology()],
    )
    assert len(result.iso3) == 191
    assert result.means("crps")[1, :5].round(3).tolist() == KNOWN_WORLD
    region = observed.rows(geography.region("MLI").members)
    assert result.scores["crps"][1][:2, region].mean(axis=(1, 2)).round(3).tolist() == KNOWN_REGION


def test_the_pool_beats_conflictology_where_it_was_chosen(shared: Path) -> None:
    """On one of the windows of 2000-2015, by the scores that were better in each of them."""
    observed = monthly(shared)
    result = evaluation.run(
        assemble(observed, "state_based"),
        [challenge_window(2013)],
        observed.iso3,
        served_model(1),
        baselines=[Conflictology()],
    )
    for score in ("log_crps", "ign"):
        ours, theirs = result.means(score)[:, 0]
        assert ours < theirs, score
    assert np.isfinite(result.scores["crps"]).all()


def test_rolling_forecasts_are_issued_each_month_by_a_model_fitted_in_january() -> None:
    spy = Spy()
    panel = assemble(rectangle(made()), "state_based")
    result = evaluation.run(panel, service_windows("2008:2009"), SAHEL, spy)
    origins = [str(np.datetime64("2007-12", "M") + month) for month in range(24)]
    seen = [(origin, origin, 8) for origin in origins]
    expected = []
    for january in (0, 12):
        past = [str(origin) for origin in Escalation().held_out(np.datetime64(origins[january], "M"))]
        held_out = [(origin, origin, 8) for origin in past]
        expected += [seen[january], held_out[0], *held_out, *seen[january : january + 12]]
    assert spy.seen == expected, "fit in January; held-out forecasts to choose the escalation model; then issue"
    assert result.scores["crps"].shape == (8, 2, 8, 144)
    assert result.leads.tolist() == [*range(1, 13)] * 12
    for issue in (0, 5, 11):
        for lead in (1, 3, 12):
            deaths = panel.deaths[:, 95 + issue + lead]
            np.testing.assert_array_equal(result.observed[DEATHS][0, :, issue * 12 + lead - 1], deaths)
    known = ~np.isnan(result.observed[DEATHS][1, 0].reshape(12, 12))
    assert known.sum(axis=1).tolist() == [12 - issue for issue in range(12)]
    near, far = result.for_leads(1, 3), result.for_leads(4, 12)
    assert (np.isnan(near.scores["ign"]) ^ np.isnan(result.scores["ign"])).sum() == (~np.isnan(far.scores["ign"])).sum()


def test_escalation_and_onset_against_naive_loops() -> None:
    deaths = made(seed=3)
    deaths[5:, :] = np.where(deaths[5:] > 200, 40.0, 0.0)  # countries that are quiet for long
    panel = assemble(rectangle(deaths), "state_based")
    result = evaluation.run(panel, service_windows("2008"), SAHEL, Conflictology(), baselines=[])
    conflictology, h24 = (result.index_of(name) for name in ("conflictology12", "h24"))
    escalations = onsets = 0
    for country in range(8):
        for issue in range(12):
            end = 96 + issue  # months up to the origin
            past, later = deaths[country, :end], deaths[country, end : end + 12]
            needed = max(25, 2 * past[-3:].sum())
            cell = issue * 12 + 2
            assert result.observed[ESCALATION][0, country, cell] == (later[:3].sum() >= needed)
            escalations += later[:3].sum() >= needed
            sums = [past[end - 3 - back : end - back].sum() for back in range(24)]
            assert result.scores[PROBABILITY_OF[ESCALATION]][h24, 0, country, cell] == np.mean(
                [s >= needed for s in sums]
            )
            year = [sum(past[-12:][(i + h) % 12] for h in (1, 2, 3)) for i in range(12)]
            probability = result.scores[PROBABILITY_OF[ESCALATION]][conflictology, 0, country, cell]
            assert probability == pytest.approx(np.mean([s >= needed for s in year]))
            quiet = (past[-60:] < 25).all()
            onset = result.observed[ONSET][0, country, issue * 12 + 11]
            assert np.isnan(onset) if not quiet else onset == (later >= 25).any()
            onsets += int(quiet)
    assert escalations > 5
    assert onsets > 5
    assert np.isnan(result.scores[PROBABILITY_OF[ONSET]][h24]).all()
    skill = result.event_skill(ESCALATION)
    assert skill["events"][h24, -1] == escalations
    event = result.observed[ESCALATION][0][:, 2::12].ravel() > 0
    chance = result.scores[PROBABILITY_OF[ESCALATION]][h24, 0][:, 2::12].ravel()
    assert skill["average_precision"][h24, 0] == scoring.average_precision(chance, event)


def test_the_served_escalation_model_is_chosen_each_january_and_used_every_month() -> None:
    deaths = made(seed=4, months=132)
    panel = assemble(rectangle(deaths), "state_based")
    result = evaluation.run(panel, service_windows("2008:2009"), SAHEL, Conflictology(), baselines=[])
    place = result.index_of("served")
    for w, january in enumerate(("2007-12", "2008-12")):
        known = panel.until(np.datetime64(january, "M"))
        escalation = Escalation().fit(known, known.months[-1], Conflictology())
        for issue, origin in enumerate(known.months[-1] + np.arange(12)):
            seen = panel.until(origin)
            probability = escalation.probabilities(seen, Conflictology().forecast(seen, origin)).probability
            served_probability = result.scores[PROBABILITY_OF[ESCALATION]][place, w, :, issue * 12 + 2]
            np.testing.assert_array_equal(served_probability, probability)
    assert np.isnan(result.scores["crps"][place]).all()
    assert result.event_skill(ESCALATION)["events"][place, -1] == result.event_skill(ESCALATION)["events"][0, -1] > 0
    assert (
        "served"
        not in evaluation.run(panel, challenge_windows("2008"), SAHEL, Conflictology(), baselines=[]).forecasters
    )


@given(seed=st.integers(0, 10**6), is_rolling=st.booleans())
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
def test_other_data_after_the_origin_change_no_forecast_and_after_the_target_months_no_score(
    seed: int, is_rolling: bool
) -> None:
    window = service_windows("2007")[0] if is_rolling else challenge_window(2007)
    pool = Pool((PoolMember(Forest(trees=3, draws=60, seed=1), 60), PoolMember(SMOOTHED_HISTORY, 60)))
    inputs = worlds.world(seed % 7, months=120, events=400)
    result, forecasts = evaluation.run_window(worlds.panel(inputs), window, pool)
    same, same_forecasts = evaluation.run_window(
        worlds.panel(with_other_data_after(inputs, window.target_months[-1], seed)), window, pool
    )
    for score in result.scores:
        np.testing.assert_array_equal(result.scores[score], same.scores[score])
    other, other_forecasts = evaluation.run_window(
        worlds.panel(with_other_data_after(inputs, window.origin, seed)), window, pool
    )
    for one, two in zip(forecasts, same_forecasts, strict=True):
        np.testing.assert_array_equal(one.draws, two.draws)
    np.testing.assert_array_equal(forecasts[0].draws, other_forecasts[0].draws)
    assert not np.array_equal(result.scores["crps"], other.scores["crps"], equal_nan=True)


def with_other_data_after(inputs: Inputs, last: Month, seed: int) -> Inputs:
    """Replace tables and events after a month by others."""
    noise, first = worlds.world(seed + 100, months=120, events=400), int((last - inputs.months[0]).astype(int)) + 1
    tables = {name: np.hstack([ours[:, :first], noise.tables[name][:, first:]]) for name, ours in inputs.tables.items()}
    events, later_events = inputs.required_events, noise.required_events
    early = worlds.chosen(events, events.column < first)
    covered = np.hstack([events.covered[:, :first], later_events.covered[:, first:]])
    late = worlds.chosen(worlds.numbered_after(later_events, events), later_events.column >= first)
    joined = worlds.joined(late, early)
    joined = worlds.chosen(replace(joined, covered=covered), covered[joined.row, joined.column])
    return Inputs(inputs.iso3, inputs.months, tables, worlds.renumbered(joined))
