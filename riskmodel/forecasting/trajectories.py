"""A nearest-neighbour forecaster: it finds past histories like a country's own and samples what followed them.

It compares a country's last twelve months with all runs of twelve months in the world's past, by shape first and by
level second. It reads a country's own deaths and no indicator. Fitting only stores the runs.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from riskmodel.forecasting.component import REQUIRED_MONTHS, Scenarios, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.forecasting.paths import (
    Floats,
    following_paths,
    recent_level,
    sample_paths,
    scale_paths,
    share_of_thresholds_reached,
)
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month


@dataclass(frozen=True)
class FittedRuns:
    """Runs of twelve months that had deaths, with the months after them.

    `index` finds the nearest runs. `paths` is float32 of shape (run, lead) [deaths]. `levels` [deaths a month] and
    `weights`, by recency, are float64 of shape (run,).
    """

    index: NearestNeighbors
    paths: NDArray[np.float32]
    levels: Floats
    weights: Floats


@dataclass(frozen=True)
class Trajectories:
    """Paths that followed the most similar runs of twelve months, scaled to the country's own level.

    Two runs are compared by log(1 + deaths) of each month minus log(1 + level), and by log(1 + level) with the factor
    `level_weight`. The weight of a month in the comparison halves with each `memory` [months] of age. Of the nearest
    `neighbours` runs, the weight falls with the square of the distance, to nothing at the last one, and halves with
    each `half_life` [months] of age. A country without deaths in its twelve months is forecast to have none, and so is
    every country if no run was stored. Chadefaux (2022), doi:10.1080/03050629.2022.2009821.
    """

    name: str = "trajectories"
    neighbours: int = 200
    memory: float = 3.0
    level_weight: float = 0.5
    half_life: float = 120.0
    max_factor: float = 10.0
    draws: int = 1000
    fitted: FittedRuns | None = field(default=None, repr=False)

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Store all runs whose next 14 months are known at the origin."""
        deaths = panel.until(origin).deaths
        paths = following_paths(deaths)[:, REQUIRED_MONTHS - 1 :]
        if not paths.size:
            return replace(self, fitted=None)
        runs = sliding_window_view(deaths[:, :-LEADS], REQUIRED_MONTHS, axis=1)
        complete = ~(np.isnan(paths).any(axis=-1) | np.isnan(runs).any(axis=-1))
        known = complete & (np.nan_to_num(runs).sum(axis=-1) > 0)
        if not known.any():
            return replace(self, fitted=None)
        age = deaths.shape[1] - REQUIRED_MONTHS - np.arange(paths.shape[1], dtype=np.float64)
        age = np.broadcast_to(age, known.shape)
        levels = recent_level(runs[known])[:, -1]
        # n_jobs=1 and a tree: brute force and parallel search start threads, and a process with threads must not fork
        index = NearestNeighbors(n_neighbors=min(self.neighbours, int(known.sum())), algorithm="kd_tree", n_jobs=1)
        fitted = FittedRuns(
            index=index.fit(self._coordinates(runs[known], levels)),
            paths=paths[known].astype(np.float32),
            levels=levels,
            weights=0.5 ** (age[known] / self.half_life),
        )
        return replace(self, fitted=fitted)

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the forecast; NaN for countries that are not `forecastable`."""
        known = np.flatnonzero(forecastable(panel, origin))
        draws = np.full((len(panel.iso3), LEADS, self.draws), np.nan, dtype=np.float32)
        draws[known] = 0.0
        violent, paths, weights = self._similar_paths(panel.history(origin, REQUIRED_MONTHS)[known])
        for country, country_paths, country_weights in zip(known[violent], paths, weights, strict=True):
            draws[country] = sample_paths(country_paths, country_weights, self.draws)
        return Forecast(origin, panel.iso3, panel.outcome, draws)

    @property
    def used_indicators(self) -> frozenset[int]:
        """No indicator."""
        return frozenset()

    def ensemble_probabilities(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """Return the weighted share of paths that reach the thresholds, shape (1, case, target): one member."""

        def probabilities(rows: NDArray[np.intp]) -> Floats:
            thresholds = scenarios.thresholds[rows]
            probability = (thresholds <= 0).mean(axis=-1)  # the certain path of zeros, for histories without deaths
            violent, paths, weights = self._similar_paths(scenarios.histories[rows, -REQUIRED_MONTHS:])
            for row, history_paths, history_weights in zip(violent, paths, weights, strict=True):
                sums = history_paths[:, : scenarios.leads].sum(axis=1)
                probability[row] = history_weights @ share_of_thresholds_reached(sums, thresholds[row])
            return np.asarray(probability)

        by_history, index = scenarios.by_history(self, probabilities)
        return np.asarray(by_history[index][None], dtype=np.float32)

    def _similar_paths(self, runs: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
        """The rows of the runs with deaths, and for each the paths of similar runs and their weights.

        Shapes (violent run,), (violent run, path, lead) [deaths] and (violent run, path); weights sum to 1.
        """
        violent = np.flatnonzero(runs.sum(axis=1) > 0)
        if self.fitted is None or not len(violent):
            return violent[:0], np.empty((0, 0, LEADS)), np.empty((0, 0))
        fitted, levels = self.fitted, recent_level(runs[violent])[:, -1]
        distance, similar = fitted.index.kneighbors(self._coordinates(runs[violent], levels))
        farthest = distance[:, -1:]
        with np.errstate(invalid="ignore"):  # 0 / 0 where all neighbours are at the same point
            closeness = np.where(farthest > 0, 1.0 - (distance / farthest) ** 2, 1.0)
        # epsilon: with one neighbour only, its closeness is 0 and the weights would not sum to 1
        weights = (closeness + np.finfo(np.float64).eps) * fitted.weights[similar]
        paths = scale_paths(fitted.paths[similar], fitted.levels[similar], levels[:, None], self.max_factor)
        return violent, paths, weights / weights.sum(axis=1, keepdims=True)

    def _coordinates(self, runs: Floats, levels: Floats) -> Floats:
        """Coordinates in which similar runs are close, shape (run, month + 1)."""
        memory = 0.5 ** (np.arange(REQUIRED_MONTHS)[::-1] / self.memory)
        shape = (np.log1p(runs) - np.log1p(levels)[:, None]) * np.sqrt(memory / memory.sum())
        return np.column_stack([shape, self.level_weight * np.log1p(levels)])
