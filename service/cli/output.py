"""`vigie scores`, `vigie changed` and `vigie jobs`: what the service says, printed for a person or a program."""

import json
from typing import TYPE_CHECKING, Any

import click

from riskmodel import geography
from riskmodel.cli import options
from riskmodel.home import Home
from service.cli.options import REGION, settings_of

if TYPE_CHECKING:
    from datetime import datetime

    from service.snapshots.snapshot_view import SnapshotView


@click.command()
@REGION
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option(
    "--as-of",
    type=options.PAST,
    help="As a past day or moment knew it: from a snapshot of then, else computed from what was known then.",
)
@click.pass_obj
def scores(home: Home, region: str | None, form: str, as_of: "datetime | None") -> None:
    """Print the scores in service, as a table, JSON or CSV."""
    from datetime import UTC, datetime

    from riskmodel.errors import BadInput
    from riskmodel.events import manifest
    from service.snapshots import csv, read_model, snapshot_view
    from service.store.database import Store

    settings, store = settings_of(home, region), Store.of(home)
    simulated = manifest.realm(home.archive) == "simulated"
    if as_of is not None:
        from service.jobs.task_worker import Bench, then

        bench = Bench(home, settings, store, lambda: datetime.now(UTC))
        served: SnapshotView | None = then(bench, as_of, simulated=simulated)
    else:
        with store.reading() as connection:
            served = snapshot_view.in_service(connection, settings, simulated=simulated, now=datetime.now(UTC))
    if served is None:
        kind = "SIMULATED" if simulated else "real"
        raise BadInput(
            f"there is no snapshot from {kind} data of the region of {settings.region} yet: "
            f"run vigie recompute --region {settings.region}"
        )
    if form == "table":
        _print_scores(served)
    elif form == "json":
        click.echo(json.dumps(read_model.scores_payload(served), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(csv.scores_table(read_model.scores_payload(served)), nl=False)


def _print_scores(served: "SnapshotView") -> None:
    """The table of scores, highest first, under what it is made from."""
    from rich.table import Table

    from riskmodel.cli import terminal

    said, console = served.document, terminal.console()
    simulated = "SIMULATED  " if said["simulated"] else ""
    console.print(
        f"{simulated}{said['outcome']} deaths, data as of {said['data_as_of']} ({served.status}, "
        f"{served.data_age_days:,} days old), from {said['source']}; {_of(served)}, model {said['model']['id']}"
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("country", "", "risk", "band", "escalation", "onset", "expected deaths, 3 months"):
        table.add_column(heading, justify="left" if heading in ("country", "", "band") else "right")
    for row in served.countries:
        table.add_row(
            row["location_code"],
            geography.country(row["location_code"]).name(),
            _shown(row, "risk_score", "{:.1f}"),
            row["band"] or "–",
            _shown(row, "escalation_probability", "{:.0%}"),
            _shown(row, "onset_probability", "{:.0%}"),
            _shown(row, "expected_deaths", "{:,.0f}"),
        )
    console.print(table)


def _of(served: "SnapshotView") -> str:
    """The snapshot, and what it is if it tells of the past."""
    if served.as_of is None:
        return f"snapshot {served.id}"
    then = f"as of {served.as_of.moment:%Y-%m-%d %H:%M:%S} UTC"
    if served.as_of.basis == "issued":
        return f"{then}: snapshot {served.id}, issued then"
    return f"{then}: recomputed from what was known then"


def _shown(row: dict[str, Any], field: str, form: str) -> str:
    """A value as a person reads it, or the reason there is none."""
    if row[field] is None:
        return str(row["reasons"].get(field, "unknown")).replace("_", " ")
    return form.format(row[field])


@click.command()
@click.argument("before", metavar="A", type=int)
@click.argument("after", metavar="B", type=int)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="JSON is unrounded and tells the escalation probability too.",
)
@click.pass_obj
def changed(home: Home, before: int, after: int, form: str) -> None:
    """Say why the scores of snapshot B differ from those of snapshot A: the change split by cause."""
    from service.jobs.attribution import between
    from service.store.database import Store

    said = between(home, Store.of(home), before, after)
    if form == "json":
        click.echo(json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_change(said)


def _print_change(said: dict[str, Any]) -> None:
    """The change of each country's risk score, what each cause adds to it, and what the causes mean."""
    from rich.table import Table

    from riskmodel.cli import terminal

    console = terminal.console()
    one, other = said["before"], said["after"]
    console.print(
        f"{'SIMULATED  ' if said['simulated'] else ''}risk score of {said['outcome']} deaths, in points: from snapshot "
        f"{one['snapshot_id']} (data as of {one['data_as_of']}) to {other['snapshot_id']} ({other['data_as_of']})"
    )
    for note in said["notes"]:
        console.print(f"NOTE: {note['text']['en']}")
    if one["snapshot_id"] > other["snapshot_id"]:
        console.print("NOTE: the first is the later one: this tells the change backwards")
    named = [(cause["name"], cause["meaning"]["en"]) for cause in said["causes"]]
    if any(country["risk_score"]["not_reproduced"] for country in said["countries"]):
        named.append(("not_reproduced", said["not_reproduced"]["meaning"]["en"]))
    table = Table(box=None, pad_edge=False)
    for heading in ("country", "", "before", "after", "change", *(name.replace("_", " ") for name, _ in named)):
        table.add_column(heading, justify="left" if heading in ("country", "") else "right")
    for country in said["countries"]:
        score = country["risk_score"]
        table.add_row(
            country["location_code"],
            geography.country(country["location_code"]).name(),
            *("–" if score[side] is None else f"{score[side]:.1f}" for side in ("before", "after")),
            *(
                [f"{score['after'] - score['before']:+.1f}", *(_points(score, name) for name, _ in named)]
                if score["causes"] is not None
                else [country["reasons"]["risk_score"].replace("_", " ")]
            ),
        )
    console.print(table)
    scores = [country["risk_score"] for country in said["countries"]]
    if not any(cause["present"] for cause in said["causes"]) and all(s["before"] == s["after"] for s in scores):
        console.print("nothing that these scores are made from differs between the two")
    for name, meaning in named:
        console.print(f"{name.replace('_', ' ')}: {meaning}")


def _points(score: dict[str, Any], cause: str) -> str:
    """What a cause adds, signed; nothing is a dot, so that the eye finds what is not."""
    part = score["not_reproduced"] if cause == "not_reproduced" else score["causes"][cause]
    return f"{part:+.1f}" if part else "·"


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def jobs(home: Home, form: str) -> None:
    """Print the jobs of the scheduler: how each went last, and when it runs next."""
    from datetime import UTC, datetime

    from service.store.database import Store
    from service.store.leases import listing

    with Store.of(home).reading() as connection:
        entries = listing(connection, datetime.now(UTC))
    if form == "json":
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_jobs(entries)


def _print_jobs(entries: list[dict[str, Any]]) -> None:
    """A line for each job; what is overdue says so."""
    from rich.table import Table

    from riskmodel.cli import terminal

    table = Table(box=None, pad_edge=False)
    for heading in ("job", "status", "last success", "age, s", "next run", "deadline, s", "holder", "error"):
        table.add_column(heading, justify="right" if heading.endswith(", s") else "left")
    for job in entries:
        table.add_row(
            job["name"],
            f"{job['status']}, OVERDUE" if job["overdue"] else job["status"],
            job["succeeded_at"] or "never",
            "–" if job["age_seconds"] is None else f"{job['age_seconds']:,}",
            job["next_run_at"] or "not scheduled",
            f"{job['deadline_seconds']:,}",
            job["holder"] or "–",
            job["error"] or "",
        )
    terminal.console().print(table if entries else "no scheduler has run here yet: vigie up")
