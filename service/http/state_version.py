"""The version of everything that responses are made from: equal versions mean equal responses.

Reading a version is cheap enough to do several times a second.
"""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from riskmodel import bundle, refits
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from service.alerts import outbox
from service.settings import Settings
from service.store.tables import alert_actions, alert_records, changes, deliveries, jobs, runs, scorecards, snapshots

FileVersion = tuple[int, int, int] | None
"""Inode, modification time [ns] and size [bytes] of a file; None if there is no file."""


class StateVersion(NamedTuple):
    """The newest row of each table and the version of each file that responses are made from.

    `overdue` and `day` change with the clock alone. `changed_at` has the times of the last changes.
    """

    change: int | None
    snapshot: int | None
    scorecard: int | None
    record: int | None
    action: int | None
    run: tuple[int, str] | None
    undelivered: tuple[int, int]
    pull_failed: bool
    files: tuple[FileVersion, ...]
    day: date
    overdue: bool
    next_run_at: datetime | None
    changed_at: tuple[datetime, ...]

    @property
    def fresh_until(self) -> datetime:
        """Return when responses change at the latest: at the next run, or at midnight, because ages are in days."""
        midnight = datetime.combine(self.day + timedelta(days=1), time(), UTC)
        return midnight if self.next_run_at is None else min(self.next_run_at, midnight)

    @property
    def modified_at(self) -> datetime | None:
        """Return when responses last changed.

        None while messages are undelivered: no time is stored for an attempt to deliver one.
        """
        return None if any(self.undelivered) else max(self.changed_at)


def read(connection: sa.Connection, files: tuple[FileVersion, ...], settings: Settings, now: datetime) -> StateVersion:
    """Return the present version.

    Take `files` from `file_versions` before reading any file, and call this first in a transaction. The data that are
    read afterwards are then never older than the version.
    """
    counts = connection.execute(_COUNTS).one()
    run = connection.execute(_NEWEST_RUN, {"our_region": settings.region}).first()
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    next_run_at = run.started_at + timedelta(minutes=settings.recompute_every_minutes) if run else None
    overdue_at = next_run_at + timedelta(seconds=settings.recompute_deadline_seconds) if next_run_at else None
    overdue = overdue_at is not None and now > overdue_at
    changed_at = [midnight, *(getattr(counts, f"{name}_at") for name in (*_TIMES, "pull")), *map(_modified_at, files)]
    if run:
        changed_at += [run.started_at, run.finished_at, overdue_at if overdue else None]
    return StateVersion(
        change=counts.change,
        snapshot=counts.snapshot,
        scorecard=counts.scorecard,
        record=counts.record,
        action=counts.action,
        run=(run.id, run.status) if run else None,
        undelivered=(counts.messages, counts.attempts),
        pull_failed=counts.pull_status == "failed",
        files=files,
        day=midnight.date(),
        overdue=overdue,
        next_run_at=next_run_at,
        changed_at=tuple(moment for moment in changed_at if moment is not None),
    )


def _of_newest_row(column: sa.Column[int] | sa.Column[datetime]) -> sa.ScalarSelect[int | datetime]:
    row_id = column.table.c.id
    return sa.select(column).where(row_id == sa.select(sa.func.max(row_id)).scalar_subquery()).scalar_subquery()


_TABLES = {
    "change": changes,
    "snapshot": snapshots,
    "scorecard": scorecards,
    "record": alert_records,
    "action": alert_actions,
}
_TIMES = {
    "change": changes.c.at,
    "snapshot": snapshots.c.issued_at,
    "scorecard": scorecards.c.at,
    "record": alert_records.c.at,
    "action": alert_actions.c.at,
}
_PULL = {"pull_status": jobs.c.status, "pull_at": jobs.c.finished_at}
_UNDELIVERED = {"messages": sa.func.count(), "attempts": sa.func.coalesce(sa.func.sum(deliveries.c.attempts), 0)}

_COUNTS = sa.select(
    *(_of_newest_row(table.c.id).label(name) for name, table in _TABLES.items()),
    *(_of_newest_row(moment).label(f"{name}_at") for name, moment in _TIMES.items()),
    *(sa.select(column).where(jobs.c.name == "pull").scalar_subquery().label(name) for name, column in _PULL.items()),
    *(sa.select(count).where(outbox.UNDELIVERED).scalar_subquery().label(name) for name, count in _UNDELIVERED.items()),
)
_NEWEST_RUN = (
    sa.select(runs.c.id, runs.c.status, runs.c.started_at, runs.c.finished_at)
    .where(runs.c.region == sa.bindparam("our_region"))
    .order_by(runs.c.id.desc())
    .limit(1)
)


def file_versions(home: Home) -> tuple[FileVersion, ...]:
    """Return the versions of the files: the archive's manifest, the pointers to models, the last attempts to refit."""
    pointers = [
        bundle.pointer(home.models, role, simulated=simulated, outcome=outcome)
        for role in (bundle.CHAMPION, refits.ATTEMPT)
        for simulated in (False, True)
        for outcome in OUTCOMES
    ]
    return tuple(_file_version(path) for path in (home.archive / "manifest.json", *pointers))


def _file_version(path: Path) -> FileVersion:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _modified_at(file: FileVersion) -> datetime | None:
    return None if file is None else datetime.fromtimestamp(file[1] / 1e9, UTC)
