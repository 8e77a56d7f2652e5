"""Episodes: one row of `alerts` for each time that a rule is pending or fires at a location, with an id of its own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import ACTIVE, FIRING
from service.store.tables import alerts

IDENTITY = ("region", "simulated", "rule", "location_code", "outcome", "severity")


def record(connection: sa.Connection, change: Mapping[str, Any], now: datetime) -> None:
    """Store what a transition means for its alert: it opens, fires or ends. After its end nothing changes."""
    from_active, to_active = (change[key] in ACTIVE for key in ("from_state", "to_state"))
    values: dict[str, Any] = {"state": change["to_state"]}
    if change["to_state"] == FIRING:
        values |= {"fired_at": now, "fired_origin": change["origin"], "severity": change["severity"]}
    if not to_active:
        values["ended_at"] = now
    if to_active and not from_active:
        identity = {key: change[key] for key in IDENTITY}
        connection.execute(sa.insert(alerts).values(identity | {"id": change["alert_id"], "opened_at": now} | values))
    elif from_active:
        connection.execute(sa.update(alerts).where(alerts.c.id == change["alert_id"]).values(values))
