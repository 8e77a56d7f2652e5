"""Seals: any altered value in any table is found, and all that Vigie writes is sealed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from recompute_support import LONG_AFTER, NOW, OperatedHome
from snapshots_support import SnapshotHome, full_home

from riskmodel.home import Home
from service.http import keys
from service.jobs.withdrawal import withdraw
from service.store import seals
from service.store.backup import backup, restore
from service.store.database import Store
from service.store.integrity import check
from service.store.tables import SEAL, alert_states, metadata, runs, verifications

CELLS = [(table.name, column.name) for table in metadata.sorted_tables for column in table.c]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Iterator[SnapshotHome]:
    """A home with rows in every table."""
    home = full_home(tmp_path_factory.mktemp("seals") / "home")
    keys.add(home.store, "read", "a test", NOW)
    with home.store.writing() as connection:
        for table in metadata.sorted_tables:
            if not connection.execute(sa.select(1).select_from(table)).first():
                connection.execute(sa.insert(table).values(_row(table, connection)))
    yield home
    home.store.close()


def _row(table: sa.Table, connection: sa.Connection) -> dict[str, object]:
    """A row of a table that the home has none of. It refers to rows that are there."""
    known = {"region": "MLI", "document": {}, "scores": {}}
    made: dict[str, object] = {}
    for column in table.c:
        if column.name == SEAL or (column.name == "id" and isinstance(column.type, sa.Integer)):
            continue
        kinds = ((sa.Boolean, True), (sa.Integer, 1), (sa.Float, 0.5), (sa.LargeBinary, b"x"))
        plain = next((value for kind, value in kinds if isinstance(column.type, kind)), "x")
        is_time = column.type.__class__.__name__ == "UtcTime"
        made[column.name] = known.get(column.name, NOW if is_time else plain)
        for key in column.foreign_keys:
            made[column.name] = connection.scalar(sa.select(key.column).limit(1))
    return made


def altered(value: object, kind: sa.types.TypeEngine[object]) -> object:
    """Another value that the column can have."""
    if isinstance(kind, sa.Boolean):
        return not value
    if isinstance(kind, sa.Integer | sa.Float):
        return (value or 0) + 1  # type: ignore[operator]
    if isinstance(kind, sa.LargeBinary):
        return bytes(value or b"") + b"x"  # type: ignore[call-overload]
    text = str(value or "")
    return text[:-1] + ("y" if text.endswith("x") else "x")


def test_all_that_is_written_is_sealed(full: SnapshotHome) -> None:
    assert check(full.store) == []


@pytest.mark.parametrize(("table_name", "column_name"), CELLS)
def test_an_altered_value_of_any_column_is_found(full: SnapshotHome, table_name: str, column_name: str) -> None:
    table = metadata.tables[table_name]
    stored = sa.select(*(sa.type_coerce(c, getattr(c.type, "impl", c.type)).label(c.name) for c in table.c))
    with full.store.engine.connect() as connection:
        if full.store.file:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        row = connection.execute(stored.limit(1)).one()._mapping
        column = table.c[column_name]
        where = " AND ".join(f"{c.name} = :key_{c.name}" for c in table.primary_key)
        values = {f"key_{c.name}": row[c.name] for c in table.primary_key}
        change = sa.text(f"UPDATE {table_name} SET {column_name} = :new WHERE {where}")  # noqa: S608 - our own names
        try:
            done = connection.execute(change, {"new": altered(row[column_name], column.type), **values})
        except (sa.exc.IntegrityError, sa.exc.DataError):
            return  # the database itself refuses the value
        assert done.rowcount == 1
        faults = list(seals.altered_rows(connection, table))
        connection.rollback()
    assert [fault.startswith(f"{table_name}: row ") for fault in faults] == [True]


def test_runs_withdrawals_and_restores_leave_all_rows_sealed(home: Home, tmp_path: Path) -> None:
    operated = OperatedHome.ready(home, NOW, drivers=False)
    operated.run(NOW)
    operated.ingest_months("2022-04", MLI=[30, 40, 50], known_since=LONG_AFTER)
    operated.verify(LONG_AFTER)
    operated.run(LONG_AFTER)
    assert operated.rows(verifications)
    assert operated.rows(alert_states)
    assert check(operated.store) == []
    withdraw(operated.store, (), 2, "a test", LONG_AFTER + timedelta(days=1))
    assert check(operated.store) == []
    backup(operated.store, tmp_path / "backup")
    other = Store(f"sqlite:///{tmp_path}/other.db")
    restore(other, tmp_path / "backup")
    assert check(other) == []
    with other.writing() as connection:
        connection.execute(sa.update(runs).values(error="a test"))
    assert check(other) == []
    with other.writing() as connection:
        connection.exec_driver_sql("UPDATE runs SET error = 'another' WHERE id = 1")
    assert check(other) == ["runs: row 1 is not as Vigie wrote it"]
    other.close()
