"""The ledger: every altered byte, row or withdrawal is found, and a digest stored elsewhere protects the end."""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recompute_support import OperatedHome

from service.cli.app import create_app
from service.jobs.withdrawal import withdraw
from service.snapshots import ledger
from service.snapshots.ledger import LedgerCheck
from service.store.backup import backup, restore
from service.store.database import Store
from service.store.tables import snapshots
from service.store.values import canonical

NOW = datetime(2022, 1, 20, 8, tzinfo=UTC)
COVERED = {
    "snapshots": ("region", "issued_at", "input_digest", "digest", "document"),
    "forecasts": ("forecaster", "location_code", "role", "parquet", "csv", "digest"),
}
"""Columns whose bytes are altered one by one. Numbers and withdrawals have tests of their own."""


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> OperatedHome:
    """Three snapshots. The second was withdrawn before the third was issued; a later run found nothing new."""
    operated = OperatedHome(tmp_path_factory.mktemp("ledger") / "home", drivers=False)
    operated.put_model()
    for number in range(3):
        operated.ingest_months("2021-12", MLI=[30 + number] * 12)
        operated.run(NOW + timedelta(days=number))
        if number == 1:
            withdraw(
                operated.store, [], 2, "a file of another country", NOW + timedelta(days=1, hours=1, microseconds=7)
            )
    operated.run(NOW + timedelta(days=4))
    return operated


