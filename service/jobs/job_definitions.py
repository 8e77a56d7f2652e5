"""The jobs of a home: when each one runs, and what it does. A new job is one more entry in `define_jobs`."""

import hashlib
import logging
from datetime import timedelta

from riskmodel import __version__, bundle
from riskmodel.alerting import rule_file
from riskmodel.errors import VigieError
from riskmodel.events import manifest
from service.alerts import delivery, outbox
from service.jobs.bootstrap import TRAINING_DEADLINE, prepare
from service.jobs.hindcast_job import HINDCAST_DEADLINE, STORE_DEADLINE, compute_hindcasts, hindcast_inputs
from service.jobs.job_run import DeadlineExceeded, Interrupted, Job, JobFailed, JobRun
from service.settings import Settings
from service.store import task_queue
from service.store.context import Context
from service.store.values import canonical

log = logging.getLogger("vigie.jobs")


def define_jobs(settings: Settings) -> tuple[Job, ...]:
    """Return the jobs of a home with these settings."""
    second, minute, hour, day = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    pull_deadline = len(settings.pull) * settings.pull_deadline_seconds * second
    export_deadline = settings.export_deadline_seconds if settings.export_dir else 0
    recompute_deadline = (TRAINING_DEADLINE + settings.recompute_deadline_seconds + export_deadline) * second
    hindcast_deadline = (HINDCAST_DEADLINE + STORE_DEADLINE + export_deadline) * second
    tasks_deadline = settings.max_waiting_tasks * settings.task_deadline_seconds * second
    return (
        *([Job("pull", settings.pull_every_minutes * minute, pull_deadline, pull)] if settings.pull else []),
        Job(
            "recompute",
            settings.recompute_every_minutes * minute,
            recompute_deadline,
            recompute,
            recompute_inputs,
            heartbeat_url=_text(settings.heartbeat_url),
        ),
        Job(
            "deliver",
            settings.deliver_every_seconds * second,
            10 * minute,
            deliver,
            heartbeat_url=_text(settings.delivery_heartbeat_url),
        ),
        *([Job("hindcast", day, hindcast_deadline, hindcast, hindcast_inputs)] if settings.hindcast_months else []),
        Job("verify", day, hour, lambda run: run.vigie("verify"), verify_inputs),
        Job("tasks", hour, tasks_deadline, work_task_queue, newest_task),
        Job("prune", day, 10 * minute, lambda run: run.vigie("prune")),
    )


def _text(url: object | None) -> str | None:
    return None if url is None else str(url)


def pull(run: JobRun) -> None:
    """Fetch new data from each provider in the settings. A provider that fails does not stop the others."""
    failures = []
    for source in run.context.settings.pull:
        run.print_line(f"fetching new data from {source}")
        try:
            run.vigie("pull", source, deadline=run.context.settings.pull_deadline_seconds)
        except JobFailed as failed:
            failures.append(f"{source}: {failed}")
    if failures:
        raise JobFailed(f"{'; '.join(failures)}; Vigie continues with the data that are here")


def recompute(run: JobRun) -> None:
    """Create what is missing, recompute, and export. If the recompute fails, the last snapshot stays in service."""
    context = run.context
    try:
        run.again = prepare(context, run.print_line, run.vigie)
    except (Interrupted, DeadlineExceeded) as cut_off:
        # pandas is slow to import: a scheduler that starts must not wait for it.
        from service.jobs.recompute import mark_abandoned_runs

        mark_abandoned_runs(context.store, context.clock(), str(cut_off), run.fence)
        raise
    _export(run)


def hindcast(run: JobRun) -> None:
    """Compute what would have been reported in the past, store it, and export."""
    if compute_hindcasts(run):
        _export(run)


def _export(run: JobRun) -> None:
    """Write what is served as files, if the settings say so. If this fails, the last export stays."""
    settings = run.context.settings
    if settings.export_dir is None:
        return
    folder = run.context.home.root / settings.export_dir.expanduser()
    try:
        run.vigie("export", str(folder), "--region", settings.region, deadline=settings.export_deadline_seconds)
    except JobFailed as failed:
        run.print_line(f"export: {failed}; the last export stays")


def deliver(run: JobRun) -> None:
    """Send the messages in the outbox, if any is due."""
    context = run.context
    if delivery.has_work(context.store, context.settings, context.clock()):
        run.vigie("alerts", "deliver")
    with context.store.reading() as connection:
        run.troubled = outbox.count_undelivered(connection)[0] > 0


def work_task_queue(run: JobRun) -> None:
    """Run the waiting tasks, one at a time. A task that is stopped or killed goes back into the queue."""
    store, clock = run.context.store, run.context.clock
    task_queue.requeue_orphans(store, run.fence, clock())
    while task_id := task_queue.claim(store, run.fence, clock()):
        try:
            run.vigie("task", task_id, deadline=run.context.settings.task_deadline_seconds)
        except Interrupted:
            task_queue.put_back(store, run.fence, task_id)
            raise
        except DeadlineExceeded as late:
            task_queue.fail(store, run.fence, task_id, str(late), clock())
        except JobFailed:
            # A child that was killed has not recorded the failure of its task.
            task_queue.requeue_orphans(store, run.fence, clock())


def newest_task(context: Context) -> str:
    """Return a value that changes with each new task."""
    with context.store.reading() as connection:
        return task_queue.last_requested_at(connection)


def recompute_inputs(context: Context) -> str:
    """Return a digest of what a recompute depends on: the data, the models in service, the settings, the version.

    It is cheap, because it is computed several times a second: no data are read.
    """
    settings = context.settings
    try:
        models = [
            str(path)
            for simulated in (True, False)
            for path in bundle.champions(context.home.models, simulated=simulated).values()
        ]
    except VigieError as unreadable:
        models = [str(unreadable)]
    content = {
        "data": data_digest(context),
        "models": models,
        "settings": [settings.region, settings.bands, settings.drivers, settings.refit],
        "vigie": __version__,
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def verify_inputs(context: Context) -> str:
    """Return a digest of what a verification depends on: the data, and the alert rules, whose records it computes."""
    try:
        rules = rule_file.read_file(context.home)[0]
    except VigieError as unreadable:
        rules = str(unreadable)
    content = {"data": data_digest(context), "rules": rules}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def data_digest(context: Context) -> str:
    """Return the digest of the archive's data, from its manifest."""
    try:
        return manifest.digest(manifest.read(context.home.archive))
    except VigieError as unreadable:
        return hashlib.sha256(str(unreadable).encode()).hexdigest()
