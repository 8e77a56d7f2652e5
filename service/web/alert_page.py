"""The page of one alert at `/alerts/{alert_id}`: its state and history, and forms to acknowledge and silence it.

Its forms have a field for the key, and no script. They are sent by POST, so that no key stands in an address.
"""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from riskmodel.errors import BadInput
from service.alerts import alert_list, episodes, metric_words, signed_links, silences, wording
from service.alerts.silence_matching import MATCHER
from service.drawing.language import DEFAULT_LANGUAGE, LOCALES
from service.http import keys
from service.http.flask_pool import BY_LINK
from service.http.keys import Key
from service.http.problems import Problem
from service.http.request_context import ReadSession, current_context, request_session
from service.web.templating import environment

resource = Blueprint("alert_page", __name__)

SILENCE_HOURS = (1, 8, 24, 72, 168)
"""How long the form can silence an alert [hours]."""

_PATH = "/alerts/<string(length=36):alert_id>"
_IN_LANGUAGE = f"/<any({', '.join(LOCALES)}):language>{_PATH}"


@resource.get(_PATH)
@resource.get(_IN_LANGUAGE)
def show(alert_id: str, language: str | None = None) -> Response:
    """Show an alert. Where reading needs a key, the signature of a link in a message is enough."""
    with request_session() as session:
        if not _may_read(session, alert_id):
            raise Problem("link-refused")
        return _page(session, alert_id, language)


@resource.post(_PATH)
@resource.post(_IN_LANGUAGE)
def act(alert_id: str, language: str | None = None) -> AnyResponse:
    """Acknowledge or silence an alert with the key in the form, and show the page again."""
    context = current_context()
    key = keys.check(context.store, request.form.get("key", "").strip())
    error = ""
    if key is None or key.scope == "read":
        error = "key-refused" if key is None else "key-cannot-write"
    else:
        try:
            _do(alert_id, key, request.form)
        except BadInput as bad:
            error = str(bad)
        else:
            return redirect(request.full_path.rstrip("?"), HTTPStatus.SEE_OTHER)
    with request_session() as session:
        if key is None and not _may_read(session, alert_id):
            raise Problem("key-refused")
        return _page(session, alert_id, language, error)


def _may_read(session: ReadSession, alert_id: str) -> bool:
    if BY_LINK not in request.environ:
        return True
    until, signature = (request.args.get(name, "") for name in ("until", "signature"))
    return signed_links.is_valid(session.connection, alert_id, until, signature, session.now.date())


def _do(alert_id: str, key: Key, form: Mapping[str, str]) -> None:
    """Do what a form asks for. Raises BadInput."""
    context = current_context()
    with request_session() as session:
        alert = _alert(session, alert_id)
    now = context.clock()
    with context.store.writing() as connection:
        by = form.get("by", "").strip() or keys.label(connection, key.prefix)
        if form.get("action") == "acknowledge":
            episodes.acknowledge(connection, alert_id, by, form.get("note", "").strip() or None, now)
        elif form.get("action") == "unacknowledge":
            episodes.unacknowledge(connection, alert_id, by, now)
        elif form.get("action") == "silence" and form.get("hours") in [str(hours) for hours in SILENCE_HOURS]:
            silences.create(
                connection,
                region=context.settings.region,
                simulated=bool(alert["simulated"]),
                matcher=dict.fromkeys(MATCHER) | {name: alert[name] for name in ("rule", "location_code")},
                until=now + timedelta(hours=int(form["hours"])),
                reason=form.get("reason", "").strip(),
                by=by,
                now=now,
            )
        else:
            raise BadInput("action: must be acknowledge, unacknowledge or silence")


def _alert(session: ReadSession, alert_id: str) -> dict[str, object]:
    found = alert_list.find(session.connection, session.settings.region, bool(session.simulated), alert_id)
    if found is None:
        raise Problem("unknown-alert")
    return found


def _old_data_days(session: ReadSession) -> int:
    """Return how old the data are, if they are too old to rely on; else 0."""
    served = session.find_served()
    age: int = served.data_age_days if served else 0
    return age if age > session.settings.stale_after_days else 0


def _page(session: ReadSession, alert_id: str, named: str | None, error: str = "") -> Response:
    language = named or request.accept_languages.best_match(LOCALES, DEFAULT_LANGUAGE) or DEFAULT_LANGUAGE
    link = {name: request.args[name] for name in ("until", "signature") if name in request.args}
    html = (
        environment(language)
        .get_template("alert.html")
        .render(
            alert=_alert(session, alert_id),
            old_data_days=_old_data_days(session),
            error=error,
            hours=SILENCE_HOURS,
            amount=metric_words.amount,
            bands=session.settings.bands,
            causes=wording.CAUSES,
            path=f"/alerts/{alert_id}",
            as_of_query=f"?{'&'.join(f'{name}={value}' for name, value in link.items())}" if link else "",
            outcome_path="",
            outcome_query="",
            data_query="",
            root=request.script_root,
            site="",
        )
    )
    # A signed link must not be found by a search engine, nor its page be stored by a cache.
    headers = {"Content-Language": language, "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    status = HTTPStatus.OK
    if error:
        status = HTTPStatus.FORBIDDEN if error.startswith("key-") else HTTPStatus.BAD_REQUEST
    return Response(html, status, content_type="text/html; charset=utf-8", headers=headers)
