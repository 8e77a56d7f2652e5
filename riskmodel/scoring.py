"""How good a forecast was: proper scores, coverage and paired differences, from draws and what came.

It knows numbers only: `draws` is (..., draw), n equiprobable draws along the last axis; `observed` is (...). Forecasts
and observations that are unknown are the caller's to leave out. Definitions follow Hegre et al. (2024),
doi:10.48550/arXiv.2407.11045.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_AT_ONCE = 4_000_000  # [numbers], so that many resamples of many forecasts fit into memory
BIN_FLOORS = np.array([0, 1, 3, 6, 11, 26, 51, 101, 251, 501, 1001])  # [deaths]


def crps(draws: NDArray[Any], observed: NDArray[Any]) -> Floats:
    """Continuous ranked probability score, mean|x − y| − ½ mean|x − x′|, in the unit of the draws; shape (...).

    The second mean is taken over the sorted draws, O(n log n). Gneiting & Raftery (2007),
    doi:10.1198/016214506000001437.
    """
    ordered = np.sort(np.asarray(draws, dtype=np.float64), axis=-1)
    number = ordered.shape[-1]
    ranks = (2 * np.arange(number) - (number - 1)) / number**2
    error = np.abs(ordered - np.asarray(observed)[..., None]).mean(axis=-1)
    return np.asarray(error - ordered @ ranks)


def log_crps(draws: NDArray[Any], observed: NDArray[Any]) -> Floats:
    """CRPS of log(1 + deaths), so that a handful of wars does not decide the mean; shape (...)."""
    return crps(np.log1p(np.asarray(draws, dtype=np.float64)), np.log1p(observed))


def ignorance(draws: NDArray[Any], observed: NDArray[Any]) -> Floats:
    """Ignorance score [bits] over eleven bins of deaths, −log₂((1000·share + 1) / 1011); shape (...)."""
    same = _bin(draws) == _bin(observed)[..., None]
    return np.asarray(-np.log2((1000.0 * same.mean(axis=-1) + 1.0) / (1000.0 + len(BIN_FLOORS))))


def interval(draws: NDArray[Any], level: float) -> tuple[Floats, Floats]:
    """Bounds of the central interval of a level (0.9: 5 % to 95 % quantile, linear); each of shape (...)."""
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(np.asarray(draws, dtype=np.float64), [tail, 1.0 - tail], axis=-1)
    return lower, upper


def interval_score(draws: NDArray[Any], observed: NDArray[Any], level: float = 0.9) -> Floats:
    """Interval score of the central interval, width plus 2/α for each unit outside; shape (...)."""
    lower, upper = interval(draws, level)
    penalty = 2.0 / (1.0 - level)
    outside = np.maximum(lower - observed, 0.0) + np.maximum(observed - upper, 0.0)
    return np.asarray(upper - lower + penalty * outside)


def covered(below: NDArray[Any], upto: NDArray[Any], level: float) -> Floats:
    """What part of an outcome the central interval of a level holds, by the randomised PIT; shape (...).

    `below` and `upto` as `pit` has them: the chance that a point drawn evenly between the two lies in the middle of
    the forecast. Calibrated forecasts hold the level on average, zeros and all; of an interval whose bounds are draws,
    which holds all of a tie or nothing, that is not so.
    """
    low, high = np.asarray(below, dtype=np.float64), np.asarray(upto, dtype=np.float64)
    start, end = (1.0 - level) / 2.0, (1.0 + level) / 2.0
    inside = np.maximum(np.minimum(high, end) - np.maximum(low, start), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(high > low, inside / (high - low), (start <= low) & (low <= end))


def brier(probability: NDArray[Any], event: NDArray[np.bool_]) -> Floats:
    """Squared error of probabilities; shape (...)."""
    return np.asarray((np.asarray(probability, dtype=np.float64) - event) ** 2)


def auroc(probability: NDArray[Any], event: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half; NaN where all or no events came."""
    if event.all() or not event.any():
        return float("nan")
    from sklearn.metrics import roc_auc_score  # slow to import, and not needed to serve

    return float(roc_auc_score(event, probability))


def average_precision(probability: NDArray[Any], event: NDArray[np.bool_]) -> float:
    """Area under the precision-recall steps; NaN where no event came."""
    if not event.any():
        return float("nan")
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(event, probability))


@dataclass(frozen=True)
class Reliability:
    """Forecast probability held against frequency, by class of probability; NaN in a class without forecasts."""

    number: NDArray[np.int64]
    probability: Floats
    frequency: Floats


