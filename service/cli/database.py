"""`vigie db`: what an operator does with the database itself."""

from contextlib import closing
from pathlib import Path

import click

from riskmodel.home import Home

FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group()
def db() -> None:
    """Back up, restore, check and upgrade the service's database."""


@db.command()
@FILE
@click.pass_obj
def backup(home: Home, file: Path) -> None:
    """Write all that the database holds to FILE, while the service runs; SQLite and PostgreSQL restore it alike."""
    from service.store.backup import backup as write
    from service.store.database import Store

    with closing(Store.of(home)) as store:
        rows = write(store, file)
        click.echo(f"{file}: {rows:,} rows of {store.name}, {file.stat().st_size:,} bytes")


@db.command()
@FILE
@click.option("--force", is_flag=True, help="Replace what the database holds: it is gone then.")
@click.pass_obj
def restore(home: Home, file: Path, force: bool) -> None:
    """Put a backup into an empty database, whole or not at all. The service must not run."""
    from service.store.backup import restore as read
    from service.store.database import Store

    with closing(Store.of(home, bare=True)) as store:
        rows = read(store, file, force=force)
        click.echo(f"{store.name}: {rows:,} rows of {file}")


@db.command()
@click.pass_obj
def check(home: Home) -> None:
    """Read every row of the database and say what is wrong with it. Of the snapshots' digests: vigie ledger verify."""
    from riskmodel.errors import Refused
    from service.store.database import Store
    from service.store.integrity import check as look

    with closing(Store.of(home)) as store:
        if found := look(store):
            raise Refused(f"the database {store.name} is damaged:\n" + "\n".join(f"- {what}" for what in found))
        click.echo(
            f"{store.name}: revision {store.revision()}, every row can be read and refers to rows that are there"
        )


@db.command()
@click.pass_obj
def upgrade(home: Home) -> None:
    """Bring the tables of an older Vigie up to date now; every other command does so by itself."""
    from service.store.database import Store

    with closing(Store.of(home)) as store:
        click.echo(f"{store.name}: revision {store.revision()}")


@db.command()
@click.pass_obj
def begin(home: Home) -> None:
    """Make an empty database where the one that this home had is lost. One that is there stays as it is."""
    from service.store.database import Store

    with closing(Store.of(home, bare=True)) as store:
        store.begin()
        click.echo(f"{store.name}: revision {store.revision()}")
