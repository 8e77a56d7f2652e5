"""The model at `/v1/model`: what the snapshot in service was made with, and what its bundle says that it is.

Read from the snapshot and the bundle's manifest: the model itself is never opened here.
"""

import json
from pathlib import Path
from typing import Any

from flask import Blueprint

from service.api.openapi import UNSERVED, Payload, offers
from service.api.schemas import Meta, Said, key
from service.http.request_context import current_context, request_session
from service.snapshots import snapshot_view

resource = Blueprint("model", __name__)

MODEL, MANIFEST = "model.joblib", "manifest.json"
OF_MANIFEST = ("seed", "features", "scores", "configuration", "data_digest", "code", "versions")


class ModelFacts(Said):
    """What the model in service is."""

    id: str
    digest: str = key("SHA-256 of its file")
    outcome: str
    origin: str = key("the last month that it was trained on")
    trained_at: str | None
    vigie: str | None = key("the version that made the snapshot")
    simulated: bool
    seed: int | None
    features: list[str] | None = key("the indicators that it was trained with")
    scores: dict[str, Any] | None = key("losses beside the baselines', on months that it had not seen")
    configuration: str | None = key("the model before it learned anything")
    data_digest: str | None = key("of what it was trained on")
    code: str | None = key("SHA-256 of the code that made it")
    versions: dict[str, str] | None = key("of the packages that made it")
    reasons: dict[str, str]


class Model(Meta):
    """The model in service."""

    data: ModelFacts


@offers(resource, "/v1/model", "The model behind the scores in service", Model, problems=UNSERVED)
def model() -> Payload:
    """The facts of its card."""
    with request_session() as session:
        served = session.served()
        said = served.document["model"]
        models = current_context().home.models
        manifest, why = _manifest(models / said["id"] / MANIFEST, said["digest"])
        facts = {name: None if manifest.get(name) == "" else manifest.get(name) for name in OF_MANIFEST}
        data = {
            **{name: said.get(name) for name in ("id", "digest", "origin", "trained_at", "vigie")},
            **{name: served.document[name] for name in ("outcome", "simulated")},
            **facts,
            "reasons": {name: why or "unknown" for name, value in facts.items() if value is None},
        }
        return {"data": data, **snapshot_view.meta(served)}


def _manifest(path: Path, digest: str) -> tuple[dict[str, Any], str | None]:
    """What a bundle says of itself, or why it cannot be taken for the one that made the snapshot."""
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, "model_gone"
    return (said, None) if said.get("files", {}).get(MODEL) == digest else ({}, "model_altered")
