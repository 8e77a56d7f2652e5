"""Build the scorecard from the verifications: choose which forecasts count, and summarise their scores.

For each origin, the first snapshot that was issued counts: a later one knew more. If it was withdrawn before any of its
forecasts was scored, the next one of its origin counts instead. A snapshot that was withdrawn later still counts. A
month counts if neither the model nor an earlier snapshot had seen it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa

from riskmodel import geography, scoring
from riskmodel.months import Month, month
from riskmodel.outcomes import OUTCOMES
from riskmodel.targets import BATTLE_DEATHS, HORIZON, RUNGS
from service.jobs.forecast_scores import Cell
from service.snapshots.scorecard import (
    EMPTY_SCORECARD,
    ISSUED,
    MIN_COUNTRIES,
    MIN_MONTHS,
    SERVED_FORECASTER,
)
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import changes, forecasts, scorecards, snapshots, verifications

LOSSES = ("crps", "log_crps", "ign", "mis", "brier_25")

LEAD_GROUPS = ((1, 3), (4, 6), (7, 12))
"""First and last lead of the groups that are summarised together [months]."""

CLASSES = 10
"""The number of classes of the reliability table and of the PIT histogram."""


@dataclass(frozen=True)
class SnapshotFacts:
    """What verification needs to know about one outcome of a snapshot, read without the rest of its document."""

    id: int
    region: str
    simulated: bool
    outcome: str
    origin: Month
    model_origin: Month
    challenger_origin: Month | None
    withdrawn_at: datetime | None


@dataclass(frozen=True)
class ScoredForecast:
    """The scores of a forecast of one cell, and its outcome [deaths]."""

    month: str
    observed: int
    scores: Mapping[str, Any]

    def loss(self, name: str) -> float:
        """Return a loss by its name in `LOSSES`."""
        if name != "brier_25":
            return float(self.scores[name])
        return float((self.scores["probabilities"][str(BATTLE_DEATHS)] - (self.observed >= BATTLE_DEATHS)) ** 2)


ScoredCells = Mapping[Cell, ScoredForecast]


@dataclass
class CountedForecasts:
    """The scored forecasts that count. `served` are those of whichever model was in service."""

    served: dict[Cell, ScoredForecast] = field(default_factory=dict)
    baselines: dict[str, dict[Cell, ScoredForecast]] = field(default_factory=dict)
    challengers: dict[str, dict[Cell, ScoredForecast]] = field(default_factory=dict)


def read_facts(connection: sa.Connection) -> list[SnapshotFacts]:
    """Return the facts of all outcomes of all snapshots with stored draws, oldest first."""
    text = snapshots.c.document
    document: Any = sa.type_coerce(text, sa.JSON) if connection.dialect.name == "sqlite" else sa.cast(text, sa.JSON)
    origins = {"origin": ("origin",), "model_origin": ("model", "origin"), "challenger_origin": ("shadow", "origin")}
    query = sa.select(
        *(snapshots.c[name] for name in ("id", "region", "simulated", "withdrawn_at")),
        *(
            document[("outcomes", outcome, *path)].as_string().label(f"{outcome}_{name}")
            for outcome in OUTCOMES
            for name, path in origins.items()
        ),
    ).where(sa.exists().where(forecasts.c.snapshot_id == snapshots.c.id))
    facts = []
    for row in connection.execute(query.order_by(snapshots.c.id)).mappings():
        for outcome in OUTCOMES:
            months = {name: row[f"{outcome}_{name}"] for name in origins}
            if months["origin"] is None:
                continue
            facts.append(
                SnapshotFacts(
                    id=row["id"],
                    region=row["region"],
                    simulated=row["simulated"],
                    outcome=outcome,
                    origin=month(months["origin"]),
                    model_origin=month(months["model_origin"]),
                    challenger_origin=month(months["challenger_origin"]) if months["challenger_origin"] else None,
                    withdrawn_at=row["withdrawn_at"],
                )
            )
    return facts


def counting_snapshots(issued: Sequence[SnapshotFacts], first_scored: Mapping[int, datetime]) -> dict[int, Month]:
    """Return the snapshots that count, each with the last month that was seen when it was issued.

    `issued` are those of one region, outcome and kind of data, oldest first. `first_scored` is when the first forecast
    of a snapshot was scored.
    """
    counting: dict[int, Month] = {}
    origins: list[Month] = []
    for facts in issued:
        withdrawn_at = facts.withdrawn_at
        if withdrawn_at is not None and not first_scored.get(facts.id, withdrawn_at) < withdrawn_at:
            continue
        if facts.origin not in origins:
            counting[facts.id] = max([facts.model_origin, facts.origin, *origins])
        origins.append(facts.origin)
    return counting


def update_scorecards(
    store: Store,
    issued: Sequence[SnapshotFacts],
    incomplete: Mapping[str, Mapping[str, list[str]]],
    now: datetime,
    fence: Fence | None = None,
) -> None:
    """Write the scorecards that have changed. `incomplete` are the incomplete months by outcome and country.

    Raises Superseded if another process has the lease of `fence`.
    """

    def group_key(facts: SnapshotFacts) -> tuple[str, bool, str]:
        return facts.region, facts.simulated, facts.outcome

    for (region, simulated, outcome), group in groupby(sorted(issued, key=group_key), key=group_key):
        of_group = list(group)
        key = {"region": region, "simulated": simulated, "outcome": outcome}
        with store.writing() as connection:
            check(connection, fence)
            document = build_scorecard(_counted(connection, of_group)) | {
                "incomplete": _awaited_months(of_group, connection, incomplete[outcome])
            }
            write_scorecard(connection, {**key, "basis": ISSUED}, document, of_group[-1].id, now)


def write_scorecard(
    connection: sa.Connection,
    key: Mapping[str, Any],
    document: Mapping[str, Any],
    snapshot_id: int,
    now: datetime,
    input_digest: str | None = None,
) -> None:
    """Write a scorecard unless the newest of its key is the same, and record the change.

    `key` has region, simulated, outcome and basis. `snapshot_id` is the snapshot that the change is recorded with.
    """
    c = scorecards.c
    same_key = [c[name] == value for name, value in key.items()]
    row = connection.execute(sa.select(c.id, c.document).where(*same_key).order_by(c.id.desc()).limit(1)).first()
    if row and row.document == document:
        connection.execute(sa.update(scorecards).where(c.id == row.id).values(input_digest=input_digest))
        return
    values = {**key, "input_digest": input_digest, "at": now, "document": document}
    connection.execute(sa.insert(scorecards).values(values))
    facts = {name: document[name] for name in ("cases", "last_month")} | {"basis": key["basis"]}
    realm = {name: key[name] for name in ("region", "simulated", "outcome")}
    change = {"at": now, "kind": "scorecard", **realm, "document": facts, "snapshot_id": snapshot_id}
    connection.execute(sa.insert(changes).values(change))


def _counted(connection: sa.Connection, issued: Sequence[SnapshotFacts]) -> CountedForecasts:
    """Return the forecasts that count of one region, outcome and kind of data; each cell with its last revision."""
    v, f, outcome = verifications.c, forecasts.c, issued[0].outcome
    first = sa.select(v.snapshot_id, sa.func.min(v.at)).where(v.outcome == outcome).group_by(v.snapshot_id)
    counting = counting_snapshots(issued, {row[0]: row[1] for row in connection.execute(first)})
    challenger_origins = {facts.id: facts.challenger_origin for facts in issued}
    key = ("snapshot_id", "outcome", "forecaster", "location_code")
    same = sa.and_(v.outcome == outcome, *(v[name] == f[name] for name in key))
    columns = (v.snapshot_id, v.location_code, v.lead, v.months, v.month, v.observed, v.scores, v.forecaster, f.role)
    rows = sa.select(*columns).join(forecasts, same).where(v.snapshot_id.in_(counting)).order_by(v.revision, v.id)
    counted = CountedForecasts()
    for row in connection.execute(rows):
        first_month = month(row.month) - row.months + 1
        if first_month <= counting[row.snapshot_id]:
            continue
        cell = Cell(row.snapshot_id, row.location_code, row.lead, row.months)
        if row.role == "served":
            cells = counted.served
        elif row.role == "baseline":
            cells = counted.baselines.setdefault(row.forecaster, {})
        else:
            seen_until = challenger_origins[row.snapshot_id]
            if seen_until is None or first_month <= seen_until:
                continue
            cells = counted.challengers.setdefault(row.forecaster, {})
        cells[cell] = ScoredForecast(row.month, row.observed, row.scores)
    return counted


def _awaited_months(
    issued: Sequence[SnapshotFacts], connection: sa.Connection, incomplete: Mapping[str, list[str]]
) -> list[dict[str, Any]]:
    """Return the incomplete months that forecasts exist for, by country."""
    of_group = forecasts.c.snapshot_id.in_([facts.id for facts in issued]) & (forecasts.c.outcome == issued[0].outcome)
    members = connection.scalars(sa.select(forecasts.c.location_code).distinct().where(of_group)).all()
    first = str(min(facts.origin for facts in issued) + 1)
    awaited = {iso3: [m for m in incomplete.get(iso3, ()) if m >= first] for iso3 in sorted(members)}
    return [{"location_code": iso3, "months": months} for iso3, months in awaited.items() if months]


def build_scorecard(counted: CountedForecasts) -> dict[str, Any]:
    """Summarise the forecasts that count, ready for JSON; `EMPTY_SCORECARD` if there are none yet."""
    if not counted.served:
        return dict(EMPTY_SCORECARD)
    months = sorted({scored.month for cell, scored in counted.served.items() if cell.months == 1})
    by_forecaster: dict[str, ScoredCells] = {SERVED_FORECASTER: counted.served}
    by_forecaster |= {name: counted.baselines[name] for name in sorted(counted.baselines)}

    def summaries(cells: Iterable[Cell]) -> list[dict[str, Any]]:
        wanted = set(cells)
        return [
            _summary(name, {cell: scored for cell, scored in of.items() if cell in wanted})
            for name, of in by_forecaster.items()
        ]

    countries = sorted({cell.location_code for cell in counted.served})
    return {
        "cases": sum(cell.months == 1 for cell in counted.served),
        "origins": len({cell.forecast_id for cell in counted.served}),
        "first_month": months[0] if months else None,
        "last_month": months[-1] if months else None,
        "forecasters": summaries(counted.served),
        "lead_groups": [
            {"first_lead": first, "last_lead": last, "forecasters": summaries(cells)}
            for first, last in LEAD_GROUPS
            if (cells := [cell for cell in counted.served if first <= cell.lead <= last])
        ],
        "countries": [
            {
                "location_code": iso3,
                "location_name": geography.country(iso3).name(),
                "forecasters": summaries(cell for cell in counted.served if cell.location_code == iso3),
            }
            for iso3 in countries
        ],
        "differences": [
            difference
            for name in sorted(counted.baselines)
            for difference in _differences(SERVED_FORECASTER, counted.served, name, counted.baselines[name])
        ],
        "challengers": [_challenger(name, counted.challengers[name], counted) for name in sorted(counted.challengers)],
        "reliability": {
            "month_25": _reliability(_rung_probabilities(counted.served, 1, (BATTLE_DEATHS,))),
            "three_months": _reliability(_rung_probabilities(counted.served, HORIZON, RUNGS)),
        },
        "pit": {
            "all": _pit(s for c, s in counted.served.items() if c.months == 1),
            "active": _pit(s for c, s in counted.served.items() if c.months == 1 and s.scores["active"]),
        },
    }


def _summary(name: str, cells: ScoredCells) -> dict[str, Any]:
    """Return a forecaster's mean losses, its coverage, and its three-month scores; null with a reason if unknown."""
    single = [scored for cell, scored in cells.items() if cell.months == 1]
    sums = [scored for cell, scored in cells.items() if cell.months == HORIZON]
    active = [scored for scored in single if scored.scores["active"]]
    reasons = {} if active else {"coverage": "no_active_country"}
    if not sums:
        reasons["three_months"] = "no_outcome_yet"
    if not single:
        reasons["scores"] = "no_outcome_yet"
    return {
        "forecaster": name,
        "cases": len(single),
        "scores": {loss: _mean(scored.loss(loss) for scored in single) for loss in LOSSES} if single else None,
        "coverage": {
            "cases": len(active),
            **{part: _mean(scored.scores[part] for scored in active) for part in ("within_50", "within_90")},
        }
        if active
        else None,
        "three_months": {
            "cases": len(sums),
            "brier_rungs": _mean((p - event) ** 2 for p, event in _rung_probabilities(cells, HORIZON, RUNGS)),
            "escalation": _escalation([s.scores["escalation"] for s in sums if "escalation" in s.scores]),
        }
        if sums
        else None,
        "reasons": reasons,
    }


