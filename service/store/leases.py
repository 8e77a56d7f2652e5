"""The table of jobs: who may run which, until when, and how it went. One job has one holder at a time.

A turn at a job is taken by compare-and-set and brings a fencing token that grows with each turn; whoever comes back
with an older one may not write. What a job does is not known here, so that the web may read the table.
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

TURN = "VIGIE_TURN"
"""The environment variable that tells a child whose turn it works for."""

SKEW = timedelta(minutes=1)
"""How far clocks may be apart: a next run beyond an interval and this was written by a wrong one."""

HOLDER_SHOWN = 8
"""How much of a holder's name is shown [characters]: its random part, which tells two apart and names no machine."""


class Superseded(Refused):
    """Another has taken the turn meanwhile: nothing of this one may be written any more."""


@dataclass(frozen=True)
class Timing:
    """When a job is to run: how often, and how long one turn may take."""

    name: str
    every: timedelta
    deadline: timedelta

    def overdue_after(self, chosen: Mapping[str, int]) -> timedelta:
        """How long is too long without success: as chosen [minutes], else three intervals and at least five minutes."""
        if self.name in chosen:
            return timedelta(minutes=chosen[self.name])
        return max(3 * self.every, timedelta(minutes=5))


@dataclass(frozen=True)
class Fence:
    """One turn at a job, by its token. Every transaction of the turn that writes begins with `check`."""

    job: str
    token: int

    @classmethod
    def given(cls) -> "Fence | None":
        """The turn that this process works for; None for a command that a person has given."""
        job, _, token = os.environ.get(TURN, "").partition(":")
        return cls(job, int(token)) if token else None

    @property
    def environment(self) -> dict[str, str]:
        """What tells a child of this turn."""
        return {TURN: f"{self.job}:{self.token}"}

    def check(self, connection: sa.Connection) -> None:
        """Hold the turn until the transaction ends. Raises Superseded if another has begun."""
        row = sa.select(jobs.c.token).where(jobs.c.name == self.job).with_for_update()
        if connection.scalar(row) != self.token:
            raise Superseded(f"another turn at the job {self.job} has begun; this one (token {self.token}) is void")


def check(connection: sa.Connection, fence: Fence | None) -> None:
    """Check a turn where there is one: what a person does has none. Raises Superseded."""
    if fence is not None:
        fence.check(connection)


@dataclass
class Watch:
    """Which leases are over, judged by one's own monotonic clock: those seen without renewal for their whole length.

    Neither a clock that was set nor one that differs from the holder's can make a lease end too early or never.
    """

    lease: timedelta
    _seen: dict[str, tuple[tuple[Any, ...], float]] = field(default_factory=dict)

    def over(self, row: sa.Row[Any], monotonic: float) -> bool:
        """Whether a lease is over; `monotonic` is the present [s]."""
        state = (row.token, row.lease_until)
        known, since = self._seen.get(row.name, (None, 0.0))
        if known != state:
            self._seen[row.name] = state, monotonic
            return False
        return monotonic - since >= self.lease.total_seconds()


def declare(store: Store, declared: Sequence[Timing], chosen: Mapping[str, int], now: datetime) -> None:
    """Write down which jobs there are; a new one is due at once, one that is declared no more has no next run.

    `chosen` says by name after how many minutes without success a job is overdue.
    """
    known = [timing.name for timing in declared]
    with store.writing() as connection:
        there = set(connection.scalars(sa.select(jobs.c.name)))
        for timing in declared:
            values = {
                "every_seconds": _seconds(timing.every),
                "deadline_seconds": _seconds(timing.deadline),
                "overdue_after_seconds": _seconds(timing.overdue_after(chosen)),
            }
            if timing.name in there:
                connection.execute(sa.update(jobs).where(jobs.c.name == timing.name).values(values))
            else:
                new = sa.insert(jobs).values(**values, name=timing.name, token=0, declared_at=now, next_run_at=now)
                connection.execute(new)
        connection.execute(sa.update(jobs).where(jobs.c.name.not_in(known)).values(next_run_at=None))


def read(store: Store) -> dict[str, sa.Row[Any]]:
    """The rows of the table, by name."""
    with store.reading() as connection:
        return {row.name: row for row in connection.execute(sa.select(jobs).order_by(jobs.c.name))}


