"""Who may start computations, and how many: a past moment without a snapshot trains a model, which takes minutes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from service.http.message import Request
from service.http.problems import Problem
from service.http.rate_limit import RequestCounter
from service.settings import Settings, is_loopback

HOUR = 3_600
"""The window in which computations are counted [s]."""

RESERVED_SHARE = 5
"""One in so many places of the queue is for clients with a key."""


class TaskQuota:
    """Decides for the requests of one web server. `listens_on` is the host that it is bound to, or None if unknown."""

    def __init__(
        self,
        settings: Settings,
        counter: RequestCounter,
        listens_on: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._counter, self._clock = counter, clock
        self._limit, self._places = settings.limits.tasks_per_hour, settings.max_waiting_tasks
        self._public_tasks, self._local = settings.public_tasks, listens_on is not None and is_loopback(listens_on)

    def of(self, request: Request) -> "TaskStart":
        """Return what a view uses when a request starts a computation."""
        return TaskStart(self, request)

    def max_waiting(self, request: Request) -> int:
        """Return how many tasks may wait if a request adds one. Raises Problem if it must not start a computation."""
        if request.admission.key is not None:
            return self._places
        # A proxy on this machine forwards requests of others: they are not local.
        own_machine = self._local and "x-forwarded-for" not in request.headers
        if not (own_machine if self._public_tasks is None else self._public_tasks):
            raise Problem("tasks-need-a-key")
        return self._places - self._places // RESERVED_SHARE

    def count(self, request: Request) -> None:
        """Count a computation that a request starts. Raises Problem if it is one too many in this hour."""
        admission = request.admission
        window, passed = divmod(int(self._clock()), HOUR)
        if self._limit and (admission.key is not None or not admission.unlimited):
            asker = f"{admission.key or admission.client} tasks"
            if self._counter.count(asker, window) > self._limit:
                raise Problem("too-many-tasks", retry_after_seconds=HOUR - passed)


@dataclass(frozen=True)
class TaskStart:
    """The quota of one request, for the view that may start a computation."""

    quota: TaskQuota
    request: Request

    def max_waiting(self) -> int:
        """Return how many tasks may wait if this request adds one. Raises Problem if it must not."""
        return self.quota.max_waiting(self.request)

    def count(self) -> None:
        """Count the computation. Raises Problem if it is one too many."""
        self.quota.count(self.request)
