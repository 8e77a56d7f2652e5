"""Verification: score each issued forecast against its outcome, once the outcome is complete.

Every snapshot is scored, withdrawn ones too; which of them count is decided in `scorecard_build`. A stored score never
changes. If the number of deaths is revised, a new row has the new score; other data with the same number add no row.
Only snapshots of the archive's kind of data, real or simulated, are scored.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from filelock import FileLock
from numpy.typing import NDArray

from riskmodel import scoring
from riskmodel.errors import Refused
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.forecasting.forecast import SERVED_LEADS
from riskmodel.months import Month, Months
from riskmodel.reporting.release_class import FINAL, release_classes
from riskmodel.targets import HORIZON, RUNGS, escalation_threshold
from service.jobs import draws, scorecard_build
from service.jobs.scorecard_build import Cell, SnapshotFacts
from service.store.context import Context
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import forecasts, snapshots, verifications

ACTIVE_MONTHS = 12
"""A country is active at an origin if it had deaths in one of this many months up to the origin."""


@dataclass(frozen=True)
class VerificationResult:
    """Result of one verification: how many forecasts were scored, and how many of them because of a revised outcome."""

    scored: int
    revised: int

    def summary(self) -> str:
        """Return one line for the log."""
        if not self.scored:
            return "no forecast to score: no outcome is new or revised"
        return f"{self.scored:,} forecasts scored, {self.revised:,} of them because their outcome was revised"


@dataclass(frozen=True)
class CompleteOutcomes:
    """The deaths of complete months. `deaths` has shape (country, month) [deaths]; NaN is unknown or incomplete.

    `incomplete` has the same shape: the months that are covered and not complete yet.
    """

    iso3: tuple[str, ...]
    months: Months
    deaths: NDArray[np.float64]
    incomplete: NDArray[np.bool_]

    @classmethod
    def of(cls, view: View, outcome: str) -> "CompleteOutcomes":
        """Return the settled outcomes of a view.

        An outcome is settled from the first final GED on, whatever its number: were an outcome settled as soon as it is
        unlikely to change, quiet months would be scored a year before violent ones, and the scorecard would flatter.
        """
        observed = view.outcomes()
        deaths = observed.deaths[outcome]
        known = ~np.isnan(deaths)
        complete = known & (release_classes(view, outcome) >= FINAL)
        return cls(observed.iso3, observed.months, np.where(complete, deaths, np.nan), known & ~complete)

    def total(self, iso3: str, first: Month, last: Month) -> int | None:
        """Return the deaths of a country from month `first` to month `last`; None unless all are complete."""
        if iso3 not in self.iso3 or not self.months.size or first < self.months[0] or last > self.months[-1]:
            return None
        start = int((first - self.months[0]).astype(int))
        stop = start + int((last - first).astype(int)) + 1
        deaths = self.deaths[self.iso3.index(iso3), start:stop].sum()
        return None if np.isnan(deaths) else int(deaths)

    def incomplete_months(self) -> dict[str, list[str]]:
        """Return the incomplete months of each country that has any."""
        return {
            iso3: [str(month) for month in self.months[row]]
            for iso3, row in zip(self.iso3, self.incomplete, strict=True)
            if row.any()
        }


def verify(context: Context, fence: Fence | None = None) -> VerificationResult:
    """Score the forecasts with a new or revised outcome, and update the scorecards.

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
    if unreadable:
        raise Refused(f"{len(unreadable)} forecasts could not be scored: {unreadable[0]}")
    return VerificationResult(scored, revised)


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
            country = CountryAtIssue.of(part, iso3)
            for cell, revision, observed in cells:
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
                        "scores": score(deaths, cell, observed, country, forecaster),
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
        for cell, observed in _cell_outcomes(snapshot, iso3, outcomes):
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


