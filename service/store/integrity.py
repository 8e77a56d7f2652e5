"""Check a database for damage: read every row, and report what cannot be read."""

import sqlalchemy as sa

from service.store.database import Store, reason
from service.store.tables import metadata


def check(store: Store) -> list[str]:
    """Read all of a database and return a list of faults; empty if there are none.

    SQLite also checks its pages and foreign keys. PostgreSQL enforces foreign keys itself and reports what it cannot
    read. The digests of snapshots are checked elsewhere (`vigie ledger verify`).
    """
    faults = [] if store.file is None else _sqlite_faults(store)
    for table in metadata.sorted_tables:
        faults += _unreadable_row(store, table)
    return faults


def _sqlite_faults(store: Store) -> list[str]:
    try:
        with store.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            broken_references = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    except sa.exc.DBAPIError as unreadable:
        return [reason(unreadable)]
    return [str(page) for page in pages if page != "ok"] + [
        f"{row.table}: row {row.rowid} refers to a missing row of {row.parent}" for row in broken_references
    ]


def _unreadable_row(store: Store, table: sa.Table) -> list[str]:
    """Report the first row of a table that cannot be read, or whose document is not JSON."""
    readable = 0
    try:
        with store.reading() as connection:
            rows = connection.execution_options(yield_per=1).execute(sa.select(table).order_by(*table.primary_key))
            for _ in rows:
                readable += 1
    except sa.exc.DBAPIError as unreadable:
        error = reason(unreadable)
    except ValueError as not_json:
        error = str(not_json)
    else:
        return []
    return [f"{table.name}: the row after the first {readable:,} cannot be read: {error}"]
