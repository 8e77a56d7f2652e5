"""The chain of issued snapshots: find the one in service, append a new one, and say why it differs from the last."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from service.snapshots import ledger
from service.store.tables import forecasts, snapshots
from service.store.values import canonical, instant

if TYPE_CHECKING:
    from service.jobs.snapshot_content import SnapshotContent  # slow to import, and a withdrawal does not need it


def in_service(connection: sa.Connection, region: str, *, simulated: bool) -> sa.Row[Any] | None:
    """Return the newest snapshot of a region that is not withdrawn, of real or simulated data."""
    of_region = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    issued = sa.select(snapshots).where(of_region, snapshots.c.withdrawn_at.is_(None))
    return connection.execute(issued.order_by(snapshots.c.id.desc())).first()


def withdrawn_with_input(connection: sa.Connection, region: str, input_digest: str) -> sa.Row[Any] | None:
    """Return the newest withdrawn snapshot that was made from this input."""
    same_input = (snapshots.c.region == region) & (snapshots.c.input_digest == input_digest)
    withdrawn = sa.select(snapshots).where(same_input, snapshots.c.withdrawn_at.is_not(None))
    return connection.execute(withdrawn.order_by(snapshots.c.id.desc())).first()


def append(
    connection: sa.Connection,
    content: "SnapshotContent",
    last: sa.Row[Any] | None,
    input_digest: str,
    now: datetime,
) -> sa.Row[Any]:
    """Add a snapshot at the end of the chain, with the draws behind it. `last` is the snapshot in service so far."""
    issued_at = now.replace(microsecond=0)  # as precise as in the document, so that the digest covers the column too
    newest = connection.execute(sa.select(snapshots.c.id, snapshots.c.digest).order_by(snapshots.c.id.desc())).first()
    document = {
        **content.document,
        "id": newest.id + 1 if newest else 1,
        "previous_digest": newest.digest if newest else None,
        "issued_at": instant(issued_at),
        "input_digest": input_digest,
        "withdrawals": ledger.withdrawals(connection),
        "first": last is None,
        "causes": ["first"] if last is None else causes(last.document, content.document),
    }
    row = {
        "id": document["id"],
        "region": document["region"],
        "simulated": document["simulated"],
        "issued_at": issued_at,
        "input_digest": input_digest,
        "previous_digest": document["previous_digest"],
        "digest": hashlib.sha256(canonical(document).encode()).hexdigest(),
        "document": document,
    }
    connection.execute(sa.insert(snapshots).values(row))
    if content.forecasts:
        connection.execute(
            sa.insert(forecasts), [{"snapshot_id": row["id"], **forecast.row} for forecast in content.forecasts]
        )
    return connection.execute(sa.select(snapshots).where(snapshots.c.id == row["id"])).one()


def causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return why a snapshot differs from the one before it.

    The codes are new_month, revision, new_source, model and settings, in this order. A revision is a change of deaths
    in a month that both have. A new source is a kind of data that indicators did not have before. If no cause shows in
    the documents, the data were revised in a month that they do not contain.
    """
    found = {
        "new_month": after["origin"] != before["origin"],
        "revision": _observed_deaths_differ(before, after),
        "new_source": not _source_kinds(after) <= _source_kinds(before),
        "model": any(after["model"][part] != before["model"][part] for part in ("digest", "vigie")),
        "settings": after["bands"] != before["bands"] or _has_drivers(after) != _has_drivers(before),
    }
    return [cause for cause, applies in found.items() if applies] or ["revision"]


def _observed_deaths_differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    known = {
        (country["location_code"], observed["month"]): observed["deaths"]
        for country in before["countries"]
        for observed in country["observed"]
    }
    return any(
        known.get((country["location_code"], observed["month"]), observed["deaths"]) != observed["deaths"]
        for country in after["countries"]
        for observed in country["observed"]
    )


def _source_kinds(document: Mapping[str, Any]) -> set[str]:
    return {source["kind"] for source in document["indicator_sources"]}


def _has_drivers(document: Mapping[str, Any]) -> bool:
    # The setting `drivers` computes the drivers of all countries and the neighbour effects, or neither.
    return document["neighbour_effects"] is not None
