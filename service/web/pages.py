"""The pages: the region at `/`, a country at `/country/{iso3}`, `/alerts`, `/scorecard`, and the API at `/docs`.

Each page also has an address for each language (`/fr/docs`), where neither a query nor a header chooses the language.
Under the language, a page about scores has an address for each outcome (`/fr/state_based/`), which a file server that
ignores queries can serve too.
Pages read the same snapshots as the API. Their templates are in `templates/`, their French in `drawing/messages/fr.po`.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache, lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, current_app, g, request

from riskmodel.geography import WHOLE_REGION
from riskmodel.outcomes import OUTCOMES
from service.alerts import alert_list, outbox, routes
from service.api import description
from service.api.tasks import submit
from service.drawing import charts, verdict
from service.drawing.language import DEFAULT_LANGUAGE, LOCALES
from service.http.links import link
from service.http.problems import Problem, problem_response
from service.http.request_context import ReadSession, TaskRequired, current_context, request_session
from service.snapshots import earlier_scores, read_model, refit_view, score_history, scorecard
from service.snapshots.outcome_parts import NOT_COMPUTED
from service.snapshots.snapshot_view import SnapshotView
from service.store import leases
from service.web import alerts_page, api_reference, driver_view
from service.web.neighbour_matrix import neighbour_matrix
from service.web.templating import environment

resource = Blueprint("pages", __name__)


HISTORY_MONTHS = 36
"""How many earlier months the chart of scores shows."""

RELOAD_SECONDS = 5
"""How often the waiting page reloads [s]."""


def page_route(path: str, *, by_outcome: bool = True) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Serve a view at a path, at that path under each language, and under each language and outcome."""

    def register(view: Callable[..., Response]) -> Callable[..., Response]:
        language, outcome = f"/<any({', '.join(LOCALES)}):language>", f"/<any({', '.join(OUTCOMES)}):outcome>"
        for under in ("", language, language + outcome) if by_outcome else ("", language):
            resource.add_url_rule(f"{under}{path}", view.__name__, view)
        return view

    return register


@resource.url_value_preprocessor
def take_choices_from_path(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Store the language and the outcome that the path names, if any, and remove them from the view's arguments."""
    g.language = (values or {}).pop("language", None)
    g.outcome = (values or {}).pop("outcome", None)


@page_route("/")
def region() -> Response:
    """Show the region: state of the data, alerts, the table of countries, neighbour effects."""
    with request_session() as session:
        snapshot = session.served(_as_of(), _outcome(), hindcast=True)
        axis_top = charts.axis_top(snapshot.countries)
        rows = [(country, charts.country_chart(country, axis_top)) for country in snapshot.countries]
        return _snapshot_page(
            "region.html",
            snapshot,
            rows=rows,
            changes=earlier_scores.of_view(session.connection, snapshot),
            grid_lines=rows[0][1].grid_lines,
            main_families={row["location_code"]: driver_view.main_family(row) for row in snapshot.countries},
            family_titles=driver_view.family_titles(snapshot.document),
            matrix=neighbour_matrix(snapshot.document),
            **_form_and_alerts(session, snapshot),
        )


@page_route("/country/<iso3>")
def country(iso3: str) -> Response:
    """Show one country: charts, how its score is computed, drivers, the twelve months of its forecast, indicators."""
    with request_session() as session:
        snapshot = session.served(_as_of(), _outcome(), hindcast=True)
        row = next((row for row in snapshot.countries if row["location_code"] == iso3), None)
        if row is None:
            raise Problem("unknown-country", location_code=iso3)
        return _snapshot_page(
            "country.html",
            snapshot,
            country=row,
            changes=earlier_scores.of_view(session.connection, snapshot),
            chart=charts.country_chart(row, charts.axis_top([row])),
            history=charts.score_chart(
                score_history.until_view(session.connection, snapshot, iso3, HISTORY_MONTHS), snapshot.document["bands"]
            ),
            family_titles=driver_view.family_titles(snapshot.document),
            declarations=driver_view.indicator_declarations(snapshot.document),
            families=read_model.indicators(snapshot.document, row),
            **_form_and_alerts(session, snapshot, iso3),
        )


@page_route("/alerts", by_outcome=False)
def alerts_overview() -> Response:
    """Show the alerts of all outcomes, those of the past year with their results, and the record of each rule."""
    with request_session() as session:
        snapshot = session.served()
        return _snapshot_page("alerts.html", snapshot, **alerts_page.content(session, snapshot))


@page_route("/scorecard")
def scorecard_page() -> Response:
    """Show how accurate the issued forecasts and the hindcasts were, next to the baselines."""
    with request_session() as session:
        snapshot = session.served(outcome=_outcome())
        card = verdict.with_texts(scorecard.payload(session.connection, snapshot)["data"])
        return _snapshot_page("scorecard.html", snapshot, card=card, hard_baselines=scorecard.VERDICT_BASELINES)


@page_route("/docs", by_outcome=False)
def docs() -> Response:
    """Show the API reference, which needs no script."""
    page_request = _page_request()
    app = cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]  # the proxy's own
    return _response(page_request.language, _api_reference(app, page_request))


@lru_cache(maxsize=16)  # the API of an app never changes, and the page takes long to render
def _api_reference(_app: Flask, page_request: "PageRequest") -> str:
    document = description.document()
    return _render(
        "api_reference.html",
        page_request,
        operations=api_reference.operations(document),
        schemas=api_reference.object_schemas(document),
    )


@resource.get("/favicon.ico")
def favicon() -> Response:
    """Return the icon that browsers look for at this address."""
    return Response(_icon(), content_type="image/x-icon", headers={"Cache-Control": "public, max-age=86400"})


