"""Jobs: what the scheduler does again and again, how each went last, and when it runs next."""

from flask import Blueprint, Response, jsonify

from service import freshness, payloads
from service import jobs as table
from service.api.reading import reading

resource = Blueprint("jobs", __name__)


@resource.get("/v1/jobs")
def jobs() -> Response:
    """All jobs."""
    with reading() as sight:
        served = sight.find()
        then = payloads.next_run_at(sight.connection, sight.settings)
        none = payloads.no_meta(sight.settings, then, simulated=sight.simulated)
        entries = table.listing(sight.connection, sight.now)
        response = jsonify({"data": entries, **(payloads.meta(served) if served else none)})
        response.headers["Cache-Control"] = freshness.NO_CACHE
        return response
