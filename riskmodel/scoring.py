"""Scores of forecasts against what was observed: proper scores, coverage, and bootstrap intervals of differences.

Everything here works on numbers: `draws` is of shape (..., draw), equiprobable draws along the last axis; `observed` is
of shape (...). Unknown forecasts and observations must be removed before. The choice of scores follows the VIEWS
prediction challenge, Hegre et al. (2024), doi:10.48550/arXiv.2407.11045.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BIN_FLOORS = np.array([0, 1, 3, 6, 11, 26, 51, 101, 251, 501, 1001])
"""The lowest number of deaths in each bin of the ignorance score [deaths]."""

_BATCH_SIZE = 4_000_000
"""Bootstrap tables are computed in batches of about this many numbers, to limit the memory that they need."""


def crps(draws: NDArray[Any], observed: NDArray[Any]) -> Floats:
    """Return the continuous ranked probability score, mean|x − y| − ½ mean|x − x′|, shape (...).

    In the unit of the draws; lower is better. Gneiting & Raftery (2007), doi:10.1198/016214506000001437.
    """
    ordered = np.sort(np.asarray(draws, dtype=np.float64), axis=-1)
    number = ordered.shape[-1]
    # ½ mean|x − x′| is a weighted sum of the sorted draws: O(n log n) instead of all n² pairs
    weights = (2 * np.arange(number) - (number - 1)) / number**2
    error = np.abs(ordered - np.asarray(observed)[..., None]).mean(axis=-1)
    return np.asarray(error - ordered @ weights)


def log_crps(draws: NDArray[Any], observed: NDArray[Any]) -> Floats:
    """Return the CRPS of log(1 + deaths), shape (...): a few wars do not dominate its mean."""
    return crps(np.log1p(np.asarray(draws, dtype=np.float64)), np.log1p(observed))


def ignorance(draws: NDArray[Any], observed: NDArray[Any]) -> Floats:
    """Return the ignorance score −log₂ P(the observed bin) [bits], shape (...).

    There are eleven bins of deaths. P is (1000 · share of draws + 1) / 1011: one draw in each bin is added to 1000, so
    that no forecast scores infinity.
    """
    same_bin = _bin(draws) == _bin(observed)[..., None]
    return np.asarray(-np.log2((1000.0 * same_bin.mean(axis=-1) + 1.0) / (1000.0 + len(BIN_FLOORS))))


def interval(draws: NDArray[Any], level: float) -> tuple[Floats, Floats]:
    """Return the bounds of the central interval of a level, each of shape (...).

    For the level 0.9, these are the 5 % and 95 % quantiles, with linear interpolation.
    """
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(np.asarray(draws, dtype=np.float64), [tail, 1.0 - tail], axis=-1)
    return lower, upper


def interval_score(draws: NDArray[Any], observed: NDArray[Any], level: float = 0.9) -> Floats:
    """Return the interval score of the central interval, shape (...): its width plus 2 / (1 − level) per unit outside.

    Gneiting & Raftery (2007), doi:10.1198/016214506000001437.
    """
    lower, upper = interval(draws, level)
    penalty = 2.0 / (1.0 - level)
    outside = np.maximum(lower - observed, 0.0) + np.maximum(observed - upper, 0.0)
    return np.asarray(upper - lower + penalty * outside)


def interval_coverage(below: NDArray[Any], up_to: NDArray[Any], level: float) -> Floats:
    """Return the part of each outcome that lies in the central interval of a level, shape (...).

    `below` and `up_to` are as for `pit_histogram`: the result is P(a point drawn evenly between the two lies in the
    middle of the forecast). The mean over calibrated forecasts equals the level. This is not true of intervals with
    draws as bounds, which contain all of a tie or none of it, and most outcomes are ties at zero.
    """
    low, high = np.asarray(below, dtype=np.float64), np.asarray(up_to, dtype=np.float64)
    start, end = (1.0 - level) / 2.0, (1.0 + level) / 2.0
    inside = np.maximum(np.minimum(high, end) - np.maximum(low, start), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(high > low, inside / (high - low), (start <= low) & (low <= end))


def brier(probability: NDArray[Any], event: NDArray[np.bool_]) -> Floats:
    """Return the squared error of probabilities, shape (...).

    Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return np.asarray((np.asarray(probability, dtype=np.float64) - event) ** 2)


