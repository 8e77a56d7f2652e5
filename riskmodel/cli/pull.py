"""The command `vigie pull SOURCE`: fetch new data from a provider into the archive."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.cli.groups import command_group
from riskmodel.cli.ingest_report import show
from riskmodel.errors import BadInput
from riskmodel.home import Home

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from riskmodel.ingest import IngestReport
    from riskmodel.sources.client import Client

DEFAULT_DAYS = 90
"""How many days of GDELT are fetched if `--since` is not given."""


@command_group()
def pull() -> None:
    """Fetch new data from a provider.

    Only what the archive lacks is fetched. An interrupted pull continues where it stopped.
    """


@pull.command()
@click.option("--base", envvar="VIGIE_UCDP_URL", show_envvar=True, help="UCDP's site, or a mirror of it.")
@click.option("--api", envvar="VIGIE_UCDP_API", show_envvar=True, help="UCDP's API, or a mirror of it.")
@click.pass_obj
def ucdp(home: Home, base: str | None, api: str | None) -> None:
    """Fetch UCDP's newest final release and every newer candidate.

    No key is needed: without one, the files come from UCDP's site. With a token in VIGIE_UCDP_TOKEN (or in the file
    that VIGIE_UCDP_TOKEN_FILE names) the events come from UCDP's API.
    """
    from riskmodel.events.archive import Archive
    from riskmodel.sources import ucdp_pull

    token = read_secret("VIGIE_UCDP_TOKEN")
    with _client_with_progress() as (client, say):
        reports = ucdp_pull.pull(
            Archive(home.archive),
            client,
            home.downloads,
            base=base or ucdp_pull.SITE,
            api=api or ucdp_pull.API,
            token=token,
            now=datetime.now(UTC),
            say=say,
        )
    _show_reports(home, reports)


@pull.command()
@options.REGION_OPTION
@click.option("--country", "countries", multiple=True, type=options.ISO3, help="A country instead of the region's.")
@click.option("--base", envvar="VIGIE_ACLED_URL", show_envvar=True, help="ACLED's address (default: acleddata.com).")
@click.option("--username", envvar="VIGIE_ACLED_USERNAME", show_envvar=True, help="The e-mail of your myACLED account.")
@click.pass_obj
def acled(home: Home, region: str, countries: tuple[str, ...], base: str | None, username: str | None) -> None:
    """Fetch ACLED's new, changed and deleted events. The rows are private and never leave this folder.

    The password is read from VIGIE_ACLED_PASSWORD, or from the file that VIGIE_ACLED_PASSWORD_FILE names.
    """
    from riskmodel import geography
    from riskmodel.events.archive import Archive
    from riskmodel.sources import acled_pull

    password = read_secret("VIGIE_ACLED_PASSWORD")
    if not username or not password:
        raise click.UsageError(
            "ACLED needs an account (acleddata.com): set VIGIE_ACLED_USERNAME, and VIGIE_ACLED_PASSWORD or "
            "VIGIE_ACLED_PASSWORD_FILE"
        )
    with _client_with_progress() as (client, say):
        reports = acled_pull.pull(
            Archive(home.archive),
            client,
            home.downloads,
            base=base or acled_pull.SITE,
            username=username,
            password=password,
            countries=countries or geography.region(region).members,
            now=datetime.now(UTC),
            say=say,
        )
    _show_reports(home, reports)


@pull.command()
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help=f"The first day (default: {DEFAULT_DAYS} days ago; the earliest is 2013-04-01). A day takes about 10 MB.",
)
@click.option("--base", envvar="VIGIE_GDELT_URL", show_envvar=True, help="The address of GDELT's files, or a mirror.")
@click.pass_obj
def gdelt(home: Home, since: datetime | None, base: str | None) -> None:
    """Fetch GDELT's daily counts of events, protests and mentions by country. GDELT has no deaths."""
    from riskmodel.events.archive import Archive
    from riskmodel.sources import gdelt_pull

    now = datetime.now(UTC)
    with _client_with_progress() as (client, say):
        reports = gdelt_pull.pull(
            Archive(home.archive),
            client,
            home.downloads,
            base=base or gdelt_pull.SITE,
            since=since.date() if since else (now - timedelta(days=DEFAULT_DAYS)).date(),
            now=now,
            say=say,
        )
    _show_reports(home, reports)


def _show_reports(home: Home, reports: "Sequence[IngestReport]") -> None:
    for report in reports:
        show(home, report)
    if not reports:
        click.echo("nothing new: the archive has everything already")


def read_secret(name: str) -> str | None:
    """Return a secret from the environment: `NAME`, or the content of the file that `NAME_FILE` names; else None.

    Raises BadInput if the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    try:
        text = Path(path).read_text(encoding="utf-8") if path else os.environ.get(name, "")
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "it is no text"
        raise BadInput(f"{name}_FILE: {path} cannot be read: {reason}") from None
    return text.strip() or None


@contextmanager
def _client_with_progress() -> "Iterator[tuple[Client, Callable[[str], None]]]":
    """Yield a client that draws its downloads on a terminal, and a function that prints a line above them."""
    from riskmodel.cli import terminal
    from riskmodel.sources.client import Client

    with terminal.progress() as bars:
        yield Client(watch=_progress_watcher(bars)), lambda text: bars.console.print(text, markup=False)


def _progress_watcher(bars: "Progress") -> "Callable[[str, int, int | None], None]":
    """Return a function that draws the progress of downloads, one bar each."""
    tasks: dict[str, TaskID] = {}

    def watch(name: str, done: int, total: int | None) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done, total=total)

    return watch
