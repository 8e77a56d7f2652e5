"""`vigie jobs`: prints the jobs of the scheduler."""

import json
from typing import Any

import click

from riskmodel.home import Home


@click.command()
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def jobs(home: Home, output_format: str) -> None:
    """Print the jobs of the scheduler: how each ended last, and when it runs next."""
    from datetime import UTC, datetime

    from service.store.database import Store
    from service.store.leases import listing

    with Store.of(home).reading() as connection:
        entries = listing(connection, datetime.now(UTC))
    if output_format == "json":
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False))
    elif entries:
        _print_table(entries)
    else:
        click.echo("no scheduler has run here yet: run vigie up")


def _print_table(entries: list[dict[str, Any]]) -> None:
    """Print one line per job. An overdue job is marked."""
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
    terminal.console().print(table)
