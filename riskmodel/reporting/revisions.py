"""The revision model: a predictive distribution of the final figure of a country-month, given what is reported.

Reported is not final: figures rise, fall, and small reports vanish. Per release class, a report vanishes with a
probability that falls with its size and with the country's activity; a report that stays changes by a factor. Both are
learned from the revisions that the archive has seen, and start from `revision_constants`. A country has its own shift
and its own share of vanishing, shrunk towards those of all countries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from riskmodel.months import Months
from riskmodel.reporting.release_class import UNSETTLED
from riskmodel.reporting.revision_constants import (
    CONSTANTS,
    LEVEL_CENTRES,
    LEVEL_FLOORS,
    NO_VANISHING,
    PRIOR_MONTHS,
    Constants,
)
from riskmodel.reporting.vintages import Revisions

Floats: TypeAlias = NDArray[np.float64]
Basis: TypeAlias = Literal["constants", "learned"]

COUNTRY_WEIGHT = 6.0
"""The shift of a country with this many months counts half [months]."""
SHIFT_MIN_DEATHS = 5
"""A country's shift comes from reports of at least this many deaths that stayed."""
KERNEL_WIDTH = 1.2
"""Changes are taken from reports of a similar size: the standard deviation of the kernel on log1p(reported)."""
PENALTY = 10.0
"""The weight that holds the coefficients of vanishing to the constants, or to 0 without constants."""
_SCALES = np.array([1.0, 1.3, 0.35])
"""Typical standard deviations of the predictors of vanishing: a penalty is per standard deviation."""
USUAL_ACTIVITY = 0.5
"""Taken where no month around is known."""
GROWTH_PRIOR = 30.0
"""How many months that stayed 0 are added before a share of grown months is believed [months]."""
CORRELATION = 0.4
"""The correlation of the revisions of a country's months, as normal scores: `benchmarks/revisions.py` prints it."""


