"""The ledger: all snapshots, chained by digest, with the draws behind them, and a check that none was altered.

The check compares the bytes in the database with their digests. Someone who can write to the database could replace the
newest snapshots together with their digests. Only a digest that is stored elsewhere shows that.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from service.snapshots import history
from service.store.seals import stored, stored_text
from service.store.tables import forecasts, runs, snapshots, verifications
from service.store.values import instant


@dataclass(frozen=True)
class LedgerCheck:
    """Result of a check: how much was checked, the newest number and digest, and a line for each fault."""

    snapshots: int
    forecasts: int
    head: tuple[int, str] | None
    faults: tuple[str, ...]


@dataclass(frozen=True)
class _Withdrawal:
    """The withdrawal of a snapshot, with the time as text, as it is in the database."""

    snapshot_id: int
    withdrawn_at: str
    withdrawn_reason: str


def entries(
    connection: sa.Connection, before: int | None, limit: int, outcome: str | None = None
) -> list[dict[str, Any]]:
    """Return the newest entries, newest first.

    `before` leaves out the snapshots from that number on, and `outcome` those without it.
    """
    query = sa.select(*(column for column in snapshots.c if column.name != "document"))
    if before is not None:
        query = query.where(snapshots.c.id < before)
    if outcome is not None:
        query = query.where(history.has_outcome(outcome))
    rows = connection.execute(query.order_by(snapshots.c.id.desc()).limit(limit)).all()
    outcomes = history.outcomes_of(connection, [row.id for row in rows])
    return [
        {
            "id": row.id,
            "region": row.region,
            "simulated": row.simulated,
            "outcomes": list(outcomes[row.id]),
            "issued_at": instant(row.issued_at),
            "digest": row.digest,
            "previous_digest": row.previous_digest,
            "withdrawn": row.withdrawn_at is not None,
            "withdrawn_at": instant(row.withdrawn_at),
            "withdrawn_reason": row.withdrawn_reason,
        }
        for row in rows
    ]


def withdrawals(connection: sa.Connection) -> list[dict[str, Any]]:
    """Return all withdrawals so far. Each new snapshot repeats them, so that its digest covers them."""
    withdrawn_at = sa.type_coerce(snapshots.c.withdrawn_at, sa.Text).label("withdrawn_at")
    withdrawn = sa.select(snapshots.c.id, withdrawn_at, snapshots.c.withdrawn_reason)
    rows = connection.execute(withdrawn.where(snapshots.c.withdrawn_at.is_not(None)).order_by(snapshots.c.id))
    return [
        {"snapshot_id": row.id, "withdrawn_at": row.withdrawn_at, "withdrawn_reason": row.withdrawn_reason}
        for row in rows
    ]


def check(connection: sa.Connection, head: str | None = None) -> LedgerCheck:
    """Compare every byte of the chain with its digest. `head` is a digest that was stored elsewhere."""
    numbers = connection.scalars(sa.select(snapshots.c.id).order_by(snapshots.c.id)).all()
    faults = [
        f"{_range(number + 1, following - 1)}: missing"
        for number, following in pairwise((0, *numbers))
        if following > number + 1
    ]
    intact: list[Mapping[str, Any]] = []
    withdrawn: list[_Withdrawal] = []
    files, digests = 0, [""]
    for number in numbers:
        row = connection.execute(sa.select(*stored(connection, snapshots)).where(snapshots.c.id == number)).one()
        document = _parse(row)
        faults += [f"snapshot {number}: {fault}" for fault in _snapshot_faults(row, document, digests[-1])]
        of_snapshot = sa.select(*stored(connection, forecasts)).where(forecasts.c.snapshot_id == number)
        draws = connection.execute(of_snapshot).all()
        faults += [f"snapshot {number}, {fault}" for fault in _draws_faults(draws, document)]
        if row.withdrawn_at is not None:
            withdrawn.append(_Withdrawal(number, stored_text(row.withdrawn_at), stored_text(row.withdrawn_reason)))
        digests.append(hashlib.sha256(_bytes(row.document)).hexdigest())
        if digests[-1] == stored_text(row.digest):  # an altered document says nothing about withdrawals
            intact.append(document)
        files += len(draws)
    faults += [*_withdrawal_faults(intact, withdrawn), *_dangling_rows(connection, numbers)]
    if head is not None and head not in digests[1:]:
        faults.append(f"no snapshot has the digest {head}")
    return LedgerCheck(len(numbers), files, (numbers[-1], digests[-1]) if numbers else None, tuple(faults))


def _parse(row: sa.Row[Any]) -> Mapping[str, Any]:
    """Return the document of a snapshot; empty if it cannot be parsed. Its digest shows the fault then."""
    try:
        document = json.loads(_bytes(row.document))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _snapshot_faults(row: sa.Row[Any], document: Mapping[str, Any], digest_before: str) -> Iterator[str]:
    """Yield the faults of a snapshot itself. `digest_before` is that of the snapshot before it, or empty."""
    if hashlib.sha256(_bytes(row.document)).hexdigest() != stored_text(row.digest):
        yield "its document does not have its digest"
    if (document.get("previous_digest") or "") != digest_before:
        yield "it does not have the digest of the snapshot before it"
    columns = {
        "id": row.id,
        "region": stored_text(row.region),
        # An altered row may have any number here.
        "simulated": bool(row.simulated) if row.simulated in (0, 1) else row.simulated,
        "previous_digest": row.previous_digest and stored_text(row.previous_digest),
        "input_digest": stored_text(row.input_digest),
        "issued_at": stored_text(row.issued_at),
    }
    issued_at = str(document.get("issued_at")).removesuffix("Z") + ".000000Z"
    recorded = {**document, "issued_at": issued_at}
    for name, value in columns.items():
        if recorded.get(name) != value:
            yield f"its {name} differs from its document"


def _draws_faults(rows: Sequence[sa.Row[Any]], document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults of the draws behind a snapshot."""
    parts: Mapping[str, Mapping[str, Any]] = document.get("outcomes", {})
    roles = {}
    for outcome, part in parts.items():
        for key, role in (("model", "served"), ("shadow", "shadow")):
            facts = part.get(key) or {}
            roles[outcome, facts.get("id", facts.get("model_id"))] = role
    expected = {
        (outcome, name, iso3): digest
        for outcome, part in parts.items()
        for name, by_country in part.get("forecasts", {}).items()
        for iso3, digest in by_country.items()
    }
    for row in rows:
        outcome, forecaster, iso3 = (stored_text(cell) for cell in (row.outcome, row.forecaster, row.location_code))
        digest, draws = expected.pop((outcome, forecaster, iso3), None), _draws_name(outcome, forecaster, iso3)
        if digest is None:
            yield f"{draws}: inserted"
            continue
        role = roles.get((outcome, forecaster), "baseline")
        csv_digest = parts[outcome].get("forecasts_csv", {}).get(iso3) if role == "served" else None
        if hashlib.sha256(_bytes(row.parquet)).hexdigest() != digest:
            yield f"{draws}: altered"
        if (None if row.csv is None else hashlib.sha256(_bytes(row.csv)).hexdigest()) != csv_digest:
            yield f"{draws}: the CSV is altered"
        if (stored_text(row.role), stored_text(row.digest)) != (role, digest):
            yield f"{draws}: the role or the digest differs from the snapshot"
    for missing in expected:
        yield f"{_draws_name(*missing)}: missing"


