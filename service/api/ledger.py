"""The ledger at `/v1/ledger`: the chain of all issued snapshots, so that others can store its newest digest."""

from typing import Annotated

from flask import Blueprint
from pydantic import Field

from service.api.endpoints import IN_DIGITS, MAX_NUMBER, Payload, Query, endpoint
from service.api.paging import DEFAULT_LIMIT, Limit
from service.api.shared_schemas import Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.links import link
from service.http.request_context import request_session
from service.snapshots import ledger as snapshot_ledger

resource = Blueprint("ledger", __name__)


class LedgerQuery(Query):
    """A page of the chain."""

    limit: Limit = DEFAULT_LIMIT
    before: Annotated[int, Field(ge=1, le=MAX_NUMBER), IN_DIGITS] | None = Field(
        default=None, description="only snapshots with a number below this"
    )


class LedgerEntry(Schema):
    """A snapshot in the chain."""

    id: int
    region: str
    simulated: bool
    issued_at: str
    digest: str = described("SHA-256 of its document")
    previous_digest: str | None = described("digest of the snapshot before it; null for the first")
    withdrawn: bool
    withdrawn_at: str | None
    withdrawn_reason: str | None


class LedgerResponse(Page):
    """The chain of all snapshots: real and simulated, of every region."""

    data: list[LedgerEntry]


@endpoint(
    resource,
    "/v1/ledger",
    "List the chain of all snapshots, newest first",
    LedgerResponse,
    query=LedgerQuery,
    formats=[as_csv(listed, list(LedgerEntry.model_fields))],
)
def ledger(query: LedgerQuery) -> Payload:
    """Return the newest entries, or those before one."""
    with request_session() as session:
        entries = snapshot_ledger.entries(session.connection, query.before, query.limit)
        # Snapshots are numbered from 1 without gaps, so a page that ends above 1 has a next one.
        more = bool(entries) and entries[-1]["id"] > 1
        limit = "" if query.limit == DEFAULT_LIMIT else f"&limit={query.limit}"
        following = link(f"/v1/ledger?before={entries[-1]['id']}{limit}") if more else None
        return {"data": entries, "next": following, **session.meta(session.find_served())}
