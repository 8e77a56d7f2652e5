"""The back-test: what it sees, what it leaves out, and the known figures of the public benchmark."""

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
from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.escalation import Escalation
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import SMOOTHER, Part, Pool, served
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month
from training import backtest
from training.results import ESCALATION, ONSET
from training.windows import Window, challenge, challenges, rolling

KNOWN_WORLD = [14.075, 8.811, 21.368, 76.909, 124.590]
KNOWN_REGION = [5.053, 7.865]


@dataclass(frozen=True)
class Spy:
    """Says what conflictology says, and notes what it was shown."""

    shown: list[tuple[str, str, int]] = field(default_factory=list)
    name: str = "spy"

    def fit(self, panel: Panel, origin: Month) -> Self:
        self.shown.append((str(origin), str(panel.months[-1]), len(panel.iso3)))
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        self.shown.append((str(origin), str(panel.months[-1]), len(panel.iso3)))
        return Conflictology().forecast(panel, origin)


def test_a_model_is_fitted_in_each_window_on_all_countries_and_sees_nothing_later() -> None:
    spy = Spy()
    judged = backtest.run(
        assemble(rectangle(made()), "state_based"), challenges("2007:2008"), ["MLI", "NER", "FRA"], spy
    )
    assert spy.shown == [("2006-10", "2006-10", 8)] * 2 + [("2007-10", "2007-10", 8)] * 2
    assert judged.iso3 == ("MLI", "NER")
    assert judged.components == ("spy", "ew4s", "conflictology12", "history60", "last", "zero")
    spied, same = (judged.means("CRPS")[judged.components.index(name)] for name in ("spy", "conflictology12"))
    np.testing.assert_array_equal(spied, same)
    assert judged.means("CRPS").shape == (6, 3)


@dataclass(frozen=True)
class Leads:
    """Says h for lead h."""

    name: str = "leads"

    def fit(self, panel: Panel, origin: Month) -> Self:
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        draws = np.tile(np.arange(1, LEADS + 1, dtype=np.float32)[:, None], (len(panel.iso3), 1, 2))
        return Forecast(origin, panel.iso3, panel.outcome, draws)


def test_the_first_month_judged_is_lead_3() -> None:
    judged = backtest.run(
        assemble(rectangle(np.zeros((8, 120))), "state_based"), [challenge(2008)], SAHEL, Leads(), baselines=[]
    )
    np.testing.assert_array_equal(judged.cells["CRPS"][0, 0], np.tile(np.arange(3, 15), (8, 1)))


def test_losses_are_those_of_leads_3_to_14() -> None:
    observed = rectangle(made())
    judged = backtest.run(
        assemble(observed, "state_based"), [challenge(2008)], SAHEL, Conflictology(), baselines=[Zero()]
    )
    year = observed.deaths["state_based"][:, 96:108]
    before = observed.deaths["state_based"][:, 82:94]
    for month in range(12):
        draws = before[:, (np.arange(12) + month + 3) % 12]
        np.testing.assert_allclose(judged.cells["CRPS"][0, 0, :, month], scoring.crps(draws, year[:, month]))
    np.testing.assert_allclose(judged.cells["CRPS"][1, 0], year)
    assert judged.means("CRPS")[1, 0] == pytest.approx(year.mean())
    active = before.sum(axis=1) > 0
    np.testing.assert_array_equal(np.isnan(judged.cells["90 %"][0, 0]).all(axis=1), ~active)


def test_what_is_unknown_is_left_out_for_all_alike() -> None:
    deaths = made()
    deaths[0, 100] = np.nan  # an outcome
    deaths[1, 90] = np.nan  # a month of the history
    judged = backtest.run(
        assemble(rectangle(deaths), "state_based"), [challenge(2008)], SAHEL, Conflictology(), baselines=[Zero()]
    )
    unknown = np.isnan(judged.cells["IGN"])
    np.testing.assert_array_equal(unknown[0], unknown[1])
    assert unknown[0, 0].sum() == 13
    assert unknown[0, 0, 0, 4]
    assert unknown[0, 0, 1].all()


def test_a_window_outside_the_data_or_without_outcomes_is_refused() -> None:
    observed = rectangle(made())
    for year in (2000, 2011):
        with pytest.raises(BadInput, match=rf"window {year} needs .* the archive holds 2000-01 to 2009-12"):
            backtest.run(assemble(observed, "state_based"), [challenge(year)], SAHEL, Zero())
    observed.deaths["all"][:] = np.nan
    with pytest.raises(BadInput, match="nothing can be judged in the window 2008: no all deaths"):
        backtest.run(assemble(observed, "all"), [challenge(2008)], SAHEL, Zero())


