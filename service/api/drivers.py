"""Drivers at `/v1/drivers/{iso3}`: what the model associates a country's score with, its neighbours included."""

from flask import Blueprint, Response, jsonify

from service import payloads
from service.api.problems import Problem
from service.api.reading import reading

resource = Blueprint("drivers", __name__)


@resource.get("/v1/drivers/<iso3>")
def country(iso3: str) -> Response:
    """One country's drivers."""
    with reading() as sight:
        payload = payloads.drivers_payload(sight.served(), iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        return jsonify(payload)
