"""Verification: each forecast that was issued is held against what came, when that is complete.

Every snapshot is scored, withdrawn ones too: what counts is another question, which `tally` answers. A row is never
changed: where the number of deaths that came is another than in the row before, a new one says so; other data that say
the same number make none. Only snapshots of the archive's realm are looked at. It runs in a child process.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from filelock import FileLock
from numpy.typing import NDArray

from riskmodel import scoring as scoring
from riskmodel.errors import Refused
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.forecasting.forecast import SERVED_LEADS
from riskmodel.home import Home
from riskmodel.months import Month, Months
from riskmodel.reporting.completeness import estimate_completeness
from riskmodel.targets import BATTLE_DEATHS, HORIZON, RUNGS
from service.jobs import draws, scorecard_build
from service.jobs.scorecard_build import Cell, SnapshotFacts
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import forecasts, snapshots, verifications

COMPLETE = 0.9
"""A month is complete when so much of its deaths is reported, as far as vintages tell. What comes later revises it."""

ACTIVE = 12
"""A country is active at an origin if somebody died in so many months up to it [months]."""


@dataclass(frozen=True)
class Verified:
    """What a run came to: rows written, of them of a revised outcome; files that could not be read."""

    scored: int
    revised: int
    unreadable: tuple[str, ...]

    @property
    def said(self) -> str:
        """In words."""
        if not self.scored:
            return "no forecast is to be scored: no outcome has come or changed"
        return f"{self.scored:,} forecasts scored, {self.revised:,} of them anew because their outcome was revised"


@dataclass(frozen=True)
class Came:
    """What came, as an archive says: `deaths` of shape (country, month) [deaths], NaN where that is not complete.

    `open` are months of a country that are covered and not complete yet.
    """

    iso3: tuple[str, ...]
    months: Months
    deaths: NDArray[np.float64]
    open: NDArray[np.bool_]

    def of(self, iso3: str, first: Month, last: Month) -> int | None:
        """The deaths of a country from one month to another, both included; None unless all are complete."""
        if iso3 not in self.iso3 or not self.months.size or first < self.months[0] or last > self.months[-1]:
            return None
        start = int((first - self.months[0]).astype(int))
        total = self.deaths[self.iso3.index(iso3), start : start + int((last - first).astype(int)) + 1].sum()
        return None if np.isnan(total) else int(total)


def came(view: View, outcome: str) -> Came:
    """What a view says of outcomes that are complete.

    A month is complete when so much of it is reported (`COMPLETE`), by the country's completeness; where that is
    unknown, as of a table that nobody has earlier versions of, when it is old enough to be final. What is simulated is
    never revised, and complete when it is there.
    """
    observed = view.outcomes()
    deaths = observed.deaths[outcome]
    known = ~np.isnan(deaths)
    done = (
        known
        if view.simulated
        else known & (estimate_completeness(view, outcome).share_of_deaths(observed) >= COMPLETE)
    )
    return Came(observed.iso3, observed.months, np.where(done, deaths, np.nan), known & ~done)


def verify(home: Home, store: Store, clock: Callable[[], datetime], fence: Fence | None = None) -> Verified:
    """Score what is due and bring the scorecards up to date; one that was stopped goes on the next time.

    `fence` is the scheduler's turn, if this is one: raises Superseded once another has it. Raises Refused, when all
    else is done, where draws were altered since they were issued.
    """
    view = Archive(home.archive).view()
    view.verify()
    home.root.mkdir(parents=True, exist_ok=True)
    with FileLock(home.root / "verify.lock"):
        with store.reading() as connection:
            issued = [
                fact for fact in scorecard_build.facts(connection) if view.ingests and fact.simulated == view.simulated
            ]
        outcomes = {outcome: came(view, outcome) for outcome in sorted({fact.outcome for fact in issued})}
        scored = revised = 0
        unreadable: list[str] = []
        for fact in issued:
            rows, wrong = _due(store, fact, outcomes[fact.outcome], view.digest, clock())
            unreadable += wrong
            if rows:
                with store.writing() as connection:
                    check(connection, fence)
                    connection.execute(sa.insert(verifications), rows)
            scored, revised = scored + len(rows), revised + sum(row["revision"] > 0 for row in rows)
        covered = {name: _open(found) for name, found in outcomes.items()}
        scorecard_build.bring_up_to_date(store, issued, covered, clock(), fence)
    if unreadable:
        raise Refused(f"{len(unreadable)} forecasts could not be scored: {unreadable[0]}")
    return Verified(scored, revised, tuple(unreadable))


def _open(found: Came) -> dict[str, list[str]]:
    """The months of each country that are covered and not complete."""
    return {
        iso3: [str(when) for when in found.months[row]]
        for iso3, row in zip(found.iso3, found.open, strict=True)
        if row.any()
    }


def _due(
    store: Store, fact: SnapshotFacts, found: Came, data_digest: str, now: datetime
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that a snapshot's forecasts lack, and what could not be read."""
    with store.reading() as connection:
        listed = sa.select(forecasts.c.forecaster, forecasts.c.location_code).where(forecasts.c.snapshot_id == fact.id)
        files = connection.execute(listed.order_by(*listed.selected_columns)).all()
        known = _known(connection, fact.id)
        outcomes = dict(_outcomes(fact, {file.location_code for file in files}, found))
        lacking: dict[tuple[str, str], list[tuple[Cell, int]]] = {}
        for file in files:
            for cell, deaths in outcomes.items():
                if cell.location_code == file.location_code:
                    revision, before = known.get((file.forecaster, cell), (-1, None))
                    if before != deaths:
                        lacking.setdefault(tuple(file), []).append((cell, revision + 1))
        if not lacking:
            return [], []
        document = connection.execute(sa.select(snapshots.c.document).where(snapshots.c.id == fact.id)).scalar_one()
        rows, unreadable = [], []
        for (forecaster, iso3), cells in lacking.items():
            of_file = (forecasts.c.forecaster == forecaster) & (forecasts.c.location_code == iso3)
            content = sa.select(forecasts.c.parquet).where(forecasts.c.snapshot_id == fact.id, of_file)
            whose = f"snapshot {fact.id}, {forecaster}, {iso3}"
            try:
                digest = document["forecasts"][forecaster][iso3]
                said = draws.read(connection.execute(content).scalar_one(), digest, whose)
            except (Refused, KeyError) as altered:
                unreadable.append(str(altered) if isinstance(altered, Refused) else f"{whose} is not in the snapshot")
                continue
            past = Past.of(document, iso3)
            for cell, revision in cells:
                deaths = outcomes[cell]
                rows.append(
                    {
                        "snapshot_id": fact.id,
                        "forecaster": forecaster,
                        "location_code": iso3,
                        "lead": cell.lead,
                        "months": cell.months,
                        "revision": revision,
                        "month": str(fact.origin + cell.lead),
                        "observed": deaths,
                        "data_digest": data_digest,
                        "at": now,
                        "scores": scores(said, cell, deaths, past, forecaster),
                    }
                )
        return rows, unreadable


