"""What a country's violence goes with elsewhere: the model asked what it would say had one country's past been another.

Only what the model reads is changed, so every figure is an association that it has learned, and not a cause.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.explanation.drivers import MEMORY, Court
from riskmodel.forecasting.component import Explainable, forecastable
from riskmodel.indicators import actors, spillover
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import INDICATORS, Panel, assemble

CAVEAT = {
    "en": "An association that the model has learned, not a cause.",
    "fr": "Une association apprise par le modèle, et non une cause.",
}
REPLICATES = 1000
OF_OTHERS = (spillover.NAME, actors.NAME)
"""The families that read what happens in other countries."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Domino:
    """How many points of each member's risk score go with a neighbour's violence; NaN where there is none to tell of.

    `pairs` is of shape (from, to): how much lower the score of `to` would be had `from` had no deaths in all the months
    that indicators read; NaN where the two share no land border. `together` is the same with all neighbours of the
    region at peace at once, `score` the score as it is; shape (to,).
    """

    members: tuple[str, ...]
    pairs: Points
    together: Points
    score: Points


@dataclass(frozen=True)
class Supposition:
    """What the model would say of each member had a country's deaths of the last months been other.

    Risk score and escalation [points] by member and target, `before` and `after`; `low` and `high` are the 90 %
    interval of the difference, from the model's ensemble resampled. NaN for a member that cannot be forecast.
    """

    members: tuple[str, ...]
    before: Points
    after: Points
    low: Points
    high: Points


def domino(model: Explainable, seen: Assessment) -> Domino:
    """The matrix of the region. The own past of a country that is looked at stays as it was."""
    read = [i for i in sorted(model.reads) if INDICATORS[i].family in OF_OTHERS]
    members, inputs = seen.members, seen.inputs.last(max((INDICATORS[i].window for i in read), default=1))
    rows = [inputs.iso3.index(member) for member in members]
    borders = inputs.neighbours[np.ix_(rows, rows)]
    now = _answers(model, seen, seen.panel)
    pairs, together = np.full(borders.shape, np.nan), np.full(len(members), np.nan)
    for source, row in enumerate(rows):
        pairs[source] = now - _answers(model, seen, _with(seen, read, inputs.supposing(row, -1, 0.0)))
    for target in np.flatnonzero(borders.any(axis=1)):
        at_peace = inputs
        for neighbour in np.flatnonzero(borders[target]):
            at_peace = at_peace.supposing(rows[neighbour], -1, 0.0)
        together[target] = (now - _answers(model, seen, _with(seen, read, at_peace)))[target]
    return Domino(members, np.where(borders, pairs, np.nan), together, now)


def _with(seen: Assessment, read: list[int], inputs: Inputs) -> Panel:
    """The members' panel of the origin, where some indicators are computed anew from other inputs."""
    expected = seen.expected.since(inputs.months[0])
    anew = assemble(expected, seen.outcome, inputs, indicators=[INDICATORS[i] for i in read]).only(seen.members)
    values = seen.panel.values.copy()
    values[:, -1, read] = anew.values[:, -1]
    return replace(seen.panel, values=values)


def suppose(
    model: Explainable, seen: Assessment, iso3: str, factor: float, months: int, rng: np.random.Generator
) -> Supposition:
    """Multiply a country's deaths of the last months, those of its events included, and ask again."""
    after = len(seen.inputs.months) - 1 - months
    inputs = seen.inputs.supposing(seen.inputs.iso3.index(iso3), after, factor)
    deaths = seen.expected.deaths[seen.outcome].copy()
    row = seen.expected.iso3.index(iso3)
    deaths[row, after + 1 :] = np.rint(deaths[row, after + 1 :] * factor)
    expected = seen.expected.saying(seen.outcome, deaths)
    panel = assemble(expected, seen.outcome, inputs).only(seen.members)
    before, later = (_votes(model, seen, of) for of in (seen.panel, panel))
    voters = rng.integers(len(before), size=(REPLICATES, len(before)))
    moved = np.stack([(later - before)[chosen].mean(axis=0) for chosen in voters])
    low, high = np.quantile(moved, (0.05, 0.95), axis=0)
    return Supposition(seen.members, before.mean(axis=0), later.mean(axis=0), low, high)


def _votes(model: Explainable, seen: Assessment, panel: Panel) -> Points:
    """Risk score and escalation [points] of the members, shape (voter, member, target)."""
    known = np.flatnonzero(forecastable(panel, seen.origin))
    court = Court(model, panel.history(seen.origin, MEMORY)[known])
    votes = court.votes(panel.at(seen.origin)[known], np.arange(len(known)))
    told = np.full((len(votes), len(panel.iso3), votes.shape[-1]), np.nan)
    told[:, known] = votes
    return told


def _answers(model: Explainable, seen: Assessment, panel: Panel) -> Points:
    """The members' risk scores, shape (member,)."""
    return np.asarray(_votes(model, seen, panel)[..., 0].mean(axis=0))
