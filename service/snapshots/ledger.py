"""The ledger: all snapshots, chained by digest, with the draws behind them; and what shows that none was altered since.

It reads what stands in the database, byte by byte, and knows nothing of what the bytes mean but what a snapshot says of
its own place, of its draws and of earlier withdrawals. What is forged at the very end of the chain, digests and all,
cannot be told from what is true by this alone: who keeps a digest of the head elsewhere can tell.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from service.store.tables import forecasts, runs, snapshots, verifications
from service.store.values import instant


@dataclass(frozen=True)
class Walked:
    """What a walk through the ledger saw; `faults` name each snapshot or row that is not as it was issued."""

    snapshots: int
    forecasts: int
    head: tuple[int, str] | None
    faults: tuple[str, ...]


@dataclass(frozen=True)
class _Mark:
    """The withdrawal of a snapshot, in the words of the database."""

    snapshot_id: int
    at: str
    why: str


def entries(connection: sa.Connection, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Entries of the ledger, the newest first; those before a number, if one is given."""
    listed = sa.select(*(column for column in snapshots.c if column.name != "document"))
    if before is not None:
        listed = listed.where(snapshots.c.id < before)
    return [
        {
            "id": row.id,
            "region": row.region,
            "simulated": row.simulated,
            "issued_at": instant(row.issued_at),
            "digest": row.digest,
            "previous_digest": row.previous_digest,
            "withdrawn": row.withdrawn_at is not None,
            "withdrawn_at": instant(row.withdrawn_at),
            "withdrawn_reason": row.withdrawn_reason,
        }
        for row in connection.execute(listed.order_by(snapshots.c.id.desc()).limit(limit))
    ]


def withdrawals(connection: sa.Connection) -> list[dict[str, Any]]:
    """What a snapshot repeats of the withdrawals before it, so that its digest covers them."""
    at = sa.type_coerce(snapshots.c.withdrawn_at, sa.Text).label("at")
    marked = sa.select(snapshots.c.id, at, snapshots.c.withdrawn_reason).where(snapshots.c.withdrawn_at.is_not(None))
    rows = connection.execute(marked.order_by(snapshots.c.id))
    return [{"snapshot_id": row.id, "at": row.at, "why": row.withdrawn_reason} for row in rows]


def walk(connection: sa.Connection, head: str | None = None) -> Walked:
    """Walk the whole chain and hold every byte against its digest; `head` is a digest that was kept elsewhere."""
    numbers = connection.scalars(sa.select(snapshots.c.id).order_by(snapshots.c.id)).all()
    faults = [f"{_numbered(one + 1, other - 1)}: missing" for one, other in pairwise((0, *numbers)) if other > one + 1]
    said: list[Mapping[str, Any]] = []
    marks: list[_Mark] = []
    files, digests = 0, [""]
    for number in numbers:
        row = connection.execute(_raw(connection, snapshots).where(snapshots.c.id == number)).one()
        document = _document(row)
        faults += [f"snapshot {number}: {fault}" for fault in _snapshot(row, document, digests[-1])]
        kept = connection.execute(_raw(connection, forecasts).where(forecasts.c.snapshot_id == number)).all()
        faults += [f"snapshot {number}, {fault}" for fault in _forecasts(kept, document)]
        if row.withdrawn_at is not None:
            marks.append(_Mark(number, _text(row.withdrawn_at), _text(row.withdrawn_reason)))
        said.append(document)
        digests.append(hashlib.sha256(_bytes(row.document)).hexdigest())
        files += len(kept)
    faults += [*_withdrawals(said, marks), *_strays(connection, numbers)]
    if head is not None and head not in digests[1:]:
        faults.append(f"no snapshot has the digest {head}")
    return Walked(len(numbers), files, (numbers[-1], digests[-1]) if numbers else None, tuple(faults))


