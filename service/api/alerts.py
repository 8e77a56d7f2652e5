"""Alerts at `/v1/alerts`: those that fire now, and the messages that are not delivered."""

from typing import Literal

from flask import Blueprint

from service.alerts import lifecycle, outbox
from service.api.endpoints import NO_SNAPSHOT_PROBLEMS, Payload, endpoint
from service.api.shared_schemas import LocalizedText, Meta, Schema, described
from service.api.tabular import as_csv, listed
from service.http.request_context import request_session
from service.snapshots import snapshot_view

resource = Blueprint("alerts", __name__)


class Alert(Schema):
    """A firing alert."""

    rule: str
    severity: str
    title: LocalizedText
    location_code: str = described("ISO alpha-3 code; * is the region as a whole")
    name: LocalizedText
    metric: str
    fire_at: float
    clear_at: float
    causes: list[str] = described("what had changed in the snapshot that it fired with")
    simulated: bool
    headline: LocalizedText
    text: LocalizedText
    value: float | None = described("the metric in the newest snapshot")
    reason: str | None = described("why the value is null")
    since: str
    since_origin: str


class UndeliveredMessage(Schema):
    """A message that has not reached its receiver."""

    id: str
    route: str
    kind: str
    status: Literal["waiting", "failed"]
    attempts: int
    problem: Literal["no_route", "not_accepted"]
    created_at: str
    not_before: str | None
    headline: LocalizedText


class AlertsResponse(Meta):
    """The firing alerts and the undelivered messages."""

    data: list[Alert]
    undelivered: list[UndeliveredMessage]


ALERT_COLUMNS = [
    *("rule", "severity", "location_code", "metric", "value", "reason", "fire_at", "clear_at", "since", "since_origin"),
    *("causes", "simulated"),
]


@endpoint(
    resource,
    "/v1/alerts",
    "List the firing alerts",
    AlertsResponse,
    formats=[as_csv(listed, ALERT_COLUMNS)],
    problems=NO_SNAPSHOT_PROBLEMS,
)
def alerts() -> Payload:
    """Return the firing alerts."""
    with request_session() as session:
        view = session.served()
        firing = lifecycle.firing(session.connection, session.settings.region, bool(session.simulated))
        return {"data": firing, "undelivered": outbox.undelivered(session.connection), **snapshot_view.meta(view)}
