"""The scheduler, a process of its own: recompute and deliver, again and again, whatever happens to one of them.

A job that fails is logged and comes round again; what counts is the age of the last success, which the service shows.
"""

import logging
import signal
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from types import FrameType

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from riskmodel import bundle
from riskmodel.errors import VigieError
from riskmodel.events import manifest
from riskmodel.home import Home
from service import processes
from service.alerts.outbox import deliver_due
from service.prepare import prepare, pull
from service.recompute import abandon
from service.settings import Settings
from service.store.database import Store

log = logging.getLogger("vigie.schedule")

LOOK_EVERY = 1.0
"""How often to look for new data or a new model, which are recomputed at once [s]."""


_recomputing = threading.Lock()


def run(home: Home, settings: Settings) -> None:
    """Run the jobs until SIGTERM or Ctrl-C; the job under way is finished or rolled back first."""
    processes.end_with_parent()
    store = Store.of(home)
    scheduler = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 6 * 3600}
    )
    scheduler.add_listener(_report, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    now = datetime.now(UTC)
    scheduler.add_job(
        recompute,
        "interval",
        (home, settings, store),
        minutes=settings.recompute_every_minutes,
        next_run_time=now,
        id="recompute",
    )
    if settings.pull:
        scheduler.add_job(
            pull,
            "interval",
            (home, settings, log.info),
            minutes=settings.pull_every_minutes,
            next_run_time=now,
            id="pull",
        )
    scheduler.add_job(
        deliver,
        "interval",
        (store, settings),
        seconds=settings.deliver_every_seconds,
        next_run_time=now + timedelta(seconds=2),
        id="deliver",
    )
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    seen = _inputs(home)
    scheduler.start()
    while not ended.wait(LOOK_EVERY):
        if (found := _inputs(home)) != seen and not _recomputing.locked():
            seen = found
            scheduler.modify_job("recompute", next_run_time=datetime.now(UTC))
    scheduler.pause()
    processes.stop_children()
    scheduler.shutdown(wait=True)


def recompute(home: Home, settings: Settings, store: Store) -> None:
    """Prepare what is lacking and recompute, each in a child with a deadline."""
    try:
        with _recomputing:
            code = prepare(home, settings, datetime.now(UTC), log.info)
    except subprocess.TimeoutExpired as late:
        abandon(store, datetime.now(UTC), f"stopped: not done after {late.timeout:.0f} s")
        log.error("stopped a command that was not done after %.0f s", late.timeout)
    else:
        if code < 0:
            log.warning("a command was stopped by signal %d; the snapshot before stays in service", -code)
        elif code:
            log.error("a command ended with exit code %d; the snapshot before stays in service", code)


def deliver(store: Store, settings: Settings) -> None:
    """Send what waits in the outbox."""
    deliver_due(store, settings, lambda: datetime.now(UTC))


def _inputs(home: Home) -> tuple[str, ...]:
    """What a recompute depends on, at a glance: the ingests and the models in service."""
    try:
        pointers = (bundle.champion(home.models, simulated=simulated) for simulated in (True, False))
        return (manifest.digest(manifest.read(home.archive)), *map(str, pointers))
    except VigieError as unreadable:
        return (str(unreadable),)


def _report(event: JobExecutionEvent) -> None:
    log.error("job %s: %s", event.job_id, getattr(event, "exception", None) or "missed")
