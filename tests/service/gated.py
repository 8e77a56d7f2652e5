"""A gate over a home with keys, before an application that tells what reached it."""

import json
from datetime import UTC, datetime
from typing import Any

import flask
from flask import Flask
from inprocess import Exchange, FrontClient
from werkzeug.routing import PathConverter
from werkzeug.test import TestResponse

from riskmodel.home import Home
from service.http import keys
from service.http.gate import SECURITY_HEADERS, Gate
from service.http.keys import Keyring
from service.http.rate_limit import RequestCounter
from service.http.request_context import attach
from service.settings import Settings
from service.store.context import Context
from service.store.database import Store

FAR = "203.0.113.9"


class AnyPath(PathConverter):
    """A path that can contain line breaks."""

    regex = "(?s:.+?)"
    part_isolating = False


def echo() -> Flask:
    """The application behind the gate: responds with the key and the size of the body that it received."""
    app = Flask("echo")
    app.url_map.merge_slashes = False
    app.url_map.converters["lines"] = AnyPath

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "OPTIONS"])
    @app.route("/<lines:path>", methods=["GET", "POST", "OPTIONS"])
    def respond(path: str) -> flask.Response:
        body = {"key": flask.request.environ.get("vigie.key"), "body": len(flask.request.get_data())}
        response = flask.Response(json.dumps(body), content_type="application/json")
        response.headers["Cache-Control"] = "public, max-age=30"
        return response

    return app


class Clock:
    now = 1_000_020.0

    def __call__(self) -> float:
        return self.now


class Gated:
    """A home with keys, and clients of gates over it."""

    def __init__(self, home: Home) -> None:
        self.home, self.store, self.clock = home, Store.of(home), Clock()
        self.counter = RequestCounter(home.run)
        self.reader, self.writer = (
            keys.add(self.store, scope, f"a {scope}r", datetime.now(UTC)) for scope in ("read", "write")
        )

    def client(self, *, listens_on: str | None = "127.0.0.1", app: Flask | None = None, **options: Any) -> FrontClient:
        settings = Settings(**options)
        app = app or echo()
        attach(app, Context(self.home, settings, self.store, lambda: datetime.now(UTC)))
        gate = Gate(settings, Keyring(self.store), self.counter, listens_on=listens_on, clock=self.clock)
        return FrontClient(app, settings, gate)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def problem_kind(response: TestResponse) -> str:
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert response.headers["Cache-Control"] == "no-store"
    assert all(response.headers[n] == v for n, v in SECURITY_HEADERS.items())
    document = json.loads(response.data)
    assert document["status"] == response.status_code
    return str(document["type"]).removeprefix("urn:vigie:problem:")


def begin_post(client: FrontClient, key: str | None, **headers: str) -> Exchange:
    """A POST whose body has not been sent yet."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.begin("/", "POST", {**sent, **(bearer(key) if key else {})})
