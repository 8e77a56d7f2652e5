"""One run: compute a snapshot from the archive, and issue it in one transaction with its alerts.

A run whose input has not changed issues nothing. A run that fails or is killed leaves the last snapshot in service.
The next run marks the killed one as failed.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa

from riskmodel import __version__
from riskmodel.alerting.rule import Rule
from riskmodel.errors import BadInput
from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.home import Home
from service import logs
from service.alerts import lifecycle
from service.jobs import public_events, snapshot_chain, snapshot_content
from service.jobs.public_errors import public_error
from service.jobs.served_models import ServedModels
from service.jobs.snapshot_content import Challenger, SnapshotContent
from service.settings import Settings
from service.snapshots import change_feed, history
from service.store.context import Context
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import runs
from service.store.values import canonical

Status = Literal["snapshot", "unchanged", "withdrawn_input"]

log = logging.getLogger("vigie.recompute")


@dataclass(frozen=True)
class RunResult:
    """Result of one run. `snapshot_id` is the snapshot now in service, if there is one.

    `status` is `snapshot` if this run issued it, and `unchanged` if the input is that of the snapshot in service. It is
    `withdrawn_input` if the input is that of a withdrawn snapshot; `note` then says what to do.
    """

    run_id: int
    snapshot_id: int | None
    status: Status
    transitions: int
    note: str = ""

    @property
    def issued(self) -> bool:
        """Whether this run issued a snapshot."""
        return self.status == "snapshot"

    def summary(self) -> str:
        """Return one line for the log."""
        outcome = {
            "snapshot": f"snapshot {self.snapshot_id} issued",
            "unchanged": f"snapshot {self.snapshot_id} unchanged: the input is the same",
            "withdrawn_input": f"no snapshot issued: {self.note}",
        }[self.status]
        return f"run {self.run_id}: {outcome}; {self.transitions} alert transitions"


def recompute(context: Context, rules: Sequence[Rule], fence: Fence | None = None) -> RunResult:
    """Run once. A second run over the same database waits until the first has ended.

    `fence` is that of the scheduler's job run, if this is one. Raises BadInput if there is nothing to score, and
    Refused if the model does not fit the data, or if data or model were altered. Such a run is stored as failed, with
    the error. Raises Superseded, and writes nothing, once another process has the lease.
    """
    store, clock = context.store, context.clock
    with store.exclusive("recompute", context.settings.recompute_deadline_seconds):
        mark_abandoned_runs(store, clock(), "killed before it was done", fence)
        with store.writing() as connection:
            check(connection, fence)
            before = connection.scalar(sa.select(runs.c.status).order_by(runs.c.id.desc()).limit(1))
            started = {"region": context.settings.region, "started_at": clock(), "status": "running"}
            run_id = connection.execute(sa.insert(runs).values(started).returning(runs.c.id)).scalar_one()
        with logs.bind(run_id=run_id):
            try:
                if before == "failed":  # this run may be killed as the one before was, and data get too old meanwhile
                    _evaluate_alerts_on_old_data(context, rules, run_id, fence)
                result = _run(context, rules, run_id, fence)
            except Exception as failure:
                error = public_error(failure, context.home)
                log.error("run %d failed: %s", run_id, error)
                with store.writing() as connection:
                    check(connection, fence)
                    _finish(connection, run_id, clock(), status="failed", error=error)
                try:
                    _evaluate_alerts_on_old_data(context, rules, run_id, fence)
                except Exception as second:  # what the caller needs is the first failure
                    log.error("the alerts could not be updated: %s", public_error(second, context.home))
                raise
            log.info(result.summary())
            return result


def mark_abandoned_runs(store: Store, now: datetime, error: str, fence: Fence | None) -> None:
    """Mark the runs that have started and not ended as failed. Raises Superseded."""
    with store.writing() as connection:
        check(connection, fence)
        running = sa.update(runs).where(runs.c.status == "running")
        connection.execute(running.values(status="failed", finished_at=now, error=error))


def _evaluate_alerts_on_old_data(context: Context, rules: Sequence[Rule], run_id: int, fence: Fence | None) -> None:
    """Update the alerts from the snapshot that stays in service: data get too old while runs fail."""
    simulated = manifest.realm(context.home.archive) == "simulated"
    with context.store.writing() as connection:
        check(connection, fence)
        snapshot = snapshot_chain.in_service(connection, context.settings.region, simulated=simulated)
        if snapshot is not None:
            lifecycle.evaluate(
                connection,
                rules=rules,
                document=snapshot.document,
                run_id=run_id,
                snapshot_id=snapshot.id,
                now=context.clock(),
                causes=(),
                settings=context.settings,
            )


@dataclass(frozen=True)
class _Input:
    """What a run reads. `digest` changes whenever the snapshot could."""

    view: View
    models: ServedModels
    digest: str

    @classmethod
    def read(cls, home: Home, settings: Settings) -> "_Input":
        """Read the archive as it is now, and the models in service for its kind of data, real or simulated."""
        view = Archive(home.archive).view()
        if not view.ingests:
            raise BadInput("the archive is empty: add data with vigie ingest")
        view.verify()
        models = ServedModels.of_home(home, simulated=view.simulated)
        content = [view.digest, models.digests(), settings.region, settings.bands, settings.drivers, __version__]
        return cls(view, models, hashlib.sha256(canonical({"input": content}).encode()).hexdigest())


@dataclass(frozen=True)
class _Standing:
    """The snapshot in service, and the withdrawn snapshot that was made from the input of this run, if there is one."""

    last: sa.Row[Any] | None
    withdrawn: sa.Row[Any] | None
    input_digest: str

    @classmethod
    def read(cls, connection: sa.Connection, settings: Settings, inputs: _Input) -> "_Standing":
        last = snapshot_chain.in_service(connection, settings.region, simulated=inputs.view.simulated)
        withdrawn = snapshot_chain.withdrawn_with_input(connection, settings.region, inputs.digest)
        return cls(last, withdrawn, inputs.digest)

    @property
    def status(self) -> Status:
        """How a run in this state ends. The input of a withdrawn snapshot would make the same wrong one again."""
        if self.withdrawn is not None:
            return "withdrawn_input"
        return "unchanged" if self.last is not None and self.last.input_digest == self.input_digest else "snapshot"


def _run(context: Context, rules: Sequence[Rule], run_id: int, fence: Fence | None) -> RunResult:
    settings, store = context.settings, context.store
    inputs = _Input.read(context.home, settings)
    with store.reading() as connection:
        standing = _Standing.read(connection, settings, inputs)
    content: SnapshotContent | None = None
    events: public_events.PublicEvents | None = None
    if standing.status != "withdrawn_input":
        events = public_events.updated(store, inputs.view, settings.region)
    while True:
        if standing.status == "snapshot" and content is None:
            models = inputs.models.of_view(inputs.view, settings.region)
            find_challenger = partial(Challenger.of, context.home, simulated=inputs.view.simulated)
            before = standing.last.document if standing.last else None
            content = snapshot_content.build(inputs.view, models, settings, find_challenger, before)
        with store.writing() as connection:
            check(connection, fence)
            # While this run computed, a snapshot may have been withdrawn: what counts is the state now.
            standing = _Standing.read(connection, settings, inputs)
            if standing.status == "snapshot" and content is None:
                continue
            return _issue(connection, standing, content, events, rules, run_id, settings, context.clock())


def _issue(
    connection: sa.Connection,
    standing: _Standing,
    content: SnapshotContent | None,
    events: public_events.PublicEvents | None,
    rules: Sequence[Rule],
    run_id: int,
    settings: Settings,
    now: datetime,
) -> RunResult:
    """Write the snapshot if there is a new one, update the alerts, and end the run."""
    snapshot, status = standing.last, standing.status
    if status == "snapshot" and content is not None:
        snapshot = snapshot_chain.append(connection, content, standing.last, standing.input_digest, now)
        change_feed.snapshot_issued(connection, snapshot, standing.last.document if standing.last else None, now)
    history.add_missing(connection)
    if events is not None and status != "withdrawn_input":
        events.store(connection)
    transitions = 0
    if snapshot is not None:
        changes = lifecycle.evaluate(
            connection,
            rules=rules,
            document=snapshot.document,
            run_id=run_id,
            snapshot_id=snapshot.id,
            now=now,
            causes=None if status == "snapshot" else (),
            settings=settings,
        )
        transitions = len(changes)
    snapshot_id = snapshot.id if snapshot is not None else None
    _finish(connection, run_id, now, status=status, input_digest=standing.input_digest, snapshot_id=snapshot_id)
    return RunResult(run_id, snapshot_id, status, transitions, _note(standing.withdrawn))


def _note(withdrawn: sa.Row[Any] | None) -> str:
    if withdrawn is None:
        return ""
    return (
        f"data and model are those of snapshot {withdrawn.id}, which was withdrawn ({withdrawn.withdrawn_reason}): "
        "ingest correct data, or withdraw wrong data with vigie archive withdraw"
    )


def _finish(connection: sa.Connection, run_id: int, now: datetime, **outcome: Any) -> None:
    connection.execute(sa.update(runs).where(runs.c.id == run_id).values(finished_at=now, **outcome))
