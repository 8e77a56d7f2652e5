"""A model that is kept from some families of indicators, to tell what they are worth to it."""

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
    """A component that sees every indicator of some families as unknown, in learning and in forecasting."""

    component: Component
    families: tuple[str, ...]

    @property
    def name(self) -> str:
        """The component's own, with what it does without."""
        return f"{self.component.name}-without-{'-'.join(self.families)}"

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Fit the component on the rest."""
        return replace(self, component=self.component.fit(self._blind(panel), origin))

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """What the component says from the rest."""
        return self.component.forecast(self._blind(panel), origin)

    def _blind(self, panel: Panel) -> Panel:
        hidden = {i.name for family in FAMILIES if family.name in self.families for i in family.indicators}
        return replace(panel, values=np.where(np.isin(panel.names, list(hidden)), np.float32(np.nan), panel.values))


def without(model: Component, families: Sequence[str]) -> Component:
    """The model itself where no family is named."""
    return Without(model, tuple(sorted(set(families)))) if families else model
