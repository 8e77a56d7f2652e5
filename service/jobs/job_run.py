"""One run of a job: it holds the job's lease, works through child processes, and records how it ended.

A child gets the run's fencing token. Once another process has taken the lease, neither the run nor its children can
write any more.
"""

import logging
import os
import random
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import sqlalchemy as sa

from service import logs
from service.alerts.channels import heartbeat
from service.jobs import processes
from service.jobs.heartbeat import Heartbeat
from service.jobs.processes import Child, ChildResult
from service.jobs.public_errors import INTERNAL_ERROR, without_home
from service.store import leases
from service.store.context import Context
from service.store.database import DatabaseUnavailable
from service.store.leases import Fence, Superseded, Timing

log = logging.getLogger("vigie.jobs")
_RANDOM = random.SystemRandom()

StartChild: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], Child]
"""Starts a `vigie` command, given its arguments and more environment, and captures its output."""

NICENESS = 10
"""Lowers the priority of background work below the web server's and the recompute's; 19 is the lowest."""

RETRY_AFTER = timedelta(seconds=10)
"""A job whose child was killed runs again after about this time (±50 %), once, before its interval is over."""


class Interrupted(Exception):
    """The run was stopped because the scheduler ends. The text is public."""


class JobFailed(Exception):
    """The run did not do what it should. The text is public."""


class DeadlineExceeded(JobFailed):
    """A child was stopped at its deadline, or at that of the run."""


class ChildKilled(JobFailed):
    """A child was ended by a signal that was not ours: by hand, or because memory ran out. A retry may succeed."""


@dataclass(frozen=True)
class Job(Timing):
    """A job: when it runs, and what it does.

    `inputs` returns a digest of what the job depends on. A change of it starts a run at once. `heartbeat_url` is the
    address of an outside monitor.
    """

    work: Callable[["JobRun"], None]
    inputs: Callable[[Context], str] | None = None
    heartbeat_url: str | None = None


