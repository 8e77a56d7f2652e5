"""Changes to what the service publishes, as rows in commit order, and cursors to follow them.

A row is written in the transaction of the change itself, and only one transaction writes at a time. So a reader who
always asks for the rows after the last one it has seen gets every change exactly once.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.hindcast_payload import HINDCAST
from service.snapshots.outcome_parts import of_outcome
from service.store.tables import changes
from service.store.values import instant

SNAPSHOT, BAND, ALERT, WITHDRAWAL, REALM = "snapshot", "band", "alert", "withdrawal", "realm"

SNAPSHOT_CHANGE_KEYS = ("digest", "issued_at", "origin", "data_as_of", "causes")
ALERT_CHANGE_KEYS = (
    "rule",
    "severity",
    "title",
    "metric",
    "value",
    "reason",
    "from_state",
    "to_state",
    "causes",
    "headline",
)

CURSOR_VERSION = "1"
"""The version of the cursor format: a cursor of another version is refused."""

REALMS = {None: "none", True: "simulated", False: "real"}
"""Which kind of data is in service, by `simulated`."""


@dataclass(frozen=True)
class Cursor:
    """A position in a region's changes: after row `after`, seen while `realm` was in service."""

    after: int
    region: str
    realm: str

    @property
    def text(self) -> str:
        """The cursor as an opaque token, so that clients do not depend on its parts."""
        parts = ".".join((CURSOR_VERSION, self.region, self.realm, str(self.after)))
        return base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")


def cursor(text: str, region: str) -> Cursor:
    """Parse a cursor of a region. Raises BadInput."""
    try:
        padded = text + "=" * (-len(text) % 4)
        version, of, realm, after = base64.b64decode(padded, altchars="-_", validate=True).decode("ascii").split(".")
    except (binascii.Error, ValueError):
        raise BadInput("this is not a cursor") from None
    if version != CURSOR_VERSION or realm not in REALMS.values() or not (after.isdecimal() and len(after) < 19):
        raise BadInput("this is not a cursor")
    if of != region:
        raise BadInput(f"this is a cursor of the region {of}")
    return Cursor(int(after), of, realm)


@dataclass(frozen=True)
class Batch:
    """Some changes. `next` is the cursor after the last of them; `more` is true if there are changes after it."""

    data: list[dict[str, Any]]
    next: Cursor
    more: bool


def now(connection: sa.Connection, region: str, simulated: bool | None) -> Cursor:
    """Return the cursor after the newest change."""
    return Cursor(connection.scalar(sa.select(sa.func.max(changes.c.id))) or 0, region, REALMS[simulated])


def start(connection: sa.Connection, region: str, simulated: bool | None) -> Cursor:
    """Return the cursor before the oldest stored change."""
    oldest = connection.scalar(sa.select(sa.func.min(changes.c.id))) or 1
    return Cursor(oldest - 1, region, REALMS[simulated])


def since(
    connection: sa.Connection,
    seen: Cursor,
    simulated: bool | None,
    limit: int,
    at: datetime,
    outcome: str | None = None,
) -> Batch:
    """Return at most `limit` changes after a cursor, of the kind of data in service.

    Of the changes of bands only those of an `outcome` are returned, by default of the headline of each snapshot.

    If the cursor comes from the other kind of data, the first change is a `realm` change. Raises BadInput for a cursor
    after the newest change (the database was restored) and for one whose next change may be deleted already.
    """
    oldest, newest = connection.execute(sa.select(sa.func.min(changes.c.id), sa.func.max(changes.c.id))).one()
    if seen.after > (newest or 0):
        raise BadInput("this cursor is newer than the newest change: the database was restored from a backup")
    if oldest is not None and seen.after < oldest - 1:
        raise BadInput("this cursor is older than the oldest stored change")
    realm = REALMS[simulated]
    entries: list[dict[str, Any]] = []
    if seen.realm != realm:
        seen = Cursor(seen.after, seen.region, realm)
        entries.append(_realm_entry(seen, simulated, at))
    following = (changes.c.region == seen.region) & (changes.c.simulated == simulated) & (changes.c.id > seen.after)
    room = max(limit - len(entries), 0)
    chosen = _is_headline(connection) if outcome is None else changes.c.outcome == outcome
    wanted = sa.select(changes).where(following, (changes.c.kind != BAND) | chosen)
    rows = connection.execute(wanted.order_by(changes.c.id).limit(room + 1)).all()
    for row in rows[:room]:
        seen = Cursor(row.id, seen.region, realm)
        entries.append(_entry(row, seen))
    more = len(rows) > room
    if not more:
        # Past the changes of other outcomes too: a client that gets none of them must not seem to have missed them.
        seen = Cursor(max(seen.after, newest or 0), seen.region, realm)
    return Batch(entries, seen, more)


