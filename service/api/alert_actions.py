"""What people do about alerts: `/v1/alerts/{alert_id}/ack` and `/v1/silences`. All of it needs a key of scope `ack`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Literal

import sqlalchemy as sa
from flask import Blueprint, request
from pydantic import Field

from riskmodel.errors import BadInput
from service.alerts import alert_list, episodes, silences
from service.alerts.silence_matching import MATCHER
from service.api.alerts import AlertResponse, Silence, alert_payload
from service.api.endpoints import Body, Outcome, Payload, endpoint
from service.api.shared_schemas import Meta
from service.http import keys
from service.http.flask_pool import KEY
from service.http.problems import Problem
from service.http.request_context import ReadSession, current_context, request_session

resource = Blueprint("alert_actions", __name__)

MIN_HOURS, MAX_HOURS = 0.01, 24 * 366
"""The shortest and the longest silence [hours]."""

LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""The form of one line that is not blank."""

Name = Annotated[
    str,
    Field(pattern=LINE, max_length=episodes.MAX_NAME, description="who does it; by default the label of the key"),
]
Location = Annotated[str, Field(max_length=3, description="ISO alpha-3 code, or * for the region as a whole")]
Note = Annotated[str, Field(pattern=LINE, max_length=episodes.MAX_NOTE)]


class AcknowledgementRequest(Body):
    """Who deals with an alert."""

    by: Name | None = None
    note: Note | None = Field(default=None, description="what is done about it, one line")


class SilenceRequest(Body):
    """A silence of the alerts that have all that it names. It names something."""

    rule: Annotated[str, Field(max_length=64)] | None = None
    location_code: Location | None = None
    severity: Literal["info", "warning", "severe"] | None = None
    outcome: Outcome | None = None
    hours: Annotated[float, Field(ge=MIN_HOURS, le=MAX_HOURS, allow_inf_nan=False, description="how long it lasts")]
    reason: Note
    by: Name | None = None


class SilenceResponse(Meta):
    """One silence."""

    data: Silence


class SilencesResponse(Meta):
    """All silences: those that last first, then the newest first."""

    data: list[Silence]


@endpoint(
    resource,
    "/v1/alerts/<string(length=36):alert_id>/ack",
    "Acknowledge an alert",
    AlertResponse,
    method="POST",
    body=AcknowledgementRequest,
    problems=("key-needed", "unknown-alert", "alert-over"),
)
def acknowledge(body: AcknowledgementRequest, alert_id: str) -> Payload:
    """Acknowledge an alert. A second acknowledgement replaces the first."""
    _require_alert(alert_id)
    with _acting("note") as (connection, now):
        episodes.acknowledge(connection, alert_id, _actor(connection, body.by), body.note, now)
    with request_session() as session:
        return alert_payload(session, alert_id)


@endpoint(
    resource,
    "/v1/alerts/<string(length=36):alert_id>/ack",
    "Take the acknowledgement of an alert back",
    AlertResponse,
    method="DELETE",
    problems=("key-needed", "unknown-alert", "alert-over"),
)
def unacknowledge(alert_id: str) -> Payload:
    """Take an acknowledgement back, in the name of the key."""
    _require_alert(alert_id)
    with _acting("by") as (connection, now):
        episodes.unacknowledge(connection, alert_id, _actor(connection, None), now)
    with request_session() as session:
        return alert_payload(session, alert_id)


@endpoint(resource, "/v1/silences", "List the silences", SilencesResponse)
def list_silences() -> Payload:
    """Return all silences of the region."""
    with request_session() as session:
        return {"data": _silences(session), **session.meta(session.find_served())}


@endpoint(
    resource,
    "/v1/silences",
    "Silence alerts",
    SilenceResponse,
    method="POST",
    status=HTTPStatus.CREATED,
    body=SilenceRequest,
    problems=("key-needed",),
)
def silence(body: SilenceRequest) -> Payload:
    """Silence alerts, from now on."""
    with request_session() as session:
        region, simulated = session.settings.region, bool(session.simulated)
    with _acting("reason") as (connection, now):
        silence_id = silences.create(
            connection,
            region=region,
            simulated=simulated,
            matcher=body.model_dump(include=set(MATCHER)),
            until=now + timedelta(hours=body.hours),
            reason=body.reason,
            by=_actor(connection, body.by),
            now=now,
        )
    return _silence_payload(silence_id)


@endpoint(
    resource,
    "/v1/silences/<string(length=36):silence_id>",
    "End a silence",
    SilenceResponse,
    method="DELETE",
    problems=("key-needed", "unknown-silence", "silence-over"),
)
def end_silence(silence_id: str) -> Payload:
    """End a silence: the alerts that still fire are announced."""
    found = _silence_payload(silence_id)["data"]
    if found["ended_at"] is not None:
        raise Problem("silence-over")
    with _acting("by") as (connection, now):
        silences.end(connection, silence_id, _actor(connection, None), now)
    return _silence_payload(silence_id)


@contextmanager
def _acting(field: str) -> Iterator[tuple[sa.Connection, datetime]]:
    """Open a transaction that writes. Raises Problem if there is no key, or for bad input; `field` is what it names.

    The gate refuses a request without a key, but an app can run without the gate.
    """
    if KEY not in request.environ:
        raise Problem("key-needed")
    context = current_context()
    try:
        with context.store.writing() as connection:
            yield connection, context.clock()
    except episodes.NotActive:
        raise Problem("alert-over") from None
    except BadInput as bad:
        name, _, rule = str(bad).partition(": ")
        raise Problem("bad-body", field=name if rule else field, rule=rule or name) from None


def _actor(connection: sa.Connection, by: str | None) -> str:
    return keys.label(connection, request.environ[KEY]) if by is None else by


def _require_alert(alert_id: str) -> None:
    """Raise Problem if there is no such alert."""
    with request_session() as session:
        alert_payload(session, alert_id)


def _silences(session: ReadSession) -> list[dict[str, object]]:
    return alert_list.list_silences(session.connection, session.settings.region, bool(session.simulated))


def _silence_payload(silence_id: str) -> Payload:
    with request_session() as session:
        found = next((each for each in _silences(session) if each["silence_id"] == silence_id), None)
        if found is None:
            raise Problem("unknown-silence")
        return {"data": found, **session.meta(session.find_served())}
