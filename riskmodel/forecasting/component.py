"""The interface of forecasters: a component learns from a panel and returns a forecast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

REQUIRED_MONTHS = 12
"""A country is forecast if this many months up to the origin are all known [months]."""


@dataclass(frozen=True)
class Scenarios:
    """Country-months, observed or hypothetical, for which a model is asked for probabilities.

    `values` is float32 of shape (case, indicator), in the panel's order. `history`, of shape (case,), is the row of
    each case in `histories`, which is float64 of shape (history, month) [deaths] and ends with the origin.
    `thresholds` is float64 of shape (history, target, threshold) [deaths]. The value of a target is the mean over its
    thresholds of P(deaths of the first `leads` months ≥ threshold).

    Scenarios with the same `histories`, `thresholds` and `leads` can share one `memo` of results: see `by_history`.
    """

    values: NDArray[np.float32]
    history: NDArray[np.intp]
    histories: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    leads: int
    memo: dict[tuple[int, int], NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def by_history(
        self, component: object, compute: Callable[[NDArray[np.intp]], Sequence[NDArray[Any]] | NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Return what a component computes from the histories of the cases alone, and the index of each case in it.

        `compute` gets rows of `histories` and returns one array for each. It gets each row once for each memo. The
        component must live as long as the memo.
        """
        rows, index = np.unique(self.history, return_inverse=True)
        keys = [(id(component), row) for row in rows.tolist()]
        missing = np.array([key not in self.memo for key in keys], dtype=bool)
        if missing.any():
            results = compute(rows[missing])
            self.memo.update(zip([key for key in keys if key not in self.memo], results, strict=True))
        return np.stack([self.memo[key] for key in keys]), index


class Component(Protocol):
    """A forecaster. `fit` and `forecast` read nothing of the panel after their origin."""

    @property
    def name(self) -> str:
        """Its name in tables and files."""

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Return the component fitted to what was known at the end of the origin."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the forecast of every country of the panel; NaN for those that are not `forecastable`."""


class Explainable(Component, Protocol):
    """A component that can be served: it can also be asked about hypothetical months, which explanations need."""

    @property
    def used_indicators(self) -> frozenset[int]:
        """The indices of the indicators that it reads, besides a country's own deaths."""

    def ensemble_probabilities(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """Return the targets of each case by ensemble member, shape (ensemble member, case, target).

        Their mean over the members is the component's probability, before draws are sampled.
        """


def forecastable(panel: Panel, origin: Month) -> NDArray[np.bool_]:
    """Return which countries have the `REQUIRED_MONTHS` up to the origin all known, shape (country,)."""
    return np.asarray(~np.isnan(panel.history(origin, REQUIRED_MONTHS)).any(axis=1))
