"""The documents of snapshots, as they are read again and again: parsed once, for as long as they are in use.

What is issued is never altered, and a document's digest covers all of it; so one that is known by number and digest is
not read anew. It is shared by all who ask for it, and nobody may change it. It knows nothing of what documents say.
"""

import threading
from collections import OrderedDict
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from service.store.tables import snapshots

KEPT = 4
"""How many documents of one store are kept: what is served now, and what is held against it."""

_Known = OrderedDict[tuple[int, str], dict[str, Any]]

_known: "WeakKeyDictionary[sa.Engine, _Known]" = WeakKeyDictionary()
_looking = threading.Lock()


class Snapshot(NamedTuple):
    """A snapshot with its document."""

    id: int
    digest: str
    simulated: bool
    issued_at: datetime
    withdrawn_at: datetime | None
    document: dict[str, Any]


def document(connection: sa.Connection, number: int, digest: str) -> dict[str, Any]:
    """The document of the snapshot with this number and digest."""
    with _looking:
        known = _known.setdefault(connection.engine, OrderedDict())
        if (found := known.get((number, digest))) is not None:
            known.move_to_end((number, digest))
            return found
    read: dict[str, Any] = connection.execute(
        sa.select(snapshots.c.document).where(snapshots.c.id == number, snapshots.c.digest == digest)
    ).scalar_one()
    with _looking:
        known[number, digest] = read
        while len(known) > KEPT:
            known.popitem(last=False)
    return read


def snapshot(connection: sa.Connection, number: int | None) -> Snapshot | None:
    """The snapshot with this number, withdrawn or not."""
    facts = [snapshots.c[name] for name in Snapshot._fields if name != "document"]
    row = connection.execute(sa.select(*facts).where(snapshots.c.id == number)).mappings().one_or_none()
    return None if row is None else Snapshot(**row, document=document(connection, row["id"], row["digest"]))
