"""The documents of snapshots are parsed once, and shared as they were issued."""

import re
from pathlib import Path

import sqlalchemy as sa
from issued import NOW, lived_in

from service.cli.app import create_app
from service.http.request_context import context_of
from service.snapshots import snapshot_cache
from service.store.tables import snapshots
from service.store.values import canonical


def test_whoever_is_served_a_shared_document_leaves_it_as_it_was_issued(tmp_path: Path) -> None:
    home = lived_in(tmp_path)
    app = create_app(home.home, clock=lambda: NOW)
    given = {"iso3": "MLI", "number": "1", "a": "1", "b": "2"}
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and "stream" not in rule.rule]
    asked = [rule for rule in rules if rule.arguments <= given.keys()]
    client, store = app.test_client(), context_of(app).store
    for rule in asked:
        client.get(re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda name: given[name[1]], rule.rule)).close()
    with store.reading() as connection:
        known = snapshot_cache._known[connection.engine]
        assert known
        for (number, digest), shared in known.items():
            row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one()
            assert row.digest == digest
            assert canonical(shared) == canonical(row.document), f"snapshot {number} after {len(asked)} requests"


def test_a_document_is_read_once_and_few_are_kept(tmp_path: Path) -> None:
    home = lived_in(tmp_path)
    read: list[str] = []
    store = context_of(create_app(home.home, clock=lambda: NOW)).store
    sa.event.listen(store.engine, "before_cursor_execute", lambda *told: read.append(told[2]))
    with store.reading() as connection:
        rows = connection.execute(sa.select(snapshots.c.id, snapshots.c.digest)).all()
        first = snapshot_cache.document(connection, rows[0].id, rows[0].digest)
        before = len(read)
        assert snapshot_cache.document(connection, rows[0].id, rows[0].digest) is first
        assert len(read) == before
        for row in rows:
            snapshot_cache.document(connection, row.id, row.digest)
        assert len(snapshot_cache._known[connection.engine]) <= snapshot_cache.KEPT