def _known(connection: sa.Connection, snapshot_id: int) -> dict[tuple[str, Cell], tuple[int, int]]:
    """The last revision of each of a snapshot's cells, and the deaths it was of."""
    v = verifications.c
    rows = sa.select(v.forecaster, v.location_code, v.lead, v.months, v.revision, v.observed)
    of_snapshot = rows.where(v.snapshot_id == snapshot_id).order_by(v.revision)
    return {
        (row.forecaster, Cell(snapshot_id, row.location_code, row.lead, row.months)): (row.revision, row.observed)
        for row in connection.execute(of_snapshot)
    }


def _outcomes(fact: SnapshotFacts, members: set[str], found: Came) -> Iterator[tuple[Cell, int]]:
    """What came of each cell that is complete."""
    cells = [(lead, 1) for lead in range(1, SERVED_LEADS + 1)] + [(HORIZON, HORIZON)]
    for iso3 in sorted(members):
        for lead, months in cells:
            deaths = found.of(iso3, fact.origin + lead - months + 1, fact.origin + lead)
            if deaths is not None:
                yield Cell(fact.id, iso3, lead, months), deaths


@dataclass(frozen=True)
class Past:
    """What a snapshot knew of a country: whether it was active, and from how many deaths in three months it escalates.

    `threshold` is None where the last three months were not all known. `escalating` is the probability of escalation
    that a model issued, by its id: it need not be what its draws imply. `rule` is that of the rule h24.
    """

    active: bool
    threshold: int | None
    escalating: Mapping[str, float | None]
    rule: float | None

    @classmethod
    def of(cls, document: Mapping[str, Any], iso3: str) -> "Past":
        """As the snapshot told it: an escalation is measured from what was expected of its months in the end."""
        row = next(country for country in document["countries"] if country["location_code"] == iso3)
        expected = {told["month"]: told["expected"] for told in row["nowcast"]}
        seen: list[int | None] = [told["deaths"] for told in row["observed"]]
        last = [expected.get(told["month"], told["deaths"]) for told in row["observed"][-HORIZON:]]
        threshold = None if None in last else max(BATTLE_DEATHS, 2 * sum(last))
        escalating = {document["model"]["id"]: row["escalation_probability"]}
        if shadow := document["shadow"]:
            escalating[shadow["model_id"]] = (shadow["escalation_probability"] or {}).get(iso3)
        rule = document["escalation_h24"].get(iso3)
        return cls(any(deaths for deaths in seen[-ACTIVE:]), threshold, escalating, rule)


def scores(said: NDArray[np.int32], cell: Cell, deaths: int, past: Past, forecaster: str) -> dict[str, Any]:
    """All that is to be said of one forecast, draws of shape (lead, draw) [deaths], once `deaths` have come.

    `pit` is randomised by a number that hangs on the cell and the forecaster alone, so that it is always the same;
    `within_50` and `within_90` are the parts of the outcome that the intervals held, as back-tests have them.
    """
    drawn = said[cell.lead - cell.months : cell.lead].sum(axis=0)
    below, upto = float((drawn < deaths).mean()), float((drawn <= deaths).mean())
    seed = hashlib.sha256("/".join(map(str, (forecaster, *cell))).encode()).digest()
    chance = (drawn >= np.array(RUNGS)[:, None]).mean(axis=1)
    found: dict[str, Any] = {
        "crps": float(scoring.crps(drawn, np.array(deaths))),
        "log_crps": float(scoring.log_crps(drawn, np.array(deaths))),
        "ign": float(scoring.ignorance(drawn, np.array(deaths))),
        "mis": float(scoring.interval_score(drawn, np.array(deaths))),
        "within_50": float(scoring.interval_coverage(np.array(below), np.array(upto), 0.5)),
        "within_90": float(scoring.interval_coverage(np.array(below), np.array(upto), 0.9)),
        "pit": below + (upto - below) * int.from_bytes(seed[:6]) / 2**48,
        "probabilities": {str(rung): float(p) for rung, p in zip(RUNGS, chance, strict=True)},
        "active": past.active,
    }
    if cell.months == HORIZON and past.threshold is not None:
        implied = round(float((drawn >= past.threshold).mean()), 4)
        chance_of_it = past.escalating.get(forecaster, implied)
        told = {"threshold": past.threshold, "observed": deaths >= past.threshold, "h24": past.rule}
        if chance_of_it is not None:
            found["escalation"] = {**told, "probability": chance_of_it}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in found.items()}
