"""The web application: the read API and the pages over one home. It serves snapshots and computes none of them.

It must stay light: no scikit-learn, pandas or pyarrow, and no scheduler, which has a process of its own.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from flask.json.provider import JSONProvider

from riskmodel.home import Home, default_home
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
from service.http.gate import SAFE, Door
from service.http.keys import Keyring
from service.http.rate_limit import Counters
from service.http.request_context import context_of
from service.http.response_cache import Polling
from service.http.unavailable import StandIn
from service.jobs.processes import LISTENS_ON, end_with_parent
from service.settings import load
from service.store.context import Context
from service.store.database import DatabaseUnavailable, Store
from service.store.values import instant
from service.web import pages

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from service.http.unavailable import AtOnce

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
"""The modules that answer, each with its blueprint."""


class Json(JSONProvider):
    """JSON as others read it: missing is null, moments are ISO 8601 with Z, and NaN is refused rather than written."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """The text of an object. Raises ValueError for NaN."""
        return json.dumps(obj, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_text, **kwargs)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """The object of a text."""
        return json.loads(s, **kwargs)


def create_app(home: Home | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Flask:
    """Make the application over a home (by default the one of `VIGIE_HOME`). Raises BadInput for wrong settings."""
    home = home or Home(default_home())
    settings = load(home)
    app = Flask("service", static_folder="web/static", template_folder=None)
    app.json = Json(app)
    app.url_map.merge_slashes = False  # a redirect would repeat whatever host the client has named
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 31_536_000  # pages name static files with a digest of their content
    request_context.attach(app, Context(home, settings, Store.of(home), clock))
    problems.register(app)
    for part in RESOURCES:
        app.register_blueprint(part.resource)
    app.after_request(_finish)
    return app


def worker() -> "WSGIApplication":
    """The application in a worker of the web server, which ends with the process that started it.

    While the database is away something else answers in its place.
    """
    return assembled()[0]


def assembled() -> "tuple[WSGIApplication, AtOnce]":
    """The same, and which requests it answers from its memory: at once, without waiting for the store or for others."""
    end_with_parent(grace=0.5)
    logs.start(load(Home(default_home())).log_format)
    try:
        return _assembled()
    except DatabaseUnavailable:
        stand_in = StandIn(_assembled).trying()
        return stand_in, stand_in.at_once


def _assembled() -> "tuple[WSGIApplication, AtOnce]":
    app = create_app()
    context = context_of(app)
    polling = Polling(app).watching()
    keyring = Keyring(context.store)
    door = Door(polling, context.settings, keyring, Counters(context.home.run), listens_on=os.environ.get(LISTENS_ON))

    def at_once(environ: "WSGIEnvironment") -> bool:
        return ("HTTP_AUTHORIZATION" not in environ or keyring.looked_lately) and polling.holds(environ)

    return telemetry.watched(door, app, context.settings), at_once


def _text(value: object) -> str | None:
    if isinstance(value, datetime):
        return instant(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _finish(response: Response) -> Response:
    """Add the headers every answer has, and those of the polling contract."""
    response.headers.update(SAFE)
    return conditional.finish(response, request.environ, g.get("marks"), request_context.current_context().clock())
