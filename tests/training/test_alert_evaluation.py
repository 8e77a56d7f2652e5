"""Alerts on many country-months equal the states of the service, and settings are chosen from the past alone."""

from itertools import product

import numpy as np
import pytest
from alert_histories import drawn_rules, origin_of, rule
from histories import SAHEL, made, rectangle
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.alerting.judgement import Announcement, DeathsByMonth, Outcomes, judge, outcomes, record_of
from riskmodel.alerting.replay import alerts_of
from riskmodel.alerting.rule import Rule
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.indicators.panel import assemble
from riskmodel.months import month, span
from training import evaluation
from training.alert_evaluation import evaluate, fire
from training.alert_tuning import Goal, Settings, Trial, closest, fire_nested, grid, levels
from training.backtest_alerts import evaluate_alerts, shipped_rule
from training.results import ESCALATION, PROBABILITY_OF, BacktestResult
from training.windows import service_windows


def deaths() -> np.ndarray:
    """Eight countries, of which five never have a month of 25 deaths, and one of these escalates all the same."""
    table = made(seed=3)
    table[[1, 3, 5, 6]] = 0
    table[7] = np.where(np.arange(120) % 6 < 3, 20, 0)
    return table


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    """A rolling back-test of six years."""
    panel = assemble(rectangle(deaths()), "state_based")
    return evaluation.run(panel, service_windows("2004:2009"), SAHEL, Conflictology(), baselines=[])


@given(drawn_rules, st.lists(st.lists(st.none() | st.integers(0, 100), min_size=20, max_size=20), min_size=1))
@settings(max_examples=60)
def test_many_alerts_at_once_equal_the_states_of_the_service(drawn: Rule, histories: list[list[float | None]]) -> None:
    values = np.array([[np.nan if value is None else value for value in row] for row in histories])
    found = fire(values, drawn.fire_at, drawn.clear_at, drawn.for_origins, drawn.cool_down)
    origins = [origin_of(place) for place in range(20)]
    for fired, history in zip(found, histories, strict=True):
        alerts = alerts_of(drawn, "MLI", origins, history)
        assert [origins[place] for place in np.flatnonzero(fired)] == [alert.fired_origin for alert in alerts]


def test_thresholds_broadcast_against_countries() -> None:
    values = np.array([[1.0, 3.0, 1.0, 3.0, 0.0]])
    found = fire(values[None], np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]), np.array([[1], [1]]))
    assert found.tolist() == [[[True, False, False, False, False]], [[False, True, False, True, False]]]


def test_an_evaluation_counts_what_a_record_counts() -> None:
    months = span(month("2000-01"), month("2009-12"))
    table = DeathsByMonth(SAHEL, months, made(seed=5).astype(float))
    table.values[2, 40:44] = np.nan
    values = np.random.default_rng(1).random(table.values.shape)
    values[:, :12] = np.nan
    escalation = rule(metric="escalation_probability", fire_at=0.9, clear_at=0.3)
    for announcement in (Announcement("escalation", 3), Announcement("escalation", 12), Announcement("onset", 12)):
        fired = fire(values, 0.9, 0.3)
        found = evaluate(
            fired, ~np.isnan(values), outcomes(announcement, table.values), np.arange(8)[:, None] + 0 * fired
        )
        alerts = [
            (alert.location_code, alert.fired_origin)
            for iso3, row in zip(SAHEL, values, strict=True)
            for alert in alerts_of(
                escalation, iso3, list(map(str, months)), [None if np.isnan(value) else float(value) for value in row]
            )
        ]
        record = record_of(judge(announcement, table, alerts, ~np.isnan(values)))
        counts = np.ones((1, 8), dtype=np.int64)
        assert record.alerts == found.alerts.sum() > 20
        assert (record.hits, record.false_alarms) == (found.hits.sum(), found.false_alarms.sum())
        assert (record.episodes, record.episodes - record.misses) == (found.episodes.sum(), found.caught.sum())
        assert record.median_lead_months == pytest.approx(found.median_lead(counts)[0], nan_ok=True)
        assert record.base_rate == pytest.approx(found.base_rate(counts)[0], abs=1e-4)
        assert record.alerts_per_country_year == pytest.approx(found.alerts_per_year(counts)[0], abs=1e-4)


def probabilities(result: BacktestResult) -> np.ndarray:
    """The probability of escalation of the first forecaster, (country, month), where it is known what followed."""
    values, observed = (
        table.reshape(6, 8, 12, 12)[..., 2].transpose(1, 0, 2).reshape(8, 72)
        for table in (result.scores[PROBABILITY_OF[ESCALATION]][0], result.observed[ESCALATION])
    )
    return np.where(np.isnan(observed), np.nan, values)


def test_a_given_threshold_is_that_of_all_windows_and_follows_the_shipped_rule(result: BacktestResult) -> None:
    values = probabilities(result)
    threshold = float(np.nanquantile(values, 0.9))
    found = evaluate_alerts(result, "conflictology12", threshold)
    shipped = shipped_rule()
    as_shipped = shipped.model_copy(
        update={"fire_at": threshold, "clear_at": threshold * shipped.clear_at / shipped.fire_at}
    )
    origins = [origin_of(place) for place in range(72)]
    expected = [
        len(alerts_of(as_shipped, "MLI", origins, [None if np.isnan(v) else float(v) for v in row])) for row in values
    ]
    np.testing.assert_array_equal(found.escalations.alerts, expected)
    assert found.escalations.years.sum() == np.isfinite(values).sum() / 12
    assert found.thresholds.tolist() == [threshold] * 6
    assert found.escalations.caught.sum() > 0


