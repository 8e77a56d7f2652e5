"""Refresh: alerts that still fire are posted to Alertmanagers again every few minutes, without rows in the outbox."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.states import FIRING
from service.alerts import routes
from service.settings import AlertmanagerRoute, Settings
from service.store.tables import alerts, deliveries, delivery_alerts, route_refreshes

EVERY = timedelta(minutes=2)
"""Prometheus repeats alerts as often: an Alertmanager that restarts has forgotten them."""


def due(connection: sa.Connection, settings: Settings, now: datetime) -> list[str]:
    """Return the Alertmanager routes whose alerts should be posted again now."""
    names = [name for name, route in settings.routes.items() if isinstance(route, AlertmanagerRoute)]
    if not names:
        return []
    at = route_refreshes.c.refreshed_at
    # A time in the future means that the clock was set back since.
    recent = sa.select(route_refreshes.c.route).where(at > now - EVERY, at <= now + routes.CLOCK_SKEW)
    skipped = set(connection.scalars(sa.union(recent, routes.paused(now))))
    return [name for name in names if name not in skipped and connection.execute(_firing(name).limit(1)).first()]


def firing(connection: sa.Connection, route: str) -> list[Mapping[str, Any]]:
    """Return the facts of each firing alert that the receiver of a route knows, as its last message has them."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in connection.execute(_firing(route).order_by(deliveries.c.created_at, deliveries.c.id)):
        for entry in _entries(row.document["data"]):
            if entry.get("alert_id") == row.alert_id:
                found[row.alert_id] = entry
    return list(found.values())


def note(connection: sa.Connection, route: str, now: datetime) -> None:
    """Store when the alerts of a route were last posted."""
    connection.execute(sa.delete(route_refreshes).where(route_refreshes.c.route == route))
    connection.execute(sa.insert(route_refreshes).values(route=route, refreshed_at=now))


def _firing(route: str) -> sa.Select[tuple[str, dict[str, Any]]]:
    return (
        sa.select(alerts.c.id.label("alert_id"), deliveries.c.document)
        .join(delivery_alerts, delivery_alerts.c.alert_id == alerts.c.id)
        .join(deliveries, deliveries.c.id == delivery_alerts.c.delivery_id)
        .where(alerts.c.state == FIRING, deliveries.c.route == route, deliveries.c.status == "sent")
    )


def _entries(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (entry for entry in data.get("alerts", [data]) if entry.get("to_state") == FIRING)