@cache
def _icon() -> bytes:
    return files("service.web").joinpath("favicon.ico").read_bytes()


@resource.get("/robots.txt")
def robots() -> Response:
    """Let search engines read the pages of today. The addresses for programs and past moments have no end."""
    rules = [f"Disallow: {link(path)}" for path in ("/v1/", "/feeds/", "/*?as_of=", "/*&as_of=")]
    return Response("\n".join(["User-agent: *", *rules, ""]), content_type="text/plain; charset=utf-8")


@resource.errorhandler(TaskRequired)
def waiting_page(required: TaskRequired) -> Response:
    """Queue the task that computes the content, and show a page that reloads until the content is there."""
    try:
        task = submit(required.question)["data"]
    except Problem as problem:
        return problem_response(problem)
    response = _page("waiting.html", _outcome(), task=task, as_of=required.question.parameters["as_of"])
    response.status_code = HTTPStatus.ACCEPTED
    response.headers["Refresh"] = str(RELOAD_SECONDS)  # a header, because pages have no scripts
    return response


@resource.after_request
def vary_by_language(response: Response) -> Response:
    """Tell caches that the page depends on the reader's language, unless the path names one."""
    if not g.language:
        response.vary.add("Accept-Language")
    return response


def _as_of() -> str | None:
    """Return the requested past moment. The form sends an empty field for none."""
    return request.args.get("as_of") or None


def _outcome() -> str | None:
    """Return the requested outcome, None for the headline. Raises Problem for an unknown one."""
    outcome: str | None = g.outcome or request.args.get("outcome") or None
    if outcome is not None and outcome not in OUTCOMES:
        raise Problem("bad-query", parameter="outcome", rule=f"one of: {', '.join(OUTCOMES)}")
    return outcome


def _form_and_alerts(session: ReadSession, snapshot: SnapshotView, iso3: str | None = None) -> dict[str, Any]:
    """Return the date for the form, and the alerts. Alerts are those of today, so a past moment has none."""
    yesterday = (session.now - timedelta(days=1)).date().isoformat()
    if snapshot.as_of is not None:
        return {"yesterday": yesterday, "alerts": None}
    firing = alert_list.listed(session.connection, session.settings.region, bool(session.simulated))
    return {
        "yesterday": yesterday,
        "alerts": [alert for alert in firing if iso3 is None or alert["location_code"] in (iso3, WHOLE_REGION)],
        "undelivered": outbox.count_undelivered(session.connection)[0],
        "disabled_routes": list(routes.disabled(session.connection)),
        "overdue_jobs": leases.overdue(session.connection, session.now),
        "failed_pull": leases.failed(session.connection, "pull", session.now),
    }


class PageRequest(NamedTuple):
    """What a page needs of its request. Queries begin with `?`; a query or a path that is not needed is empty."""

    language: str
    path: str  # without the language and the outcome
    outcome_path: str  # empty for the headline
    as_of_query: str
    outcome_query: str
    data_query: str  # the past moment and the outcome
    root: str  # what precedes paths in links
    site: str  # the public address of the service, if it is known


def _page_request(outcome: str | None = None) -> PageRequest:
    """Return what a page needs of the current request. `outcome` is None for the headline."""
    named = g.language or request.args.get("lang")
    language = (
        named
        if named in LOCALES
        else request.accept_languages.best_match(LOCALES, DEFAULT_LANGUAGE) or DEFAULT_LANGUAGE
    )
    path = request.path
    for part in filter(None, (g.language, g.outcome)):
        path = path.removeprefix(f"/{part}")
    as_of = {"as_of": moment} if (moment := _as_of()) else {}
    of_outcome = {"outcome": outcome} if outcome else {}
    return PageRequest(
        language,
        path,
        _outcome_path(outcome),
        _query(as_of),
        _query(of_outcome),
        _query(as_of | of_outcome),
        request.script_root,
        current_context().settings.base_url or "",
    )


def _outcome_path(outcome: str | None) -> str:
    return f"/{outcome}" if outcome else ""


def _query(values: Mapping[str, str]) -> str:
    return f"?{urlencode(values)}" if values else ""


def _snapshot_page(template: str, snapshot: SnapshotView, **content: Any) -> Response:
    """Return a page about an outcome of a snapshot. The headline has the addresses without an outcome.

    A recomputed snapshot has one outcome, which need not be the headline, so its links name the outcome.
    """
    document = snapshot.document
    headline = document["available_outcomes"][0] if snapshot.id is not None else None
    chosen = {outcome: None if outcome == headline else outcome for outcome in OUTCOMES}
    missing = {name: why for name, why in document["missing_outcomes"].items() if why != NOT_COMPUTED}
    paths = {name: _outcome_path(chosen[name]) for name in OUTCOMES if name not in missing}
    choice: dict[str, Any] = {"outcome_paths": paths, "missing_outcomes": missing}
    if snapshot.as_of is None:
        context = current_context()
        choice["refit"] = refit_view.refit_of(context.home, context.settings, document)
    return _page(template, chosen[document["outcome"]], snapshot=snapshot, **choice, **content)


def _page(template: str, outcome: str | None, **content: Any) -> Response:
    page_request = _page_request(outcome)
    return _response(page_request.language, _render(template, page_request, **content))


def _render(template: str, page_request: PageRequest, **content: Any) -> str:
    placed = {name: value for name, value in page_request._asdict().items() if name != "language"}
    return environment(page_request.language).get_template(template).render(**placed, **content)


def _response(language: str, html: str) -> Response:
    return Response(html, content_type="text/html; charset=utf-8", headers={"Content-Language": language})
