"""Alerts of escalation against a naive loop, and thresholds that see no later window."""

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.forecasting.baselines import Conflictology
from riskmodel.indicators.panel import assemble
from training import alert_evaluation, backtest, figures
from training.results import CHANCES, ESCALATION, Judged
from training.windows import rolling


def deaths() -> np.ndarray:
    """Eight countries, of which five never have a month of 25 deaths, and one of these escalates all the same."""
    table = made(seed=3)
    table[[1, 3, 5, 6]] = 0
    table[7] = np.where(np.arange(120) % 6 < 3, 20, 0)
    return table


@pytest.fixture(scope="module")
def judged() -> Judged:
    """What was said and came in six years."""
    panel = assemble(rectangle(deaths()), "state_based")
    return backtest.run(panel, rolling("2004:2009"), SAHEL, Conflictology(), baselines=[])


def naive(chances: list[float], thresholds: list[float]) -> list[int]:
    """The months in which an alert is raised."""
    alerts: list[int] = []
    for month, (chance, threshold) in enumerate(zip(chances, thresholds, strict=True)):
        if chance >= threshold and (not alerts or month - alerts[-1] >= 3):
            alerts.append(month)
    return alerts


def test_alerts_and_episodes_equal_a_naive_loop(judged: Judged) -> None:
    table = deaths()
    found = alert_evaluation.tally(judged, "conflictology12")
    said = judged.cells[ESCALATION][0].reshape(6, 8, 12, 12)[..., 2]
    total = dict.fromkeys(("alerts", "right", "episodes", "caught", "onsets", "onsets_caught", "cells"), 0)
    leads = []
    for country in range(8):
        chances = said[:, country].ravel().tolist()
        alerts = naive(chances, [9.0] * 36 + np.repeat(found.thresholds, 12).tolist())
        total["alerts"] += len(alerts)
        inside: list[int] = []
        for month in range(36, 72):
            if np.isnan(chances[month]):
                continue
            total["cells"] += 1
            past, later = table[country, : 48 + month], table[country, 48 + month : 51 + month]
            needed = max(25, 2 * past[-3:].sum())
            came = bool(later.sum() >= needed)
            total["right"] += came and month in alerts
            if came and not inside:
                total["episodes"] += 1
                # whether the year ahead was known is part of being judged as an onset
                quiet = len(past) >= 60 and bool((past[-60:] < 25).all()) and 48 + month + 12 <= 120
                total["onsets"] += quiet
            if came and month in alerts and not set(inside) & set(alerts):
                total["caught"] += 1
                total["onsets_caught"] += quiet
                leads.append(int(np.argmax(later.cumsum() >= needed)) + 1)
            inside = [*inside, month] if came else []
    for name, number in total.items():
        assert getattr(found, name).sum() == number if name != "cells" else found.years.sum() * 12 == number, name
    assert found.lead == np.median(leads)
    assert min(total.values()) > 0, total


def test_a_threshold_is_the_lowest_that_keeps_within_the_rate_on_earlier_windows(judged: Judged) -> None:
    found = alert_evaluation.tally(judged, "conflictology12").thresholds
    said = judged.cells[ESCALATION][0].reshape(6, 8, 12, 12)[..., 2].transpose(1, 0, 2)
    for place, threshold in enumerate(found):
        before = said[:, : 3 + place].reshape(8, -1)
        allowed = before.size / 12
        for level in np.unique(said[said > 0]):
            number = sum(len(naive(row.tolist(), [level] * before.shape[1])) for row in before)
            assert (number <= allowed) == (level >= threshold), (place, level)


def test_later_windows_change_no_earlier_alert(judged: Judged) -> None:
    short = judged.during(judged.windows[:5])
    one, other = alert_evaluation.tally(short, "conflictology12"), alert_evaluation.tally(judged, "conflictology12")
    np.testing.assert_array_equal(one.thresholds, other.thresholds[:2])
    assert other.alerts.sum() > one.alerts.sum() > 0


def test_a_year_that_is_not_there_ends_an_episode_and_an_alert(judged: Judged) -> None:
    gap = judged.during([window for window in judged.windows if window.name != "2008"])
    whole, cut = alert_evaluation.tally(judged, "h24"), alert_evaluation.tally(gap, "h24")
    assert len(cut.thresholds) == 2
    assert 0 < cut.years.sum() < whole.years.sum()


def test_tables_tell_the_model_the_rule_and_what_lies_between(judged: Judged) -> None:
    headings, rows = figures.events(judged, 1)
    assert {row[0] for row in rows} == {figures.HEADINGS[what] for what in CHANCES}
    assert all(len(row) == len(headings) for row in rows)
    by = {row[:2]: row for row in rows}
    ours, rule, more = (by["escalation", name] for name in ("conflictology12", "h24", "conflictology12 − h24"))
    assert float(more[6]) == pytest.approx(float(ours[6]) - float(rule[6]), abs=2e-3)
    low, high = (float(text) for text in ours[7].split(" to "))
    assert low <= float(ours[6]) <= high
    assert figures.alerts(judged.during(judged.windows[:3]), 1) is None
    part, (headings, rows) = figures.alerts(judged, 1) or pytest.fail("no table")
    assert [window.name for window in part.windows] == ["2007", "2008", "2009"]
    assert [row[0] for row in rows] == ["conflictology12", "h24", "served", "conflictology12 − h24", "served − h24"]
    assert all(len(row) == len(headings) for row in rows)
    alone = figures.coverages(judged.only(["MLI"]), ["conflictology12"], 1)[1]
    assert " to " in alone[0][2]
    once = figures.coverages(judged.only(["MLI"]).during(judged.windows[:1]), ["conflictology12"], 1)[1]
    assert once[0][2] == "–"
