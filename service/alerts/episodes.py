"""Episodes: one row of `alerts` for each time that a rule is pending or fires at a location; acknowledgements."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import ACTIVE, FIRING
from riskmodel.errors import BadInput
from service.alerts import known_alerts
from service.store.tables import alert_actions, alerts

IDENTITY = ("region", "simulated", "rule", "location_code", "outcome", "severity")

MAX_NAME, MAX_NOTE = 64, 400
"""The longest name of a person, and the longest note or reason [characters]."""


class NotActive(BadInput):
    """The alert has ended, so nobody can acknowledge it."""


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


def acknowledge(connection: sa.Connection, alert_id: str, by: str, note: str | None, now: datetime) -> None:
    """Note that a person deals with an alert: no more reminders are sent. Its end is announced as usual.

    Raises NotActive if it has ended, and BadInput for a name or a note that is not one line.
    """
    check_line(by, MAX_NAME, "by")
    if note is not None:
        check_line(note, MAX_NOTE, "note")
    _update_active(connection, alert_id, now, by, note)
    _add_action(connection, "acknowledged", now, alert_id=alert_id, by=by, note=note)
    known_alerts.cancel_reminders(connection, alert_id, "the alert was acknowledged")


def unacknowledge(connection: sa.Connection, alert_id: str, by: str, now: datetime) -> None:
    """Take an acknowledgement back: reminders are sent again. Raises NotActive, and BadInput as `acknowledge` does."""
    check_line(by, MAX_NAME, "by")
    _update_active(connection, alert_id, None, None, None)
    _add_action(connection, "unacknowledged", now, alert_id=alert_id, by=by)


def _update_active(
    connection: sa.Connection, alert_id: str, at: datetime | None, by: str | None, note: str | None
) -> None:
    which = (alerts.c.id == alert_id) & alerts.c.state.in_(ACTIVE)
    values = {"acknowledged_at": at, "acknowledged_by": by, "acknowledged_note": note}
    if connection.execute(sa.update(alerts).where(which).values(values)).rowcount == 0:
        raise NotActive(f"the alert {alert_id} has ended, or there is none with this id")


def _add_action(connection: sa.Connection, kind: str, now: datetime, **values: Any) -> None:
    connection.execute(sa.insert(alert_actions).values(kind=kind, at=now, **values))


def check_line(text: str, longest: int, what: str) -> None:
    """Raise BadInput if a text is not one line of 1 to `longest` characters."""
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise BadInput(f"{what}: must be one line of 1 to {longest} characters")
