"""Drivers: how much each family of indicators adds to a score, compared with a background.

Contributions are Shapley values (Shapley 1953, doi:10.1515/9781400881970-018) of a game among families. A coalition's
families have the country's present indicators, and all others those of the background. Its worth is the model's output,
averaged over the background. This is the interventional form of Lundberg & Lee (2017), doi:10.48550/arXiv.1705.07874.

What the model reads directly from a country's own deaths belongs to the family `intensity`. Families are exact. The
indicators within a family are sampled, in orders that keep each family together (Owen 1977,
doi:10.1007/978-3-642-45494-3_7). Contributions show what the model associates with a score, not what caused it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel.assessment import EARLIER_ORIGINS, Assessment
from riskmodel.forecasting.component import Explainable, Scenarios, forecastable
from riskmodel.indicators.families import intensity
from riskmodel.indicators.panel import FAMILIES
from riskmodel.targets import HORIZON, RUNGS, escalation_threshold

BACKGROUNDS = ("own_year", "region")
TARGETS = ("risk_score", "escalation_from_draws")
FAMILY_OF = np.repeat(np.arange(len(FAMILIES)), [len(family.indicators) for family in FAMILIES])
"""The index of each indicator's family."""
INTENSITY = FAMILIES.index(intensity.FAMILY)
"""The index of the family that a country's own deaths belong to, where a model reads them directly."""
OWN_DEATHS = -1
"""Replaces the index of an indicator, for a country's own deaths."""
HISTORY_MONTHS = 84
"""A model gets this many months of a country's own deaths; no component reads more [months]."""
MAX_STANDARD_ERROR = 0.1
"""Contributions of indicators are sampled until their standard error is this small [points]."""
MIN_SAMPLES, MAX_SAMPLES = 24, 192
"""Bounds on the number of samples of an indicator's contribution."""
MIN_FAMILY_CONTRIBUTION = 0.5
"""The indicators of a family are sampled if the family contributes at least this much [points]."""

Points = NDArray[np.float64]


class Contribution(NamedTuple):
    """What an indicator adds and its standard error [points]; `indicator` is its index, or `OWN_DEATHS`."""

    indicator: int
    points: float
    standard_error: float


@dataclass(frozen=True)
class DriverSplit:
    """The score of one country compared with one background, in points of the target (probabilities in per cent).

    `families` has one contribution for each of `FAMILIES`; they sum to `value` - `average`. `indicators` has the
    contributions of indicators by the index of their family, for families that contribute enough.
    """

    value: float
    average: float
    families: tuple[float, ...]
    indicators: dict[int, list[Contribution]]


@dataclass(frozen=True)
class Cases:
    """Months to compare: `values`, float32 of shape (case, indicator), and the row of each one's history."""

    values: NDArray[np.float32]
    history: NDArray[np.intp]

    def repeated(self, times: int) -> "Cases":
        """Return all cases, repeated."""
        return Cases(np.tile(self.values, (times, 1)), np.tile(self.history, times))


class ScenarioModel:
    """A model that returns the targets of hypothetical months.

    `histories` are all own deaths that the months may have, shape (history, month) [deaths].
    """

    def __init__(self, model: Explainable, histories: Points) -> None:
        self.model, self.histories = model, histories
        rungs = np.tile(np.array(RUNGS, dtype=np.float64), (len(histories), 1))
        # escalation has one threshold; repeating it gives both targets the same shape and the same mean
        escalation = np.broadcast_to(escalation_threshold(histories)[:, None], rungs.shape)
        self.thresholds = np.stack([rungs, escalation], axis=1)
        self._memo: dict[tuple[int, int], NDArray[Any]] = {}

    def ensemble_targets(self, values: NDArray[np.float32], history: NDArray[np.intp]) -> Points:
        """Return the targets by ensemble member, shape (ensemble member, case, target) [points]."""
        scenarios = Scenarios(values, history, self.histories, self.thresholds, HORIZON, self._memo)
        return 100.0 * self.model.ensemble_probabilities(scenarios).astype(np.float64)

    def targets(self, values: NDArray[np.float32], history: NDArray[np.intp]) -> Points:
        """Return the targets as the mean over the ensemble, shape (case, target) [points]."""
        return np.asarray(self.ensemble_targets(values, history).mean(axis=0, dtype=np.float64))


