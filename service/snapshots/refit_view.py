"""Whether the model behind a snapshot is due to be refitted, as the API, the pages and the scheduler say it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from riskmodel import __version__, refits
from riskmodel.events import manifest
from riskmodel.home import Home
from riskmodel.months import month
from riskmodel.refits import RefitState
from service.settings import Settings


def refit_of(home: Home, settings: Settings, document: Mapping[str, Any]) -> RefitState:
    """Return the state of the model of a flat document, which is that of the snapshot in service."""
    model = document["model"]
    attempt = refits.last_attempt(home.models, simulated=document["simulated"], outcome=document["outcome"])
    failed = attempt is not None and attempt.model == model["id"] and attempt.result in ("failed", "refused")
    return refits.refit_state(
        month(model["origin"]),
        month(document["origin"]),
        settings.refit,
        revised_share=model.get("revised_share"),
        attempt=attempt,
        blocked=failed,
    )


def can_start(home: Home, state: RefitState, document: Mapping[str, Any], now: datetime) -> bool:
    """Return whether the scheduler may start the refit now: it is due, wanted, and not known to fail."""
    digest = manifest.digest(manifest.active(manifest.read(home.archive)))
    blocked = refits.is_blocked(state.last_attempt, document["model"]["id"], digest, __version__, now)
    return state.due and state.policy != "off" and not blocked
