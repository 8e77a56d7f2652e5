"""The sub-command that brings data from providers: `vigie pull SOURCE`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.cli.ingest_report import show
from riskmodel.errors import BadInput
from riskmodel.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from riskmodel.ingest import IngestReport
    from riskmodel.sources.client import Client


REGION = click.option(
    "--region",
    type=options.ISO3,
    envvar="VIGIE_REGION",
    default="MLI",
    show_default=True,
    help="The focal country: it and its neighbours.",
)
BACK = 90
"""How far back GDELT is counted where nobody says [days]."""


@click.group()
def pull() -> None:
    """Bring what is new from a provider. An interrupted pull is continued, and only what is new is asked for."""


@pull.command()
@click.option("--base", envvar="VIGIE_UCDP_URL", show_envvar=True, help="UCDP's site, or a mirror of it.")
@click.option("--api", envvar="VIGIE_UCDP_API", show_envvar=True, help="UCDP's API, or a mirror of it.")
@click.pass_obj
def ucdp(home: Home, base: str | None, api: str | None) -> None:
    """UCDP: the newest final release and every newer candidate.

    No key is needed. With a token in VIGIE_UCDP_TOKEN (or the path of a file that holds it in VIGIE_UCDP_TOKEN_FILE)
    they come from the API in place of the site's files.
    """
    from riskmodel.events.archive import Archive
    from riskmodel.sources import ucdp_pull

    token = secret("VIGIE_UCDP_TOKEN")
    with _drawing() as (client, say):
        receipts = ucdp_pull.pull(
            Archive(home.archive),
            client,
            home.root / "downloads",
            base=base or ucdp_pull.SITE,
            api=api or ucdp_pull.API,
            token=token,
            now=datetime.now(UTC),
            say=say,
        )
    _show(home, receipts)


@pull.command()
@REGION
@click.option("--country", "countries", multiple=True, type=options.ISO3, help="A country in place of the region's.")
@click.option(
    "--base", envvar="VIGIE_ACLED_URL", show_envvar=True, help="Where ACLED answers (default: acleddata.com)."
)
@click.option("--username", envvar="VIGIE_ACLED_USERNAME", show_envvar=True, help="The e-mail of your myACLED account.")
@click.pass_obj
def acled(home: Home, region: str, countries: tuple[str, ...], base: str | None, username: str | None) -> None:
    """ACLED's events: what is new, changed or deleted. The rows are yours alone and never leave this folder.

    The password comes from VIGIE_ACLED_PASSWORD, or from the file that VIGIE_ACLED_PASSWORD_FILE names.
    """
    from riskmodel import geography
    from riskmodel.events.archive import Archive
    from riskmodel.sources import acled as source

    password = secret("VIGIE_ACLED_PASSWORD")
    if not username or not password:
        raise click.UsageError(
            "ACLED needs an account (acleddata.com): VIGIE_ACLED_USERNAME, and VIGIE_ACLED_PASSWORD or "
            "VIGIE_ACLED_PASSWORD_FILE"
        )
    with _drawing() as (client, say):
        receipts = source.pull(
            Archive(home.archive),
            client,
            home.root / "downloads",
            base=base or source.BASE,
            username=username,
            password=password,
            countries=countries or geography.region(region).members,
            now=datetime.now(UTC),
            say=say,
        )
    _show(home, receipts)


@pull.command()
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help=f"The first day (default: {BACK} days ago; the earliest is 2013-04-01). A day is some 10 MB.",
)
@click.option(
    "--base", envvar="VIGIE_GDELT_URL", show_envvar=True, help="Where GDELT's files are, or a mirror of them."
)
@click.pass_obj
def gdelt(home: Home, since: datetime | None, base: str | None) -> None:
    """GDELT's daily counts of events, protests and mentions by country: attention and unrest, never deaths."""
    from riskmodel.events.archive import Archive
    from riskmodel.sources import gdelt as source

    now = datetime.now(UTC)
    with _drawing() as (client, say):
        receipts = source.pull(
            Archive(home.archive),
            client,
            home.root / "downloads",
            base=base or source.BASE,
            since=since.date() if since else (now - timedelta(days=BACK)).date(),
            now=now,
            say=say,
        )
    _show(home, receipts)


def _show(home: Home, receipts: "Sequence[IngestReport]") -> None:
    for receipt in receipts:
        show(home, receipt)
    if not receipts:
        click.echo("there is nothing that the archive does not have")


def secret(name: str) -> str | None:
    """A secret from the environment: `NAME`, or the content of the file that `NAME_FILE` names; None without either.

    Raises BadInput if the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    try:
        text = Path(path).read_text(encoding="utf-8") if path else os.environ.get(name, "")
    except (OSError, UnicodeDecodeError) as unreadable:
        why = unreadable.strerror if isinstance(unreadable, OSError) else "it is no text"
        raise BadInput(f"{name}_FILE: {path} cannot be read: {why}") from None
    return text.strip() or None


@contextmanager
def _drawing() -> "Iterator[tuple[Client, Callable[[str], None]]]":
    """A client whose downloads are drawn on a terminal, and what says a line beside them."""
    from riskmodel.cli import terminal
    from riskmodel.sources.client import Client

    with terminal.progress() as bars:
        yield Client(watch=_drawn(bars)), lambda text: bars.console.print(text, markup=False)


def _drawn(bars: "Progress") -> "Callable[[str, int, int | None], None]":
    """What draws the progress of downloads, a bar each."""
    known: dict[str, TaskID] = {}

    def watch(name: str, done: int, total: int | None) -> None:
        if name not in known:
            known[name] = bars.add_task(name, total=total)
        bars.update(known[name], completed=done, total=total)

    return watch
