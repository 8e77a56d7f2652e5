"""Update the alerts of a region from the snapshot in service."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from service.alerts import lifecycle
from service.alerts.rules import Rule


def update_alerts(
    connection: sa.Connection,
    snapshot: sa.Row[Any],
    rules: Sequence[Rule],
    run_id: int,
    now: datetime,
    *,
    causes: Sequence[str],
) -> int:
    """Update the alerts from a snapshot and the clock, and return the number of transitions.

    `causes` say why the snapshot is new; there are none if it was in service before.
    """
    data_as_of = date.fromisoformat(snapshot.document["data_as_of"])
    transitions = lifecycle.evaluate(
        connection,
        rules=rules,
        document=snapshot.document,
        run_id=run_id,
        snapshot_id=snapshot.id,
        now=now,
        data_age_days=(now.date() - data_as_of).days,
        causes=causes,
        first=list(causes) == ["first"],
    )
    return len(transitions)
