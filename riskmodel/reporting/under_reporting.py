"""Under-reporting: how improbable so few reports are, given a country's own record. A warning, never a sign of peace.

Few reports can mean peace, a broken line, or a source that has stopped. This module computes the probability only.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc, gammaincc

from riskmodel import windows
from riskmodel.windows import Rectangle

RECENT_MONTHS = (1, 3)
"""The numbers of newest months that are tested [months]."""
HISTORY_MONTHS = 60
"""They are compared with at most this many months before them [months]."""
MIN_HISTORY_MONTHS = 24
"""The shortest history to compare with [months]."""
MAX_QUIET_MONTHS = 12
"""The quiet months at the end are no part of the history, up to this many: a longer quiet is normal [months]."""
WARNING_PROBABILITY = 0.01
"""A lower probability of so few reports gives a warning."""


def few_reports_warning(
    events: NDArray[np.float64], deaths: NDArray[np.float64], share: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the warning about one country's newest months, ready for JSON; an empty list if there is none.

    `events` and `deaths` [deaths] end with the origin, shape (month,), NaN where unknown. `share` is the share of each
    month's events that is reported by now; an unknown share counts as 1, so it explains no missing report. Where the
    events of the history are unknown, months with deaths are tested instead.
    """
    probabilities = {}
    for months in RECENT_MONTHS:
        probability = float(few_events_probability(events[None], share[None], months)[0, -1]) if events.size else np.nan
        probabilities[months] = _no_deaths_probability(deaths, months) if np.isnan(probability) else probability
    months = min(probabilities, key=lambda number: np.nan_to_num(probabilities[number], nan=1.0))
    if not probabilities[months] < WARNING_PROBABILITY:
        return []
    return [{"code": "few_reports", "probability": float(f"{probabilities[months]:.2g}"), "months": months}]


