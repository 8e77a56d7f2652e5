"""The model at `/v1/model`: what the snapshot and the manifest of the model bundle record about it.

The model file itself is never opened here: that needs scikit-learn.
"""

import json
from pathlib import Path
from typing import Any, Literal

from flask import Blueprint

from riskmodel.refits import RefitState
from service.api.endpoints import OUTCOME_PROBLEMS, OutcomeQuery, Payload, endpoint
from service.api.shared_schemas import Meta, Schema, described
from service.http.request_context import current_context, request_session
from service.snapshots import refit_view, snapshot_view

resource = Blueprint("model", __name__)

MODEL_FILE, MANIFEST_FILE = "model.pickle", "manifest.json"
MANIFEST_KEYS = ("seed", "features", "scores", "configuration", "data_digest", "code", "versions")


class RefitAttempt(Schema):
    """The last attempt to refit a model."""

    at: str
    model: str = described("the model that was to be refitted")
    result: Literal["started", "done", "refused", "failed"]
    reason: str = described("why it was refused or failed; else empty")


class Refit(Schema):
    """Whether the model is due to be refitted: fitted again, to newer data."""

    policy: Literal["yearly", "monthly", "off"] = described("the setting `refit`")
    due: bool
    why: Literal["december", "year", "month", "revised"] | None = described("why it is due")
    due_month: str = described("the month of data with which it was, or will be, due")
    overdue: bool = described("it is due, and nothing refits it, or the last attempt failed, or a month has passed")
    last_attempt: RefitAttempt | None


class ModelDescription(Schema):
    """The model in service."""

    id: str
    digest: str = described("SHA-256 of the model file")
    outcome: str
    origin: str = described("the last month of its training data")
    trained_at: str | None
    age_months: int = described("how much newer the data of the snapshot are than those of the training [months]")
    revised_share: float | None = described(
        "share of the deaths of the last five years of its training data that were revised since"
    )
    refit: Refit
    vigie: str | None = described("version of Vigie that made the snapshot")
    simulated: bool
    seed: int | None
    features: list[str] | None = described(
        "the indicators of its training; it reads those that were known often enough"
    )
    scores: dict[str, Any] | None = described("its losses and those of the baselines, on months after its training")
    configuration: str | None = described("the untrained model and its parameters")
    data_digest: str | None = described("digest of its training data")
    code: str | None = described("SHA-256 of the code that trained it")
    versions: dict[str, str] | None = described("versions of the packages that trained it")
    reasons: dict[str, str]


class ModelResponse(Meta):
    """The model in service."""

    data: ModelDescription
    missing_outcomes: dict[str, str] = described("why an outcome is not in the snapshot, by its name")


@endpoint(
    resource,
    "/v1/model",
    "Describe the model behind the scores",
    ModelResponse,
    query=OutcomeQuery,
    problems=OUTCOME_PROBLEMS,
)
def model(query: OutcomeQuery) -> Payload:
    """Return what the snapshot and the manifest record about the model."""
    with request_session() as session:
        view = session.served(outcome=query.outcome)
        recorded = view.document["model"]
        refit = refit_view.refit_of(current_context().home, session.settings, view.document)
        models = current_context().home.models
        manifest, problem = _manifest(models / recorded["id"] / MANIFEST_FILE, recorded["digest"])
        # An empty text in a manifest means unknown.
        facts = {name: None if manifest.get(name) == "" else manifest.get(name) for name in MANIFEST_KEYS}
        data = {
            **{name: recorded.get(name) for name in ("id", "digest", "origin", "trained_at", "vigie")},
            **{name: view.document[name] for name in ("outcome", "simulated")},
            **facts,
            "age_months": refit.age_months,
            "revised_share": recorded.get("revised_share"),
            "refit": _refit(refit),
            "reasons": {name: problem or "unknown" for name, value in facts.items() if value is None},
        }
        if data["revised_share"] is None:
            data["reasons"]["revised_share"] = "unknown"
        missing = view.document["missing_outcomes"]
        return {"data": data, "missing_outcomes": missing, **snapshot_view.meta(view)}


def _refit(state: RefitState) -> Payload:
    attempt = state.last_attempt
    last = {name: getattr(attempt, name) for name in RefitAttempt.model_fields} if attempt else None
    return {name: getattr(state, name) for name in Refit.model_fields} | {"last_attempt": last}


def _manifest(path: Path, digest: str) -> tuple[dict[str, Any], str | None]:
    """Return the manifest of a bundle, or the reason why it does not describe the model that made the snapshot."""
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, "model_gone"
    return (manifest, None) if manifest.get("files", {}).get(MODEL_FILE) == digest else ({}, "model_altered")
