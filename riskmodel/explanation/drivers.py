"""What drives a score: how much each family of indicators adds to it, against what is usual.

Contributions are Shapley values (Shapley 1953, doi:10.1515/9781400881970-018; interventional, as in Lundberg & Lee
2017, doi:10.48550/arXiv.1705.07874) of a game among families: a coalition's worth is the model's answer for the
country's indicators of today where the family is in it, and those of the background elsewhere, averaged over the
background. What the model reads straight from a country's own deaths belongs to `intensity`. Families are exact; the
indicators within one are sampled, in Owen's order (1977, doi:10.1007/978-3-642-45494-3_7), family by family. They tell
what the model associates with a score, never what caused it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel.assessment import EARLIER, Assessment
from riskmodel.forecasting.component import Explainable, Supposed, forecastable
from riskmodel.indicators import intensity
from riskmodel.indicators.panel import FAMILIES
from riskmodel.targets import HORIZON, RUNGS, escalation_threshold

BACKGROUNDS = ("own_year", "region")
TARGETS = ("risk_score", "escalation_from_draws")
FAMILY_OF = np.repeat(np.arange(len(FAMILIES)), [len(family.indicators) for family in FAMILIES])
"""The place of each indicator's family."""
INTENSITY = FAMILIES.index(intensity.FAMILY)
"""The family that a country's own deaths belong to, where a model reads them as such."""
OWN_DEATHS = -1
"""Stands where the place of an indicator stands, for a country's own deaths."""
MEMORY = 84
"""How many months of its own deaths a model is shown of a country; no component reads more [months]."""
PRECISION = 0.1
"""The standard error up to which contributions of indicators are sampled [points]."""
FEWEST, MOST = 24, 192
"""How many samples there are of an indicator's contribution."""
NOTEWORTHY = 0.5
"""A family is looked into from this contribution on [points]."""

Points = NDArray[np.float64]


class Contribution(NamedTuple):
    """What an indicator adds, by its place (`OWN_DEATHS` for those), with the standard error of it [points]."""

    indicator: int
    points: float
    error: float


@dataclass(frozen=True)
class Split:
    """One country against one background, in points of the target (its probability in per cent).

    `families` has one contribution for each of `FAMILIES`; they sum to `value` - `average`. `indicators` are those of
    the families that were looked into, by the place of the family. `read` are the families that the model reads.
    """

    value: float
    average: float
    families: tuple[float, ...]
    indicators: dict[int, list[Contribution]]
    read: frozenset[int]


@dataclass(frozen=True)
class Cases:
    """Months that are compared: `values`, float32 of shape (case, indicator), and each one's place in the histories."""

    values: NDArray[np.float32]
    history: NDArray[np.intp]

    def repeated(self, times: int) -> "Cases":
        """All of them so many times."""
        return Cases(np.tile(self.values, (times, 1)), np.tile(self.history, times))


class Questioned:
    """A model to be asked about months that might have been.

    `histories` are all own deaths that may be supposed, shape (history, month) [deaths].
    """

    def __init__(self, model: Explainable, histories: Points) -> None:
        self.model, self.histories = model, histories
        escalated = escalation_threshold(histories)
        rungs = np.tile(np.array(RUNGS, dtype=np.float64), (len(histories), 1))
        self.thresholds = np.stack([rungs, np.broadcast_to(escalated[:, None], rungs.shape)], axis=1)

    def votes(self, values: NDArray[np.float32], history: NDArray[np.intp]) -> Points:
        """The targets as each voter of the model has them, shape (voter, case, target) [points]."""
        votes = self.model.votes(Supposed(values, history, self.histories, self.thresholds, HORIZON))
        return 100.0 * votes.astype(np.float64)

    def answers(self, values: NDArray[np.float32], history: NDArray[np.intp]) -> Points:
        """The same as the model has it, shape (case, target)."""
        return np.asarray(self.votes(values, history).mean(axis=0, dtype=np.float64))


def drivers(model: Explainable, seen: Assessment) -> dict[str, dict[str, dict[str, Split]] | None]:
    """What drives each member's score: by background and target; None for a member that cannot be forecast.

    The background `own_year` is the country's previous 12 origins with the data of today; without a full one before the
    origin it is those there are. `region` is the present rows of all members.
    """
    panel, end = seen.panel, len(seen.panel.months)
    known = np.flatnonzero(forecastable(panel, seen.origin))
    origins = panel.months[max(end - 1 - EARLIER, 0) :]
    usable = np.stack([forecastable(panel, origin) for origin in origins], axis=1)
    row, column = np.nonzero(usable)
    past = np.stack([panel.history(origin, MEMORY) for origin in origins], axis=1)
    place = np.full(usable.shape, -1)
    place[row, column] = np.arange(row.size)
    asked, values = Questioned(model, past[row, column]), panel.values[:, -len(origins) :]
    today = Cases(values[known, -1], place[known, -1])
    found: dict[str, dict[str, dict[str, Split]] | None] = dict.fromkeys(panel.iso3)
    for country in known:
        earlier = np.flatnonzero(usable[country, :-1])
        backgrounds = {"own_year": Cases(values[country, earlier], place[country, earlier]), "region": today}
        now = Cases(values[country, -1:], place[country, -1:])
        found[panel.iso3[country]] = {
            name: _splits(asked, now, background, panel.iso3[country])
            for name, background in backgrounds.items()
            if len(background.history)
        }
    return found


