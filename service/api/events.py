"""Events at `/v1/events`: those behind the scores whose sources allow redistribution, with the terms of each source.

A recompute copies the events into the store. The archive is not read here.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from flask import Blueprint
from pydantic import Field

from riskmodel import geography
from service.api.endpoints import NO_SNAPSHOT_PROBLEMS, Day, Iso3, Payload, Query, endpoint
from service.api.paging import DEFAULT_LIMIT, Limit, next_address, split_page
from service.api.shared_schemas import CountryRef, Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import snapshot_view
from service.store.tables import SEAL, event_lists
from service.store.tables import events as table

resource = Blueprint("events", __name__)

CURSOR_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\.[0-9A-Za-z_-]{1,32}$"
"""The day and the id of the last event of a page: the list is sorted by both."""


class EventsQuery(Query):
    """Which country, which days, which page."""

    iso3: Iso3 | None = Field(default=None, description="one country of the region")
    from_: Day | None = Field(default=None, alias="from", description="events that began on this day or later")
    to: Day | None = Field(default=None, description="events that began on this day or earlier")
    limit: Limit = DEFAULT_LIMIT
    cursor: Annotated[str, Field(pattern=CURSOR_PATTERN, description="taken from the address in next")] | None = None


class Event(CountryRef):
    """One event as its source reports it."""

    event_id: str = described("id in the source")
    date_start: str
    date_end: str | None
    date_prec: int | None = described("precision of the date: 1 (the day) to 5 (not even the month)")
    type_of_violence: str | None = described("state_based, non_state or one_sided")
    side_a: str | None
    side_b: str | None
    deaths: int = described("best estimate [deaths]")
    deaths_low: int | None = described("lower estimate [deaths]")
    deaths_high: int | None = described("higher estimate [deaths]")
    deaths_civilians: int | None = described("civilians among them [deaths]")
    latitude: float | None = described("[degrees, WGS 84]")
    longitude: float | None = described("[degrees, WGS 84]")
    where_prec: int | None = described("precision of the place: 1 (the place) to 7 (international waters or air)")
    adm_1: str | None = described("first-order administrative unit")
    flags: list[str] = described("oddities of the event, and why a value is null: no_coordinates, no_adm_1, …")


class EventSource(Schema):
    """A source of events, and its terms."""

    source: str
    release: str | None
    known_since: str = described("when the release was published, or else ingested")
    licence: str
    licence_url: str
    attribution: str = described("how to cite the source")


class EventCoverage(Schema):
    """The months of a country that the events cover. Outside of them nothing is known."""

    location_code: str
    first: str
    last: str


class EventsResponse(Page):
    """Events, newest first."""

    data: list[Event]
    sources: list[EventSource]
    coverage: list[EventCoverage]


@endpoint(
    resource,
    "/v1/events",
    "List the events whose sources allow redistribution, newest first",
    EventsResponse,
    query=EventsQuery,
    formats=[as_csv(listed, list(Event.model_fields))],
    problems=(*NO_SNAPSHOT_PROBLEMS, "unknown-country"),
)
def events(query: EventsQuery) -> Payload:
    """Return a page of the events of the region or of one country."""
    with request_session() as session:
        view = session.served()
        _check(session, query)
        event_list = _event_list(session)
        rows = session.connection.execute(_select(session, query)).all() if event_list else []
        rows, last = split_page(list(rows), query.limit)
        names = {iso3: geography.country(iso3).name() for iso3 in {row.location_code for row in rows}}
        about: dict[str, Any] = event_list or {"sources": [], "coverage": []}
        return {
            "data": [_entry(row, names[row.location_code]) for row in rows],
            "next": next_address(f"{last.date_start}.{last.event_id}" if last else None),
            **about,
            **snapshot_view.meta(view, reasons={} if about["sources"] else {"sources": "no_open_source"}),
        }


def _check(session: ReadSession, query: EventsQuery) -> None:
    members = geography.region(session.settings.region).members
    if query.iso3 is not None and query.iso3 not in members:
        raise Problem("unknown-country", location_code=query.iso3)
    if query.from_ and query.to and query.from_ > query.to:
        raise Problem("bad-query", parameter="to", rule="not before from")


def _event_list(session: ReadSession) -> dict[str, Any] | None:
    """Return the sources and the coverage of the stored events; None if there are none of the data in service."""
    in_realm = (event_lists.c.region == session.settings.region) & (event_lists.c.simulated == bool(session.simulated))
    document: dict[str, Any] | None = session.connection.scalar(sa.select(event_lists.c.document).where(in_realm))
    return document


def _select(session: ReadSession, query: EventsQuery) -> sa.Select[Any]:
    """Select one row more than the page has, to see whether there is a next page."""
    selected = sa.select(table).where(table.c.region == session.settings.region)
    if query.iso3:
        selected = selected.where(table.c.location_code == query.iso3)
    if query.from_:
        selected = selected.where(table.c.date_start >= query.from_.isoformat())
    if query.to:
        selected = selected.where(table.c.date_start <= query.to.isoformat())
    if query.cursor:
        selected = selected.where(sa.tuple_(table.c.date_start, table.c.event_id) < tuple(query.cursor.split(".", 1)))
    return selected.order_by(table.c.date_start.desc(), table.c.event_id.desc()).limit(query.limit + 1)


def _entry(row: sa.Row[Any], country_name: str) -> dict[str, Any]:
    values = {column: value for column, value in row._mapping.items() if column not in ("region", SEAL)}
    return {**values, "location_name": country_name, "flags": row.flags.split()}