@pytest.fixture(scope="module")
def file(issued: OperatedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same ledger restored into an SQLite file, whose bytes can be altered."""
    folder = tmp_path_factory.mktemp("file")
    backup(issued.store, folder / "backup")
    store = Store(f"sqlite:///{folder}/vigie.db")
    restore(store, folder / "backup")
    store.close()
    with closing(sqlite3.connect(folder / "vigie.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "vigie.db"


def check(store: Store, head: str | None = None) -> LedgerCheck:
    with store.reading() as connection:
        return ledger.check(connection, head)


def tampered(file: Path, statement: str, *values: Any) -> tuple[str, ...]:
    """The faults after running a statement on a copy of the database, without foreign keys."""
    with tempfile.TemporaryDirectory() as folder:
        place = shutil.copy(file, folder)
        with closing(sqlite3.connect(place)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            assert connection.execute(statement, values).rowcount >= 1
            connection.commit()
        with closing(Store(f"sqlite:///{place}")) as store:
            return check(store).faults


def cells(file: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """Each cell with bytes: table, column, row, content."""
    with closing(sqlite3.connect(file)) as connection:
        for table, columns in COVERED.items():
            for column in columns:
                rows = connection.execute(f"SELECT rowid, CAST({column} AS BLOB) FROM {table} ORDER BY rowid")  # noqa: S608 - our own names
                yield from ((table, column, number, content) for number, content in rows if content)


def test_an_unaltered_ledger_has_no_faults(issued: OperatedHome) -> None:
    checked = check(issued.store)
    assert checked.faults == ()
    assert (checked.snapshots, checked.forecasts) == (3, 3 * 6 * 7)
    newest = issued.rows(snapshots)[-1]
    assert checked.head == (3, newest.digest)
    assert newest.document["withdrawals"] == [
        {
            "snapshot_id": 2,
            "withdrawn_at": "2022-01-21T09:00:00.000007Z",
            "withdrawn_reason": "a file of another country",
        }
    ]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_single_altered_byte_is_found(file: Path, data: st.DataObject) -> None:
    cell = data.draw(st.sampled_from(list(COVERED)).flatmap(lambda t: st.sampled_from(_of(file, t))), label="cell")
    table, column, number, content = cell
    at = data.draw(st.integers(0, len(content) - 1), label="byte")
    other = bytearray(content)
    other[at] ^= data.draw(st.integers(1, 255), label="flip")
    value = "?" if column in ("parquet", "csv") else "CAST(? AS TEXT)"
    faults = tampered(file, f"UPDATE {table} SET {column} = {value} WHERE rowid = ?", bytes(other), number)  # noqa: S608 - our own names
    assert faults, (table, column, number, at)
    snapshot = number if table == "snapshots" else (number - 1) // (6 * 7) + 1
    assert any(f"snapshot {snapshot}" in fault for fault in faults), faults


def _of(file: Path, table: str) -> list[tuple[str, str, int, bytes]]:
    return [cell for cell in cells(file) if cell[0] == table]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM snapshots WHERE id = 1", "snapshot 1: missing"),
        ("DELETE FROM snapshots WHERE id = 2", "snapshot 2: missing"),
        ("DELETE FROM snapshots WHERE id = 3", "snapshot 3: missing, but needed by a run"),
        ("UPDATE snapshots SET id = 4 WHERE id = 3", "snapshot 4: its id differs from its document"),
        ("UPDATE snapshots SET simulated = 1 WHERE id = 1", "snapshot 1: its simulated differs"),
        ("UPDATE snapshots SET previous_digest = NULL WHERE id = 2", "snapshot 2: its previous_digest differs"),
        ("DELETE FROM forecasts WHERE rowid = 5", "snapshot 1, draws of "),
        ("UPDATE forecasts SET csv = NULL WHERE role = 'served'", "the CSV is altered"),
        ("UPDATE forecasts SET csv = parquet WHERE forecaster = 'zero'", "the CSV is altered"),
        (
            "INSERT INTO forecasts SELECT 3, outcome, 'mine', location_code, role, parquet, csv, digest, seal"
            " FROM forecasts WHERE location_code = 'MLI' LIMIT 1",
            "snapshot 3, draws of mine for MLI (state_based): inserted",
        ),
        ("UPDATE forecasts SET snapshot_id = 9 WHERE rowid = 1", "snapshot 9: missing, but needed by draws"),
        ("UPDATE snapshots SET withdrawn_at = NULL WHERE id = 2", "snapshot 2: its withdrawal differs from the one in"),
        (
            "UPDATE snapshots SET withdrawn_reason = 'b' WHERE id = 2",
            "snapshot 2: its withdrawal differs from the one in",
        ),
        (
            "UPDATE snapshots SET withdrawn_at = '2022-01-20T09:00:00.000000Z', withdrawn_reason = 'x' WHERE id = 1",
            "snapshot 1: its withdrawal is not in snapshot 2",
        ),
    ],
)
def test_missing_inserted_and_altered_rows_are_named(file: Path, statement: str, found: str) -> None:
    faults = tampered(file, statement)
    assert any(found in fault for fault in faults), faults


def test_a_document_rewritten_with_its_digest_breaks_the_chain(issued: OperatedHome, file: Path) -> None:
    first = issued.rows(snapshots)[0]
    text = canonical({**first.document, "licence": "mine"})
    digest = hashlib.sha256(text.encode()).hexdigest()
    faults = tampered(file, "UPDATE snapshots SET document = ?, digest = ? WHERE id = 1", text, digest)
    assert faults == ("snapshot 2: it does not have the digest of the snapshot before it",)


def test_a_stored_digest_shows_that_the_end_was_cut_or_forged(issued: OperatedHome) -> None:
    middle = issued.rows(snapshots)[1].digest
    assert check(issued.store, middle).faults == ()
    assert check(issued.store, "0" * 64).faults == (f"no snapshot has the digest {'0' * 64}",)


def test_the_command_exits_with_1_if_there_are_faults(issued: OperatedHome, vigie: Callable[..., Any]) -> None:
    good = vigie("--home", issued.home.root, "ledger", "verify")
    assert good.code == 0
    assert "3 snapshots with 126 forecasts are unaltered; the head is snapshot 3, " in good.out
    bad = vigie("--home", issued.home.root, "ledger", "verify", "--head", "f" * 64)
    assert bad.code == 1
    assert "no snapshot has the digest" in bad.err


def test_the_chain_is_listed_in_pages(issued: OperatedHome) -> None:
    client = create_app(issued.home, clock=lambda: NOW).test_client()
    payload = client.get("/v1/ledger").json
    rows = issued.rows(snapshots)
    assert [(entry["id"], entry["digest"]) for entry in payload["data"]] == [(r.id, r.digest) for r in reversed(rows)]
    assert [entry["withdrawn"] for entry in payload["data"]] == [False, True, False]
    assert [entry["previous_digest"] for entry in payload["data"]] == [rows[1].digest, rows[0].digest, None]
    assert (payload["next"], payload["snapshot_id"], payload["data"][0]["issued_at"]) == (
        None,
        3,
        "2022-01-22T08:00:00Z",
    )
    page = client.get("/v1/ledger?limit=2").json
    assert ([entry["id"] for entry in page["data"]], page["next"]) == ([3, 2], "/v1/ledger?before=2&limit=2")
    rest = client.get(page["next"]).json
    assert ([entry["id"] for entry in rest["data"]], rest["next"]) == ([1], None)
    for query in ("limit=0", "limit=1001", "limit=x", "before=-1", "before=99999999999", "limit=1.5", "limit=²"):
        response = client.get(f"/v1/ledger?{query}")
        assert (response.status_code, response.mimetype) == (400, "application/problem+json"), query


def test_an_empty_ledger_has_no_faults(tmp_path: Path) -> None:
    operated = OperatedHome(tmp_path / "home")
    assert check(operated.store) == LedgerCheck(0, 0, None, ())
    client = create_app(operated.home, clock=lambda: NOW).test_client()
    assert client.get("/v1/ledger").json["data"] == []
