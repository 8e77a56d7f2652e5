"""Deleting what is past: old runs, deliveries, changes and tasks with their models, and traces of faults.

Never a snapshot, a forecast or a verification, and nothing that one of the rows that stay refers to, or that somebody
still has to settle.
"""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from riskmodel.home import Home
from service.settings import RetentionDays
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import changes, deliveries, runs, tasks, transitions


def prune(home: Home, store: Store, keep: RetentionDays, now: datetime, fence: Fence | None) -> dict[str, int]:
    """Delete what is older than it is kept, and return how many rows and files of each kind. Raises Superseded."""
    gone = {}
    for table, past in _past(keep, now):
        with store.writing() as connection:
            check(connection, fence)
            gone[table.name] = connection.execute(sa.delete(table).where(past)).rowcount
    gone["models"] = _prune_models(home, now - timedelta(days=keep.tasks))
    return {**gone, "logs": _prune_logs(home, now - timedelta(days=keep.logs))}


def _past(keep: RetentionDays, now: datetime) -> Iterator[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """What may go of each table, those first that others refer to."""

    def before(column: sa.Column[datetime], days: int) -> sa.ColumnElement[bool]:
        return column < now - timedelta(days=days)

    settled = deliveries.c.status.in_(("sent", "dismissed"))  # what failed is kept until a person has settled it
    yield deliveries, before(deliveries.c.created_at, keep.deliveries) & settled
    newest_change = sa.select(sa.func.max(changes.c.id)).scalar_subquery()  # so that a cursor is never beyond the end
    yield changes, before(changes.c.at, keep.changes) & (changes.c.id != newest_change)
    yield tasks, before(tasks.c.finished_at, keep.tasks) & tasks.c.status.in_(("done", "failed"))
    referred = [sa.exists().where(table.c.run_id == runs.c.id) for table in (transitions, deliveries)]
    later = runs.alias()
    renewed = sa.exists().where(  # how the region stands now is told by its last run, and its last good one
        later.c.region == runs.c.region, later.c.id > runs.c.id, later.c.status.in_(("snapshot", "unchanged"))
    )
    went = runs.c.status.in_(("unchanged", "failed"))  # a run that issued a snapshot is part of its history
    yield runs, before(runs.c.finished_at, keep.runs) & went & renewed & ~sa.or_(*referred)


def _prune_models(home: Home, before: datetime) -> int:
    """Delete the models of past moments that were trained so long ago, and return how many."""
    old = [path for path in home.as_of_models.glob("*") if path.stat().st_mtime < before.timestamp()]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _prune_logs(home: Home, before: datetime) -> int:
    """Delete the old files of the folder of logs, and return how many."""
    old = [path for path in home.logs.glob("fault-*.txt") if path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
