"""All indicators side by side, with the outcome they are to forecast.

Row t of a panel uses nothing after month t. It knows the families by their declarations only, and no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators import intensity, spillover
from riskmodel.indicators.declaration import Indicator, Inputs
from riskmodel.months import Month, Months
from riskmodel.outcomes import CountryMonths

FAMILIES: tuple[tuple[Indicator, ...], ...] = (intensity.INDICATORS, spillover.INDICATORS)
INDICATORS: tuple[Indicator, ...] = tuple(indicator for family in FAMILIES for indicator in family)


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
    *,
    indicator_deaths: CountryMonths | None = None,
    indicators: Sequence[Indicator] = INDICATORS,
    tables: Mapping[str, NDArray[np.float64]] | None = None,
) -> Panel:
    """Compute indicators of an outcome.

    `indicator_deaths`, of the same countries and months, are the deaths that indicators are computed from where they
    are not the outcome's: those of vaguely dated events spread over their span. Raises ValueError if they do not fit.
    `tables` are inputs beside deaths, float64 of shape (country, month), by name. Neighbours are those of
    `riskmodel.geography` that the rectangle holds. An indicator one of whose inputs is not there is NaN throughout.
    """
    deaths = observed.deaths[outcome]
    spread = indicator_deaths or observed
    if spread.iso3 != observed.iso3 or not np.array_equal(spread.months, observed.months):
        raise ValueError("the deaths for the indicators are not of the outcome's countries and months")
    given = {**(tables or {}), "deaths": spread.deaths[outcome]}
    inputs = Inputs(observed.iso3, observed.months, given, _neighbours(observed.iso3))
    values = np.full((*deaths.shape, len(indicators)), np.nan, dtype=np.float32)
    absent = []
    for place, indicator in enumerate(indicators):
        if set(indicator.inputs) <= inputs.tables.keys():
            values[:, :, place] = indicator.compute(inputs)
        else:
            absent.append(indicator.name)
    names = tuple(indicator.name for indicator in indicators)
    return Panel(observed.iso3, observed.months, names, values, outcome, deaths, tuple(absent))


def _neighbours(iso3: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.array([np.isin(iso3, geography.country(code).neighbours) for code in iso3]).reshape(len(iso3), len(iso3))