def test_differences_are_relative_to_another_component() -> None:
    judged = backtest.run(assemble(rectangle(made()), "state_based"), challenges("2006:2008"), SAHEL, History())
    difference, won = judged.difference("IGN", "history60", "conflictology12", np.random.default_rng(1))
    means = judged.means("IGN")
    ours, theirs = (means[judged.components.index(name)] for name in ("history60", "conflictology12"))
    assert difference.value == pytest.approx(ours[-1] / theirs[-1] - 1)
    assert difference.low <= difference.value <= difference.high
    assert won == (sum(ours[:3] < theirs[:3]), 3)
    none, _ = judged.difference("IGN", "conflictology12", "conflictology12", np.random.default_rng(1))
    assert (none.value, none.low, none.high) == (0, 0, 0)


def test_each_forecast_is_handed_out_as_it_is_made() -> None:
    issued: list[tuple[Window, Forecast]] = []
    windows = challenges("2007:2008")
    backtest.run(
        assemble(rectangle(made()), "state_based"),
        windows,
        ["MLI"],
        Zero(),
        issued=lambda window, forecast: issued.append((window, forecast)),
    )
    assert [window for window, _ in issued] == list(windows)
    assert [str(forecast.origin) for _, forecast in issued] == ["2006-10", "2007-10"]


def test_the_baselines_have_the_known_figures(shared: Path) -> None:
    observed = monthly(shared)
    judged = backtest.run(
        assemble(observed, "state_based"), challenges("2018:2022"), observed.iso3, SMOOTHER, baselines=[Conflictology()]
    )
    assert len(judged.iso3) == 191
    assert judged.means("CRPS")[1, :5].round(3).tolist() == KNOWN_WORLD
    region = observed.rows(geography.region("MLI").members)
    assert judged.cells["CRPS"][1][:2, region].mean(axis=(1, 2)).round(3).tolist() == KNOWN_REGION


def test_the_pool_beats_conflictology_where_it_was_chosen(shared: Path) -> None:
    """By the scores that were better in each single window of 2000-2015, on one of those windows."""
    observed = monthly(shared)
    judged = backtest.run(
        assemble(observed, "state_based"), [challenge(2013)], observed.iso3, served(1), baselines=[Conflictology()]
    )
    for score in ("log-CRPS", "IGN"):
        ours, theirs = judged.means(score)[:, 0]
        assert ours < theirs, score
    assert np.isfinite(judged.cells["CRPS"]).all()


def test_rolling_forecasts_are_issued_at_each_month_s_end_by_a_model_of_january() -> None:
    spy = Spy()
    panel = assemble(rectangle(made()), "state_based")
    judged = backtest.run(panel, rolling("2008:2009"), SAHEL, spy)
    origins = [str(np.datetime64("2007-12", "M") + month) for month in range(24)]
    shown = [(origin, origin, 8) for origin in origins]
    heard = []
    for january in (0, 12):
        past = [str(origin) for origin in Escalation().held_out(np.datetime64(origins[january], "M"))]
        asked = [(origin, origin, 8) for origin in past]
        heard += [shown[january], asked[0], *asked, *shown[january : january + 12]]
    assert spy.shown == heard, "fitted in January; asked as of before, to choose who speaks of escalation; then issued"
    assert judged.cells["CRPS"].shape == (8, 2, 8, 144)
    assert judged.leads.tolist() == [*range(1, 13)] * 12
    for issue in (0, 5, 11):
        for lead in (1, 3, 12):
            came = panel.deaths[:, 95 + issue + lead]
            np.testing.assert_array_equal(judged.came["deaths"][0, :, issue * 12 + lead - 1], came)
    known = ~np.isnan(judged.came["deaths"][1, 0].reshape(12, 12))
    assert known.sum(axis=1).tolist() == [12 - issue for issue in range(12)]
    near, far = judged.within(1, 3), judged.within(4, 12)
    assert (np.isnan(near.cells["IGN"]) ^ np.isnan(judged.cells["IGN"])).sum() == (~np.isnan(far.cells["IGN"])).sum()


