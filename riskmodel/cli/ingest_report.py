"""Print what became of a file that was taken in: its content, quarantined rows, flags, and what it covers."""

import os
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import click

from riskmodel.errors import BadInput
from riskmodel.home import Home

if TYPE_CHECKING:
    import pandas as pd

    from riskmodel.events.manifest import Ingest
    from riskmodel.ingest import IngestReport

_SHOWN = 12
"""How many countries or spans are shown; the rest is only counted."""

REBUILD = "vigie archive rebuild lists it if its files are intact"
"""The way out of a folder that the manifest does not list."""

_ROW_NAMES = {
    "events": "events",
    "country_months": "country-months",
    "protests": "events of political protest, which count in no deaths",
    "acled": "events and deletions",
    "gdelt": "counts by country and day",
    "displacement": "country-years",
}


def show(home: Home, report: "IngestReport") -> None:
    """Print a report: the content on standard output, what needs attention on standard error."""
    from riskmodel.events.archive import Archive
    from riskmodel.events.contents import by_country, gaps
    from riskmodel.events.manifest import OUTCOME_KINDS, SHIPPED
    from riskmodel.events.storage import TableReader

    entered = report.ingest
    if report.already_archived:
        click.echo(
            f"{report.path.name}: already in the archive as ingest {entered.id}; nothing added. "
            f"To read it in another way, withdraw that first: vigie archive withdraw {entered.id} --why …"
        )
        return
    notes = [
        entered.variant,
        f"release {entered.release}" if entered.release else "",
        "private" if entered.private else "",
    ]
    simulated = "SIMULATED " if entered.simulated else ""
    click.echo(
        f"{report.path.name}: {entered.rows:,} {simulated}{_ROW_NAMES[entered.kind]} "
        f"({', '.join(filter(None, notes))}), ingest {entered.id}"
    )
    if report.notes:
        click.echo(f"read as {', '.join(report.notes)}")
    if report.unended:
        click.echo("the last line has no end: if the file was cut off there, its last row is wrong", err=True)
    shipped = entered.variant == SHIPPED  # the same everywhere: data/README.md describes it
    if entered.kind in OUTCOME_KINDS and not shipped:
        countries = by_country(TableReader(home.archive), entered)
        _show_countries(entered, countries)
        _show_coverage(entered, int(countries["outside"].sum()), gaps(entered), countries["last"].max())
        _show_newer_data(home)
    if entered.kind == "protests":
        covered = ", ".join(entered.covers) or "no known months, so no indicator reads it: declare them with --covers"
        click.echo(f"covers {covered}")
    if report.flags and not shipped:
        flags = (f"{name.replace('_', ' ')} {count:,}" for name, count in report.flags.items())
        click.echo(f"{entered.flagged:,} rows flagged: {', '.join(flags)}")
    for line in report.quarantined:
        click.echo(f"  quarantined: {line}", err=True)
    if entered.quarantined:
        rows = "1 row" if entered.quarantined == 1 else f"{entered.quarantined:,} rows"
        click.echo(f"{rows} quarantined: vigie archive quarantine {entered.id} prints them with the reasons", err=True)
    for folder in Archive(home.archive).unlisted():
        click.echo(f"{folder} is not in the manifest and counts for nothing: {REBUILD}", err=True)
    if report.retires_simulation:
        click.echo("These are the first real data: simulated events, models and snapshots are retired from service.")


def _show_countries(entered: "Ingest", countries: "pd.DataFrame") -> None:
    """Print the countries with most deaths."""
    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.outcomes import KINDS, TYPES

    table = Table("country", box=None, pad_edge=False)
    for heading in (_ROW_NAMES[entered.kind], "first", "last", "state-based", "non-state", "one-sided", "all"):
        table.add_column(heading, justify="right")
    known = countries["all"].fillna(countries[list(TYPES)].sum(axis=1))
    totals = countries.assign(known=known).sort_values("known", ascending=False)
    for iso3, row in totals.head(_SHOWN).iterrows():
        # NaN, the only value that differs from itself, is unknown.
        deaths = ["–" if row[name] != row[name] else f"{row[name]:,.0f}" for name in KINDS]
        table.add_row(str(iso3), f"{row['rows']:,}", f"{row['first']:%Y-%m}", f"{row['last']:%Y-%m}", *deaths)
    terminal.console().print(table)
    if len(countries) > _SHOWN:
        click.echo(f"… and {len(countries) - _SHOWN} more countries")
    click.echo(f"{entered.deaths:,} deaths in all")


def _show_coverage(entered: "Ingest", outside: int, missing: list[str], last: datetime) -> None:
    """Print which months are covered for which countries, and what in the file or its coverage looks like a mistake."""
    if not entered.covers:
        click.echo("The file covers no known months, so it makes no history: declare them with --covers.", err=True)
        return
    countries_of = Counter(span.partition(":")[2] for span in entered.covers)
    for months, count in countries_of.most_common(_SHOWN):
        iso3 = [span.partition(":")[0] for span in entered.covers if span.endswith(f":{months}")]
        names = f"{count} countries" if count > _SHOWN else ", ".join(iso3).replace("*", "the world")
        click.echo(f"covers {months} for {names}")
    if len(countries_of) > _SHOWN:
        click.echo(f"… and {len(countries_of) - _SHOWN} other spans")
    if covered_until := _covered_long_after(entered, last):
        click.echo(f"no events after {last:%Y-%m}: as declared, none happened up to {covered_until}", err=True)
    if outside:
        click.echo(f"{outside:,} rows lie outside the coverage: they are stored, and make no history", err=True)
    if missing:
        click.echo(f"months missing (unknown, not zero): {', '.join(missing[:_SHOWN])}", err=True)


def _show_newer_data(home: Home) -> None:
    """Print which countries of the region have too little data for a score, and which months do not count yet."""
    from riskmodel import geography
    from riskmodel.events.archive import Archive
    from riskmodel.home_settings import region_of
    from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES

    try:
        members = geography.region(region := os.environ.get("VIGIE_REGION") or region_of(home)).members
    except BadInput:  # the file is in the archive: a wrong setting is no failure of its ingest
        return
    view = Archive(home.archive).view()
    for outcome in OUTCOMES:
        # Deaths are read only where the coverage differs: an archive of the world takes seconds.
        if len({view.last_covered(iso3, outcome) for iso3 in members}) == 1:
            continue
        if (origin := view.origin(members, outcome)) is None:
            continue
        lasts = {iso3: view.last_covered(iso3, outcome) for iso3 in members}
        if lagging := [f"{iso3} to {last}" for iso3, last in lasts.items() if last is not None and last < origin]:
            click.echo(
                f"countries of the region of {region} without a score on {OUTCOME_LABELS[outcome]['en']}: "
                f"{', '.join(lagging)}. Its forecasts start after {origin}, the last month for which at least half of "
                "its countries have data",
                err=True,
            )
        if newer := view.newer_data(members, origin, outcome):
            names = ", ".join(f"{iso3} to {last}" for iso3, last in newer.items())
            click.echo(
                f"newer data of the region of {region} on {OUTCOME_LABELS[outcome]['en']}: {names}. They do not count "
                f"yet: its forecasts start after {origin}, the last month for which at least half of its countries "
                "have data",
                err=True,
            )
            return


def _covered_long_after(entered: "Ingest", last: datetime) -> str | None:
    """Return the last covered month of an event file, if that is more than a year after its last event."""
    covered = max(span.rpartition("..")[2] for span in entered.covers)
    months = 12 * (int(covered[:4]) - last.year) + int(covered[5:]) - last.month
    return covered if entered.kind == "events" and months > 12 else None
