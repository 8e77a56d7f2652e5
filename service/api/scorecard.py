"""The scorecard at `/v1/scorecard`: how the forecasts that were issued have done, beside what they have to beat."""

from flask import Blueprint, Response, jsonify

from service import scorecard
from service.api.reading import reading

resource = Blueprint("scorecard", __name__)


@resource.get("/v1/scorecard")
def card() -> Response:
    """The scorecard of the region in service."""
    with reading() as sight:
        return jsonify(scorecard.payload(sight.connection, sight.served()))
