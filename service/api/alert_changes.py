"""Changes of alerts for other systems: an Atom feed, CAP messages, and a table with the columns of HDX Signals."""

from typing import Annotated, Literal

from flask import Blueprint, Response, request
from pydantic import Field

from riskmodel import geography
from riskmodel.geography import WHOLE_REGION
from service.alerts import cap, feed, published
from service.alerts.published import PublishedChange
from service.api.endpoints import MAX_NUMBER, OutcomeQuery, Payload, Query, endpoint
from service.api.feeds import ATOM_MEDIA_TYPE
from service.api.paging import PageQuery, next_address, split_page
from service.api.shared_schemas import Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.links import public_site
from service.http.problems import Problem
from service.http.request_context import request_session
from service.store.values import instant

resource = Blueprint("alert_changes", __name__)

ALERT_LEVELS = {"severe": "High concern", "warning": "Medium concern", "info": "Low concern"}


class AlertChange(Schema):
    """A change of an alert: that it fires, or that it no longer does. The first keys are those of HDX Signals."""

    iso3: str | None = described("ISO alpha-3 code; null: the region as a whole")
    location: str = described("English name")
    region: str = described("continent")
    indicator_name: str = described("metric of the rule")
    indicator_title: str = described("title of the rule")
    date: str = described("day of the change, YYYY-MM-DD")
    value: float | None
    alert_level: str = described("High concern (severe), Medium concern (warning) or Low concern (info)")
    summary_short: str
    summary_long: str
    summary_short_fr: str
    summary_long_fr: str
    further_information: str = described("address of the page of the alert")
    cap_url: str = described("address of the change as a CAP message")
    change: int = described("number of the change")
    alert_id: str
    state: str = described("the state after the change")
    at: str
    rule: str
    outcome: str
    reason: str | None = described("why the value is null")
    origin: str
    data_as_of: str
    snapshot_id: int
    simulated: bool


class AlertChangesResponse(Page):
    """A page of the changes, newest first."""

    data: list[AlertChange]


class AlertChangesQuery(PageQuery, OutcomeQuery):
    """A page of the changes, of all outcomes or of one."""


class FeedQuery(OutcomeQuery):
    """The feed of all outcomes, or of one."""

    lang: Literal["en", "fr"] = Field(default="en", description="language of the texts")


class CapQuery(Query):
    """One message of an alert."""

    change: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = Field(
        default=None, description="number of the change; by default the newest"
    )


@endpoint(
    resource,
    "/v1/alerts/changes",
    "List the changes of alerts, newest first",
    AlertChangesResponse,
    query=AlertChangesQuery,
    formats=[as_csv(listed, list(AlertChange.model_fields))],
    problems=("no-outcome",),
)
def changes(query: AlertChangesQuery) -> Payload:
    """Return a page of the changes of alerts into firing, and out of it."""
    with request_session() as session:
        meta = session.meta(session.find_served(query.outcome))
        realm = (session.connection, session.settings.region, bool(session.simulated))
        found = published.changes(*realm, query.limit + 1, before=query.before, outcome=query.outcome)
        page, last = split_page(found, query.limit)
        following = next_address(str(last.number) if last else None)
        entries = [_entry(change, public_site()) for change in page]
        return {"data": entries, "next": following, **meta}


@endpoint(
    resource,
    "/v1/alerts/<string(length=36):alert_id>/cap.xml",
    "Get a change of an alert as a CAP message",
    cap.MEDIA_TYPE,
    query=CapQuery,
    problems=("unknown-alert",),
)
def message(query: CapQuery, alert_id: str) -> Response:
    """Return the CAP 1.2 message of one change of an alert, by default the newest."""
    with request_session() as session:
        realm = (session.connection, session.settings.region, bool(session.simulated))
        found = published.of_alert(*realm, alert_id)
        number = query.change or (found[-1].number if found else None)
        if number is None or number not in [change.number for change in found]:
            raise Problem("unknown-alert")
        text = cap.message(found, number, public_site())
        return Response(text, content_type=f"{cap.MEDIA_TYPE}; charset=utf-8")


@endpoint(
    resource,
    "/feeds/alerts.atom",
    "Follow the changes of alerts as an Atom feed",
    ATOM_MEDIA_TYPE,
    query=FeedQuery,
    problems=("no-data", "no-outcome"),
)
def atom(query: FeedQuery) -> Response:
    """Return the feed of the newest changes of alerts."""
    with request_session() as session:
        if session.simulated is None:
            raise Problem("no-data")
        view = session.find_served(query.outcome)  # an outcome that is not there is a problem, and not an empty feed
        region = session.settings.region
        found = published.changes(
            session.connection, region, session.simulated, feed.MAX_ENTRIES, outcome=query.outcome
        )
        text = request.query_string.decode()
        entries = feed.atom(
            found,
            region,
            session.simulated,
            view.document["issued_at"] if view else instant(session.now),
            public_site(),
            language=query.lang,
            query=f"?{text}" if text else "",
        )
        return Response(entries, content_type=f"{ATOM_MEDIA_TYPE}; charset=utf-8")


def _entry(change: PublishedChange, site: str) -> Payload:
    facts = change.facts
    is_country = facts["location_code"] != WHOLE_REGION
    copied = ("value", "reason", "rule", "outcome", "origin", "data_as_of", "snapshot_id", "simulated", "at")
    return {
        "iso3": facts["location_code"] if is_country else None,
        "location": facts["name"]["en"],
        "region": geography.country(facts["location_code"] if is_country else facts["region"]).continent,
        "indicator_name": facts["metric"],
        "indicator_title": facts["title"]["en"],
        "date": change.at.date().isoformat(),
        "alert_level": ALERT_LEVELS[facts["severity"]],
        "summary_short": facts["headline"]["en"],
        "summary_long": facts["text"]["en"],
        "summary_short_fr": facts["headline"]["fr"],
        "summary_long_fr": facts["text"]["fr"],
        "further_information": f"{site}/en/alerts/{change.alert_id}",
        "cap_url": f"{site}/v1/alerts/{change.alert_id}/cap.xml?change={change.number}",
        "change": change.number,
        "alert_id": change.alert_id,
        "state": change.to_state,
        **{key: facts[key] for key in copied},
    }
