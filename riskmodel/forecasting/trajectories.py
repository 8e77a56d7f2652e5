"""The second learned component: who has come this way before, and what followed.

A country's last twelve months are held against all runs of twelve months in the world's past, by their shape first and
by their level second. It reads a country's own deaths and no indicator, and needs no training but remembering.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from riskmodel.forecasting.component import NEEDED, Supposed, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.forecasting.paths import Floats, drawn, followed, level, reached, scaled
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month


@dataclass(frozen=True)
class Remembered:
    """Runs of months with deaths in them, with what followed.

    `near` finds runs; `paths` is float32 of shape (run, lead) [deaths]; `levels` and `weights`, of recency, are float64
    of shape (run,).
    """

    near: NearestNeighbors
    paths: NDArray[np.float32]
    levels: Floats
    weights: Floats


@dataclass(frozen=True)
class Trajectories:
    """What followed the most alike runs of twelve months, brought to the country's own level.

    Runs are alike by log(1 + deaths) of each month above that of their level, a month weighing half as much as one that
    is `memory` [months] later, and by the log(1 + level) itself, weighing `share_of_level` of it. Of the nearest
    `neighbours` the weight falls with the square of the distance to nothing at the last, and halves with each
    `half_life` [months] of age. A country without deaths in its twelve months is forecast to stay so; so is one for
    which no run is remembered. Forecasting conflict from the shape of its past: Chadefaux (2022),
    doi:10.1080/03050629.2022.2009821.
    """

    name: str = "trajectories"
    neighbours: int = 200
    memory: float = 3.0
    share_of_level: float = 0.5
    half_life: float = 120.0
    stretch: float = 10.0
    draws: int = 1000
    remembered: Remembered | None = field(default=None, repr=False)

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Remember all runs whose next 14 months are known at the origin."""
        deaths = panel.until(origin).deaths
        paths = followed(deaths)[:, NEEDED - 1 :]
        if not paths.size:
            return replace(self, remembered=None)
        runs = sliding_window_view(deaths[:, :-LEADS], NEEDED, axis=1)
        known = ~(np.isnan(paths).any(axis=-1) | np.isnan(runs).any(axis=-1)) & (np.nan_to_num(runs).sum(axis=-1) > 0)
        if not known.any():
            return replace(self, remembered=None)
        age = np.broadcast_to(deaths.shape[1] - NEEDED - np.arange(paths.shape[1], dtype=np.float64), known.shape)
        levels = level(runs[known])[:, -1]
        # a tree searches in this thread alone: whoever forecasts may be about to fork
        near = NearestNeighbors(n_neighbors=min(self.neighbours, int(known.sum())), algorithm="kd_tree", n_jobs=1)
        remembered = Remembered(
            near=near.fit(self._place(runs[known], levels)),
            paths=paths[known].astype(np.float32),
            levels=levels,
            weights=0.5 ** (age[known] / self.half_life),
        )
        return replace(self, remembered=remembered)

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Draw paths from least to most deadly in the first months."""
        known = np.flatnonzero(forecastable(panel, origin))
        draws = np.full((len(panel.iso3), LEADS, self.draws), np.nan, dtype=np.float32)
        draws[known] = 0.0
        violent, paths, weights = self._followed(panel.history(origin, NEEDED)[known])
        for place, of_country, likely in zip(known[violent], paths, weights, strict=True):
            draws[place] = drawn(of_country, likely, self.draws)
        return Forecast(origin, panel.iso3, panel.outcome, draws)

    @property
    def reads(self) -> frozenset[int]:
        """No indicator."""
        return frozenset()

    def votes(self, supposed: Supposed) -> NDArray[np.float32]:
        """What the paths say before any drawing: one voter."""
        asked, place = np.unique(supposed.history, return_inverse=True)
        thresholds = supposed.thresholds[asked]
        said = (thresholds <= 0).mean(axis=-1)
        violent, paths, weights = self._followed(supposed.histories[asked, -NEEDED:])
        for row, of_country, likely in zip(violent, paths, weights, strict=True):
            said[row] = likely @ reached(of_country[:, : supposed.leads].sum(axis=1), thresholds[row])
        return np.asarray(said[place][None], dtype=np.float32)

    def _followed(self, runs: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
        """The places of the runs with deaths, and of each the paths and their weights, which sum to 1.

        Shapes (run,), (run, path, lead) [deaths] and (run, path).
        """
        violent = np.flatnonzero(runs.sum(axis=1) > 0)
        if self.remembered is None or not len(violent):
            return violent[:0], np.empty((0, 0, LEADS)), np.empty((0, 0))
        seen, levels = self.remembered, level(runs[violent])[:, -1]
        distance, alike = seen.near.kneighbors(self._place(runs[violent], levels))
        farthest = distance[:, -1:]
        with np.errstate(invalid="ignore"):
            close = np.where(farthest > 0, 1.0 - (distance / farthest) ** 2, 1.0)
        weights = (close + np.finfo(np.float64).eps) * seen.weights[alike]
        paths = scaled(seen.paths[alike], seen.levels[alike], levels[:, None], self.stretch)
        return violent, paths, weights / weights.sum(axis=1, keepdims=True)

    def _place(self, runs: Floats, levels: Floats) -> Floats:
        """Where runs stand: the closer two, the more alike; shape (run, month + 1)."""
        memory = 0.5 ** (np.arange(NEEDED)[::-1] / self.memory)
        shape = (np.log1p(runs) - np.log1p(levels)[:, None]) * np.sqrt(memory / memory.sum())
        return np.column_stack([shape, self.share_of_level * np.log1p(levels)])
