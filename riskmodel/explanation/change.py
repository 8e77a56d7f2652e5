"""What changed between two assessments: the change of each country's scores, split by cause so that it sums exactly.

A cause's part is its Shapley value: what it adds to the score, averaged over the orders in which the causes could have
come. Time passes before anything becomes known: nothing can be told of a month that is not over, and if half of what
happened in a new month counted as time passing, time passing would mean nothing. It knows no store: what is compared
comes as two stands.
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
from riskmodel.explanation.view_diff import OF_DATA, Difference, OfData
from riskmodel.forecasting.component import Explainable
from riskmodel.forecasting.escalation import Escalation
from riskmodel.months import Month

Cause: TypeAlias = OfData | Literal["model"]
MODEL: Cause = "model"
CAUSES: tuple[Cause, ...] = (*OF_DATA, MODEL)

MEANING: Mapping[Cause, Mapping[str, str]] = {
    "new_events": {
        "en": "events and months that were not known before",
        "fr": "événements et mois qui n’étaient pas encore connus",
    },
    "revised_events": {
        "en": "known events that a source has changed or taken back",
        "fr": "événements connus qu’une source a modifiés ou retirés",
    },
    "moving_window": {
        "en": "time passing, as if the new months had been quiet, and reports becoming more complete",
        "fr": "le temps qui passe, comme si les nouveaux mois avaient été calmes, et des signalements plus complets",
    },
    "new_source": {
        "en": "a source that was not used for the country before",
        "fr": "une source qui n’était pas encore utilisée pour le pays",
    },
    "model": {"en": "another trained model", "fr": "un autre modèle entraîné"},
}

BEFORE: Mapping[str, Sequence[str]] = dict.fromkeys(("new_events", "revised_events", "new_source"), ("moving_window",))
"""Which causes come before one."""

METRICS = ("risk_score", "escalation_probability")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Stand:
    """What scores are made from. Two stands have the same model only if it is the same object.

    `escalation` goes with the model; by default the draws speak.
    """

    view: View
    model: Explainable
    origin: Month
    members: tuple[str, ...]
    outcome: str
    escalation: Escalation = field(default_factory=Escalation)


@dataclass(frozen=True)
class Split:
    """One score before and after, and what each cause adds; NaN where the score is unknown.

    `causes` sum to `after - before`. They are NaN together where a score is unknown before, after, or with only some of
    the causes.
    """

    before: float
    after: float
    causes: Mapping[Cause, float]


@dataclass(frozen=True)
class Changed:
    """The splits by metric of `METRICS` and country; `present` are the causes that there were."""

    present: tuple[Cause, ...]
    splits: Mapping[str, Mapping[str, Split]]


def changed(before: Stand, after: Stand) -> Changed:
    """Split the change of risk scores [0-100] and escalation probabilities [0-1] of a region by cause.

    Every set of causes that may be without the others is computed anew: with k causes 2^k forecasts at most. A cause
    that is absent adds exactly 0. Raises BadInput for stands of different countries, outcomes or realms.

    Shapley (1953), doi:10.1515/9781400881970-018; orders restricted as by Faigle & Kern (1992), doi:10.1007/BF01258278.
    """
    _comparable(before, after)
    then, now = (assess(stand.view, stand.members, stand.outcome, stand.origin) for stand in (before, after))
    difference = Difference.between((before.view, then), (after.view, now))
    of_data = difference.causes
    present: tuple[Cause, ...] = of_data if before.model is after.model else (*of_data, MODEL)
    seen: dict[frozenset[str], Assessment] = {frozenset(): then, frozenset(of_data): now}

    def value(causes: frozenset[str]) -> Values:
        known = causes - {MODEL}
        if known not in seen:
            seen[known] = mixed(difference, before, after, known)
        return _scores(seen[known], after if MODEL in causes else before)

    parts = shapley(value, present, BEFORE)
    first, last = value(frozenset()), value(frozenset(present))
    splits = {
        metric: {
            iso3: _split(first[m, row], last[m, row], {cause: part[m, row] for cause, part in parts.items()})
            for row, iso3 in enumerate(before.members)
        }
        for m, metric in enumerate(METRICS)
    }
    return Changed(present, splits)


def _split(before: float, after: float, parts: Mapping[str, float]) -> Split:
    unknown = np.isnan([before, after, *parts.values()]).any()
    causes = {cause: float("nan") if unknown else float(parts.get(cause, 0.0)) for cause in CAUSES}
    return Split(float(before), float(after), causes)


def mixed(difference: Difference, before: Stand, after: Stand, causes: Iterable[str]) -> Assessment:
    """What would be seen at the origin if of all causes only these had been."""
    chosen = frozenset(causes)
    origin = (after if "moving_window" in chosen else before).origin
    view, completeness = difference.view(chosen), difference.completeness(chosen)
    return assess(view, before.members, before.outcome, origin, completeness)


def shapley(
    value: Callable[[frozenset[str]], Values],
    players: Sequence[str],
    first: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Values]:
    """What each player adds to the value of a set of players, averaged over all orders in which they may come.

    `first` names the players that have to come before one, where they are among them. The parts sum to the value of all
    less the value of none.
    """
    worth = cache(value)
    added: dict[str, list[Values]] = {player: [] for player in players}
    for order in permutations(players):
        if any({*first.get(player, ())}.intersection(order[place:]) for place, player in enumerate(order)):
            continue
        for place, player in enumerate(order):
            added[player].append(worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place])))
    return {player: np.mean(values, axis=0) for player, values in added.items()}


def _comparable(before: Stand, after: Stand) -> None:
    for what, one, other in (
        ("countries", " ".join(before.members), " ".join(after.members)),
        ("outcomes", before.outcome, after.outcome),
        ("data", *("SIMULATED" if stand.view.simulated else "real" for stand in (before, after))),
    ):
        if one != other:
            raise BadInput(f"what is of different {what} cannot be compared: {one} and {other}")


def _scores(seen: Assessment, stand: Stand) -> Values:
    """The metrics of each member as a stand's model has them, shape (metric, member); NaN where unknown."""
    forecast = stand.model.forecast(seen.panel, seen.origin)
    escalating = stand.escalation.probabilities(seen.panel, forecast).probability
    said = np.full((len(METRICS), len(seen.members)), np.nan)
    for row, draws in enumerate(forecast.draws.astype(np.float64)):
        if not np.isnan(draws).any():
            said[:, row] = risk_score(draws), escalating[row]
    return said
