"""Alerts at `/v1/alerts`, and the messages that are not delivered at `/v1/alerts/undelivered`."""

from typing import Annotated, Literal

from flask import Blueprint
from pydantic import Field

from service.alerts import alert_list, outbox
from service.api.endpoints import COMMA_SEPARATED, OUTCOME_PROBLEMS, OutcomeQuery, Payload, Query, endpoint
from service.api.paging import DEFAULT_LIMIT, Limit, next_address, split_page
from service.api.shared_schemas import LocalizedText, Meta, Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.links import link
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import snapshot_view

resource = Blueprint("alerts", __name__)


class Acknowledgement(Schema):
    """Who deals with an alert."""

    at: str
    by: str
    note: str | None


class Silence(Schema):
    """Alerts whose messages are not sent for some time: those that have all that it names. Null names nothing."""

    silence_id: str
    rule: str | None
    location_code: str | None
    severity: str | None
    outcome: str | None
    starts_at: str
    until: str = described("when it ends by itself")
    ended_at: str | None = described("when it has ended; null while it lasts")
    reason: str
    by: str


class Alert(Schema):
    """An alert."""

    alert_id: str
    state: Literal["ok", "pending", "firing", "resolved", "corrected", "expired"]
    rule: str
    severity: str
    title: LocalizedText
    note: LocalizedText | None = described("what to know or do about it, if the rule says so")
    location_code: str = described("ISO alpha-3 code; * is the region as a whole")
    name: LocalizedText
    outcome: str = described("the deaths that are forecast: state_based or all")
    metric: str
    fire_at: float
    clear_at: float
    causes: list[str] = described("what had changed in the snapshot that it fired with")
    simulated: bool
    headline: LocalizedText
    text: LocalizedText
    value: float | None = described("the metric in the newest snapshot")
    reason: str | None = described("why the value is null")
    since: str = described("when it came into its state")
    since_origin: str
    fired_at: str | None = described("null: it has not fired")
    ended_at: str | None
    acknowledged: Acknowledgement | None = described("who deals with it; null: nobody, or it has ended")
    silence: Silence | None = described("the silence that holds its messages back")
    inhibited_by: str | None = described("the rule that fires in its place, so that no messages about it are sent")


class UndeliveredMessage(Schema):
    """A message that has not reached its receiver."""

    id: str
    route: str
    kind: str
    outcome: str | None = described("the outcome that it is about, or the first of several; null: none")
    status: Literal["waiting", "failed"]
    attempts: int
    problem: Literal["no_route", "not_accepted", "unreadable"]
    created_at: str
    not_before: str | None
    headline: LocalizedText


class AlertEvent(Schema):
    """What happened to an alert: a change of its state, or what a person did."""

    at: str
    event: str = described("the new state; or acknowledged, unacknowledged, silenced, silence_ended")
    value: float | None = described("the metric at a change of state")
    reason: str | None = described("why the value is null")
    causes: list[str] = described("what had changed in the snapshot of a change of state")
    origin: str | None
    snapshot_id: int | None
    silence_id: str | None = described("the silence that held the message back, began or ended")
    by: str | None = described("who did it; null: nobody")
    note: str | None


class Delivery(Schema):
    """A message about an alert."""

    id: str
    route: str
    kind: str
    status: Literal["waiting", "sent", "failed", "dismissed"]
    attempts: int
    created_at: str
    sent_at: str | None


class JudgedResult(Schema):
    """A judgement of an alert, once its period was over."""

    result: Literal["hit", "false_alarm", "unknown"]
    reason: str | None = described("why the result is unknown")
    event: Literal["escalation", "onset", "deaths"] = described("what the alert announced")
    first_month: str = described("the period in which it was to happen")
    last_month: str
    lead_months: int | None = described("from the alert to the event; null unless it is a hit")
    deaths: list[int | None] = described("of each month of the period")
    data_as_of: str | None = described("the last day of the data that it was judged by")
    data_digest: str
    judged_at: str


class AlertDetails(Alert):
    """An alert with all that happened to it."""

    history: list[AlertEvent] = described("oldest first")
    deliveries: list[Delivery] = described("its messages, oldest first")
    results: list[JudgedResult] = described("oldest first; the newest counts. Empty until its period is over")


