"""`vigie snapshots` lists and withdraws snapshots; `vigie changed` explains the difference between two of them."""

import json
from typing import Any

import click

from riskmodel import geography
from riskmodel.cli.groups import command_group
from riskmodel.cli.options import OUTCOME_OPTION, REGION_OPTION
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOME_LABELS
from service.cli.context import settings_of

FORMAT_OPTION = click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@command_group("snapshots", invoke_without_command=True)
@REGION_OPTION
@OUTCOME_OPTION
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="List at most so many.")
@FORMAT_OPTION
@click.pass_context
def snapshots(context: click.Context, region: str, outcome: str | None, limit: int, output_format: str) -> None:
    """List the snapshots, newest first, or withdraw one."""
    if context.invoked_subcommand is None:
        _list(context.obj, region, outcome, limit, output_format)


def _list(home: Home, region: str, outcome: str | None, limit: int, output_format: str) -> None:
    from riskmodel.events import manifest
    from service.snapshots import history
    from service.store.database import Store

    settings = settings_of(home, region)
    simulated = manifest.realm(home.archive) == "simulated"
    with Store.of(home).reading() as connection:
        entries = history.entries(connection, settings.region, simulated, limit, outcome=outcome)
    if output_format == "json":
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False))
    elif entries:
        _print_list(entries, simulated)
    else:
        click.echo(f"there is no snapshot for the region of {settings.region}: run vigie recompute")


def _print_list(entries: list[dict[str, Any]], simulated: bool) -> None:
    from rich.table import Table

    from riskmodel.cli import terminal

    console = terminal.console()
    if simulated:
        console.print("SIMULATED")
    table = Table(box=None, pad_edge=False)
    for heading in ("number", "issued", "outcome", "origin", "data as of", "model", "withdrawn"):
        table.add_column(heading, justify="right" if heading == "number" else "left")
    for entry in entries:
        withdrawal = f"{entry['withdrawn_at']}: {entry['withdrawn_reason']}" if entry["withdrawn_at"] else "–"
        table.add_row(
            str(entry["snapshot_id"]),
            entry["issued_at"],
            entry["outcome"],
            entry["origin"],
            entry["data_as_of"],
            entry["model_id"],
            withdrawal,
        )
    console.print(table)


@snapshots.command()
@click.argument("number", metavar="N", type=int)
@click.option("--why", required=True, help="Give the reason. It is stored, and sent with each correction.")
@click.pass_obj
def withdraw(home: Home, number: int, why: str) -> None:
    """Withdraw snapshot N: it is marked, no longer served, and its alerts are corrected."""
    from datetime import UTC, datetime

    from riskmodel.alerting.rule_file import load
    from service.cli.context import settings_of
    from service.jobs.withdrawal import withdraw as withdraw_snapshot
    from service.store.database import Store

    rules = load(home, settings_of(home).bands)
    correction = withdraw_snapshot(Store.of(home), rules, number, why, datetime.now(UTC))
    click.echo(
        f"snapshot {number} is withdrawn: {correction.cancelled} unsent messages are cancelled, "
        f"{correction.corrected} sent messages are corrected"
    )
    if correction.routes:
        click.echo(f"the correction goes by {', '.join(correction.routes)}")


@click.command()
@click.argument("before", metavar="A", type=int)
@click.argument("after", metavar="B", type=int)
@OUTCOME_OPTION
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="JSON is not rounded and has the escalation probability too.",
)
@click.pass_obj
def changed(home: Home, before: int, after: int, outcome: str | None, output_format: str) -> None:
    """Explain the differences in scores from snapshot A to snapshot B, split by cause."""
    from service.jobs.attribution import between
    from service.store.database import Store

    attribution = between(home, Store.of(home), before, after, outcome)
    if output_format == "json":
        click.echo(json.dumps(attribution, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_attribution(attribution)


def _print_attribution(attribution: dict[str, Any]) -> None:
    """Print the change of each country's risk score, the part of each cause, and the meaning of each cause."""
    from rich.table import Table

    from riskmodel.cli import terminal

    console = terminal.console()
    before, after = attribution["before"], attribution["after"]
    simulated = "SIMULATED  " if attribution["simulated"] else ""
    console.print(
        f"{simulated}risk score of {OUTCOME_LABELS[attribution['outcome']]['en']}, in points: "
        f"from snapshot {before['snapshot_id']} (data as of {before['data_as_of']}) "
        f"to {after['snapshot_id']} ({after['data_as_of']})"
    )
    for note in attribution["notes"]:
        console.print(f"NOTE: {note['text']['en']}")
    if before["snapshot_id"] > after["snapshot_id"]:
        console.print("NOTE: the first snapshot is the later one, so the change is shown backwards")
    causes = [(cause["name"], cause["meaning"]["en"]) for cause in attribution["causes"]]
    if any(country["risk_score"]["not_reproduced"] for country in attribution["countries"]):
        causes.append(("not_reproduced", attribution["not_reproduced"]["meaning"]["en"]))
    table = Table(box=None, pad_edge=False)
    for heading in ("country", "", "before", "after", "change", *(name.replace("_", " ") for name, _ in causes)):
        table.add_column(heading, justify="left" if heading in ("country", "") else "right")
    for country in attribution["countries"]:
        score = country["risk_score"]
        table.add_row(
            country["location_code"],
            geography.country(country["location_code"]).name(),
            *("–" if score[side] is None else f"{score[side]:.1f}" for side in ("before", "after")),
            *(
                [f"{score['after'] - score['before']:+.1f}", *(_points(score, name) for name, _ in causes)]
                if score["causes"] is not None
                else [country["reasons"]["risk_score"].replace("_", " ")]
            ),
        )
    console.print(table)
    scores = [country["risk_score"] for country in attribution["countries"]]
    if not any(cause["present"] for cause in attribution["causes"]) and all(s["before"] == s["after"] for s in scores):
        console.print("no cause: the data, the model and the settings of both snapshots are equal")
    for name, meaning in causes:
        console.print(f"{name.replace('_', ' ')}: {meaning}")


def _points(score: dict[str, Any], cause: str) -> str:
    """Return the signed part of a cause. No part is a dot, so that the others stand out."""
    part = score["not_reproduced"] if cause == "not_reproduced" else score["causes"][cause]
    return f"{part:+.1f}" if part else "·"