def test_escalation_and_onset_against_naive_loops() -> None:
    deaths = made(seed=3)
    deaths[5:, :] = np.where(deaths[5:] > 200, 40.0, 0.0)  # countries that are quiet for long
    panel = assemble(rectangle(deaths), "state_based")
    judged = backtest.run(panel, rolling("2008"), SAHEL, Conflictology(), baselines=[])
    conflictology, h24 = (judged.component(name) for name in ("conflictology12", "h24"))
    escalations = onsets = 0
    for country in range(8):
        for issue in range(12):
            end = 96 + issue  # months up to the origin
            past, later = deaths[country, :end], deaths[country, end : end + 12]
            needed = max(25, 2 * past[-3:].sum())
            cell = issue * 12 + 2
            assert judged.came[ESCALATION][0, country, cell] == (later[:3].sum() >= needed)
            escalations += later[:3].sum() >= needed
            sums = [past[end - 3 - back : end - back].sum() for back in range(24)]
            assert judged.cells[ESCALATION][h24, 0, country, cell] == np.mean([s >= needed for s in sums])
            year = [sum(past[-12:][(i + h) % 12] for h in (1, 2, 3)) for i in range(12)]
            said = judged.cells[ESCALATION][conflictology, 0, country, cell]
            assert said == pytest.approx(np.mean([s >= needed for s in year]))
            quiet = (past[-60:] < 25).all()
            came = judged.came[ONSET][0, country, issue * 12 + 11]
            assert np.isnan(came) if not quiet else came == (later >= 25).any()
            onsets += int(quiet)
    assert escalations > 5
    assert onsets > 5
    assert np.isnan(judged.cells[ONSET][h24]).all()
    found = judged.events(ESCALATION)
    assert found["came"][h24, -1] == escalations
    event = judged.came[ESCALATION][0][:, 2::12].ravel() > 0
    chance = judged.cells[ESCALATION][h24, 0][:, 2::12].ravel()
    assert found["AP"][h24, 0] == scoring.average_precision(chance, event)


def test_the_voice_that_would_be_served_is_chosen_each_january_and_heard_every_month() -> None:
    deaths = made(seed=4, months=132)
    panel = assemble(rectangle(deaths), "state_based")
    judged = backtest.run(panel, rolling("2008:2009"), SAHEL, Conflictology(), baselines=[])
    place = judged.component("served")
    for w, january in enumerate(("2007-12", "2008-12")):
        known = panel.until(np.datetime64(january, "M"))
        voices = Escalation().fit(known, known.months[-1], Conflictology())
        for issue, origin in enumerate(known.months[-1] + np.arange(12)):
            seen = panel.until(origin)
            said = voices.probabilities(seen, Conflictology().forecast(seen, origin)).probability
            np.testing.assert_array_equal(judged.cells[ESCALATION][place, w, :, issue * 12 + 2], said)
    assert np.isnan(judged.cells["CRPS"][place]).all()
    assert judged.events(ESCALATION)["came"][place, -1] == judged.events(ESCALATION)["came"][0, -1] > 0
    assert "served" not in backtest.run(panel, challenges("2008"), SAHEL, Conflictology(), baselines=[]).components


@given(seed=st.integers(0, 10**6), rolls=st.booleans())
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
def test_garbage_after_the_origin_changes_no_forecast_and_after_the_months_judged_no_score(
    seed: int, rolls: bool
) -> None:
    window = rolling("2007")[0] if rolls else challenge(2007)
    pool = Pool((Part(Forest(trees=3, draws=60, seed=1), 60), Part(SMOOTHER, 60)))
    inputs = worlds.world(seed % 7, months=120, events=400)
    said, forecasts = backtest.judge(worlds.panel(inputs), window, pool)
    same, alike = backtest.judge(worlds.panel(_spoilt(inputs, window.months[-1], seed)), window, pool)
    for score in said.cells:
        np.testing.assert_array_equal(said.cells[score], same.cells[score])
    other, also = backtest.judge(worlds.panel(_spoilt(inputs, window.origin, seed)), window, pool)
    for one, two in zip(forecasts, alike, strict=True):
        np.testing.assert_array_equal(one.draws, two.draws)
    np.testing.assert_array_equal(forecasts[0].draws, also[0].draws)
    assert not np.array_equal(said.cells["CRPS"], other.cells["CRPS"], equal_nan=True)


def _spoilt(inputs: Inputs, last: Month, seed: int) -> Inputs:
    """Other tables and other events after a month."""
    noise, first = worlds.world(seed + 100, months=120, events=400), int((last - inputs.months[0]).astype(int)) + 1
    tables = {name: np.hstack([ours[:, :first], noise.tables[name][:, first:]]) for name, ours in inputs.tables.items()}
    events, late = inputs.reported, noise.reported.column >= first
    early = worlds.chosen(events, events.column < first)
    told = np.hstack([events.told[:, :first], noise.reported.told[:, first:]])
    joined = worlds.joined(worlds.chosen(worlds.numbered_after(noise.reported, events), late), early)
    joined = worlds.chosen(replace(joined, told=told), told[joined.row, joined.column])
    return Inputs(inputs.iso3, inputs.months, tables, worlds.named_anew(joined))
