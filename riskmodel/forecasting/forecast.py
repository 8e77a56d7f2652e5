"""The forecast that every component returns: a joint predictive distribution as equiprobable draws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel.months import Month

LEADS = 14
"""Forecasts reach this far after the origin, as the VIEWS prediction challenge scores leads 3 to 14 [months]."""
SERVED_LEADS = 12
"""The API and the pages show this many leads [months]."""


@dataclass(frozen=True)
class Forecast:
    """Deaths by country, lead and draw.

    `draws` is float32 of shape (country, lead, draw) [deaths]: whole numbers, not negative. Lead 1 is the month after
    `origin`. A draw is one path over all leads, so sums over months are taken draw by draw. A country that cannot be
    forecast is NaN throughout.
    """

    origin: Month
    iso3: tuple[str, ...]
    outcome: str
    draws: NDArray[np.float32]

    def only(self, iso3: Sequence[str]) -> "Forecast":
        """Return the forecast of some countries, in their order. Raises ValueError for an absent country."""
        return replace(self, iso3=tuple(iso3), draws=self.draws[[self.iso3.index(code) for code in iso3]])
