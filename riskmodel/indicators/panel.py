"""The panel: all indicators side by side, with the outcome to forecast.

Column t of a panel uses nothing after month t.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators.declaration import Family, Indicator
from riskmodel.indicators.families import (
    actors,
    capital,
    composition,
    intensity,
    people,
    regime,
    reporting,
    spillover,
    spread,
    unrest,
)
from riskmodel.indicators.inputs import Inputs
from riskmodel.months import Month, Months
from riskmodel.outcomes import CountryMonths

FAMILIES: tuple[Family, ...] = (
    intensity.FAMILY,
    composition.FAMILY,
    actors.FAMILY,
    capital.FAMILY,
    spread.FAMILY,
    spillover.FAMILY,
    regime.FAMILY,
    people.FAMILY,
    unrest.FAMILY,
    reporting.FAMILY,
)
INDICATORS: tuple[Indicator, ...] = tuple(indicator for family in FAMILIES for indicator in family.indicators)


@dataclass(frozen=True)
class Panel:
    """Indicators and outcome by country and month.

    `values` is float32 of shape (country, month, indicator), in the order of `names`. `deaths` is float64 of shape
    (country, month) [deaths] and counts the outcome `outcome`. Unknown is NaN. `absent` names the indicators that are
    NaN throughout because an input that they need is absent.
    """

    iso3: tuple[str, ...]
    months: Months
    names: tuple[str, ...]
    values: NDArray[np.float32]
    outcome: str
    deaths: NDArray[np.float64]
    absent: tuple[str, ...] = ()

    def month_index(self, month: Month) -> int:
        """Return the index of a month. Raises KeyError for a month that the panel does not have."""
        index = int(np.searchsorted(self.months, month))
        if index == len(self.months) or self.months[index] != month:
            raise KeyError(f"the panel does not have {month}")
        return index

    def at(self, origin: Month) -> NDArray[np.float32]:
        """Return the indicators at the end of a month, shape (country, indicator)."""
        return self.values[:, self.month_index(origin)]

    def history(self, origin: Month, months: int) -> NDArray[np.float64]:
        """Return the deaths of the last months up to the origin, shape (country, months) [deaths].

        NaN where unknown and before the first month.
        """
        end = self.month_index(origin) + 1
        deaths = self.deaths[:, max(end - months, 0) : end]
        return np.pad(deaths, ((0, 0), (months - deaths.shape[1], 0)), constant_values=np.nan)

    def only(self, iso3: Sequence[str]) -> "Panel":
        """Return the panel of some countries, in their order. Raises KeyError for an absent country."""
        row = {code: i for i, code in enumerate(self.iso3)}
        rows = [row[code] for code in iso3]
        return replace(self, iso3=tuple(iso3), values=self.values[rows], deaths=self.deaths[rows])

    def until(self, origin: Month) -> "Panel":
        """Return the panel without the months after the origin: it hides everything that is later."""
        end = self.month_index(origin) + 1
        return replace(self, months=self.months[:end], values=self.values[:, :end], deaths=self.deaths[:, :end])


def assemble(
    observed: CountryMonths,
    outcome: str,
    inputs: Inputs | None = None,
    *,
    indicators: Sequence[Indicator] = INDICATORS,
) -> Panel:
    """Compute the indicators of an outcome and return the panel.

    `inputs` must have the countries and months of `observed`; without them, indicators are computed from the outcome's
    deaths alone. An indicator with an absent input is NaN throughout. Raises ValueError for other countries or months.
    """
    deaths = observed.deaths[outcome]
    inputs = inputs or Inputs(observed.iso3, observed.months, {"deaths": deaths}, outcome=outcome)
    if inputs.iso3 != observed.iso3 or not np.array_equal(inputs.months, observed.months):
        raise ValueError("the inputs of the indicators have other countries and months than the outcome")
    values = np.full((*deaths.shape, len(indicators)), np.nan, dtype=np.float32)
    absent = []
    for i, indicator in enumerate(indicators):
        if inputs.available.issuperset(indicator.inputs):
            values[:, :, i] = indicator.compute(inputs)
        else:
            absent.append(indicator.name)
    names = tuple(indicator.name for indicator in indicators)
    return Panel(observed.iso3, observed.months, names, values, outcome, deaths, tuple(absent))
