"""What the answers of the service depend on, at a glance: equal marks, equal answers.

Cheap enough to be read several times a second. It knows which tables and files answers are made from, and no answer.
"""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from riskmodel.home import Home
from service.alerts import outbox
from service.settings import Settings
from service.store.tables import changes, deliveries, runs, scorecards, snapshots

File = tuple[int, int, int] | None


class Marks(NamedTuple):
    """One state of everything that answers are made from.

    `overdue` and `day` move with the clock alone. `moments` are when the other marks last moved.
    """

    change: int | None
    snapshot: int | None
    scorecard: int | None
    run: tuple[int, str] | None
    undelivered: tuple[int, int]
    files: tuple[File, ...]
    day: date
    overdue: bool
    next_run_at: datetime | None
    moments: tuple[datetime, ...]

    @property
    def fresh_until(self) -> datetime:
        """When answers will differ at the latest: at the next run, or when the day ends, for ages are in days."""
        midnight = datetime.combine(self.day + timedelta(days=1), time(), UTC)
        return midnight if self.next_run_at is None else min(self.next_run_at, midnight)

    @property
    def modified_at(self) -> datetime | None:
        """When answers last changed; None while messages are undelivered, for their attempts have no moments."""
        return None if any(self.undelivered) else max(self.moments)


def read(connection: sa.Connection, files: tuple[File, ...], settings: Settings, now: datetime) -> Marks:
    """The marks as they are now; the first thing to read in a transaction, so that what follows is not older.

    `files` were looked at before anything was read from them, for the same reason.
    """
    counts = connection.execute(_COUNTS).one()
    run = connection.execute(_NEWEST_RUN, {"ours": settings.region}).first()
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    then = run.started_at + timedelta(minutes=settings.recompute_every_minutes) if run else None
    late_at = then + timedelta(seconds=settings.recompute_deadline_seconds) if then else None
    overdue = late_at is not None and now > late_at
    moments = [midnight, *(getattr(counts, f"{name}_at") for name in _MOMENTS), *(_moved(file) for file in files)]
    if run:
        moments += [run.started_at, run.finished_at, late_at if overdue else None]
    return Marks(
        change=counts.change,
        snapshot=counts.snapshot,
        scorecard=counts.scorecard,
        run=(run.id, run.status) if run else None,
        undelivered=(counts.messages, counts.attempts),
        files=files,
        day=midnight.date(),
        overdue=overdue,
        next_run_at=then,
        moments=tuple(moment for moment in moments if moment is not None),
    )


def _newest(column: sa.Column[int] | sa.Column[datetime]) -> sa.ScalarSelect[int | datetime]:
    number = column.table.c.id
    return sa.select(column).where(number == sa.select(sa.func.max(number)).scalar_subquery()).scalar_subquery()


_GROWING = {"change": changes, "snapshot": snapshots, "scorecard": scorecards}
_MOMENTS = {"change": changes.c.at, "snapshot": snapshots.c.issued_at, "scorecard": scorecards.c.at}
_UNDELIVERED = {"messages": sa.func.count(), "attempts": sa.func.coalesce(sa.func.sum(deliveries.c.attempts), 0)}

_COUNTS = sa.select(
    *(_newest(table.c.id).label(name) for name, table in _GROWING.items()),
    *(_newest(moment).label(f"{name}_at") for name, moment in _MOMENTS.items()),
    *(sa.select(count).where(outbox.UNDELIVERED).scalar_subquery().label(name) for name, count in _UNDELIVERED.items()),
)
_NEWEST_RUN = (
    sa.select(runs.c.id, runs.c.status, runs.c.started_at, runs.c.finished_at)
    .where(runs.c.region == sa.bindparam("ours"))
    .order_by(runs.c.id.desc())
    .limit(1)
)


def files(home: Home) -> tuple[File, ...]:
    """The list of ingests, which decides between simulated and real, and which models are in service."""
    read_from = (home.archive / "manifest.json", home.models / "champion", home.models / "champion-simulated")
    return tuple(_file(path) for path in read_from)


def _file(path: Path) -> File:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _moved(file: File) -> datetime | None:
    return None if file is None else datetime.fromtimestamp(file[1] / 1e9, UTC)
