"""Tables of a back-test: rows for each forecaster, and differences to the rule h24."""

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.forecasting.baselines import Conflictology
from riskmodel.indicators.panel import assemble
from training import evaluation
from training.formatting import LABELS
from training.result_tables import alert_rows, coverage_rows, event_rows
from training.results import EVENTS, BacktestResult
from training.windows import service_windows


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    """A rolling back-test of six years."""
    deaths = made(seed=3)
    deaths[[1, 3, 5, 6]] = 0
    deaths[7] = np.where(np.arange(120) % 6 < 3, 20, 0)
    panel = assemble(rectangle(deaths), "state_based")
    return evaluation.run(panel, service_windows("2004:2009"), SAHEL, Conflictology(), baselines=[])


def test_event_rows_show_the_model_the_rule_and_their_difference(result: BacktestResult) -> None:
    headings, rows = event_rows(result, 1)
    assert {row[0] for row in rows} == {LABELS[event] for event in EVENTS}
    assert all(len(row) == len(headings) for row in rows)
    by_name = {row[:2]: row for row in rows}
    model, rule, gain = (by_name["escalation", name] for name in ("conflictology12", "h24", "conflictology12 − h24"))
    column = headings.index("AP")
    assert float(gain[column]) == pytest.approx(float(model[column]) - float(rule[column]), abs=2e-3)
    low, high = (float(text) for text in model[column + 1].split(" to "))
    assert low <= float(model[column]) <= high


def test_alert_rows_need_more_than_three_windows(result: BacktestResult) -> None:
    assert alert_rows(result.for_windows(result.windows[:3]), 1) is None
    part, (headings, rows) = alert_rows(result, 1) or pytest.fail("no table")
    assert [window.name for window in part.windows] == ["2007", "2008", "2009"]
    assert [row[0] for row in rows] == ["conflictology12", "h24", "served", "conflictology12 − h24", "served − h24"]
    assert all(len(row) == len(headings) for row in rows)


def test_alerts_of_one_country_have_the_windows_that_are_evaluated_as_units(result: BacktestResult) -> None:
    part, (headings, rows) = alert_rows(result.for_countries(["MLI"]), 1) or pytest.fail("no table")
    assert (part.bootstrap_unit, len(part.windows)) == ("windows", 3)
    assert all(len(row) == len(headings) for row in rows)


def test_coverage_of_one_country_has_an_interval_only_with_several_windows(result: BacktestResult) -> None:
    mali = result.for_countries(["MLI"])
    assert " to " in coverage_rows(mali, ["conflictology12"], 1)[1][0][2]
    assert coverage_rows(mali.for_windows(mali.windows[:1]), ["conflictology12"], 1)[1][0][2] == "–"
