"""All indicators side by side, with the outcome they are to forecast.

Row t of a panel uses nothing after month t. It knows the families by their declarations only, and no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import (
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
from riskmodel.indicators.declaration import Family, Indicator
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

    `values` is float32 of shape (country, month, indicator), in the order of `names`; `deaths` is float64 of shape
    (country, month) [deaths], the outcome `outcome`. NaN where unknown. `absent` names the indicators that are NaN
    throughout because an input they need is not there.
    """

    iso3: tuple[str, ...]
    months: Months
    names: tuple[str, ...]
    values: NDArray[np.float32]
    outcome: str
    deaths: NDArray[np.float64]
    absent: tuple[str, ...] = ()

    def place(self, origin: Month) -> int:
        """The place of a month. Raises KeyError if the panel does not hold it."""
        place = int(np.searchsorted(self.months, origin))
        if place == len(self.months) or self.months[place] != origin:
            raise KeyError(f"the panel does not hold {origin}")
        return place

    def at(self, origin: Month) -> NDArray[np.float32]:
        """The indicators as they stood at the end of a month, shape (country, indicator)."""
        return self.values[:, self.place(origin)]

    def history(self, origin: Month, months: int) -> NDArray[np.float64]:
        """Deaths of the last months up to the origin, shape (country, months) [deaths]; NaN before the first month."""
        end = self.place(origin) + 1
        seen = self.deaths[:, max(end - months, 0) : end]
        return np.pad(seen, ((0, 0), (months - seen.shape[1], 0)), constant_values=np.nan)

    def only(self, iso3: Sequence[str]) -> "Panel":
        """The same for some of its countries, in their order. Raises KeyError for one that is not there."""
        place = {code: i for i, code in enumerate(self.iso3)}
        rows = [place[code] for code in iso3]
        return replace(self, iso3=tuple(iso3), values=self.values[rows], deaths=self.deaths[rows])

    def until(self, origin: Month) -> "Panel":
        """The same, cut after the origin: nothing later can be seen through it."""
        end = self.place(origin) + 1
        return replace(self, months=self.months[:end], values=self.values[:, :end], deaths=self.deaths[:, :end])


def assemble(
    observed: CountryMonths,
    outcome: str,
    inputs: Inputs | None = None,
    *,
    indicators: Sequence[Indicator] = INDICATORS,
) -> Panel:
    """Compute indicators of an outcome.

    `inputs` are of the same countries and months; without them, indicators are computed from the outcome's deaths
    alone. Raises ValueError if they do not fit. An indicator one of whose inputs is not there is NaN throughout.
    """
    deaths = observed.deaths[outcome]
    inputs = inputs or Inputs(observed.iso3, observed.months, {"deaths": deaths}, outcome=outcome)
    if inputs.iso3 != observed.iso3 or not np.array_equal(inputs.months, observed.months):
        raise ValueError("what the indicators are computed from is not of the outcome's countries and months")
    values = np.full((*deaths.shape, len(indicators)), np.nan, dtype=np.float32)
    absent = []
    for place, indicator in enumerate(indicators):
        if inputs.known.issuperset(indicator.inputs):
            values[:, :, place] = indicator.compute(inputs)
        else:
            absent.append(indicator.name)
    names = tuple(indicator.name for indicator in indicators)
    return Panel(observed.iso3, observed.months, names, values, outcome, deaths, tuple(absent))