def _draws_name(outcome: str, forecaster: str, iso3: str) -> str:
    return f"draws of {forecaster} for {iso3} ({outcome})"


def _withdrawal_faults(documents: Sequence[Mapping[str, Any]], withdrawn: Sequence[_Withdrawal]) -> Iterator[str]:
    """Yield the withdrawals that differ from those that later snapshots repeat."""
    for document in documents:
        repeated = {_Withdrawal(**entry) for entry in document["withdrawals"]}
        for entry in sorted(repeated - set(withdrawn), key=lambda entry: entry.snapshot_id):
            yield f"snapshot {entry.snapshot_id}: its withdrawal differs from the one in snapshot {document['id']}"
        for entry in withdrawn:
            earlier = entry.snapshot_id < document["id"] and f"{entry.withdrawn_at[:19]}Z" < document["issued_at"]
            if earlier and entry not in repeated:
                yield f"snapshot {entry.snapshot_id}: its withdrawal is not in snapshot {document['id']}"


def _dangling_rows(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[str]:
    """Yield the snapshots that other rows refer to and that are missing."""
    present = set(numbers)
    for table, row_name in ((runs, "a run"), (forecasts, "draws"), (verifications, "a verification")):
        query = sa.select(table.c.snapshot_id).distinct().where(table.c.snapshot_id.is_not(None))
        for number in sorted(set(connection.scalars(query)) - present):
            yield f"snapshot {number}: missing, but needed by {row_name}"


def _range(first: int, last: int) -> str:
    return f"snapshot {first}" if first == last else f"snapshots {first} to {last}"


def _bytes(value: bytes | memoryview | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
