"""Jobs at `/v1/jobs`: the scheduler's jobs, how each ended last, and when it runs next."""

from flask import Blueprint, Response

from service.api.endpoints import Payload, endpoint
from service.api.shared_schemas import Meta, Schema, described
from service.api.tabular import as_csv, listed
from service.http import conditional
from service.http.request_context import request_session
from service.store import leases

resource = Blueprint("jobs", __name__)


class Job(Schema):
    """One job."""

    name: str
    status: str = described("waiting, running, lost, ok, failed or stopped")
    holder: str | None = described("the process that runs it, shortened")
    started_at: str | None
    finished_at: str | None
    succeeded_at: str | None
    age_seconds: int | None = described("time since its last success [s]")
    every_seconds: int
    deadline_seconds: int
    next_run_at: str | None
    overdue: bool
    overdue_after_seconds: int
    error: str | None
    reasons: dict[str, str]


class JobsResponse(Meta):
    """All jobs."""

    data: list[Job]


@endpoint(
    resource,
    "/v1/jobs",
    "List the jobs of the scheduler",
    JobsResponse,
    formats=[as_csv(listed, list(Job.model_fields))],
)
def jobs() -> Payload:
    """Return all jobs."""
    with request_session() as session:
        entries = leases.listing(session.connection, session.now)
        return {"data": entries, **session.meta(session.find_served())}


@resource.after_request
def revalidate_always(response: Response) -> Response:
    """Make caches revalidate: jobs change without a new snapshot."""
    response.headers["Cache-Control"] = conditional.NO_CACHE
    return response
