"""The sub-commands that the service brings; here those that run it, and look after what it has issued."""

import json
import os
import signal
import threading
from pathlib import Path

import click

from riskmodel.cli.groups import command_group
from riskmodel.home import Home
from service.cli.alerts import alerts
from service.cli.database import db
from service.cli.jobs import jobs
from service.cli.keys import keys
from service.cli.options import REGION, open_context, settings_of
from service.cli.scores import scores
from service.cli.snapshots import changed, snapshots

HOST = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
NICE = 10
"""How much a task yields to everything else: 19 is the most."""
PORT = click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)


@click.command()
@HOST
@PORT
@REGION
@click.option(
    "--pull",
    multiple=True,
    type=click.Choice(["ucdp", "acled", "gdelt"]),
    help="Ask this provider for real data, now and regularly. May be repeated.",
)
@click.pass_obj
def up(home: Home, host: str, port: int, region: str | None, pull: tuple[str, ...]) -> None:
    """Prepare the home if need be, then serve it and keep it up to date until Ctrl-C."""
    from service.cli.up import up as serve

    if pull:
        os.environ["VIGIE_PULL"] = json.dumps(pull)
    settings = settings_of(home, region)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    home.root.mkdir(parents=True, exist_ok=True)
    serve(home, settings, host, port, lambda text: click.echo(f"vigie: {text}"), ended.is_set)


@click.command()
@HOST
@PORT
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many processes answer.")
@click.pass_obj
def web(home: Home, host: str, port: int, workers: int) -> None:
    """Serve what the home holds: the web server alone, without the scheduler."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from riskmodel.parent_process import PARENT_VARIABLE
    from service import logs
    from service.cli.server_adapter import ACCEPT_THREADS
    from service.cli.up import free, reach
    from service.http import telemetry
    from service.jobs import processes
    from service.settings import is_loopback

    settings = settings_of(home)
    limits = settings.limits
    free(host, port)
    if not is_loopback(host):
        click.echo(f"vigie: {reach(home, settings, host)}")
    os.environ["VIGIE_HOME"] = str(home.root)
    os.environ[processes.LISTENS_ON] = host
    processes.raise_open_files_limit(2 * limits.connections + 256)
    os.environ[telemetry.METRICS_FOLDER] = str(telemetry.new_folder(home))
    logs.configure(settings.log_format)
    # Workers end with this process, also those that start after it has died.
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # glibc would keep what each thread has freed for itself
    server = Granian(
        "service.cli.server_adapter:worker",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=ACCEPT_THREADS,
        backpressure=limits.connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=1000 * limits.header_seconds, max_buffer_size=limits.header_bytes
        ),
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        log_level=LogLevels.error,
        log_dictconfig=logs.GRANIAN_LOGGING,
    )
    server.serve()


@click.command()
@click.pass_obj
def scheduler(home: Home) -> None:
    """Run the jobs on schedule, without the web server."""
    from service import logs
    from service.jobs.scheduler import run

    settings = settings_of(home)
    logs.configure(settings.log_format)
    run(home, settings)


@click.command()
@click.pass_obj
def prune(home: Home) -> None:
    """Delete expired rows and files (`retention_days`); never snapshots, forecasts or verifications."""
    from service.jobs.retention import prune as run
    from service.store.leases import Fence

    deleted = run(open_context(home), Fence.from_environment())
    counts = ", ".join(f"{count:,} {name}" for name, count in deleted.items() if count)
    click.echo(f"deleted: {counts or 'nothing was old enough'}")


@click.command()
@REGION
@click.pass_obj
def recompute(home: Home, region: str | None) -> None:
    """Compute the scores from the archive, and issue a snapshot if anything has changed."""
    from service import logs
    from service.alerts.channels import heartbeat
    from service.alerts.rules import load
    from service.jobs.recompute import recompute as run
    from service.store.leases import Fence

    context, fence = open_context(home, region), Fence.from_environment()
    if fence:  # the scheduler reads the log lines, which carry the number of the run
        logs.configure(context.settings.log_format)
    result = run(context, load(home), fence)
    if not fence:
        click.echo(result.summary())
    if context.settings.heartbeat_url:
        heartbeat(str(context.settings.heartbeat_url), context.settings.allow_private_webhooks)


@click.command(hidden=True)
@click.argument("number", metavar="ID")
@click.pass_obj
def task(home: Home, number: str) -> None:
    """Run one task of the queue. The scheduler starts this command."""
    from service import logs
    from service.jobs.task_worker import run_task
    from service.store.leases import Fence

    os.nice(NICE)
    context = open_context(home)
    logs.configure(context.settings.log_format)
    run_task(context, number, Fence.from_environment())


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@REGION
@click.pass_obj
def export_(home: Home, folder: Path, region: str | None) -> None:
    """Write every lasting address of the service as a file into FOLDER, for a file server or a CDN."""
    from datetime import UTC, datetime

    from service.cli.export import export
    from service.cli.export_versions import CURRENT

    settings_of(home, region)
    result = export(home, folder, datetime.now(UTC))
    manifest = result.manifest
    snapshot = f"snapshot {manifest['snapshot_id']}{' (SIMULATED)' if manifest['simulated'] else ''}"
    if not result.changed:
        click.echo(f"{folder / CURRENT} is up to date: {snapshot}")
        return
    encodings = ("", *result.encodings)
    sizes = [f"{result.size(encoding) / 1e6:.1f} MB{encoding and ' ' + encoding}" for encoding in encodings]
    if "br" not in result.encodings:
        click.echo("for Brotli copies, run pip install 'vigie[export]'")
    click.echo(f"{folder / CURRENT}: {len(manifest['files']):,} addresses of {snapshot}, {', '.join(sizes)}")
    for path in result.left:
        click.echo(
            f"{path} is no longer served, but contains files that are not part of the export: remove it yourself"
        )


@command_group("ledger")
def ledger_() -> None:
    """Check the chain of all snapshots."""


@ledger_.command("verify")
@click.option("--head", metavar="DIGEST", help="A digest that you stored elsewhere: it must be in the chain.")
@click.pass_obj
def verify_ledger(home: Home, head: str | None) -> None:
    """Compare every byte of all snapshots and their draws with its digest; exit with 1 if one differs."""
    from riskmodel.errors import Refused
    from service.snapshots import ledger
    from service.store.database import Store

    with Store.of(home).reading() as connection:
        result = ledger.check(connection, head)
    for fault in result.faults:
        click.echo(fault, err=True)
    if result.faults:
        raise Refused(f"the ledger was altered: {len(result.faults)} faults")
    newest = f"; the head is snapshot {result.head[0]}, {result.head[1]}" if result.head else ""
    click.echo(f"{result.snapshots} snapshots with {result.forecasts} forecasts are unaltered{newest}")


@click.command()
@click.pass_obj
def verify(home: Home) -> None:
    """Score the forecasts with a new or revised outcome, and update the scorecard."""
    from service.jobs.verification import verify as run
    from service.store.leases import Fence

    click.echo(run(open_context(home), Fence.from_environment()).summary())


commands = {
    "Run": [up, web, scheduler, recompute, scores, changed, export_],
    "Operate": [jobs, snapshots, verify, alerts, keys, ledger_, db, prune, task],
}
