"""The one answer every component gives: a joint predictive distribution as equiprobable draws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel.months import Month

LEADS = 14
SERVED_LEADS = 12


@dataclass(frozen=True)
class Forecast:
    """Deaths by country, lead and draw.

    `draws` is float32 of shape (country, lead, draw) [deaths], whole and not negative; lead 1 is the month after
    `origin`. Draw i is one path over all leads, so sums over months may be taken draw by draw. A country that cannot be
    forecast is NaN throughout.
    """

    origin: Month
    iso3: tuple[str, ...]
    outcome: str
    draws: NDArray[np.float32]

    def of(self, iso3: str) -> NDArray[np.float32]:
        """One country's draws, shape (lead, draw)."""
        draws: NDArray[np.float32] = self.draws[self.iso3.index(iso3)]
        return draws

    def only(self, iso3: Sequence[str]) -> "Forecast":
        """The same for some of its countries, in their order. Raises ValueError for one that is not there."""
        return replace(self, iso3=tuple(iso3), draws=self.draws[[self.iso3.index(code) for code in iso3]])
