"""What somebody asked for that takes a child process: a queue in the store, where the same question is one task.

A task is claimed by compare-and-set and answered by whoever has claimed it; one whose process was killed is taken up
again. Who asks and what the answer says are not known here, so that the web may read the queue.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import sqlalchemy as sa

from service.store.database import Store
from service.store.leases import Fence, Superseded, check
from service.store.tables import tasks
from service.store.values import canonical, instant

Kind = Literal["recompute", "whatif", "as_of"]

ORDER: tuple[Kind, ...] = ("recompute", "whatif", "as_of")
"""What goes first in the queue: what takes long waits for what does not."""

ATTEMPTS = 3
"""How often a task is taken up whose process is killed each time."""

FAILED_FOR = timedelta(minutes=10)
"""How long a failed task answers its question; asked later, the question is put again."""

AFTER = 2
"""How soon to ask again for a task that is on its way [s]."""

LISTED = [column for column in tasks.c if column.name != "answer"]
"""All that is told of a task but its answer, which may be large."""


class Full(Exception):
    """As many tasks wait as may."""


@dataclass(frozen=True)
class Question:
    """What is asked; the same `digest`, the same question. `kept`: an answer that is there answers it."""

    kind: Kind
    told: Mapping[str, Any]
    digest: str
    kept: bool

    @classmethod
    def of(cls, kind: Kind, told: Mapping[str, Any], depends: Sequence[Any], *, kept: bool = True) -> Self:
        """A question, and everything that its answer depends on."""
        written = canonical({"kind": kind, "depends": list(depends)})
        return cls(kind, told, hashlib.sha256(written.encode()).hexdigest(), kept)


def ask(store: Store, question: Question, now: datetime, *, most: int) -> str:
    """Put a question and return its task: the one that has it already, or a new one at the end of the queue.

    Raises Full where `most` tasks wait.
    """
    with store.reading() as connection:  # those who ask again and again keep no writer waiting
        found = find(connection, question, now)
    if found is not None:
        return str(found.id)
    with store.writing() as connection:
        found = find(connection, question, now)
        if found is not None:
            return str(found.id)
        waiting = sa.select(sa.func.count()).select_from(tasks).where(tasks.c.status == "waiting")
        if connection.execute(waiting).scalar_one() >= most:
            raise Full
        return _insert(connection, question, now, status="waiting", attempts=0)


def keep(store: Store, question: Question, answer: Mapping[str, Any], began: datetime, now: datetime) -> None:
    """Keep an answer that a person had computed without the queue."""
    with store.writing() as connection:
        times = {"started_at": began, "finished_at": now}
        _insert(connection, question, began, status="done", attempts=1, answer=answer, **times)


def _insert(connection: sa.Connection, question: Question, now: datetime, **values: Any) -> str:
    number = str(uuid.uuid4())
    told = {"kind": question.kind, "question": question.told, "digest": question.digest}
    connection.execute(sa.insert(tasks).values(id=number, asked_at=now, **told, **values))
    return number


def find(connection: sa.Connection, question: Question, now: datetime) -> sa.Row[Any] | None:
    """The task that has a question: on its way, done, or failed a short while ago."""
    status = tasks.c.status
    good: sa.ColumnElement[bool] = status.in_(("waiting", "running"))
    if question.kept:
        good |= (status == "done") | ((status == "failed") & (tasks.c.finished_at > now - FAILED_FOR))
    same = sa.select(*LISTED).where(tasks.c.digest == question.digest, good)
    return connection.execute(same.order_by(tasks.c.asked_at.desc(), tasks.c.id).limit(1)).first()


def answered(connection: sa.Connection, question: Question) -> sa.Row[Any] | None:
    """The task that has answered a question, answer and all."""
    same = sa.select(tasks).where(tasks.c.digest == question.digest, tasks.c.status == "done")
    return connection.execute(same.order_by(tasks.c.finished_at.desc()).limit(1)).first()


def one(connection: sa.Connection, number: str) -> sa.Row[Any] | None:
    """A task by its id."""
    return connection.execute(sa.select(tasks).where(tasks.c.id == number)).one_or_none()


def newest(connection: sa.Connection) -> str:
    """Which task was asked for last: another means that somebody asked."""
    return str(connection.scalar(sa.select(sa.func.max(tasks.c.asked_at))))


def claim(store: Store, fence: Fence, now: datetime) -> str | None:
    """Take the task that is next in the queue, for one more attempt at it; None where none waits."""
    with store.writing() as connection:
        check(connection, fence)
        row = connection.execute(_queue(tasks.c.id, tasks.c.attempts).limit(1)).first()
        if row is None:
            return None
        mine = sa.update(tasks).where(tasks.c.id == row.id, tasks.c.status == "waiting")
        connection.execute(mine.values(status="running", attempts=row.attempts + 1, started_at=now))
        return str(row.id)


def take_up_again(store: Store, fence: Fence, now: datetime) -> None:
    """Put the tasks whose process is gone back into the queue; give up those that it has happened to too often."""
    with store.writing() as connection:
        check(connection, fence)
        left = sa.update(tasks).where(tasks.c.status == "running")
        why = f"stopped before it was done, {ATTEMPTS} times"
        connection.execute(left.where(tasks.c.attempts >= ATTEMPTS).values(status="failed", finished_at=now, error=why))
        connection.execute(left.where(tasks.c.attempts < ATTEMPTS).values(status="waiting", started_at=None))


def give_up(store: Store, fence: Fence, number: str, why: str, now: datetime) -> None:
    """Let a task that we stopped have failed; `why` is fit for anyone."""
    with store.writing() as connection:
        check(connection, fence)
        mine = sa.update(tasks).where(tasks.c.id == number, tasks.c.status == "running")
        connection.execute(mine.values(status="failed", finished_at=now, error=why))


def put_back(store: Store, fence: Fence, number: str) -> None:
    """Put a task that we stopped ourselves back into the queue: this attempt does not count."""
    with store.writing() as connection:
        check(connection, fence)
        mine = sa.update(tasks).where(tasks.c.id == number, tasks.c.status == "running")
        connection.execute(mine.values(status="waiting", attempts=tasks.c.attempts - 1, started_at=None))


def finish(
    store: Store,
    number: str,
    attempt: int,
    now: datetime,
    *,
    answer: Mapping[str, Any] | None = None,
    error: str | None = None,
    fence: Fence | None = None,
) -> None:
    """End an attempt at a task with its answer, or with what went wrong, fit for anyone.

    Raises Superseded, and writes nothing, if that attempt is not under way any more.
    """
    status = "failed" if error is not None else "done"
    with store.writing() as connection:
        check(connection, fence)
        mine = tasks.c.id == number, tasks.c.status == "running", tasks.c.attempts == attempt
        values = {"status": status, "finished_at": now, "answer": answer, "error": error}
        if connection.execute(sa.update(tasks).where(*mine).values(values)).rowcount != 1:
            raise Superseded(f"the attempt {attempt} at the task {number} is not under way any more")


def _queue(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """What waits, in the order in which it is answered."""
    rank = sa.case({kind: place for place, kind in enumerate(ORDER)}, value=tasks.c.kind)
    return sa.select(*columns).where(tasks.c.status == "waiting").order_by(rank, tasks.c.asked_at, tasks.c.id)


def address(number: str) -> str:
    """Where the state of a task is told."""
    return f"/v1/tasks/{number}"


def entry(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    """One task as anyone may read it. A past date's answer is not repeated here: its address has it."""
    queue = [str(number) for number in connection.scalars(_queue(tasks.c.id))] if row.status == "waiting" else []
    place = queue.index(row.id) + 1 if row.id in queue else None
    answer = row.answer if row.status == "done" and row.kind != "as_of" else None
    found = _found_at(row) if row.status == "done" else None
    reasons = {name: "not_waiting" for name in ("place",) if place is None}
    if answer is None:
        reasons["answer"] = "at_its_address" if found else "not_done" if row.status != "failed" else "failed"
    if found is None:
        reasons["answer_at"] = "in_answer" if answer else reasons["answer"]
    return {
        "id": row.id,
        "kind": row.kind,
        "question": row.question,
        "status": row.status,
        "place": place,
        "attempts": row.attempts,
        "asked_at": instant(row.asked_at),
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "answer": answer,
        "answer_at": found,
        "error": row.error,
        "reasons": reasons,
    }


def _found_at(row: sa.Row[Any]) -> str | None:
    """The address that a task's answer stands at, if it is another than the task's own."""
    if row.kind == "as_of":
        return f"/v1/scores?region={row.question['region']}&as_of={row.question['as_of']}"
    return f"/v1/runs/{row.answer['run_id']}" if row.kind == "recompute" else None
