"""Log a model to MLflow: what it was made from and its scores. Nothing else is sent, and nothing is stored here."""

import os

from riskmodel.bundle import Bundle
from riskmodel.errors import BadInput, SourceUnavailable

EXPERIMENT = "vigie"
MAX_PARAM_LENGTH = 6000
"""The most characters that MLflow takes for a parameter."""
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""Settings of MLflow, unless the environment has them: no telemetry, and no minutes of retries."""


def log_model(model: Bundle, uri: str) -> str:
    """Log a model as a run to the MLflow server or database at a URI, and return the id of the run.

    Raises BadInput where MLflow is not installed, and SourceUnavailable where MLflow fails.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise BadInput("--mlflow needs the package mlflow-skinny: pip install 'vigie[mlflow]'") from None
    provenance = model.provenance
    params = {
        "outcome": provenance.outcome,
        "origin": provenance.origin,
        "seed": provenance.seed,
        "simulated": provenance.simulated,
        "configuration": provenance.configuration[:MAX_PARAM_LENGTH],
    }
    tags = {
        "model": model.id,
        "model_digest": model.digest,
        "data_digest": provenance.data_digest,
        "code": provenance.code,
    }
    metrics = {
        f"{forecaster}/{score}": value
        for forecaster, scores in provenance.scores.items()
        if isinstance(scores, dict)
        for score, value in scores.items()
        if isinstance(value, int | float)
    }
    brier = provenance.scores.get("escalation", {}).get("brier", {})
    metrics |= {f"escalation/brier_{name}": score for name, score in brier.items()}
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment_id, run_name=model.id)
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, run.info.start_time, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        client.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        raise SourceUnavailable(f"the model {model.id} is stored; MLflow at {uri} did not take it: {error}") from None
    return str(run.info.run_id)