def _is_headline(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Return whether a change of a band is of the headline of its snapshot."""
    text = sa.type_coerce(changes.c.document, sa.Text)
    document: Any = sa.type_coerce(text, sa.JSON) if connection.dialect.name == "sqlite" else sa.cast(text, sa.JSON)
    is_headline: sa.ColumnElement[bool] = document["of_headline"].as_boolean()
    return is_headline


def _entry(row: sa.Row[Any], cursor: Cursor) -> dict[str, Any]:
    return {
        "cursor": cursor.text,
        "at": instant(row.at),
        "kind": row.kind,
        "simulated": row.simulated,
        "outcome": row.outcome,
        "location_code": row.location_code,
        "snapshot_id": row.snapshot_id,
        **row.document,
    }


def _realm_entry(cursor: Cursor, simulated: bool | None, at: datetime) -> dict[str, Any]:
    """Return the change of realm. It is not a row: it follows from the archive and from the cursor of the reader."""
    return {
        "cursor": cursor.text,
        "at": instant(at),
        "kind": REALM,
        "simulated": simulated,
        "outcome": None,
        "location_code": None,
        "snapshot_id": None,
        "realm": cursor.realm,
    }


def snapshot_issued(
    connection: sa.Connection, snapshot: sa.Row[Any], before: Mapping[str, Any] | None, at: datetime
) -> None:
    """Record a new snapshot, and each band that differs from the document that was in service before, if any."""
    facts = {**of_outcome(snapshot.document), "causes": snapshot.document["causes"], "digest": snapshot.digest}
    _record_for_snapshot(connection, SNAPSHOT, snapshot, {key: facts[key] for key in SNAPSHOT_CHANGE_KEYS}, at)
    if before is not None:
        _record_bands(connection, before, snapshot, at)


def snapshot_withdrawn(
    connection: sa.Connection, withdrawn: sa.Row[Any], in_service: sa.Row[Any] | None, reason: str, at: datetime
) -> None:
    """Record a withdrawal, and each band that changes back; `in_service` is the snapshot in service from now on."""
    facts = {
        "withdrawn_reason": reason,
        "in_service": in_service.id if in_service else None,
        "reasons": {} if in_service else {"in_service": "no_snapshot"},
    }
    _record_for_snapshot(connection, WITHDRAWAL, withdrawn, facts, at)
    if in_service is not None and in_service.id < withdrawn.id:
        _record_bands(connection, withdrawn.document, in_service, at)


def alert_changed(connection: sa.Connection, transition: Mapping[str, Any], at: datetime) -> None:
    """Record a transition of an alert."""
    location_code = None if transition["location_code"] == geography.WHOLE_REGION else transition["location_code"]
    facts = {key: transition[key] for key in ALERT_CHANGE_KEYS}
    _record(connection, ALERT, transition, transition["snapshot_id"], facts, at, transition["outcome"], location_code)


def hindcasts_stored(
    connection: sa.Connection,
    region: str,
    *,
    simulated: bool,
    outcome: str,
    snapshot_id: int,
    facts: Mapping[str, Any],
    at: datetime,
) -> None:
    """Record that the hindcasts of an outcome have changed; `snapshot_id` is the snapshot in service."""
    _record(connection, HINDCAST, {"region": region, "simulated": simulated}, snapshot_id, facts, at, outcome, None)


def _record_bands(connection: sa.Connection, before: Mapping[str, Any], after: sa.Row[Any], at: datetime) -> None:
    """Record the bands of the outcomes that both snapshots have."""
    for outcome, part in after.document["outcomes"].items():
        if outcome in before["outcomes"]:
            _record_bands_of_outcome(connection, outcome, before["outcomes"][outcome], part, after, at)


def _record_bands_of_outcome(
    connection: sa.Connection,
    outcome: str,
    part_before: Mapping[str, Any],
    part: Mapping[str, Any],
    snapshot: sa.Row[Any],
    at: datetime,
) -> None:
    countries_before = {country["location_code"]: country for country in part_before["countries"]}
    for country in part["countries"]:
        iso3 = country["location_code"]
        if iso3 not in countries_before or countries_before[iso3]["band"] == country["band"]:
            continue
        sides = {"from": countries_before[iso3], "to": country}
        facts = {
            "location_name": geography.country(iso3).name(),
            **{f"{side}_band": row["band"] for side, row in sides.items()},
            **{f"{side}_score": row["risk_score"] for side, row in sides.items()},
            "of_headline": outcome == snapshot.document["outcome"],
            "reasons": {
                f"{side}_{field}": row["reasons"].get("risk_score", "unknown")
                for side, row in sides.items()
                for field in ("band", "score")
                if row["band"] is None
            },
        }
        _record_for_snapshot(connection, BAND, snapshot, facts, at, outcome, iso3)


def _record_for_snapshot(
    connection: sa.Connection,
    kind: str,
    snapshot: sa.Row[Any],
    facts: Mapping[str, Any],
    at: datetime,
    outcome: str | None = None,
    location_code: str | None = None,
) -> None:
    _record(connection, kind, snapshot.document, snapshot.id, facts, at, outcome, location_code)


def _record(
    connection: sa.Connection,
    kind: str,
    subject: Mapping[str, Any],
    snapshot_id: int,
    facts: Mapping[str, Any],
    at: datetime,
    outcome: str | None,
    location_code: str | None,
) -> None:
    values = {
        "at": at,
        "kind": kind,
        "region": subject["region"],
        "simulated": subject["simulated"],
        "outcome": outcome,
        "location_code": location_code,
        "snapshot_id": snapshot_id,
        "document": dict(facts),
    }
    connection.execute(sa.insert(changes).values(values))
