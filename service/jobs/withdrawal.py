"""Withdraw a wrong snapshot: it stays as it was issued, is no longer served, and its messages are corrected."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.rule import Rule
from riskmodel.errors import BadInput
from service.alerts import lifecycle
from service.alerts.correction import Correction, correct
from service.jobs import snapshot_chain
from service.snapshots import change_feed
from service.store.database import Store
from service.store.tables import runs, snapshots
from service.store.values import instant


def withdraw(store: Store, rules: Sequence[Rule], snapshot_id: int, reason: str, now: datetime) -> Correction:
    """Withdraw a snapshot, in one transaction with all that follows from it.

    The snapshot before it is in service again, and the alerts follow that one. Raises BadInput if there is no such
    snapshot, or if it is withdrawn already.
    """
    with store.writing() as connection:
        snapshot = connection.execute(sa.select(snapshots).where(snapshots.c.id == snapshot_id)).one_or_none()
        if snapshot is None:
            raise BadInput(f"there is no snapshot {snapshot_id}")
        if snapshot.withdrawn_at is not None:
            raise BadInput(f"snapshot {snapshot_id} was withdrawn on {instant(snapshot.withdrawn_at)}")
        row = sa.update(snapshots).where(snapshots.c.id == snapshot_id)
        connection.execute(row.values(withdrawn_at=now, withdrawn_reason=reason))
        correction = correct(connection, snapshot, reason, now)
        _restore_previous(connection, rules, snapshot, reason, now)
        return correction


def _restore_previous(
    connection: sa.Connection, rules: Sequence[Rule], withdrawn: sa.Row[Any], reason: str, now: datetime
) -> None:
    """Update change feed and alerts for the snapshot that is in service now. Without one, there are no alerts."""
    previous = snapshot_chain.in_service(connection, withdrawn.region, simulated=withdrawn.simulated)
    change_feed.snapshot_withdrawn(connection, withdrawn, previous, reason, now)
    run = {"region": withdrawn.region, "started_at": now, "finished_at": now, "status": "withdrawal"}
    snapshot_id = previous.id if previous is not None else withdrawn.id
    new_run = sa.insert(runs).values(**run, snapshot_id=snapshot_id).returning(runs.c.id)
    run_id = connection.execute(new_run).scalar_one()
    if previous is None:
        lifecycle.end_all(connection, withdrawn.document, run_id, withdrawn.id, now)
        return
    lifecycle.evaluate(
        connection,
        rules=rules,
        document=previous.document,
        run_id=run_id,
        snapshot_id=previous.id,
        now=now,
        causes=["withdrawal"],
    )
