"""`vigie keys`: make, list and revoke API keys."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from riskmodel.cli.groups import command_group
from riskmodel.home import Home

if TYPE_CHECKING:
    from service.http.keys import Scope


@command_group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.option(
    "--scope",
    type=click.Choice(["read", "ack", "write"]),
    required=True,
    help="What the key allows: reading; also acknowledging and silencing alerts; everything.",
)
@click.option("--label", required=True, help="Who uses the key. vigie keys list shows it.")
@click.pass_obj
def add(home: Home, scope: "Scope", label: str) -> None:
    """Make a key and print it once: only its digest is stored."""
    from service.http import keys as api_keys
    from service.store.database import Store

    key = api_keys.add(Store.of(home), scope, label, datetime.now(UTC))
    # The note goes to standard error, so that a script can take the key alone from standard output.
    click.echo("This key is shown once and not stored. Anyone holding this key can use it:", err=True)
    click.echo(key)


@keys.command("list")
@click.pass_obj
def list_(home: Home) -> None:
    """List the keys by prefix, with scope, label and times."""
    from service.http import keys as api_keys
    from service.store.database import Store
    from service.store.values import instant

    rows = api_keys.list_keys(Store.of(home))
    for row in rows:
        revoked = f", revoked {instant(row.revoked_at)}" if row.revoked_at else ""
        click.echo(f"{row.prefix} {row.scope:5} {row.label}: made {instant(row.created_at)}{revoked}")
    if not rows:
        click.echo("there are no keys: make one with vigie keys add")


@keys.command()
@click.argument("prefix")
@click.pass_obj
def revoke(home: Home, prefix: str) -> None:
    """Revoke a key immediately and for good, by its PREFIX."""
    from service.http import keys as api_keys
    from service.store.database import Store

    api_keys.revoke(Store.of(home), prefix, datetime.now(UTC))
    click.echo(f"key {prefix} is revoked; web workers refuse it within a second")
