"""The pages themselves: the region at `/`, one country at `/country/{iso3}`, the scorecard at `/scorecard`, the API at
`/docs`. Each stands under its languages too (`/fr/docs`), so that neither a query nor a header need be looked at. They
read what the API reads.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, current_app, g, request
from jinja2 import Environment, PackageLoader, StrictUndefined

from service.alerts import lifecycle, outbox
from service.api import description
from service.api.tasks import put
from service.drawing import charts, labels
from service.drawing.language import DEFAULT, LOCALES, language
from service.http.problems import Problem
from service.http.request_context import ReadSession, TaskRequired, request_session
from service.snapshots import read_model, scorecard
from service.snapshots.snapshot_view import SnapshotView
from service.store import leases
from service.web import explained, reference

resource = Blueprint("pages", __name__)

BESIDE = ("conflictology12", "ew4s")
"""The baselines that stand in the smaller tables of the scorecard: those that are hardest to beat."""

LOOK_AGAIN = 5
"""How soon a page that waits looks again [s]."""

SHADES = 6
"""How many shades the style sheet has for bands."""


def at(path: str) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Serve a page at an address, and at that address under each language."""

    def declare(view: Callable[..., Response]) -> Callable[..., Response]:
        for rule in (path, f"/<any({', '.join(LOCALES)}):language>{path}"):
            resource.add_url_rule(rule, view.__name__, view)
        return view

    return declare


