"""Check a database for damage: read every row, and report what is not as it was written."""

import sqlalchemy as sa

from service.store import seals
from service.store.database import Store, reason
from service.store.tables import metadata


def check(store: Store) -> list[str]:
    """Read all of a database and return a list of faults; empty if there are none.

    Every row is compared with its seal. SQLite also checks its pages and foreign keys; PostgreSQL enforces foreign keys
    itself. Missing snapshots are found elsewhere (`vigie ledger verify`).
    """
    faults = [] if store.file is None else _sqlite_faults(store)
    for table in metadata.sorted_tables:
        faults += _altered_rows(store, table)
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


def _altered_rows(store: Store, table: sa.Table) -> list[str]:
    """Report the rows of a table that cannot be read, or that are not as they were written."""
    faults: list[str] = []
    try:
        with store.reading() as connection:
            faults.extend(seals.altered_rows(connection, table))
    except sa.exc.DBAPIError as unreadable:
        faults.append(f"{table.name}: not all rows can be read: {reason(unreadable)}")
    return faults
