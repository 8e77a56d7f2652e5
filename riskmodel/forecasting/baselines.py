"""Forecasts that learn nothing: a country's own past, said again. What a model must beat, and a part of the pool.

All are deterministic; the same country has the same draws whichever others stand in the panel.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.component import NEEDED, Supposed, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

STEPS = 30
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Untrained:
    """What components without training share: there is nothing to fit."""

    name: str

    def fit(self, panel: Panel, origin: Month) -> Self:
        return self


@dataclass(frozen=True)
class OfHistory(Untrained, ABC):
    """What components share that need nothing but a country's last `months`."""

    months: int = NEEDED

    @abstractmethod
    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        """Draws from histories of shape (history, month), shape (history, lead, draw) [deaths]."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        return _forecast(panel, origin, self.paths(panel.history(origin, self.months)))

    @property
    def reads(self) -> frozenset[int]:
        return frozenset()

    def votes(self, supposed: Supposed) -> NDArray[np.float32]:
        """The share of the draws that reach each threshold: one voter."""
        asked, place = np.unique(supposed.history, return_inverse=True)
        near = self.paths(supposed.histories[asked, -self.months :])[:, : supposed.leads].sum(axis=1)
        reached = (near[:, None, None] >= supposed.thresholds[asked][..., None]).mean(axis=(-2, -1))
        return np.asarray(reached[place][None], dtype=np.float32)


@dataclass(frozen=True)
class Zero(OfHistory):
    """Exactly zero: certain peace; one draw."""

    name: str = "zero"

    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros((len(history), LEADS, 1))


@dataclass(frozen=True)
class Last(Untrained):
    """Poisson draws around the last month's deaths."""

    name: str = "last"
    draws: int = 1000
    seed: int = 0

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        last = np.nan_to_num(panel.history(origin, 1)[:, 0])
        return _forecast(
            panel,
            origin,
            np.stack(
                [
                    np.random.default_rng([self.seed, *iso3.encode()]).poisson(deaths, (LEADS, self.draws))
                    for iso3, deaths in zip(panel.iso3, last, strict=True)
                ]
            ),
        )


@dataclass(frozen=True)
class Conflictology(OfHistory):
    """The country's last twelve months as twelve draws; jointly, draw i at lead h is the month (i + h) mod 12 of them.

    Hegre et al. (2024), doi:10.48550/arXiv.2407.11045.
    """

    name: str = "conflictology12"

    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        month = (np.arange(NEEDED) + np.arange(1, LEADS + 1)[:, None]) % NEEDED
        return history[:, month]


@dataclass(frozen=True)
class History(OfHistory):
    """The country's last months, a month weighing half as much as one that is `half_life` [months] later.

    With a `spread`, a month with deaths stands for a normal of that standard deviation around its log(1 + deaths).
    Jointly, the draws stand in the order of their months, and each lead moves on by a thirtieth of them: what lasts,
    lasts, and every lead has the same distribution.
    """

    name: str = "history60"
    months: int = 60
    half_life: float = 9.0
    spread: float = 0.0
    draws: int = 1000

    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = np.where(np.isnan(history), 0.0, 0.5 ** (np.arange(history.shape[1])[::-1] / self.half_life))
        month = systematic(weights, self.draws)
        deaths = np.take_along_axis(history, month, axis=1)
        step = self.draws // STEPS
        paths = np.stack([np.roll(deaths, -lead * step, axis=1) for lead in range(1, LEADS + 1)], axis=1)
        if self.spread:
            paths = np.where(paths > 0, np.rint(np.expm1(np.log1p(paths) + self.spread * _normals(self.draws))), paths)
        return np.asarray(np.maximum(paths, 0.0))


def systematic(weights: NDArray[np.float64], number: int) -> NDArray[np.intp]:
    """Places drawn in proportion to weights at even steps, in order; (row, place) to (row, number).

    A row without any weight gives its last place.
    """
    levels = np.cumsum(weights, axis=1)
    steps = (np.arange(number) + 0.5) / number
    drawn = np.stack([np.searchsorted(row, steps * row[-1], side="right") for row in levels])
    return np.asarray(np.minimum(drawn, weights.shape[1] - 1))


@cache
def _normals(number: int) -> NDArray[np.float64]:
    """Standard normal values, shape (lead, number): any run along the last axis covers the whole range evenly."""
    uniform = (np.arange(number) * GOLDEN + np.arange(LEADS)[:, None] * GOLDEN**2 + 0.5) % 1.0
    values = map(NormalDist().inv_cdf, np.clip(uniform, 1e-6, 1 - 1e-6).flat)
    return np.fromiter(values, dtype=np.float64).reshape(uniform.shape)


def _forecast(panel: Panel, origin: Month, draws: NDArray[np.float64] | NDArray[np.int64]) -> Forecast:
    known = forecastable(panel, origin)[:, None, None]
    return Forecast(origin, panel.iso3, panel.outcome, np.where(known, draws, np.nan).astype(np.float32))
