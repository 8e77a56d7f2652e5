"""Retention: expired rows and files are deleted; rows that others need or refer to stay, and so do snapshots."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service.alerts import outbox
from service.jobs.retention import prune
from service.settings import RetentionDays, load
from service.store.context import Context
from service.store.leases import Fence, Superseded
from service.store.tables import changes, deliveries, jobs, runs, snapshots, tasks

DAY = timedelta(days=1)
RETENTION = RetentionDays(runs=10, deliveries=10, changes=10, tasks=10, logs=10)
OLD = NOW - 30 * DAY


@pytest.fixture
def issuer(tmp_path: Path) -> SnapshotHome:
    return SnapshotHome(tmp_path / "home")


def context(issuer: SnapshotHome) -> Context:
    settings = load(issuer.home).model_copy(update={"retention_days": RETENTION})
    return Context(issuer.home, settings, issuer.store, lambda: NOW)


def ids(issuer: SnapshotHome, table: sa.Table) -> list[Any]:
    with issuer.store.reading() as connection:
        return list(connection.scalars(sa.select(table.c.id).order_by(table.c.id)))


def test_old_runs_are_deleted_unless_they_are_still_needed(issuer: SnapshotHome) -> None:
    issuer.issue(at=OLD)
    for number in range(3):
        issuer.run("unchanged" if number else "failed", at=OLD + number * DAY, snapshot=1)
    with issuer.store.writing() as connection:
        outbox.enqueue(connection, route="duty", kind="firing", data={"run_id": 3}, now=NOW)
    assert prune(context(issuer))["runs"] == 1
    assert ids(issuer, runs) == [1, 3, 4], "they issued a snapshot, are referred to, or are the last successful one"
    issuer.run("failed", at=NOW - DAY)
    prune(context(issuer))
    assert ids(issuer, runs) == [1, 3, 4, 5]
    assert ids(issuer, snapshots) == [1]


def test_settled_messages_are_deleted(issuer: SnapshotHome) -> None:
    with issuer.store.writing() as connection:
        for status in ("sent", "dismissed", "failed", "waiting"):
            made = outbox.enqueue(connection, route="duty", kind="firing", data={}, now=OLD)
            connection.execute(sa.update(deliveries).where(deliveries.c.id == made).values(status=status))
    assert prune(context(issuer))["deliveries"] == 2
    with issuer.store.reading() as connection:
        assert set(connection.scalars(sa.select(deliveries.c.status))) == {"failed", "waiting"}


def test_expired_changes_tasks_models_and_traces_are_deleted(issuer: SnapshotHome) -> None:
    issuer.issue(at=OLD)
    change = {"kind": "snapshot", "region": "MLI", "simulated": False, "snapshot_id": 1, "document": {}}
    task = {"kind": "as_of", "request": {}, "digest": "d" * 64, "requested_at": OLD, "attempts": 1}
    with issuer.store.writing() as connection:
        for at in (OLD, OLD):
            connection.execute(sa.insert(changes).values(at=at, **change))
        connection.execute(sa.insert(tasks).values(id="a", status="done", finished_at=OLD, **task))
        connection.execute(sa.insert(tasks).values(id="b", status="waiting", **task))
        connection.execute(sa.insert(tasks).values(id="c", status="failed", finished_at=NOW, **task))
    issuer.home.logs.mkdir(parents=True)
    used, unused = (issuer.home.as_of_models / name for name in ("used", "unused"))
    for folder in (used, unused):
        (folder / "model").mkdir(parents=True)
    os.utime(unused, (0, 0))
    old, new = (issuer.home.logs / f"fault-{name}.txt" for name in ("old", "new"))
    for path, moment in ((old, OLD), (new, NOW)):
        path.write_text("Traceback")
        os.utime(path, (moment.timestamp(),) * 2)
    gone = prune(context(issuer))
    assert (gone["changes"], gone["tasks"], gone["logs"]) == (1, 1, 1)
    assert (gone["models"], used.exists(), unused.exists()) == (1, True, False)
    assert ids(issuer, changes) == [2], "the newest stays, however old: cursors point to it"
    assert ids(issuer, tasks) == ["b", "c"]
    assert (old.exists(), new.exists()) == (False, True)


def test_without_the_lease_nothing_is_deleted(issuer: SnapshotHome) -> None:
    issuer.issue(at=OLD)
    issuer.run("failed", at=OLD)
    issuer.run("unchanged", at=NOW, snapshot=1)
    timing = {"declared_at": NOW, "every_seconds": 1, "deadline_seconds": 1, "overdue_after_seconds": 1}
    with issuer.store.writing() as connection:
        connection.execute(sa.insert(jobs).values(name="prune", token=5, **timing))
    with pytest.raises(Superseded):
        prune(context(issuer), Fence("prune", 4))
    assert ids(issuer, runs) == [1, 2, 3]
    assert prune(context(issuer), Fence("prune", 5))["runs"] == 1


def test_vigie_prune_prints_what_it_deleted(issuer: SnapshotHome, vigie: Callable[..., Any]) -> None:
    issuer.issue(at=OLD)
    issuer.run("failed", at=OLD)
    issuer.run("unchanged", at=datetime.now(UTC), snapshot=1)
    assert vigie("--home", issuer.home.root, "prune").out == "deleted: 1 runs\n"
    assert vigie("--home", issuer.home.root, "prune").out == "deleted: nothing was old enough\n"
