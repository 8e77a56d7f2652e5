"""Whether the models of a home are due to be refitted, as far as its archive says."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from riskmodel import geography, refits
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.home_settings import refit_of, region_of
from riskmodel.months import month


def with_refits(home: Home, models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the facts of models (see `registry.list_models`) with `refit`: the fields of `RefitState`, and in words.

    It is None for a model that is not in service, and where the archive has no data of its outcome.
    """
    return [
        facts | {"refit": _refit(home, facts) if facts["in_service"] and not facts["damaged"] else None}
        for facts in models
    ]


def _refit(home: Home, facts: dict[str, Any]) -> dict[str, Any] | None:
    archive = Archive(home.archive)
    view, outcome, origin = archive.view(), facts["outcome"], month(facts["origin"])
    data_origin = view.origin(geography.region(region_of(home)).members, outcome)
    if data_origin is None or view.simulated != facts["simulated"]:
        return None
    attempt = refits.last_attempt(home.models, simulated=view.simulated, outcome=outcome)
    state = refits.refit_state(
        origin,
        data_origin,
        refit_of(home),
        revised_share=refits.revised_share(
            view, archive.ingests(), outcome, origin, facts["trained_at"], facts["data_digest"]
        ),
        attempt=attempt,
        blocked=attempt is not None and attempt.model == facts["model"] and attempt.result in ("failed", "refused"),
    )
    return asdict(state) | {"description": state.description}
