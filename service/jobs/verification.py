"""Verification: score each issued forecast against its outcome, once the outcome is complete.

Every snapshot is scored, withdrawn ones too; which of them count is decided in `scorecard_build`. A stored score never
changes. If the number of deaths is revised, a new row has the new score; other data with the same number add no row.
Only snapshots of the archive's kind of data, real or simulated, are scored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from filelock import FileLock

from riskmodel.errors import Refused
from riskmodel.events.archive import Archive
from service.jobs import alert_records, draws, hindcast_scorecard, scorecard_build
from service.jobs.forecast_scores import Cell, CompleteOutcomes, CountryAtIssue, cells_with_outcome, score
from service.jobs.scorecard_build import SnapshotFacts
from service.store.context import Context
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import forecasts, snapshots, verifications


@dataclass(frozen=True)
class VerificationResult:
    """Result of one verification: how many forecasts were scored, and how many of them because of a revised outcome.

    `hindcast_scorecards` is how many scorecards of hindcasts were computed.
    """

    scored: int
    revised: int
    hindcast_scorecards: int = 0

    def summary(self) -> str:
        """Return one line for the log."""
        issued = f"{self.scored:,} forecasts scored, {self.revised:,} of them because their outcome was revised"
        if not self.scored:
            issued = "no forecast to score: no outcome is new or revised"
        if not self.hindcast_scorecards:
            return issued
        return f"{issued}; scorecards of hindcasts computed: {self.hindcast_scorecards}"


def verify(context: Context, fence: Fence | None = None) -> VerificationResult:
    """Score the forecasts with a new or revised outcome; update the scorecards and the records of alert rules.

    A verification that was stopped is continued by the next one. `fence` is that of the scheduler's job run, if this is
    one: raises Superseded once another process has the lease. Raises Refused, after all other forecasts are scored, if
    stored draws were altered.
    """
    home, store, clock = context.home, context.store, context.clock
    view = Archive(home.archive).view()
    view.verify()
    home.root.mkdir(parents=True, exist_ok=True)
    with FileLock(home.root / "verify.lock"):
        with store.reading() as connection:
            facts = scorecard_build.read_facts(connection)
        issued = [snapshot for snapshot in facts if view.ingests and snapshot.simulated == view.simulated]
        outcomes = {
            outcome: CompleteOutcomes.of(view, outcome) for outcome in sorted({each.outcome for each in issued})
        }
        scored = revised = 0
        unreadable: list[str] = []
        for snapshot in issued:
            rows, errors = _missing_rows(store, snapshot, outcomes[snapshot.outcome], view.digest, clock())
            unreadable += errors
            if rows:
                with store.writing() as connection:
                    check(connection, fence)
                    connection.execute(sa.insert(verifications), rows)
            scored, revised = scored + len(rows), revised + sum(row["revision"] > 0 for row in rows)
        incomplete = {outcome: complete.incomplete_months() for outcome, complete in outcomes.items()}
        scorecard_build.update_scorecards(store, issued, incomplete, clock(), fence)
        hindcast_scorecards = hindcast_scorecard.update(context, view, fence) if view.ingests else 0
        if view.ingests:
            alert_records.update(context, view, fence)
    if unreadable:
        raise Refused(f"{len(unreadable)} forecasts could not be scored: {unreadable[0]}")
    return VerificationResult(scored, revised, hindcast_scorecards)


def _missing_rows(
    store: Store, snapshot: SnapshotFacts, outcomes: CompleteOutcomes, data_digest: str, now: datetime
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows that a snapshot's forecasts lack, and an error for each file that cannot be read."""
    with store.reading() as connection:
        of_snapshot = (forecasts.c.snapshot_id == snapshot.id) & (forecasts.c.outcome == snapshot.outcome)
        files = sa.select(forecasts.c.forecaster, forecasts.c.location_code).where(of_snapshot)
        missing = _missing_cells(
            connection, snapshot, connection.execute(files.order_by(*files.selected_columns)), outcomes
        )
        if not missing:
            return [], []
        stored_document = sa.select(snapshots.c.document).where(snapshots.c.id == snapshot.id)
        part = connection.execute(stored_document).scalar_one()["outcomes"][snapshot.outcome]
        rows, errors = [], []
        for (forecaster, iso3), cells in missing.items():
            of_file = of_snapshot & (forecasts.c.forecaster == forecaster) & (forecasts.c.location_code == iso3)
            parquet = connection.execute(sa.select(forecasts.c.parquet).where(of_file)).scalar_one()
            name = f"snapshot {snapshot.id}, {snapshot.outcome}, {forecaster}, {iso3}"
            try:
                deaths = draws.read(parquet, part["forecasts"][forecaster][iso3], name)
            except Refused as altered:
                errors.append(str(altered))
                continue
            except KeyError:
                errors.append(f"{name} is not in the snapshot")
                continue
            observed_cells = [(cell, observed) for cell, _, observed in cells]
            scored = score(deaths, observed_cells, CountryAtIssue.of(part, iso3), forecaster)
            for (cell, revision, observed), scores in zip(cells, scored, strict=True):
                rows.append(
                    {
                        "snapshot_id": snapshot.id,
                        "outcome": snapshot.outcome,
                        "forecaster": forecaster,
                        "location_code": iso3,
                        "lead": cell.lead,
                        "months": cell.months,
                        "revision": revision,
                        "month": str(snapshot.origin + cell.lead),
                        "observed": observed,
                        "data_digest": data_digest,
                        "at": now,
                        "scores": scores,
                    }
                )
        return rows, errors


def _missing_cells(
    connection: sa.Connection,
    snapshot: SnapshotFacts,
    files: Iterable[sa.Row[Any]],
    outcomes: CompleteOutcomes,
) -> dict[tuple[str, str], list[tuple[Cell, int, int]]]:
    """Return, by forecaster and country, the cells without a row for their outcome: cell, revision, deaths."""
    stored = _stored_outcomes(connection, snapshot)
    missing: dict[tuple[str, str], list[tuple[Cell, int, int]]] = {}
    for file in files:
        forecaster, iso3 = file.forecaster, file.location_code
        for cell, observed in cells_with_outcome(snapshot.id, snapshot.origin, iso3, outcomes):
            revision, scored_with = stored.get((forecaster, cell), (-1, None))
            if scored_with != observed:
                missing.setdefault((forecaster, iso3), []).append((cell, revision + 1, observed))
    return missing


def _stored_outcomes(connection: sa.Connection, snapshot: SnapshotFacts) -> dict[tuple[str, Cell], tuple[int, int]]:
    """Return the last revision of each scored cell of a snapshot, and the deaths that it was scored with."""
    v = verifications.c
    rows = sa.select(v.forecaster, v.location_code, v.lead, v.months, v.revision, v.observed)
    of_snapshot = rows.where(v.snapshot_id == snapshot.id, v.outcome == snapshot.outcome).order_by(v.revision)
    return {
        (row.forecaster, Cell(snapshot.id, row.location_code, row.lead, row.months)): (row.revision, row.observed)
        for row in connection.execute(of_snapshot)
    }
