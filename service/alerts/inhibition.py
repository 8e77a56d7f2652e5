"""Inhibition: no messages about an alert while a rule that its rule names fires for the same place."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import ACTIVE, FIRING
from riskmodel.geography import WHOLE_REGION
from service.alerts import known_alerts, notifications, silence_matching
from service.store.tables import alerts


def update(connection: sa.Connection, rules: Sequence[Rule], region: str, simulated: bool, now: datetime) -> set[str]:
    """Note which active alerts are inhibited, and by which rule. Return their ids.

    An alert that is no longer inhibited, and that fires, is announced if it was not yet.
    """
    inhibitors = {rule.name: rule.inhibited_by or () for rule in rules}
    of_region = (alerts.c.region == region) & (alerts.c.simulated == simulated)
    rows = connection.execute(sa.select(alerts).where(of_region, alerts.c.state.in_(ACTIVE))).all()
    firing = {(row.rule, row.location_code) for row in rows if row.state == FIRING}
    inhibited = set()
    for row in rows:
        by = next(
            (
                name
                for name in inhibitors.get(row.rule, ())
                if (name, row.location_code) in firing or (name, WHOLE_REGION) in firing
            ),
            None,
        )
        if by is not None:
            inhibited.add(row.id)
        if by != row.inhibited_by:
            connection.execute(sa.update(alerts).where(alerts.c.id == row.id).values(inhibited_by=by))
    released = [row for row in rows if row.inhibited_by and row.id not in inhibited and row.state == FIRING]
    lasting = silence_matching.active(connection, region, simulated)
    late = [
        known_alerts.still_firing(connection, row.id, "inhibition", now)
        for row in released
        if not known_alerts.announcements(connection, row.id)
        and silence_matching.id_of_match(lasting, dict(row._mapping)) is None
    ]
    notifications.enqueue_messages(connection, late, now)
    return inhibited