def compute(
    model: Explainable, assessment: Assessment, wanted: Callable[[str, str], bool] = lambda iso3, background: True
) -> dict[str, dict[str, dict[str, DriverSplit]] | None]:
    """Return the drivers of each member's score by background and target; None for a member without a forecast.

    `wanted` says of a member and a background whether to compute it. By default all are computed.

    The background `own_year` is the country's previous 12 origins with today's data; it has fewer origins, or is
    absent, where the history before the origin is too short. The background `region` is the present months of all
    members.
    """
    panel, end = assessment.panel, len(assessment.panel.months)
    known = np.flatnonzero(forecastable(panel, assessment.origin))
    origins = panel.months[max(end - 1 - EARLIER_ORIGINS, 0) :]
    usable = np.stack([forecastable(panel, origin) for origin in origins], axis=1)
    country, origin = np.nonzero(usable)
    histories = np.stack([panel.history(month, HISTORY_MONTHS) for month in origins], axis=1)
    row = np.full(usable.shape, -1)
    row[country, origin] = np.arange(country.size)
    scenario_model, values = ScenarioModel(model, histories[country, origin]), panel.values[:, -len(origins) :]
    region = Cases(values[known, -1], row[known, -1])
    drivers: dict[str, dict[str, dict[str, DriverSplit]] | None] = dict.fromkeys(panel.iso3)
    for member in known:
        earlier = np.flatnonzero(usable[member, :-1])
        backgrounds = {"own_year": Cases(values[member, earlier], row[member, earlier]), "region": region}
        now = Cases(values[member, -1:], row[member, -1:])
        drivers[panel.iso3[member]] = {
            name: _splits(scenario_model, now, background, panel.iso3[member])
            for name, background in backgrounds.items()
            if len(background.history) and wanted(panel.iso3[member], name)
        }
    return drivers


def families_read(model: Explainable) -> list[int]:
    """Return the indices of the families that a model reads; each country's own deaths are of `INTENSITY`."""
    return sorted({INTENSITY, *FAMILY_OF[list(model.used_indicators)].tolist()})


def _splits(model: ScenarioModel, now: Cases, background: Cases, iso3: str) -> dict[str, DriverSplit]:
    """One country compared with one background, by target."""
    players = families_read(model.model)
    worth = _coalition_worth(model, now, background, players)
    families = np.zeros((len(FAMILIES), len(TARGETS)))
    families[players] = _family_contributions(worth, players)
    rng = np.random.default_rng(list(iso3.encode()))  # by country: the same samples whichever others are assessed
    indicators = {
        family: _indicator_contributions(model, now, background, family, rng)
        for family in np.flatnonzero((np.abs(families) >= MIN_FAMILY_CONTRIBUTION).any(axis=1)).tolist()
    }
    if INTENSITY in indicators:
        own_deaths = _own_deaths_contribution(worth, players)
        indicators[INTENSITY].append((OWN_DEATHS, own_deaths, np.zeros(len(TARGETS))))
    return {
        target: DriverSplit(
            value=float(worth[-1, t]),
            average=float(worth[0, t]),
            families=tuple(families[:, t].tolist()),
            indicators={
                family: [Contribution(index, float(points[t]), float(error[t])) for index, points, error in rows]
                for family, rows in indicators.items()
            },
        )
        for t, target in enumerate(TARGETS)
    }


def _coalition_worth(model: ScenarioModel, now: Cases, background: Cases, players: Sequence[int]) -> Points:
    """The worth of each coalition, shape (coalition, target) [points].

    Bit b of a coalition's number stands for the indicators of player b, the highest bit for a country's own deaths.
    """
    coalitions, cases = 2 << len(players), len(background.history)
    member = (np.arange(coalitions)[:, None] >> np.arange(len(players) + 1) & 1).astype(bool)
    present = np.zeros((coalitions, len(FAMILIES)), dtype=bool)
    present[:, list(players)] = member[:, :-1]
    values = np.where(present[:, None, FAMILY_OF], now.values, background.values)
    history = np.where(member[:, -1:], now.history, background.history)
    targets = model.targets(values.reshape(coalitions * cases, -1), history.ravel())
    return np.asarray(targets.reshape(coalitions, cases, -1).mean(axis=1))