def _escalation(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the scores of escalation probabilities, and of those of the rule h24, whose probability may be unknown."""
    return {
        "cases": len(cases),
        "observed": sum(case["observed"] for case in cases),
        "brier": _mean((case["probability"] - case["observed"]) ** 2 for case in cases),
        "brier_h24": _mean((case["h24"] - case["observed"]) ** 2 for case in cases if case["h24"] is not None),
    }


def _challenger(name: str, cells: ScoredCells, counted: CountedForecasts) -> dict[str, Any]:
    """Compare a challenger with what was served, on the cells that both have."""
    served = {cell: scored for cell, scored in counted.served.items() if cell in cells}
    challenger = {cell: scored for cell, scored in cells.items() if cell in served}
    return {
        "model_id": name,
        "forecasters": [_summary(name, challenger), _summary(SERVED_FORECASTER, served)],
        "differences": _differences(name, challenger, SERVED_FORECASTER, served),
    }


def _differences(name: str, cells: ScoredCells, against: str, other: ScoredCells) -> list[dict[str, Any]]:
    """Return a forecaster's losses relative to another's on single months, each with an interval or a reason."""
    in_both = [cell for cell in cells if cell.months == 1 and cell in other]
    countries = sorted({cell.location_code for cell in in_both})
    months = len({cells[cell].month for cell in in_both})
    sizes = {"cases": len(in_both), "months": months, "countries": len(countries)}

    def total_losses(of: ScoredCells, loss: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([[sum(of[c].loss(loss) for c in in_both if c.location_code == iso3)] for iso3 in countries])

    differences = []
    for loss in LOSSES:
        entry: dict[str, Any] = {"forecaster": name, "against": against, "score": loss, **sizes}
        entry |= {"value": None, "low": None, "high": None, "reasons": {}}
        if months < MIN_MONTHS or len(countries) < MIN_COUNTRIES:
            entry["reasons"]["value"] = "too_few_months" if months < MIN_MONTHS else "too_few_countries"
        else:
            difference = scoring.paired_difference(
                total_losses(cells, loss), total_losses(other, loss), np.random.default_rng(0)
            )
            if np.isnan(difference.value):
                entry["reasons"]["value"] = "nothing_lost"
            else:
                entry |= {part: round(getattr(difference, part), 4) for part in ("value", "low", "high")}
        differences.append(entry)
    return differences


def _rung_probabilities(cells: ScoredCells, months: int, rungs: Sequence[int]) -> Iterator[tuple[float, bool]]:
    """Yield each probability of reaching a rung, and whether the rung was reached."""
    for cell, scored in cells.items():
        if cell.months == months:
            for rung in rungs:
                yield scored.scores["probabilities"][str(rung)], scored.observed >= rung


def _reliability(forecasts_and_events: Iterable[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Return the reliability table, without its empty classes."""
    pairs = list(forecasts_and_events)
    if not pairs:
        return []
    probability, event = np.array([p for p, _ in pairs]), np.array([event for _, event in pairs])
    table = scoring.reliability(probability, event, CLASSES)
    return [
        {
            "from": i / CLASSES,
            "to": (i + 1) / CLASSES,
            "cases": int(number),
            "probability": round(float(table.probability[i]), 4),
            "frequency": round(float(table.frequency[i]), 4),
        }
        for i, number in enumerate(table.number)
        if number
    ]


def _pit(forecasts_scored: Iterable[ScoredForecast]) -> dict[str, Any]:
    """Return the share of PIT values in each class."""
    values = [scored.scores["pit"] for scored in forecasts_scored]
    classes = np.array([min(int(CLASSES * value), CLASSES - 1) for value in values], dtype=np.intp)
    if not classes.size:
        return {"cases": 0, "shares": None}
    shares = np.bincount(classes, minlength=CLASSES) / classes.size
    return {"cases": int(classes.size), "shares": [round(float(share), 4) for share in shares]}


def _mean(values: Iterable[float]) -> float | None:
    """Return the mean to six digits; None if there are no values."""
    known = list(values)
    return round(sum(known) / len(known), 6) if known else None
