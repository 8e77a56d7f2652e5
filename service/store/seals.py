"""A seal in each row: a digest of all its values, so that `vigie db check` finds altered rows.

`Store.writing` seals what a transaction wrote before it commits. A seal shows damage. It stops nobody who writes to the
database and computes seals: the ledger, and a digest of it that is stored elsewhere, are against that.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from service.store.tables import SEAL, metadata

_WRITTEN = "vigie_written"
_SEALS = "vigie_seals"

BATCH_ROWS = 50
"""How many rows are read and sealed together. Those with forecasts have up to 100 kB each."""


def watch(engine: sa.Engine) -> None:
    """Note which tables are written through an engine, and break the seals of the rows that an update changes."""
    sa.event.listen(engine, "before_execute", _before_execute, retval=True)


def _before_execute(
    connection: sa.Connection, clause: Any, many: Any, parameters: Any, options: Any
) -> tuple[Any, Any, Any]:
    is_write = isinstance(clause, sa.Insert | sa.Update) and isinstance(clause.table, sa.Table)
    if is_write and not options.get(_SEALS) and SEAL in clause.table.c:
        connection.info.setdefault(_WRITTEN, set()).add(clause.table.name)
        if isinstance(clause, sa.Update):
            clause = clause.values({SEAL: None})
    return clause, many, parameters


def seal_rows(connection: sa.Connection) -> None:
    """Seal the rows that were written in the transaction."""
    for name in connection.info.pop(_WRITTEN, ()):
        table = metadata.tables[name]
        keys = {column.name: f"key_{column.name}" for column in table.primary_key}
        columns = [*(table.c[column].label(label) for column, label in keys.items()), *stored(connection, table)]
        unsealed = sa.select(*columns).where(table.c[SEAL].is_(None)).limit(BATCH_ROWS)
        sealed = (
            sa.update(table)
            .where(*(table.c[column] == sa.bindparam(label) for column, label in keys.items()))
            .values({SEAL: sa.bindparam("new_seal")})
        )
        while rows := connection.execute(unsealed).all():
            values = [dict(zip(keys.values(), row, strict=False)) | {"new_seal": _seal(table, row)} for row in rows]
            connection.execute(sealed, values, execution_options={_SEALS: True})


def altered_rows(connection: sa.Connection, table: sa.Table) -> Iterator[str]:
    """Yield a line for each row of a table whose seal does not fit its values."""
    query = sa.select(*stored(connection, table)).order_by(*table.primary_key)
    for row in connection.execution_options(yield_per=BATCH_ROWS).execute(query):
        if _seal(table, row) != stored_text(row._mapping[SEAL]):
            key = ", ".join(stored_text(row._mapping[column.name]) for column in table.primary_key)
            yield f"{table.name}: row {key} is not as Vigie wrote it"


def _seal(table: sa.Table, row: sa.Row[Any]) -> str:
    """Return the digest of a row's stored values, in the order of the columns."""
    digest = hashlib.blake2b(table.name.encode(), digest_size=8)
    for column in table.c:
        if column.name != SEAL:
            part = _encoded(row._mapping[column.name])
            digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def _encoded(value: Any) -> bytes:
    """Return the bytes that stand for a value: the same on SQLite and PostgreSQL."""
    if value is None:
        return b""
    if isinstance(value, float):
        return b"f" + repr(value).encode()
    if isinstance(value, int):
        return b"i%d" % value
    return b"t" + (value.encode() if isinstance(value, str) else bytes(value))


def stored(connection: sa.Connection, table: sa.Table) -> list[sa.ColumnElement[Any]]:
    """Return the columns of a table without conversion. Altered bytes may not be text, which SQLite would refuse."""
    columns: list[sa.ColumnElement[Any]] = []
    for column in table.c:
        if isinstance(column.type, sa.Integer | sa.Boolean):
            columns.append(sa.type_coerce(column, sa.Integer).label(column.name))
        elif isinstance(column.type, sa.Float):
            columns.append(column)
        elif connection.dialect.name == "sqlite":
            columns.append(sa.cast(column, sa.LargeBinary).label(column.name))
        elif isinstance(column.type, sa.LargeBinary):
            columns.append(column)
        else:
            columns.append(sa.type_coerce(column, sa.Text).label(column.name))
    return columns


def stored_text(value: Any) -> str:
    """Return a stored value as text, whatever bytes it has; nothing for null."""
    if value is None:
        return ""
    return bytes(value).decode("utf-8", "backslashreplace") if isinstance(value, bytes | memoryview) else str(value)