class JobRunner:
    """Takes leases in the name of this process, and runs jobs under them.

    `monotonic` returns seconds that do not change when a clock is set. `stopping` returns whether this process was
    asked to end. `print_line` gets the lines that children print; by default they go to the log. `start_child` starts
    children; by default each is a new interpreter.
    """

    def __init__(
        self,
        context: Context,
        *,
        stopping: Callable[[], bool],
        print_line: Callable[[str], None] | None = None,
        start_child: StartChild | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.context, self.stopping, self.print_line, self.monotonic = context, stopping, print_line, monotonic
        self.start_child = start_child or self.start_interpreter
        self.lease = timedelta(seconds=context.settings.lease_seconds)
        self.holder = f"{secrets.token_hex(4)}:{socket.gethostname()[:32]}:{os.getpid()}"[:64]
        self.log_format: logs.LogFormat = "text" if print_line else logs.resolve_format(context.settings.log_format)
        self._heartbeats: dict[str, Heartbeat] = {}

    def start_interpreter(self, arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start a `vigie` command in a new interpreter."""
        return processes.start(processes.command(self.context.home, *arguments), environment, capture=True)

    def heartbeat(self, job: Job) -> Heartbeat | None:
        """Return the heartbeat of a job; None if nobody monitors it."""
        if job.heartbeat_url is None:
            return None
        if job.name not in self._heartbeats:
            allowed = self.context.settings.allow_private_webhooks
            call = partial(heartbeat.heartbeat, job.heartbeat_url, allowed=allowed)
            self._heartbeats[job.name] = Heartbeat(call, self.monotonic)
        return self._heartbeats[job.name]

    def declare(self, jobs: Sequence[Job]) -> None:
        """Write the jobs into the table."""
        context = self.context
        leases.declare(context.store, jobs, context.settings.overdue_after_minutes, context.clock())

    def take(self, job: Job, seen: sa.Row[object]) -> "JobRun | None":
        """Take the lease of a job whose row is still as it was `seen`; None if another process was first."""
        inputs = job.inputs(self.context) if job.inputs else None
        fence = leases.take(
            self.context.store,
            seen,
            holder=self.holder,
            lease=self.lease,
            input_digest=inputs,
            clock=self.context.clock,
        )
        return JobRun(self, job, fence, inputs, is_retry=leases.is_retry(seen, inputs)) if fence else None

    def run_now(self, job: Job) -> bool:
        """Run a job now, due or not. Return False if another process is running it."""
        seen = leases.read(self.context.store)[job.name]
        run = None if seen.status == "running" else self.take(job, seen)
        if run:
            run.execute()
        return run is not None


class JobRun:
    """One run of a job. Its children run under its fencing token, its lease and its deadline.

    If the work sets `again`, the next run is due at once. If it sets `troubled`, the outside monitor gets a failure,
    although the run itself succeeds.
    """

    again = False
    troubled = False

    def __init__(
        self, runner: JobRunner, job: Job, fence: Fence, inputs: str | None, *, is_retry: bool = False
    ) -> None:
        """`is_retry` says that the run repeats one that was killed. A retry is not retried."""
        self.context, self.fence = runner.context, fence
        self._runner, self._job, self._inputs, self._is_retry = runner, job, inputs, is_retry
        self._started = self._renewed = runner.monotonic()
        self._deadline = self._started + job.deadline.total_seconds()
        self._log_fields = {"job": job.name, "token": fence.token}
        self._had_children = False

    def execute(self) -> None:
        """Do the work and record how it ended, unless another process has taken the lease meanwhile."""
        error = retry_at = None
        heartbeat = self._runner.heartbeat(self._job)
        if heartbeat:
            heartbeat.started()
        try:
            self._job.work(self)
            status, retry_at = "ok", self.context.clock() if self.again else None
        except Superseded as lost:
            log.error("job %s: %s", self._job.name, lost, extra=self._log_fields)
            return
        except Interrupted as interrupted:
            status, error = "stopped", str(interrupted)
            log.error("job %s: %s", self._job.name, error, extra=self._log_fields)
        except JobFailed as failed:
            status, error = "failed", str(failed)
            log.error("job %s: %s", self._job.name, error, extra=self._log_fields)
            if isinstance(failed, ChildKilled) and not self._is_retry:
                retry_at = self.context.clock() + _RANDOM.uniform(0.5, 1.5) * RETRY_AFTER
        except (DatabaseUnavailable, sa.exc.OperationalError, sa.exc.InterfaceError) as away:
            status, error = "failed", "the database could not be used"
            log.error("job %s: %s: %s", self._job.name, error, away, extra=self._log_fields)
        except Exception:
            status, error = "failed", INTERNAL_ERROR
            log.exception("job %s: %s", self._job.name, error, extra=self._log_fields)
        if heartbeat and status != "stopped":
            heartbeat.ended(ok=status == "ok" and not self.troubled)
        try:
            leases.finish(
                self.context.store,
                self.fence,
                status,
                self.context.clock(),
                input_digest=self._inputs,
                error=error,
                retry_at=retry_at,
            )
        except (Superseded, sa.exc.SQLAlchemyError) as lost:
            log.error("job %s: its end cannot be recorded: %s", self._job.name, lost, extra=self._log_fields)
            return
        if self._had_children and status == "ok":
            seconds = self._runner.monotonic() - self._started
            fields = {**self._log_fields, "seconds": round(seconds, 3)}
            log.info("job %s: done in %.1f s", self._job.name, seconds, extra=fields)

    def print_line(self, line: str) -> None:
        """Print a line of progress, or log it."""
        if self._runner.print_line:
            self._runner.print_line(line.removeprefix(processes.ERROR_PREFIX))
        else:
            logs.relay(log, line, **self._log_fields)

    def vigie(self, *arguments: str, deadline: float = float("inf"), background: bool = False) -> None:
        """Run a `vigie` command as a child, for at most `deadline` [s] and not beyond the deadline of the run.

        With `background`, the child has a low priority, and can have worker processes of its own.

        Raises JobFailed if it does not succeed: ChildKilled or DeadlineExceeded where these are the reason. Raises
        Interrupted if the scheduler ends, and Superseded if another process takes the lease; the child is stopped.
        """
        started, self._had_children = self._runner.monotonic(), True
        # The job may have changed its own inputs since it started. What it sees now is what it has dealt with.
        self._inputs = self._job.inputs(self.context) if self._job.inputs else None

        def check() -> None:
            now = self._runner.monotonic()
            if self._runner.stopping():
                raise Interrupted("stopped with the scheduler")
            if now >= self._deadline or now - started >= deadline:
                raise DeadlineExceeded(f"stopped: not done after {now - started:.0f} s")
            self._renew_lease(now)

        environment = {**self.fence.environment, "VIGIE_LOG_FORMAT": self._runner.log_format}
        if background:
            # Not forked: a forked child would wait five minutes for its idle workers before it ends.
            interpreter = self._runner.start_interpreter(arguments, environment)
            processes.lower_priority(interpreter, NICENESS)
            child: Child = interpreter
        else:
            child = self._runner.start_child(arguments, environment)
        result = processes.run(child, print_line=self.print_line, check=check)
        if result.exit_code:
            raise self._failure(result, arguments)

    def _failure(self, result: ChildResult, arguments: Sequence[str]) -> JobFailed:
        text = without_home(f"vigie {' '.join(arguments)} {result.describe()}", self.context.home)
        return ChildKilled(text) if result.killed else JobFailed(text)

    def _renew_lease(self, now: float) -> None:
        # After a third of the lease: a renewal that fails leaves time for another one.
        if now - self._renewed < self._runner.lease.total_seconds() / 3:
            return
        self._renewed = now
        try:
            leases.renew(self.context.store, self.fence, self.context.clock() + self._runner.lease)
        except sa.exc.SQLAlchemyError as unavailable:
            log.warning("job %s: its lease cannot be renewed: %s", self._job.name, unavailable, extra=self._log_fields)
