"""Snapshots that are noted as changes, as recompute does."""

import sqlalchemy as sa
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service.snapshots import change_feed
from service.store.tables import snapshots


def issue(home: SnapshotHome, **bands: str | None) -> int:
    """Issue a snapshot in which these countries have these bands, and note what has changed. Returns its number."""
    document = home.issue()
    for country in document["countries"]:
        if country["location_code"] in bands:
            country["band"] = bands[country["location_code"]]
            if country["band"] is None:
                country.update(risk_score=None, reasons={"risk_score": "no_history"})
    home.replace(document)
    record_changes(home, document["id"])
    return int(document["id"])


def record_changes(home: SnapshotHome, number: int) -> None:
    """Record what a snapshot changes, compared with the one before it."""
    with home.store.writing() as connection:
        before, row = (
            connection.execute(sa.select(snapshots).where(snapshots.c.id == each)).one_or_none()
            for each in (number - 1, number)
        )
        assert row is not None
        change_feed.snapshot_issued(connection, row, before.document if before else None, NOW)
