"""`vigie up`, `vigie web` and `vigie scheduler`: run the service, or one of its two processes."""

import json
import os

import click

from riskmodel.cli.options import REGION_OPTION
from riskmodel.home import Home
from service.cli.context import settings_of

MAX_WORKERS = 32
"""So many workers can count requests together (`service.http.rate_limit.COLUMNS`)."""

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
    from service.cli.supervision import StopSignals
    from service.cli.up import up as run

    if pull:
        os.environ["VIGIE_PULL"] = json.dumps(pull)  # the scheduler is a child process with settings of its own
    if simulated:
        os.environ["VIGIE_SIMULATED"] = "true"
    settings = settings_of(home, region)
    home.root.mkdir(parents=True, exist_ok=True)
    run(home, settings, host, port, lambda line: click.echo(f"vigie: {line}"), StopSignals())


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
    from riskmodel.parent_process import PARENT_VARIABLE
    from service.cli.listening import check_address, describe_access
    from service.cli.web_server import serve
    from service.settings import is_loopback

    settings = settings_of(home)
    # Under `vigie up`, a worker of a web server that was killed may listen for another moment.
    patience = 10.0 if PARENT_VARIABLE in os.environ else 0.0
    check_address(host, port, patience=patience)
    if settings.admin_port is not None:
        check_address(settings.admin_host, settings.admin_port, named="admin_port", patience=patience)
    if not is_loopback(host):
        click.echo(f"vigie: {describe_access(home, settings, host)}")
    serve(home, settings, host, port, workers)


@click.command()
@click.pass_obj
def scheduler(home: Home) -> None:
    """Run the scheduler of jobs alone, without the web server."""
    from service import logs
    from service.jobs.scheduler import run

    settings = settings_of(home)
    logs.configure(settings.log_format)
    run(home, settings)
