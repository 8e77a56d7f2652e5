"""Sums, means, maxima, ranks and waiting times over the months up to each month, for a whole rectangle at once.

Each takes float64 of shape (country, month) and gives the same shape. Column t uses columns up to t only, and is NaN
where its window reaches before the first month or over an unknown cell.
"""

from math import inf

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from riskmodel.indicators.inputs import Rectangle

YEAR = 12  # [months]


def delayed(values: Rectangle, months: int) -> Rectangle:
    """The value some months earlier."""
    late = np.full(values.shape, np.nan)
    late[:, months:] = values[:, : max(values.shape[1] - months, 0)]
    return late


def change(values: Rectangle, months: int) -> Rectangle:
    """The value less that of some months earlier."""
    return values - delayed(values, months)


def throughout(holds: NDArray[np.bool_], months: int) -> NDArray[np.bool_]:
    """Whether a condition holds in all of the last months; it does not before the first one."""
    return np.asarray(_rolling(holds.astype(np.float64), months) == months)


def total(counts: Rectangle, months: int) -> Rectangle:
    """The sum over the last months of whole numbers (for which differences of running sums are exact)."""
    return np.where(throughout(~np.isnan(counts), months), _rolling(np.nan_to_num(counts), months), np.nan)


def ratio(part: Rectangle, whole: Rectangle) -> Rectangle:
    """A part of a whole; NaN where the whole is nothing or unknown."""
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))


def share(holds: NDArray[np.bool_], values: Rectangle, months: int) -> Rectangle:
    """The share of the last months in which a condition on the values holds."""
    return total(np.where(np.isnan(values), np.nan, holds), months) / months


def spread(values: Rectangle, months: int) -> Rectangle:
    """The standard deviation over the last months."""
    return np.asarray(_last(values, months).std(axis=-1))


def highest(values: Rectangle, months: int) -> Rectangle:
    """The maximum over the last months."""
    return np.asarray(_last(values, months).max(axis=-1))


def rank(values: Rectangle, months: int) -> Rectangle:
    """The share of the last months before each one whose value is below its own; an equal one counts half."""
    below = np.zeros(values.shape)
    for age in range(1, months):
        earlier = delayed(values, age)
        below += np.where(np.isnan(earlier), np.nan, (earlier < values) + 0.5 * (earlier == values))
    return np.where(np.isnan(values), np.nan, below / (months - 1))


def decayed(values: Rectangle, half_life: float, months: int) -> Rectangle:
    """The mean over the last months, a month weighing half as much as one that is `half_life` [months] later."""
    weights = 0.5 ** (np.arange(months) / half_life)
    weights /= weights.sum()
    weighed = np.zeros(values.shape)
    for age, weight in enumerate(weights):  # a recursion would leave rounding where nothing has happened for long
        weighed += weight * delayed(values, age)
    return weighed


def mean(values: Rectangle, months: int) -> Rectangle:
    """The mean over the last months."""
    return decayed(values, inf, months)  # weights that never halve


def since(holds: NDArray[np.bool_], values: Rectangle, limit: int) -> Rectangle:
    """Months since a condition last held, 0 in the month itself, at most `limit`.

    A record in which it never held says so only once it is unbroken for `limit` months; before that it is NaN.
    """
    month = np.arange(values.shape[1])
    unknown = np.isnan(values)
    last = np.maximum.accumulate(np.where(holds & ~unknown, month, -1), axis=1)
    gap = np.maximum.accumulate(np.where(unknown, month, -1), axis=1)
    never = np.where(month - gap >= limit, float(limit), np.nan)
    return np.minimum(np.where(last > gap, month - last, never), limit)


def _last(values: Rectangle, months: int) -> Rectangle:
    before = np.full((len(values), months - 1), np.nan)
    return sliding_window_view(np.concatenate([before, values], axis=1), months, axis=1)


def _rolling(values: Rectangle, months: int) -> Rectangle:
    running = np.cumsum(values, axis=1)
    earlier = np.zeros_like(running)
    earlier[:, months:] = running[:, : max(running.shape[1] - months, 0)]
    return running - earlier
