"""The scheduler: a process in which APScheduler starts the jobs of a home when they are due.

Any number of schedulers can work on one database. The table of jobs has the state that they share: when each job is
due, and who holds its lease. APScheduler's triggers start the jobs at these times. One more APScheduler job, the watch,
looks several times a second for what changes these times: other inputs, an expired lease, a run by another scheduler.
"""

import logging
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import sqlalchemy as sa
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from riskmodel.home import Home
from service.jobs import fork_server
from service.jobs.job_definitions import define_jobs
from service.jobs.job_run import Job, JobRunner
from service.settings import Settings
from service.store import leases
from service.store.context import Context
from service.store.database import Store
from service.store.postgresql import Deadlines

log = logging.getLogger("vigie.jobs")

WATCH_EVERY = 0.2
"""How often the watch looks [s]: new data start a recompute within about this time."""

DEADLINES = Deadlines(read=10.0, write=20.0)
"""How long a transaction of the scheduler itself may take [s]. Jobs work in children, which have other deadlines."""

WATCH = "watch"
"""The name of the watch among APScheduler's jobs."""

MISFIRE_GRACE = 6 * 3600
"""How late a job may still start [s]. APScheduler's own default, 1 s, drops the run of a busy moment without a word."""


class Scheduler:
    """APScheduler with the jobs of a home."""

    def __init__(self, runner: JobRunner, jobs: Sequence[Job]) -> None:
        self._runner, self._jobs = runner, jobs
        self._leases = leases.LeaseWatch(runner.lease)
        self._lock = threading.Lock()
        self._seen_inputs: dict[str, str] = {}
        self._changed: set[str] = set()
        self._running: set[str] = set()
        self._errors = _ErrorLog()
        # One thread for each job and one for the watch: a job that takes long does not keep another one waiting.
        self._threads = ThreadPoolExecutor(len(jobs) + 1)
        self._apscheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": self._threads},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_GRACE},
        )
        self._apscheduler.add_listener(self._errors, EVENT_JOB_ERROR | EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
        runner.declare(jobs)

    def start(self) -> None:
        """Start the jobs when they are due, in threads of this process."""
        now = datetime.now(UTC)
        for job in self._jobs:
            trigger = IntervalTrigger(seconds=max(1, round(job.every.total_seconds())), timezone=UTC)
            # Paused until the watch has read from the table when the job is due.
            self._apscheduler.add_job(self._run, trigger, [job], id=job.name, next_run_time=None)
        self._apscheduler.add_job(
            self.watch, IntervalTrigger(seconds=WATCH_EVERY, timezone=UTC), id=WATCH, next_run_time=now
        )
        self._apscheduler.start()

    def shut_down(self) -> None:
        """Start nothing more, and wait until the runs of this process have ended."""
        # APScheduler waits with its locks held, and a run that ends needs them to plan its next start: wait afterwards.
        self._apscheduler.shutdown(wait=False)
        self._threads.shutdown(wait=True)

    def watch(self) -> None:
        """Tell APScheduler when each job is due, as the table of jobs has it now."""
        rows = self._rows()
        for job in self._jobs:
            if job.name not in self._running and (due := self.due_at(job, rows[job.name])) is not None:
                self._plan(job, due)

    def due_at(self, job: Job, row: sa.Row[Any]) -> datetime | None:
        """Return when a job is due; None while another process holds its lease.

        It is due now if its inputs have changed while this process watched, and its last run has not seen them. So two
        schedulers that see different inputs do not start the job in turns.
        """
        now = self._runner.context.clock()
        with self._lock:
            if job.inputs:
                inputs = job.inputs(self._runner.context)
                if inputs != self._seen_inputs.get(job.name):
                    self._seen_inputs[job.name] = inputs
                    self._changed.add(job.name)
                if inputs == row.input_digest:
                    self._changed.discard(job.name)
            if row.status == "running":
                return now if self._leases.expired(row, self._runner.monotonic()) else None
            return now if job.name in self._changed else leases.due_at(row, job.every, now)

    def run_if_due(self, job: Job) -> bool:
        """Run a job if it is due and no other process runs it; return whether it was run."""
        row = self._rows()[job.name]
        due = self.due_at(job, row)
        if due is None or due > self._runner.context.clock():
            return False
        with self._lock:
            self._running.add(job.name)
            inputs_changed = job.name in self._changed
            # Before the lease is taken: a change that the watch sees from now on is a new one.
            self._changed.discard(job.name)
        run = None
        try:
            run = self._runner.take(job, row)
            if run is not None:
                run.execute()
        finally:
            with self._lock:
                self._running.discard(job.name)
                if inputs_changed and run is None:  # another process was first, or the database is unavailable
                    self._changed.add(job.name)
        return run is not None

    def _run(self, job: Job) -> None:
        self.run_if_due(job)
        # The interval counts from when the lease was taken, and APScheduler's from when the job was due: keep in step.
        if (due := self.due_at(job, self._rows()[job.name])) is not None:
            self._plan(job, due)

    def check_clock(self, now: datetime) -> None:
        """Start the watch if its next start is further away than it can be: the clock was set back.

        APScheduler waits by the wall clock. Without this, a clock set back by an hour would stop all jobs for an hour.
        """
        next_watch = self._apscheduler.get_job(WATCH).next_run_time
        if next_watch > now + timedelta(seconds=3 * WATCH_EVERY):
            log.warning("the clock was set back; the jobs go on")
            self._apscheduler.modify_job(WATCH, next_run_time=now)

    def _rows(self) -> dict[str, sa.Row[Any]]:
        """Read the table of jobs. If it lacks a job, another database has taken the place of ours: declare the jobs."""
        rows = leases.read(self._runner.context.store)
        if any(job.name not in rows for job in self._jobs):
            self._runner.declare(self._jobs)
            rows = leases.read(self._runner.context.store)
        return rows

    def _plan(self, job: Job, due: datetime) -> None:
        with suppress(JobLookupError):  # the scheduler was shut down meanwhile
            planned = self._apscheduler.get_job(job.name)
            if planned and planned.next_run_time != due:
                self._apscheduler.modify_job(job.name, next_run_time=due)


class _ErrorLog:
    """Logs missed runs and errors of APScheduler's jobs. An error that repeats is logged once, and its end too."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def __call__(self, event: JobExecutionEvent) -> None:
        if event.code == EVENT_JOB_MISSED:
            log.warning("job %s: its run at %s was missed", event.job_id, event.scheduled_run_time)
            return
        error = f"{type(event.exception).__name__}: {event.exception}" if event.exception else ""
        if error != self._last.get(event.job_id, ""):
            if error:
                log.error("job %s cannot be started: %s", event.job_id, error)
            else:
                log.info("job %s can be started again", event.job_id)
        self._last[event.job_id] = error


def run(home: Home, settings: Settings) -> None:
    """Run the jobs of a home until SIGTERM or Ctrl-C. Runs that are not finished are stopped and rolled back."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    context = Context(home, settings, Store.of(home, deadlines=DEADLINES))
    server = fork_server.ForkServer(home) if fork_server.AVAILABLE else None
    start_child = server.start if server else None
    scheduler = Scheduler(JobRunner(context, stopping=stopping.is_set, start_child=start_child), define_jobs(settings))
    scheduler.start()
    if server:
        server.warm_up()
    while not stopping.wait(WATCH_EVERY):
        scheduler.check_clock(datetime.now(UTC))
    scheduler.shut_down()
