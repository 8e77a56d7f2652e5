"""The table of jobs: which process holds the lease of each job, until when, and how its last run ended.

A lease is taken by compare-and-set and comes with a fencing token, which grows with each lease. A process with an older
token cannot write. What a job does is not known here, so that the web process can read the table.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from riskmodel.errors import Refused
from service.store.database import Store
from service.store.tables import jobs
from service.store.values import instant

FENCE_VARIABLE = "VIGIE_FENCE"
"""The environment variable that gives a child process the fence of the job run that it works for."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clocks of two machines may differ."""

MIN_OVERDUE_AFTER = timedelta(minutes=5)
"""A job with a short interval is not overdue sooner than this."""

HOLDER_PREFIX = 8
"""How many characters of a holder's name are public: the random part, which tells two apart and names no machine."""


class Superseded(Refused):
    """Another process has taken the lease: this one is not allowed to write any more."""


@dataclass(frozen=True)
class Timing:
    """When a job runs: its interval, and the longest time that one run may take."""

    name: str
    every: timedelta
    deadline: timedelta

    def overdue_after(self, minutes_by_job: Mapping[str, int]) -> timedelta:
        """Return the time without success after which the job is overdue.

        It is as set [minutes], otherwise three intervals and at least five minutes.
        """
        if self.name in minutes_by_job:
            return timedelta(minutes=minutes_by_job[self.name])
        return max(3 * self.every, MIN_OVERDUE_AFTER)


@dataclass(frozen=True)
class Fence:
    """The fencing token of one run of a job. Each write transaction of the run begins with `check`."""

    job: str
    token: int

    @classmethod
    def from_environment(cls) -> "Fence | None":
        """Return the fence of the job run that started this process; None for a command that a person started."""
        job, _, token = os.environ.get(FENCE_VARIABLE, "").partition(":")
        return cls(job, int(token)) if token else None

    @property
    def environment(self) -> dict[str, str]:
        """The environment that gives a child this fence."""
        return {FENCE_VARIABLE: f"{self.job}:{self.token}"}

    def check(self, connection: sa.Connection) -> None:
        """Lock the job's row until the transaction ends. Raises Superseded if another process has the lease."""
        row = sa.select(jobs.c.token).where(jobs.c.name == self.job).with_for_update()
        if connection.scalar(row) != self.token:
            raise Superseded(
                f"another run of the job {self.job} has started; this one (token {self.token}) is not allowed to write"
            )


def check(connection: sa.Connection, fence: Fence | None) -> None:
    """Check a fence if there is one; a command of a person has none. Raises Superseded."""
    if fence is not None:
        fence.check(connection)


@dataclass
class LeaseWatch:
    """Finds leases that have expired: those that were not renewed for their whole length, while this object watched.

    Only this process's monotonic clock counts. So no lease expires early, or never, because a clock was set or because
    the clocks of two machines differ.
    """

    lease: timedelta
    _seen: dict[str, tuple[tuple[Any, ...], float]] = field(default_factory=dict)

    def expired(self, row: sa.Row[Any], monotonic: float) -> bool:
        """Return whether the lease of a job has expired. `monotonic` is the present [s]."""
        state = (row.token, row.lease_until)
        known, since = self._seen.get(row.name, (None, 0.0))
        if known != state:
            self._seen[row.name] = state, monotonic
            return False
        return monotonic - since >= self.lease.total_seconds()


def declare(store: Store, timings: Sequence[Timing], overdue_minutes: Mapping[str, int], now: datetime) -> None:
    """Write the jobs into the table. A new job is due at once; a job that is no longer declared has no next run.

    `overdue_minutes` gives, by job, the minutes without success after which it is overdue.
    """
    names = [timing.name for timing in timings]
    with store.writing() as connection:
        existing = set(connection.scalars(sa.select(jobs.c.name)))
        for timing in timings:
            values = {
                "every_seconds": _seconds(timing.every),
                "deadline_seconds": _seconds(timing.deadline),
                "overdue_after_seconds": _seconds(timing.overdue_after(overdue_minutes)),
            }
            if timing.name in existing:
                connection.execute(sa.update(jobs).where(jobs.c.name == timing.name).values(values))
            else:
                new = sa.insert(jobs).values(**values, name=timing.name, token=0, declared_at=now, next_run_at=now)
                connection.execute(new)
        connection.execute(sa.update(jobs).where(jobs.c.name.not_in(names)).values(next_run_at=None))


def read(store: Store) -> dict[str, sa.Row[Any]]:
    """Return the rows of the table, by job."""
    with store.reading() as connection:
        return {row.name: row for row in connection.execute(sa.select(jobs).order_by(jobs.c.name))}


def due_at(row: sa.Row[Any], every: timedelta, now: datetime) -> datetime:
    """Return when a job is due: `now` if its time has come. However many runs were missed, one is due.

    A next run more than one interval away was written before a clock was set back. Such a job is due now.
    """
    planned: datetime | None = row.next_run_at
    return planned if planned is not None and now < planned <= now + every + CLOCK_SKEW else now


