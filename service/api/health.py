"""`/healthz`: the process lives. `/readyz`: it has a snapshot of the right realm that is still being renewed."""

from datetime import timedelta

from flask import Blueprint, Response

from service.alerts import outbox
from service.api.openapi import UNSERVED, Payload, offers
from service.api.schemas import Meta, Said, key
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import snapshot_view
from service.store import leases
from service.store.values import instant

resource = Blueprint("health", __name__)


@resource.after_request
def live(response: Response) -> Response:
    """What is true now and never again."""
    response.headers["Cache-Control"] = "no-store"
    return response


class Alive(Said):
    """The process answers."""

    alive: bool


class Ready(Meta):
    """Runs end well."""

    ready: bool
    renewed_at: str = key("when a run last ended well")
    undelivered: int = key("messages that have not reached their receivers")
    overdue: list[str] = key("jobs that have not succeeded for too long")


@offers(resource, "/healthz", "Whether the process answers", Alive)
def alive() -> Payload:
    """Say so, looking at nothing."""
    return {"alive": True}


@offers(resource, "/readyz", "Whether snapshots are being renewed", Ready, problems=(*UNSERVED, "late-snapshot"))
def ready() -> Payload:
    """Say so, or end with the reason. The age of the data is no matter of readiness; every payload tells it."""
    with request_session() as session:
        served = session.served()
        renewed = snapshot_view.last_success_at(session.connection, session.settings)
        allowed = timedelta(minutes=session.settings.snapshot_late_after_minutes)
        if renewed is None or session.now - renewed > allowed:
            raise Problem("late-snapshot", renewed_at=instant(renewed))
        return {
            "ready": True,
            "renewed_at": instant(renewed),
            "undelivered": len(outbox.undelivered(session.connection)),
            "overdue": leases.overdue(session.connection, session.now),
            **snapshot_view.meta(served),
        }
