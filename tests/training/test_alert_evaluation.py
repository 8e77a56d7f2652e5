"""Alerts of escalation equal a naive loop, and thresholds use no later window."""

from pathlib import Path

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.indicators.panel import assemble
from training import evaluation
from training.alert_evaluation import evaluate_alerts, shipped_threshold
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


def naive(chances: list[float], thresholds: list[float]) -> list[int]:
    """The months in which an alert is raised."""
    alerts: list[int] = []
    for month, (chance, threshold) in enumerate(zip(chances, thresholds, strict=True)):
        if chance >= threshold and (not alerts or month - alerts[-1] >= 3):
            alerts.append(month)
    return alerts


def test_alerts_and_episodes_equal_a_naive_loop(result: BacktestResult) -> None:
    table = deaths()
    alerts_found = evaluate_alerts(result, "conflictology12")
    probability = result.scores[PROBABILITY_OF[ESCALATION]][0].reshape(6, 8, 12, 12)[..., 2]
    total = dict.fromkeys(("alerts", "right_alerts", "episodes", "caught", "onsets", "onsets_caught", "forecasts"), 0)
    leads = []
    for country in range(8):
        chances = probability[:, country].ravel().tolist()
        alerts = naive(chances, [9.0] * 36 + np.repeat(alerts_found.thresholds, 12).tolist())
        total["alerts"] += len(alerts)
        inside: list[int] = []
        for month in range(36, 72):
            if np.isnan(chances[month]):
                continue
            total["forecasts"] += 1
            past, later = table[country, : 48 + month], table[country, 48 + month : 51 + month]
            needed = max(25, 2 * past[-3:].sum())
            escalated = bool(later.sum() >= needed)
            total["right_alerts"] += escalated and month in alerts
            if escalated and not inside:
                total["episodes"] += 1
                # an onset is only observed where the year ahead is known
                quiet = len(past) >= 60 and bool((past[-60:] < 25).all()) and 48 + month + 12 <= 120
                total["onsets"] += quiet
            if escalated and month in alerts and not set(inside) & set(alerts):
                total["caught"] += 1
                total["onsets_caught"] += quiet
                leads.append(int(np.argmax(later.cumsum() >= needed)) + 1)
            inside = [*inside, month] if escalated else []
    assert alerts_found.years.sum() * 12 == total.pop("forecasts") > 0
    for name, number in total.items():
        assert getattr(alerts_found, name).sum() == number, name
    assert alerts_found.median_lead == np.median(leads)
    assert min(total.values()) > 0, total


def test_a_given_threshold_is_that_of_all_windows(result: BacktestResult) -> None:
    probability = result.scores[PROBABILITY_OF[ESCALATION]][0].reshape(6, 8, 12, 12)[..., 2]
    threshold = float(np.nanquantile(probability, 0.9))
    found = evaluate_alerts(result, "conflictology12", threshold)
    expected = [naive(probability[:, country].ravel().tolist(), [threshold] * 72) for country in range(8)]
    np.testing.assert_array_equal(found.alerts, [len(alerts) for alerts in expected])
    assert found.years.sum() == np.isfinite(result.observed[ESCALATION]).sum() / 12
    assert found.thresholds.tolist() == [threshold] * 6


def test_the_threshold_that_ships_is_that_of_the_shipped_escalation_rule(tmp_path: Path) -> None:
    [rule] = [rule for rule in rule_file.load(Home(tmp_path), DEFAULT_BANDS) if rule.metric == "escalation_probability"]
    assert shipped_threshold() == rule.fire_at


def test_a_threshold_is_the_lowest_that_keeps_to_the_limit_on_earlier_windows(result: BacktestResult) -> None:
    thresholds = evaluate_alerts(result, "conflictology12").thresholds
    probability = result.scores[PROBABILITY_OF[ESCALATION]][0].reshape(6, 8, 12, 12)[..., 2].transpose(1, 0, 2)
    for place, threshold in enumerate(thresholds):
        before = probability[:, : 3 + place].reshape(8, -1)
        allowed = before.size / 12
        for level in np.unique(probability[probability > 0]):
            number = sum(len(naive(row.tolist(), [level] * before.shape[1])) for row in before)
            assert (number <= allowed) == (level >= threshold), (place, level)


def test_later_windows_change_no_earlier_alert(result: BacktestResult) -> None:
    short = result.for_windows(result.windows[:5])
    one, other = evaluate_alerts(short, "conflictology12"), evaluate_alerts(result, "conflictology12")
    np.testing.assert_array_equal(one.thresholds, other.thresholds[:2])
    assert other.alerts.sum() > one.alerts.sum() > 0


def test_a_missing_year_ends_an_episode_and_an_alert(result: BacktestResult) -> None:
    with_gap = result.for_windows([window for window in result.windows if window.name != "2008"])
    complete, cut = evaluate_alerts(result, "h24"), evaluate_alerts(with_gap, "h24")
    assert len(cut.thresholds) == 2
    assert 0 < cut.years.sum() < complete.years.sum()
