"""Silences: alerts whose messages are not sent for some time.

Their states and transitions go on, and the page, the API and the command line show them. When a silence ends, each
alert that still fires is announced once, and so is the end of one that a receiver believes to be firing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import FIRING
from riskmodel.errors import BadInput
from service.alerts import endings, known_alerts, notifications, outbox
from service.alerts.episodes import MAX_NAME, MAX_NOTE, check_line
from service.alerts.silence_matching import LASTS, MATCHER, active, covers, id_of_match
from service.store.database import Store
from service.store.tables import alert_actions, alert_states, alerts, deliveries, silences
from service.store.values import instant, sortable_id


def create(
    connection: sa.Connection,
    *,
    region: str,
    simulated: bool,
    matcher: Mapping[str, str | None],
    until: datetime,
    reason: str,
    by: str,
    now: datetime,
) -> str:
    """Silence the alerts that match, also those that are yet to come. Return the id of the silence.

    Messages about them that no receiver has are cancelled. Raises BadInput for an empty matcher, a time that is past,
    or a name or a reason that is not one line.
    """
    check_line(by, MAX_NAME, "by")
    check_line(reason, MAX_NOTE, "reason")
    if not any(matcher.values()):
        raise BadInput(f"rule: a silence of all alerts would hide everything; name one of {', '.join(MATCHER)}")
    if until <= now:
        raise BadInput(f"until: {instant(until)} is past")
    for name in ("rule", "location_code"):
        read = sa.select(alert_states.c[name]).where(alert_states.c.region == region).distinct()
        if matcher.get(name) and matcher[name] not in (known := sorted(connection.scalars(read))):
            raise BadInput(f"{name}: no rule reads {matcher[name]!r}; there are: {', '.join(known) or 'none yet'}")
    silence_id = sortable_id("sil")
    row = {"id": silence_id, "region": region, "simulated": simulated, **matcher, "starts_at": now, "until": until}
    made = sa.insert(silences).values(row | {"reason": reason, "by": by}).returning(silences)
    silence = connection.execute(made).one()
    silenced = _covered(connection, silence)
    _note(connection, "silenced", silence, silenced, by, reason, now)
    for alert in silenced:
        unsent = deliveries.c.id.in_(known_alerts.ids_of_own_messages(alert.id)) & ~outbox.RECEIVED
        outbox.cancel(connection, unsent, f"silenced by {silence_id}")
    return silence_id


def end(connection: sa.Connection, silence_id: str, by: str, now: datetime) -> None:
    """End a silence. Raises BadInput if there is none with this id, or if it has ended."""
    check_line(by, MAX_NAME, "by")
    silence = connection.execute(sa.select(silences).where(silences.c.id == silence_id)).one_or_none()
    if silence is None:
        raise BadInput(f"there is no silence {silence_id}")
    if silence.ended_at is not None:
        raise BadInput(f"the silence {silence_id} ended on {instant(silence.ended_at)}")
    _end(connection, silence, by, now)


def end_due(connection: sa.Connection, now: datetime) -> int:
    """End the silences whose time is over. Return their number."""
    over = connection.execute(sa.select(silences).where(LASTS, silences.c.until <= now).order_by(silences.c.id)).all()
    for silence in over:
        _end(connection, silence, None, now)
    return len(over)


def end_due_of(store: Store, now: datetime) -> None:
    """End the silences of a database whose time is over. Most often there is none, and reading takes no lock."""
    with store.reading() as connection:
        if not is_due(connection, now):
            return
    with store.writing() as connection:
        end_due(connection, now)


def is_due(connection: sa.Connection, now: datetime) -> bool:
    """Return whether the time of a silence is over."""
    over = sa.select(silences.c.id).where(LASTS, silences.c.until <= now).limit(1)
    return connection.execute(over).first() is not None


def _end(connection: sa.Connection, silence: Any, by: str | None, now: datetime) -> None:
    connection.execute(sa.update(silences).where(silences.c.id == silence.id).values(ended_at=now))
    found = _covered(connection, silence)
    _note(connection, "silence_ended", silence, found, by, None, now)
    lasting = active(connection, silence.region, silence.simulated)

    def is_free(alert: Any) -> bool:
        # A silence that began after the end of an alert does not cover it, and would not announce that end later.
        others = [each for each in lasting if alert.ended_at is None or each.starts_at <= alert.ended_at]
        return id_of_match(others, dict(alert._mapping)) is None

    free = [alert for alert in found if is_free(alert)]
    # The end of an alert first: another one of the same rule can fire there by now.
    ended = [known_alerts.last_change(connection, alert.id) for alert in free if alert.state != FIRING]
    if ended:
        endings.enqueue(connection, ended, ended[-1], now)
    announced = [alert.id for alert in free if _needs_news(connection, alert)]
    late = [known_alerts.still_firing(connection, alert_id, "silence", now) for alert_id in announced]
    notifications.enqueue_messages(connection, late, now)


def _covered(connection: sa.Connection, silence: Any) -> list[Any]:
    """Return the rows of the alerts that a silence covers and that fire, or have ended since it began."""
    which = (alerts.c.region == silence.region) & (alerts.c.simulated == silence.simulated)
    recent = alerts.c.ended_at.is_(None) | (alerts.c.ended_at >= silence.starts_at)
    rows = connection.execute(
        sa.select(alerts).where(which, recent, alerts.c.fired_at.is_not(None)).order_by(alerts.c.id)
    )
    return [row for row in rows if covers(silence, dict(row._mapping))]


def _note(
    connection: sa.Connection,
    kind: str,
    silence: Any,
    found: Sequence[Any],
    by: str | None,
    note: str | None,
    now: datetime,
) -> None:
    """Note what happened to a silence, for each alert that it covers; if there is none, for the silence alone."""
    action = {"kind": kind, "at": now, "silence_id": silence.id, "by": by, "note": note}
    rows = [action | {"alert_id": alert_id} for alert_id in [alert.id for alert in found] or [None]]
    connection.execute(sa.insert(alert_actions), rows)


def _needs_news(connection: sa.Connection, alert: Any) -> bool:
    """Return whether to announce an alert again: it fires, and nobody who knows of it deals with it."""
    if alert.inhibited_by:
        return False
    return alert.state == FIRING and not (alert.acknowledged_at and known_alerts.announcements(connection, alert.id))
