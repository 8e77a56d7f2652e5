"""What each snapshot said of each country, in short: kept beside the documents, and read page by page.

A document is half a megabyte; ten years of them cannot be read for one line each. It knows SQL and no web.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from riskmodel.months import first_day, last_day, month
from service.store.tables import scores, snapshots
from service.store.values import instant

VALUES = ("risk_score", "band", "escalation_probability", "onset_probability", "expected_deaths")


def keep(connection: sa.Connection) -> None:
    """Note in short what the snapshots say that are not noted yet: the new one, or all that an older Vigie made."""
    noted = sa.select(scores.c.snapshot_id).where(scores.c.snapshot_id == snapshots.c.id)
    missing = connection.scalars(sa.select(snapshots.c.id).where(~noted.exists()).order_by(snapshots.c.id)).all()
    for number in missing:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one()
        connection.execute(sa.insert(scores), [_short(row, country) for country in row.document["countries"]])


def _short(row: sa.Row[Any], country: Mapping[str, Any]) -> dict[str, Any]:
    share = country.get("completeness")
    return {
        "snapshot_id": row.id,
        "location_code": country["location_code"],
        **{name: getattr(row, name) for name in ("region", "simulated", "issued_at")},
        "origin": row.document["origin"],
        "model_id": row.document["model"]["id"],
        **{name: country[name] for name in VALUES},
        "completeness": share["value"] if share else None,
        "reasons": {name: why for name, why in country["reasons"].items() if name in (*VALUES, "completeness")},
    }


def of_country(
    connection: sa.Connection, region: str, simulated: bool, iso3: str, before: int, limit: int, until: datetime | None
) -> list[dict[str, Any]]:
    """What snapshots with a number below `before` said of a country, newest first; withdrawn ones are marked.

    Only those issued by `until`, if that is given.
    """
    of_realm = (scores.c.region == region) & (scores.c.simulated == simulated)
    wanted = sa.select(scores).where(of_realm, scores.c.location_code == iso3, scores.c.snapshot_id < before)
    if until is not None:
        wanted = wanted.where(scores.c.issued_at <= until)
    rows = connection.execute(wanted.order_by(scores.c.snapshot_id.desc()).limit(limit)).all()
    taken_back = withdrawn(connection, region, simulated, [row.snapshot_id for row in rows])
    return [_told(row, taken_back.get(row.snapshot_id)) for row in rows]


def withdrawn(
    connection: sa.Connection, region: str, simulated: bool, numbers: Sequence[int]
) -> dict[int, sa.Row[Any]]:
    """Those of some snapshots that were withdrawn, by number, with when and why."""
    if not numbers:
        return {}
    of_realm = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    between = snapshots.c.id.between(min(numbers), max(numbers))
    columns = (snapshots.c.id, snapshots.c.withdrawn_at, snapshots.c.withdrawn_why)
    taken_back = sa.select(*columns).where(of_realm, between, snapshots.c.withdrawn_at.is_not(None))
    rows: list[sa.Row[Any]] = list(connection.execute(taken_back))
    return {row.id: row for row in rows}


@cache
def _period(origin: str) -> dict[str, str]:
    """The three months after an origin."""
    end = month(origin)
    return {"reference_period_start": first_day(end + 1), "reference_period_end": last_day(end + 3)}


def _told(row: sa.Row[Any], taken_back: sa.Row[Any] | None) -> dict[str, Any]:
    return {
        "location_code": row.location_code,
        "snapshot_id": row.snapshot_id,
        "issued_at": instant(row.issued_at),
        "origin": row.origin,
        **_period(row.origin),
        **{name: getattr(row, name) for name in VALUES},
        "completeness": row.completeness,
        "model_id": row.model_id,
        "withdrawn_at": instant(taken_back.withdrawn_at) if taken_back else None,
        "withdrawn_why": taken_back.withdrawn_why if taken_back else None,
        "reasons": row.reasons,
    }


def newest(connection: sa.Connection, region: str, simulated: bool, limit: int) -> list[sa.Row[Any]]:
    """The newest snapshots of a region, newest first: number, digest, when issued; `withdrawn` tells the rest."""
    columns = (snapshots.c.id, snapshots.c.digest, snapshots.c.issued_at)
    of_realm = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    listed = sa.select(*columns).where(of_realm).order_by(snapshots.c.id.desc()).limit(limit)
    return list(connection.execute(listed))


def together(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[sa.Row[Any]]]:
    """What some snapshots say in short, by number."""
    wanted = sa.select(scores).where(scores.c.snapshot_id.in_(numbers)).order_by(scores.c.snapshot_id)
    found: dict[int, list[sa.Row[Any]]] = {number: [] for number in numbers}
    for row in connection.execute(wanted):
        found[row.snapshot_id].append(row)
    return found
