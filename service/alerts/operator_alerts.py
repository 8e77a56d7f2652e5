"""Alerts for the operator: a route is disabled, or messages by it were given up. They go by another route.

They never lead to alerts about themselves: one that is given up raises none, and if its own route is disabled it moves
to the next one. There are fewer routes each time, so this ends.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from service.alerts import outbox, routes
from service.alerts.composition import Bilingual
from service.settings import Settings
from service.store.tables import deliveries

KIND = "operator"

log = logging.getLogger(__name__)


def route_disabled(connection: sa.Connection, settings: Settings, route: str, now: datetime) -> None:
    """Tell the operator that a route is disabled. Operator alerts that wait for it go by another route."""
    other = _route(connection, settings, route, now)
    if other is not None:
        waiting = (deliveries.c.kind == KIND) & (deliveries.c.route == route) & (deliveries.c.status == "waiting")
        moved = sa.update(deliveries).where(waiting).values(route=other, not_before=now, error=None)
        connection.execute(moved)
    _enqueue(connection, other, route, "route_disabled", _disabled_text(route), now)


def given_up(connection: sa.Connection, settings: Settings, route: str, kinds: Sequence[str], now: datetime) -> None:
    """Tell the operator that messages of these kinds by a route were given up, unless he knows."""
    number = sum(kind not in (KIND, "test") for kind in kinds)
    if number:
        _enqueue(connection, _route(connection, settings, route, now), route, "given_up", _given_up_text(route), now)


def _route(connection: sa.Connection, settings: Settings, about: str, now: datetime) -> str | None:
    """Return the route for alerts about another one: that of the settings, or the first that works."""
    paused: set[str] = set(connection.scalars(routes.paused(now)))
    preferred = [settings.operator_route] if settings.operator_route else []
    return next((name for name in [*preferred, *settings.routes] if name != about and name not in paused), None)


def _enqueue(
    connection: sa.Connection, by: str | None, about: str, problem: str, texts: Mapping[str, Any], now: datetime
) -> None:
    if by is None:
        log.error("route %r: %s. No other route can take the alert for the operator", about, problem)
        return
    subject = f"{KIND}/{problem}/{about}"
    known = sa.exists().where(deliveries.c.alert == subject, deliveries.c.status == "waiting")
    if connection.scalar(sa.select(known)):
        return  # a storm of failures is one alert
    data = {"problem": problem, "route": about, **texts}
    outbox.enqueue(connection, route=by, kind=KIND, data=data, now=now, alert=subject)


def _disabled_text(route: str) -> dict[str, Bilingual]:
    headline = {
        "en": f"OPERATOR – the route “{route}” is disabled",
        "fr": f"EXPLOITATION – le canal «\xa0{route}\xa0» est désactivé",
    }
    explanation = {
        "en": "Its receiver refuses messages for good. Vigie sends nothing more by this route, and its messages wait. "
        f"Correct the receiver or the route, then run: vigie alerts test {route}",
        "fr": "Son destinataire refuse définitivement les messages. Vigie n’envoie plus rien par ce canal et ses "
        f"messages attendent. Corrigez le destinataire ou le canal, puis exécutez\xa0: vigie alerts test {route}",
    }
    sms = {
        "en": f'VIGIE OPERATOR: route "{route}" is disabled: its receiver refuses messages.',
        "fr": f'VIGIE EXPLOITATION: canal "{route}" désactivé: son destinataire refuse les messages.',
    }
    return _texts(headline, explanation, sms)


def _given_up_text(route: str) -> dict[str, Bilingual]:
    headline = {
        "en": f"OPERATOR – messages by the route “{route}” were given up",
        "fr": f"EXPLOITATION – des messages du canal «\xa0{route}\xa0» sont abandonnés",
    }
    explanation = {
        "en": "Vigie could not deliver them and does not try again. This command lists them with the reasons: "
        "vigie alerts undelivered",
        "fr": "Vigie n’a pas pu les remettre et n’essaie plus. Cette commande les affiche avec les raisons\xa0: "
        "vigie alerts undelivered",
    }
    sms = {
        "en": f'VIGIE OPERATOR: messages by route "{route}" were given up.',
        "fr": f'VIGIE EXPLOITATION: messages du canal "{route}" abandonnés.',
    }
    return _texts(headline, explanation, sms)


def _texts(headline: Bilingual, explanation: Bilingual, sms: Bilingual) -> dict[str, Bilingual]:
    text = {code: f"{headline[code]}. {explanation[code]}." for code in headline}
    return {"headline": headline, "sms": sms, "text": text, "full": text}
