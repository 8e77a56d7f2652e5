"""Run one task of the queue, in a child process of the scheduler.

A past moment is recomputed from the data known at that moment, with a model trained on those data only. `vigie train`
makes that model in a child process. It is stored apart from the other models and never put into service.
"""

import contextlib
import hashlib
import logging
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from riskmodel import __version__, assessment, bundle, geography
from riskmodel.alerting import rule_file
from riskmodel.errors import BadInput, ExitCode, Refused, VigieError
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.explanation.what_if import what_if
from riskmodel.moments import parse_past_moment
from riskmodel.outcomes import OUTCOMES, ranked
from service.jobs import processes, snapshot_content
from service.jobs.public_errors import public_error
from service.jobs.recompute import recompute
from service.jobs.served_models import ServedModels
from service.snapshots import as_of, hindcast_view
from service.snapshots.outcome_parts import NOT_COMPUTED
from service.snapshots.snapshot_view import SnapshotView
from service.store import task_queue
from service.store.context import Context
from service.store.leases import Fence
from service.store.values import canonical

DRAWS_KEYS = ("forecasts", "forecasts_csv", "shadow")
"""The keys of an outcome's part about its draws. A recomputed snapshot stores no draws."""

log = logging.getLogger("vigie.task")


class TrainingKilled(VigieError):
    """Training was ended by a signal that was not ours: by hand, or because memory ran out. It may succeed later."""


def run_task(context: Context, task_id: str, fence: Fence | None = None) -> None:
    """Run a task that was claimed, and store its result or its error.

    Raises BadInput if there is no such task, Refused if it was not claimed, and Superseded if another process has
    claimed it meanwhile. Raises TrainingKilled without an end of the task: the scheduler puts it back into the queue.
    """
    with context.store.reading() as connection:
        task = task_queue.by_id(connection, task_id)
    if task is None:
        raise BadInput(f"there is no task {task_id}")
    if task.status != "running":
        raise Refused(f"the task {task_id} is {task.status}: the scheduler starts the tasks that wait")

    def finish(**outcome: Any) -> None:
        task_queue.finish(context.store, task_id, task.attempts, context.clock(), **outcome, fence=fence)

    region = context.for_region(task.request["region"])
    try:
        result = _WORK[task.kind](region, task.request, fence)
    except TrainingKilled:
        raise
    except Exception as failure:
        error = public_error(failure, context.home)
        finish(error=error)
        if not isinstance(failure, VigieError):
            raise
        log.error("task %s failed: %s", task_id, error)
    else:
        finish(result=result)


def snapshot_as_of(context: Context, moment: datetime, *, simulated: bool, outcome: str | None = None) -> SnapshotView:
    """Return the snapshot of a past moment, else its hindcast. If there is neither, compute a snapshot and store it.

    Raises BadInput if nothing was known at that moment, or too little for a forecast, and OutcomeMissing if the
    snapshot that was issued does not have the outcome.
    """
    at: dict[str, Any] = {"simulated": simulated, "moment": moment, "outcome": outcome}
    with context.store.reading() as connection:
        stored = as_of.issued_snapshot(connection, context.settings, **at)
        stored = stored or hindcast_view.hindcast_at(connection, context.settings, **at)
    if stored is not None:
        return stored
    try:
        request = as_of.recompute_request(context.home, context.settings, moment, simulated=simulated, outcome=outcome)
    except as_of.NothingKnown as nothing:
        since = f"; the first data are known since {nothing.since:%Y-%m-%d}" if nothing.since else ""
        region = f"the region of {context.settings.region}"
        raise BadInput(f"nothing was known of {region} on {moment:%Y-%m-%d}{since}") from None
    with context.store.reading() as connection:
        done = task_queue.find_done(connection, request)
    if done is None:
        started_at = context.clock()
        result = _recompute_past(context, request.parameters, None)
        task_queue.store_result(context.store, request, result, started_at, context.clock())
        with context.store.reading() as connection:
            done = task_queue.find_done(connection, request)
    assert done is not None  # noqa: S101 - it was stored just now  # nosec B101
    return as_of.recomputed_snapshot(done, context.settings, moment)