def few_reports_warning_of_region(
    events: NDArray[np.float64], deaths: NDArray[np.float64], share: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the warning about several countries together, each array of shape (country, month).

    It finds a source that has stopped for a region, even if each country can be quiet by chance. Countries that are
    known for too short a time are left out.
    """
    needed = MIN_HISTORY_MONTHS + MAX_QUIET_MONTHS + max(RECENT_MONTHS)
    with_events, with_deaths = (~np.isnan(table[:, -needed:]).any(axis=1) for table in (events, deaths))
    # The share of the region is the mean over countries, weighted by their events. 1e-9: no division by zero.
    weights = np.nansum(events[with_events], axis=1, keepdims=True) + 1e-9
    country_share = np.where(np.isnan(share[with_events]), 1.0, share[with_events])
    regional_share = (country_share * weights).sum(axis=0) / max(weights.sum(), 1e-9)
    unknown = np.full(events.shape[1], np.nan)
    return few_reports_warning(
        events[with_events].sum(axis=0) if with_events.any() else unknown,
        deaths[with_deaths].sum(axis=0) if with_deaths.any() else unknown,
        regional_share,
    )


class _History(NamedTuple):
    """Sums over some months in the history that ends with each month: their number, mean and variance."""

    number: Rectangle
    mean: Rectangle
    variance: Rectangle

    def at(self, column: NDArray[np.int64]) -> "_History":
        """The values at another column for each cell; NaN before the first column."""
        first = np.maximum(column, 0)
        return _History(*(np.where(column >= 0, np.take_along_axis(part, first, axis=1), np.nan) for part in self))


def few_events_probability(events: Rectangle, share: Rectangle, months: int) -> Rectangle:
    """Return P(as few events or fewer in the last `months`), given the country's own history.

    All are of shape (country, month); `share` is the share of each month's events that is reported. The distribution is
    a negative binomial with the mean and the variance of sums over as many months in the history. Sums are used, not
    months, because violence persists: a quiet month is more probable after a quiet one. NaN where the newest events are
    unknown or the history is too short.
    """
    month = np.arange(events.shape[1])
    quiet = month - np.maximum.accumulate(np.where(events == 0, -1, month), axis=1)
    end_of_history = month - np.maximum(np.minimum(quiet, MAX_QUIET_MONTHS), months)
    history = _histories(events, months).at(end_of_history)
    newest = windows.total(events, months)
    reported = windows.mean(np.where(np.isnan(share), 1.0, share), months)
    mean = history.mean * np.nan_to_num(reported, nan=1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = history.mean**2 / (history.variance - history.mean)
        probability = probability_at_most(newest, mean, np.where(history.variance > history.mean, size, np.inf))
    known = ~np.isnan(history.number) & ~np.isnan(newest)
    return np.where(known, np.where(history.mean == 0, 1.0, probability), np.nan)


def _histories(events: Rectangle, months: int) -> _History:
    """The history that ends with each month; NaN where it is too short. Counts are whole, so all sums are exact."""
    month = np.arange(events.shape[1])
    unbroken = month - np.maximum.accumulate(np.where(np.isnan(events), month, -1), axis=1)
    length = np.minimum(unbroken, HISTORY_MONTHS)
    sums = np.nan_to_num(windows.total(events, months))
    number = np.where(length >= MIN_HISTORY_MONTHS, length - months + 1, 0)
    first, second = (_sum_of_last(values, number) for values in (sums, sums**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / number
        variance = (number * second - first**2) / (number * (number - 1))
    return _History(np.where(number > 0, number, np.nan), mean, variance)


def _sum_of_last(values: Rectangle, number: NDArray[np.int64]) -> Rectangle:
    """The sum of the last `number` whole values; the number differs by cell."""
    running = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    before = np.arange(1, values.shape[1] + 1) - number
    return np.asarray(running[:, 1:] - np.take_along_axis(running, before, axis=1))


def probability_at_most(count: ArrayLike, mean: ArrayLike, size: ArrayLike) -> NDArray[np.float64]:
    """Return P(X ≤ count) of negative binomial distributions with a mean and a size; infinite size is Poisson."""
    count, mean, size = (np.asarray(each, dtype=np.float64) for each in (count, mean, size))
    with np.errstate(invalid="ignore"):
        finite = betaincc(count + 1, size, mean / (size + mean))
    return np.asarray(np.where(np.isinf(size), gammaincc(count + 1, mean), finite))


def _no_deaths_probability(deaths: NDArray[np.float64], months: int) -> float:
    """P(no deaths in the last months), from a Markov chain of months with and without deaths.

    Each transition has one success and one failure added (Laplace's rule), so that no history makes it certain. NaN
    where the newest deaths are unknown or the history is too short.
    """
    history, newest = _death_history(deaths, months), deaths[-months:]
    if not history.size or np.isnan(newest).any():
        return float("nan")
    if newest.any() or not history.any():
        return 1.0
    violent, next_violent = history[:-1] > 0, history[1:] > 0
    becomes_quiet = ((violent & ~next_violent).sum() + 1) / (violent.sum() + 2)
    stays_quiet = ((~violent & ~next_violent).sum() + 1) / ((~violent).sum() + 2)
    share_violent = (history > 0).mean()
    first_quiet = share_violent * becomes_quiet + (1 - share_violent) * stays_quiet
    return float(first_quiet * stays_quiet ** (months - 1))


def _death_history(deaths: NDArray[np.float64], months: int) -> NDArray[np.float64]:
    """The unbroken known months before the newest ones and the quiet that they end; empty if too few."""
    quiet = 0
    while quiet < min(MAX_QUIET_MONTHS, deaths.size) and deaths[-1 - quiet] == 0:
        quiet += 1
    history = deaths[: max(deaths.size - max(months, quiet), 0)][-HISTORY_MONTHS:]
    unknown = np.flatnonzero(np.isnan(history))
    history = history[unknown[-1] + 1 :] if unknown.size else history
    return history if history.size >= MIN_HISTORY_MONTHS else history[:0]
