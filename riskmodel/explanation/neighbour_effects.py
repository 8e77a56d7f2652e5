"""What a country's violence goes with elsewhere: the model asked what it would say had one country's past been another.

Only what the model reads is changed, so every figure is an association that it has learned, and not a cause.
"""

from dataclasses import dataclass, replace

import numpy as np

from riskmodel.assessment import Assessment
from riskmodel.explanation.drivers import FAMILY_OF, MEMORY, TARGETS, Points, Questioned
from riskmodel.forecasting.component import Explainable, forecastable
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel, assemble

SPAN = max(indicator.window for family in FAMILIES if family.abroad for indicator in family.indicators)
"""How far back a neighbour's violence is read [months]."""
CAVEAT = {
    "en": "An association that the model has learned, not a cause.",
    "fr": "Une association apprise par le modèle, et non une cause.",
}
REPLICATES = 1000
"""How often the model's ensemble is resampled for an interval."""
EVER = -1
"""The place before the first month: what is supposed after it is supposed of all months."""


@dataclass(frozen=True)
class NeighbourEffects:
    """How many points of each member's risk score go with a neighbour's violence; NaN where there is none to tell of.

    `pairs` is of shape (from, to): how much lower the score of `to` would be had `from` had no deaths in all the months
    that indicators read; NaN where the two share no land border. `together`, of shape (to,), is the same with all its
    neighbours in the region at peace at once; `score` is the score as it is.
    """

    members: tuple[str, ...]
    pairs: Points
    together: Points
    score: Points


@dataclass(frozen=True)
class Supposition:
    """What the model would say of each member had a country's deaths of the last months been other.

    All are of shape (member, target) [points], NaN for a member that cannot be forecast. `before` is what it says,
    `after` what it would say; `low` and `high` are the 90 % interval of the difference, from its ensemble resampled.
    """

    members: tuple[str, ...]
    before: Points
    after: Points
    low: Points
    high: Points


def compute(model: Explainable, seen: Assessment) -> NeighbourEffects:
    """How a neighbour's peace would move each member's score, neighbour by neighbour and all at once.

    A country's own past stays as it was: only indicators of families that read what happens abroad are computed anew.
    """
    read = [i for i in sorted(model.reads) if FAMILIES[FAMILY_OF[i]].abroad]
    inputs = seen.inputs.last(SPAN)
    rows = [inputs.iso3.index(member) for member in seen.members]
    borders = inputs.neighbours[np.ix_(rows, rows)]
    score = _risk_scores(model, seen, seen.panel)

    def lower(at_peace: list[int]) -> Points:
        """How much lower each score would be with some members at peace, shape (member,)."""
        supposed = inputs
        for member in at_peace:
            supposed = supposed.supposing(rows[member], EVER, 0.0)
        return score - _risk_scores(model, seen, _with(seen, read, supposed))

    pairs = np.stack([lower([source]) for source in range(len(rows))])
    together = np.full(len(rows), np.nan)
    for target in np.flatnonzero(borders.any(axis=1)):
        together[target] = lower(np.flatnonzero(borders[target]).tolist())[target]
    return NeighbourEffects(seen.members, np.where(borders, pairs, np.nan), together, score)


def _with(seen: Assessment, read: list[int], inputs: Inputs) -> Panel:
    """The members' panel, with some indicators of the origin computed anew from other inputs."""
    expected = seen.expected.since(inputs.months[0])
    anew = assemble(expected, seen.outcome, inputs, indicators=[INDICATORS[i] for i in read]).only(seen.members)
    values = seen.panel.values.copy()
    values[:, -1, read] = anew.values[:, -1]
    return replace(seen.panel, values=values)


def suppose(
    model: Explainable, seen: Assessment, iso3: str, factor: float, months: int, rng: np.random.Generator
) -> Supposition:
    """Multiply a country's deaths of the last `months` by `factor`, those of its events included, and ask again.

    Raises ValueError for a country that the assessment does not hold.
    """
    after = len(seen.inputs.months) - 1 - months
    row = seen.inputs.iso3.index(iso3)
    inputs = seen.inputs.supposing(row, after, factor)
    deaths = seen.expected.deaths[seen.outcome].copy()
    deaths[row, after + 1 :] = np.rint(deaths[row, after + 1 :] * factor)
    expected = seen.expected.with_deaths(seen.outcome, deaths)
    panel = assemble(expected, seen.outcome, inputs).only(seen.members)
    now, then = (_votes(model, seen, of) for of in (seen.panel, panel))
    voters = rng.integers(len(now), size=(REPLICATES, len(now)))
    moved = np.stack([(then - now)[chosen].mean(axis=0) for chosen in voters])
    low, high = np.quantile(moved, (0.05, 0.95), axis=0)
    return Supposition(seen.members, now.mean(axis=0), then.mean(axis=0), low, high)


def _votes(model: Explainable, seen: Assessment, panel: Panel) -> Points:
    """The targets of the members as each voter has them, shape (voter, member, target) [points]; NaN where unknown."""
    known = np.flatnonzero(forecastable(panel, seen.origin))
    asked = Questioned(model, panel.history(seen.origin, MEMORY)[known])
    votes = asked.votes(panel.at(seen.origin)[known], np.arange(len(known)))
    told = np.full((len(votes), len(panel.iso3), len(TARGETS)), np.nan)
    told[:, known] = votes
    return told


def _risk_scores(model: Explainable, seen: Assessment, panel: Panel) -> Points:
    """The members' risk scores, shape (member,)."""
    return np.asarray(_votes(model, seen, panel)[..., TARGETS.index("risk_score")].mean(axis=0))
