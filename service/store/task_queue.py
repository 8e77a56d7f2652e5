"""The queue of tasks: requests whose result takes a child process to compute. Equal requests are one task.

The task worker claims a task by compare-and-set. A task whose process was killed goes back into the queue. What a task
computes is not known here, so that the web process can read the queue.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
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
"""Which kind goes first. Slow kinds go last, so that fast ones need not wait for them."""

MAX_ATTEMPTS = 3
"""How often a task is started whose process is killed each time."""

FAILURE_LIFETIME = timedelta(minutes=10)
"""How long a failed task answers equal requests. After that, an equal request is a new task."""

POLL_AFTER = 2
"""How soon a client should ask again for a task that is not done [s]."""

ALL_BUT_RESULT = [column for column in tasks.c if column.name != "result"]
"""The columns of a task without its result, which may be large."""


class QueueFull(Exception):
    """The task queue is full."""


@dataclass(frozen=True)
class TaskRequest:
    """A request for a task. Requests with equal `digest` are equal.

    `reusable` says that a stored result, or a recent failure, answers the request without a new task.
    """

    kind: Kind
    parameters: Mapping[str, Any]
    digest: str
    reusable: bool

    @classmethod
    def of(cls, kind: Kind, parameters: Mapping[str, Any], depends_on: Sequence[Any], *, reusable: bool = True) -> Self:
        """Make a request. `depends_on` is everything that its result depends on, as JSON values."""
        content = canonical({"kind": kind, "depends_on": list(depends_on)})
        return cls(kind, parameters, hashlib.sha256(content.encode()).hexdigest(), reusable)


def submit(
    store: Store,
    request: TaskRequest,
    now: datetime,
    max_waiting: Callable[[], int | None],
    count: Callable[[], None] = lambda: None,
) -> str:
    """Return the id of the task for a request: an existing one, or a new one at the end of the queue.

    `max_waiting` is called only for a new task, and returns how many tasks may wait, or None for any number. `count` is
    called when the new task has a place. Raises QueueFull if too many wait, and what the two raise.
    """
    with store.reading() as connection:  # a client that asks again and again does not take the write lock
        found = find(connection, request, now)
    if found is not None:
        return str(found.id)
    limit = max_waiting()
    with store.writing() as connection:
        found = find(connection, request, now)
        if found is not None:
            return str(found.id)
        waiting = sa.select(sa.func.count()).select_from(tasks).where(tasks.c.status == "waiting")
        if limit is not None and connection.execute(waiting).scalar_one() >= limit:
            raise QueueFull
        count()
        return _insert(connection, request, now, status="waiting", attempts=0)


def store_result(
    store: Store, request: TaskRequest, result: Mapping[str, Any], started_at: datetime, now: datetime
) -> None:
    """Store a result that was computed without the queue, so that later requests find it."""
    with store.writing() as connection:
        times = {"started_at": started_at, "finished_at": now}
        _insert(connection, request, started_at, status="done", attempts=1, result=result, **times)


def _insert(connection: sa.Connection, request: TaskRequest, now: datetime, **values: Any) -> str:
    task_id = str(uuid.uuid4())
    row = {"kind": request.kind, "request": request.parameters, "digest": request.digest, "requested_at": now}
    connection.execute(sa.insert(tasks).values(id=task_id, **row, **values))
    return task_id


def find(connection: sa.Connection, request: TaskRequest, now: datetime) -> sa.Row[Any] | None:
    """Return the task that answers a request, without its result: not yet done, done, or failed a short time ago."""
    status = tasks.c.status
    usable: sa.ColumnElement[bool] = status.in_(("waiting", "running"))
    if request.reusable:
        usable |= (status == "done") | ((status == "failed") & (tasks.c.finished_at > now - FAILURE_LIFETIME))
    equal = sa.select(*ALL_BUT_RESULT).where(tasks.c.digest == request.digest, usable)
    return connection.execute(equal.order_by(tasks.c.requested_at.desc(), tasks.c.id).limit(1)).first()


def find_done(connection: sa.Connection, request: TaskRequest) -> sa.Row[Any] | None:
    """Return the newest task that has a result for a request."""
    equal = sa.select(tasks).where(tasks.c.digest == request.digest, tasks.c.status == "done")
    return connection.execute(equal.order_by(tasks.c.finished_at.desc()).limit(1)).first()


def by_id(connection: sa.Connection, task_id: str) -> sa.Row[Any] | None:
    """Return a task by its id."""
    return connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one_or_none()


def last_requested_at(connection: sa.Connection) -> str:
    """Return when the newest task was requested. The value changes with each new task."""
    return str(connection.scalar(sa.select(sa.func.max(tasks.c.requested_at))))


def claim(store: Store, fence: Fence, now: datetime) -> str | None:
    """Take the next task of the queue for one more attempt, and return its id; None if no task is waiting."""
    with store.writing() as connection:
        check(connection, fence)
        row = connection.execute(_queue(tasks.c.id, tasks.c.attempts).limit(1)).first()
        if row is None:
            return None
        claimed = sa.update(tasks).where(tasks.c.id == row.id, tasks.c.status == "waiting")
        connection.execute(claimed.values(status="running", attempts=row.attempts + 1, started_at=now))
        return str(row.id)


def requeue_orphans(store: Store, fence: Fence, now: datetime) -> None:
    """Put tasks whose process is gone back into the queue. A task that has used all its attempts has failed."""
    with store.writing() as connection:
        check(connection, fence)
        running = sa.update(tasks).where(tasks.c.status == "running")
        error = f"its process was stopped before the end, {MAX_ATTEMPTS} times"
        connection.execute(
            running.where(tasks.c.attempts >= MAX_ATTEMPTS).values(status="failed", finished_at=now, error=error)
        )
        connection.execute(running.where(tasks.c.attempts < MAX_ATTEMPTS).values(status="waiting", started_at=None))


def fail(store: Store, fence: Fence, task_id: str, error: str, now: datetime) -> None:
    """Mark a task that the scheduler has stopped as failed. `error` is public."""
    with store.writing() as connection:
        check(connection, fence)
        running = sa.update(tasks).where(tasks.c.id == task_id, tasks.c.status == "running")
        connection.execute(running.values(status="failed", finished_at=now, error=error))


def put_back(store: Store, fence: Fence, task_id: str) -> None:
    """Put a task back into the queue because the scheduler ends. This attempt does not count."""
    with store.writing() as connection:
        check(connection, fence)
        running = sa.update(tasks).where(tasks.c.id == task_id, tasks.c.status == "running")
        connection.execute(running.values(status="waiting", attempts=tasks.c.attempts - 1, started_at=None))


def finish(
    store: Store,
    task_id: str,
    attempt: int,
    now: datetime,
    *,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
    fence: Fence | None = None,
) -> None:
    """End an attempt at a task with its result, or with an error. `error` is public.

    Raises Superseded, and writes nothing, if this attempt is no longer the running one.
    """
    status = "failed" if error is not None else "done"
    with store.writing() as connection:
        check(connection, fence)
        running = tasks.c.id == task_id, tasks.c.status == "running", tasks.c.attempts == attempt
        values = {"status": status, "finished_at": now, "result": result, "error": error}
        if connection.execute(sa.update(tasks).where(*running).values(values)).rowcount != 1:
            raise Superseded(f"attempt {attempt} at task {task_id} is no longer running")


def _queue(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select the waiting tasks, in the order in which they are run."""
    rank = sa.case({kind: position for position, kind in enumerate(ORDER)}, value=tasks.c.kind)
    return sa.select(*columns).where(tasks.c.status == "waiting").order_by(rank, tasks.c.requested_at, tasks.c.id)


