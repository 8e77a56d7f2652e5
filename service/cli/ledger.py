"""`vigie ledger`: check the chain of all snapshots."""

import click

from riskmodel.cli.groups import command_group
from riskmodel.home import Home


@command_group()
def ledger() -> None:
    """Check the chain of all snapshots."""


@ledger.command()
@click.option("--head", metavar="DIGEST", help="A digest that you stored elsewhere: it must be in the chain.")
@click.pass_obj
def verify(home: Home, head: str | None) -> None:
    """Compare every byte of all snapshots and their draws with its digest; exit with 1 if one differs."""
    from riskmodel.errors import Refused
    from service.snapshots.ledger import check
    from service.store.database import Store

    with Store.of(home).reading() as connection:
        result = check(connection, head)
    for fault in result.faults:
        click.echo(fault, err=True)
    if result.faults:
        raise Refused(f"the ledger was altered: {len(result.faults)} faults")
    newest = f"; the head is snapshot {result.head[0]}, {result.head[1]}" if result.head else ""
    click.echo(f"{result.snapshots} snapshots with {result.forecasts} forecasts are unaltered{newest}")
