"""The forecast that is served: a mixture of components, each with a round share of the draws."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.baselines import History
from riskmodel.forecasting.component import Explainable, Supposed
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.trajectories import Trajectories
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

SMOOTHER = History(name="ew4s", months=84, half_life=4.0, spread=0.5)
"""The best forecast that learns nothing, to be held against."""


@dataclass(frozen=True)
class Part:
    """A component and how many of the pool's draws are its own."""

    component: Explainable
    draws: int


@dataclass(frozen=True)
class Pool:
    """A mixture of draws: each part's paths, evenly thinned to its share, side by side."""

    parts: tuple[Part, ...]
    name: str = "pool"

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Fit each part."""
        return replace(
            self, parts=tuple(replace(part, component=part.component.fit(panel, origin)) for part in self.parts)
        )

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Mix the parts' draws; a country that one of them cannot forecast is NaN."""
        draws = np.concatenate(
            [_thinned(part.component.forecast(panel, origin), part.draws) for part in self.parts], axis=-1
        )
        draws[np.isnan(draws).any(axis=(1, 2))] = np.nan
        return Forecast(origin, panel.iso3, panel.outcome, draws)

    @property
    def reads(self) -> frozenset[int]:
        """What any part reads."""
        return frozenset().union(*(part.component.reads for part in self.parts))

    def votes(self, supposed: Supposed) -> NDArray[np.float32]:
        """The parts' votes, each with its share of the draws; a part of one voter votes alike beside each of another's.

        Raises ValueError where two parts have several voters and not as many.
        """
        shares = [part.draws / sum(part.draws for part in self.parts) for part in self.parts]
        votes = [part.component.votes(supposed) for part in self.parts]
        return np.asarray(sum(share * cast for share, cast in zip(shares, votes, strict=True)), dtype=np.float32)


def served(seed: int) -> Pool:
    """The pool that Vigie trains and serves: two parts forest, one trajectories, two own history; 1000 draws."""
    history = History(name="ew3s", months=84, half_life=3.0, spread=0.5, draws=400)
    return Pool((Part(Forest(seed=seed, draws=400), 400), Part(Trajectories(draws=200), 200), Part(history, 400)))


def _thinned(forecast: Forecast, number: int) -> NDArray[np.float32]:
    have = forecast.draws.shape[-1]
    draws: NDArray[np.float32] = forecast.draws[..., ((np.arange(number) + 0.5) * have / number).astype(np.intp)]
    return draws
