"""Jobs: what the scheduler does again and again, how each went last, and when it runs next."""

from flask import Blueprint, Response

from service.api.openapi import Payload, offers
from service.api.schemas import Meta, Said, key
from service.api.tabular import as_csv, listed
from service.http import conditional
from service.http.request_context import request_session
from service.store import leases as table

resource = Blueprint("jobs", __name__)


class Job(Said):
    """One job."""

    name: str
    status: str = key("waiting, running, lost, ok, failed or stopped")
    holder: str | None = key("who runs it, shortened")
    started_at: str | None
    finished_at: str | None
    succeeded_at: str | None
    age_seconds: int | None = key("since the last success [s]")
    every_seconds: int
    deadline_seconds: int
    next_run_at: str | None
    overdue: bool
    overdue_after_seconds: int
    error: str | None
    reasons: dict[str, str]


class Jobs(Meta):
    """All jobs."""

    data: list[Job]


@offers(resource, "/v1/jobs", "What the scheduler does", Jobs, forms=[as_csv(listed, list(Job.model_fields))])
def jobs() -> Payload:
    """All jobs."""
    with request_session() as session:
        return {"data": table.listing(session.connection, session.now), **session.meta(session.find_served())}


@resource.after_request
def live(response: Response) -> Response:
    """It depends on more than marks know: ask each time."""
    response.headers["Cache-Control"] = conditional.NO_CACHE
    return response
