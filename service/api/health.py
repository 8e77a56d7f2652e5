"""`/healthz`: the process lives. `/readyz`: it has a snapshot of the right realm that is still being renewed."""

from datetime import timedelta

from flask import Blueprint, Response, jsonify

from service import jobs, payloads
from service.alerts import outbox
from service.api.problems import Problem
from service.api.reading import reading
from service.store.values import instant

resource = Blueprint("health", __name__)


@resource.after_request
def live(response: Response) -> Response:
    """What is true now and never again."""
    response.headers["Cache-Control"] = "no-store"
    return response


@resource.get("/healthz")
def alive() -> dict[str, bool]:
    """Say so, looking at nothing."""
    return {"alive": True}


@resource.get("/readyz")
def ready() -> Response:
    """Say so, or end with the reason. The age of the data is no matter of readiness; every payload tells it."""
    with reading() as sight:
        served = sight.served()
        renewed = payloads.last_good_run_at(sight.connection, sight.settings)
        allowed = timedelta(minutes=sight.settings.snapshot_late_after_minutes)
        if renewed is None or sight.now - renewed > allowed:
            raise Problem("late-snapshot", renewed_at=instant(renewed))
        return jsonify(
            {
                "ready": True,
                "renewed_at": instant(renewed),
                "undelivered": len(outbox.undelivered(sight.store)),
                "overdue": jobs.overdue(sight.connection, sight.now),
                **payloads.meta(served),
            }
        )
