"""What every forecasting component is to the others: something that learns from a panel and answers with a forecast."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

NEEDED = 12


@dataclass(frozen=True)
class Supposed:
    """Months as they might have been, to be asked what would have followed.

    `values` is float32 of shape (case, indicator), in the panel's order; `history` of shape (case,) is the place of
    each case in `histories`, float64 of shape (history, month) [deaths], the months up to the supposed origin.
    `thresholds`, float64 of shape (history, target, threshold) [deaths], are what the sum of the first `leads` months
    is held against: what is asked of a target is the mean over its thresholds of P(sum ≥ threshold).
    """

    values: NDArray[np.float32]
    history: NDArray[np.intp]
    histories: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    leads: int


class Component(Protocol):
    """A way of forecasting. `fit` and `forecast` see nothing of the panel after their origin."""

    @property
    def name(self) -> str:
        """How tables call it."""

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Learn from what was known at the end of the origin."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Answer for every country of the panel that is `forecastable`; NaN for the rest."""


class Explainable(Component, Protocol):
    """A component that can also be asked what it would have said."""

    @property
    def reads(self) -> frozenset[int]:
        """The places of the indicators it reads beside a country's own deaths."""

    def votes(self, supposed: Supposed) -> NDArray[np.float32]:
        """What is asked as each member of an ensemble has it, before any drawing, shape (voter, case, target).

        Their mean is what the component says.
        """


def forecastable(panel: Panel, origin: Month) -> NDArray[np.bool_]:
    """Countries whose last twelve months are all known, shape (country,): less is too little to forecast from."""
    return np.asarray(~np.isnan(panel.history(origin, NEEDED)).any(axis=1))
