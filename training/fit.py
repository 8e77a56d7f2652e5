"""From outcomes to a trained model and what is to be said of it. It knows no archive and no files."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from riskmodel.bundle import Provenance
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.component import Explainable
from riskmodel.forecasting.escalation import Escalation
from riskmodel.forecasting.pool import SMOOTHER, served
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month
from riskmodel.outcomes import CountryMonths
from training import backtest
from training.results import COVERAGES, LOSSES
from training.versions import code_digest, configuration
from training.windows import held_out


class Trained(NamedTuple):
    """A fitted model, who speaks of escalation beside it, and what they were made from."""

    model: Explainable
    escalation: Escalation
    provenance: Provenance


def train(
    observed: CountryMonths,
    outcome: str,
    origin: Month,
    *,
    seed: int,
    data_digest: str,
    simulated: bool,
    trained_at: str,
    inputs: Inputs | None = None,
    model: Explainable | None = None,
) -> Trained:
    """Fit the served pool, or another model, on all countries up to an origin; `inputs` as `assemble` has them.

    Its scores are those of the same model fitted 14 months earlier, on the twelve months up to the origin; and, under
    `escalation`, what decided who speaks of it. Raises
    BadInput where the origin lies outside the data or the history is too short to learn from.
    """
    if not observed.months.size or not observed.months[0] <= origin <= observed.months[-1]:
        held = f"{observed.months[0]} to {observed.months[-1]}" if observed.months.size else "no months"
        raise BadInput(f"the origin {origin} lies outside the data, which hold {held}")
    panel, model = assemble(observed, outcome, inputs), model or served(seed)
    fitted, escalation = model.fit(panel, origin), Escalation().fit(panel, origin, model)
    provenance = Provenance(
        outcome=outcome,
        origin=str(origin),
        data_digest=data_digest,
        simulated=simulated,
        seed=seed,
        features=panel.names,
        scores={**_scores(panel, origin, model), "escalation": _choice(escalation, origin)},
        trained_at=trained_at,
        configuration=configuration(model),
        code=code_digest(),
    )
    return Trained(fitted, escalation, provenance)


def _scores(panel: Panel, origin: Month, model: Explainable) -> Mapping[str, Any]:
    window = held_out(origin)
    try:
        judged = backtest.run(panel, [window], panel.iso3, model, baselines=[SMOOTHER, Conflictology()])
    except BadInput as too_short:
        return {"unscored": str(too_short)}
    means = {score: judged.means(score)[:, -1] for score in (*LOSSES, *COVERAGES)}
    return {
        "origin": str(window.origin),
        "months": window.name,
        "figures": "final",
        **{name: {score: _number(means[score][i]) for score in means} for i, name in enumerate(judged.components)},
    }


def _choice(escalation: Escalation, origin: Month) -> Mapping[str, Any]:
    """Who speaks of escalation, and the Brier scores of all voices at the origins held out; none where too few are."""
    asked = escalation.held_out(origin)
    return {
        "model": escalation.chosen,
        "origins": f"{asked[0]}..{asked[-1]}",
        "cases": escalation.cases,
        "events": escalation.events,
        "Brier": {voice: round(score, 5) for voice, score in escalation.scores.items()},
    }


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
