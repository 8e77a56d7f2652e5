"""Telling MLflow of a model: what it was made from and its scores. It sends nothing else, and keeps nothing."""

import os

from riskmodel.bundle import Bundle
from riskmodel.errors import BadInput, SourceUnavailable

EXPERIMENT = "vigie"
LONGEST = 6000
"""The most characters of a parameter that MLflow takes."""
QUIETLY = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


def log(model: Bundle, address: str) -> str:
    """Write a run to the MLflow server or database of an address; returns its id.

    Raises BadInput where MLflow is not installed, and SourceUnavailable where the server does not take it.
    """
    for name, value in QUIETLY.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise BadInput("--mlflow needs the package mlflow-skinny: pip install 'vigie[mlflow]'") from None
    facts = model.provenance
    params = {
        "outcome": facts.outcome,
        "origin": facts.origin,
        "seed": facts.seed,
        "simulated": facts.simulated,
        "configuration": facts.configuration[:LONGEST],
    }
    tags = {"model": model.id, "model_digest": model.digest, "data_digest": facts.data_digest, "code": facts.code}
    metrics = {
        f"{component}/{_plain(score)}": value
        for component, scores in facts.scores.items()
        if isinstance(scores, dict)
        for score, value in scores.items()
        if isinstance(value, int | float)
    }
    voices = facts.scores.get("escalation", {}).get("Brier", {})
    metrics |= {f"escalation/Brier_{voice}": score for voice, score in voices.items()}
    try:
        client = MlflowClient(tracking_uri=address)
        held = client.get_experiment_by_name(EXPERIMENT)
        run = client.create_run(held.experiment_id if held else client.create_experiment(EXPERIMENT), run_name=model.id)
        number = run.info.run_id
        client.log_batch(
            number,
            metrics=[Metric(name, value, run.info.start_time, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        client.set_terminated(number)
    except (MlflowException, OSError) as failed:
        raise SourceUnavailable(
            f"the model {model.id} is kept; MLflow at {address} did not take it: {failed}"
        ) from None
    return str(number)


def _plain(score: str) -> str:
    """A score's name in the letters that MLflow allows."""
    return score.replace(" %", "_percent")
