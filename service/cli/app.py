"""The web application: the API and the pages of one home.

It serves snapshots and computes none. It must stay light: no scikit-learn, pandas or pyarrow, and no scheduler, which
is a process of its own.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from flask.json.provider import JSONProvider

from riskmodel.home import Home, default_home
from riskmodel.parent_process import end_with_parent
from service import logs
from service.api import (
    alerts,
    changes,
    countries,
    description,
    drivers,
    events,
    feeds,
    forecasts,
    health,
    indicators,
    jobs,
    ledger,
    metrics,
    model,
    runs,
    scorecard,
    scores,
    snapshots,
    tasks,
)
from service.http import conditional, problems, request_context, telemetry
from service.http.gate import SECURITY_HEADERS, Gate
from service.http.keys import Keyring
from service.http.rate_limit import RequestCounter
from service.http.request_context import context_of
from service.http.response_cache import ResponseCache
from service.http.unavailable import UnavailableApp
from service.jobs.processes import LISTENS_ON
from service.settings import load
from service.store.context import Context
from service.store.database import DatabaseUnavailable, Store
from service.store.values import instant
from service.web import pages

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from service.http.unavailable import IsImmediate

RESOURCES = (
    scores,
    forecasts,
    indicators,
    drivers,
    events,
    countries,
    model,
    snapshots,
    runs,
    tasks,
    scorecard,
    ledger,
    alerts,
    changes,
    jobs,
    feeds,
    metrics,
    health,
    description,
    pages,
)
"""Modules with a blueprint each."""


class StrictJson(JSONProvider):
    """JSON with times in ISO 8601 with Z. Refuses NaN, which is not JSON."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return an object as JSON. Raises ValueError for NaN."""
        return json.dumps(obj, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_encode, **kwargs)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the object in a JSON text."""
        return json.loads(s, **kwargs)


def create_app(home: Home | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Flask:
    """Make the application for a home, by default the one of `VIGIE_HOME`. Raises BadInput for wrong settings.

    It has no gate: to serve it to others, run `worker`.
    """
    home = home or Home(default_home())
    settings = load(home)
    app = Flask("service", static_folder="web/static", template_folder=None)
    app.json = StrictJson(app)
    app.url_map.merge_slashes = False  # werkzeug's redirect would repeat the Host header, which a client can invent
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 31_536_000  # pages link to static files with a digest of their content
    request_context.attach(app, Context(home, settings, Store.of(home), clock))
    problems.register(app)
    for module in RESOURCES:
        app.register_blueprint(module.resource)
    app.after_request(_finish)
    return app


def worker() -> "WSGIApplication":
    """Return the application for a worker of any WSGI server. The worker ends with the process that started it."""
    return assemble()[0]


def assemble() -> "tuple[WSGIApplication, IsImmediate]":
    """Return the application for a worker, and which requests it answers without waiting for anything.

    While the database is away, `service.http.unavailable` answers in its place.
    """
    end_with_parent(grace_seconds=0.5)
    logs.configure(load(Home(default_home())).log_format)
    try:
        return _assemble()
    except DatabaseUnavailable:
        unavailable = UnavailableApp(_assemble).start_retrying()
        return unavailable, unavailable.is_immediate


def _assemble() -> "tuple[WSGIApplication, IsImmediate]":
    """Put the response cache, the gate and telemetry around the Flask application, in this order."""
    app = create_app()
    context = context_of(app)
    cache = ResponseCache(app).start_watching()
    keyring = Keyring(context.store)
    counter = RequestCounter(context.home.run)
    gate = Gate(cache, context.settings, keyring, counter, listens_on=os.environ.get(LISTENS_ON))

    def is_immediate(environ: "WSGIEnvironment") -> bool:
        return ("HTTP_AUTHORIZATION" not in environ or keyring.is_current) and cache.has(environ)

    return telemetry.wrap(gate, app, context.settings), is_immediate


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _finish(response: Response) -> Response:
    """Add the security headers and the conditional headers to a response."""
    response.headers.update(SECURITY_HEADERS)
    now = request_context.current_context().clock()
    return conditional.finish(response, request.environ, g.get("state_version"), now)
