"""Functions on paths of deaths that several components share: the level, the following months, scaling and sampling.

A path is the deaths of the months after a month. Which paths resemble a country's history is up to each component.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import windows
from riskmodel.forecasting.baselines import systematic_sample
from riskmodel.forecasting.forecast import LEADS
from riskmodel.targets import HORIZON

Floats = NDArray[np.float64]

LEVEL_HALF_LIFE = 4.0  # [months]
LEVEL_MONTHS = 12  # [months]


def recent_level(deaths: Floats) -> Floats:
    """Return the decayed mean of the last twelve months [deaths a month]; shape (country, month) to the same."""
    return windows.decayed_mean(deaths, LEVEL_HALF_LIFE, LEVEL_MONTHS)


def following_paths(deaths: Floats) -> Floats:
    """Return the 14 months after each month; shape (country, month) to (country, month - 14, lead) [deaths]."""
    month = np.arange(max(deaths.shape[1] - LEADS, 0))
    return np.stack([deaths[:, month + lead] for lead in range(1, LEADS + 1)], axis=-1)


def scale_paths(paths: NDArray[Any], levels: Floats, target: Floats | float, max_factor: float) -> Floats:
    """Return paths scaled from the levels they started at to target levels, rounded to whole deaths.

    `paths` is of shape (..., lead) [deaths], the levels are of shape (...) [deaths a month]. The factor lies between
    1 / `max_factor` and `max_factor`.
    """
    factor = np.clip((1.0 + target) / (1.0 + levels), 1.0 / max_factor, max_factor)  # 1 + : levels can be 0
    return np.asarray(np.rint(paths * factor[..., None]))


def sample_paths(paths: Floats, weights: Floats, number: int) -> NDArray[np.float32]:
    """Return `number` paths sampled in proportion to weights; shape (path, lead) to (lead, number) [deaths].

    The paths are sorted by the deaths of their first three months and sampled at even steps. So the sample covers the
    whole range of the sums that scores are made from, and nothing is random.
    """
    order = np.lexsort((paths.sum(axis=1), paths[:, :HORIZON].sum(axis=1)))
    return np.asarray(paths[order][systematic_sample(weights[order][None], number)[0]].T, dtype=np.float32)


def share_of_thresholds_reached(deaths: Floats, thresholds: Floats) -> Floats:
    """Return the share of each target's thresholds that sums of deaths reach.

    From (path,) and (target, threshold) [deaths] to (path, target).
    """
    ordered = np.sort(thresholds, axis=-1)
    reached = np.stack([np.searchsorted(row, deaths, side="right") for row in ordered], axis=1)
    return np.asarray(reached / ordered.shape[1])
