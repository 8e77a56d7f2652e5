"""A database as one file, and back: the same file for SQLite and PostgreSQL, so that one can take over from the other.

Gzipped lines of JSON: what it is, then for each table its columns and its rows, then how many rows there were. Texts go
as they stand, byte for byte, so that digests of documents hold. It is read in one state, beside whoever writes.
"""

import base64
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa

from riskmodel import __version__
from riskmodel.errors import BadInput, Refused
from riskmodel.home import atomic_write
from service.store.database import Store
from service.store.tables import REVISION, metadata
from service.store.upgrade import STAMP, revisions, upgrade
from service.store.values import canonical, instant

FORMAT = "vigie-backup-1"

AT_ONCE = 20
"""How many rows are read or written together: documents are long."""


def backup(store: Store, file: Path) -> int:
    """Write all that a database holds to a file that stands there whole or not at all; return how many rows."""
    if file.exists():
        raise BadInput(f"{file} is there already: a backup does not overwrite one")
    with atomic_write(file) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it is for its owner alone
        with os.fdopen(descriptor, "wb") as raw, gzip.open(raw, "wt", encoding="utf-8", newline="\n") as lines:
            return _write(store, lines)


def _write(store: Store, lines: TextIO) -> int:
    def line(content: dict[str, Any]) -> None:
        lines.write(canonical(content) + "\n")

    rows = 0
    line({"format": FORMAT, "revision": REVISION, "vigie": __version__, "made_at": instant(datetime.now(UTC))})
    with store.reading() as connection:
        for table in metadata.sorted_tables:
            line({"table": table.name, "columns": [column.name for column in table.columns]})
            plain = sa.select(*(_plain(column) for column in table.columns)).order_by(*table.primary_key)
            for row in connection.execution_options(yield_per=AT_ONCE).execute(plain):
                line({"row": [_told(value) for value in row]})
                rows += 1
    line({"rows": rows})
    return rows


def restore(store: Store, file: Path, *, force: bool = False) -> int:
    """Put what a backup holds into a database, in one transaction; return how many rows.

    Tables of an older Vigie become those of this one. Raises BadInput for a file that is no whole backup, and Refused
    while the service runs, where the database holds something already (unless `force`: that is then gone), or where the
    backup is of a newer Vigie.
    """
    if store.in_use():
        raise Refused(f"the database {store.name} is in use: stop vigie first (up, web, scheduler)")
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines, store.writing() as connection:
            head = json.loads(next(lines, "{}"))
            revision = _revision(file, head)
            if not force and (held := _held(connection)):
                raise Refused(f"the database {store.name} holds {held} already: --force replaces all of it")
            metadata.drop_all(connection)
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {STAMP}"))
            upgrade(connection, store.name, revision)
            rows = _read(connection, file, map(json.loads, lines))
            upgrade(connection, store.name)
            return rows
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, LookupError, sa.exc.IntegrityError) as damaged:
        raise BadInput(f"{file} is not a whole backup of Vigie") from damaged


def _revision(file: Path, head: Any) -> str:
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BadInput(f"{file} is not a whole backup of Vigie")
    revision = str(head["revision"])
    if revision not in revisions():
        raise Refused(f"{file} was made by a newer Vigie ({head['vigie']}): install that one")
    return revision


def _held(connection: sa.Connection) -> str:
    """The tables that hold something, in words; empty where none does."""
    there = set(sa.inspect(connection).get_table_names())
    return ", ".join(
        table.name
        for table in metadata.sorted_tables
        if table.name in there and connection.execute(sa.select(1).select_from(table)).first()
    )


def _read(connection: sa.Connection, file: Path, lines: Iterator[dict[str, Any]]) -> int:
    """Insert the rows that follow the head of a backup."""
    tables = sa.MetaData()
    tables.reflect(connection)
    table: sa.Table | None = None
    columns: list[str] = []
    waiting: list[dict[str, Any]] = []
    rows = 0

    def insert() -> None:
        if table is not None and waiting:
            connection.execute(sa.insert(table), waiting)
            waiting.clear()

    for line in lines:
        if "row" in line:
            waiting.append(dict(zip(columns, map(_value, line["row"]), strict=True)))
            rows += 1
            if len(waiting) >= AT_ONCE:
                insert()
            continue
        insert()
        if "table" in line:
            table, columns = tables.tables[line["table"]], line["columns"]
        elif line["rows"] == rows and next(lines, None) is None:  # gzip checks what was read at the very end
            _number_on(connection, tables)
            return rows
    raise BadInput(f"{file} is not a whole backup of Vigie")


def _number_on(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Let new rows be numbered after those that came with their numbers; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.tables.values():
        if "id" in table.columns and isinstance(table.columns["id"].type, sa.Integer):
            last = connection.scalar(sa.select(sa.func.max(table.columns["id"])))
            if last:
                counter = sa.func.pg_get_serial_sequence(table.name, "id")
                connection.execute(sa.select(sa.func.setval(counter, last)))


def _plain(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column as the database keeps it: what we make of its text is left out."""
    kept = column.type.impl if isinstance(column.type, sa.TypeDecorator) else column.type
    return sa.type_coerce(column, kept)


def _told(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _value(told: Any) -> Any:
    return base64.b64decode(told["base64"]) if isinstance(told, dict) else told
