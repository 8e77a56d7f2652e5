"""What a model must show before it is put into service. It knows numbers only: no model and no file."""

from dataclasses import dataclass

import numpy as np

from training.results import BacktestResult, pair_forecasters

BETTER = "better"
NOT_WORSE = "not worse"
RULE_MEANINGS = {
    BETTER: "the mean loss is lower",
    NOT_WORSE: "the lower end of the interval of the difference is 0 or less",
}
REQUIREMENTS = {"ign": BETTER, "log_crps": BETTER, "crps": NOT_WORSE}
"""The rule for each score against the simple forecasters. CRPS may not be required to be better: wars decide it."""
SIMPLE_FORECASTERS = ("conflictology12", "ew4s")
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
    """Compare a model with the simple forecasters and with the model in service, on the cells that both have.

    The first forecaster of each back-test is the model.
    """
    name = challenger.forecasters[0]
    checks = [
        _check(challenger, name, simple, simple, score, rule)
        for simple in SIMPLE_FORECASTERS
        for score, rule in REQUIREMENTS.items()
    ]
    if champion is not None:
        pair = pair_forecasters(challenger, name, champion, champion.forecasters[0])
        ours, theirs = pair.forecasters
        checks += [_check(pair, ours, theirs, "the model in service", score, NOT_WORSE) for score in REQUIREMENTS]
    return checks


def _check(result: BacktestResult, ours: str, theirs: str, against: str, score: str, rule: str) -> Check:
    rng = np.random.default_rng(0)  # fixed: a second run of the gate must not decide otherwise
    estimate, won, windows = result.difference(score, ours, theirs, rng)
    passed = estimate.value < 0 if rule == BETTER else estimate.low <= 0
    value, low, high = (float(number) for number in (estimate.value, estimate.low, estimate.high))
    return Check(against, score, rule, value, low, high, won, windows, bool(passed))