def _splits(asked: Questioned, now: Cases, background: Cases, iso3: str) -> dict[str, Split]:
    """One country against one background, by target."""
    players = sorted({INTENSITY, *FAMILY_OF[list(asked.model.reads)].tolist()})
    worth = _worth(asked, now, background, players)
    families = np.zeros((len(FAMILIES), len(TARGETS)))
    families[players] = _of_families(worth, players)
    rng = np.random.default_rng(list(iso3.encode()))
    inside = {
        family: _of_indicators(asked, now, background, family, rng)
        for family in np.flatnonzero((np.abs(families) >= NOTEWORTHY).any(axis=1)).tolist()
    }
    if INTENSITY in inside:
        inside[INTENSITY].append((OWN_DEATHS, _of_own_deaths(worth, players), np.zeros(len(TARGETS))))
    return {
        target: Split(
            value=float(worth[-1, t]),
            average=float(worth[0, t]),
            families=tuple(families[:, t].tolist()),
            indicators={
                family: [Contribution(place, float(points[t]), float(error[t])) for place, points, error in rows]
                for family, rows in inside.items()
            },
            read=frozenset(players),
        )
        for t, target in enumerate(TARGETS)
    }


def _worth(asked: Questioned, now: Cases, background: Cases, players: Sequence[int]) -> Points:
    """What each coalition is worth, shape (coalition, target).

    Bit b of a coalition's number stands for the indicators of player b, the highest bit for a country's own deaths.
    """
    coalitions, cases = 2 << len(players), len(background.history)
    member = (np.arange(coalitions)[:, None] >> np.arange(len(players) + 1) & 1).astype(bool)
    inside = np.zeros((coalitions, len(FAMILIES)), dtype=bool)
    inside[:, list(players)] = member[:, :-1]
    values = np.where(inside[:, None, FAMILY_OF], now.values, background.values)
    history = np.where(member[:, -1:], now.history, background.history)
    answers = asked.answers(values.reshape(coalitions * cases, -1), history.ravel())
    return np.asarray(answers.reshape(coalitions, cases, -1).mean(axis=1))


def _of_families(worth: Points, players: Sequence[int]) -> Points:
    """Each player's Shapley value, shape (player, target): own deaths come and go with `INTENSITY`."""
    coalitions = np.arange(1 << len(players))
    intensive = coalitions >> players.index(INTENSITY) & 1
    together = worth[coalitions | intensive << len(players)]
    parts = []
    for bit in range(len(players)):
        without = coalitions[coalitions >> bit & 1 == 0]
        parts.append(_weights(without, len(players)) @ (together[without | 1 << bit] - together[without]))
    return np.stack(parts)


def _of_own_deaths(worth: Points, players: Sequence[int]) -> Points:
    """What own deaths add, shape (target,): before the family's indicators in half of the orders, else after them."""
    coalitions, own, family = np.arange(1 << len(players)), 1 << len(players), 1 << players.index(INTENSITY)
    without = coalitions[coalitions & family == 0]
    before, after = (worth[there | own] - worth[there] for there in (without, without | family))
    return np.asarray(_weights(without, len(players)) @ (before + after) / 2)


def _weights(without: NDArray[np.intp], players: int) -> Points:
    """The weights of coalitions without a player in the mean over all orders."""
    weights = [factorial(size) * factorial(players - 1 - size) / factorial(players) for size in range(players)]
    return np.array([weights[int(coalition).bit_count()] for coalition in without])


def _of_indicators(
    asked: Questioned, now: Cases, background: Cases, family: int, rng: np.random.Generator
) -> list[tuple[int, Points, Points]]:
    """A family's indicators with their contributions and standard errors, from random orders, alike for each case."""
    own = sorted(i for i in asked.model.reads if FAMILY_OF[i] == family)
    cases = len(background.history)
    samples = np.empty((0, cases, len(own), len(TARGETS)))
    error = np.full((len(own), len(TARGETS)), np.inf)
    rounds = max(-(-FEWEST // cases), 2)
    while not len(samples) or (error.max(initial=0.0) > PRECISION and len(samples) * cases < MOST):
        some = _in_random_orders(asked, now, background.repeated(rounds), family, own, rng)
        samples = np.concatenate([samples, some.reshape(rounds, cases, len(own), len(TARGETS))])
        error = np.sqrt(samples.var(axis=0, ddof=1).mean(axis=0) / (cases * len(samples)))
        rounds = len(samples)
    return list(zip(own, samples.mean(axis=(0, 1)), error, strict=True))


def _in_random_orders(
    asked: Questioned, now: Cases, background: Cases, family: int, own: list[int], rng: np.random.Generator
) -> Points:
    """What each indicator adds in one random order for each case, shape (case, indicator, target)."""
    cases = len(background.history)
    others = np.delete(np.arange(len(FAMILIES)), family)
    values = np.repeat(background.values[:, None], len(own) + 1, axis=1)
    history = np.repeat(background.history[:, None], len(own) + 1, axis=1)
    orders = np.stack([rng.permutation(len(own)) for _ in range(cases)])
    for case, order in enumerate(orders):
        before = rng.permutation(others)[: rng.integers(len(FAMILIES))]
        there = np.isin(FAMILY_OF, before)
        values[case][:, there] = now.values[0, there]
        if INTENSITY in before or (family == INTENSITY and rng.random() < 0.5):
            history[case] = now.history[0]
        for step, indicator in enumerate(order, start=1):
            values[case, step:, own[indicator]] = now.values[0, own[indicator]]
    answers = asked.answers(values.reshape(history.size, -1), history.ravel())
    added = np.diff(answers.reshape(cases, len(own) + 1, -1), axis=1)
    return np.asarray(np.take_along_axis(added, np.argsort(orders, axis=1)[..., None], axis=1))
