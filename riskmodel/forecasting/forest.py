"""The learned component: a forest that finds months like this one in the world's past, and says what followed.

A draw is the path of deaths that followed such a month, brought to the country's own level: leads hang together by
construction.
"""

import warnings
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from riskmodel.errors import BadInput
from riskmodel.forecasting.component import NEEDED, Supposed, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.forecasting.paths import drawn, followed, level, reached, scaled
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month

FEWEST_EXAMPLES = 200
KNOWN = 0.5
"""The least share of training months in which an indicator has to be known: else whether it is known would be read as
a sign of where the month was."""


@dataclass(frozen=True)
class Learned:
    """What a fitted forest keeps of its training months.

    `columns` are the indicators it reads: those known in at least half of its training months. `paths` is float32 of
    shape (path, lead) [deaths], the paths that are not all zero; `levels` and `weights` are
    float64 of shape (path,). In tree t the paths of leaf l are `members[t, starts[t, l] : starts[t, l + 1]]`; `mass` is
    float64 of shape (tree, node), the weight of all training months in a leaf, quiet ones included.
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
        """The leaf of each row in each tree, shape (row, tree): without the threads that the forest would start."""
        plain = np.ascontiguousarray(rows, dtype=np.float32)
        return np.stack([tree.tree_.apply(plain) for tree in self.trees.estimators_], axis=1)


@dataclass(frozen=True)
class Forest:
    """A distributional random forest over the paths of the next months.

    The trees split on log(1 + deaths) of all leads at once; a training month weighs half as much as one that is
    `half_life` [months] later. A path is scaled by the ratio of the country's level to the level it started from, by a
    factor of `stretch` at most either way. A split looks at `features` indicators. Forest weights as in Meinshausen
    (2006), JMLR 7: 983-999; joint draws as in Ćevid et al. (2022), JMLR 23(333). `jobs` threads train it and change
    nothing in what is learned.
    """

    name: str = "forest"
    trees: int = 100
    leaf: int = 20
    features: int = 16
    sample: float = 0.3
    half_life: float = 120.0
    stretch: float = 10.0
    draws: int = 1000
    seed: int = 0
    jobs: int = 2
    learned: Learned | None = field(default=None, repr=False)

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Learn from all months whose next 14 are known at the origin. Raises BadInput if they are too few."""
        rows, paths, levels, age = _examples(panel.until(origin))
        if len(rows) < FEWEST_EXAMPLES:
            raise BadInput(
                f"the history of {panel.outcome} deaths up to {origin} holds {len(rows)} country-months with {NEEDED} "
                f"known months before and {LEADS} after them; a model needs {FEWEST_EXAMPLES}"
            )
        weights = 0.5 ** (age / self.half_life)
        columns = np.flatnonzero((~np.isnan(rows)).mean(axis=0) >= KNOWN)
        forest = RandomForestRegressor(
            n_estimators=self.trees,
            min_samples_leaf=self.leaf,
            max_features=min(self.features, columns.size),
            max_samples=self.sample,
            random_state=self.seed,
            n_jobs=self.jobs,
        )
        # scikit-learn's threads take each other's filters of warnings away: once all are gone, each task warns.
        with warnings.catch_warnings():
            forest.fit(rows[:, columns], np.log1p(paths), sample_weight=weights)
        with warnings.catch_warnings():
            leaves = forest.apply(rows[:, columns])
        forest.set_params(n_jobs=None)  # whoever forecasts may be about to fork
        nodes = int(leaves.max()) + 1
        mass = np.stack([np.bincount(column, weights, nodes).astype(np.float64) for column in leaves.T])
        kept = paths.any(axis=1)
        inside = leaves[kept].T
        learned = Learned(
            trees=forest,
            columns=columns,
            paths=paths[kept].astype(np.float32),
            levels=levels[kept],
            weights=weights[kept],
            members=np.argsort(inside, axis=1, kind="stable").astype(np.min_scalar_type(inside.shape[1])),
            starts=np.stack([np.searchsorted(np.sort(row), np.arange(nodes + 1)) for row in inside]).astype(np.int32),
            mass=mass,
        )
        return replace(self, learned=learned)

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        """Draw paths from least to most deadly in the first months. Raises ValueError before `fit`."""
        if self.learned is None:
            raise ValueError("a forest must be fitted before it forecasts")
        known = np.flatnonzero(forecastable(panel, origin))
        draws = np.full((len(panel.iso3), LEADS, self.draws), np.nan, dtype=np.float32)
        if len(known):
            leaves = self.learned.leaves(panel.at(origin)[known][:, self.learned.columns])
            levels = level(panel.history(origin, NEEDED)[known])[:, -1]
            for place, leaf, own in zip(known, leaves, levels, strict=True):
                draws[place] = self._paths(self.learned, leaf, own)
        return Forecast(origin, panel.iso3, panel.outcome, draws)

    def _paths(self, learned: Learned, leaf: NDArray[np.intp], own: float) -> NDArray[np.float32]:
        tree = np.arange(len(leaf))
        alike = [learned.members[t, learned.starts[t, at] : learned.starts[t, at + 1]] for t, at in enumerate(leaf)]
        share = np.repeat(1.0 / learned.mass[tree, leaf] / len(leaf), [len(paths) for paths in alike])
        weights = np.bincount(np.concatenate(alike), share, len(learned.paths)) * learned.weights
        seen = np.flatnonzero(weights)
        paths = scaled(learned.paths[seen], learned.levels[seen], own, self.stretch)
        quiet = max(1.0 - weights.sum(), 0.0)
        with_none = np.concatenate([np.zeros((1, LEADS)), paths])
        return drawn(with_none, np.concatenate([[quiet], weights[seen]]), self.draws)

    @property
    def reads(self) -> frozenset[int]:
        """The indicators it was fitted on."""
        return frozenset() if self.learned is None else frozenset(self.learned.columns.tolist())

    def votes(self, supposed: Supposed) -> NDArray[np.float32]:
        """What each tree holds likely, without drawing paths from it. Raises ValueError before `fit`."""
        if self.learned is None:
            raise ValueError("a forest must be fitted before it forecasts")
        learned, trees = self.learned, self.trees
        leaves = learned.leaves(supposed.values[:, learned.columns])
        levels = level(supposed.histories[:, -NEEDED:])[:, -1]
        votes = np.empty((trees, len(leaves), supposed.thresholds.shape[1]), dtype=np.float32)
        every, met = np.arange(trees), np.empty(learned.mass.shape, dtype=np.intp)
        for place in np.unique(supposed.history):
            cases = np.flatnonzero(supposed.history == place)
            paths = scaled(learned.paths[:, : supposed.leads], learned.levels, levels[place], self.stretch)
            chances = reached(paths.sum(axis=1), supposed.thresholds[place]) * learned.weights[:, None]
            seen = np.zeros(met.shape, dtype=bool)
            seen[every, leaves[cases]] = True
            tree, leaf = np.nonzero(seen)
            met[tree, leaf] = np.arange(tree.size)
            start, size = learned.starts[tree, leaf], learned.starts[tree, leaf + 1] - learned.starts[tree, leaf]
            first = np.cumsum(size) - size
            inside = np.repeat(start - first, size) + np.arange(size.sum())
            of_leaf = chances[learned.members[np.repeat(tree, size), inside]]
            summed = np.zeros((tree.size, of_leaf.shape[1]))
            summed[size > 0] = np.add.reduceat(of_leaf, first[size > 0], axis=0)
            summed /= learned.mass[tree, leaf][:, None]
            votes[:, cases] = summed[met[every, leaves[cases]].T]
        return votes


def _examples(panel: Panel) -> tuple[NDArray[Any], ...]:
    """Indicators, paths of the next months, level and age [months] of every country-month that has them."""
    end = panel.deaths.shape[1]
    paths = followed(panel.deaths)
    month = np.arange(paths.shape[1])
    levels = level(panel.deaths)[:, month]
    known = ~(np.isnan(paths).any(axis=-1) | np.isnan(levels))
    age = np.broadcast_to(end - 1.0 - month, known.shape)
    return panel.values[:, month][known], paths[known], levels[known], age[known]
