"""Indicators: their declarations at `/v1/indicators`, and one country's values at `/v1/indicators/{iso3}`."""

from flask import Blueprint, Response, jsonify

from service import payloads
from service.api.problems import Problem
from service.api.reading import reading

resource = Blueprint("indicators", __name__)


@resource.get("/v1/indicators")
def indicators() -> Response:
    """What the indicators are."""
    with reading() as sight:
        return jsonify(payloads.declarations_payload(sight.served()))


@resource.get("/v1/indicators/<iso3>")
def country(iso3: str) -> Response:
    """One country's values, now and 12 months earlier."""
    with reading() as sight:
        payload = payloads.indicators_payload(sight.served(), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return jsonify(payload)
