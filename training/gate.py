"""What a model has to show before it is put into service. It knows numbers only: no models, no files."""

from dataclasses import dataclass

import numpy as np

from training.results import Judged, paired

BETTER, BETTER_MEANS = "better", "the mean loss is the lower one"
NOT_WORSE, NOT_WORSE_MEANS = "not worse", "the interval of the difference reaches down to no difference at least"
STATED = {"IGN": BETTER, "log-CRPS": BETTER, "CRPS": NOT_WORSE}
"""By which scores a model has to be better than the simple forecasts, and by which not worse: wars decide the CRPS."""
SIMPLE = ("conflictology12", "ew4s")
WINDOWS = 5
"""How many calendar years the gate looks at unless it is told otherwise."""


@dataclass(frozen=True)
class Check:
    """One thing that was asked of a model: a relative difference of losses, its 90 % interval, and windows won."""

    against: str
    score: str
    rule: str
    value: float
    low: float
    high: float
    won: int
    windows: int
    passed: bool


def checks(challenger: Judged, champion: Judged | None) -> list[Check]:
    """Hold a model against the simple forecasts and against the model in service, on the cells that both have.

    The first component of each back-test is the model.
    """
    name = challenger.components[0]
    found = [_check(challenger, name, other, other, score, rule) for other in SIMPLE for score, rule in STATED.items()]
    if champion is not None:
        pair = paired(challenger, name, champion, champion.components[0])
        ours, theirs = pair.components
        found += [_check(pair, ours, theirs, "the model in service", score, NOT_WORSE) for score in STATED]
    return found


def _check(judged: Judged, ours: str, theirs: str, against: str, score: str, rule: str) -> Check:
    difference, (won, windows) = judged.difference(score, ours, theirs, np.random.default_rng(0))
    passed = difference.value < 0 if rule == BETTER else difference.low <= 0
    value, low, high = (float(number) for number in (difference.value, difference.low, difference.high))
    return Check(against, score, rule, value, low, high, won, windows, bool(passed))
