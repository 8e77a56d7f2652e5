"""What a person is told of a file that came in: what it holds, what was kept out and why, what it makes known."""

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import click

from riskmodel.home import Home

if TYPE_CHECKING:
    import pandas as pd

    from riskmodel.events.manifest import Ingest
    from riskmodel.ingest import IngestReport

_COUNTRIES = 12
"""How many countries or spans are shown before the rest is only counted."""

_WHAT = {
    "events": "events",
    "country_months": "country-months",
    "acled": "events and deletions",
    "gdelt": "counts of a country and a day",
    "displacement": "country-years",
}


def show(home: Home, receipt: "IngestReport") -> None:
    """Print what became of a file: what it holds, what was kept out and why, and what it makes known."""
    from riskmodel.events.archive import Archive
    from riskmodel.events.manifest import OUTCOME_KINDS
    from riskmodel.ingest import by_country, gaps

    entered = receipt.ingest
    if receipt.known:
        click.echo(f"{receipt.path.name}: already in the archive as ingest {entered.id}; nothing added")
        return
    said = [
        entered.variant,
        f"release {entered.release}" if entered.release else "",
        "private" if entered.private else "",
    ]
    simulated = "SIMULATED " if entered.simulated else ""
    click.echo(
        f"{receipt.path.name}: {entered.rows:,} {simulated}{_WHAT[entered.kind]} ({', '.join(filter(None, said))}), "
        f"ingest {entered.id}"
    )
    if entered.kind in OUTCOME_KINDS:
        countries = by_country(Archive(home.archive), entered)
        _show_countries(entered, countries)
        _show_coverage(entered, int(countries["outside"].sum()), gaps(entered), countries["last"].max())
    if receipt.flags:
        named = (f"{name.replace('_', ' ')} {count:,}" for name, count in receipt.flags.items())
        click.echo(f"{entered.flagged:,} rows flagged: {', '.join(named)}")
    for line in receipt.kept_out:
        click.echo(f"  kept out: {line}", err=True)
    if entered.quarantined:
        where = home.archive / entered.quarantine
        click.echo(f"{entered.quarantined:,} rows in quarantine, with their reasons: {where}", err=True)
    if receipt.retires_simulation:
        click.echo("The first real data is in: simulated events, models and snapshots are retired from service.")


def _show_countries(entered: "Ingest", countries: "pd.DataFrame") -> None:
    """The countries with most deaths."""
    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.outcomes import TYPES

    table = Table(box=None, pad_edge=False)
    for heading in ("country", _WHAT[entered.kind], "first", "last", "state-based", "non-state", "one-sided", "deaths"):
        table.add_column(heading, justify="left" if heading == "country" else "right")
    totals = countries.assign(deaths=countries[list(TYPES)].sum(axis=1)).sort_values("deaths", ascending=False)
    for iso3, row in totals.head(_COUNTRIES).iterrows():
        shown = ["–" if row[name] != row[name] else f"{row[name]:,.0f}" for name in (*TYPES, "deaths")]
        table.add_row(str(iso3), f"{row['rows']:,}", f"{row['first']:%Y-%m}", f"{row['last']:%Y-%m}", *shown)
    terminal.console().print(table)
    if len(countries) > _COUNTRIES:
        click.echo(f"… and {len(countries) - _COUNTRIES} countries more")
    click.echo(f"{entered.deaths:,} deaths in all")


def _beyond(entered: "Ingest", last: datetime) -> str | None:
    """The last month an event file is declared to cover, where that is more than a year after its last event."""
    covered = max(span.rpartition("..")[2] for span in entered.covers)
    months = 12 * (int(covered[:4]) - last.year) + int(covered[5:]) - last.month
    return covered if entered.kind == "events" and months > 12 else None


def _show_coverage(entered: "Ingest", outside: int, missing: list[str], last: datetime) -> None:
    if not entered.covers:
        click.echo("It does not say what it covers, so it makes no history: declare that with --covers.", err=True)
        return
    countries_of = Counter(span.partition(":")[2] for span in entered.covers)
    for months, count in countries_of.most_common(_COUNTRIES):
        whose = [span.partition(":")[0] for span in entered.covers if span.endswith(f":{months}")]
        names = f"{count} countries" if count > _COUNTRIES else ", ".join(whose).replace("*", "the world")
        click.echo(f"covers {months} for {names}")
    if len(countries_of) > _COUNTRIES:
        click.echo(f"… and {len(countries_of) - _COUNTRIES} other spans")
    if declared_beyond := _beyond(entered, last):
        click.echo(f"no events after {last:%Y-%m}: none happened up to {declared_beyond}, as declared", err=True)
    if outside:
        click.echo(f"{outside:,} rows lie outside of that: kept, but they make no history", err=True)
    if missing:
        click.echo(f"months missing (unknown, not zero): {', '.join(missing[:_COUNTRIES])}", err=True)
