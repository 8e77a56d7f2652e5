"""`vigie recompute`, `verify`, `prune`, `store-hindcasts` and `task`: run one job, or a part of it, now.

The scheduler starts the same commands as child processes. The environment then has the fence of the job run, which
keeps a process without the lease from writing.
"""

import os

import click

from riskmodel.cli.options import REGION_OPTION
from riskmodel.home import Home
from service.cli.context import open_context

NICENESS = 10
"""Lowers the priority of a task below the web server's; 19 is the lowest priority."""


@click.command()
@REGION_OPTION
@click.pass_obj
def recompute(home: Home, region: str) -> None:
    """Compute the scores from the archive, and issue a snapshot if anything has changed."""
    from riskmodel.alerting.rule_file import load
    from service import logs
    from service.alerts.channels.heartbeat import monitored
    from service.jobs.recompute import recompute as run
    from service.store.leases import Fence

    context, fence = open_context(home, region), Fence.from_environment()
    if fence:  # the scheduler reads the log lines, which carry the number of the run
        logs.configure(context.settings.log_format)
    settings = context.settings
    # The scheduler calls the monitor itself, also if this process cannot start or is killed.
    with monitored(None if fence else settings.heartbeat_url, settings.allow_private_webhooks):
        result = run(context, load(home, settings.bands), fence)
    if not fence:
        click.echo(result.summary())


@click.command()
@click.pass_obj
def verify(home: Home) -> None:
    """Score the forecasts with a new or revised outcome, and update the scorecard."""
    from service.jobs.verification import verify as run
    from service.store.leases import Fence

    click.echo(run(open_context(home), Fence.from_environment()).summary())


@click.command()
@click.pass_obj
def prune(home: Home) -> None:
    """Delete expired rows and files (`retention_days`); never snapshots, forecasts or verifications."""
    from service.jobs.retention import prune as run
    from service.store.leases import Fence

    deleted = run(open_context(home), Fence.from_environment())
    counts = ", ".join(f"{count:,} {name}" for name, count in deleted.items() if count)
    click.echo(f"deleted: {counts or 'nothing was old enough'}")


@click.command(hidden=True)
@REGION_OPTION
@click.pass_obj
def store_hindcasts(home: Home, region: str) -> None:
    """Store the hindcasts that vigie hindcast has computed, and score them. The scheduler starts this command."""
    from service.jobs.hindcast_store import store as run
    from service.jobs.verification import verify
    from service.store.leases import Fence

    context, fence = open_context(home, region), Fence.from_environment()
    click.echo(run(context, fence).summary())
    click.echo(verify(context, fence).summary())


@click.command(hidden=True)
@click.argument("task_id", metavar="ID")
@click.pass_obj
def task(home: Home, task_id: str) -> None:
    """Run one task of the queue. The scheduler starts this command."""
    from service import logs
    from service.jobs.task_worker import run_task
    from service.store.leases import Fence

    os.nice(NICENESS)
    context = open_context(home)
    logs.configure(context.settings.log_format)
    run_task(context, task_id, Fence.from_environment())