def auroc(probability: NDArray[Any], event: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve; ties count half. NaN if all or none of the events occurred."""
    if event.all() or not event.any():
        return float("nan")
    from sklearn.metrics import roc_auc_score  # imported here: it is slow to import, and serving does not need it

    return float(roc_auc_score(event, probability))


def average_precision(probability: NDArray[Any], event: NDArray[np.bool_]) -> float:
    """Return the area under the steps of the precision-recall curve; NaN if no event occurred."""
    if not event.any():
        return float("nan")
    from sklearn.metrics import average_precision_score  # imported here: as in `auroc`

    return float(average_precision_score(event, probability))


@dataclass(frozen=True)
class Reliability:
    """A reliability table: number of forecasts, mean probability and observed frequency by class of probability.

    Each is of shape (class,); mean and frequency are NaN in a class without forecasts.
    """

    number: NDArray[np.int64]
    probability: Floats
    frequency: Floats


def reliability(probability: NDArray[Any], event: NDArray[np.bool_], classes: int = 10) -> Reliability:
    """Return the reliability table over classes of probability of equal width."""
    flat = np.asarray(probability, dtype=np.float64).ravel()
    class_of = np.minimum((flat * classes).astype(np.intp), classes - 1)
    number = np.bincount(class_of, minlength=classes)
    divisor = np.where(number > 0, number, np.nan)
    return Reliability(
        number,
        np.bincount(class_of, weights=flat, minlength=classes) / divisor,
        np.bincount(class_of, weights=np.ravel(event).astype(np.float64), minlength=classes) / divisor,
    )


def pit_histogram(below: NDArray[Any], up_to: NDArray[Any], bins: int = 10) -> Floats:
    """Return the non-randomised histogram of the probability integral transform (PIT), shape (bins,); sum 1.

    `below` and `up_to` are the shares of draws that are lower than an outcome, and not higher than it. Each outcome is
    spread evenly between the two. NaN without outcomes. Czado, Gneiting & Held (2009),
    doi:10.1111/j.1541-0420.2009.01191.x.
    """
    low, high = np.ravel(below)[:, None], np.ravel(up_to)[:, None]
    if not low.size:
        return np.full(bins, np.nan)
    edges = np.linspace(0.0, 1.0, bins + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.clip((edges - low) / (high - low), 0.0, 1.0)
    cumulative = np.where(high > low, spread, (edges > low) | (edges == 1.0))  # a point counts in the bin to its right
    return np.asarray(np.diff(cumulative, axis=1).mean(axis=0))


@dataclass(frozen=True)
class Estimate:
    """A value with its 90 % bootstrap interval; NaN where unknown."""

    value: float
    low: float
    high: float

    @classmethod
    def from_bootstrap(cls, values: Floats) -> "Estimate":
        """Make an estimate from a value and its resamples, shape (1 + resample,): see `bootstrap_counts`."""
        known = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]) or not known.size:
            return cls(float(values[0]) if np.isfinite(values[0]) else float("nan"), float("nan"), float("nan"))
        low, high = np.quantile(known, [0.05, 0.95])
        return cls(float(values[0]), float(low), float(high))


def bootstrap_counts(units: int, rng: np.random.Generator, resamples: int = 2000) -> NDArray[np.int64]:
    """Return how often each unit counts in each resample, shape (1 + resample, unit); the first row is the sample.

    Units are drawn with replacement. A single unit cannot be resampled: then there is the first row only.
    """
    drawn = rng.multinomial(units, np.full(units, 1.0 / units), size=resamples if units > 1 else 0)
    return np.concatenate([np.ones((1, units), dtype=np.int64), drawn])


def ratio_of_sums(numerator: Floats, denominator: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the ratio of two sums over units in each resample, shape (resample,).

    Numerator and denominator are of shape (unit, ...); `counts` are those of `bootstrap_counts`.
    """
    numerator, denominator = (part.reshape(len(part), -1).sum(axis=1) for part in (numerator, denominator))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((counts @ numerator) / (counts @ denominator))


def paired_difference(ours: Floats, theirs: Floats, rng: np.random.Generator, resamples: int = 2000) -> Estimate:
    """Return the relative difference of the mean losses of two forecasts, resampling units.

    −0.05 means 5 % better. Both are of shape (unit, ...), with the same cases. NaN where the other's mean loss is 0;
    there is no interval with one unit.
    """
    counts = bootstrap_counts(len(ours), rng, resamples)
    return Estimate.from_bootstrap(ratio_of_sums(ours, theirs, counts) - 1.0)


def bootstrap_ranking(probability: Floats, event: Floats, counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return AUROC and average precision in each resample, each of shape (resample,).

    `probability` and `event` (above 0 where it occurred) are of shape (unit, ...), NaN where unknown. The results equal
    those of `auroc` and `average_precision`. All resamples are computed at once from a table of events and non-events
    by unit and probability.
    """
    probability, event = probability.reshape(len(probability), -1), event.reshape(len(event), -1)
    known = ~(np.isnan(probability) | np.isnan(event))
    if not known.any():
        return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    values, value_index = np.unique(-probability[known], return_inverse=True)  # - : from high to low probability
    cell, occurred = np.nonzero(known)[0] * len(values) + value_index, event[known] > 0
    tables = [
        np.bincount(cell[chosen], minlength=len(probability) * len(values))
        .reshape(len(probability), -1)
        .astype(np.float64)
        for chosen in (occurred, ~occurred)
    ]
    areas, precisions = [], []
    for batch in np.array_split(counts, 1 + counts.shape[0] * len(values) // _BATCH_SIZE):
        hits, false_alarms = (batch @ table for table in tables)
        total_hits, total_false = hits.cumsum(axis=1), false_alarms.cumsum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            lower_non_events = total_false[:, -1:] - total_false + false_alarms / 2
            pairs = total_hits[:, -1] * total_false[:, -1]
            areas.append((hits * lower_non_events).sum(axis=1) / pairs)
            weighted_precision = hits * total_hits / (total_hits + total_false)
            precisions.append(np.nansum(weighted_precision, axis=1) / total_hits[:, -1])
    return np.concatenate(areas), np.concatenate(precisions)


def _bin(deaths: NDArray[Any]) -> NDArray[np.intp]:
    return np.asarray(np.searchsorted(BIN_FLOORS, deaths, side="right") - 1)
