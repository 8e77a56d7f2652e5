"""`vigie db`: back up, restore, check and upgrade the database."""

from contextlib import closing
from pathlib import Path

import click

from riskmodel.cli.groups import command_group
from riskmodel.home import Home

FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@command_group()
def db() -> None:
    """Back up, restore, check and upgrade the service's database."""


@db.command()
@FILE
@click.pass_obj
def backup(home: Home, file: Path) -> None:
    """Write the whole database to FILE. The service can run. SQLite and PostgreSQL restore the same file."""
    from service.store.backup import backup as write
    from service.store.database import Store

    with closing(Store.of(home)) as store:
        rows = write(store, file)
        click.echo(f"{file}: {rows:,} rows of {store.name}, {file.stat().st_size:,} bytes")


@db.command()
@FILE
@click.option("--force", is_flag=True, help="Delete the present content of the database.")
@click.pass_obj
def restore(home: Home, file: Path, force: bool) -> None:
    """Restore a backup into an empty database, as a whole or not at all. Stop the service first."""
    from service.store.backup import restore as read
    from service.store.database import Store

    with closing(Store.of(home, allow_empty=True)) as store:
        rows = read(store, file, force=force)
        click.echo(f"{store.name}: {rows:,} rows of {file}")


@db.command()
@click.pass_obj
def check(home: Home) -> None:
    """Compare every row with its seal, and report damage. To check the chain, run vigie ledger verify."""
    from riskmodel.errors import Refused
    from service.store.database import Store
    from service.store.integrity import check as find_faults

    with closing(Store.of(home)) as store:
        if faults := find_faults(store):
            raise Refused(f"the database {store.name} is damaged:\n" + "\n".join(f"- {fault}" for fault in faults))
        click.echo(f"{store.name}: revision {store.revision()}, every row is as Vigie wrote it")


@db.command()
@click.pass_obj
def upgrade(home: Home) -> None:
    """Bring the tables up to date. Every other command does this when it starts."""
    from service.store.database import Store

    with closing(Store.of(home)) as store:
        click.echo(f"{store.name} is up to date (revision {store.revision()})")


@db.command()
@click.pass_obj
def begin(home: Home) -> None:
    """Create an empty database after the one of this home was lost. An existing database stays as it is."""
    from service.store.database import Store

    with closing(Store.of(home, allow_empty=True)) as store:
        store.create_tables()
        click.echo(f"{store.name}: revision {store.revision()}")