def _document(row: sa.Row[Any]) -> Mapping[str, Any]:
    """What a snapshot says; nothing if it cannot be read, which its digest tells."""
    try:
        said = json.loads(_bytes(row.document))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _snapshot(row: sa.Row[Any], said: Mapping[str, Any], before: str) -> Iterator[str]:
    """What is wrong with a snapshot itself, `before` being the digest of the one before it, or empty."""
    if hashlib.sha256(_bytes(row.document)).hexdigest() != _text(row.digest):
        yield "its document does not have the digest that stands beside it"
    if (said.get("previous_digest") or "") != before:
        yield "it does not follow on the one before it"
    columns = {
        "id": row.id,
        "region": _text(row.region),
        "simulated": bool(row.simulated) if row.simulated in (0, 1) else row.simulated,
        "previous_digest": row.previous_digest and _text(row.previous_digest),
    }
    if "input_digest" in said:  # an earlier Vigie said less of its own row
        columns |= {"input_digest": _text(row.input_digest), "issued_at": _text(row.issued_at)}
        said = {**said, "issued_at": said["issued_at"].removesuffix("Z") + ".000000Z"}
    for name, value in columns.items():
        if said.get(name) != value:
            yield f"its {name} is not what its document says"


def _forecasts(rows: Sequence[sa.Row[Any]], said: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the draws behind a snapshot."""
    of_csv, roles = said.get("forecasts_csv", {}), {}
    for told, role in (("model", "served"), ("shadow", "shadow")):
        facts = said.get(told) or {}
        roles[facts.get("id", facts.get("model_id"))] = role
    expected = {(name, iso3): d for name, of in said.get("forecasts", {}).items() for iso3, d in of.items()}
    for row in rows:
        forecaster, iso3 = _text(row.forecaster), _text(row.location_code)
        digest, where = expected.pop((forecaster, iso3), None), f"draws of {forecaster} for {iso3}"
        if digest is None:
            yield f"{where}: inserted"
            continue
        role = roles.get(forecaster, "baseline")
        csv_digest = of_csv.get(iso3) if role == "served" else None
        if hashlib.sha256(_bytes(row.parquet)).hexdigest() != digest:
            yield f"{where}: altered"
        if (None if row.csv is None else hashlib.sha256(_bytes(row.csv)).hexdigest()) != csv_digest:
            yield f"{where}: its CSV is altered"
        if (_text(row.role), _text(row.digest)) != (role, digest):
            yield f"{where}: its role or digest is not what the snapshot says"
    for forecaster, iso3 in expected:
        yield f"draws of {forecaster} for {iso3}: missing"


def _withdrawals(said: Sequence[Mapping[str, Any]], marks: Sequence[_Mark]) -> Iterator[str]:
    """Where withdrawals are not those that later snapshots tell of."""
    for document in said:
        if "withdrawn" not in document:
            continue
        told = {_Mark(**mark) for mark in document["withdrawn"]}
        for mark in sorted(told - set(marks), key=lambda mark: mark.snapshot_id):
            yield f"snapshot {mark.snapshot_id}: its withdrawal is not the one that snapshot {document['id']} tells of"
        for mark in marks:
            earlier = mark.snapshot_id < document["id"] and f"{mark.at[:19]}Z" < document["issued_at"]
            if earlier and mark not in told:
                yield f"snapshot {mark.snapshot_id}: its withdrawal is not known to snapshot {document['id']}"


def _strays(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[str]:
    """Snapshots that other rows tell of and that are not there."""
    there = set(numbers)
    for table, what in ((runs, "a run"), (forecasts, "draws"), (verifications, "a verification")):
        told = connection.scalars(sa.select(table.c.snapshot_id).distinct().where(table.c.snapshot_id.is_not(None)))
        for number in sorted(set(told) - there):
            yield f"snapshot {number}: missing, and {what} tells of it"


def _numbered(first: int, last: int) -> str:
    return f"snapshot {first}" if first == last else f"snapshots {first} to {last}"


def _raw(connection: sa.Connection, table: sa.Table) -> sa.Select[Any]:
    """A table's columns as they stand in the database: SQLite would not even give back text that is none any more."""
    columns: list[sa.ColumnElement[Any]] = []
    for column in table.c:
        if isinstance(column.type, sa.Integer | sa.Boolean):
            columns.append(sa.type_coerce(column, sa.Integer).label(column.name))
        elif connection.dialect.name == "sqlite":
            columns.append(sa.cast(column, sa.LargeBinary).label(column.name))
        elif isinstance(column.type, sa.LargeBinary):
            columns.append(column)
        else:
            columns.append(sa.type_coerce(column, sa.Text).label(column.name))
    return sa.select(*columns)


def _bytes(value: bytes | memoryview | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _text(value: bytes | memoryview | str | None) -> str:
    return "" if value is None else _bytes(value).decode("utf-8", "backslashreplace")
