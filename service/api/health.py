"""`/healthz`: the process responds. `/readyz`: there is a snapshot, and runs succeed."""

from datetime import timedelta

from flask import Blueprint, Response

from service.alerts import outbox, routes
from service.api.endpoints import NO_SNAPSHOT_PROBLEMS, Payload, endpoint
from service.api.shared_schemas import Meta, Schema, described
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import snapshot_view
from service.store import leases
from service.store.values import instant

resource = Blueprint("health", __name__)


@resource.after_request
def never_cache(response: Response) -> Response:
    """Forbid caches: a cached response says nothing about the present."""
    response.headers["Cache-Control"] = "no-store"
    return response


class HealthResponse(Schema):
    """The process responds."""

    alive: bool


class ReadyResponse(Meta):
    """Snapshots are being renewed."""

    ready: bool
    renewed_at: str = described("when a run last succeeded")
    undelivered: int = described("number of messages that have not reached their receivers")
    disabled_routes: list[str] = described("alert routes that are disabled because their receivers refuse messages")
    overdue: list[str] = described("jobs that have not succeeded for too long")
    refits_overdue: list[str] = described("outcomes whose model should have been refitted: see `/v1/model`")


@endpoint(resource, "/healthz", "Check whether the process responds", HealthResponse)
def alive() -> Payload:
    """Return 200 without reading anything."""
    return {"alive": True}


@endpoint(
    resource,
    "/readyz",
    "Check whether snapshots are being renewed",
    ReadyResponse,
    problems=(*NO_SNAPSHOT_PROBLEMS, "late-snapshot"),
)
def ready() -> Payload:
    """Return 200 while runs succeed. The age of the data does not count: every payload has it."""
    with request_session() as session:
        view = session.served()
        renewed_at = snapshot_view.last_success_at(session.connection, session.settings)
        allowed = timedelta(minutes=session.settings.snapshot_late_after_minutes)
        if renewed_at is None or session.now - renewed_at > allowed:
            raise Problem("late-snapshot", renewed_at=instant(renewed_at))
        return {
            "ready": True,
            "renewed_at": instant(renewed_at),
            "undelivered": outbox.count_undelivered(session.connection)[0],
            "disabled_routes": list(routes.disabled(session.connection)),
            "overdue": leases.overdue(session.connection, session.now),
            "refits_overdue": [outcome for outcome, state in session.refits().items() if state.overdue],
            **snapshot_view.meta(view),
        }
