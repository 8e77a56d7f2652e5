"""Neighbour effects: how much of a country's risk score the model associates with violence in other countries.

They compare the forecast with one in which a neighbour had no violence. Only what the model reads is changed, so every
figure is an association that the model has learned, not a cause.
"""

from dataclasses import dataclass, replace

import numpy as np

from riskmodel.assessment import Assessment
from riskmodel.explanation.drivers import FAMILY_OF, HISTORY_MONTHS, TARGETS, Points, ScenarioModel
from riskmodel.forecasting.component import Explainable, forecastable
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel, assemble
from riskmodel.months import Month

NEIGHBOUR_MONTHS = max(indicator.window for family in FAMILIES if family.abroad for indicator in family.indicators)
"""Indicators of neighbours read this many months [months]."""
CAVEAT = {
    "en": "An association that the model has learned, not a cause.",
    "fr": "Une association apprise par le modèle, et non une cause.",
}
ALL_MONTHS = -1
"""The index before the first month: a change after it changes every month."""


@dataclass(frozen=True)
class NeighbourEffects:
    """Points of each member's risk score that the model associates with a neighbour's violence.

    `pairs` is of shape (from, to): by how many points the score of `to` would be lower if `from` had no violence in any
    month that indicators read. It is NaN where the two share no land border. `together`, of shape (to,), is the same
    with no violence in any neighbour of the region. `score` is the score as it is. All are NaN for a member that cannot
    be forecast.
    """

    members: tuple[str, ...]
    pairs: Points
    together: Points
    score: Points


def compute(model: Explainable, assessment: Assessment) -> NeighbourEffects:
    """Return the effect of each neighbour, and of all neighbours together, on each member's risk score.

    A country's own history stays as it is: only indicators that read other countries are recomputed.
    """
    recomputed = [i for i in sorted(model.used_indicators) if FAMILIES[FAMILY_OF[i]].abroad]
    inputs = assessment.inputs.last(NEIGHBOUR_MONTHS)
    rows = [inputs.iso3.index(member) for member in assessment.members]
    borders = inputs.neighbours[np.ix_(rows, rows)]
    scores = RegionScores(model, assessment.panel, assessment.origin)
    score = scores.risk_scores(assessment.panel)

    def reduction(peaceful: list[int]) -> Points:
        """The points by which each score would be lower if some members had no violence, shape (member,)."""
        scenario = inputs
        for member in peaceful:
            scenario = scenario.with_deaths_multiplied(rows[member], ALL_MONTHS, 0.0)
        return score - scores.risk_scores(_recomputed_panel(assessment, recomputed, scenario))

    pairs = np.stack([reduction([source]) for source in range(len(rows))])
    together = np.full(len(rows), np.nan)
    for target in np.flatnonzero(borders.any(axis=1)):
        together[target] = reduction(np.flatnonzero(borders[target]).tolist())[target]
    return NeighbourEffects(assessment.members, np.where(borders, pairs, np.nan), together, score)


def _recomputed_panel(assessment: Assessment, recomputed: list[int], inputs: Inputs) -> Panel:
    """The members' panel, with some indicators of the origin recomputed from other inputs."""
    expected = assessment.expected.since(inputs.months[0])
    indicators = [INDICATORS[i] for i in recomputed]
    panel = assemble(expected, assessment.outcome, inputs, indicators=indicators).only(assessment.members)
    values = assessment.panel.values.copy()
    values[:, -1, recomputed] = panel.values[:, -1]
    return replace(assessment.panel, values=values)


class RegionScores:
    """The targets of the members of a region at an origin, with their own deaths as in a panel.

    Their indicators may be those of another panel. What depends on the own deaths alone is computed once.
    """

    def __init__(self, model: Explainable, panel: Panel, origin: Month) -> None:
        self._origin, self._known = origin, np.flatnonzero(forecastable(panel, origin))
        self._scenario_model = ScenarioModel(model, panel.history(origin, HISTORY_MONTHS)[self._known])

    def ensemble_targets(self, panel: Panel) -> Points:
        """Return the targets of the members by ensemble member of the model, with the indicators of a panel.

        Shape (ensemble member, member, target) [points]; NaN for a member that cannot be forecast.
        """
        values = panel.at(self._origin)[self._known]
        known_targets = self._scenario_model.ensemble_targets(values, np.arange(len(self._known)))
        targets = np.full((len(known_targets), len(panel.iso3), len(TARGETS)), np.nan)
        targets[:, self._known] = known_targets
        return targets

    def risk_scores(self, panel: Panel) -> Points:
        """Return the members' risk scores, shape (member,)."""
        return np.asarray(self.ensemble_targets(panel)[..., TARGETS.index("risk_score")].mean(axis=0))