@dataclass(frozen=True)
class ClassModel:
    """The revisions of one release class. `months` is the number of learned ones.

    `vanish` are the coefficients of `Constants.vanish`. `sizes`, `changes`, `weights` and `shift_of` describe reports
    that stayed: log1p(reported), log1p(final) − log1p(reported), weight, and the shift of its country. `shifts` has
    the shift of each country and its number of months; `vanished` has the reports of each country and level below
    `NO_VANISHING`, and how many vanished. `growth` are the shares of reports of 0 that grew, without and with activity,
    and `grown` the figures that they grew to [deaths].
    """

    basis: Basis
    months: int
    vanish: Floats
    sizes: Floats
    changes: Floats
    weights: Floats
    shift_of: Floats
    shifts: Mapping[str, tuple[float, float]]
    vanished: Mapping[tuple[str, int], tuple[int, int]]
    growth: tuple[float, float]
    grown: Floats

    @classmethod
    def fit(cls, seen: Revisions, constants: Constants | None) -> "ClassModel":
        """Learn from the revisions of one class. Without constants, only these count."""
        small = (seen.first >= 1) & (seen.first < NO_VANISHING)
        stays = (seen.first >= 1) & (seen.final >= 1)
        level = levels(seen.first)
        sizes = np.log1p(seen.first[stays])
        changes = np.log1p(seen.final[stays]) - sizes
        before = constants.changes if constants else np.empty((0, 1))
        all_sizes = np.concatenate([sizes, np.repeat(np.log1p(LEVEL_CENTRES[: len(before)]), before.shape[1])])
        all_changes = np.concatenate([changes, before.ravel()])
        weights = np.concatenate([np.ones(sizes.size), np.full(before.size, PRIOR_MONTHS / max(before.shape[1], 1))])
        shifts = _shifts(seen.only(stays), all_sizes, all_changes, weights, constants)
        of_country = [shifts.get(str(iso3), (0.0, 0.0))[0] for iso3 in seen.iso3[stays]]
        zero, grew = seen.first == 0, (seen.first == 0) & (seen.final >= 1)
        active = np.nan_to_num(seen.activity) > 0
        share = [(grew & rows).sum() / ((zero & rows).sum() + GROWTH_PRIOR) for rows in (~active, active)]
        return cls(
            basis="learned" if seen.first.size else "constants",
            months=int((seen.first >= 1).sum()),
            vanish=_vanishing(seen.only(small), constants),
            sizes=all_sizes,
            changes=all_changes,
            weights=weights,
            shift_of=np.concatenate([of_country, np.zeros(before.size)]),
            shifts=shifts,
            vanished={
                (str(iso3), int(number)): (int(rows.sum()), int((seen.final[rows] < 1).sum()))
                for iso3 in np.unique(seen.iso3[small])
                for number in np.unique(level[small & (seen.iso3 == iso3)])
                if (rows := small & (seen.iso3 == iso3) & (level == number)).any()
            },
            growth=(float(share[0]), float(share[1])),
            grown=np.sort(seen.final[grew]),
        )

    def vanish_probability(self, iso3: NDArray[np.str_], reported: Floats, active: Floats) -> Floats:
        """Return the probability that each report of at least one death vanishes, shape (report,)."""
        usual = expit(_predictors(reported, active) @ self.vanish)
        own = [self.vanished.get(key, (0, 0)) for key in zip(iso3.tolist(), levels(reported).tolist(), strict=True)]
        months, vanished = np.array(own, dtype=np.float64).reshape(-1, 2).T
        return np.where(reported < NO_VANISHING, (vanished + usual) / (months + 1), 0.0)

    def final_figures(self, iso3: NDArray[np.str_], reported: Floats, active: Floats, ranks: Floats) -> Floats:
        """Return the final figures of reports at some ranks of their distributions [deaths].

        `iso3`, `reported` [deaths] and `active` are of shape (report,), `ranks` of shape (report, rank) in (0, 1), as
        the result, which has whole numbers. It rises with the rank.
        """
        figures = np.zeros(ranks.shape)
        zero = reported < 1
        if self.grown.size:
            share = np.array(self.growth)[(np.nan_to_num(active[zero]) > 0).astype(np.intp)][:, None]
            with np.errstate(invalid="ignore", divide="ignore"):
                within = np.clip((ranks[zero] - 1) / share + 1, 0, 1)
            place = np.minimum((within * self.grown.size).astype(np.intp), self.grown.size - 1)
            figures[zero] = np.where(ranks[zero] > 1 - share, self.grown[place], 0)
        if not self.changes.size:
            figures[~zero] = reported[~zero, None]
            return figures
        for country in np.unique(iso3[~zero]):
            rows = np.flatnonzero(~zero & (iso3 == country))
            figures[rows] = self._figures_of_country(
                str(country), iso3[rows], reported[rows], active[rows], ranks[rows]
            )
        return figures

    def _figures_of_country(
        self, country: str, iso3: NDArray[np.str_], reported: Floats, active: Floats, ranks: Floats
    ) -> Floats:
        shift, months = self.shifts.get(country, (0.0, 0.0))
        # A country of its own shift varies around it; one without varies as much as countries differ.
        changes = self.changes - months / (months + COUNTRY_WEIGHT) * self.shift_of
        order = np.argsort(changes, kind="stable")
        closeness = np.exp(-0.5 * ((np.log1p(reported)[:, None] - self.sizes[order]) / KERNEL_WIDTH) ** 2)
        reached = np.cumsum(closeness * self.weights[order] + 1e-12, axis=1)
        vanish = self.vanish_probability(iso3, reported, active)[:, None]
        within = np.clip((ranks - vanish) / (1 - vanish), 0, 1) * reached[:, -1:]
        place = [np.searchsorted(row, wanted) for row, wanted in zip(reached, within, strict=True)]
        change = changes[order][np.minimum(np.stack(place), order.size - 1)] + shift
        figures = np.maximum(np.rint(np.expm1(np.log1p(reported)[:, None] + change)), 1)
        return np.where(ranks < vanish, 0.0, figures)


def levels(deaths: Floats) -> NDArray[np.intp]:
    """Return the level of each figure [deaths], by its index in `revision_constants.LEVELS`."""
    return np.asarray(np.searchsorted(LEVEL_FLOORS, np.nan_to_num(deaths), side="right") - 1)


def _predictors(reported: Floats, active: Floats) -> Floats:
    known = np.where(np.isnan(active), USUAL_ACTIVITY, active)
    return np.stack([np.ones(reported.size), np.log1p(reported), known], axis=1)


def _vanishing(seen: Revisions, constants: Constants | None) -> Floats:
    """The coefficients of vanishing: the most probable ones, with a normal prior around the constants (Newton)."""
    rows, gone = _predictors(seen.first, seen.activity), seen.final < 1
    prior = constants.vanish if constants else np.zeros(3)
    if not constants and not gone.any():
        return np.array([-np.inf, 0.0, 0.0])
    penalty = PENALTY * _SCALES**2 * (1.0 if constants else np.array([1e-6, 1.0, 1.0]))
    # Predictors are centred, so that a penalty on the slopes does not pull the share of all.
    centre = np.array([0.0, *rows[:, 1:].mean(axis=0)]) if len(rows) else np.zeros(3)
    centred, start = rows - centre, prior + np.array([prior @ centre, 0.0, 0.0])
    coefficients = start
    for _ in range(30):
        probability = expit(centred @ coefficients)
        gradient = centred.T @ (gone - probability) - penalty * (coefficients - start)
        curvature = (centred.T * (probability * (1 - probability))) @ centred + np.diag(penalty)
        coefficients = coefficients + np.linalg.solve(curvature, gradient)
    return np.asarray(coefficients - np.array([coefficients @ centre, 0.0, 0.0]))


