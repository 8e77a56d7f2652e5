"""The sub-commands that the domain brings: taking files in, and looking into the archive."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import explanation as explanation
from riskmodel.cli import ingest_report, options
from riskmodel.cli.pull import pull
from riskmodel.errors import BadInput
from riskmodel.home import Home

if TYPE_CHECKING:
    from riskmodel.events.coverage import Coverage
    from riskmodel.ingest import Source
    from riskmodel.months import Month

FILE = click.Path(path_type=Path)
RELEASE = click.option(
    "--release",
    type=options.RELEASE,
    help="The release a file is from, where the file does not say: 25.1, 26.0.2, 26.01.26.06.",
)


@click.group()
def ingest() -> None:
    """Take files into the archive. Good rows enter; unreadable ones are kept in quarantine and counted."""


@ingest.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option(
    "--covers",
    multiple=True,
    type=options.SPAN,
    help="What the files speak for: MLI:1990-01..2022-12, or *:1989-01..2025-12 for the world. May be repeated.",
)
@RELEASE
@click.pass_obj
def ucdp(home: Home, files: tuple[Path, ...], covers: tuple["Coverage", ...], release: str | None) -> None:
    """UCDP event files (CSV, .csv.gz or .zip; official, country download or HDX), told apart by their content."""
    from riskmodel.sources.ucdp import GedFile

    _take_in(home, GedFile, files, list(covers), release)


@ingest.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@RELEASE
@click.pass_obj
def monthly(home: Home, files: tuple[Path, ...], release: str | None) -> None:
    """Country-month tables (CSV, .csv.gz or Parquet): iso3, month, deaths_state_based, …"""
    from riskmodel.sources.monthly import MonthlyFile

    _take_in(home, MonthlyFile, files, [], release)


@ingest.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.pass_obj
def displacement(home: Home, files: tuple[Path, ...]) -> None:
    """Displaced people by country and year: UNHCR's or IDMC's table (CSV, .csv.gz or .zip)."""
    from riskmodel.sources.displacement import DisplacementFile

    _take_in(home, DisplacementFile, files, [], None)


@ingest.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same archive.")
@click.option("--until", type=options.MONTH, help="The last month simulated (default: last month).")
@click.pass_obj
def simulated(home: Home, seed: int, until: "Month | None") -> None:
    """The simulated archive: invented armed groups, to try Vigie without data. Real data retires it."""
    import numpy as np

    from riskmodel.events.archive import Archive
    from riskmodel.events.coverage import WORLD, Coverage
    from riskmodel.ingest import ingest as take_in
    from riskmodel.sources.simulated import FIRST, simulate
    from riskmodel.sources.ucdp import GedFile

    now = datetime.now(UTC)
    last_month = np.datetime64(now.date(), "M") - 1
    last = until or last_month
    if not FIRST <= last <= last_month:
        raise click.BadParameter(f"{last} is not between {FIRST} and {last_month}", param_hint="--until")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"SIMULATED-seed-{seed}-to-{last}.csv.gz"
        simulate(path, seed=seed, last=last)
        covers = [Coverage(WORLD, FIRST, last)]
        ingest_report.show(home, take_in(Archive(home.archive), GedFile(path), covers=covers, now=now))


def _take_in(
    home: Home,
    reader: Callable[[Path], "Source"],
    files: tuple[Path, ...],
    covers: list["Coverage"],
    release: str | None,
) -> None:
    """Take in file after file; one that cannot be read is reported and does not keep the others out."""
    from riskmodel.events.archive import Archive
    from riskmodel.ingest import ingest as take_in

    failures: list[BadInput] = []
    for path in files:
        try:
            now = datetime.now(UTC)
            receipt = take_in(Archive(home.archive), reader(path), covers=covers, release=release, now=now)
        except BadInput as failure:
            if len(files) == 1:
                raise
            click.echo(f"vigie: {failure}", err=True)
            failures.append(failure)
        else:
            ingest_report.show(home, receipt)
    if failures:
        raise BadInput(f"{len(failures)} of {len(files)} files could not be taken in")


@click.group()
def archive() -> None:
    """Look into the archive of what has been taken in, and take a wrong file out of what counts."""


@archive.command()
@click.pass_obj
def check(home: Home) -> None:
    """Read every file anew and hold it against its digest; exit code 3 if one is missing or altered."""
    from riskmodel.errors import Refused
    from riskmodel.events.archive import Archive

    results = list(Archive(home.archive).check())
    wrong = [why for _, why in results if why]
    for why in wrong:
        click.echo(why, err=True)
    if wrong:
        raise Refused(f"{len(wrong)} of {len(results)} ingests are not as they were taken in")
    click.echo(f"{len(results)} ingests, every byte as it was taken in")


@archive.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def log(home: Home, form: str) -> None:
    """All ingests, oldest first: rows, deaths, and what each changed of what the archive said before."""
    import json
    from dataclasses import asdict

    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.events.archive import Archive

    entries = Archive(home.archive).log()
    if form == "json":
        click.echo(json.dumps([asdict(i) | {"changed": asdict(c)} for i, c in entries], indent=1, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in (
        "ingest",
        "taken in",
        "known since",
        "source",
        "file",
        "rows",
        "deaths",
        "kept out",
        "of what counts",
    ):
        table.add_column(heading, justify="right" if heading in ("rows", "deaths", "kept out") else "left")
    for entered, changed in entries:
        table.add_row(
            entered.id,
            entered.ingested_at[:16].replace("T", " "),
            entered.known_since[:10],
            entered.label,
            entered.file,
            f"{entered.rows:,}",
            f"{entered.deaths:,}",
            f"{entered.quarantined:,}",
            f"withdrawn on {entered.withdrawn_at[:10]}: {entered.withdrawn_reason}"
            if entered.withdrawn_at
            else changed.summary(),
        )
    terminal.console().print(table)


@archive.command()
@click.argument("number", metavar="INGEST")
@click.option("--why", required=True, help="The reason, kept with the ingest.")
@click.pass_obj
def withdraw(home: Home, number: str, why: str) -> None:
    """Take a wrong file out of what counts, without erasing it: what was known in the past stays answerable."""
    from riskmodel.events.archive import Archive

    taken_out = Archive(home.archive).withdraw(number, why, datetime.now(UTC))
    click.echo(
        f"ingest {taken_out.id} ({taken_out.file}) counts no more; it is kept in {home.archive / taken_out.data}"
    )


commands = [ingest, archive, pull, *explanation.commands]
