"""A distributional random forest: it finds months like this one in the world's past and samples what followed them.

A draw is the path of deaths that followed such a month, scaled to the country's own level. The leads of a draw are
therefore jointly plausible.
"""

import warnings
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.ensemble import RandomForestRegressor

from riskmodel.errors import BadInput
from riskmodel.forecasting.component import REQUIRED_MONTHS, Scenarios, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.forecasting.paths import (
    following_paths,
    recent_level,
    sample_paths,
    scale_paths,
    share_of_thresholds_reached,
)
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month
from riskmodel.outcomes import OUTCOME_LABELS

MIN_TRAINING_MONTHS = 200
"""The forest needs this many country-months to learn from."""
MIN_KNOWN_SHARE = 0.5
"""The forest reads an indicator that is known in at least this share of its training months.

With a rarer one, whether it is known would tell the forest the country or the period.
"""


@dataclass(frozen=True)
class FittedForest:
    """The trees, and the training months in their leaves.

    `columns` are the indices of the indicators it reads. `paths` is float32 of shape (path, lead) [deaths]: the
    training paths that are not all zero. `levels` [deaths a month] and `weights`, by recency, are float64 of shape
    (path,). In tree t the paths of leaf l are `members[t, starts[t, l] : starts[t, l + 1]]`. `mass` is float64 of shape
    (tree, node): the weight of all training months in a leaf, those with all-zero paths included.
    """

    trees: RandomForestRegressor
    columns: NDArray[np.intp]
    paths: NDArray[np.float32]
    levels: NDArray[np.float64]
    weights: NDArray[np.float64]
    members: NDArray[np.unsignedinteger[Any]]
    starts: NDArray[np.int32]
    mass: NDArray[np.float64]

    def leaves(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the leaf of each row in each tree, shape (row, tree).

        `RandomForestRegressor.apply` would start threads, and a process with threads must not fork.
        """
        contiguous = np.ascontiguousarray(rows, dtype=np.float32)
        return np.stack([tree.tree_.apply(contiguous) for tree in self.trees.estimators_], axis=1)


@dataclass(frozen=True)
class Forest:
    """A distributional random forest over the paths of the next months.

    The trees split on log(1 + deaths) of all leads at once, each split on the best of `features` random indicators.
    The weight of a training month halves with each `half_life` [months] of age. A path is scaled by the ratio of the
    country's level to the level at which the path started, by a factor of at most `max_factor`. `jobs` threads train
    the forest; their number does not change the result.

    Forest weights: Meinshausen (2006), JMLR 7: 983-999. Joint draws: Ćevid et al. (2022), JMLR 23(333).
    """

    name: str = "forest"
    trees: int = 100
    leaf: int = 20
    features: int = 16
    sample: float = 0.3
    half_life: float = 120.0
    max_factor: float = 10.0
    draws: int = 1000
    seed: int = 0
    jobs: int = 2
    fitted: FittedForest | None = field(default=None, repr=False)

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Learn from all months whose next 14 are known at the origin. Raises BadInput if they are too few."""
        rows, paths, levels, age = _training_rows(panel.until(origin))
        if len(rows) < MIN_TRAINING_MONTHS:
            raise BadInput(
                f"the history of deaths in {OUTCOME_LABELS[panel.outcome]['en']} up to {origin} has {len(rows)} "
                f"country-months with {REQUIRED_MONTHS} known months before and {LEADS} after them; "
                f"a model needs {MIN_TRAINING_MONTHS}"
            )
        weights = 0.5 ** (age / self.half_life)
        columns = np.flatnonzero((~np.isnan(rows)).mean(axis=0) >= MIN_KNOWN_SHARE)
        trees = RandomForestRegressor(
            n_estimators=self.trees,
            min_samples_leaf=self.leaf,
            max_features=min(self.features, columns.size),
            max_samples=self.sample,
            random_state=self.seed,
            n_jobs=self.jobs,
        )
        # Each of scikit-learn's threads saves and restores the global warning filters. The threads race, so the
        # filters can be lost: save and restore them here, once per call.
        with warnings.catch_warnings():
            trees.fit(rows[:, columns], np.log1p(paths), sample_weight=weights)
        with warnings.catch_warnings():
            leaves = trees.apply(rows[:, columns])
        trees.set_params(n_jobs=None)  # a forecasting process must start no threads: it may fork
        nodes = int(leaves.max()) + 1
        mass = np.stack([np.bincount(column, weights, nodes).astype(np.float64) for column in leaves.T])
        violent = paths.any(axis=1)
        leaf_of_path = leaves[violent].T
        fitted = FittedForest(
            trees=trees,
            columns=columns,
            paths=paths[violent].astype(np.float32),
            levels=levels[violent],
            weights=weights[violent],
            members=np.argsort(leaf_of_path, axis=1, kind="stable").astype(np.min_scalar_type(leaf_of_path.shape[1])),
            starts=np.stack([np.searchsorted(np.sort(row), np.arange(nodes + 1)) for row in leaf_of_path]).astype(
                np.int32
            ),
            mass=mass,
        )
        return replace(self, fitted=fitted)

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Return the forecast; NaN for countries that are not `forecastable`. Raises ValueError before `fit`."""
        fitted = self._fitted()
        known = np.flatnonzero(forecastable(panel, origin))
        draws = np.full((len(panel.iso3), LEADS, self.draws), np.nan, dtype=np.float32)
        if len(known):
            leaves = fitted.leaves(panel.at(origin)[known][:, fitted.columns])
            levels = recent_level(panel.history(origin, REQUIRED_MONTHS)[known])[:, -1]
            for country, country_leaves, level in zip(known, leaves, levels, strict=True):
                draws[country] = self._country_draws(fitted, country_leaves, level)
        return Forecast(origin, panel.iso3, panel.outcome, draws)

    def _country_draws(self, fitted: FittedForest, leaves: NDArray[np.intp], level: float) -> NDArray[np.float32]:
        """Draws of a country with these leaves, shape (tree,), and level; shape (lead, draw)."""
        tree = np.arange(len(leaves))
        members = [
            fitted.members[t, fitted.starts[t, leaf] : fitted.starts[t, leaf + 1]] for t, leaf in enumerate(leaves)
        ]
        share = np.repeat(1.0 / fitted.mass[tree, leaves] / len(leaves), [len(paths) for paths in members])
        weights = np.bincount(np.concatenate(members), share, len(fitted.paths)) * fitted.weights
        used = np.flatnonzero(weights)
        paths = scale_paths(fitted.paths[used], fitted.levels[used], level, self.max_factor)
        # All-zero paths are not stored: one path of zeros stands for them, with the weight that the others leave.
        zero_weight = max(1.0 - weights.sum(), 0.0)
        paths = np.concatenate([np.zeros((1, LEADS)), paths])
        return sample_paths(paths, np.concatenate([[zero_weight], weights[used]]), self.draws)

    @property
    def used_indicators(self) -> frozenset[int]:
        """The indices of the indicators it was fitted to; none before `fit`."""
        return frozenset() if self.fitted is None else frozenset(self.fitted.columns.tolist())

    def ensemble_probabilities(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """Return the targets of each case by tree, shape (tree, case, target). Raises ValueError before `fit`.

        No paths are sampled: a tree's value is the weighted share of its leaf's paths that reach the thresholds.
        """
        leaves = self._fitted().leaves(scenarios.values[:, self._fitted().columns])
        by_leaf, row = scenarios.by_history(self, lambda rows: self._leaf_probabilities(scenarios, rows))
        return np.asarray(by_leaf[row[:, None], np.arange(self.trees), leaves].swapaxes(0, 1))

    def _leaf_probabilities(self, scenarios: Scenarios, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The targets in every leaf of every tree with some histories, shape (row, tree, leaf, target)."""
        fitted = self._fitted()
        levels = recent_level(scenarios.histories[rows, -REQUIRED_MONTHS:])[:, -1]
        reached = np.stack(
            [
                share_of_thresholds_reached(
                    scale_paths(fitted.paths[:, : scenarios.leads], fitted.levels, level, self.max_factor).sum(axis=1),
                    scenarios.thresholds[row],
                )
                for row, level in zip(rows, levels, strict=True)
            ]
        )
        weighted = (reached * fitted.weights[:, None]).transpose(1, 0, 2)
        trees, nodes = fitted.mass.shape
        # Row t · nodes + l of this matrix marks the paths in leaf l of tree t: it is `members` as it is stored.
        first = np.concatenate([fitted.starts[:, :-1].ravel(), [len(fitted.paths)]])
        first[:-1] += np.repeat(np.arange(trees) * len(fitted.paths), nodes)
        first[-1] *= trees
        members = fitted.members.ravel().astype(np.int32)
        in_leaf = csr_array((np.ones(members.size), members, first), shape=(trees * nodes, len(fitted.paths)))
        summed = (in_leaf @ weighted.reshape(len(fitted.paths), -1)).reshape(trees, nodes, len(rows), -1)
        mass = np.where(fitted.mass > 0, fitted.mass, np.inf)[..., None, None]  # no month is in an inner node
        return np.ascontiguousarray((summed / mass).transpose(2, 0, 1, 3), dtype=np.float32)

    def _fitted(self) -> FittedForest:
        if self.fitted is None:
            raise ValueError("a forest must be fitted before it forecasts")
        return self.fitted


def _training_rows(panel: Panel) -> tuple[NDArray[Any], ...]:
    """Indicators, following paths [deaths], levels [deaths a month] and ages [months] of the months that have all."""
    end = panel.deaths.shape[1]
    paths = following_paths(panel.deaths)
    month = np.arange(paths.shape[1])
    levels = recent_level(panel.deaths)[:, month]
    known = ~(np.isnan(paths).any(axis=-1) | np.isnan(levels))
    age = np.broadcast_to(end - 1.0 - month, known.shape)
    return panel.values[:, month][known], paths[known], levels[known], age[known]
