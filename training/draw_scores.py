"""Scores of forecast draws against observed deaths."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring
from riskmodel.targets import BATTLE_DEATHS
from training.results import BATTLE_MONTH, PROBABILITY_OF, SHARE_BELOW, SHARE_UP_TO, Floats


def score_draws(draws: NDArray[Any], deaths: Floats) -> dict[str, Floats]:
    """Compute losses, coverages and P(25 deaths or more), each of shape (country, cell).

    `draws` has shape (country, cell, draw) [deaths], `deaths` (country, cell) [deaths]. A score is NaN where the deaths
    or a draw are NaN.
    """
    known = ~(np.isnan(deaths) | np.isnan(draws).any(axis=-1))
    # Unknown cells are scored as zeros and masked at the end: NaN would spread through sorting and counting.
    ordered = np.sort(np.where(known[..., None], draws, 0.0), axis=-1)
    observed = np.where(known, deaths, 0.0)
    p_battle_month = (ordered >= BATTLE_DEATHS).mean(axis=-1)
    share_below = (ordered < observed[..., None]).mean(axis=-1)
    share_up_to = (ordered <= observed[..., None]).mean(axis=-1)
    scores = {
        "crps": scoring.crps(ordered, observed),
        "log_crps": scoring.log_crps(ordered, observed),
        "ign": scoring.ignorance(ordered, observed),
        "mis": scoring.interval_score(ordered, observed),
        "brier_25": scoring.brier(p_battle_month, observed >= BATTLE_DEATHS),
        "within_50": scoring.interval_coverage(share_below, share_up_to, 0.5),
        "within_90": scoring.interval_coverage(share_below, share_up_to, 0.9),
        PROBABILITY_OF[BATTLE_MONTH]: p_battle_month,
        SHARE_BELOW: share_below,
        SHARE_UP_TO: share_up_to,
    }
    return {name: np.where(known, values, np.nan) for name, values in scores.items()}