class AlertResponse(Meta):
    """One alert."""

    data: AlertDetails


class AlertsQuery(OutcomeQuery):
    """The alerts in some states."""

    state: Annotated[
        tuple[Literal["pending", "firing", "acknowledged", "silenced", "resolved", "corrected", "expired", "ok"], ...],
        COMMA_SEPARATED,
        Field(min_length=1, description="states, separated by commas; firing by default"),
    ] = ("firing",)


class AlertsResponse(Meta):
    """The alerts in the requested states, by default those that fire, and the newest undelivered messages."""

    data: list[Alert]
    undelivered: list[UndeliveredMessage] = described(f"the newest {DEFAULT_LIMIT}; all are at undelivered_url")
    undelivered_count: int = described("the number of all undelivered messages")
    undelivered_url: str = described("the address of the list of all of them")


class UndeliveredResponse(Page):
    """A page of the undelivered messages, newest first."""

    data: list[UndeliveredMessage]


class UndeliveredQuery(Query):
    """A page of the undelivered messages."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Annotated[str, Field(pattern="^msg_[0-9a-f]{32}$", description="taken from the address in next")] | None = (
        None
    )


ALERT_COLUMNS = [
    *(
        "alert_id",
        "state",
        "rule",
        "severity",
        "location_code",
        "outcome",
        "metric",
        "value",
        "reason",
        "fire_at",
        "clear_at",
        "since",
        "since_origin",
        "fired_at",
        "ended_at",
    ),
    *("inhibited_by", "causes", "simulated"),
]


@endpoint(
    resource,
    "/v1/alerts",
    "List the alerts in some states",
    AlertsResponse,
    query=AlertsQuery,
    formats=[as_csv(listed, ALERT_COLUMNS)],
    problems=OUTCOME_PROBLEMS,
)
def alerts(query: AlertsQuery) -> Payload:
    """Return the alerts of all outcomes, or of one: no default may hide an alert."""
    with request_session() as session:
        view = session.served(outcome=query.outcome)
        region, simulated = session.settings.region, bool(session.simulated)
        found = alert_list.listed(session.connection, region, simulated, query.state)
        return {
            "data": [alert for alert in found if query.outcome in (None, alert["outcome"])],
            "undelivered": outbox.undelivered(session.connection, DEFAULT_LIMIT),
            "undelivered_count": outbox.count_undelivered(session.connection)[0],
            "undelivered_url": link("/v1/alerts/undelivered"),
            **snapshot_view.meta(view),
        }


@endpoint(
    resource,
    "/v1/alerts/undelivered",
    "List the messages that have not reached their receivers, newest first",
    UndeliveredResponse,
    query=UndeliveredQuery,
    formats=[as_csv(listed, [name for name in UndeliveredMessage.model_fields if name != "headline"])],
    problems=("bad-cursor",),
)
def undelivered(query: UndeliveredQuery) -> Payload:
    """Return a page of the undelivered messages."""
    with request_session() as session:
        before = None
        if query.cursor is not None:
            created_at = outbox.created_at(session.connection, query.cursor)
            if created_at is None:
                raise Problem("bad-cursor", reason="there is no such message")
            before = created_at, query.cursor
        messages = outbox.undelivered(session.connection, query.limit + 1, before)
        page, last = split_page(messages, query.limit)
        following = next_address(last["id"] if last else None)
        return {"data": page, "next": following, **session.meta(session.find_served())}


@endpoint(
    resource,
    "/v1/alerts/<string(length=36):alert_id>",
    "Get an alert with its history and its messages",
    AlertResponse,
    problems=("unknown-alert",),
)
def alert(alert_id: str) -> Payload:
    """Return one alert."""
    with request_session() as session:
        return alert_payload(session, alert_id)


def alert_payload(session: ReadSession, alert_id: str) -> Payload:
    """Return the payload of an alert. Raises Problem if there is none."""
    found = alert_list.find(session.connection, session.settings.region, bool(session.simulated), alert_id)
    if found is None:
        raise Problem("unknown-alert")
    return {"data": found, **session.meta(session.find_served())}
