"""The API's description of itself: OpenAPI 3.1 at `/openapi.json`, made from what the resources declare."""

from functools import cache
from typing import Any, cast

from flask import Blueprint, Flask, current_app

from service.api import openapi
from service.api.openapi import Payload, offers
from service.api.schemas import Said
from service.http.request_context import context_of

resource = Blueprint("description", __name__)


class Description(Said):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


@offers(resource, "/openapi.json", "This description, as OpenAPI 3.1", Description)
def description() -> Payload:
    """The document."""
    return document()


def document() -> dict[str, Any]:
    """The document of the current app, made once."""
    return _made(cast(Flask, current_app._get_current_object()))  # type: ignore[attr-defined]  # the proxy's own


@cache
def _made(app: Flask) -> dict[str, Any]:
    return openapi.document(app, {"iso3": context_of(app).settings.region})
