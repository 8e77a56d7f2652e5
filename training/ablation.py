"""Hide families of indicators from a model, to measure what they are worth to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import FAMILIES, Panel
from riskmodel.months import Month


@dataclass(frozen=True)
class WithoutFamilies:
    """A model that must not see some families of indicators. The back-test hides them by `mask_families`."""

    model: Component
    families: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model's name and the families that it does without."""
        return f"{self.model.name}-without-{'-'.join(self.families)}"

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Fit the model."""
        return replace(self, model=self.model.fit(panel, origin))

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the model's forecast."""
        return self.model.forecast(panel, origin)


def without_families(model: Component, families: Sequence[str]) -> Component:
    """Return the model without some families, or the model itself if there are none."""
    return WithoutFamilies(model, tuple(sorted(set(families)))) if families else model


def mask_families(panel: Panel, model: Component) -> Panel:
    """Return the panel with NaN for all indicators that the model must not see."""
    if not isinstance(model, WithoutFamilies):
        return panel
    hidden = [i.name for family in FAMILIES if family.name in model.families for i in family.indicators]
    return replace(panel, values=np.where(np.isin(panel.names, hidden), np.float32(np.nan), panel.values))