def test_later_windows_change_no_earlier_threshold_and_no_earlier_alert(result: BacktestResult) -> None:
    short = result.for_windows(result.windows[:5])
    one, other = evaluate_alerts(short, "conflictology12"), evaluate_alerts(result, "conflictology12")
    np.testing.assert_array_equal(one.thresholds, other.thresholds[:2])
    assert other.escalations.alerts.sum() > one.escalations.alerts.sum() > 0


def test_onsets_are_those_of_quiet_countries(result: BacktestResult) -> None:
    onsets = evaluate_alerts(result, "conflictology12", 0.01).onsets
    assert onsets.known_months.sum() == np.isfinite(result.observed["onset"]).sum() > 0
    assert onsets.event_months.sum() == np.nansum(result.observed["onset"])


def trial(limited: np.ndarray | None = None) -> Trial:
    """Four countries, eight years: values that often rise before an event."""
    rng = np.random.default_rng(2)
    happened = (rng.random((4, 96)) < 0.2).astype(float)
    values = np.round(np.clip(0.4 * happened + 0.6 * rng.random((4, 96)), 0, 1), 2)
    followed = Outcomes(happened, np.where(happened > 0, 2.0, np.nan), np.ones((4, 96), dtype=bool))
    return Trial(values, followed, 3, grid(levels(values)), limited)


def naive_counts(of: Trial, setting: Settings, before: int) -> tuple[int, int, int, int]:
    """Alerts, hits, false alarms and caught episodes of one of the settings, as known when `before` begins."""
    chosen = rule(metric="risk_score", fire_at=setting.fire_at, clear_at=setting.clear_at)
    chosen = chosen.model_copy(update={"for_origins": setting.for_origins})
    alerts, hits, false_alarms, caught = 0, 0, 0, set()
    for row in range(4):
        for alert in alerts_of(chosen, "MLI", [origin_of(place) for place in range(before)], of.values[row, :before]):
            place = int((month(alert.fired_origin) - month("2000-01")).astype(int))
            alerts += 1
            if place + 3 > before - 1:
                continue
            if of.followed.happened[row, place]:
                hits += 1
                start = place
                while start and of.followed.happened[row, start - 1]:
                    start -= 1
                caught.add((row, start))
            else:
                false_alarms += 1
    return alerts, hits, false_alarms, len(caught)


@pytest.mark.parametrize("goal", [Goal(1.0), Goal(0.3), Goal(None, 4.0)], ids=["one", "few", "cost"])
def test_the_chosen_settings_serve_the_goal_best_on_what_was_known(goal: Goal) -> None:
    tried = trial()
    chosen = tried.choose(goal, 60)
    assert chosen is not None
    counts = [naive_counts(tried, setting, 60) for setting in tried.settings]
    if goal.cost_ratio:
        costs = [false_alarms - goal.cost_ratio * caught for alerts, _, false_alarms, caught in counts if alerts]
        assert counts[chosen][2] - goal.cost_ratio * counts[chosen][3] == min(costs)
        return
    allowed = [each for each in counts if 0 < each[0] <= (goal.budget or 0) * 4 * 60 / 12]
    assert counts[chosen] in allowed
    assert counts[chosen][3] == max(caught for *_, caught in allowed)


def test_no_settings_are_chosen_where_a_budget_allows_none() -> None:
    assert trial().choose(Goal(0.001), 60) is None


def test_a_budget_counts_in_the_limited_countries_alone() -> None:
    one = trial(np.array([True, False, False, False]))
    chosen = one.choose(Goal(0.5), 60)
    assert chosen is not None
    assert one.fired[chosen][0, :60].sum() <= 0.5 * 5
    assert one.fired[chosen][1:, :60].sum() > 0


def test_each_year_has_settings_that_have_not_seen_it() -> None:
    tried = trial()
    years = [slice(12 * year, 12 * year + 12) for year in range(8)]
    chosen = tried.nested(Goal(1.0), years)
    assert chosen[:3] == [None] * 3
    changed = trial()
    changed.values[:, 60:] = 1 - changed.values[:, 60:]
    changed.followed.happened[:, 60:] = 1 - changed.followed.happened[:, 60:]
    assert changed.nested(Goal(1.0), years)[:6] == chosen[:6]
    fired = fire_nested(tried, years, chosen)
    assert not fired[:, :36].any()
    for months, place in zip(years[3:], chosen[3:], strict=True):
        np.testing.assert_array_equal(fired[:, months], tried.fired[place][:, months])


def test_a_rival_gets_the_threshold_that_raises_as_many_alerts() -> None:
    values = trial().values
    for wanted in (3, 20):
        found = closest(values, wanted)
        assert found is not None
        numbers = {level: fire(values, level, level).sum() for level in levels(values)}
        assert abs(numbers[found.fire_at] - wanted) == min(
            abs(number - wanted) for number in numbers.values() if number
        )
    assert closest(np.zeros((2, 5)), 1) is None


def test_levels_are_short_numbers_and_the_grid_has_all_combinations() -> None:
    found = levels(np.array([[0.0, np.nan, 0.123456, 0.5, 123.4]]))
    assert set(found) <= {0.12, 0.5, 120.0}
    assert [each[:3] for each in grid(np.array([0.5]), (1.0, 0.5), (1, 2))] == [
        (0.5, clear_at, needed) for needed, clear_at in product((1, 2), (0.5, 0.25))
    ]
