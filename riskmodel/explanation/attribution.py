"""Attribution: the change of each country's scores between two assessments, split by cause so that the parts sum to it.

The part of a cause is its Shapley value: what it adds to the score, averaged over the orders in which the causes can
come. Time passes before anything becomes known, because a month is over before it can be reported. In other orders,
half of the events of a new month would count as time passing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from riskmodel.assessment import Assessment, assess
from riskmodel.country_scores import risk_score
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.explanation.view_diff import DATA_CAUSES, DataCause, ViewDifference
from riskmodel.forecasting.component import Explainable
from riskmodel.forecasting.escalation import Escalation
from riskmodel.months import Month

Cause: TypeAlias = DataCause | Literal["model"]
MODEL: Cause = "model"
CAUSES: tuple[Cause, ...] = (*DATA_CAUSES, MODEL)

CAUSE_MEANINGS: Mapping[Cause, Mapping[str, str]] = {
    "new_events": {
        "en": "events and months that were not known before",
        "fr": "événements et mois qui n’étaient pas encore connus",
    },
    "revised_events": {
        "en": "known events that a source has changed or withdrawn",
        "fr": "événements connus qu’une source a modifiés ou retirés",
    },
    "moving_window": {
        "en": "time passing, as if the new months had been quiet, and more known about how figures are revised",
        "fr": "le temps qui passe, comme si les nouveaux mois avaient été calmes, et une meilleure connaissance des "
        "révisions",
    },
    "new_source": {
        "en": "a source that was not used for the country before",
        "fr": "une source qui n’était pas encore utilisée pour le pays",
    },
    "model": {"en": "another trained model", "fr": "un autre modèle entraîné"},
}

PREDECESSORS: Mapping[str, Sequence[str]] = dict.fromkeys(
    ("new_events", "revised_events", "new_source"), ("moving_window",)
)
"""The causes that come before a cause in every order."""

ATTRIBUTED_SCORES = ("risk_score", "escalation_probability")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreInputs:
    """Everything that scores are computed from. Two of them have the same model only if it is the same object.

    `escalation` belongs to the model; by default the draws give the escalation probability.
    """

    view: View
    model: Explainable
    origin: Month
    members: tuple[str, ...]
    outcome: str
    escalation: Escalation = field(default_factory=Escalation)


@dataclass(frozen=True)
class ScoreChange:
    """One score before and after, and what each cause adds; NaN where the score is unknown.

    `causes` sum to `after - before`. All are NaN if the score is unknown before, after, or with only some of the
    causes.
    """

    before: float
    after: float
    causes: Mapping[Cause, float]


@dataclass(frozen=True)
class Attribution:
    """The changes by score of `ATTRIBUTED_SCORES` and country; `present` are the causes that apply."""

    present: tuple[Cause, ...]
    changes: Mapping[str, Mapping[str, ScoreChange]]


def attribute(before: ScoreInputs, after: ScoreInputs) -> Attribution:
    """Split the change of risk scores [0-100] and escalation probabilities [0-1] of a region by cause.

    The scores are computed for every set of causes that can occur: 2^k forecasts at most for k causes. An absent cause
    adds exactly 0. Raises BadInput if the countries, the outcomes, or real and simulated data differ.

    Shapley (1953), doi:10.1515/9781400881970-018; restricted orders: Faigle & Kern (1992), doi:10.1007/BF01258278.
    """
    _check_comparable(before, after)
    first, last = (assess(side.view, side.members, side.outcome, side.origin) for side in (before, after))
    difference = ViewDifference.between((before.view, first), (after.view, last))
    data_causes = difference.causes
    present: tuple[Cause, ...] = data_causes if before.model is after.model else (*data_causes, MODEL)
    assessments: dict[frozenset[str], Assessment] = {frozenset(): first, frozenset(data_causes): last}

    def scores(causes: frozenset[str]) -> Values:
        of_data = causes - {MODEL}
        if of_data not in assessments:
            assessments[of_data] = assess_with_causes(difference, before, after, of_data)
        return _scores(assessments[of_data], after if MODEL in causes else before)

    parts = shapley_values(scores, present, PREDECESSORS)
    old, new = scores(frozenset()), scores(frozenset(present))
    changes = {
        name: {
            iso3: _score_change(old[s, row], new[s, row], {cause: part[s, row] for cause, part in parts.items()})
            for row, iso3 in enumerate(before.members)
        }
        for s, name in enumerate(ATTRIBUTED_SCORES)
    }
    return Attribution(present, changes)


def _score_change(before: float, after: float, parts: Mapping[str, float]) -> ScoreChange:
    unknown = np.isnan([before, after, *parts.values()]).any()
    causes = {cause: float("nan") if unknown else float(parts.get(cause, 0.0)) for cause in CAUSES}
    return ScoreChange(float(before), float(after), causes)


def assess_with_causes(
    difference: ViewDifference, before: ScoreInputs, after: ScoreInputs, causes: Iterable[str]
) -> Assessment:
    """Assess the region as if only some of the causes had occurred."""
    chosen = frozenset(causes)
    origin = (after if "moving_window" in chosen else before).origin
    return assess(difference.view(chosen), before.members, before.outcome, origin, difference.reporting(chosen))


def shapley_values(
    worth: Callable[[frozenset[str]], Values],
    players: Sequence[str],
    predecessors: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Values]:
    """Return what each player adds to the worth of a set of players, averaged over all orders of the players.

    `predecessors` names the players that come before a player in every order, if they take part. The values sum to the
    worth of all players minus the worth of none.
    """
    cached_worth = cache(worth)
    added: dict[str, list[Values]] = {player: [] for player in players}
    for order in permutations(players):
        if any({*predecessors.get(player, ())}.intersection(order[i:]) for i, player in enumerate(order)):
            continue
        for i, player in enumerate(order):
            added[player].append(cached_worth(frozenset(order[: i + 1])) - cached_worth(frozenset(order[:i])))
    return {player: np.mean(values, axis=0) for player, values in added.items()}


def _check_comparable(before: ScoreInputs, after: ScoreInputs) -> None:
    for what, one, other in (
        ("countries", " ".join(before.members), " ".join(after.members)),
        ("outcomes", before.outcome, after.outcome),
        ("data", *("SIMULATED" if side.view.simulated else "real" for side in (before, after))),
    ):
        if one != other:
            raise BadInput(f"scores of different {what} cannot be compared: {one} and {other}")


def _scores(assessment: Assessment, inputs: ScoreInputs) -> Values:
    """The scores of each member by the model of some inputs, shape (score, member); NaN where unknown."""
    forecast = assessment.forecast(inputs.model)
    escalation = inputs.escalation.probabilities(assessment.panel, forecast).probability
    scores = np.full((len(ATTRIBUTED_SCORES), len(assessment.members)), np.nan)
    for row, draws in enumerate(forecast.draws.astype(np.float64)):
        if not np.isnan(draws).any():
            scores[:, row] = risk_score(draws), escalation[row]
    return scores
