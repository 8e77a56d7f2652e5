"""Tasks: requests that take longer than an HTTP request. They get 202 with the address of a task, `/v1/tasks/{id}`.

`POST /v1/whatif` and `POST /v1/recompute` request a task; they need a key with the scope `write`. A read with `as_of`
becomes a task by itself if no snapshot answers it. The task worker runs tasks in another process.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, current_app, request
from pydantic import Field

from riskmodel import __version__, bundle, geography
from riskmodel.errors import BadInput
from riskmodel.events import manifest
from riskmodel.moments import MOMENT_PATTERN
from service.api.endpoints import JSON, Body, Iso3, Outcome, OutcomeQuery, Payload, endpoint
from service.api.shared_schemas import Meta, Schema, described
from service.http import problems
from service.http.flask_pool import KEY, START_TASK
from service.http.links import link
from service.http.problems import Problem
from service.http.request_context import TaskRequired, current_context, request_session
from service.http.task_quota import TaskStart
from service.snapshots.outcome_parts import NO_MODEL
from service.store import task_queue
from service.store.task_queue import TaskRequest

resource = Blueprint("tasks", __name__)

QUEUE_FULL_RETRY_AFTER = 30
"""When to try again after the queue was full [s]."""


class AsOfQuery(OutcomeQuery):
    """A read about one outcome that may be as of a past moment."""

    as_of: (
        Annotated[
            str,
            Field(pattern=f"^{MOMENT_PATTERN}$", description="a past day (to its end, UTC) or a past moment"),
        ]
        | None
    ) = None


class Task(Schema):
    """A task."""

    id: str
    kind: Literal["as_of", "whatif", "recompute"]
    request: dict[str, Any] = described("the parameters of the task")
    status: Literal["waiting", "running", "done", "failed"]
    queue_position: int | None = described("1 is next; null if the task is not waiting")
    attempts: int = described("how often the task was started")
    requested_at: str
    started_at: str | None
    finished_at: str | None
    result: dict[str, Any] | None = described("null, with the reason at_result_url, if it has an address of its own")
    result_url: str | None = described("the address of the result, if it has one of its own")
    error: str | None = described("why it failed")
    reasons: dict[str, str]


class TaskResponse(Meta):
    """A task and its status."""

    data: Task


TASK_ACCEPTED = {int(HTTPStatus.ACCEPTED): TaskResponse}
"""The other response of an endpoint with `as_of`: its result has to be computed first."""


class WhatIfRequest(Body):
    """A change of the deaths that a country has seen."""

    location_code: Iso3 = Field(description="the country whose deaths are changed")
    deaths: Annotated[
        float, Field(ge=0, le=1000, allow_inf_nan=False, description="the factor that its deaths are multiplied by")
    ]
    months: Annotated[
        int, Field(ge=1, le=60, description="how many of its last months are changed [months]; 3 by default")
    ] = 3
    region: Iso3 | None = Field(default=None, description="the focal country; by default the region in service")
    outcome: Outcome | None = Field(
        default=None, description="the deaths that are forecast; by default the headline of the models in service"
    )


@endpoint(
    resource,
    "/v1/tasks/<string(length=36):id>",
    "Get the status and the result of a task",
    TaskResponse,
    problems=("unknown-task",),
)
def task(id: str) -> Response:  # noqa: A002 - the name of the path part
    """Return a task. The response is not cached, because a task changes without a new snapshot."""
    text = current_app.json.dumps(_task_payload(id))
    return Response(text, content_type=JSON, headers={"Cache-Control": "no-store"})


@endpoint(
    resource,
    "/v1/whatif",
    "Request the scores of a region if a country had seen more or less violence",
    TaskResponse,
    method="POST",
    status=HTTPStatus.ACCEPTED,
    body=WhatIfRequest,
    problems=("key-needed", "no-data", "queue-full", "too-many-tasks", "task-failed", "no-outcome"),
)
def whatif(body: WhatIfRequest) -> Response:
    """Request the same result as `vigie whatif`."""
    _require_key()
    context = current_context()
    parameters = {**body.model_dump(), "region": body.region or context.settings.region}
    for field in ("location_code", "region"):
        try:
            geography.country(parameters[field])
        except BadInput as unknown:
            raise Problem("bad-body", field=field, rule=str(unknown)) from None
    ingests = manifest.active(manifest.read(context.home.archive))
    if not ingests:
        raise Problem("no-data")
    simulated = any(ingest.simulated for ingest in ingests)
    models = {
        outcome: path.name for outcome, path in bundle.champions(context.home.models, simulated=simulated).items()
    }
    if body.outcome and body.outcome not in models:
        raise problems.no_outcome(body.outcome, _missing_reason(body.outcome), tuple(models))
    depends = [parameters, manifest.digest(ingests), models, __version__]
    return accepted(TaskRequest.of("whatif", parameters, depends))


@endpoint(
    resource,
    "/v1/recompute",
    "Request a recompute of the scores",
    TaskResponse,
    method="POST",
    status=HTTPStatus.ACCEPTED,
    problems=("key-needed", "bad-body"),
)
def recompute() -> Response:
    """Request a recompute. A waiting or running one is the same task."""
    _require_key()
    if request.get_data():
        raise Problem("bad-body", field="body", rule="this endpoint takes no body")
    parameters = {"region": current_context().settings.region}
    return accepted(TaskRequest.of("recompute", parameters, [parameters], reusable=False))


def _missing_reason(outcome: str) -> str:
    """Return why there is no model of an outcome, as the snapshot in service says it."""
    with request_session() as session:
        view = session.find_served()
        reason: str = (view.document["missing_outcomes"] if view else {}).get(outcome, NO_MODEL)
    return reason


def accepted(task_request: TaskRequest) -> Response:
    """Submit a task, and return 202 with its address."""
    payload = submit(task_request)
    response = Response(current_app.json.dumps(payload), HTTPStatus.ACCEPTED, content_type=JSON)
    response.headers["Location"] = link(task_queue.url(payload["data"]["id"]))
    response.headers["Retry-After"] = str(task_queue.POLL_AFTER)
    return response


def submit(task_request: TaskRequest) -> Payload:
    """Submit a task, and return its payload.

    Raises Problem if the queue is full, the task has failed, or the client must not start it.
    """
    context = current_context()

    start: TaskStart | None = request.environ.get(START_TASK)
    if task_request.kind == "recompute":  # needs a key to write; at most one waits, so it always has a place
        limits: tuple[Any, ...] = (lambda: None,)
    elif start:
        limits = (start.max_waiting, start.count)
    else:
        limits = (lambda: context.settings.max_waiting_tasks,)
    try:
        task_id = task_queue.submit(context.store, task_request, context.clock(), *limits)
    except task_queue.QueueFull:
        raise Problem("queue-full", retry_after_seconds=QUEUE_FULL_RETRY_AFTER) from None
    payload = _task_payload(task_id)
    if payload["data"]["status"] == "failed":
        raise Problem(
            "task-failed",
            task=link(task_queue.url(task_id)),
            error=payload["data"]["error"],
            retry_after_seconds=int(task_queue.FAILURE_LIFETIME.total_seconds()),
        )
    return payload


@resource.app_errorhandler(TaskRequired)
def task_required(required: TaskRequired) -> Response:
    """Submit the task that a read needs."""
    try:
        return accepted(required.question)
    except Problem as problem:
        return problems.problem_response(problem)


def _task_payload(task_id: str) -> Payload:
    with request_session() as session:
        row = task_queue.by_id(session.connection, task_id)
        if row is None:
            raise Problem("unknown-task", task=task_id)
        entry = task_queue.entry(session.connection, row)
        entry["result_url"] = entry["result_url"] and link(entry["result_url"])
        return {"data": entry, **session.meta(session.find_served())}


def _require_key() -> None:
    """Raise Problem if the gate found no key. The gate refuses such a POST, but an app can run without the gate."""
    if KEY not in request.environ:
        raise Problem("key-needed")
