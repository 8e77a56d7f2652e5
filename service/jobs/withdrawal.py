"""Taking back a wrong snapshot: kept as it was issued, marked, served no more, and corrected where it was told."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.errors import BadInput
from service.alerts import lifecycle
from service.alerts.correction import Correction, correct
from service.alerts.rules import Rule
from service.snapshots import change_feed
from service.store.database import Store
from service.store.tables import alert_states, runs, snapshots
from service.store.values import instant


def withdraw(store: Store, rules: Sequence[Rule], snapshot_id: int, why: str, now: datetime) -> Correction:
    """Withdraw a snapshot, with what follows from it, in one transaction.

    The one before it is in service again, and alerts stand as that one says. Raises BadInput for a snapshot that is not
    there or was withdrawn before.
    """
    with store.writing() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == snapshot_id)).one_or_none()
        if row is None:
            raise BadInput(f"there is no snapshot {snapshot_id}")
        if row.withdrawn_at is not None:
            raise BadInput(f"snapshot {snapshot_id} was withdrawn on {instant(row.withdrawn_at)}")
        mark = sa.update(snapshots).where(snapshots.c.id == snapshot_id)
        connection.execute(mark.values(withdrawn_at=now, withdrawn_reason=why))
        done = correct(connection, row, why, now)
        _stand_as_before(connection, rules, row, why, now)
        return done


def _stand_as_before(
    connection: sa.Connection, rules: Sequence[Rule], row: sa.Row[Any], why: str, now: datetime
) -> None:
    """Let the alerts stand as the snapshot says that is in service again; without any, none stands."""
    of_region = (snapshots.c.region == row.region) & (snapshots.c.simulated == row.simulated)
    left = sa.select(snapshots).where(of_region, snapshots.c.withdrawn_at.is_(None)).order_by(snapshots.c.id.desc())
    before = connection.execute(left).first()
    change_feed.snapshot_withdrawn(connection, row, before, why, now)
    if before is None:
        ours = (alert_states.c.region == row.region) & (alert_states.c.simulated == row.simulated)
        connection.execute(sa.delete(alert_states).where(ours))
        return
    times = {"started_at": now, "finished_at": now}
    run = {"region": row.region, **times, "status": "withdrawal", "snapshot_id": before.id}
    run_id = connection.execute(sa.insert(runs).values(run).returning(runs.c.id)).scalar_one()
    lifecycle.evaluate(
        connection,
        rules=rules,
        document=before.document,
        run_id=run_id,
        snapshot_id=before.id,
        now=now,
        data_age_days=(now.date() - date.fromisoformat(before.document["data_as_of"])).days,
        causes=["withdrawal"],
        first=False,
    )