@resource.url_value_preprocessor
def under(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Note the language that the address names, if any; the views need not know."""
    g.language = (values or {}).pop("language", None)


@at("/")
def region() -> Response:
    """The region: freshness, alerts, the table of its countries, and what goes with their neighbours' violence."""
    with request_session() as session:
        served = session.served(_as_of())
        highest = charts.top(served.countries)
        rows = [(country, charts.chart(country, highest)) for country in served.countries]
        told = {
            "leading": {row["location_code"]: explained.leading(row) for row in served.countries},
            "titles": explained.titles(served.document),
            "matrix": explained.matrix(served.document),
        }
        return _page(
            "region.html", served=served, rows=rows, rungs=rows[0][1].rungs, **told, **_beside(session, served)
        )


@at("/country/<iso3>")
def country(iso3: str) -> Response:
    """One country: its chart, what its score is made of and driven by, its twelve months, and its indicators."""
    with request_session() as session:
        served = session.served(_as_of())
        row = next((row for row in served.countries if row["location_code"] == iso3), None)
        if row is None:
            raise Problem("unknown-country", location_code=iso3)
        drawn = charts.chart(row, charts.top([row]))
        told = {
            "titles": explained.titles(served.document),
            "declared": explained.declared(served.document),
            "families": read_model.indicators(served.document, row),
        }
        return _page("country.html", served=served, country=row, chart=drawn, **told, **_beside(session, served, iso3))


@at("/scorecard")
def card() -> Response:
    """The scorecard: how the forecasts that were issued have done, beside what they have to beat."""
    with request_session() as session:
        served = session.served()
        told = scorecard.payload(session.connection, served)["data"]
        return _page("scorecard.html", served=served, card=told, base=BESIDE)


@at("/docs")
def docs() -> Response:
    """The description of the API, to read: no script is needed."""
    asked = _asked()
    return _answer(asked.code, _docs(cast(Flask, current_app._get_current_object()), asked))  # type: ignore[attr-defined]  # the proxy's own


@lru_cache(maxsize=16)
def _docs(_: Flask, asked: "Asked") -> str:
    """The page, made once: it says nothing that changes while an app lives."""
    described = description.document()
    return _render("docs.html", asked, addresses=reference.addresses(described), schemas=reference.schemas(described))


@resource.errorhandler(Problem)
def problem(problem: Problem) -> Response:
    """A problem, for a person to read."""
    told = {name: problem.members.get(name) for name in ("error", "since", "parameter", "rule")}
    response = _page("problem.html", problem=problem.kind, **told)
    response.status_code = problem.kind.status
    if "retry_after_seconds" in problem.members:
        response.headers["Retry-After"] = str(problem.members["retry_after_seconds"])
    return response


@resource.errorhandler(TaskRequired)
def waiting(asked: TaskRequired) -> Response:
    """What is still to be computed: a page that looks again by itself until it is there."""
    try:
        task = put(asked.question)["data"]
    except Problem as failed:
        return problem(failed)
    response = _page("waiting.html", task=task, when=asked.question.told["as_of"])
    response.status_code = HTTPStatus.ACCEPTED
    response.headers["Refresh"] = str(LOOK_AGAIN)
    return response


@resource.after_request
def varies(response: Response) -> Response:
    """One address, two languages, unless the address names one."""
    if not g.language:
        response.vary.add("Accept-Language")
    return response


def _as_of() -> str | None:
    """The past moment that is asked for; an empty field of the form asks for none."""
    return request.args.get("as_of") or None


def _beside(session: ReadSession, served: SnapshotView, iso3: str | None = None) -> dict[str, Any]:
    """What stands on a page beside the scores; the alerts are those of today, so that a past moment has none."""
    yesterday = (session.now - timedelta(days=1)).date().isoformat()
    if served.as_of is not None:
        return {"yesterday": yesterday, "alerts": None}
    return {"yesterday": yesterday, **_alerts(session, iso3)}


def _alerts(session: ReadSession, iso3: str | None = None) -> dict[str, Any]:
    firing = lifecycle.firing(session.connection, session.settings.region, bool(session.simulated))
    shown = [alert for alert in firing if iso3 is None or alert["location_code"] in (iso3, "*")]
    overdue = leases.overdue(session.connection, session.now)
    return {"alerts": shown, "undelivered": len(outbox.undelivered(session.connection)), "overdue": overdue}


class Asked(NamedTuple):
    """What a page needs to know of its request: the language, the path without it, and the past moment as a query."""

    code: str
    path: str
    then: str


def _asked() -> Asked:
    asked = g.language or request.args.get("lang")
    code = asked if asked in LOCALES else request.accept_languages.best_match(LOCALES, DEFAULT) or DEFAULT
    path = request.path.removeprefix(f"/{g.language}") if g.language else request.path
    asked_for = _as_of()
    return Asked(code, path, f"?{urlencode({'as_of': asked_for})}" if asked_for else "")


def _page(template: str, **content: Any) -> Response:
    asked = _asked()
    return _answer(asked.code, _render(template, asked, **content))


def _render(template: str, asked: Asked, **content: Any) -> str:
    return environment(asked.code).get_template(template).render(path=asked.path, then=asked.then, **content)


def _answer(code: str, html: str) -> Response:
    return Response(html, content_type="text/html; charset=utf-8", headers={"Content-Language": code})


@cache
def environment(code: str) -> Environment:
    """Templates that speak one language."""
    spoken = language(code)
    made = Environment(
        loader=PackageLoader("service.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(spoken.texts, newstyle=True)  # type: ignore[attr-defined]  # the i18n extension adds it
    made.filters.update(number=spoken.number, month=spoken.month)
    made.globals.update(
        spoken=spoken,
        languages=[language(other) for other in LOCALES],
        words=labels,
        charts=charts,
        explained=explained,
        static=static,
        shade=shade,
        parsed=datetime.fromisoformat,
    )
    return made


@cache
def static(name: str) -> str:
    """The address of a static file, with a digest of its content so that it may be kept for ever."""
    content = files("service.web").joinpath("static", name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


def shade(band: str | None, bands: dict[str, float]) -> str:
    """The style class of a band: its rank spread over the shades there are."""
    if band is None:
        return "shade-none"
    ranks = sorted(bands, key=lambda name: bands[name])
    return f"shade-{round(ranks.index(band) * (SHADES - 1) / max(1, len(ranks) - 1))}"
