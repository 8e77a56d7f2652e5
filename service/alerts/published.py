"""Changes of alerts as they are published: in the feed, as CAP messages, and in the table of changes.

Published are the changes into firing, and out of it. What was only pending was announced to nobody.
"""

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from riskmodel.alerting.states import FIRING
from service.store.tables import transitions


class PublishedChange(NamedTuple):
    """One change: its number, its alert, when it was, the new state, and the facts and texts of the transition."""

    number: int
    alert_id: str
    at: datetime
    to_state: str
    facts: dict[str, Any]


def changes(
    connection: sa.Connection,
    region: str,
    simulated: bool,
    limit: int,
    *,
    before: int | None = None,
    outcome: str | None = None,
) -> list[PublishedChange]:
    """Return changes of the alerts of a region, newest first: at most `limit` of those below the number `before`."""
    row = transitions.c
    which = [row.region == region, row.simulated == simulated, _is_published()]
    if before is not None:
        which.append(row.id < before)
    if outcome is not None:
        which.append(row.outcome == outcome)
    return _read(connection, sa.select(transitions).where(*which).order_by(row.id.desc()).limit(limit))


def of_alert(connection: sa.Connection, region: str, simulated: bool, alert_id: str) -> list[PublishedChange]:
    """Return the changes of one alert, oldest first; none if the region has no such alert."""
    row = transitions.c
    of_region = (row.region == region) & (row.simulated == simulated)
    return _read(
        connection,
        sa.select(transitions).where(row.alert_id == alert_id, of_region, _is_published()).order_by(row.id),
    )


def _is_published() -> sa.ColumnElement[bool]:
    return (transitions.c.to_state == FIRING) | (transitions.c.from_state == FIRING)


def _read(connection: sa.Connection, query: sa.Select[Any]) -> list[PublishedChange]:
    rows = connection.execute(query)
    return [PublishedChange(row.id, row.alert_id, row.at, row.to_state, row.document) for row in rows]
