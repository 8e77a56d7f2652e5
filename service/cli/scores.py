"""`vigie scores`: prints the scores in service, or those of a past moment."""

import json
from typing import TYPE_CHECKING, Any

import click

from riskmodel import geography
from riskmodel.cli.options import OUTCOME_OPTION, PAST_MOMENT, REGION_OPTION
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOME_LABELS
from service.cli.context import settings_of

if TYPE_CHECKING:
    from datetime import datetime

    from service.snapshots.snapshot_view import SnapshotView


@click.command()
@REGION_OPTION
@OUTCOME_OPTION
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
@click.option(
    "--as-of",
    type=PAST_MOMENT,
    help="A past day or moment: print the scores issued by then, else those of a hindcast, or compute them.",
)
@click.pass_obj
def scores(home: Home, region: str, outcome: str | None, output_format: str, as_of: "datetime | None") -> None:
    """Print the scores in service as a table, JSON or CSV."""
    from datetime import UTC, datetime

    from riskmodel.errors import BadInput
    from riskmodel.events import manifest
    from service.snapshots import csv, read_model, snapshot_view
    from service.store.context import Context
    from service.store.database import Store

    settings, store = settings_of(home, region), Store.of(home)
    simulated = manifest.realm(home.archive) == "simulated"
    if as_of is not None:
        from service.jobs.task_worker import snapshot_as_of

        context = Context(home, settings, store)
        view: SnapshotView | None = snapshot_as_of(context, as_of, simulated=simulated, outcome=outcome)
    else:
        with store.reading() as connection:
            now = datetime.now(UTC)
            view = snapshot_view.in_service(connection, settings, simulated=simulated, now=now, outcome=outcome)
    if view is None:
        kind = "SIMULATED" if simulated else "real"
        raise BadInput(
            f"there is no snapshot from {kind} data for the region of {settings.region}: "
            f"run vigie recompute --region {settings.region}"
        )
    with store.reading() as connection:
        payload = read_model.scores_payload(connection, view)
    if output_format == "table":
        _print_table(view)
    elif output_format == "json":
        click.echo(json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(csv.scores_table(payload), nl=False)


def _print_table(view: "SnapshotView") -> None:
    """Print the scores, highest first, below a line about the snapshot and its data."""
    from rich.table import Table

    from riskmodel.cli import terminal
    from service.snapshots.outcome_parts import MISSING_REASONS

    document, console = view.document, terminal.console()
    simulated = "SIMULATED  " if document["simulated"] else ""
    console.print(
        f"{simulated}{OUTCOME_LABELS[document['outcome']]['en']}, data as of {document['data_as_of']} ({view.status}, "
        f"{view.data_age_days:,} days old), from {document['source']}; {_snapshot(view)}, "
        f"model {document['model']['id'] or 'of ' + document['model']['origin']}"
    )
    if newer := document["newer_data"]:
        console.print(
            f"newer data: {', '.join(f'{geography.country(iso3).name()} to {last}' for iso3, last in newer.items())}; "
            "a month counts when at least half of the countries have data for it"
        )
    for outcome, reason in document["missing_outcomes"].items():
        console.print(f"no forecast of {OUTCOME_LABELS[outcome]['en']}: {MISSING_REASONS[reason]}")
    table = Table(box=None, pad_edge=False)
    for heading in ("country", "", "risk", "band", "escalation", "onset", "expected deaths, 3 months"):
        table.add_column(heading, justify="left" if heading in ("country", "", "band") else "right")
    for row in view.countries:
        table.add_row(
            row["location_code"],
            geography.country(row["location_code"]).name(),
            _value_or_reason(row, "risk_score", "{:.1f}"),
            row["band"] or "–",
            _value_or_reason(row, "escalation_probability", "{:.0%}"),
            _value_or_reason(row, "onset_probability", "{:.0%}"),
            _value_or_reason(row, "expected_deaths", "{:,.0f}"),
        )
    console.print(table)


def _snapshot(view: "SnapshotView") -> str:
    """Return which snapshot it is, and the past moment if there is one."""
    if view.as_of is None:
        return f"snapshot {view.id}"
    moment = f"as of {view.as_of.moment:%Y-%m-%d %H:%M:%S} UTC"
    if view.as_of.basis == "issued":
        return f"{moment}: snapshot {view.id}, issued by then"
    if view.as_of.basis == "recomputed":
        return f"{moment}: recomputed from the data known then"
    figures = "the data known then" if view.as_of.data_basis == "as_known" else "final figures"
    return f"{moment}: hindcast from {figures}"


def _value_or_reason(row: dict[str, Any], field: str, template: str) -> str:
    """Return a formatted value, or the reason why there is none."""
    if row[field] is None:
        return str(row["reasons"].get(field, "unknown")).replace("_", " ")
    return template.format(row[field])
