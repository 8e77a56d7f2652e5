"""The pool that is trained and served: a mixture of components, each with a fixed share of the draws."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.baselines import History
from riskmodel.forecasting.component import Explainable, Scenarios
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.trajectories import Trajectories
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month


@dataclass(frozen=True)
class PoolMember:
    """A component and its number of the pool's draws."""

    component: Explainable
    draws: int


@dataclass(frozen=True)
class Pool:
    """A linear opinion pool: the members' paths side by side, each thinned evenly to its number of draws."""

    members: tuple[PoolMember, ...]
    name: str = "pool"

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Return the pool with each component fitted."""
        fitted = tuple(replace(member, component=member.component.fit(panel, origin)) for member in self.members)
        return replace(self, members=fitted)

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the mixture of the members' draws; NaN for a country that one of them cannot forecast."""
        draws = np.concatenate(
            [_thinned(member.component.forecast(panel, origin), member.draws) for member in self.members], axis=-1
        )
        draws[np.isnan(draws).any(axis=(1, 2))] = np.nan
        return Forecast(origin, panel.iso3, panel.outcome, draws)

    @property
    def used_indicators(self) -> frozenset[int]:
        """The indicators that any member reads."""
        return frozenset().union(*(member.component.used_indicators for member in self.members))

    def ensemble_probabilities(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """Return the members' probabilities weighted by their draws, shape (ensemble member, case, target).

        A component with one ensemble member is added to each ensemble member of the others. Raises ValueError where
        two components have different numbers of ensemble members, and neither has one.
        """
        total = sum(member.draws for member in self.members)
        weighted = [
            member.draws / total * member.component.ensemble_probabilities(scenarios) for member in self.members
        ]
        return np.asarray(sum(weighted), dtype=np.float32)


def served_model(seed: int) -> Pool:
    """Return the unfitted pool that Vigie trains and serves: forest 400, trajectories 200, own history 400 draws."""
    history = History(name="own_history", months=84, half_life=3.0, spread=0.5, draws=400)
    return Pool(
        (
            PoolMember(Forest(seed=seed, draws=400), 400),
            PoolMember(Trajectories(draws=200), 200),
            PoolMember(history, 400),
        )
    )


def _thinned(forecast: Forecast, number: int) -> NDArray[np.float32]:
    have = forecast.draws.shape[-1]
    draws: NDArray[np.float32] = forecast.draws[..., ((np.arange(number) + 0.5) * have / number).astype(np.intp)]
    return draws
