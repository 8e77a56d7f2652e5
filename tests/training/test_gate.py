"""The gate: which comparisons it makes, and when they are passed."""

import pytest
from histories import SAHEL, made, rectangle

from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Zero
from riskmodel.indicators.panel import assemble
from training import evaluation
from training.gate import run_checks
from training.windows import challenge_windows

PANEL = assemble(rectangle(made()), "state_based")


def test_the_gate_compares_with_simple_forecasters_and_with_the_model_in_service() -> None:
    windows = challenge_windows("2006:2008")
    ew4s = evaluation.run(PANEL, windows, SAHEL, SMOOTHED_HISTORY)
    zero = evaluation.run(PANEL, windows, SAHEL, Zero())
    checks = run_checks(ew4s, zero)
    assert {(check.against, check.score, check.rule) for check in checks} == {
        ("conflictology12", "ign", "better"),
        ("conflictology12", "log_crps", "better"),
        ("conflictology12", "crps", "not worse"),
        ("ew4s", "ign", "better"),
        ("ew4s", "log_crps", "better"),
        ("ew4s", "crps", "not worse"),
        ("the model in service", "ign", "not worse"),
        ("the model in service", "log_crps", "not worse"),
        ("the model in service", "crps", "not worse"),
    }
    assert all(check.low <= check.value <= check.high and check.windows == 3 for check in checks)
    by_name = {(check.against, check.score): check for check in checks}
    means = ew4s.means("ign")[:, -1]
    ours, theirs = means[0], means[ew4s.index_of("conflictology12")]
    assert by_name["conflictology12", "ign"].value == pytest.approx(ours / theirs - 1)
    assert by_name["conflictology12", "ign"].passed == (ours < theirs)
    assert all(check.passed for check in checks if check.against == "the model in service")
    reverse = run_checks(zero, ew4s)
    assert not all(check.passed for check in reverse if check.against == "the model in service")


def test_an_equal_model_is_not_better_but_not_worse() -> None:
    ew4s = evaluation.run(PANEL, challenge_windows("2006:2008"), SAHEL, SMOOTHED_HISTORY)
    by_name = {(check.against, check.score): check for check in run_checks(ew4s, None)}
    assert (by_name["ew4s", "ign"].value, by_name["ew4s", "ign"].passed) == (0.0, False)
    assert by_name["ew4s", "crps"].passed
