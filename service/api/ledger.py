"""The ledger at `/v1/ledger`: the chain of all that was issued, so that anybody can keep its head elsewhere."""

from typing import Annotated

from flask import Blueprint
from pydantic import Field

from service.api.openapi import GREATEST, WHOLE, Asked, Payload, offers
from service.api.paging import USUAL, Limit
from service.api.schemas import Page, Said, key
from service.api.tabular import as_csv, listed
from service.http.request_context import request_session
from service.snapshots import ledger

resource = Blueprint("ledger", __name__)


class LedgerAsked(Asked):
    """Which page of the chain."""

    limit: Limit = USUAL
    before: Annotated[int, Field(ge=1, le=GREATEST), WHOLE] | None = Field(
        default=None, description="only snapshots with a number below this"
    )


class Entry(Said):
    """A snapshot in the chain."""

    id: int
    region: str
    simulated: bool
    issued_at: str
    digest: str = key("SHA-256 of its document")
    previous_digest: str | None = key("of the snapshot before it; null: the first")
    withdrawn: bool
    withdrawn_at: str | None
    withdrawn_reason: str | None


class Ledger(Page):
    """The chain of all snapshots, of both realms and every region."""

    data: list[Entry]


@offers(
    resource,
    "/v1/ledger",
    "The chain of all snapshots, newest first",
    Ledger,
    asks=LedgerAsked,
    forms=[as_csv(listed, list(Entry.model_fields))],
)
def chain(asked: LedgerAsked) -> Payload:
    """The newest entries, or those before one."""
    with request_session() as session:
        entries = ledger.entries(session.connection, asked.before, asked.limit)
        more = bool(entries) and entries[-1]["id"] > 1
        limited = "" if asked.limit == USUAL else f"&limit={asked.limit}"
        further = f"/v1/ledger?before={entries[-1]['id']}{limited}" if more else None
        return {"data": entries, "next": further, **session.meta(session.find_served())}
