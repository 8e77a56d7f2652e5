"""Runs at `/v1/runs`: the operator's log of recomputes, newest first, each with the snapshot it issued or confirmed."""

from typing import Literal

import sqlalchemy as sa
from flask import Blueprint

from service.api.endpoints import Payload, endpoint
from service.api.paging import PageQuery, next_address, split_page
from service.api.shared_schemas import Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.request_context import request_session
from service.snapshots import read_model
from service.store.tables import runs as table

resource = Blueprint("runs", __name__)


class Run(Schema):
    """One recompute, or the withdrawal of a snapshot."""

    id: int
    region: str
    started_at: str
    finished_at: str | None
    status: Literal["running", "snapshot", "unchanged", "withdrawn_input", "failed", "withdrawal"]
    input_digest: str | None
    snapshot_id: int | None = described("the snapshot in service after the run")
    error: str | None


class RunsResponse(Page):
    """Recomputes, newest first."""

    data: list[Run]


@endpoint(
    resource,
    "/v1/runs",
    "List the recomputes, newest first",
    RunsResponse,
    query=PageQuery,
    formats=[as_csv(listed, list(Run.model_fields))],
)
def runs(query: PageQuery) -> Payload:
    """Return a page of the region's runs."""
    with request_session() as session:
        of_region = sa.select(table).where(table.c.region == session.settings.region, table.c.id < query.before)
        rows = session.connection.execute(of_region.order_by(table.c.id.desc()).limit(query.limit + 1)).all()
        page, last = split_page(list(rows), query.limit)
        return {
            "data": [read_model.run_entry(row) for row in page],
            "next": next_address(str(last.id) if last else None),
            **session.meta(session.find_served()),
        }