def reliability(probability: NDArray[Any], event: NDArray[np.bool_], classes: int = 10) -> Reliability:
    """The reliability table over equal classes of probability; each column has shape (classes,)."""
    chance = np.asarray(probability, dtype=np.float64).ravel()
    place = np.minimum((chance * classes).astype(np.intp), classes - 1)
    number = np.bincount(place, minlength=classes)
    filled = np.where(number > 0, number, np.nan)
    return Reliability(
        number,
        np.bincount(place, weights=chance, minlength=classes) / filled,
        np.bincount(place, weights=np.ravel(event).astype(np.float64), minlength=classes) / filled,
    )


def pit(below: NDArray[Any], upto: NDArray[Any], parts: int = 10) -> Floats:
    """The non-randomised PIT histogram: the share of outcomes in each even part of their forecasts, shape (parts,).

    `below` and `upto` are the shares of draws less than an outcome, and not greater than it; an outcome is spread
    evenly between the two. NaN without outcomes. Czado, Gneiting & Held (2009), doi:10.1111/j.1541-0420.2009.01191.x.
    """
    low, high = np.ravel(below)[:, None], np.ravel(upto)[:, None]
    if not low.size:
        return np.full(parts, np.nan)
    edges = np.linspace(0.0, 1.0, parts + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.clip((edges - low) / (high - low), 0.0, 1.0)
    reached = np.where(high > low, spread, (edges > low) | (edges == 1.0))
    return np.asarray(np.diff(reached, axis=1).mean(axis=0))


@dataclass(frozen=True)
class Estimate:
    """A figure and its 90 % bootstrap interval; NaN where it cannot be told."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Floats) -> "Estimate":
        """From the figure as it was seen and then in each resample, shape (1 + resample,): see `resampled`."""
        known = figures[1:][np.isfinite(figures[1:])]
        if not np.isfinite(figures[0]) or not known.size:
            return cls(float(figures[0]) if np.isfinite(figures[0]) else float("nan"), float("nan"), float("nan"))
        low, high = np.quantile(known, [0.05, 0.95])
        return cls(float(figures[0]), float(low), float(high))


def resampled(units: int, rng: np.random.Generator, resamples: int = 2000) -> NDArray[np.int64]:
    """How often each unit counts, shape (1 + resample, unit): once as seen, then drawn with replacement.

    One unit cannot be resampled: there is the first row alone, and no interval.
    """
    drawn = rng.multinomial(units, np.full(units, 1.0 / units), size=resamples if units > 1 else 0)
    return np.concatenate([np.ones((1, units), dtype=np.int64), drawn])


def ratio(above: Floats, under: Floats, times: NDArray[np.int64]) -> Floats:
    """The ratio of two sums over units, each of shape (unit, ...), in each resample; shape (resample,)."""
    above, under = (part.reshape(len(part), -1).sum(axis=1) for part in (above, under))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((times @ above) / (times @ under))


def paired_difference(ours: Floats, theirs: Floats, rng: np.random.Generator, resamples: int = 2000) -> Estimate:
    """A relative difference of mean losses (−0.05: five per cent better) case by case, resampling units.

    Both of shape (unit, ...). NaN where the other's mean loss is 0, and without an interval where there is one unit.
    """
    return Estimate.of(ratio(ours, theirs, resampled(len(ours), rng, resamples)) - 1.0)


def ranking(probability: Floats, event: Floats, times: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """AUROC and AP, as `auroc` and `average_precision` have them, in each resample; each of shape (resample,).

    `probability` and `event` (above 0 where it came) are of shape (unit, ...), NaN where unknown.
    """
    chance, came = probability.reshape(len(probability), -1), event.reshape(len(event), -1)
    known = ~(np.isnan(chance) | np.isnan(came))
    if not known.any():
        return np.full(len(times), np.nan), np.full(len(times), np.nan)
    values, place = np.unique(-chance[known], return_inverse=True)
    cell, happened = np.nonzero(known)[0] * len(values) + place, came[known] > 0
    tables = [
        np.bincount(cell[which], minlength=len(chance) * len(values)).reshape(len(chance), -1).astype(np.float64)
        for which in (happened, ~happened)
    ]
    areas, precisions = [], []
    for part in np.array_split(times, 1 + times.shape[0] * len(values) // _AT_ONCE):
        hits, false = (part @ table for table in tables)
        hit, falsely = hits.cumsum(axis=1), false.cumsum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            areas.append((hits * (falsely[:, -1:] - falsely + false / 2)).sum(axis=1) / (hit[:, -1] * falsely[:, -1]))
            precisions.append(np.nansum(hits * hit / (hit + falsely), axis=1) / hit[:, -1])
    return np.concatenate(areas), np.concatenate(precisions)


def _bin(deaths: NDArray[Any]) -> NDArray[np.intp]:
    return np.asarray(np.searchsorted(BIN_FLOORS, deaths, side="right") - 1)