def url(task_id: str) -> str:
    """Return the path of a task in the API."""
    return f"/v1/tasks/{task_id}"


def entry(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    """Return one task as the API shows it. The result of an `as_of` task is not repeated: `result_url` has it."""
    queue = [str(task_id) for task_id in connection.scalars(_queue(tasks.c.id))] if row.status == "waiting" else []
    queue_position = queue.index(row.id) + 1 if row.id in queue else None
    result = row.result if row.status == "done" and row.kind != "as_of" else None
    result_url = _result_url(row) if row.status == "done" else None
    reasons = {} if queue_position else {"queue_position": "not_waiting"}
    if result is None:
        reasons["result"] = "at_result_url" if result_url else "failed" if row.status == "failed" else "not_done"
    if result_url is None:
        reasons["result_url"] = "in_result" if result else reasons["result"]
    return {
        "id": row.id,
        "kind": row.kind,
        "request": row.request,
        "status": row.status,
        "queue_position": queue_position,
        "attempts": row.attempts,
        "requested_at": instant(row.requested_at),
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "result": result,
        "result_url": result_url,
        "error": row.error,
        "reasons": reasons,
    }


def _result_url(row: sa.Row[Any]) -> str | None:
    """Return where the result of a task is served, if that is not the task itself."""
    if row.kind == "as_of":
        return f"/v1/scores?region={row.request['region']}&as_of={row.request['as_of']}"
    if row.kind == "recompute" and row.result["snapshot_id"] is not None:
        return f"/v1/snapshots/{row.result['snapshot_id']}"
    return None
