"""A page of a country's history: the histories of scores and of signals share it."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from riskmodel import geography
from service.api.endpoints import Payload
from service.api.paging import DEFAULT_LIMIT, Limit, next_address, split_page
from service.api.shared_schemas import Basis, CountryRef, DataBasis, described
from service.api.tasks import AsOfQuery
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import score_history, snapshot_view
from service.snapshots.score_history import CountryKey


class HistoryPoint(CountryRef):
    """What each entry of a history says of the snapshot or hindcast that it is from."""

    outcome: str
    basis: Basis = described("issued in a snapshot, or of a hindcast")
    data_basis: DataBasis = described("the figures that the forecast starts from")
    snapshot_id: int | None
    issued_at: str | None
    origin: str
    withdrawn_at: str | None = described("when the snapshot was withdrawn; it is no longer valid")
    withdrawn_reason: str | None
    reasons: dict[str, str]


class HistoryQuery(AsOfQuery):
    """A page of a history, which may end at a past moment."""

    limit: Limit = DEFAULT_LIMIT
    cursor: (
        Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}\.[0-9]{1,9}$", description="taken from the address in next")]
        | None
    ) = None


def history_payload(query: HistoryQuery, iso3: str, values: Sequence[str]) -> Payload:
    """Return a page of some values of a country. Raises Problem for a country outside the region."""
    with request_session() as session:
        view, until = session.served(outcome=query.outcome), None
        if not any(row["location_code"] == iso3 for row in view.document["countries"]):
            raise Problem("unknown-country", location_code=iso3)
        if query.as_of is not None:
            until = session.parse_as_of(query.as_of)
            view = session.stored_at(until, query.outcome)
        key = CountryKey(session.settings.region, bool(session.simulated), view.document["outcome"], iso3)
        before = score_history.position(query.cursor) if query.cursor else score_history.END
        rows = score_history.entries(session.connection, key, before, query.limit + 1, until, values)
        entries, last = split_page(rows, query.limit)
        name = geography.country(iso3).name()
        return {
            "data": [{"location_name": name, **entry} for entry in entries],
            "next": next_address(score_history.cursor(last) if last else None),
            **snapshot_view.meta(view, iso3),
        }
