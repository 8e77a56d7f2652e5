"""The documents of snapshots are parsed once, shared by all readers, and never changed by them."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from snapshot_documents import NOW
from snapshots_support import SnapshotHome, full_home

from service.cli.app import create_app
from service.http.request_context import context_of
from service.snapshots import snapshot_cache
from service.store.database import Store
from service.store.tables import snapshots
from service.store.values import canonical


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    return full_home(tmp_path)


def cached(store: Store) -> dict[int, tuple[str, dict[str, object]]]:
    """The digest and the document of each snapshot, as the cache gives them."""
    with store.reading() as connection:
        rows = connection.execute(sa.select(snapshots.c.id, snapshots.c.digest)).all()
        return {row.id: (row.digest, snapshot_cache.document(connection, row.id, row.digest)) for row in rows}


def test_no_request_changes_a_shared_document(home: SnapshotHome) -> None:
    app = create_app(home.home, clock=lambda: NOW)
    values = {"iso3": "MLI", "number": "1", "a": "1", "b": "2"}
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and "stream" not in rule.rule]
    requested = [rule for rule in rules if rule.arguments <= values.keys()]
    client, store = app.test_client(), context_of(app).store
    shared = cached(store)
    for rule in requested:
        client.get(re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda name: values[name[1]], rule.rule)).close()
    assert len(requested) > 30
    assert {number: document is shared[number][1] for number, (_, document) in cached(store).items()} == dict.fromkeys(
        shared, True
    )
    with store.reading() as connection:
        for row in connection.execute(sa.select(snapshots)):
            digest, document = shared[row.id]
            assert digest == row.digest
            assert canonical(document) == canonical(row.document), f"snapshot {row.id}"


def test_a_document_is_read_once_and_few_are_cached(home: SnapshotHome) -> None:
    for _ in range(snapshot_cache.CACHE_SIZE):
        home.issue()
    statements: list[str] = []
    store = context_of(create_app(home.home, clock=lambda: NOW)).store
    with store.reading() as connection:
        rows = connection.execute(sa.select(snapshots.c.id, snapshots.c.digest)).all()
        sa.event.listen(store.engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
        first = snapshot_cache.document(connection, rows[0].id, rows[0].digest)
        assert len(statements) == 1
        assert snapshot_cache.document(connection, rows[0].id, rows[0].digest) is first
        assert len(statements) == 1
        for row in rows:
            snapshot_cache.document(connection, row.id, row.digest)
        assert len(statements) == len(rows)
        newest = rows[-snapshot_cache.CACHE_SIZE :]
        for row in newest:
            snapshot_cache.document(connection, row.id, row.digest)
        assert len(statements) == len(rows), "the newest are cached"
        assert snapshot_cache.document(connection, rows[0].id, rows[0].digest) is not first, "the oldest are not"
