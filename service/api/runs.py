"""Runs: what the scheduler did and when, newest first; one run with the snapshot it made or found unchanged; and what
differs between the snapshots of two.
"""

from typing import Any, Literal

import sqlalchemy as sa
from flask import Blueprint

from service.api.openapi import Payload, offers
from service.api.paging import Paged, address, page
from service.api.schemas import Called, Meta, Page, Said, Texts, key
from service.api.tabular import as_csv, listed
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import diff as snapshot_diff
from service.snapshots import read_model, snapshot_cache, snapshot_view
from service.snapshots.snapshot_cache import Snapshot
from service.store.tables import runs as table

resource = Blueprint("runs", __name__)


class Run(Said):
    """One computation."""

    id: int
    region: str
    started_at: str
    finished_at: str | None
    status: Literal["running", "snapshot", "unchanged", "failed", "withdrawal"]
    input_digest: str | None
    snapshot_id: int | None = key("the snapshot that it made or found unchanged")
    error: str | None


class Runs(Page):
    """Computations, newest first."""

    data: list[Run]


class RunWhole(Run):
    """One computation with its snapshot."""

    snapshot: dict[str, Any] | None = key("the document that digest is the digest of")
    reasons: dict[str, str]


class OneRun(Meta):
    """One computation with its snapshot."""

    data: RunWhole


class Ingest(Said):
    """A file that came in."""

    id: str
    source: str
    release: str | None
    file: str
    known_since: str
    simulated: bool


class Side(Said):
    """One of the two runs, and its snapshot."""

    run: int
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


class CountryDiff(Called):
    """One country before and after."""

    risk_score_before: float | None
    risk_score_after: float | None
    risk_score_difference: float | None = key("in points")
    band_before: str | None
    band_after: str | None
    escalation_probability_before: float | None
    escalation_probability_after: float | None
    escalation_probability_difference: float | None
    expected_deaths_before: float | None
    expected_deaths_after: float | None
    expected_deaths_difference: float | None
    reasons: dict[str, str]


class Ingests(Said):
    """Which files one snapshot was made from and the other was not."""

    added: list[Ingest]
    removed: list[Ingest]


class Diff(Meta):
    """What differs from one run's snapshot to the other's."""

    data: list[CountryDiff]
    before: Side
    after: Side
    differs: list[str] = key("what is not the same: origin, data, model, vigie, bands, outcome")
    ingests: Ingests
    split: Texts = key("how to split each change by its causes")


INT = "int(max=2147483647)"


@offers(
    resource,
    "/v1/runs",
    "The computations, newest first",
    Runs,
    asks=Paged,
    forms=[as_csv(listed, list(Run.model_fields))],
    leads_to={"runs.run": {"number": "/data/0/id"}, "runs.diff": {"a": "/data/0/id", "b": "/data/0/id"}},
)
def runs(asked: Paged) -> Payload:
    """A page of them."""
    with request_session() as session:
        ours = sa.select(table).where(table.c.region == session.settings.region, table.c.id < asked.before)
        found = session.connection.execute(ours.order_by(table.c.id.desc()).limit(asked.limit + 1)).all()
        rows, last = page(list(found), asked.limit)
        return {
            "data": [read_model.run_entry(row) for row in rows],
            "next": address(str(last.id) if last else None),
            **session.meta(session.find_served()),
        }


@offers(
    resource,
    f"/v1/runs/<{INT}:number>",
    "One computation, with its snapshot whole",
    OneRun,
    problems=("unknown-run",),
)
def run(number: int) -> Payload:
    """One run, with its snapshot whole unless that is simulated and retired."""
    with request_session() as session:
        row = _run(session, number)
        kept, reason = _snapshot(session, row)
        then = snapshot_view.next_run_at(session.connection, session.settings)
        served = snapshot_view.view_of(kept, session.settings, session.now, then) if kept else None
        entry = read_model.run_entry(row)
        entry["snapshot"] = served.document if served else None
        entry["reasons"] = {"snapshot": reason} if reason else {}
        return {"data": entry, **session.meta(served)}


@offers(
    resource,
    f"/v1/runs/<{INT}:a>/diff/<{INT}:b>",
    "What differs between the snapshots of two computations",
    Diff,
    forms=[as_csv(listed, list(CountryDiff.model_fields))],
    problems=("unknown-run", "run-without-snapshot", "incomparable-runs"),
)
def diff(a: int, b: int) -> Payload:
    """From the documents alone; the meta is that of the second."""
    with request_session() as session:
        (one, before), (other, after) = (_with_snapshot(session, number) for number in (a, b))
        if before.document["outcome"] != after.document["outcome"]:
            raise Problem("incomparable-runs")
        then = snapshot_view.next_run_at(session.connection, session.settings)
        served = snapshot_view.view_of(after, session.settings, session.now, then)
        return {**snapshot_diff.between(one.id, before, other.id, after), **snapshot_view.meta(served)}


def _run(session: ReadSession, number: int) -> sa.Row[Any]:
    found = sa.select(table).where(table.c.id == number, table.c.region == session.settings.region)
    row = session.connection.execute(found).one_or_none()
    if row is None:
        raise Problem("unknown-run", run=number)
    return row


def _snapshot(session: ReadSession, row: sa.Row[Any]) -> tuple[Snapshot | None, str | None]:
    """The snapshot of a run, or why it is not shown."""
    kept = snapshot_cache.snapshot(session.connection, row.snapshot_id)
    if kept is None:
        return None, "no_snapshot"
    if kept.simulated != session.simulated:
        return None, "retired_simulated" if kept.simulated else "no_data"
    return kept, None


def _with_snapshot(session: ReadSession, number: int) -> tuple[sa.Row[Any], Snapshot]:
    row = _run(session, number)
    kept, reason = _snapshot(session, row)
    if kept is None:
        raise Problem("run-without-snapshot", run=number, reason=reason)
    return row, kept
