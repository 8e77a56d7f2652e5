"""Baselines: forecasters that learn nothing and repeat a country's own past.

A model must beat them, and one is a part of the pool. All are deterministic: a country has the same draws whichever
other countries are in the panel.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.component import REQUIRED_MONTHS, Component, Scenarios, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

SHIFTS = 30
"""`History` shifts its draws from lead to lead by one part in so many."""
GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Multiples of this number, modulo 1, cover [0, 1) evenly in any run (a low-discrepancy sequence)."""


@dataclass(frozen=True)
class Untrained:
    """Base of components that have nothing to fit."""

    name: str

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Return the component itself."""
        return self


@dataclass(frozen=True)
class HistoryBaseline(Untrained, ABC):
    """Base of components that read only a country's last `months` [months] of deaths."""

    months: int = REQUIRED_MONTHS

    @abstractmethod
    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return draws from histories of shape (history, month), shape (history, lead, draw) [deaths]."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the forecast; NaN for countries that are not `forecastable`."""
        return _forecast(panel, origin, self.paths(panel.history(origin, self.months)))

    @property
    def used_indicators(self) -> frozenset[int]:
        """No indicator."""
        return frozenset()

    def ensemble_probabilities(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """Return the share of the draws that reach the thresholds, shape (1, case, target): one ensemble member."""

        def probabilities(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            sums = self.paths(scenarios.histories[rows, -self.months :])[:, : scenarios.leads].sum(axis=1)
            reached = sums[:, None, None] >= scenarios.thresholds[rows][..., None]
            return np.asarray(reached.mean(axis=(-2, -1)))

        by_history, index = scenarios.by_history(self, probabilities)
        return np.asarray(by_history[index][None], dtype=np.float32)


@dataclass(frozen=True)
class Zero(HistoryBaseline):
    """Certain peace: one draw of exactly zero."""

    name: str = "zero"

    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one draw of zeros, shape (history, lead, 1) [deaths]."""
        return np.zeros((len(history), LEADS, 1))


@dataclass(frozen=True)
class Last(Untrained):
    """Poisson draws with the last month's deaths as their mean."""

    name: str = "last"
    draws: int = 1000
    seed: int = 0

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the forecast; NaN for countries that are not `forecastable`."""
        last = np.nan_to_num(panel.history(origin, 1)[:, 0])
        return _forecast(
            panel,
            origin,
            np.stack(
                [
                    # seeded by country: its draws do not depend on the other countries of the panel
                    np.random.default_rng([self.seed, *iso3.encode()]).poisson(deaths, (LEADS, self.draws))
                    for iso3, deaths in zip(panel.iso3, last, strict=True)
                ]
            ),
        )


@dataclass(frozen=True)
class Conflictology(HistoryBaseline):
    """The country's last twelve months as twelve draws, the benchmark of the VIEWS prediction challenge.

    Draw i at lead h is month (i + h) mod 12 of them, so that a path keeps their order. Hegre et al. (2024),
    doi:10.48550/arXiv.2407.11045.
    """

    name: str = "conflictology12"

    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the twelve months as draws, shape (history, lead, 12) [deaths]."""
        month = (np.arange(REQUIRED_MONTHS) + np.arange(1, LEADS + 1)[:, None]) % REQUIRED_MONTHS
        return history[:, month]


@dataclass(frozen=True)
class History(HistoryBaseline):
    """The country's last months as draws, exponentially weighted: weights halve with each `half_life` [months] of age.

    With a `spread`, a month with deaths stands for a normal distribution of log(1 + deaths) with that standard
    deviation. Draws keep the order of their months and shift by a thirtieth from lead to lead: violence persists
    along a path, and every lead has the same distribution.
    """

    name: str = "history60"
    months: int = 60
    half_life: float = 9.0
    spread: float = 0.0
    draws: int = 1000

    def paths(self, history: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return weighted draws of the months, shape (history, lead, draw) [deaths]."""
        weights = np.where(np.isnan(history), 0.0, 0.5 ** (np.arange(history.shape[1])[::-1] / self.half_life))
        month = systematic_sample(weights, self.draws)
        deaths = np.take_along_axis(history, month, axis=1)
        step = self.draws // SHIFTS
        paths = np.stack([np.roll(deaths, -lead * step, axis=1) for lead in range(1, LEADS + 1)], axis=1)
        if self.spread:
            noise = self.spread * _normal_values(self.draws)
            paths = np.where(paths > 0, np.rint(np.expm1(np.log1p(paths) + noise)), paths)
        return np.asarray(np.maximum(paths, 0.0))


SMOOTHED_HISTORY = History(name="ew4s", months=84, half_life=4.0, spread=0.5)
"""The best baseline: models are compared with it."""
BASELINES: tuple[Component, ...] = (SMOOTHED_HISTORY, Conflictology(), History(), Last(), Zero())
"""What models are compared with in back-tests, and every issued or hindcast forecast once its outcome is known."""


def systematic_sample(weights: NDArray[np.float64], number: int) -> NDArray[np.intp]:
    """Return `number` indices per row, sampled at even steps in proportion to the weights, in rising order.

    From (row, index) to (row, number). A row without any weight gives its last index.
    """
    levels = np.cumsum(weights, axis=1)
    steps = (np.arange(number) + 0.5) / number
    sample = np.stack([np.searchsorted(row, steps * row[-1], side="right") for row in levels])
    return np.asarray(np.minimum(sample, weights.shape[1] - 1))


@cache
def _normal_values(number: int) -> NDArray[np.float64]:
    """Standard normal values, shape (lead, number): any run along the last axis covers the whole range evenly."""
    uniform = (np.arange(number) * GOLDEN_RATIO + np.arange(LEADS)[:, None] * GOLDEN_RATIO**2 + 0.5) % 1.0
    values = map(NormalDist().inv_cdf, np.clip(uniform, 1e-6, 1 - 1e-6).flat)
    return np.fromiter(values, dtype=np.float64).reshape(uniform.shape)


def _forecast(panel: Panel, origin: Month, draws: NDArray[np.float64] | NDArray[np.int64]) -> Forecast:
    known = forecastable(panel, origin)[:, None, None]
    return Forecast(origin, panel.iso3, panel.outcome, np.where(known, draws, np.nan).astype(np.float32))
