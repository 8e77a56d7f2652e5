"""Store hindcasts: read the files that `vigie hindcast` has written, and replace the rows of older ones.

Hindcasts never enter the chain of snapshots. An outcome's rows are replaced in one transaction, so that a reader never
sees two editions together.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel import __version__, hindcasts
from riskmodel.bands import band_of
from riskmodel.errors import Refused
from riskmodel.events import manifest
from riskmodel.hindcasts import Hindcast
from riskmodel.outcomes import OUTCOMES
from service.jobs import snapshot_chain
from service.jobs.public_errors import without_home
from service.snapshots import change_feed, history
from service.store import tables
from service.store.context import Context
from service.store.leases import Fence, check
from service.store.values import canonical

FILE_ONLY_KEYS = ("escalation_h24",)
"""The keys of a country in a file that are not served: the scorecard reads them from the file."""

REALM_KEY = ("region", "simulated", "outcome")

log = logging.getLogger("vigie.hindcast")


@dataclass(frozen=True)
class StoreResult:
    """Result of storing: the number of hindcasts of each outcome, and how many rows were new or changed."""

    hindcasts: Mapping[str, int]
    changed: int

    def summary(self) -> str:
        """Return one line for the log."""
        counts = ", ".join(f"{count} of {outcome}" for outcome, count in self.hindcasts.items()) or "none"
        return f"hindcasts stored: {counts}; {self.changed} new or changed"


def store(context: Context, fence: Fence | None = None) -> StoreResult:
    """Store the hindcasts of the settings' region for the kind of data in service.

    Raises Refused where there is no snapshot, and, after storing all others, for files that are damaged. Raises
    Superseded, and writes nothing more, once another process has the lease.
    """
    region, simulated = context.settings.region, manifest.realm(context.home.archive) == "simulated"
    stored: dict[str, int] = {}
    changed, damaged = 0, []
    for outcome in OUTCOMES:
        found, refused = _read(context, simulated=simulated, outcome=outcome)
        damaged += refused
        newest = max(found, key=lambda each: each.computed_at, default=None)
        current = [each for each in found if newest and each.edition == newest.edition]
        if not current:
            continue
        with context.store.writing() as connection:
            check(connection, fence)
            snapshot = snapshot_chain.in_service(connection, region, simulated=simulated)
            if snapshot is None:
                raise Refused("hindcasts stand beside a snapshot, and there is none: run vigie recompute")
            if outcome not in snapshot.document["outcomes"]:
                continue
            shared = {
                "bands": context.settings.bands,
                "licence": snapshot.document["licence"],
                "source": snapshot.document["outcomes"][outcome]["source"],
                "signals_note": snapshot.document["outcomes"][outcome]["signals_note"],
                "vigie": __version__,
            }
            rows = [_row(each, shared) for each in current]
            new = _replace(connection, rows)
            if new:
                origins = [row["origin"] for row in rows]
                facts = {"origins": len(origins), "first_origin": min(origins), "last_origin": max(origins)}
                change_feed.hindcasts_stored(
                    connection,
                    region,
                    simulated=simulated,
                    outcome=outcome,
                    snapshot_id=snapshot.id,
                    facts=facts,
                    at=context.clock(),
                )
        stored[outcome], changed = len(rows), changed + new
    if damaged:
        more = f" ({len(damaged)} files in all)" if len(damaged) > 1 else ""
        raise Refused(f"{damaged[0]}{more}")
    return StoreResult(stored, changed)


def _read(context: Context, *, simulated: bool, outcome: str) -> tuple[list[Hindcast], list[str]]:
    """Return the hindcasts of an outcome, and what is wrong with the files that cannot be read."""
    found, refused = [], []
    paths = hindcasts.stored(context.home, context.settings.region, simulated=simulated, outcome=outcome)
    for path in paths.values():
        try:
            found.append(hindcasts.load(path))
        except Refused as damaged:
            refused.append(without_home(str(damaged), context.home))
            log.error("%s", refused[-1])
    return found, refused


def _row(hindcast: Hindcast, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `hindcasts`. The bands are those of the settings, not those of the file."""
    bands = shared["bands"]
    countries = [
        {
            **{key: value for key, value in country.items() if key not in FILE_ONLY_KEYS},
            "band": None if country["risk_score"] is None else band_of(country["risk_score"], bands),
        }
        for country in hindcast.countries
    ]
    document = {**shared, "model": hindcast.model, "data_digest": hindcast.data_digest, "countries": countries}
    return {
        "region": hindcast.region,
        "simulated": hindcast.simulated,
        "outcome": hindcast.outcome,
        "origin": str(hindcast.origin),
        "data_basis": hindcast.data_basis,
        "model_origin": str(hindcast.model_origin),
        "edition": hindcast.edition,
        "computed_at": datetime.fromisoformat(hindcast.computed_at),
        "digest": hashlib.sha256(canonical(document).encode()).hexdigest(),
        "document": document,
    }


def _replace(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Replace the rows of an outcome. Return how many were new, changed or deleted."""
    table, children = tables.hindcasts, tables.hindcast_scores

    def in_realm(of: sa.Table) -> sa.ColumnElement[bool]:
        return sa.and_(*(of.c[name] == rows[0][name] for name in REALM_KEY))

    stored = sa.select(table.c.origin, table.c.edition, table.c.digest).where(in_realm(table))
    before = {row.origin: (row.edition, row.digest) for row in connection.execute(stored)}
    new = [row for row in rows if before.get(row["origin"]) != (row["edition"], row["digest"])]
    unchanged = {row["origin"] for row in rows} - {row["origin"] for row in new}
    gone = set(before) - unchanged
    for old in (children, table):
        connection.execute(sa.delete(old).where(in_realm(old), old.c.origin.in_(gone)))
    if new:
        connection.execute(sa.insert(table), new)
        connection.execute(sa.insert(children), [_score_row(row, each) for row in new for each in _countries(row)])
    return len(gone | {row["origin"] for row in new})


def _countries(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    countries: list[dict[str, Any]] = row["document"]["countries"]
    return countries


def _score_row(row: Mapping[str, Any], country: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in (*REALM_KEY, "origin")},
        "location_code": country["location_code"],
        **history.values_of(country),
        "reasons": history.reasons_of(country),
    }
