"""Runs: what the scheduler did and when, newest first, and one run with the snapshot it made or found unchanged."""

import sqlalchemy as sa
from flask import Blueprint, Response, jsonify

from service import payloads
from service.api.problems import Problem
from service.api.reading import Reading, reading
from service.store.tables import runs as table
from service.store.tables import snapshots

resource = Blueprint("runs", __name__)

NEWEST = 100


@resource.get("/v1/runs")
def runs() -> Response:
    """The newest runs."""
    with reading() as sight:
        ours = sa.select(table).where(table.c.region == sight.settings.region)
        newest = sight.connection.execute(ours.order_by(table.c.id.desc()).limit(NEWEST))
        entries = [payloads.run_entry(row) for row in newest]
        return jsonify({"data": entries, **_meta(sight, sight.find())})


@resource.get("/v1/runs/<int(max=2147483647):number>")
def run(number: int) -> Response:
    """One run, with its snapshot whole unless that is simulated and retired."""
    with reading() as sight:
        found = sa.select(table).where(table.c.id == number, table.c.region == sight.settings.region)
        row = sight.connection.execute(found).one_or_none()
        if row is None:
            raise Problem("unknown-run", run=number)
        kept = sight.connection.execute(sa.select(snapshots).where(snapshots.c.id == row.snapshot_id)).one_or_none()
        then = payloads.next_run_at(sight.connection, sight.settings)
        entry = payloads.run_entry(row)
        if kept is None:
            served, reason = None, "no_snapshot"
        elif kept.simulated != sight.simulated:
            served, reason = None, "retired_simulated" if kept.simulated else "no_data"
        else:
            served, reason = payloads.standing(kept, sight.settings, sight.now, then), None
        entry["snapshot"] = served.document if served else None
        entry["reasons"] = {"snapshot": reason} if reason else {}
        return jsonify({"data": entry, **_meta(sight, served)})


def _meta(sight: Reading, served: payloads.Served | None) -> dict[str, object]:
    if served is not None:
        return payloads.meta(served)
    then = payloads.next_run_at(sight.connection, sight.settings)
    return payloads.no_meta(sight.settings, then, simulated=sight.simulated)
