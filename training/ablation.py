"""Models that are kept from some families of indicators, to tell what these are worth to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import FAMILIES, Panel
from riskmodel.months import Month


@dataclass(frozen=True)
class Without:
    """A component in a trial that hides some families from all that learns in it: see `visible`."""

    component: Component
    families: tuple[str, ...]

    @property
    def name(self) -> str:
        """The component's own, with what it does without."""
        return f"{self.component.name}-without-{'-'.join(self.families)}"

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Fit the component."""
        return replace(self, component=self.component.fit(panel, origin))

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """What the component says."""
        return self.component.forecast(panel, origin)


def without(model: Component, families: Sequence[str]) -> Component:
    """The model itself where no family is named."""
    return Without(model, tuple(sorted(set(families)))) if families else model


def visible(panel: Panel, model: Component) -> Panel:
    """What a model may see of a panel: every indicator of the families it does without is unknown."""
    if not isinstance(model, Without):
        return panel
    hidden = [i.name for family in FAMILIES if family.name in model.families for i in family.indicators]
    return replace(panel, values=np.where(np.isin(panel.names, hidden), np.float32(np.nan), panel.values))
