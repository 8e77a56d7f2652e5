"""The scheduler, a process of its own: it looks every second which jobs are due, and takes and works its turns at them.

A job is one declaration. Its work is done by children with a deadline; one that fails is logged and comes round again.
Any number of schedulers may look at the same database: a turn has one holder, and one that is gone is replaced.
"""

import contextlib
import hashlib
import logging
import os
import random
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO, Any

import sqlalchemy as sa
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from riskmodel import __version__, bundle
from riskmodel.errors import VigieError
from riskmodel.events import manifest
from riskmodel.home import Home
from service import logs
from service.alerts import outbox
from service.jobs import processes
from service.jobs.bootstrap import TRAINING_DEADLINE, prepare
from service.settings import Settings
from service.store import leases, task_queue
from service.store.database import Store
from service.store.leases import Fence, Superseded, Timing
from service.store.values import canonical

log = logging.getLogger("vigie.schedule")
_RNG = random.SystemRandom()

LOOK_EVERY = 1.0
"""How often to look for what is due, and for new data or a new model, which are recomputed at once [s]."""

PULSE = 0.1
"""How often a child is looked after [s]."""

AGAIN_AFTER = 10.0
"""How long after a job's child was killed the job is tried once more, before its interval is over; ± 50 % [s]."""

LOOK = "look"


class Cut(Exception):
    """A turn was ended before it was done; the text says why, fit for anyone."""


class Failed(Exception):
    """A turn did not come to what it was to do; the text says why, fit for anyone."""


class Killed(Failed):
    """A child was ended by a signal that was not ours: by hand, or for want of memory. It may well not happen again."""


@dataclass(frozen=True)
class Job(Timing):
    """A job: when it runs, and what it does. `inputs` says what it depends on: it runs at once when that changes."""

    work: Callable[["Turn"], None]
    inputs: Callable[[Home, Settings], str] | None = None


def declared(settings: Settings) -> tuple[Job, ...]:
    """The jobs of a home. To add one is to add a line here."""
    hour, minutes, seconds = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
    exporting = settings.export_deadline_seconds if settings.export_dir else 0
    computing = (TRAINING_DEADLINE + settings.recompute_deadline_seconds + exporting) * seconds
    pulling = len(settings.pull) * settings.pull_deadline_seconds * seconds
    return (
        *([Job("pull", settings.pull_every_minutes * minutes, pulling, pull)] if settings.pull else []),
        Job("recompute", settings.recompute_every_minutes * minutes, computing, recompute, inputs),
        Job("deliver", settings.deliver_every_seconds * seconds, 10 * minutes, deliver),
        Job("verify", 24 * hour, hour, lambda turn: turn.expect("verify"), data),
        Job("tasks", hour, settings.max_waiting_tasks * settings.task_deadline_seconds * seconds, answer, asked),
        Job("prune", 24 * hour, 10 * minutes, lambda turn: turn.expect("prune")),
    )


def pull(turn: "Turn") -> None:
    """Ask each provider that the settings name for what is new; one that does not answer is left for later."""
    silent = []
    for source in turn.settings.pull:
        turn.say(f"asking {source} for what is new")
        try:
            code = turn.run(["pull", source], turn.settings.pull_deadline_seconds)
        except subprocess.TimeoutExpired as late:
            turn.say(f"{source} was not done after {late.timeout:.0f} s; what was fetched is kept for the next time")
            silent.append(f"{source} was not done after {late.timeout:.0f} s")
        else:
            if code:
                turn.say(f"nothing new from {source} (exit code {code}); going on with what is here")
                silent.append(f"nothing new from {source} (exit code {code})")
    if silent:
        raise Failed("; ".join(silent))


def recompute(turn: "Turn") -> None:
    """Prepare what is lacking and recompute. What is cut off leaves the snapshot before it in service."""
    try:
        code = prepare(turn.home, turn.settings, turn.clock(), turn.say, turn.run)
    except (Cut, subprocess.TimeoutExpired) as cut:
        from service.jobs.recompute import (
            abandon,  # with pandas and all: nothing for a scheduler that is about to start
        )

        abandon(turn.store, turn.clock(), told(cut), turn.fence)
        raise
    if code:
        raise failed(code, f"a command {_how(code)}; the snapshot before stays in service")
    if turn.settings.export_dir:
        export(turn, turn.home.root / turn.settings.export_dir.expanduser())


