"""What components share that draw paths of deaths which followed other months: level, scale, chances and order.

It knows arrays only: how like a path is, and why, is the component's business.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.baselines import systematic
from riskmodel.forecasting.forecast import LEADS
from riskmodel.indicators import windows

Floats = NDArray[np.float64]

LEVEL_HALF_LIFE = 4.0
LEVEL_MONTHS = 12
NEAR = 3
"""Paths are drawn at even steps in the order of the deaths of their first months [months]: scores are made of these."""


def level(deaths: Floats) -> Floats:
    """The decayed mean of the last twelve months [deaths a month]; shape (country, month) to the same."""
    return windows.decayed(deaths, LEVEL_HALF_LIFE, LEVEL_MONTHS)


def followed(deaths: Floats) -> Floats:
    """The next 14 months of each month; shape (country, month) to (country, month - 14, lead) [deaths]."""
    month = np.arange(max(deaths.shape[1] - LEADS, 0))
    return np.stack([deaths[:, month + lead] for lead in range(1, LEADS + 1)], axis=-1)


def scaled(paths: NDArray[Any], levels: Floats, to: Floats | float, stretch: float) -> Floats:
    """Paths brought from the levels they started at to others, by a factor of `stretch` at most either way, and whole.

    `paths` is of shape (..., lead) [deaths], the levels are of shape (...).
    """
    scale = np.clip((1.0 + to) / (1.0 + levels), 1.0 / stretch, stretch)
    return np.asarray(np.rint(paths * scale[..., None]))


def drawn(paths: Floats, weights: Floats, number: int) -> NDArray[np.float32]:
    """Paths in proportion to weights, from least to most deadly in the first months; (path, lead) to (lead, number)."""
    order = np.lexsort((paths.sum(axis=1), paths[:, :NEAR].sum(axis=1)))
    return np.asarray(paths[order][systematic(weights[order][None], number)[0]].T, dtype=np.float32)


def reached(near: Floats, thresholds: Floats) -> Floats:
    """The share of the thresholds of each target that sums reach; (path,) and (target, threshold) to (path, target)."""
    rungs = np.sort(thresholds, axis=-1)
    met = np.stack([np.searchsorted(row, near, side="right") for row in rungs], axis=1)
    return np.asarray(met / rungs.shape[1])