def _shifts(
    seen: Revisions, sizes: Floats, changes: Floats, weights: Floats, constants: Constants | None
) -> dict[str, tuple[float, float]]:
    """The shift of each country and its months: m = n / (n + 6) × the median change beyond the usual one."""
    level, of_all = levels(seen.first), levels(np.expm1(sizes))
    usual = np.zeros(len(LEVEL_FLOORS))
    for number in np.unique(of_all):
        usual[number] = _weighted_median(changes[of_all == number], weights[of_all == number])
    beyond = np.log1p(seen.final) - np.log1p(seen.first) - usual[level]
    counted = seen.first >= SHIFT_MIN_DEATHS
    known = dict(constants.countries) if constants else {}
    shifts = {}
    for iso3 in sorted({*known, *map(str, seen.iso3[counted])}):
        own = beyond[counted & (seen.iso3 == iso3)]
        before, months_before = known.get(iso3, (0.0, 0))
        months = own.size + months_before
        median = (own.size * np.median(own) if own.size else 0.0) + months_before * before
        shifts[iso3] = (float(median / (months + COUNTRY_WEIGHT)), float(months))
    return shifts


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


@dataclass(frozen=True)
class RevisionModel:
    """A `ClassModel` for each unsettled release class."""

    classes: Mapping[int, ClassModel]

    @classmethod
    def fit(cls, seen: Revisions, constants: Mapping[int, Constants] = CONSTANTS) -> "RevisionModel":
        """Learn from the revisions of a view; a class without revisions has the constants alone."""
        return cls(
            {code: ClassModel.fit(seen.only(seen.release_class == code), constants.get(code)) for code in UNSETTLED}
        )

    def ranks_to_figures(
        self,
        release_class: NDArray[np.intp],
        iso3: NDArray[np.str_],
        reported: Floats,
        active: Floats,
        ranks: Floats,
    ) -> Floats:
        """Return final figures at ranks of their distributions: see `ClassModel.final_figures`."""
        figures = np.empty(ranks.shape)
        for code, model in self.classes.items():
            rows = release_class == code
            if rows.any():
                figures[rows] = model.final_figures(iso3[rows], reported[rows], active[rows], ranks[rows])
        return figures


def central_interval(figures: Floats, level: float) -> tuple[float, float]:
    """Return the ends of the central interval of a level among equally probable whole figures, shape (figure,).

    The interval includes its ends. A figure that many draws share is in it if the middle of their ranks is: with the
    usual quantiles, an interval with whole ends holds more than its level. Ma, Genton & Parzen (2011),
    doi:10.1007/s10463-008-0215-z.
    """
    ordered = np.sort(figures)
    below, up_to = (np.searchsorted(ordered, ordered, side=side) for side in ("left", "right"))
    middle = (below + up_to) / 2 / ordered.size
    # 1e-9: ranks are sums of fractions, and an end must not depend on their last digit
    inside = ordered[np.abs(middle - 0.5) <= level / 2 + 1e-9]
    return float(inside[0]), float(inside[-1])


def even_ranks(number: int) -> Floats:
    """Return `number` ranks at even steps in (0, 1)."""
    return (np.arange(number) + 0.5) / number


def joint_ranks(iso3: NDArray[np.str_], months: Months, number: int, seed: int = 0) -> Floats:
    """Return ranks of `number` joint histories, shape (report, history).

    Each report has every even rank once. The ranks of a country's months are correlated by `CORRELATION`, since a
    country's figures are revised together; countries are independent. A country-month always has the same ranks.
    """
    scores = np.empty((iso3.size, number))
    shared = ndtri(even_ranks(number))
    for country in np.unique(iso3):
        of_country = np.random.default_rng([seed, *str(country).encode()]).permutation(shared)
        for row in np.flatnonzero(iso3 == country):
            own = np.random.default_rng([seed, int(months[row].astype(int)), *str(country).encode()])
            scores[row] = CORRELATION**0.5 * of_country + (1 - CORRELATION) ** 0.5 * own.standard_normal(number)
    order = np.argsort(np.argsort(ndtr(scores), axis=1), axis=1)
    return np.asarray(even_ranks(number)[order])
