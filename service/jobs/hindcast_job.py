"""The job `hindcast`: after each new model, compute what Vigie would have reported at past month-ends, and store it.

`vigie hindcast` computes, as a child process, and writes a file for each origin. A run that was stopped therefore
continues where it stopped. The snapshot in service does not depend on this job.
"""

import hashlib
import os
from pathlib import Path

from riskmodel import __version__, bundle
from riskmodel.errors import VigieError
from riskmodel.events import manifest
from service.jobs import snapshot_chain
from service.jobs.bootstrap import untrained_outcomes
from service.jobs.job_run import JobRun
from service.snapshots import history
from service.snapshots.outcome_parts import NO_HISTORY
from service.store.context import Context
from service.store.values import canonical

HINDCAST_DEADLINE = 3600.0
"""How long all hindcasts of a region may take [s]: the next run continues with those that are missing."""

STORE_DEADLINE = 600.0
"""How long storing them may take [s]."""

MAX_PROCESSES = 2
"""How many processes compute hindcasts at the same time."""

UNKNOWN_TO_ARCHIVE = frozenset(NO_HISTORY.values())
"""Why a snapshot lacks an outcome although there may be a model of it."""


def compute_hindcasts(run: JobRun) -> bool:
    """Compute and store the hindcasts of the region, once all outcomes are served by the models in service.

    Return false if it is too early.
    """
    settings = run.context.settings
    outcomes = _complete_outcomes(run.context)
    if not outcomes:
        return False
    wanted = [argument for outcome in outcomes for argument in ("--outcome", outcome)]
    size = ["--months", str(settings.hindcast_months), "--jobs", str(min(MAX_PROCESSES, os.cpu_count() or 1))]
    run.print_line(f"computing what Vigie would have reported at the last {settings.hindcast_months} month-ends")
    region = ("--region", settings.region)
    run.vigie("hindcast", *region, *wanted, *size, deadline=HINDCAST_DEADLINE, background=True)
    run.vigie("store-hindcasts", *region, deadline=STORE_DEADLINE, background=True)
    return True


def hindcast_inputs(context: Context) -> str:
    """Return a digest of what hindcasts depend on: the models in service, what is served, and withdrawn data.

    New data start a run once their snapshot is issued.
    """
    settings = context.settings
    try:
        models = {outcome: path.name for outcome, path in _champions(context).items()}
    except VigieError as unreadable:
        models = {"unreadable": str(unreadable)}
    with context.store.reading() as connection:
        newest = history.newest(connection, settings.region, _is_simulated(context), 1)
        parts = history.outcomes_of(connection, [row.id for row in newest])
    served = {outcome: [part.origin, part.model_id] for of in parts.values() for outcome, part in of.items()}
    content = {
        "models": models,
        "served": served,
        "withdrawn": manifest.withdrawn(context.home.archive),
        "settings": [settings.region, settings.hindcast_months, settings.bands],
        "vigie": __version__,
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _complete_outcomes(context: Context) -> list[str]:
    """Return the outcomes in service; none while one that the archive knows has no model, or not yet a forecast.

    Until then, a recompute or a training is still to come, and it must not wait for hindcasts.
    """
    with context.store.reading() as connection:
        snapshot = snapshot_chain.in_service(connection, context.settings.region, simulated=_is_simulated(context))
    champions = _champions(context)
    if snapshot is None or not champions or untrained_outcomes(context):
        return []
    served, missing = snapshot.document["outcomes"], snapshot.document["missing_outcomes"]
    is_complete = all(
        served[outcome]["model"]["id"] == path.name if outcome in served else missing.get(outcome) in UNKNOWN_TO_ARCHIVE
        for outcome, path in champions.items()
    )
    return list(served) if is_complete else []


def _champions(context: Context) -> dict[str, Path]:
    return bundle.champions(context.home.models, simulated=_is_simulated(context))


def _is_simulated(context: Context) -> bool:
    return manifest.realm(context.home.archive) == "simulated"