def export(turn: "Turn", folder: Path) -> None:
    """Write what is served as files. If that fails the snapshot stands all the same, and so does the export before."""
    command = ["export", str(folder), "--region", turn.settings.region]
    try:
        how = _how(code) if (code := turn.run(command, turn.settings.export_deadline_seconds)) else None
    except subprocess.TimeoutExpired as late:
        how = f"was not done after {late.timeout:.0f} s"
    if how:
        turn.say(f"vigie export {how}; the export before it stands")


def deliver(turn: "Turn") -> None:
    """Send what waits in the outbox, if anything is due."""
    if outbox.has_due(turn.store, turn.settings, turn.clock()):
        turn.expect("alerts", "deliver")


def answer(turn: "Turn") -> None:
    """Work the queue of tasks, one at a time. One that is stopped with us goes back into it, as does one that died."""
    task_queue.requeue_orphans(turn.store, turn.fence, turn.clock())
    while number := task_queue.claim(turn.store, turn.fence, turn.clock()):
        try:
            turn.run(["task", number], turn.settings.task_deadline_seconds)
        except Cut:
            task_queue.put_back(turn.store, turn.fence, number)
            raise
        except subprocess.TimeoutExpired as late:
            task_queue.fail(turn.store, turn.fence, number, told(late), turn.clock())
        else:
            task_queue.requeue_orphans(turn.store, turn.fence, turn.clock())


def asked(home: Home, settings: Settings) -> str:
    """Which task was asked for last, at a glance."""
    with _store(home).reading() as connection:
        return task_queue.last_requested_at(connection)


@cache
def _store(home: Home) -> Store:
    return Store.of(home)


def inputs(home: Home, settings: Settings) -> str:
    """What a recompute depends on, at a glance, as a digest: the data, the models in service, the settings."""
    try:
        models = [str(bundle.champion(home.models, simulated=simulated)) for simulated in (True, False)]
    except VigieError as unreadable:
        models = [str(unreadable)]
    chosen = [settings.region, settings.bands, settings.drivers, __version__]
    said = {"chosen": chosen, "data": data(home, settings), "models": models}
    return hashlib.sha256(canonical(said).encode()).hexdigest()


def data(home: Home, settings: Settings) -> str:
    """What the archive holds, as a digest."""
    try:
        return manifest.digest(manifest.read(home.archive))
    except VigieError as unreadable:
        return hashlib.sha256(str(unreadable).encode()).hexdigest()


def told(failure: BaseException) -> str:
    """Why a turn did not end well, fit for anyone to read."""
    if isinstance(failure, subprocess.TimeoutExpired):
        return f"stopped: not done after {failure.timeout:.0f} s"
    if isinstance(failure, Cut | Failed):
        return str(failure)
    return "a fault of Vigie's own; the log has the traceback"


