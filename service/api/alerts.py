"""Alerts: what is firing now in the realm in service, and the messages that did not get through."""

from typing import Literal

from flask import Blueprint

from service.alerts import lifecycle, outbox
from service.api.openapi import UNSERVED, Payload, offers
from service.api.schemas import Meta, Said, Texts, key
from service.api.tabular import as_csv, listed
from service.http.request_context import request_session
from service.snapshots import snapshot_view

resource = Blueprint("alerts", __name__)


class Alert(Said):
    """An alert that fires."""

    rule: str
    severity: str
    title: Texts
    location_code: str = key("ISO alpha-3; * is the region as a whole")
    name: Texts
    metric: str
    fire_at: float
    clear_at: float
    causes: list[str] = key("why the snapshot that it fired with differs from the one before")
    simulated: bool
    headline: Texts
    text: Texts
    value: float | None = key("as last read")
    reason: str | None = key("why the value is null")
    since: str
    since_origin: str


class Undelivered(Said):
    """A message that has not reached its receiver."""

    id: str
    route: str
    kind: str
    status: Literal["waiting", "failed"]
    attempts: int
    problem: Literal["no_route", "not_taken"]
    created_at: str
    not_before: str | None
    headline: Texts


class Alerts(Meta):
    """What fires, and what did not get through."""

    data: list[Alert]
    undelivered: list[Undelivered]


COLUMNS = [
    *("rule", "severity", "location_code", "metric", "value", "reason", "fire_at", "clear_at", "since", "since_origin"),
    *("causes", "simulated"),
]


@offers(resource, "/v1/alerts", "The alerts that fire now", Alerts, forms=[as_csv(listed, COLUMNS)], problems=UNSERVED)
def alerts() -> Payload:
    """What is firing."""
    with request_session() as session:
        served = session.served()
        firing = lifecycle.firing(session.connection, session.settings.region, bool(session.simulated))
        return {"data": firing, "undelivered": outbox.undelivered(session.connection), **snapshot_view.meta(served)}
