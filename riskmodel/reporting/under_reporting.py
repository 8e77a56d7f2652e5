"""Whether a country has gone quieter than its own reporting allows: a warning about the data, never a sign of peace.

Few reports may mean peace, a cut line, or a source that has stopped. This module tells only how improbable so few are;
it knows no scores.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc, gammaincc

WINDOWS = (1, 3)
"""The newest months that are judged [months]."""
HISTORY = 60
"""The months before them that they are judged by [months]."""
SHORTEST = 24
"""The fewest such months that make a history [months]."""
SILENCE = 12
"""A silence at the end is no part of the history, unless it is longer than this [months]: then it is how things are."""
LEVEL = 0.01
"""Below this probability so few reports are flagged."""


def few_reports(
    events: NDArray[np.float64], deaths: NDArray[np.float64], share: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """The warning on one country's newest months, if one is due, ready for JSON; an empty list otherwise.

    `events` and `deaths` by month up to the origin, shape (month,), NaN where unknown; `share` is how much of a month's
    events is reported by now, NaN where unknown (then taken as all: what is not known excuses nothing). Where events do
    not speak for the history, months with deaths stand for reports.
    """
    chances = {}
    for months in WINDOWS:
        chance = _of_events(events, share, months)
        chances[months] = _of_months(deaths, months) if np.isnan(chance) else chance
    months = min(chances, key=lambda window: np.nan_to_num(chances[window], nan=1.0))
    if not chances[months] < LEVEL:
        return []
    return [{"code": "few_reports", "probability": float(f"{chances[months]:.2g}"), "months": months}]


def few_reports_together(
    events: NDArray[np.float64], deaths: NDArray[np.float64], share: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """The same for several countries as one, shape (country, month): a source that has gone silent as a whole.

    Made of those countries that have been known long enough to be judged.
    """
    needed = SHORTEST + SILENCE + max(WINDOWS)
    told, dead = (~np.isnan(table[:, -needed:]).any(axis=1) for table in (events, deaths))
    usual = np.nansum(events[told], axis=1, keepdims=True) + 1e-9
    reported = (np.where(np.isnan(share[told]), 1.0, share[told]) * usual).sum(axis=0) / max(usual.sum(), 1e-9)
    unknown = np.full(events.shape[1], np.nan)
    return few_reports(
        events[told].sum(axis=0) if told.any() else unknown,
        deaths[dead].sum(axis=0) if dead.any() else unknown,
        reported,
    )


def _history(counts: NDArray[np.float64], months: int) -> NDArray[np.float64]:
    """The unbroken known months before the newest ones and the silence that they end; empty if too few."""
    silent = 0
    while silent < min(SILENCE, counts.size) and counts[-1 - silent] == 0:
        silent += 1
    before = counts[: max(counts.size - max(months, silent), 0)][-HISTORY:]
    unknown = np.flatnonzero(np.isnan(before))
    before = before[unknown[-1] + 1 :] if unknown.size else before
    return before if before.size >= SHORTEST else before[:0]


def _of_events(events: NDArray[np.float64], share: NDArray[np.float64], months: int) -> float:
    """P(as few events or fewer), under a negative binomial that fits sums over as many months of the history.

    Sums, not months, because violence lasts: a quiet month is likelier after a quiet one.
    """
    before, newest = _history(events, months), events[-months:]
    if not before.size or np.isnan(newest).any():
        return float("nan")
    sums = np.convolve(before, np.ones(months), "valid")
    mean, variance = float(sums.mean()), float(sums.var(ddof=1))
    if mean == 0:
        return 1.0
    reported = float(np.mean(np.where(np.isnan(share[-months:]), 1.0, share[-months:])))
    size = mean**2 / (variance - mean) if variance > mean else float("inf")
    return float(at_most(newest.sum(), mean * reported, size))


def at_most(count: ArrayLike, mean: ArrayLike, size: ArrayLike) -> NDArray[np.float64]:
    """P(X ≤ count) for negative binomials; infinite size is Poisson's."""
    count, mean, size = (np.asarray(given, dtype=np.float64) for given in (count, mean, size))
    with np.errstate(invalid="ignore"):
        finite = betaincc(count + 1, size, mean / (size + mean))
    return np.asarray(np.where(np.isinf(size), gammaincc(count + 1, mean), finite))


def _of_months(deaths: NDArray[np.float64], months: int) -> float:
    """P(no deaths in so many months), for a country that was reporting: a chain of months with and without deaths.

    Each chance of passing on has one success and one failure added (Laplace), so that no history makes it certain.
    """
    before, newest = _history(deaths, months), deaths[-months:]
    if not before.size or np.isnan(newest).any():
        return float("nan")
    if newest.any() or not before.any():
        return 1.0
    dead, then_dead = before[:-1] > 0, before[1:] > 0
    falls_silent = ((dead & ~then_dead).sum() + 1) / (dead.sum() + 2)
    stays_silent = ((~dead & ~then_dead).sum() + 1) / ((~dead).sum() + 2)
    usual = (before > 0).mean()
    begins = usual * falls_silent + (1 - usual) * stays_silent
    return float(begins * stays_silent ** (months - 1))
