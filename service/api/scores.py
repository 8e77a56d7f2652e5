"""Scores: the region's table at `/v1/scores` (JSON or CSV) and everything about one country at `/v1/scores/{iso3}`."""

from flask import Blueprint, Response, jsonify, request

from service import payloads
from service.api.problems import Problem
from service.api.reading import reading

resource = Blueprint("scores", __name__)


@resource.get("/v1/scores")
def scores() -> Response:
    """The region's table, as the client prefers it."""
    if request.accept_mimetypes.best_match(("application/json", "text/csv")) == "text/csv":
        return scores_csv()
    with reading() as sight:
        return jsonify(payloads.scores_payload(sight.served()))


@resource.get("/v1/scores.csv")
def scores_csv() -> Response:
    """The region's table as CSV."""
    with reading() as sight:
        table = payloads.csv_text(payloads.scores_payload(sight.served()))
        return Response(table, content_type="text/csv; charset=utf-8")


@resource.get("/v1/scores/<iso3>")
def country(iso3: str) -> Response:
    """One country, with its months of history and forecast."""
    with reading() as sight:
        served = sight.served()
        payload = payloads.country_payload(served, iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return jsonify(payload)


@resource.after_request
def varies(response: Response) -> Response:
    """One address, two formats."""
    response.vary.add("Accept")
    return response