def _cell_outcomes(snapshot: SnapshotFacts, iso3: str, outcomes: CompleteOutcomes) -> Iterator[tuple[Cell, int]]:
    """Yield the cells of a country whose outcome is complete, with their deaths."""
    for lead, months in [*((lead, 1) for lead in range(1, SERVED_LEADS + 1)), (HORIZON, HORIZON)]:
        observed = outcomes.total(iso3, snapshot.origin + lead - months + 1, snapshot.origin + lead)
        if observed is not None:
            yield Cell(snapshot.id, iso3, lead, months), observed


@dataclass(frozen=True)
class CountryAtIssue:
    """What a snapshot says of a country for one outcome, as far as it is needed to score the forecasts.

    `escalation_threshold` is the number of deaths in three months that counts as an escalation; NaN if the last three
    months were not all known. `escalation_probabilities` are those that a model issued, by its id: they may differ from
    those of its draws. `escalation_h24` is the probability by the rule h24.
    """

    active: bool
    escalation_threshold: float
    escalation_probabilities: Mapping[str, float | None]
    escalation_h24: float | None

    @classmethod
    def of(cls, part: Mapping[str, Any], iso3: str) -> "CountryAtIssue":
        """Read it from the outcome's part of a snapshot's document.

        Escalation is relative to the expected deaths, as when it was issued.
        """
        country = next(country for country in part["countries"] if country["location_code"] == iso3)
        observed: list[int | None] = [month["deaths"] for month in country["observed"]]
        last = [month.get("expected_final", month["deaths"]) for month in country["observed"]][-HORIZON:]
        probabilities = {part["model"]["id"]: country["escalation_probability"]}
        if challenger := part["shadow"]:
            by_country = challenger["escalation_probability"] or {}
            probabilities[challenger["model_id"]] = by_country.get(iso3)
        return cls(
            active=any(deaths for deaths in observed[-ACTIVE_MONTHS:]),
            escalation_threshold=float(escalation_threshold(np.rint(np.array(last, dtype=np.float64)))),
            escalation_probabilities=probabilities,
            escalation_h24=part["escalation_h24"].get(iso3),
        )


def score(
    draws_by_lead: NDArray[np.int32], cell: Cell, observed: int, country: CountryAtIssue, forecaster: str
) -> dict[str, Any]:
    """Return all scores of one forecast, given its draws, shape (lead, draw) [deaths], and its outcome [deaths].

    `pit` is randomised. Its random number depends only on cell and forecaster, so that it is always the same.
    `within_50` and `within_90` are how much of the outcome the intervals contain, as in back-tests.
    """
    drawn = draws_by_lead[cell.lead - cell.months : cell.lead].sum(axis=0)
    below, up_to = float((drawn < observed).mean()), float((drawn <= observed).mean())
    seed = hashlib.sha256("/".join(map(str, (forecaster, *cell))).encode()).digest()
    probabilities = (drawn >= np.array(RUNGS)[:, None]).mean(axis=1)
    outcome = np.array(observed)
    scores: dict[str, Any] = {
        "crps": float(scoring.crps(drawn, outcome)),
        "log_crps": float(scoring.log_crps(drawn, outcome)),
        "ign": float(scoring.ignorance(drawn, outcome)),
        "mis": float(scoring.interval_score(drawn, outcome)),
        "within_50": float(scoring.interval_coverage(np.array(below), np.array(up_to), 0.5)),
        "within_90": float(scoring.interval_coverage(np.array(below), np.array(up_to), 0.9)),
        "pit": below + (up_to - below) * int.from_bytes(seed[:6]) / 2**48,
        "probabilities": {str(rung): float(p) for rung, p in zip(RUNGS, probabilities, strict=True)},
        "active": country.active,
    }
    threshold = country.escalation_threshold
    if cell.months == HORIZON and not np.isnan(threshold):
        from_draws = round(float((drawn >= threshold).mean()), 4)
        probability = country.escalation_probabilities.get(forecaster, from_draws)
        if probability is not None:
            scores["escalation"] = {
                "threshold": int(threshold),
                "observed": observed >= threshold,
                "h24": country.escalation_h24,
                "probability": probability,
            }
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in scores.items()}
