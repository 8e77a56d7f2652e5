"""What every forecasting component is to the others: something that learns from a panel and answers with a forecast."""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

NEEDED = 12


class Component(Protocol):
    """A way of forecasting. `fit` and `forecast` see nothing of the panel after their origin."""

    @property
    def name(self) -> str:
        """How tables call it."""

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Learn from what was known at the end of the origin."""

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Answer for every country of the panel that is `forecastable`; NaN for the rest."""


def forecastable(panel: Panel, origin: Month) -> NDArray[np.bool_]:
    """Countries whose last twelve months are all known, shape (country,): less is too little to forecast from."""
    return np.asarray(~np.isnan(panel.history(origin, NEEDED)).any(axis=1))
