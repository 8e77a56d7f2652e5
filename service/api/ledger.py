"""The ledger at `/v1/ledger`: the chain of all issued snapshots, so that others can store its newest digest."""

from typing import Annotated
from urllib.parse import urlencode

from flask import Blueprint
from pydantic import Field

from service.api.endpoints import IN_DIGITS, MAX_NUMBER, OutcomeQuery, Payload, endpoint
from service.api.paging import DEFAULT_LIMIT, Limit, split_page
from service.api.shared_schemas import Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.links import link
from service.http.request_context import request_session
from service.snapshots import ledger as snapshot_ledger

resource = Blueprint("ledger", __name__)


class LedgerQuery(OutcomeQuery):
    """A page of the chain, of all snapshots or of those with an outcome."""

    limit: Limit = DEFAULT_LIMIT
    before: Annotated[int, Field(ge=1, le=MAX_NUMBER), IN_DIGITS] | None = Field(
        default=None, description="only snapshots with a number below this"
    )


class LedgerEntry(Schema):
    """A snapshot in the chain."""

    id: int
    region: str
    simulated: bool
    outcomes: list[str] = described("the outcomes of the snapshot, the headline first")
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
    problems=("no-outcome",),
)
def ledger(query: LedgerQuery) -> Payload:
    """Return the newest entries, or those before one."""
    with request_session() as session:
        view = session.find_served(query.outcome)
        entries = snapshot_ledger.entries(session.connection, query.before, query.limit + 1, query.outcome)
        page, last = split_page(entries, query.limit)
        same = query.model_dump(exclude_defaults=True, exclude={"before"})
        following = link(f"/v1/ledger?{urlencode({'before': last['id']} | same)}") if last else None
        return {"data": page, "next": following, **session.meta(view)}
