"""Alerts: what is firing now in the realm in service, and the messages that did not get through."""

from flask import Blueprint, Response, jsonify

from service import payloads
from service.alerts import lifecycle, outbox
from service.api.reading import reading

resource = Blueprint("alerts", __name__)


@resource.get("/v1/alerts")
def alerts() -> Response:
    """What is firing."""
    with reading() as sight:
        served = sight.served()
        firing = lifecycle.firing(sight.connection, sight.settings.region, bool(sight.simulated))
        return jsonify({"data": firing, "undelivered": outbox.undelivered(sight.store), **payloads.meta(served)})
