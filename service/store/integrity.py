"""What can be wrong with a database that answers: looked for in every row, told in words."""

import sqlalchemy as sa

from service.store.database import Store, reason
from service.store.tables import metadata


def check(store: Store) -> list[str]:
    """Read all of a database; return what is wrong with it, empty where nothing is.

    SQLite looks through its pages and references. PostgreSQL keeps references itself; what it cannot read it says.
    Whether snapshots are as they were issued is another question (`vigie ledger verify`).
    """
    found = [] if store.file is None else _pages_and_references(store)
    for table in metadata.sorted_tables:
        found += _unreadable(store, table)
    return found


def _pages_and_references(store: Store) -> list[str]:
    try:
        with store.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    except sa.exc.DBAPIError as unreadable:
        return [reason(unreadable)]
    return [str(page) for page in pages if page != "ok"] + [
        f"{row.table}: row {row.rowid} refers to a row of {row.parent} that is not there" for row in broken
    ]


def _unreadable(store: Store, table: sa.Table) -> list[str]:
    """The first row of a table that cannot be read, or whose document is no JSON."""
    read = 0
    try:
        with store.reading() as connection:
            rows = connection.execution_options(yield_per=1).execute(sa.select(table).order_by(*table.primary_key))
            for read, _ in enumerate(rows, 1):  # noqa: B007 - told below
                pass
    except sa.exc.DBAPIError as unreadable:
        why = reason(unreadable)
    except ValueError as no_json:
        why = str(no_json)
    else:
        return []
    return [f"{table.name}: after {read:,} rows there is one that cannot be read: {why}"]
