"""The command `vigie ingest`: take files into the archive."""

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from riskmodel.cli import ingest_report, options
from riskmodel.cli.groups import CommandGroup, command_group
from riskmodel.errors import BadInput
from riskmodel.home import Home

if TYPE_CHECKING:
    from riskmodel.events.columns import DateOrder
    from riskmodel.events.coverage import Coverage
    from riskmodel.ingest import Source
    from riskmodel.months import Month

FILES_ARGUMENT = click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
RELEASE_OPTION = click.option(
    "--release",
    type=options.RELEASE,
    help="The release that a file is from, if the file does not show it: 25.1, 26.0.2, 26.01.26.06.",
)
KNOWN_SINCE_OPTION = click.option(
    "--known-since",
    type=options.PAST_MOMENT,
    help="The day on which the files were published; what is known as of an earlier day has none of it. By default "
    "the usual day of their release, or else now.",
)
COVERS_OPTION = click.option(
    "--covers",
    multiple=True,
    type=options.SPAN,
    help="What the files cover: MLI:1990-01..2022-12, or *:1989-01..2025-12 for the world. May be repeated.",
)
DATES_OPTION = click.option(
    "--dates",
    type=click.Choice(["dmy", "mdy"]),
    help="Whether day or month comes first in dates such as 05/02/2014, if a file does not show it.",
)
LOSS_OPTION = click.option(
    "--accept-loss", is_flag=True, help="Take a file in although many of its rows cannot be used, or it is cut off."
)
OF_ANY_FILE = (FILES_ARGUMENT, KNOWN_SINCE_OPTION, LOSS_OPTION)
OF_MONTHS = (*OF_ANY_FILE, RELEASE_OPTION, DATES_OPTION)
OF_EVENTS = (*OF_MONTHS, COVERS_OPTION)


