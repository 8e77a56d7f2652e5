"""A country's scores and signals over time: of every snapshot, and hindcasts of origins without a valid snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from riskmodel.hindcast_payload import HINDCAST
from riskmodel.months import first_day, last_day, month
from service.snapshots import history
from service.snapshots.earlier_scores import ISSUED, in_realm, withdrawn_numbers
from service.snapshots.hindcast_view import origin_at
from service.snapshots.history import SCORE_VALUES, SIGNAL_VALUES
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import hindcast_scores, hindcasts, scores
from service.store.values import instant

AS_KNOWN = "as_known"
"""The data basis of everything that was issued: what was known at that time."""

Position = tuple[str, int]
"""The place of an entry: its origin, YYYY-MM, and the number of its snapshot, 0 for a hindcast."""

END: Position = ("9999-12", 0)
"""The place after all entries."""

_NOT_OF_HINDCAST = ("snapshot_id", "issued_at", "release_class", "model_id")


@dataclass(frozen=True)
class CountryKey:
    """Whose history: a country of a region, of real or simulated data, for one outcome."""

    region: str
    simulated: bool
    outcome: str
    iso3: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The values for `in_realm`."""
        return {"region": self.region, "simulated": self.simulated, "outcome": self.outcome}


def entries(
    connection: sa.Connection,
    key: CountryKey,
    before: Position,
    limit: int,
    until: datetime | None = None,
    values: Sequence[str] = SCORE_VALUES,
) -> list[dict[str, Any]]:
    """Return a country's values before a position, newest origin first, and of an origin the newest snapshot first.

    Withdrawn snapshots say so. A hindcast is there only for an origin that has no valid snapshot. `until` leaves out
    what was issued later, and hindcasts of origins that were not known then.
    """
    issued = _issued(connection, key, before, limit, until)
    found = {_position(entry): entry for entry in (*issued, *_hindcasts(connection, key, before, limit, until))}
    return [_with_values(found[position], values) for position in sorted(found, reverse=True)[:limit]]


def until_view(connection: sa.Connection, view: SnapshotView, iso3: str, months: int) -> list[dict[str, Any]]:
    """Return a country's score of each known origin of some months up to that of a view, oldest first.

    Of an origin, the newest valid snapshot counts, else its hindcast. Each has `origin`, `risk_score` and `issued`.
    """
    document = view.document
    key = CountryKey(document["region"], document["simulated"], document["outcome"], iso3)
    first = str(month(document["origin"]) - months)
    parameters = {**key.parameters, "iso3": iso3, "first": first, "last": document["origin"], "until": view.now}
    rows = [*connection.execute(_HINDCASTS_OF_SPAN, parameters), *connection.execute(_ISSUED_OF_SPAN, parameters)]
    points = {row.origin: dict(row._mapping) for row in rows}
    own = next(row for row in document["countries"] if row["location_code"] == iso3)
    now = {"origin": document["origin"], "risk_score": own["risk_score"], "issued": view.id is not None}
    return [point for _, point in sorted({**points, document["origin"]: now}.items())]


def _with_values(entry: Mapping[str, Any], values: Sequence[str]) -> dict[str, Any]:
    """Return an entry with some of the values that a history can have."""
    others = {*SCORE_VALUES, *SIGNAL_VALUES} - {*values}
    chosen = {name: value for name, value in entry.items() if name not in others}
    return {**chosen, "reasons": {name: reason for name, reason in entry["reasons"].items() if name not in others}}


def _position(entry: Mapping[str, Any]) -> Position:
    return entry["origin"], entry["snapshot_id"] or 0


def cursor(entry: Mapping[str, Any]) -> str:
    """Return the text of an entry's position."""
    origin, number = _position(entry)
    return f"{origin}.{number}"


def position(text: str) -> Position:
    """Return the position that a text of `cursor` names."""
    origin, _, number = text.partition(".")
    return origin, int(number)


