"""Fit a model on a table of outcomes, and score the same configuration on months that it has not seen.

It knows no archive and no file.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from riskmodel import golden
from riskmodel.bundle import Provenance
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Conflictology
from riskmodel.forecasting.component import Explainable
from riskmodel.forecasting.escalation import Escalation
from riskmodel.forecasting.pool import served_model
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import Panel, assemble
from riskmodel.months import Month
from riskmodel.outcomes import CountryMonths
from training import evaluation
from training.results import COVERAGES, LOSSES
from training.versions import code_digest, configuration
from training.windows import held_out_window


class FittedModel(NamedTuple):
    """A fitted model, its model of escalation, what they were made from, and a golden prediction."""

    model: Explainable
    escalation: Escalation
    provenance: Provenance
    golden_prediction: bytes


def fit_model(
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
    shipped_only: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> FittedModel:
    """Fit the served pool, or another model, on all countries up to an origin.

    `inputs` are those of `assemble`; `trained_at` is ISO 8601 in UTC. `provenance.scores` has the scores of the same
    configuration fitted 14 months earlier, on the twelve months up to the origin. Its key `escalation` says how the
    model of escalation was chosen. `on_step` receives the name of each step before it begins. Raises BadInput where the
    origin lies outside of the data, or the history is too short.
    """
    if not observed.months.size or not observed.months[0] <= origin <= observed.months[-1]:
        available = f"{observed.months[0]} to {observed.months[-1]}" if observed.months.size else "no months"
        raise BadInput(f"the origin {origin} lies outside the data, which have {available}")
    panel, model = assemble(observed, outcome, inputs), model or served_model(seed)
    on_step("fitting the model (step 1 of 3)")
    fitted = model.fit(panel, origin)
    on_step("choosing the model of escalation on the last five years (step 2 of 3)")
    escalation = Escalation().fit(panel, origin, model)
    on_step("scoring the same configuration on twelve months that it has not seen (step 3 of 3)")
    held_out_scores = _held_out_scores(panel, origin, model)
    provenance = Provenance(
        outcome=outcome,
        origin=str(origin),
        data_digest=data_digest,
        simulated=simulated,
        seed=seed,
        features=panel.names,
        scores={**held_out_scores, "escalation": _escalation_scores(escalation, origin)},
        trained_at=trained_at,
        configuration=configuration(model),
        code=code_digest(),
        shipped_only=shipped_only,
    )
    return FittedModel(fitted, escalation, provenance, golden.make(fitted, panel, origin))


def _held_out_scores(panel: Panel, origin: Month, model: Explainable) -> Mapping[str, Any]:
    """Return the mean scores of the model and two baselines on the held-out window, or why there are none."""
    window = held_out_window(origin)
    try:
        result = evaluation.run(panel, [window], panel.iso3, model, baselines=[SMOOTHED_HISTORY, Conflictology()])
    except BadInput as error:
        return {"unscored": str(error)}
    means = {score: result.means(score)[:, -1] for score in (*LOSSES, *COVERAGES)}
    return {
        "origin": str(window.origin),
        "months": window.name,
        "figures": "final",
        **{
            forecaster: {score: _rounded(values[row]) for score, values in means.items()}
            for row, forecaster in enumerate(result.forecasters)
        },
    }


def _escalation_scores(escalation: Escalation, origin: Month) -> Mapping[str, Any]:
    """Return the chosen model of escalation and the Brier scores of all; `brier` is empty where events are too few."""
    origins = escalation.held_out(origin)
    return {
        "model": escalation.chosen,
        "origins": f"{origins[0]}..{origins[-1]}",
        "cases": escalation.cases,
        "events": escalation.events,
        "brier": {name: round(score, 5) for name, score in escalation.scores.items()},
    }


def _rounded(value: np.float64) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