def take(
    store: Store,
    seen: sa.Row[Any],
    *,
    holder: str,
    lease: timedelta,
    input_digest: str | None,
    clock: Callable[[], datetime],
) -> Fence | None:
    """Take the lease of a job whose row is still as it was `seen`; None if another process was first.

    The next run is due one interval after the start of this one.
    """
    with store.writing() as connection:
        now = clock()
        taken = connection.execute(
            sa.update(jobs)
            .where(
                jobs.c.name == seen.name,
                jobs.c.token == seen.token,
                jobs.c.lease_until.is_not_distinct_from(seen.lease_until),
            )
            .values(
                token=seen.token + 1,
                holder=holder,
                lease_until=now + lease,
                started_at=now,
                finished_at=None,
                status="running",
                error=None,
                next_run_at=now + timedelta(seconds=seen.every_seconds),
                input_digest=input_digest,
            )
        )
    return Fence(seen.name, seen.token + 1) if taken.rowcount == 1 else None


def renew(store: Store, fence: Fence, until: datetime) -> None:
    """Extend a lease. Raises Superseded if another process has it."""
    with store.writing() as connection:
        fence.check(connection)
        connection.execute(sa.update(jobs).where(jobs.c.name == fence.job).values(lease_until=until))


def is_retry(seen: sa.Row[Any], input_digest: str | None) -> bool:
    """Return whether a run that starts now only repeats one that was killed.

    It does if the run before was to be repeated before its interval ended, and the inputs are still the same.
    """
    if seen.status != "failed" or seen.next_run_at is None or seen.input_digest != input_digest:
        return False
    retry_planned: bool = seen.next_run_at < seen.started_at + timedelta(seconds=seen.every_seconds)
    return retry_planned


def finish(
    store: Store,
    fence: Fence,
    status: str,
    now: datetime,
    *,
    input_digest: str | None = None,
    error: str | None = None,
    retry_at: datetime | None = None,
) -> None:
    """End a run of a job: `ok`, `failed`, or `stopped`, which is due again at once. Raises Superseded.

    `input_digest` is of the inputs that the run saw last. `retry_at` moves the next run forward, never back.
    """
    values: dict[str, Any] = {"status": status, "finished_at": now, "error": error, "input_digest": input_digest}
    values |= {"holder": None, "lease_until": None}
    if status == "ok":
        values["succeeded_at"] = now
    if status == "stopped":
        values["next_run_at"] = now
    of_job = jobs.c.name == fence.job
    with store.writing() as connection:
        fence.check(connection)
        connection.execute(sa.update(jobs).where(of_job).values(values))
        if retry_at is not None:
            connection.execute(
                sa.update(jobs).where(of_job, jobs.c.next_run_at > retry_at).values(next_run_at=retry_at)
            )


def listing(connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
    """Return all jobs as the API shows them, by name; an unknown value is None, with its reason."""
    return [entry(row, now) for row in connection.execute(sa.select(jobs).order_by(jobs.c.name))]


def entry(row: sa.Row[Any], now: datetime) -> dict[str, Any]:
    """Return one job, with ages in seconds. `lost` is a run whose lease was not renewed; another process takes over."""
    lost = row.status == "running" and row.lease_until < now
    reasons: dict[str, str] = {}
    if row.succeeded_at is None:
        reasons |= dict.fromkeys(("succeeded_at", "age_seconds"), "never_succeeded")
    if row.next_run_at is None:
        reasons["next_run_at"] = "not_scheduled"
    return {
        "name": row.name,
        "status": "lost" if lost else row.status or "waiting",
        "holder": None if row.holder is None else row.holder[:HOLDER_PREFIX],
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "succeeded_at": instant(row.succeeded_at),
        "age_seconds": None if row.succeeded_at is None else _age(row.succeeded_at, now),
        "every_seconds": row.every_seconds,
        "deadline_seconds": row.deadline_seconds,
        "next_run_at": instant(row.next_run_at),
        "overdue": _overdue(row, now),
        "overdue_after_seconds": row.overdue_after_seconds,
        "error": row.error,
        "reasons": reasons,
    }


def failed(connection: sa.Connection, name: str, now: datetime) -> dict[str, Any] | None:
    """Return a job as the API shows it if its last run failed, else None."""
    row = connection.execute(sa.select(jobs).where(jobs.c.name == name, jobs.c.status == "failed")).one_or_none()
    return None if row is None else entry(row, now)


def overdue(connection: sa.Connection, now: datetime) -> list[str]:
    """Return the names of the overdue jobs: those without success for too long."""
    return [row.name for row in connection.execute(sa.select(jobs).order_by(jobs.c.name)) if _overdue(row, now)]


def _overdue(row: sa.Row[Any], now: datetime) -> bool:
    # A job that has never succeeded counts from its declaration. One that is not scheduled is never overdue.
    since = row.succeeded_at or row.declared_at
    return row.next_run_at is not None and _age(since, now) > row.overdue_after_seconds


def _age(moment: datetime, now: datetime) -> int:
    """Return the time since a moment [s]; 0 if the clock was set back behind it."""
    return max(0, math.floor((now - moment).total_seconds()))


def _seconds(duration: timedelta) -> int:
    return math.ceil(duration.total_seconds())
