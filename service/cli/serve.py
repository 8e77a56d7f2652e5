"""`vigie up`, `vigie web` and `vigie scheduler`: run the service, or one of its two processes."""

import json
import os
import signal
import sys
import threading

import click

from riskmodel.cli.options import REGION_OPTION
from riskmodel.home import Home
from service.cli.context import settings_of

MAX_WORKERS = 32
"""So many workers can count requests together (`service.http.rate_limit.COLUMNS`)."""

QUEUED_CONNECTIONS = 4_096
"""How many connections wait in the queue of the operating system. Beyond that, a client tries again after a second."""

HOST_OPTION = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
PORT_OPTION = click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="The port to listen on."
)


@click.command()
@HOST_OPTION
@PORT_OPTION
@REGION_OPTION
@click.option(
    "--pull",
    multiple=True,
    type=click.Choice(["ucdp", "acled", "gdelt"]),
    help="Fetch real data from this provider, now and regularly. Can be repeated.",
)
@click.option("--simulated", is_flag=True, help="Fill an empty home with SIMULATED data, for demonstrations and tests.")
@click.pass_obj
def up(home: Home, host: str, port: int, region: str, pull: tuple[str, ...], simulated: bool) -> None:
    """Run the whole service until Ctrl-C: web server and scheduler.

    An empty home first takes in the history that ships with Vigie: UCDP's figures to December 2022.
    """
    from service.cli.up import up as run

    if pull:
        os.environ["VIGIE_PULL"] = json.dumps(pull)  # the scheduler is a child process with settings of its own
    if simulated:
        os.environ["VIGIE_SIMULATED"] = "true"
    settings = settings_of(home, region)
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    home.root.mkdir(parents=True, exist_ok=True)
    run(home, settings, host, port, lambda line: click.echo(f"vigie: {line}"), stop.is_set)


@click.command()
@HOST_OPTION
@PORT_OPTION
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    help="The number of worker processes.",
)
@click.pass_obj
def web(home: Home, host: str, port: int, workers: int) -> None:
    """Run the web server alone, without the scheduler."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from riskmodel.parent_process import PARENT_VARIABLE
    from service import logs
    from service.cli.listening import check_address, describe_access
    from service.http import telemetry
    from service.jobs import processes
    from service.settings import is_loopback

    settings = settings_of(home)
    limits = settings.limits
    check_address(host, port)
    if not is_loopback(host):
        click.echo(f"vigie: {describe_access(home, settings, host)}")
    # Workers are new processes: they read these from the environment.
    os.environ["VIGIE_HOME"] = str(home.root)
    os.environ[processes.LISTENS_ON] = host
    os.environ[telemetry.METRICS_FOLDER] = str(telemetry.new_folder(home))
    # Workers end with this process, also those that start after it has died.
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # glibc would otherwise keep freed memory for each thread
    processes.raise_open_files_limit(2 * limits.connections + 256)
    logs.configure(settings.log_format)
    server = Granian(
        "service.cli.app:worker",
        factory=True,
        interface=Interfaces.RSGI,
        address=host,
        port=port,
        workers=workers,
        websockets=False,
        backlog=QUEUED_CONNECTIONS,
        backpressure=limits.connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=1000 * limits.header_seconds, max_buffer_size=limits.header_bytes
        ),
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        process_name=" ".join(sys.orig_argv),  # keep the command line, and add the number of a worker to it
        log_level=LogLevels.error,
        log_dictconfig=logs.GRANIAN_LOGGING,
    )
    server.serve()


@click.command()
@click.pass_obj
def scheduler(home: Home) -> None:
    """Run the scheduler of jobs alone, without the web server."""
    from service import logs
    from service.jobs.scheduler import run

    settings = settings_of(home)
    logs.configure(settings.log_format)
    run(home, settings)
