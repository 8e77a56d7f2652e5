"""Tasks: what takes longer than a request. Asking for one is answered 202 with its address, `/v1/tasks/{id}`.

A past moment that no snapshot tells of becomes one by itself; `POST /v1/whatif` and `POST /v1/recompute` ask for one,
which takes a key that may write. Nothing is computed here.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, current_app, request
from pydantic import ConfigDict, Field

from riskmodel import __version__, bundle, geography
from riskmodel.errors import BadInput
from riskmodel.events import manifest
from riskmodel.moments import MOMENT_PATTERN
from service.api.openapi import ISO3, Asked, Payload, offers
from service.api.schemas import Meta, Said, key
from service.http import problems
from service.http.problems import Problem
from service.http.request_context import TaskRequired, current_context, request_session
from service.store import task_queue
from service.store.task_queue import TaskRequest

resource = Blueprint("tasks", __name__)

TRY_AGAIN = 30
"""How soon to ask again where the queue is full [s]."""


class OfPast(Asked):
    """A question that may be put as of a past moment."""

    as_of: (
        Annotated[
            str,
            Field(pattern=f"^{MOMENT_PATTERN}$", description="a day (its end, UTC) or a moment: as it was known then"),
        ]
        | None
    ) = None


class Task(Said):
    """Something that was asked for."""

    id: str
    kind: Literal["as_of", "whatif", "recompute"]
    request: dict[str, Any] = key("the parameters of the task")
    status: Literal["waiting", "running", "done", "failed"]
    queue_position: int | None = key("1 is next; null when the task is not waiting")
    attempts: int = key("how often the task was started")
    requested_at: str
    started_at: str | None
    finished_at: str | None
    result: dict[str, Any] | None = key("null with the reason at_result_url where the result is a resource of its own")
    result_url: str | None = key("the path of the result, if it is a resource of its own")
    error: str | None = key("why it failed")
    reasons: dict[str, str]


class OneTask(Meta):
    """A task and how far it is."""

    data: Task


ON_ITS_WAY = {int(HTTPStatus.ACCEPTED): OneTask}
"""What a resource answers, beside its own, whose answer may have to be computed first."""


class Supposed(Asked):
    """A supposition: that a country had seen so many times its deaths in its last months."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    location_code: Annotated[str, Field(pattern=ISO3, description="whose deaths")]
    deaths: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False, description="times what")]
    months: Annotated[int, Field(ge=1, le=60, description="of the last so many months [months]; 3 unless asked")] = 3
    region: Annotated[str, Field(pattern=ISO3, description="the focal country; else the region in service")] | None = (
        None
    )


@offers(
    resource,
    "/v1/tasks/<string(length=36):id>",
    "A task: its status and its result",
    OneTask,
    problems=("unknown-task",),
)
def task(id: str) -> Response:  # noqa: A002 - as its address has it
    """One task, as it is at this moment: no copy of it is kept anywhere."""
    said = current_app.json.dumps(_told(id))
    return Response(said, content_type="application/json", headers={"Cache-Control": "no-store"})


@offers(
    resource,
    "/v1/whatif",
    "Ask what the model would say had a country seen more violence, or less",
    OneTask,
    method="POST",
    status=HTTPStatus.ACCEPTED,
    takes=Supposed,
    problems=("key-needed", "no-data", "queue-full", "task-failed"),
)
def whatif(asked: Supposed) -> Response:
    """A task for the same answer as `vigie whatif`."""
    _writes()
    context = current_context()
    told = {**asked.model_dump(), "region": asked.region or context.settings.region}
    for field in ("location_code", "region"):
        try:
            geography.country(told[field])
        except BadInput as unknown:
            raise Problem("bad-body", field=field, rule=str(unknown)) from None
    ingests = manifest.active(manifest.read(context.home.archive))
    if not ingests:
        raise Problem("no-data")
    simulated = any(ingest.simulated for ingest in ingests)
    model = bundle.champion(context.home.models, simulated=simulated)
    depends = [told, manifest.digest(ingests), model.name if model else None, __version__]
    return accepted(TaskRequest.of("whatif", told, depends))


@offers(
    resource,
    "/v1/recompute",
    "Ask for the scores to be computed anew",
    OneTask,
    method="POST",
    status=HTTPStatus.ACCEPTED,
    problems=("key-needed", "bad-body", "queue-full"),
)
def recompute() -> Response:
    """A task that is done when the run has ended; one that is on its way already is the same."""
    _writes()
    if request.get_data():
        raise Problem("bad-body", field="body", rule="nothing is taken here")
    told = {"region": current_context().settings.region}
    return accepted(TaskRequest.of("recompute", told, [told], reusable=False))


def accepted(question: TaskRequest) -> Response:
    """Put a question, and say where its task is told."""
    said = put(question)
    answer = Response(current_app.json.dumps(said), HTTPStatus.ACCEPTED, content_type="application/json")
    answer.headers["Location"] = task_queue.url(said["data"]["id"])
    answer.headers["Retry-After"] = str(task_queue.POLL_AFTER)
    return answer


def put(question: TaskRequest) -> Payload:
    """Put a question, and tell its task. Ends the request where the queue is full, or the task has failed."""
    context = current_context()
    try:
        number = task_queue.submit(
            context.store, question, context.clock(), max_waiting=context.settings.max_waiting_tasks
        )
    except task_queue.QueueFull:
        raise Problem("queue-full", retry_after_seconds=TRY_AGAIN) from None
    said = _told(number)
    if said["data"]["status"] == "failed":
        later = int(task_queue.FAILURE_LIFETIME.total_seconds())
        told = {"task": task_queue.url(number), "error": said["data"]["error"]}
        raise Problem("task-failed", **told, retry_after_seconds=later)
    return said


@resource.app_errorhandler(TaskRequired)
def wanted(asked: TaskRequired) -> Response:
    """What is still to be computed becomes a task."""
    try:
        return accepted(asked.question)
    except Problem as problem:
        return problems.answer(problem)


def _told(number: str) -> Payload:
    with request_session() as session:
        row = task_queue.by_id(session.connection, number)
        if row is None:
            raise Problem("unknown-task", task=number)
        return {"data": task_queue.entry(session.connection, row), **session.meta(session.find_served())}


def _writes() -> None:
    """End a request that has shown no key at the door: writing always takes one."""
    if "vigie.key" not in request.environ:
        raise Problem("key-needed")
