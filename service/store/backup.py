"""Write a database to one file, and restore it: the same file for SQLite and PostgreSQL.

The file is gzipped lines of JSON: a header; then for each table its columns and its rows; then the number of rows.
Documents are copied as text, byte for byte, so that their digests stay right. A backup sees one state of the database
while others write.
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
from service.store.upgrade import OLDER_REVISIONS, STAMP_TABLE, known_revisions, upgrade
from service.store.values import canonical, instant

FORMAT = "vigie-backup-1"

BATCH_ROWS = 20
"""How many rows are read or written together. Documents are long, so the number is small."""


def backup(store: Store, file: Path) -> int:
    """Write all rows of a database to a new file, as a whole or not at all. Return the number of rows.

    Raises BadInput if the file exists.
    """
    if file.exists():
        raise BadInput(f"{file} exists: a backup does not overwrite a file")
    with atomic_write(file) as part:
        # A backup contains what only its owner is allowed to read, such as the digests of API keys.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw, gzip.open(raw, "wt", encoding="utf-8", newline="\n") as lines:
            return _write(store, lines)


def _write(store: Store, lines: TextIO) -> int:
    def write_line(content: dict[str, Any]) -> None:
        lines.write(canonical(content) + "\n")

    rows = 0
    write_line({"format": FORMAT, "revision": REVISION, "vigie": __version__, "made_at": instant(datetime.now(UTC))})
    with store.reading() as connection:
        for table in metadata.sorted_tables:
            write_line({"table": table.name, "columns": [column.name for column in table.columns]})
            stored = sa.select(*(_as_stored(column) for column in table.columns)).order_by(*table.primary_key)
            for row in connection.execution_options(yield_per=BATCH_ROWS).execute(stored):
                write_line({"row": [_to_json(value) for value in row]})
                rows += 1
    write_line({"rows": rows})
    return rows


def restore(store: Store, file: Path, *, force: bool = False) -> int:
    """Replace the content of a database by a backup, in one transaction. Return the number of rows.

    A backup of an earlier revision is upgraded. Raises BadInput for a file that is not a complete backup. Raises
    Refused for a backup that this version cannot read, while another process uses the database, and if the database
    is not empty (without `force`).
    """
    if store.in_use():
        raise Refused(f"the database {store.name} is in use: stop vigie first (up, web, scheduler)")
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines, store.writing() as connection:
            revision = _revision(file, json.loads(next(lines, "{}")))
            if not force and (tables := _tables_with_rows(connection)):
                raise Refused(f"the database {store.name} has rows in {tables}: --force deletes them")
            metadata.drop_all(connection)
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {STAMP_TABLE}"))
            upgrade(connection, store.name, revision)
            rows = _insert_rows(connection, file, map(json.loads, lines))
            upgrade(connection, store.name)
            return rows
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, LookupError, sa.exc.IntegrityError) as damaged:
        raise _incomplete(file) from damaged


def _incomplete(file: Path) -> BadInput:
    return BadInput(f"{file} is not a complete backup of Vigie")


def _revision(file: Path, header: Any) -> str:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise _incomplete(file)
    revision = str(header["revision"])
    if revision in OLDER_REVISIONS:
        raise Refused(f"{file} was made by an older Vigie ({header['vigie']}), and this one cannot read it")
    if revision not in known_revisions():
        raise Refused(f"{file} was made by a newer Vigie ({header['vigie']}): install that version")
    return revision


def _tables_with_rows(connection: sa.Connection) -> str:
    """Return the names of the tables that have rows, separated by commas."""
    existing = set(sa.inspect(connection).get_table_names())
    return ", ".join(
        table.name
        for table in metadata.sorted_tables
        if table.name in existing and connection.execute(sa.select(1).select_from(table)).first()
    )


def _insert_rows(connection: sa.Connection, file: Path, lines: Iterator[dict[str, Any]]) -> int:
    """Insert the rows that follow the header of a backup."""
    tables = sa.MetaData()
    tables.reflect(connection)
    table: sa.Table | None = None
    columns: list[str] = []
    batch: list[dict[str, Any]] = []
    rows = 0

    def insert_batch() -> None:
        if table is not None and batch:
            connection.execute(sa.insert(table), batch)
            batch.clear()

    for line in lines:
        if "row" in line:
            batch.append(dict(zip(columns, map(_from_json, line["row"]), strict=True)))
            rows += 1
            if len(batch) >= BATCH_ROWS:
                insert_batch()
            continue
        insert_batch()
        if "table" in line:
            table, columns = tables.tables[line["table"]], line["columns"]
        elif line["rows"] == rows and next(lines, None) is None:  # gzip compares its checksum when the file ends
            _continue_numbering(connection, tables)
            return rows
    raise _incomplete(file)


def _continue_numbering(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Set PostgreSQL's counters to the largest ids that were inserted. SQLite does this by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.tables.values():
        if "id" in table.columns and isinstance(table.columns["id"].type, sa.Integer):
            last = connection.scalar(sa.select(sa.func.max(table.columns["id"])))
            if last:
                counter = sa.func.pg_get_serial_sequence(table.name, "id")
                connection.execute(sa.select(sa.func.setval(counter, last)))


def _as_stored(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return a column with the type that the database stores, without our conversion of its text."""
    stored = column.type.impl if isinstance(column.type, sa.TypeDecorator) else column.type
    return sa.type_coerce(column, stored)


def _to_json(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _from_json(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
