"""The command `vigie archive`: look into the archive, check and repair it, and withdraw a wrong file."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.cli.groups import command_group
from riskmodel.cli.ingest_report import REBUILD
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES

if TYPE_CHECKING:
    import pandas as pd

    from riskmodel.months import Month
    from riskmodel.outcomes import CountryMonths

TABLE_OPTION = click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)


@command_group()
def archive() -> None:
    """Look into the archive, check and repair it, and withdraw a wrong file."""


@archive.command()
@click.pass_obj
def check(home: Home) -> None:
    """Read every file and compare it with its digest; exit code 1 if one is missing or altered."""
    from riskmodel.errors import Refused
    from riskmodel.events.archive import Archive

    store = Archive(home.archive)
    results, unlisted = list(store.check()), store.unlisted()
    damages = [damage for _, damage in results if damage]
    for damage in damages:
        click.echo(damage, err=True)
    for folder in unlisted:
        click.echo(f"{folder} is not in the manifest and counts for nothing: {REBUILD}", err=True)
    if damages:
        raise Refused(f"{len(damages)} of {len(results)} ingests are not as they were taken in")
    if unlisted:
        raise Refused(f"the manifest lists {len(results)} ingests and does not list {len(unlisted)} folders")
    click.echo(f"{len(results)} ingests, every byte as it was taken in")


@archive.command()
@click.pass_obj
def rebuild(home: Home) -> None:
    """Make a damaged or outdated manifest again, from the statements that lie next to the data.

    It lists what was taken in and is not listed, such as after manifest.json was put back from an older copy.
    """
    from riskmodel.errors import Refused
    from riskmodel.events.archive import Archive
    from riskmodel.events.manifest import Ingest

    rebuilt = Archive(home.archive).rebuild()
    for entry in rebuilt.added:
        text = entry.file if isinstance(entry, Ingest) else f"withdrawal of {entry.withdraws}"
        click.echo(f"listed again: {entry.id} ({text})")
    for number in rebuilt.left_out:
        click.echo(f"{home.archive / number}: left out, its files are not as a statement says", err=True)
    ingests = sum(isinstance(entry, Ingest) for entry in rebuilt.entries)
    click.echo(f"the manifest lists {ingests} ingests and {len(rebuilt.entries) - ingests} withdrawals")
    if rebuilt.left_out:
        raise Refused(
            f"{len(rebuilt.left_out)} folders are left out: restore them from a copy and rebuild, or move them away"
        )


@archive.command()
@options.FORMAT_OPTION
@click.pass_obj
def log(home: Home, form: str) -> None:
    """List all ingests, oldest first: rows, deaths, and what each changed of what the archive said before."""
    from dataclasses import asdict

    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.events.archive import Archive

    entries = Archive(home.archive).log()
    if form == "json":
        rows = [asdict(ingest) | {"changed": asdict(change)} for ingest, change in entries]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("ingest", "taken in", "known since", "source", "file"):
        table.add_column(heading)
    for heading in ("rows", "deaths", "quarantined"):
        table.add_column(heading, justify="right")
    table.add_column("change")
    for ingest, change in entries:
        table.add_row(
            ingest.id,
            ingest.ingested_at[:16].replace("T", " "),
            ingest.known_since[:10],
            ingest.label,
            ingest.file,
            f"{ingest.rows:,}",
            f"{ingest.deaths:,}",
            f"{ingest.quarantined:,}",
            f"withdrawn on {ingest.withdrawn_at[:10]}: {ingest.withdrawn_reason}"
            if ingest.withdrawn_at
            else change.summary(),
        )
    terminal.console().print(table)


@archive.command()
@click.argument("number", metavar="INGEST")
@TABLE_OPTION
@click.pass_obj
def quarantine(home: Home, number: str, form: str) -> None:
    """Print the rows of a file that could not be read: row number, rule, value, and the row as it came."""
    from rich.table import Table
    from rich.text import Text

    from riskmodel.cli import terminal
    from riskmodel.events.archive import Archive

    rows = Archive(home.archive).quarantined(number).to_pandas()
    if form == "json":
        click.echo(rows.to_json(orient="records", indent=1, force_ascii=False))
    elif form == "csv":
        click.echo(rows.to_csv(index=False, lineterminator="\n"), nl=False)
    elif rows.empty:
        click.echo(f"every row of ingest {number} was read")
    else:
        table = Table(*rows.columns, box=None, pad_edge=False)
        for row in rows.itertuples(index=False):
            table.add_row(*(Text("–" if cell is None else str(cell)) for cell in row))
        terminal.console().print(table)


@archive.command()
@TABLE_OPTION
@click.option("--iso3", "countries", multiple=True, type=options.ISO3, help="Only this country. May be repeated.")
@click.option("--from", "first", type=options.MONTH, help="The first month printed.")
@click.option("--to", "last", type=options.MONTH, help="The last month printed.")
@click.option("--as-of", type=options.PAST_MOMENT, help="As the archive was known at a past day or moment.")
@click.pass_obj
def deaths(
    home: Home,
    form: str,
    countries: tuple[str, ...],
    first: "Month | None",
    last: "Month | None",
    as_of: datetime | None,
) -> None:
    """Print deaths by country, month and outcome as the archive has them.

    A country-month that no ingest covers is unknown: null in JSON, empty in CSV, – in the table. It is never 0.
    """
    from riskmodel.events.archive import Archive

    if first is not None and last is not None and first > last:
        raise click.BadParameter(f"{first} comes after {last}", param_hint="--from")
    view = Archive(home.archive).view(as_of)
    observed = view.outcomes()
    if countries:
        observed = observed.including(countries).only(tuple(dict.fromkeys(countries)))
    if first is not None:
        observed = observed.since(first)
    if last is not None:
        observed = observed.until(last)
    rows = _death_rows(observed, simulated=view.simulated)
    if form == "json":
        click.echo(rows.to_json(orient="records", lines=False, indent=1))
    elif form == "csv":
        click.echo(rows.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        _show_deaths(rows)


def _death_rows(observed: "CountryMonths", *, simulated: bool) -> "pd.DataFrame":
    """Return one row per country-month: iso3, month, deaths by outcome [deaths] (missing where unknown), simulated."""
    import numpy as np
    import pandas as pd

    from riskmodel.outcomes import KINDS

    columns = {f"deaths_{kind}": observed.deaths[kind].ravel() for kind in KINDS}
    return pd.DataFrame(
        {
            "iso3": np.repeat(np.array(observed.iso3, dtype=object), observed.months.size),
            "month": np.tile(observed.months.astype(str), len(observed.iso3)),
            **{name: pd.array(values, dtype="Float64").astype("Int64") for name, values in columns.items()},
            "simulated": simulated,
        }
    )


def _show_deaths(rows: "pd.DataFrame") -> None:
    import pandas as pd
    from rich.table import Table

    from riskmodel.cli import terminal

    counts = [name for name in rows.columns if name.startswith("deaths_")]
    console = terminal.console()
    if rows["simulated"].any():
        console.print("SIMULATED deaths")
    table = Table("country", "month", box=None, pad_edge=False)
    for name in counts:
        table.add_column(name.removeprefix("deaths_").replace("_", "-"), justify="right")
    for row in rows.to_dict("records"):
        table.add_row(row["iso3"], row["month"], *("–" if pd.isna(row[name]) else f"{row[name]:,}" for name in counts))
    console.print(table)


@archive.command()
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--iso3", "countries", multiple=True, type=options.ISO3, help="Only this country. May be repeated.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="By default all deaths where they are known.")
@click.option("--as-of", type=options.PAST_MOMENT, help="As the archive was known at a past day or moment.")
@click.pass_obj
def revisions(home: Home, form: str, countries: tuple[str, ...], outcome: str | None, as_of: datetime | None) -> None:
    """Print how reported deaths are revised until they are final, by release class, level and country.

    Ratios are final divided by reported deaths. `learned` rows come from the vintages of this archive, together with
    the constants that Vigie starts from; `constants` rows come from these alone.
    """
    import pandas as pd

    from riskmodel.events.archive import Archive
    from riskmodel.reporting.release_class import FINAL
    from riskmodel.reporting.revision_table import COLUMNS, revision_table
    from riskmodel.reporting.revisions import RevisionModel
    from riskmodel.reporting.shared_revisions import teaching_revisions
    from riskmodel.reporting.vintages import revisions_of

    view = Archive(home.archive).view(as_of)
    chosen = outcome or view.outcomes().default_outcome
    taught_by, seen = teaching_revisions(view, chosen)
    finals = revisions_of(view, chosen, (FINAL,))
    rows = pd.DataFrame(revision_table(seen, RevisionModel.fit(seen), finals), columns=[*COLUMNS])
    if countries:
        rows = rows[rows["location_code"].isin(countries)]
    rows = rows.assign(outcome=chosen, learned_from=taught_by, simulated=view.simulated).astype(object)
    rows = rows.where(rows.notna(), None)
    if form == "json":
        click.echo(json.dumps(rows.to_dict("records"), indent=1))
    elif form == "csv":
        click.echo(rows.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        _show_revisions(rows, chosen, taught_by, simulated=view.simulated)


def _show_revisions(rows: "pd.DataFrame", outcome: str, taught_by: str, *, simulated: bool) -> None:
    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.outcomes import OUTCOME_LABELS
    from riskmodel.reporting.release_class import CLASS_LABELS

    console = terminal.console()
    console.print(f"{'SIMULATED ' if simulated else ''}{OUTCOME_LABELS[outcome]['en']}: final / reported deaths")
    if taught_by != outcome:
        console.print(
            f"learned from the revisions of {OUTCOME_LABELS[taught_by]['en']}: its own are too few, or predict less"
        )
    table = Table("release class", "reported", "country", "basis", box=None, pad_edge=False)
    for heading in ("months", "vanished", "grown", "median", "50 % interval", "90 % interval"):
        table.add_column(heading, justify="right")
    for row in rows.to_dict("records"):
        shares = ("–" if row[name] is None else f"{row[name]:.0%}" for name in ("vanished", "grown"))
        known = row["median_ratio"] is not None
        table.add_row(
            CLASS_LABELS[row["release_class"]]["en"],
            row["level"] or "",
            row["location_code"] or "",
            row["basis"],
            f"{row['months']:,}",
            *shares,
            f"{row['median_ratio']:.2f}" if known else "–",
            *(f"{row[low]:.2f}-{row[high]:.2f}" if known else "–" for low, high in (("p25", "p75"), ("p05", "p95"))),
        )
    console.print(table)


@archive.command()
@click.argument("number", metavar="INGEST")
@click.option("--why", "reason", required=True, help="The reason; it is stored with the ingest.")
@click.pass_obj
def withdraw(home: Home, number: str, reason: str) -> None:
    """Withdraw a wrong file: it counts no more from now on.

    It is not erased. What the archive said in the past can still be asked for (--as-of).
    """
    from riskmodel.events.archive import Archive

    withdrawn = Archive(home.archive).withdraw(number, reason, datetime.now(UTC))
    click.echo(
        f"ingest {withdrawn.id} ({withdrawn.file}) counts no more; its file stays: {home.archive / withdrawn.data}"
    )
