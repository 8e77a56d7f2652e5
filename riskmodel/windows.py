"""Rolling windows: sums, means, maxima, ranks and waiting times over the months up to each month.

Each function takes float64 of shape (country, month) and returns the same shape. Column t depends on columns up to t
only. It is NaN where its window starts before the first month or contains an unknown cell.
"""

from math import inf

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Rectangle = NDArray[np.float64]

YEAR = 12  # [months]


def lagged(values: Rectangle, months: int) -> Rectangle:
    """Return the value some months earlier."""
    earlier = np.full(values.shape, np.nan)
    earlier[:, months:] = values[:, : max(values.shape[1] - months, 0)]
    return earlier


def change(values: Rectangle, months: int) -> Rectangle:
    """Return the value minus that of some months earlier."""
    return values - lagged(values, months)


def throughout(condition: NDArray[np.bool_], months: int) -> NDArray[np.bool_]:
    """Return whether a condition is true in all of the last months; it is false before the first month."""
    return np.asarray(_running_sum(condition.astype(np.float64), months) == months)


def total(counts: Rectangle, months: int) -> Rectangle:
    """Return the sum over the last months of whole numbers: differences of running sums are exact for these only."""
    return np.where(throughout(~np.isnan(counts), months), _running_sum(np.nan_to_num(counts), months), np.nan)


def ratio(part: Rectangle, total: Rectangle) -> Rectangle:
    """Return a part divided by a total; NaN where the total is 0 or unknown."""
    return np.asarray(np.divide(part, total, out=np.full(total.shape, np.nan), where=total > 0))


def share(condition: NDArray[np.bool_], values: Rectangle, months: int) -> Rectangle:
    """Return the share of the last months in which a condition on the values is true."""
    return total(np.where(np.isnan(values), np.nan, condition), months) / months


def standard_deviation(values: Rectangle, months: int) -> Rectangle:
    """Return the standard deviation over the last months."""
    return np.asarray(_last_months(values, months).std(axis=-1))


def maximum(values: Rectangle, months: int) -> Rectangle:
    """Return the maximum over the last months."""
    return np.asarray(_last_months(values, months).max(axis=-1))


def rank(values: Rectangle, months: int) -> Rectangle:
    """Return the share of the last months before each month whose value is lower; an equal one counts half."""
    lower = np.zeros(values.shape)
    for age in range(1, months):
        earlier = lagged(values, age)
        lower += np.where(np.isnan(earlier), np.nan, (earlier < values) + 0.5 * (earlier == values))
    return np.where(np.isnan(values), np.nan, lower / (months - 1))


def months_as_high(values: Rectangle, months: int) -> Rectangle:
    """Return how many of the months before each month have a value at least as high, of the last `months` of them."""
    before = _last_months(lagged(values, 1), months)
    unknown = np.isnan(values) | np.isnan(before).any(axis=-1)
    return np.where(unknown, np.nan, (before >= values[..., None]).sum(axis=-1))


def decayed_mean(values: Rectangle, half_life: float, months: int) -> Rectangle:
    """Return the weighted mean over the last months; the weight halves with each `half_life` [months] of age."""
    weights = 0.5 ** (np.arange(months) / half_life)
    weights /= weights.sum()
    mean = np.zeros(values.shape)
    for age, weight in enumerate(weights):  # not recursive: rounding errors of a recursion outlast the violence
        mean += weight * lagged(values, age)
    return mean


def mean(values: Rectangle, months: int) -> Rectangle:
    """Return the mean over the last months."""
    return decayed_mean(values, inf, months)


def months_since(condition: NDArray[np.bool_], values: Rectangle, limit: int) -> Rectangle:
    """Return the months since a condition on the values was last true, 0 in the month itself, at most `limit`.

    If it was never true in an unbroken record of `limit` months or more, the result is `limit`; in a shorter record it
    is NaN.
    """
    month = np.arange(values.shape[1])
    unknown = np.isnan(values)
    last_true = np.maximum.accumulate(np.where(condition & ~unknown, month, -1), axis=1)
    last_unknown = np.maximum.accumulate(np.where(unknown, month, -1), axis=1)
    never = np.where(month - last_unknown >= limit, float(limit), np.nan)
    return np.minimum(np.where(last_true > last_unknown, month - last_true, never), limit)


def _last_months(values: Rectangle, months: int) -> Rectangle:
    """The last months of each month, shape (country, month, last month); NaN before the first month."""
    before = np.full((len(values), months - 1), np.nan)
    return sliding_window_view(np.concatenate([before, values], axis=1), months, axis=1)


def _running_sum(values: Rectangle, months: int) -> Rectangle:
    """The sum of the last months; months before the first count as 0."""
    running = np.cumsum(values, axis=1)
    earlier = np.zeros_like(running)
    earlier[:, months:] = running[:, : max(running.shape[1] - months, 0)]
    return running - earlier
