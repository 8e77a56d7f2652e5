"""The chain of issued snapshots: find the one in service, append a new one, and say why it differs from the last."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from service.snapshots import ledger
from service.snapshots.outcome_parts import of_outcome
from service.store.tables import forecasts, snapshots
from service.store.values import canonical, instant

if TYPE_CHECKING:
    from service.jobs.snapshot_content import SnapshotContent  # slow to import, and a withdrawal does not need it

CAUSES = ("first", "new_month", "revision", "new_source", "model", "settings")
"""Why a snapshot differs from the one before it."""


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
    by_outcome = causes(last.document if last else None, content.document)
    document = {
        **content.document,
        "id": newest.id + 1 if newest else 1,
        "previous_digest": newest.digest if newest else None,
        "issued_at": instant(issued_at),
        "input_digest": input_digest,
        "withdrawals": ledger.withdrawals(connection),
        "causes": [cause for cause in CAUSES if any(cause in found for found in by_outcome.values())] or ["model"],
        "outcomes": {
            outcome: {**part, "causes": by_outcome[outcome]} for outcome, part in content.document["outcomes"].items()
        },
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


def causes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return for each outcome of a snapshot why it differs from the snapshot before: codes of `CAUSES`, in this order.

    The first forecast of an outcome has the cause `first`. A revision is a change of deaths in a month that both
    snapshots have, or, if no cause shows in the documents of different data, in one that they do not contain. A new
    source is a kind of data that indicators did not have before. An outcome that does not differ has no cause.
    """
    outcomes_before = before["outcomes"] if before else {}
    return {
        outcome: _causes(of_outcome(before, outcome), of_outcome(after, outcome))
        if before and outcome in outcomes_before
        else ["first"]
        for outcome in after["outcomes"]
    }


def _causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found = {
        "new_month": after["origin"] != before["origin"],
        "revision": _observed_deaths_differ(before, after),
        "new_source": not _source_kinds(after) <= _source_kinds(before),
        "model": any(after["model"][part] != before["model"][part] for part in ("digest", "vigie")),
        "settings": after["bands"] != before["bands"] or _has_drivers(after) != _has_drivers(before),
    }
    if not any(found.values()) and after["data"]["digest"] != before["data"]["digest"]:
        return ["revision"]
    return [cause for cause, applies in found.items() if applies]


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
