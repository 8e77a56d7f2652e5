"""The OpenAPI document at `/openapi.json`."""

from functools import lru_cache
from typing import Any, cast

from flask import Blueprint, Flask, current_app

from service.api import openapi
from service.api.endpoints import Payload, endpoint
from service.api.shared_schemas import Schema
from service.http.links import public_site
from service.http.request_context import context_of

resource = Blueprint("description", __name__)


class OpenApiDocument(Schema):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    servers: list[dict[str, Any]]
    paths: dict[str, Any]
    components: dict[str, Any]


@endpoint(resource, "/openapi.json", "Describe this API as OpenAPI 3.1", OpenApiDocument)
def description() -> Payload:
    """Return the OpenAPI document."""
    return document()


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the current application. It is made once per application and place."""
    app = cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]  # the proxy's own
    return _document(app, public_site())


@lru_cache(maxsize=16)
def _document(app: Flask, server: str) -> dict[str, Any]:
    return openapi.document(app, {"iso3": context_of(app).settings.region}, server)
