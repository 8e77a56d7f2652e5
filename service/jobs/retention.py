"""Delete expired rows and files: runs, deliveries, changes, tasks and their models, and traces of faults.

The setting `retention_days` (`service.settings.RetentionDays`) says after how many days. Snapshots, forecasts and
verifications are never deleted. Neither is a row that another row refers to, or a message that
a person still has to deal with.
"""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from riskmodel.home import Home
from service.settings import RetentionDays
from service.store.context import Context
from service.store.leases import Fence, check
from service.store.tables import changes, deliveries, runs, tasks, transitions


def prune(context: Context, fence: Fence | None = None) -> dict[str, int]:
    """Delete what has expired, and return how many rows or files of each kind. Raises Superseded."""
    days, now = context.settings.retention_days, context.clock()
    deleted = {}
    for table, expired in _expired(days, now):
        with context.store.writing() as connection:
            check(connection, fence)
            deleted[table.name] = connection.execute(sa.delete(table).where(expired)).rowcount
    deleted["models"] = _delete_past_models(context.home, now - timedelta(days=days.tasks))
    deleted["logs"] = _delete_fault_traces(context.home, now - timedelta(days=days.logs))
    return deleted


def _expired(days: RetentionDays, now: datetime) -> Iterator[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """Yield the tables with the condition of their expired rows; tables that refer to others come first."""

    def older(column: sa.Column[datetime], than_days: int) -> sa.ColumnElement[bool]:
        return column < now - timedelta(days=than_days)

    settled = deliveries.c.status.in_(("sent", "dismissed"))  # a person has to deal with those that failed
    yield deliveries, older(deliveries.c.created_at, days.deliveries) & settled
    # The newest change stays, so that no client's cursor lies beyond the end of the feed.
    newest_change = sa.select(sa.func.max(changes.c.id)).scalar_subquery()
    yield changes, older(changes.c.at, days.changes) & (changes.c.id != newest_change)
    yield tasks, older(tasks.c.finished_at, days.tasks) & tasks.c.status.in_(("done", "failed"))
    referred_to = [sa.exists().where(table.c.run_id == runs.c.id) for table in (transitions, deliveries)]
    later = runs.alias()
    # The last run of a region, and its last successful one, say how the region is: they stay.
    has_later_success = sa.exists().where(
        later.c.region == runs.c.region,
        later.c.id > runs.c.id,
        later.c.status.in_(("snapshot", "unchanged", "withdrawn_input")),
    )
    without_snapshot = runs.c.status.in_(("unchanged", "withdrawn_input", "failed"))
    yield runs, older(runs.c.finished_at, days.runs) & without_snapshot & has_later_success & ~sa.or_(*referred_to)


def _delete_past_models(home: Home, before: datetime) -> int:
    """Delete the models of past moments that were last used before a moment, and return how many."""
    unused = [path for path in home.as_of_models.glob("*") if path.stat().st_mtime < before.timestamp()]
    for path in unused:
        shutil.rmtree(path, ignore_errors=True)
    return len(unused)


def _delete_fault_traces(home: Home, before: datetime) -> int:
    """Delete the traces of faults from before a moment, and return how many."""
    old = [path for path in home.logs.glob("fault-*.txt") if path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