def _family_contributions(worth: Points, players: Sequence[int]) -> Points:
    """Each player's Shapley value, shape (player, target): own deaths join a coalition together with `INTENSITY`."""
    coalitions = np.arange(1 << len(players))
    with_intensity = coalitions >> players.index(INTENSITY) & 1
    worth_of_families = worth[coalitions | with_intensity << len(players)]
    contributions = []
    for bit in range(len(players)):
        without = coalitions[coalitions >> bit & 1 == 0]
        added = worth_of_families[without | 1 << bit] - worth_of_families[without]
        contributions.append(_shapley_weights(without, len(players)) @ added)
    return np.stack(contributions)


def _own_deaths_contribution(worth: Points, players: Sequence[int]) -> Points:
    """What own deaths add, shape (target,): before the family's indicators in half of the orders, else after them."""
    coalitions, own, family = np.arange(1 << len(players)), 1 << len(players), 1 << players.index(INTENSITY)
    without = coalitions[coalitions & family == 0]
    before, after = (worth[coalition | own] - worth[coalition] for coalition in (without, without | family))
    return np.asarray(_shapley_weights(without, len(players)) @ (before + after) / 2)


def _shapley_weights(without: NDArray[np.intp], players: int) -> Points:
    """The weights of the coalitions without a player, in the mean over all orders of the players."""
    weights = [factorial(size) * factorial(players - 1 - size) / factorial(players) for size in range(players)]
    return np.array([weights[int(coalition).bit_count()] for coalition in without])


def _indicator_contributions(
    model: ScenarioModel, now: Cases, background: Cases, family: int, rng: np.random.Generator
) -> list[tuple[int, Points, Points]]:
    """The indices of a family's indicators with contributions and standard errors, each of shape (target,).

    The number of samples doubles until the standard error is small enough. Every case has the same number of them.
    """
    indicators = sorted(i for i in model.model.used_indicators if FAMILY_OF[i] == family)
    cases = len(background.history)
    samples = np.empty((0, cases, len(indicators), len(TARGETS)))
    error = np.full((len(indicators), len(TARGETS)), np.inf)
    rounds = max(-(-MIN_SAMPLES // cases), 2)  # at least 2: one sample of a case has no variance
    while not len(samples) or (error.max(initial=0.0) > MAX_STANDARD_ERROR and len(samples) * cases < MAX_SAMPLES):
        more = _random_order_contributions(model, now, background.repeated(rounds), family, indicators, rng)
        samples = np.concatenate([samples, more.reshape(rounds, cases, len(indicators), len(TARGETS))])
        error = np.sqrt(samples.var(axis=0, ddof=1).mean(axis=0) / (cases * len(samples)))
        rounds = len(samples)
    return list(zip(indicators, samples.mean(axis=(0, 1)), error, strict=True))


def _random_order_contributions(
    model: ScenarioModel,
    now: Cases,
    background: Cases,
    family: int,
    indicators: list[int],
    rng: np.random.Generator,
) -> Points:
    """What each indicator adds in one random order for each case, shape (case, indicator, target) [points]."""
    cases = len(background.history)
    other_families = np.delete(np.arange(len(FAMILIES)), family)
    values = np.repeat(background.values[:, None], len(indicators) + 1, axis=1)
    history = np.repeat(background.history[:, None], len(indicators) + 1, axis=1)
    orders = np.stack([rng.permutation(len(indicators)) for _ in range(cases)])
    for case, order in enumerate(orders):
        before = rng.permutation(other_families)[: rng.integers(len(FAMILIES))]
        family_present = np.zeros(len(FAMILIES), dtype=bool)
        family_present[before] = True
        present = family_present[FAMILY_OF]
        values[case][:, present] = now.values[0, present]
        if family_present[INTENSITY] or (family == INTENSITY and rng.random() < 0.5):
            history[case] = now.history[0]
        for step, indicator in enumerate(order, start=1):
            values[case, step:, indicators[indicator]] = now.values[0, indicators[indicator]]
    targets = model.targets(values.reshape(history.size, -1), history.ravel())
    added = np.diff(targets.reshape(cases, len(indicators) + 1, -1), axis=1)
    return np.asarray(np.take_along_axis(added, np.argsort(orders, axis=1)[..., None], axis=1))
