"""Snapshots with their documents, which are parsed once and cached.

A document is about a megabyte and never changes, and its digest covers all of it. So a cached document with the
same number and digest is always right. All readers share it; nobody may change it.
"""

import threading
from collections import OrderedDict
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from service.store.tables import snapshots

CACHE_SIZE = 4
"""How many documents are cached per store: the one in service, and a few to compare it with."""

_Documents = OrderedDict[tuple[int, str], dict[str, Any]]

# Keyed by engine, so that tests and exports that open several stores never share documents; weak, so that a closed
# store frees its documents.
_cached: "WeakKeyDictionary[sa.Engine, _Documents]" = WeakKeyDictionary()
_lock = threading.Lock()


class Snapshot(NamedTuple):
    """A snapshot with its document."""

    id: int
    region: str
    digest: str
    simulated: bool
    issued_at: datetime
    withdrawn_at: datetime | None
    withdrawn_reason: str | None
    document: dict[str, Any]


def document(connection: sa.Connection, number: int, digest: str) -> dict[str, Any]:
    """Return the document of the snapshot with this number and digest. Do not change it."""
    with _lock:
        documents = _cached.setdefault(connection.engine, OrderedDict())
        if (found := documents.get((number, digest))) is not None:
            documents.move_to_end((number, digest))
            return found
    # Read outside the lock: two readers may both read the same document, which is cheaper than waiting for each other.
    read: dict[str, Any] = connection.execute(
        sa.select(snapshots.c.document).where(snapshots.c.id == number, snapshots.c.digest == digest)
    ).scalar_one()
    with _lock:
        documents[number, digest] = read
        while len(documents) > CACHE_SIZE:
            documents.popitem(last=False)
    return read


def snapshot(connection: sa.Connection, number: int | None) -> Snapshot | None:
    """Return the snapshot with this number, withdrawn or not."""
    facts = [snapshots.c[name] for name in Snapshot._fields if name != "document"]
    row = connection.execute(sa.select(*facts).where(snapshots.c.id == number)).mappings().one_or_none()
    return None if row is None else Snapshot(**row, document=document(connection, row["id"], row["digest"]))
