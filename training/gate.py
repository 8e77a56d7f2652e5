"""What a challenger must show before it is put into service. It knows numbers only: no model and no file.

docs/decisions/0017-refit-and-gate.md has the reasons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.results import BacktestResult, pair_forecasters

BETTER = "better"
BETTER_ON_ONE = "better on IGN or log-CRPS"
NOT_WORSE = "not worse"
NOT_FAR_WORSE = "not far worse"
MARGIN = 0.003
"""Two seeds of one configuration differ by less than this [share of the mean loss]: `benchmarks/seed_noise.py`."""
FAR = 0.1
"""A refit can be worse by this on the months since the model before [share of the mean loss]."""
RULE_MEANINGS = {
    BETTER: f"the mean loss is lower by more than {MARGIN:.1%}, and the interval lies below 0",
    BETTER_ON_ONE: "the same, for at least one of the two",
    NOT_WORSE: f"the interval reaches 0 or less, or the mean loss is higher by no more than {MARGIN:.1%}",
    NOT_FAR_WORSE: f"the mean loss is higher by no more than {FAR:.0%}, or the interval reaches 0 or less",
}
SCORES = ("ign", "log_crps", "crps")
REQUIREMENTS = {
    "conflictology12": {"ign": BETTER, "log_crps": NOT_WORSE, "crps": NOT_WORSE},
    "ew4s": dict.fromkeys(SCORES, NOT_WORSE),
}
"""The rule for each score against the baselines. The served pool fulfils them."""
CHAMPION = "the model in service"
GUARD_SCORES = ("ign", "log_crps")
"""Losses that the guard of a refit looks at. A handful of wars decides the CRPS of a year."""
DEFAULT_WINDOWS = 5
"""How many calendar years a model is scored on by default."""


@dataclass(frozen=True)
class Check:
    """One requirement: a relative difference of losses, its 90 % interval, the windows won, and whether it is met."""

    against: str
    score: str
    rule: str
    value: float
    low: float
    high: float
    won: int
    windows: int
    passed: bool


def run_checks(challenger: BacktestResult, champion: BacktestResult | None) -> list[Check]:
    """Compare a model with the baselines and with the configuration in service, on the cells that both have.

    The first forecaster of each back-test is the model.
    """
    name = challenger.forecasters[0]
    checks = [
        _check(challenger, name, baseline, baseline, score, rule)
        for baseline, rules in REQUIREMENTS.items()
        for score, rule in rules.items()
    ]
    if champion is not None:
        pair = pair_forecasters(challenger, name, champion, champion.forecasters[0])
        ours, theirs = pair.forecasters
        checks += [_check(pair, ours, theirs, CHAMPION, score, NOT_WORSE) for score in SCORES]
        checks += [_check(pair, ours, theirs, CHAMPION, score, BETTER_ON_ONE) for score in ("ign", "log_crps")]
    return checks


def guard_checks(result: BacktestResult, refit: str, before: str) -> list[Check]:
    """Compare a refit with the model before, on the months since; both are forecasters of `result`."""
    return [_check(result, refit, before, "the model before", score, NOT_FAR_WORSE) for score in GUARD_SCORES]


def mark(check: Check, checks: Sequence[Check]) -> str:
    """Return what a table says of a check: empty if it is met, or another one of its kind is and one is enough."""
    others = any(other.passed for other in checks if other.rule == BETTER_ON_ONE)
    if check.passed:
        return ""
    return "one is enough" if check.rule == BETTER_ON_ONE and others else "NOT MET"


def passes(checks: Sequence[Check]) -> bool:
    """Return whether the checks are met: all of them, and of those of `BETTER_ON_ONE` at least one."""
    one_of = [check.passed for check in checks if check.rule == BETTER_ON_ONE]
    return all(check.passed for check in checks if check.rule != BETTER_ON_ONE) and (any(one_of) or not one_of)


def _check(result: BacktestResult, ours: str, theirs: str, against: str, score: str, rule: str) -> Check:
    rng = np.random.default_rng(0)  # fixed: a second run of the gate must not decide otherwise
    estimate, won, windows = result.difference(score, ours, theirs, rng)
    value, low, high = (float(number) for number in (estimate.value, estimate.low, estimate.high))
    passed = {
        NOT_WORSE: low <= 0 or value <= MARGIN,
        NOT_FAR_WORSE: not (value > FAR and low > 0),
    }.get(rule, value < -MARGIN and high < 0)
    return Check(against, score, rule, value, low, high, won, windows, passed)