def _with(parameters: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a decorator that adds parameters to a command, in their order."""

    def add(function: Any) -> Any:
        return reduce(lambda decorated, parameter: parameter(decorated), reversed(parameters), function)

    return add


class _IngestGroup(CommandGroup):
    """A group whose first argument can be a file: `vigie ingest FILE` is `vigie ingest auto FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {name for option in self.get_params(ctx) for name in option.opts}
        if args and args[0].startswith("--") and args[0].partition("=")[0] not in known:
            args = ["auto", *args]  # an option of `auto` comes before the file
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        first = Path(args[0])
        if self.get_command(ctx, args[0]) is None and (first.exists() or first.suffix or len(first.parts) > 1):
            args = ["auto", *args]
        return super().resolve_command(ctx, args)


@command_group(cls=_IngestGroup)
def ingest() -> None:
    """Take files into the archive.

    `vigie ingest FILE` is short for `vigie ingest auto FILE`. Rows that can be read enter. The others are quarantined
    with their reason, and counted.
    """


@ingest.command()
@_with(OF_EVENTS)
@click.pass_obj
def auto(home: Home, /, files: tuple[Path, ...], dates: "DateOrder | None", **settings: Any) -> None:
    """Take in files of any kind that Vigie reads. What each one is shows in its columns."""
    from riskmodel.sources.recognition import recognised

    def open_file(path: Path) -> "Source":
        description, source = recognised(path, dates)
        click.echo(f"{path.name}: {description}")
        return source

    _ingest_files(home, open_file, files, **settings)


@ingest.command()
@_with(OF_EVENTS)
@click.pass_obj
def ucdp(home: Home, /, files: tuple[Path, ...], dates: "DateOrder | None", **settings: Any) -> None:
    """Take in UCDP event files (CSV, .csv.gz or .zip): official, country download or HDX.

    The layout is recognised by the content.
    """
    from riskmodel.sources.ucdp import GedFile

    _ingest_files(home, lambda path: GedFile(path, dates), files, **settings)


@ingest.command()
@_with(OF_MONTHS)
@click.pass_obj
def monthly(home: Home, /, files: tuple[Path, ...], dates: "DateOrder | None", **settings: Any) -> None:
    """Take in country-month tables (CSV, .csv.gz or Parquet): iso3, month, deaths_state_based, …"""
    from riskmodel.sources.monthly import MonthlyFile

    _ingest_files(home, lambda path: MonthlyFile(path, dates=dates), files, **settings)


@ingest.command()
@_with(OF_ANY_FILE)
@click.pass_obj
def displacement(home: Home, /, files: tuple[Path, ...], **settings: Any) -> None:
    """Take in displaced people by country and year: UNHCR's or IDMC's table (CSV, .csv.gz or .zip)."""
    from riskmodel.sources.displacement import DisplacementFile

    _ingest_files(home, DisplacementFile, files, **settings)


@ingest.command()
@click.pass_obj
def history(home: Home) -> None:
    """Take in the history that ships with Vigie: UCDP's figures to December 2022. Any other file replaces it."""
    from riskmodel.events.archive import Archive
    from riskmodel.sources.history import ingest_history

    for report in ingest_history(Archive(home.archive), datetime.now(UTC)):
        ingest_report.show(home, report)


@ingest.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same archive.")
@click.option("--until", type=options.MONTH, help="The last month simulated (default: last month).")
@click.option(
    "--first-reports",
    "years",
    type=click.IntRange(min=1),
    help="Also make the first reports of the last so many years, which final releases revise, as UCDP does.",
)
@click.pass_obj
def simulated(home: Home, seed: int, until: "Month | None", years: int | None) -> None:
    """Make a SIMULATED archive of invented armed groups, to try Vigie without data. Real data retires it."""
    import numpy as np

    from riskmodel.events.archive import Archive
    from riskmodel.events.coverage import WORLD, Coverage
    from riskmodel.ingest import ingest as ingest_file
    from riskmodel.sources.simulated import FIRST, simulate
    from riskmodel.sources.ucdp import GedFile

    now = datetime.now(UTC)
    last_month = np.datetime64(now.date(), "M") - 1
    last = until or last_month
    if not FIRST <= last <= last_month:
        raise click.BadParameter(f"{last} is not between {FIRST} and {last_month}", param_hint="--until")
    if years:
        _ingest_simulated_releases(home, seed, last, years, now)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"SIMULATED-seed-{seed}-to-{last}.csv.gz"
        simulate(path, seed=seed, last=last)
        covers = [Coverage(WORLD, FIRST, last)]
        ingest_report.show(home, ingest_file(Archive(home.archive), GedFile(path), covers=covers, now=now))


def _ingest_simulated_releases(home: Home, seed: int, last: "Month", years: int, now: datetime) -> None:
    """Take in simulated releases one by one, in the order in which they become known."""
    from riskmodel.events.archive import Archive
    from riskmodel.ingest import ingest as ingest_file
    from riskmodel.sources.simulated_releases import simulated_releases
    from riskmodel.sources.ucdp import GedFile

    files = 0
    with tempfile.TemporaryDirectory() as folder:
        for path, release, covers in simulated_releases(
            Path(folder), seed=seed, last=last, years=years, today=now.date()
        ):
            ingest_file(Archive(home.archive), GedFile(path), covers=[covers], release=release, now=now)
            files += 1
    click.echo(
        f"{files} SIMULATED releases to {last}: `vigie archive log` lists them, `vigie archive revisions` compares them"
    )


def _ingest_files(
    home: Home,
    reader: Callable[[Path], "Source"],
    files: tuple[Path, ...],
    *,
    covers: tuple["Coverage", ...] = (),
    release: str | None = None,
    known_since: datetime | None,
    accept_loss: bool,
) -> None:
    """Take in file after file. One that cannot be read is reported, and does not keep the others out."""
    from riskmodel.events.archive import Archive
    from riskmodel.events.manifest import OUTCOME_KINDS
    from riskmodel.ingest import Loss
    from riskmodel.ingest import ingest as ingest_file

    failed = 0
    for path in files:
        try:
            now = datetime.now(UTC)
            source = reader(path)
            if (covers or release) and source.kind not in (*OUTCOME_KINDS, "protests"):
                raise BadInput(f"{path}: it has neither a coverage nor a release: leave --covers and --release out")
            report = ingest_file(
                Archive(home.archive),
                source,
                covers=covers,
                release=release,
                known_since=known_since,
                accept_loss=accept_loss,
                now=now,
            )
        except BadInput as failure:
            if isinstance(failure, Loss):
                failure = BadInput(f"{failure}. To take the rest in all the same: --accept-loss")
            if len(files) == 1:
                raise failure from None
            click.echo(f"vigie: {failure}", err=True)
            failed += 1
        else:
            ingest_report.show(home, report)
    if failed:
        raise BadInput(f"{failed} of {len(files)} files could not be taken in")