def _issued(
    connection: sa.Connection, key: CountryKey, before: Position, limit: int, until: datetime | None
) -> list[dict[str, Any]]:
    origin, number = before
    following = (scores.c.origin < origin) | ((scores.c.origin == origin) & (scores.c.snapshot_id < number))
    query = sa.select(scores).where(*in_realm(scores), scores.c.location_code == key.iso3, following)
    if until is not None:
        query = query.where(scores.c.issued_at <= until)
    query = query.order_by(scores.c.origin.desc(), scores.c.snapshot_id.desc()).limit(limit)
    rows = connection.execute(query, key.parameters).all()
    withdrawals = history.withdrawn(connection, key.region, key.simulated, [row.snapshot_id for row in rows])
    return [_issued_entry(row, withdrawals.get(row.snapshot_id)) for row in rows]


def _hindcasts(
    connection: sa.Connection, key: CountryKey, before: Position, limit: int, until: datetime | None
) -> list[dict[str, Any]]:
    origin, number = before
    table = hindcast_scores
    # A position of a hindcast excludes itself; one of a snapshot is above the hindcast of the same origin.
    following = table.c.origin < origin if number == 0 else table.c.origin <= origin
    valid = [scores.c.location_code == key.iso3, scores.c.snapshot_id.not_in(withdrawn_numbers())]
    if until is not None:
        following &= table.c.origin <= origin_at(until)
        valid.append(scores.c.issued_at <= until)
    is_issued = sa.exists().where(*in_realm(scores), *valid, scores.c.origin == table.c.origin)
    query = sa.select(table, hindcasts.c.data_basis, hindcasts.c.model_origin).join_from(table, hindcasts)
    query = query.where(*in_realm(table), table.c.location_code == key.iso3, following, ~is_issued)
    rows = connection.execute(query.order_by(table.c.origin.desc()).limit(limit), key.parameters)
    return [_hindcast_entry(row) for row in rows]


@cache
def _reference_period(origin: str) -> dict[str, str]:
    """Return the three months after an origin."""
    end = month(origin)
    return {"reference_period_start": first_day(end + 1), "reference_period_end": last_day(end + 3)}


def _issued_entry(row: sa.Row[Any], withdrawal: sa.Row[Any] | None) -> dict[str, Any]:
    return {
        **_shared(row, ISSUED, AS_KNOWN),
        "snapshot_id": row.snapshot_id,
        "issued_at": instant(row.issued_at),
        "release_class": row.release_class,
        "model_id": row.model_id,
        "withdrawn_at": instant(withdrawal.withdrawn_at) if withdrawal else None,
        "withdrawn_reason": withdrawal.withdrawn_reason if withdrawal else None,
        "reasons": row.reasons,
    }


def _hindcast_entry(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        **_shared(row, HINDCAST, row.data_basis),
        **dict.fromkeys((*_NOT_OF_HINDCAST, "withdrawn_at", "withdrawn_reason")),
        "reasons": {**row.reasons, **dict.fromkeys(_NOT_OF_HINDCAST, HINDCAST)},
    }


def _shared(row: sa.Row[Any], basis: str, data_basis: str) -> dict[str, Any]:
    return {
        "location_code": row.location_code,
        "outcome": row.outcome,
        "basis": basis,
        "data_basis": data_basis,
        "origin": row.origin,
        **_reference_period(row.origin),
        **{name: getattr(row, name) for name in (*SCORE_VALUES, *SIGNAL_VALUES)},
        "model_origin": row.model_origin,
    }


def _span(table: sa.Table, *more: sa.ColumnElement[bool], issued: bool) -> sa.Select[Any]:
    """Return the query of a country's scores of the origins of a span."""
    of_country = table.c.location_code == sa.bindparam("iso3")
    in_span = table.c.origin.between(sa.bindparam("first"), sa.bindparam("last"))
    columns = (table.c.origin, table.c.risk_score, sa.literal(issued).label("issued"))
    return sa.select(*columns).where(*in_realm(table), of_country, in_span, *more)


_HINDCASTS_OF_SPAN = _span(hindcast_scores, issued=False)
_ISSUED_OF_SPAN = _span(
    scores,
    scores.c.snapshot_id.not_in(withdrawn_numbers()),
    scores.c.issued_at <= sa.bindparam("until", type_=scores.c.issued_at.type),
    issued=True,
).order_by(scores.c.snapshot_id)