def due(row: sa.Row[Any], every: timedelta, now: datetime) -> bool:
    """Whether a job that nobody holds is to run; once, however many runs were missed.

    A next run beyond one interval was written before the clock was set back: it is due, too.
    """
    return row.next_run_at is None or not now < row.next_run_at <= now + every + SKEW


def take(
    store: Store,
    seen: sa.Row[Any],
    *,
    holder: str,
    lease: timedelta,
    inputs: str | None,
    clock: Callable[[], datetime],
) -> Fence | None:
    """Take a turn at a job that stands as it was seen; None if somebody else was first.

    The next run is expected an interval after this one has begun.
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
                inputs=inputs,
            )
        )
    return Fence(seen.name, seen.token + 1) if taken.rowcount == 1 else None


def renew(store: Store, fence: Fence, until: datetime) -> None:
    """Hold on to a turn until a later moment. Raises Superseded if it is lost."""
    with store.writing() as connection:
        fence.check(connection)
        connection.execute(sa.update(jobs).where(jobs.c.name == fence.job).values(lease_until=until))


def makes_up(seen: sa.Row[Any], inputs: str | None) -> bool:
    """Whether a turn taken now at a job that stands as it was seen only makes up for one that was cut off.

    That one was to be followed before its interval was over, and nothing that the job depends on has changed since.
    """
    if seen.status != "failed" or seen.next_run_at is None or seen.inputs != inputs:
        return False
    brought_forward: bool = seen.next_run_at < seen.started_at + timedelta(seconds=seen.every_seconds)
    return brought_forward


def finish(
    store: Store,
    fence: Fence,
    status: str,
    now: datetime,
    *,
    inputs: str | None = None,
    error: str | None = None,
    again_at: datetime | None = None,
) -> None:
    """End a turn: `ok`, `failed`, or `stopped`, which is due again at once. Raises Superseded if it was lost.

    `inputs` are those that it saw in the end. `again_at` brings the next run forward, if it would be later.
    """
    values: dict[str, Any] = {"status": status, "finished_at": now, "error": error, "inputs": inputs}
    values |= {"holder": None, "lease_until": None}
    if status == "ok":
        values["succeeded_at"] = now
    if status == "stopped":
        values["next_run_at"] = now
    mine = jobs.c.name == fence.job
    with store.writing() as connection:
        fence.check(connection)
        connection.execute(sa.update(jobs).where(mine).values(values))
        if again_at is not None:
            connection.execute(sa.update(jobs).where(mine, jobs.c.next_run_at > again_at).values(next_run_at=again_at))


def listing(connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
    """All jobs as anyone may read them, by name; what is unknown is None, with its reason."""
    return [entry(row, now) for row in connection.execute(sa.select(jobs).order_by(jobs.c.name))]


def entry(row: sa.Row[Any], now: datetime) -> dict[str, Any]:
    """One job; ages in seconds. `lost` is a turn whose holder has gone: another takes it."""
    lost = row.status == "running" and row.lease_until < now
    reasons: dict[str, str] = {}
    if row.succeeded_at is None:
        reasons |= dict.fromkeys(("succeeded_at", "age_seconds"), "never_succeeded")
    if row.next_run_at is None:
        reasons["next_run_at"] = "not_scheduled"
    return {
        "name": row.name,
        "status": "lost" if lost else row.status or "waiting",
        "holder": None if row.holder is None else row.holder[:HOLDER_SHOWN],
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


def overdue(connection: sa.Connection, now: datetime) -> list[str]:
    """The names of the jobs that have not succeeded for too long."""
    return [row.name for row in connection.execute(sa.select(jobs).order_by(jobs.c.name)) if _overdue(row, now)]


def _overdue(row: sa.Row[Any], now: datetime) -> bool:
    """One that has never succeeded counts from when it was declared; one that nobody runs any more is never overdue."""
    since = row.succeeded_at or row.declared_at
    return row.next_run_at is not None and _age(since, now) > row.overdue_after_seconds


def _age(moment: datetime, now: datetime) -> int:
    """How long ago [s]; a clock that was set back makes nothing younger than new."""
    return max(0, math.floor((now - moment).total_seconds()))


def _seconds(length: timedelta) -> int:
    return math.ceil(length.total_seconds())