def _recompute_past(context: Context, request: Mapping[str, Any], fence: Fence | None) -> dict[str, Any]:
    """Return the document of a past moment with one outcome, and its digest."""
    view = Archive(context.home.archive).view(parse_past_moment(request["as_of"], context.clock()))
    if view.digest != request["data_digest"]:
        raise Refused("the data known at that moment have changed since the request: send the request again")
    view.verify()
    outcome = _known_outcome(view, request)
    others = {other: NOT_COMPUTED for other in OUTCOMES if other != outcome}
    models = ServedModels({outcome: _model_of_view(context, view, request, outcome)}, others)
    document = snapshot_content.build(view, models, context.settings).document
    part = document["outcomes"][outcome]
    document["outcomes"] = {outcome: {name: value for name, value in part.items() if name not in DRAWS_KEYS}}
    return {"document": document, "digest": hashlib.sha256(canonical(document).encode()).hexdigest()}


def _known_outcome(view: View, request: Mapping[str, Any]) -> str:
    """Return the headline of the requested outcomes that the view knows. Raises BadInput where it knows none."""
    members, outcomes = geography.region(request["region"]).members, request["outcomes"]
    origins = {outcome: view.origin(members, outcome) for outcome in outcomes}
    known = {outcome: str(origin) for outcome, origin in origins.items() if origin is not None}
    return ranked(known)[0] if known else str(assessment.region_origin(view, members, outcomes[0]))  # raises


def _model_of_view(context: Context, view: View, request: Mapping[str, Any], outcome: str) -> Path:
    """Return a model of an outcome trained on this view only: a stored one, or a new one."""
    members = geography.region(context.settings.region).members
    origin = assessment.region_origin(view, members, outcome)
    key = {"of": [view.digest, outcome, str(origin), __version__]}
    folder = context.home.as_of_models / hashlib.sha256(canonical(key).encode()).hexdigest()[:16]
    for manifest in folder.glob(f"*/{bundle.MANIFEST_FILE}"):
        with contextlib.suppress(Refused):
            if bundle.outdated_reason(manifest.parent) is None:
                folder.touch()  # retention goes by the last use
                return manifest.parent
    if folder.exists():
        shutil.rmtree(folder)
    _train(context, folder, request, outcome)
    return next(folder.glob(f"*/{bundle.MANIFEST_FILE}")).parent


def _train(context: Context, folder: Path, request: Mapping[str, Any], outcome: str) -> None:
    """Train a model on the data known at the moment of the request. The child ends with this process."""
    options = ("--as-of", request["as_of"], "--into", str(folder), "--outcome", outcome)
    line = processes.command(context.home, "train", *options, "--region", request["region"])
    child = processes.start(line, capture=True)
    result = processes.run(child, print_line=lambda text: print(text, file=sys.stderr, flush=True))
    if result.killed:
        raise TrainingKilled(f"vigie train {result.describe()}")
    expected = {error.exit_code: error for error in (BadInput, Refused)}
    if result.error and result.exit_code in expected:
        raise expected[ExitCode(result.exit_code)](result.error)
    if result.exit_code:
        raise VigieError(f"vigie train {result.describe()}")


def _whatif(context: Context, request: Mapping[str, Any], fence: Fence | None) -> dict[str, Any]:
    """Return what `vigie whatif` prints."""
    change = request["location_code"], request["deaths"], request["months"]
    return what_if(context.home, *change, request["region"], request["outcome"])


def _recompute(context: Context, request: Mapping[str, Any], fence: Fence | None) -> dict[str, Any]:
    """Return the run, and the snapshot that it issued or found unchanged."""
    run = recompute(context, rule_file.load(context.home, context.settings.bands), fence)
    return {"run_id": run.run_id, "snapshot_id": run.snapshot_id, "issued": run.issued}


_WORK: Mapping[str, Callable[[Context, Mapping[str, Any], Fence | None], dict[str, Any]]] = {
    "as_of": _recompute_past,
    "whatif": _whatif,
    "recompute": _recompute,
}
