"""Events at `/v1/events`: those behind the scores whose sources allow handing them on, with their terms.

They are rows that a recompute left in the store; the archive itself is not read here.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from flask import Blueprint
from pydantic import Field

from riskmodel import geography
from service.api.openapi import UNSERVED, Asked, Day, Iso3, Payload, offers
from service.api.paging import USUAL, Limit, address, page
from service.api.schemas import Called, Page, Said, key
from service.api.tabular import as_csv, listed
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import snapshot_view
from service.store.tables import event_lists
from service.store.tables import events as table

resource = Blueprint("events", __name__)

CURSOR = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\.[0-9A-Za-z_-]{1,32}$"


class EventsAsked(Asked):
    """Which country, which days, which page."""

    iso3: Iso3 | None = Field(default=None, description="one country of the region")
    from_: Day | None = Field(default=None, alias="from", description="events that began on this day or later")
    to: Day | None = Field(default=None, description="events that began on this day or earlier")
    limit: Limit = USUAL
    cursor: Annotated[str, Field(pattern=CURSOR, description="from the address under next")] | None = None


class Event(Called):
    """One event, as its source tells it."""

    event_id: str = key("the source's own")
    date_start: str
    date_end: str | None
    date_prec: int | None = key("how well it is dated: 1 (the day) to 5 (no single month)")
    type_of_violence: str | None = key("state_based, non_state or one_sided")
    side_a: str | None
    side_b: str | None
    deaths: int = key("best estimate [deaths]")
    deaths_low: int | None
    deaths_high: int | None
    deaths_civilians: int | None
    latitude: float | None = key("[degrees, WGS 84]")
    longitude: float | None = key("[degrees, WGS 84]")
    where_prec: int | None = key("how well it is placed: 1 (the place) to 7 (international waters or air)")
    adm_1: str | None = key("first-order unit")
    flags: list[str] = key("what is odd about it, and why a value is null: no_coordinates, no_adm_1, …")


class EventSource(Said):
    """Whose events, and on which terms."""

    source: str
    release: str | None
    known_since: str = key("when it was published, or came in")
    licence: str
    licence_url: str
    attribution: str = key("how to cite it")


class Covered(Said):
    """A country's months that these events speak for: none in one of them means none is known, else nothing is."""

    location_code: str
    first: str
    last: str


class Events(Page):
    """Events, newest first."""

    data: list[Event]
    sources: list[EventSource]
    covers: list[Covered]


@offers(
    resource,
    "/v1/events",
    "Events whose sources allow handing them on, newest first",
    Events,
    asks=EventsAsked,
    forms=[as_csv(listed, list(Event.model_fields))],
    problems=UNSERVED,
)
def events(asked: EventsAsked) -> Payload:
    """A page of the region's events, or of one country's."""
    with request_session() as session:
        served = session.served()
        _check(session, asked)
        listing = _listing(session)
        rows = session.connection.execute(_wanted(session, asked)).all() if listing else []
        rows, last = page(list(rows), asked.limit)
        names = {iso3: geography.country(iso3).name() for iso3 in {row.location_code for row in rows}}
        told: dict[str, Any] = listing or {"sources": [], "covers": []}
        return {
            "data": [_told(row, names[row.location_code]) for row in rows],
            "next": address(f"{last.date_start}.{last.event_id}" if last else None),
            **told,
            **snapshot_view.meta(served, reasons={} if told["sources"] else {"sources": "no_open_source"}),
        }


def _check(session: ReadSession, asked: EventsAsked) -> None:
    members = geography.region(session.settings.region).members
    if asked.iso3 is not None and asked.iso3 not in members:
        raise Problem("unknown-country", location_code=asked.iso3)
    if asked.from_ and asked.to and asked.from_ > asked.to:
        raise Problem("bad-query", parameter="to", rule="not before from")


def _listing(session: ReadSession) -> dict[str, Any] | None:
    """Whose events are kept and what they cover; None where there are none of the realm in service."""
    of_region = (event_lists.c.region == session.settings.region) & (event_lists.c.simulated == bool(session.simulated))
    found: dict[str, Any] | None = session.connection.scalar(sa.select(event_lists.c.document).where(of_region))
    return found


def _wanted(session: ReadSession, asked: EventsAsked) -> sa.Select[Any]:
    wanted = sa.select(table).where(table.c.region == session.settings.region)
    if asked.iso3:
        wanted = wanted.where(table.c.location_code == asked.iso3)
    if asked.from_:
        wanted = wanted.where(table.c.date_start >= asked.from_.isoformat())
    if asked.to:
        wanted = wanted.where(table.c.date_start <= asked.to.isoformat())
    if asked.cursor:
        wanted = wanted.where(sa.tuple_(table.c.date_start, table.c.event_id) < tuple(asked.cursor.split(".", 1)))
    return wanted.order_by(table.c.date_start.desc(), table.c.event_id.desc()).limit(asked.limit + 1)


def _told(row: sa.Row[Any], name: str) -> dict[str, Any]:
    kept = {column: value for column, value in row._mapping.items() if column != "region"}
    return {**kept, "location_name": name, "flags": row.flags.split()}
