"""The gate: which comparisons it makes, and when they are passed."""

from dataclasses import replace

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Zero
from riskmodel.indicators.panel import assemble
from training import evaluation
from training.gate import (
    BETTER_ON_ONE,
    CHAMPION,
    MARGIN,
    NOT_FAR_WORSE,
    NOT_WORSE,
    Check,
    guard_checks,
    passes,
    run_checks,
)
from training.results import BacktestResult
from training.windows import challenge_windows

PANEL = assemble(rectangle(made()), "state_based")


WINDOWS = challenge_windows("2006:2008")


@pytest.fixture(scope="module")
def ew4s() -> BacktestResult:
    return evaluation.run(PANEL, WINDOWS, SAHEL, SMOOTHED_HISTORY)


def test_the_gate_compares_with_the_baselines_and_with_the_configuration_in_service(ew4s: BacktestResult) -> None:
    zero = evaluation.run(PANEL, WINDOWS, SAHEL, Zero())
    checks = run_checks(ew4s, zero)
    assert {(check.against, check.score, check.rule) for check in checks} == {
        ("conflictology12", "ign", "better"),
        ("conflictology12", "log_crps", "not worse"),
        ("conflictology12", "crps", "not worse"),
        ("ew4s", "ign", "not worse"),
        ("ew4s", "log_crps", "not worse"),
        ("ew4s", "crps", "not worse"),
        ("the model in service", "ign", "not worse"),
        ("the model in service", "log_crps", "not worse"),
        ("the model in service", "crps", "not worse"),
        ("the model in service", "ign", "better on IGN or log-CRPS"),
        ("the model in service", "log_crps", "better on IGN or log-CRPS"),
    }
    assert all(check.low <= check.value <= check.high and check.windows == 3 for check in checks)
    by_name = {(check.against, check.score, check.rule): check for check in checks}
    means = ew4s.means("ign")[:, -1]
    ours, theirs = means[0], means[ew4s.index_of("conflictology12")]
    better = by_name["conflictology12", "ign", "better"]
    assert better.value == pytest.approx(ours / theirs - 1)
    assert better.passed == (better.high < 0 and better.value < -MARGIN)
    assert passes([check for check in checks if check.against == CHAMPION])
    assert not passes([check for check in run_checks(zero, ew4s) if check.against == CHAMPION])


def test_an_equal_model_is_not_worse_and_does_not_replace_the_one_in_service(ew4s: BacktestResult) -> None:
    against_champion = [check for check in run_checks(ew4s, ew4s) if check.against == CHAMPION]
    assert [(check.value, check.passed) for check in against_champion] == [(0.0, True)] * 3 + [(0.0, False)] * 2
    assert not passes(against_champion)


def test_one_of_the_two_gains_is_enough() -> None:
    met = Check(CHAMPION, "ign", BETTER_ON_ONE, -0.1, -0.2, -0.05, 3, 3, True)
    missed = replace(met, score="log_crps", passed=False)
    assert passes([met, missed])
    assert not passes([missed, missed])
    assert not passes([met, replace(missed, rule=NOT_WORSE)])


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (1.05, True), (1.2, False)])
def test_a_refit_is_refused_where_it_is_far_worse_than_the_model_before(
    ew4s: BacktestResult, factor: float, passed: bool
) -> None:
    scores = {score: np.stack([values[0] * factor, values[0]]) for score, values in ew4s.scores.items()}
    result = replace(ew4s, forecasters=("refit", "before"), scores=scores)
    checks = guard_checks(result, "refit", "before")
    assert [check.rule for check in checks] == [NOT_FAR_WORSE] * 2
    assert passes(checks) is passed
