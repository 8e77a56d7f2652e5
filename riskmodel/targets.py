"""Definitions of what Vigie forecasts: the rungs of the risk score, escalation and onset."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HORIZON = 3
"""The risk score and escalation are about the months up to this lead [months]."""
RUNGS = (1, 5, 25, 100, 300, 1000)
"""The risk score is the mean probability of reaching these numbers of deaths within the horizon [deaths]."""
BATTLE_DEATHS = 25
"""Escalation and onset need at least this many deaths, as UCDP needs them for an armed conflict [deaths]."""
QUIET_MONTHS = 60
"""Onset is defined for a country that had no month of `BATTLE_DEATHS` in this time [months]."""


def escalation_threshold(history: NDArray[Any]) -> Floats:
    """Return the deaths in the next three months that count as an escalation: max(25, 2 × those of the last three).

    `history` is of shape (..., month) [deaths] and ends with the origin; the result is of shape (...) [deaths]. It is
    NaN where one of the last three months is unknown.
    """
    recent = history[..., -HORIZON:]
    if recent.shape[-1] < HORIZON:
        return np.full(recent.shape[:-1], np.nan)
    return np.asarray(np.maximum(BATTLE_DEATHS, 2 * recent.sum(axis=-1)), dtype=np.float64)


def observed_escalations(deaths: Floats) -> Floats:
    """Return 1 where the three months after a month escalated, 0 where they did not, NaN where that is unknown.

    Of the shape of `deaths`, (country, month) [deaths].
    """
    observed = np.full(deaths.shape, np.nan)
    if deaths.shape[1] < 2 * HORIZON:
        return observed
    windows = sliding_window_view(deaths, HORIZON, axis=1)
    threshold, after = escalation_threshold(windows[:, :-HORIZON]), windows[:, HORIZON:].sum(axis=-1)
    unknown = np.isnan(threshold) | np.isnan(after)
    observed[:, HORIZON - 1 : -HORIZON] = np.where(unknown, np.nan, after >= threshold)
    return observed