class Post:
    """Where turns are taken and worked: a home and its store, with clocks, and somebody who listens.

    `clock` gives the present in UTC, `monotonic` seconds that no setting of a clock moves; `ended` says whether this
    process was asked to end, and `say` takes lines for a person, by default the log.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        store: Store,
        *,
        ended: Callable[[], bool],
        say: Callable[[str], None] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.home, self.settings, self.store = home, settings, store
        self.ended, self.say, self.clock, self.monotonic = ended, say, clock, monotonic
        self.lease = timedelta(seconds=settings.lease_seconds)
        self.holder = f"{secrets.token_hex(4)}:{socket.gethostname()[:32]}:{os.getpid()}"[:64]
        self.form: logs.LogFormat = "text" if say else logs.resolve_format(settings.log_format)

    def declare(self, declared: Sequence[Job]) -> None:
        """Write down which jobs there are."""
        leases.declare(self.store, declared, self.settings.overdue_after_minutes, self.clock())

    def take(self, job: Job, seen: sa.Row[Any]) -> "Turn | None":
        """Take a turn at a job that stands as it was seen; None if somebody else was first."""
        found = job.inputs(self.home, self.settings) if job.inputs else None
        fence = leases.take(
            self.store, seen, holder=self.holder, lease=self.lease, input_digest=found, clock=self.clock
        )
        return Turn(self, job, fence, found, makes_up=leases.is_retry(seen, found)) if fence else None

    def at_once(self, job: Job) -> bool:
        """Work a turn at a job now, whether it is due or not; False where somebody else is at it."""
        seen = leases.read(self.store)[job.name]
        turn = None if seen.status == "running" else self.take(job, seen)
        if turn:
            turn.work()
        return turn is not None


class Turn:
    """One turn at a job: its children run under its token, its lease and its deadline."""

    def __init__(self, post: Post, job: Job, fence: Fence, found: str | None, *, makes_up: bool = False) -> None:
        """`makes_up` says that it only makes up for one that was cut off: nothing makes up for this one."""
        self.home, self.settings, self.store, self.clock = post.home, post.settings, post.store, post.clock
        self.fence, self._post, self._job, self._inputs = fence, post, job, found
        self._began = self._renewed = post.monotonic()
        self._until = self._began + job.deadline.total_seconds()
        self._fields = {"job": job.name, "token": fence.token}
        self._busy, self._makes_up = False, makes_up

    def work(self) -> None:
        """Do the job's work and write down how it went, unless another has taken the turn meanwhile."""
        error = again_at = None
        try:
            self._job.work(self)
            status = "ok"
        except Superseded as lost:
            log.error("job %s: %s", self._job.name, lost, extra=self._fields)
            return
        except Exception as failure:
            status, error = "stopped" if isinstance(failure, Cut) else "failed", told(failure)
            fault = failure if not isinstance(failure, Cut | Failed | subprocess.TimeoutExpired) else None
            log.error("job %s: %s", self._job.name, error, exc_info=fault, extra=self._fields)
            if isinstance(failure, Killed) and not self._makes_up:
                again_at = self.clock() + timedelta(seconds=_RNG.uniform(0.5, 1.5) * AGAIN_AFTER)
        try:
            leases.finish(
                self.store, self.fence, status, self.clock(), input_digest=self._inputs, error=error, retry_at=again_at
            )
        except (Superseded, sa.exc.SQLAlchemyError) as lost:
            log.error("job %s: its end cannot be written: %s", self._job.name, lost, extra=self._fields)
            return
        if self._busy and status == "ok":
            took = self._post.monotonic() - self._began
            log.info("job %s: done in %.1f s", self._job.name, took, extra={**self._fields, "seconds": round(took, 3)})

    def say(self, line: str) -> None:
        """Tell what is done."""
        if self._post.say:
            self._post.say(line)
        else:
            logs.relay(log, line, **self._fields)

    def expect(self, *arguments: str) -> None:
        """Run a `vigie` command that has to end well, until the turn's deadline at the latest. Raises Failed."""
        if code := self.run(arguments):
            raise failed(code, f"vigie {' '.join(arguments)} {_how(code)}")

    def run(self, arguments: Sequence[str], deadline: float = float("inf")) -> int:
        """Run a `vigie` command as a child under this turn and return its exit code.

        It is stopped after `deadline` [s], or at that of the turn: raises subprocess.TimeoutExpired; raises Cut if we
        are to end, and Superseded if the turn is lost.
        """
        began, self._busy = self._post.monotonic(), True
        self._inputs = self._job.inputs(self.home, self.settings) if self._job.inputs else None
        environment = {**self.fence.environment, "VIGIE_LOG_FORMAT": self._post.form}
        child = processes.start(processes.command(self.home, *arguments), environment, heard=True)
        ear = threading.Thread(target=self._hear, args=(child.stdout,), daemon=True, name=f"{self._job.name}-ear")
        ear.start()
        try:
            while (code := _ended(child)) is None:
                now = self._post.monotonic()
                if self._post.ended():
                    raise Cut("stopped with the scheduler")
                if now >= self._until or now - began >= deadline:
                    raise subprocess.TimeoutExpired(list(arguments), now - began)
                self._hold(now)
            return code
        finally:
            processes.stop(child)
            ear.join(1.0)

    def _hold(self, now: float) -> None:
        """Renew the lease when a third of it has gone; where the database is away, again after another third."""
        if now - self._renewed < self._post.lease.total_seconds() / 3:
            return
        self._renewed = now
        try:
            leases.renew(self.store, self.fence, self.clock() + self._post.lease)
        except sa.exc.SQLAlchemyError as away:
            log.warning("job %s: its lease cannot be renewed: %s", self._job.name, away, extra=self._fields)

    def _hear(self, stream: IO[bytes]) -> None:
        """Pass on what a child says."""
        with stream:
            for raw in stream:
                if line := raw.decode(errors="replace").rstrip():
                    self.say(line.removeprefix("vigie: "))


