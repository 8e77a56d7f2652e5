"""What each kind of task comes to: the part of it that a process of its own computes.

A past moment is told of by the archive as it was known then and a model that learned from nothing else. That model is
trained by `vigie train`, kept beside the others, and never put into service.
"""

import contextlib
import hashlib
import logging
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from riskmodel import __version__, assessment, bundle, geography
from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.explanation.what_if import what_if
from riskmodel.home import Home
from riskmodel.moments import parse_past_moment
from service.alerts import rules
from service.jobs.recompute import content
from service.jobs.recompute import recompute as run
from service.settings import Settings
from service.snapshots import as_of
from service.snapshots.snapshot_view import SnapshotView
from service.store import task_queue
from service.store.database import Store
from service.store.leases import Fence
from service.store.values import canonical

OF_DRAWS = ("forecasts", "forecasts_csv", "shadow")
"""What only a snapshot says, of the files that are kept beside it."""

log = logging.getLogger("vigie.task")


@dataclass(frozen=True)
class Bench:
    """Where a task is worked: a home, its settings and store, a clock in UTC, and the scheduler's turn if it is one."""

    home: Home
    settings: Settings
    store: Store
    clock: Callable[[], datetime]
    fence: Fence | None = None

    def of(self, region: str) -> "Bench":
        """The same for another region."""
        settings = self.settings.model_copy(update={"region": region})
        return Bench(self.home, settings, self.store, self.clock, self.fence)


def work(bench: Bench, number: str) -> None:
    """Answer a task that was claimed, or write down why it cannot be.

    Raises BadInput for one that is not there, Refused for one that nobody has claimed, Superseded where another has
    taken it meanwhile.
    """
    with bench.store.reading() as connection:
        row = task_queue.by_id(connection, number)
    if row is None:
        raise BadInput(f"there is no task {number}")
    if row.status != "running":
        raise Refused(f"the task {number} is {row.status}: the scheduler runs those that wait, each once")
    result: Mapping[str, Any] | None = None
    error: str | None = None
    try:
        result = ANSWERS[row.kind](bench.of(row.request["region"]), row.request)
    except VigieError as failure:
        error = str(failure).replace(str(bench.home.root), "VIGIE_HOME")
        log.error("task %s failed: %s", number, error)
    except Exception:
        error = "a fault of Vigie's own; the traceback is in the logs of the home"
        raise
    finally:
        if result is not None or error is not None:
            task_queue.finish(
                bench.store, number, row.attempts, bench.clock(), result=result, error=error, fence=bench.fence
            )


def then(bench: Bench, when: datetime, *, simulated: bool) -> SnapshotView:
    """What Vigie said, or would have said, at a past moment; computed here and now where it has to be, and kept.

    Raises BadInput where nothing was known, or where what was known makes no forecast.
    """
    with bench.store.reading() as connection:
        issued = as_of.issued_snapshot(connection, bench.settings, simulated=simulated, moment=when)
    if issued is not None:
        return issued
    try:
        question = as_of.recompute_request(bench.home, bench.settings, when, simulated=simulated)
    except as_of.NothingKnown as nothing:
        since = f"; something is since {nothing.since:%Y-%m-%d}" if nothing.since else ""
        where = f"the region of {bench.settings.region}"
        raise BadInput(f"nothing was known of {where} by {when:%Y-%m-%d}{since}") from None
    with bench.store.reading() as connection:
        done = task_queue.find_done(connection, question)
    if done is None:
        began = bench.clock()
        answer = _as_of(bench, question.parameters)
        task_queue.store_result(bench.store, question, answer, began, bench.clock())
        with bench.store.reading() as connection:
            done = task_queue.find_done(connection, question)
    assert done is not None  # noqa: S101 - it was kept just now  # nosec B101
    return as_of.recomputed_snapshot(done, bench.settings, when)


def _as_of(bench: Bench, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a past moment, and its digest."""
    view = Archive(bench.home.archive).view(parse_past_moment(asked["as_of"], bench.clock()))
    if view.digest != asked["data_digest"]:
        raise Refused("what the archive says of that moment has changed since this was asked; ask again")
    view.verify()
    said, _ = content(view, bundle.load(_model(bench, view, asked)), bench.settings)
    document = {name: value for name, value in said.items() if name not in OF_DRAWS}
    return {"document": document, "digest": hashlib.sha256(canonical(document).encode()).hexdigest()}


def _model(bench: Bench, view: View, asked: Mapping[str, Any]) -> Path:
    """A model trained on nothing but a view: one that is kept, or a new one."""
    members = geography.region(bench.settings.region).members
    origin = assessment.region_origin(view, members, asked["outcome"])
    made_from = {"of": [view.digest, asked["outcome"], str(origin), __version__]}
    folder = bench.home.as_of_models / hashlib.sha256(canonical(made_from).encode()).hexdigest()[:16]
    for kept in folder.glob(f"*/{bundle.MANIFEST_FILE}"):
        with contextlib.suppress(Refused):
            if bundle.outdated_reason(kept.parent) is None:
                folder.touch()  # prune goes by when it was last of use
                return kept.parent
    if folder.exists():
        shutil.rmtree(folder)
    _train(bench.home, folder, asked)
    return next(folder.glob(f"*/{bundle.MANIFEST_FILE}")).parent


def _train(home: Home, folder: Path, asked: Mapping[str, Any]) -> None:
    """`vigie train` on what was known then, in this process, which ends with it: a killed task leaves no training."""
    from riskmodel.cli.main import vigie

    chosen = ("--as-of", asked["as_of"], "--into", str(folder), "--outcome", asked["outcome"])
    with contextlib.redirect_stdout(sys.stderr):
        line = ["--home", str(home.root), "train", *chosen, "--region", asked["region"]]
        vigie.main(line, standalone_mode=False)


def _whatif(bench: Bench, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What `vigie whatif` says."""
    return what_if(bench.home, asked["location_code"], asked["deaths"], asked["months"], asked["region"])


def _recompute(bench: Bench, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run and the snapshot that it made, or found unchanged."""
    done = run(bench.home, bench.settings, bench.store, rules.load(bench.home), bench.clock, bench.fence)
    return {"run_id": done.run_id, "snapshot_id": done.snapshot_id, "issued": done.issued}


ANSWERS: Mapping[str, Callable[[Bench, Mapping[str, Any]], dict[str, Any]]] = {
    "as_of": _as_of,
    "whatif": _whatif,
    "recompute": _recompute,
}
