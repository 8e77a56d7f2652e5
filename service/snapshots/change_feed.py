"""What changed in what is served, as rows in the order they were committed, and the cursors that follow them.

A row is written in the transaction that changes the thing itself, and writers come one after the other; so whoever
asks for the rows after the last one seen never misses one and never sees one twice. It knows no web.
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
from service.store.tables import changes
from service.store.values import instant

SNAPSHOT, BAND, ALERT, WITHDRAWAL, REALM = "snapshot", "band", "alert", "withdrawal", "realm"

TOLD_OF_SNAPSHOT = ("digest", "issued_at", "origin", "data_as_of", "causes")
TOLD_OF_ALERT = (
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

VERSION = "1"
REALMS = {None: "none", True: "simulated", False: "real"}


@dataclass(frozen=True)
class Cursor:
    """A place between two changes: after row `after` of a region, as seen while `realm` was in service."""

    after: int
    region: str
    realm: str

    @property
    def text(self) -> str:
        """As clients keep it; what it is made of is nobody's business."""
        said = ".".join((VERSION, self.region, self.realm, str(self.after)))
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def cursor(text: str, region: str) -> Cursor:
    """Read a cursor of a region. Raises BadInput for what is none."""
    try:
        padded = text + "=" * (-len(text) % 4)
        version, of, realm, after = base64.b64decode(padded, altchars="-_", validate=True).decode("ascii").split(".")
    except (binascii.Error, ValueError):
        raise BadInput("this is not a cursor") from None
    if version != VERSION or realm not in REALMS.values() or not (after.isdecimal() and len(after) < 19):
        raise BadInput("this is not a cursor")
    if of != region:
        raise BadInput(f"this is a cursor of the region {of}")
    return Cursor(int(after), of, realm)


@dataclass(frozen=True)
class Batch:
    """Changes as they are told, each with the cursor behind it; `next` follows the last, `more` wait behind that."""

    data: list[dict[str, Any]]
    next: Cursor
    more: bool


def now(connection: sa.Connection, region: str, simulated: bool | None) -> Cursor:
    """The cursor behind all that has changed so far."""
    return Cursor(connection.scalar(sa.select(sa.func.max(changes.c.id))) or 0, region, REALMS[simulated])


def start(connection: sa.Connection, region: str, simulated: bool | None) -> Cursor:
    """The cursor before all that is kept."""
    oldest = connection.scalar(sa.select(sa.func.min(changes.c.id))) or 1
    return Cursor(oldest - 1, region, REALMS[simulated])


def since(connection: sa.Connection, seen: Cursor, simulated: bool | None, limit: int, at: datetime) -> Batch:
    """At most `limit` changes behind a cursor, in the realm in service.

    If that is not the realm of the cursor, the first change says so: what was learned before no longer holds. Raises
    BadInput for a cursor from beyond the newest change, as it is left behind when a database is restored, and for one
    whose next change may have been pruned.
    """
    oldest, newest = connection.execute(sa.select(sa.func.min(changes.c.id), sa.func.max(changes.c.id))).one()
    if seen.after > (newest or 0):
        raise BadInput("this cursor is newer than every change there is: the database was restored from a backup")
    if oldest is not None and seen.after < oldest - 1:
        raise BadInput("this cursor is older than the changes that are kept")
    realm = REALMS[simulated]
    told: list[dict[str, Any]] = []
    if seen.realm != realm:
        seen = Cursor(seen.after, seen.region, realm)
        told.append(_told_of_realm(seen, simulated, at))
    ours = (changes.c.region == seen.region) & (changes.c.simulated == simulated) & (changes.c.id > seen.after)
    room = max(limit - len(told), 0)
    found = connection.execute(sa.select(changes).where(ours).order_by(changes.c.id).limit(room + 1)).all()
    for row in found[:room]:
        seen = Cursor(row.id, seen.region, realm)
        told.append(_told(row, seen))
    return Batch(told, seen, more=len(found) > room)


def _told(row: sa.Row[Any], behind: Cursor) -> dict[str, Any]:
    return {
        "cursor": behind.text,
        "at": instant(row.at),
        "kind": row.kind,
        "simulated": row.simulated,
        "location_code": row.location_code,
        "snapshot_id": row.snapshot_id,
        **row.document,
    }


def _told_of_realm(behind: Cursor, simulated: bool | None, at: datetime) -> dict[str, Any]:
    """The one change that is no row: it is a matter of the archive, and every reader learns of it once."""
    return {
        "cursor": behind.text,
        "at": instant(at),
        "kind": REALM,
        "simulated": simulated,
        "location_code": None,
        "snapshot_id": None,
        "realm": behind.realm,
    }


def snapshot_issued(
    connection: sa.Connection, snapshot: sa.Row[Any], before: Mapping[str, Any] | None, at: datetime
) -> None:
    """Tell of a snapshot, and of the bands that differ from the document in service before, if there was one."""
    told = {**snapshot.document, "digest": snapshot.digest}
    _tell(connection, SNAPSHOT, snapshot, {key: told[key] for key in TOLD_OF_SNAPSHOT}, at)
    if before is not None:
        _tell_bands(connection, before, snapshot, at)


def snapshot_withdrawn(
    connection: sa.Connection, withdrawn: sa.Row[Any], standing: sa.Row[Any] | None, why: str, at: datetime
) -> None:
    """Tell that a snapshot is taken back; `standing` is in service now. Bands are told that change back with it."""
    reasons = {} if standing else {"in_service": "no_snapshot"}
    told = {"why": why, "in_service": standing.id if standing else None, "reasons": reasons}
    _tell(connection, WITHDRAWAL, withdrawn, told, at)
    if standing is not None and standing.id < withdrawn.id:
        _tell_bands(connection, withdrawn.document, standing, at)


def alert_changed(connection: sa.Connection, change: Mapping[str, Any], at: datetime) -> None:
    """Tell of a transition of an alert."""
    place = None if change["location_code"] == "*" else change["location_code"]
    _insert(connection, ALERT, change, change["snapshot_id"], {key: change[key] for key in TOLD_OF_ALERT}, at, place)


def _tell_bands(connection: sa.Connection, before: Mapping[str, Any], after: sa.Row[Any], at: datetime) -> None:
    was = {country["location_code"]: country for country in before["countries"]}
    for country in after.document["countries"]:
        iso3 = country["location_code"]
        if iso3 not in was or was[iso3]["band"] == country["band"]:
            continue
        sides = {"from": was[iso3], "to": country}
        told = {
            "location_name": geography.country(iso3).name(),
            **{f"{side}_band": said["band"] for side, said in sides.items()},
            **{f"{side}_score": said["risk_score"] for side, said in sides.items()},
            "reasons": {
                f"{side}_{field}": said["reasons"].get("risk_score", "unknown")
                for side, said in sides.items()
                for field in ("band", "score")
                if said["band"] is None
            },
        }
        _tell(connection, BAND, after, told, at, iso3)


def _tell(
    connection: sa.Connection,
    kind: str,
    snapshot: sa.Row[Any],
    told: Mapping[str, Any],
    at: datetime,
    place: str | None = None,
) -> None:
    _insert(connection, kind, snapshot.document, snapshot.id, told, at, place)


def _insert(
    connection: sa.Connection,
    kind: str,
    of: Mapping[str, Any],
    snapshot_id: int,
    told: Mapping[str, Any],
    at: datetime,
    place: str | None,
) -> None:
    row = {"at": at, "kind": kind, "region": of["region"], "simulated": of["simulated"], "location_code": place}
    connection.execute(sa.insert(changes).values(**row, snapshot_id=snapshot_id, document=dict(told)))