class Scheduler:
    """The jobs of a home, and the turns that this process is at."""

    def __init__(self, post: Post, declared: Sequence[Job]) -> None:
        self._post, self._jobs = post, declared
        self._watch = leases.LeaseWatch(post.lease)
        self._at: dict[str, threading.Thread] = {}
        self._known: dict[str, str] = {}
        self._changed: set[str] = set()
        post.declare(declared)

    def look(self) -> list[str]:
        """Take what is due and work on it, each in a thread; return the names of the jobs that were taken."""
        rows, now, taken = leases.read(self._post.store), self._post.clock(), []
        if any(job.name not in rows for job in self._jobs):  # another database stands in the place of ours
            self._post.declare(self._jobs)
            rows = leases.read(self._post.store)
        for job in self._jobs:
            if job.name in self._at and self._at[job.name].is_alive():
                continue
            if self._called_for(job, rows[job.name], now) and (turn := self._post.take(job, rows[job.name])):
                self._changed.discard(job.name)
                self._at[job.name] = threading.Thread(target=turn.work, name=job.name)
                self._at[job.name].start()
                taken.append(job.name)
        return taken

    def wait(self) -> None:
        """Wait until the turns under way have ended."""
        for thread in self._at.values():
            thread.join()

    def _called_for(self, job: Job, row: sa.Row[Any], now: datetime) -> bool:
        """Whether a job is to run: its time or other inputs have come, or its holder has gone.

        Inputs count when they change before our eyes and its last holder had not seen them: two schedulers that see
        different things do not run the job in turns.
        """
        if job.inputs:
            found = job.inputs(self._post.home, self._post.settings)
            if found != self._known.get(job.name):
                self._known[job.name] = found
                self._changed.add(job.name)
            if found == row.input_digest:
                self._changed.discard(job.name)
        if row.status == "running":
            return self._watch.expired(row, self._post.monotonic())
        return job.name in self._changed or leases.due_at(row, job.every, now) <= now


def run(home: Home, settings: Settings) -> None:
    """Run the jobs until SIGTERM or Ctrl-C; what is under way is stopped first, and rolled back."""
    processes.end_with_parent()
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    post = Post(home, settings, Store.of(home), ended=ended.is_set)
    scheduler = Scheduler(post, declared(settings))
    ticker = ticking(scheduler.look)
    ticker.start()
    while not ended.wait(LOOK_EVERY):
        keep_ticking(ticker, datetime.now(UTC))
    ticker.shutdown(wait=True)
    scheduler.wait()


def ticking(look: Callable[[], object]) -> BackgroundScheduler:
    """A ticker that looks every second: once after a sleep, not as often as it missed. It is not started yet."""
    ticker = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    ticker.add_listener(_Complaint(), EVENT_JOB_ERROR | EVENT_JOB_EXECUTED)
    ticker.add_job(look, "interval", seconds=LOOK_EVERY, next_run_time=datetime.now(UTC), id=LOOK)
    return ticker


def keep_ticking(ticker: BackgroundScheduler, now: datetime) -> None:
    """Bring the next look forward if it is further off than it can be: APScheduler waits by the clock of the wall.

    Without this, a clock set back by an hour would stop everything for an hour.
    """
    next_look = ticker.get_job(LOOK).next_run_time
    if next_look > now + timedelta(seconds=3 * LOOK_EVERY):
        log.warning("the clock was set back; looking on at once")
        ticker.modify_job(LOOK, next_run_time=now)


class _Complaint:
    """Logs why looking failed, once for each reason: a database that is away is not news every second."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, event: JobExecutionEvent) -> None:
        text = f"{type(event.exception).__name__}: {event.exception}" if event.exception else ""
        if text != self._last:
            log.error("cannot look for what is due: %s", text) if text else log.info("looking for what is due again")
        self._last = text


def _ended(child: "subprocess.Popen[bytes]") -> int | None:
    """The exit code of a child that ends within a pulse."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(PULSE)
    return None


def failed(code: int, how: str) -> Failed:
    """What it means for a job that a child of it ended with this code, which is not 0; `how` is the text."""
    return Killed(how) if code < 0 else Failed(how)


def _how(code: int) -> str:
    """How a command that did not end well has ended."""
    return f"was stopped by signal {-code}" if code < 0 else f"ended with exit code {code}"
