"""Snapshots: the list at `/v1/snapshots`, one with its document, and the differences between two.

Only snapshots of the kind of data in service are here: once real data are in, simulated snapshots are retired.
"""

from typing import Any

from flask import Blueprint

from service.api.endpoints import OutcomeQuery, Payload, endpoint
from service.api.paging import PageQuery, next_address, split_page
from service.api.shared_schemas import CountryRef, LocalizedText, Meta, Page, Schema, described
from service.api.tabular import as_csv, listed
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import diff as snapshot_diff
from service.snapshots import history, snapshot_cache, snapshot_view
from service.snapshots.outcome_parts import OutcomeMissing
from service.snapshots.snapshot_cache import Snapshot
from service.snapshots.snapshot_view import SnapshotView
from service.store.values import instant

resource = Blueprint("snapshots", __name__)

NUMBER_CONVERTER = "int(max=2147483647)"
"""A number above PostgreSQL's `integer` matches no address, so it is a plain 404."""


class SnapshotsQuery(PageQuery, OutcomeQuery):
    """A page of the snapshots, of all or of those with an outcome."""


class SnapshotEntry(Schema):
    """One snapshot."""

    snapshot_id: int
    issued_at: str
    outcome: str = described("the outcome whose origin and model are given")
    outcomes: list[str] = described("the outcomes of the snapshot, the headline first")
    origin: str = described("the last month of the data used, YYYY-MM")
    data_as_of: str = described("the last day of the data used")
    model_id: str
    digest: str = described("SHA-256 of its document")
    withdrawn_at: str | None = described("when it was withdrawn; it is no longer valid")
    withdrawn_reason: str | None


class SnapshotsResponse(Page):
    """Snapshots, newest first."""

    data: list[SnapshotEntry]


class SnapshotDetail(SnapshotEntry):
    """One snapshot with its document."""

    document: dict[str, Any] = described("the document as it was issued; digest is its SHA-256")


class SnapshotResponse(Meta):
    """One snapshot with its document."""

    data: SnapshotDetail


class DiffIngest(Schema):
    """An ingested file."""

    id: str
    source: str
    release: str | None
    file: str
    known_since: str
    simulated: bool


class DiffSide(Schema):
    """One of the two snapshots."""

    snapshot_id: int
    digest: str
    issued_at: str
    origin: str
    data_as_of: str
    source: str
    data_digest: str
    model_id: str
    model_digest: str
    vigie: str | None
    withdrawn_at: str | None


class CountryDiff(CountryRef):
    """The scores of one country in both snapshots."""

    risk_score_before: float | None
    risk_score_after: float | None
    risk_score_difference: float | None = described("[points]")
    band_before: str | None
    band_after: str | None
    escalation_probability_before: float | None
    escalation_probability_after: float | None
    escalation_probability_difference: float | None
    expected_deaths_before: float | None
    expected_deaths_after: float | None
    expected_deaths_difference: float | None
    reasons: dict[str, str]


class IngestsDiff(Schema):
    """The ingested files that only one of the two snapshots was made from."""

    added: list[DiffIngest]
    removed: list[DiffIngest]


class SnapshotDiffResponse(Meta):
    """The differences from one snapshot to another."""

    data: list[CountryDiff]
    before: DiffSide
    after: DiffSide
    differs: list[str] = described("what is different: origin, data, model, vigie or bands")
    ingests: IngestsDiff
    attribution: LocalizedText = described("how to split each difference by its causes")


@endpoint(
    resource,
    "/v1/snapshots",
    "List the snapshots, newest first",
    SnapshotsResponse,
    query=SnapshotsQuery,
    problems=("no-outcome",),
    formats=[as_csv(listed, list(SnapshotEntry.model_fields))],
    links={
        "snapshots.snapshot": {"number": "/data/0/snapshot_id"},
        "snapshots.diff": {"a": "/data/0/snapshot_id", "b": "/data/0/snapshot_id"},
    },
)
def snapshots(query: SnapshotsQuery) -> Payload:
    """Return a page of the snapshots of the region, withdrawn ones too."""
    with request_session() as session:
        view = session.find_served(query.outcome)
        region, simulated = session.settings.region, bool(session.simulated)
        entries = history.entries(session.connection, region, simulated, query.limit + 1, query.before, query.outcome)
        page, last = split_page(entries, query.limit)
        return {
            "data": page,
            "next": next_address(str(last["snapshot_id"]) if last else None),
            **session.meta(view),
        }


@endpoint(
    resource,
    f"/v1/snapshots/<{NUMBER_CONVERTER}:number>",
    "Get one snapshot with its document",
    SnapshotResponse,
    query=OutcomeQuery,
    problems=("no-data", "unknown-snapshot", "retired-snapshot", "no-outcome"),
)
def snapshot(query: OutcomeQuery, number: int) -> Payload:
    """Return a snapshot, withdrawn or not. The shared keys are those of this snapshot."""
    with request_session() as session:
        found = _find(session, number)
        view = _view(session, found, query.outcome)
        data = {
            "snapshot_id": found.id,
            **{name: view.document[name] for name in ("issued_at", "outcome", "origin", "data_as_of")},
            "outcomes": view.document["available_outcomes"],
            "model_id": view.document["model"]["id"],
            "digest": found.digest,
            "withdrawn_at": instant(found.withdrawn_at),
            "withdrawn_reason": found.withdrawn_reason,
            "document": found.document,
        }
        return {"data": data, **snapshot_view.meta(view)}


@endpoint(
    resource,
    f"/v1/snapshots/<{NUMBER_CONVERTER}:a>/diff/<{NUMBER_CONVERTER}:b>",
    "Compare two snapshots",
    SnapshotDiffResponse,
    formats=[as_csv(listed, list(CountryDiff.model_fields))],
    query=OutcomeQuery,
    problems=("no-data", "unknown-snapshot", "retired-snapshot", "no-outcome", "incomparable-snapshots"),
)
def diff(query: OutcomeQuery, a: int, b: int) -> Payload:
    """Return the differences from snapshot `a` to snapshot `b`. The shared keys are those of `b`."""
    with request_session() as session:
        before, after = _find(session, a), _find(session, b)
        view = _view(session, after, query.outcome)
        try:
            differences = snapshot_diff.between(before, after, view.document["outcome"])
        except OutcomeMissing:
            if query.outcome:
                raise
            raise Problem("incomparable-snapshots") from None
        return {**differences, **snapshot_view.meta(view)}


def _find(session: ReadSession, number: int) -> Snapshot:
    """Return a snapshot of the region and of the kind of data in service. Raises Problem."""
    if session.simulated is None:
        raise Problem("no-data")
    found = snapshot_cache.snapshot(session.connection, number)
    if found is None or found.region != session.settings.region:
        raise Problem("unknown-snapshot", snapshot_id=number)
    if found.simulated != session.simulated:
        raise Problem("retired-snapshot", snapshot_id=number)
    return found


def _view(session: ReadSession, snapshot: Snapshot, outcome: str | None) -> SnapshotView:
    next_run_at = snapshot_view.next_run_at(session.connection, session.settings)
    return snapshot_view.view_of(snapshot, session.settings, session.now, next_run_at, outcome)
