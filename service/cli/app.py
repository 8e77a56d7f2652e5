"""The web application: the API and the pages of one home.

It serves snapshots and computes none. It must stay light: no scikit-learn, pandas or pyarrow, and no scheduler, which
is a process of its own.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request
from flask.json.provider import JSONProvider

from riskmodel.home import Home, default_home
from riskmodel.parent_process import end_with_parent
from service import logs
from service.api import (
    alert_actions,
    alert_changes,
    alert_records,
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
    signals,
    snapshots,
    tasks,
)
from service.http import conditional, problems, request_context
from service.http.admin import AdminFront
from service.http.front import Front
from service.http.gate import SECURITY_HEADERS, Gate
from service.http.heartbeats import Heartbeats
from service.http.interfaces import Application
from service.http.keys import Keyring
from service.http.rate_limit import RequestCounter
from service.http.request_context import context_of
from service.http.site import Site
from service.http.telemetry import METRICS_FOLDER, Telemetry
from service.http.wsgi import GatedWsgi, LazyWsgi
from service.jobs.processes import LISTENS_ON
from service.settings import load
from service.store.context import Context
from service.store.database import Store
from service.store.postgresql import Deadlines
from service.store.values import instant
from service.web import alert_page, error_page, pages

RESOURCES = (
    scores,
    forecasts,
    indicators,
    drivers,
    signals,
    events,
    countries,
    model,
    snapshots,
    runs,
    tasks,
    scorecard,
    ledger,
    alert_changes,
    alert_records,
    alerts,
    alert_actions,
    changes,
    jobs,
    feeds,
    metrics,
    health,
    description,
    pages,
    alert_page,
)
"""Modules with a blueprint each."""

DEADLINES = Deadlines(read=5.0, write=15.0)
"""How long a request's transaction may take [s]. A writer may wait ten seconds for the one before it."""


class StrictJson(JSONProvider):
    """JSON with times in ISO 8601 with Z. Refuses NaN, which is not JSON."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return an object as JSON. Raises ValueError for NaN."""
        return json.dumps(obj, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_encode, **kwargs)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the object in a JSON text. Raises ValueError for a text that is not JSON or is nested too deeply."""
        try:
            return json.loads(s, **kwargs)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def create_app(
    home: Home | None = None,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    deadlines: Deadlines | None = None,
    admin: bool = False,
) -> Flask:
    """Make the application for a home, by default the one of `VIGIE_HOME`. Raises BadInput for wrong settings.

    `deadlines` are those of its database transactions. If the admin server has a port of its own, only its application
    (`admin`) has the metrics. It has no gate: to serve it to others, run `worker`.
    """
    home = home or Home(default_home())
    settings = load(home)
    app = Flask("service", static_folder="web/static", template_folder=None)
    app.json = StrictJson(app)
    app.url_map.merge_slashes = app.url_map.strict_slashes = False  # no redirects: `Site` gives addresses their form
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 31_536_000  # pages link to static files with a digest of their content
    request_context.attach(app, Context(home, settings, Store.of(home, deadlines=deadlines), clock))
    problems.register(app)
    for module in RESOURCES:
        if module is metrics and settings.admin_port is not None and not admin:
            continue
        app.register_blueprint(module.resource)
    app.after_request(_finish)
    return app


def worker() -> Application:
    """Return the application for a worker of granian (RSGI) or of any ASGI server.

    The worker ends with the process that started it.
    """
    end_with_parent(grace_seconds=0.5)
    settings = load(Home(default_home()))
    logs.configure(settings.log_format)
    folder = os.environ.get(METRICS_FOLDER)
    heartbeats = Heartbeats(Path(folder)) if folder else None
    return Application(make_front, error_page.present, site=_make_site(), heartbeats=heartbeats)


def admin_worker() -> Application:
    """Return the application for the admin server of `vigie web`."""
    end_with_parent(grace_seconds=0.5)
    logs.configure(load(Home(default_home())).log_format)
    heartbeats = Heartbeats(Path(os.environ[METRICS_FOLDER]))

    def make_admin_front() -> tuple[AdminFront, Telemetry]:
        app = create_app(deadlines=DEADLINES, admin=True)
        settings = context_of(app).settings
        return AdminFront(app, heartbeats.all_alive, Site(settings, settings.admin_host)), Telemetry(app, settings)

    return Application(make_admin_front)


def make_front() -> tuple[Front, Telemetry]:
    """Put the gate and the response cache before the Flask application.

    Raises VigieError while the database is away.
    """
    app = create_app(deadlines=DEADLINES)
    settings = context_of(app).settings
    return Front(app, settings, make_gate(app)), Telemetry(app, settings)


def make_gate(app: Flask) -> Gate:
    """Make the gate of an application. It counts requests together with the other workers of the machine."""
    context = context_of(app)
    counter = RequestCounter(context.home.run)
    return Gate(context.settings, Keyring(context.store), counter, listens_on=os.environ.get(LISTENS_ON))


def _make_wsgi() -> GatedWsgi:
    end_with_parent(grace_seconds=0.5)
    app = create_app(deadlines=DEADLINES)
    settings = context_of(app).settings
    logs.configure(settings.log_format)
    return GatedWsgi(app, settings, make_gate(app), Telemetry(app, settings), error_page.present)


def _make_site() -> Site:
    return Site(load(Home(default_home())), os.environ.get(LISTENS_ON))


wsgi = LazyWsgi(_make_wsgi, error_page.present, _make_site)
"""The application for a plain WSGI server: `gunicorn service.cli.app:wsgi`. It has no streams and no response cache."""


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _finish(response: Response) -> Response:
    """Make a problem a page if a browser asks. Add the security headers and the conditional headers to a response."""
    accept, languages = (request.headers.get(name, "") for name in ("Accept", "Accept-Language"))
    if response.content_type == problems.MEDIA_TYPE and error_page.prefers_page(accept):
        query = request.query_string.decode("latin-1")
        page = error_page.render(response.get_data(), request.script_root, request.path, query, languages)
        response.set_data(page)
        response.content_type = error_page.HTML
        response.vary.update(("Accept", "Accept-Language"))
    response.headers.update(SECURITY_HEADERS)
    now = request_context.current_context().clock()
    state_only = g.get("state_only", False)
    return conditional.finish(response, request.environ, g.get("state_version"), now, state_only=state_only)
