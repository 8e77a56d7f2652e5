"""From verifications to the scorecard: which forecasts count, and what they come to beside the baselines.

One forecast counts for each origin: the first that was issued, never a later one that knew more. A snapshot that was
withdrawn before anything of it was scored makes room for the next of its origin; one withdrawn later still counts. A
month counts where neither the model nor an earlier snapshot had seen it. It runs in the child that verifies.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from riskmodel import geography
from riskmodel import scoring as scoring
from riskmodel.months import Month, month
from riskmodel.targets import BATTLE_DEATHS, HORIZON, RUNGS
from service.snapshots.scorecard import EMPTY, SERVED
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import changes, forecasts, scorecards, snapshots, verifications

LOSSES = ("crps", "log_crps", "ign", "mis", "brier_25")
GROUPS = ((1, 3), (4, 6), (7, 12))
"""Leads that are shown together [months]."""

FEWEST_MONTHS, FEWEST_COUNTRIES = 12, 5
"""With fewer, an interval of a difference says nothing: whole countries are drawn again, and months are alike."""

PARTS = 10


@dataclass(frozen=True)
class SnapshotFacts:
    """What verification asks of a snapshot, without reading the whole of it."""

    id: int
    region: str
    simulated: bool
    outcome: str
    origin: Month
    model_origin: Month
    challenger_origin: Month | None
    withdrawn_at: datetime | None


class Cell(NamedTuple):
    """What is forecast: a month of a country, or the sum of `months` months, as one snapshot saw it ahead."""

    snapshot_id: int
    location_code: str
    lead: int
    months: int


@dataclass(frozen=True)
class Scored:
    """A forecast of a cell and what came [deaths]."""

    month: str
    observed: int
    scores: Mapping[str, Any]

    def loss(self, name: str) -> float:
        """A loss by its name in `LOSSES`."""
        if name != "brier_25":
            return float(self.scores[name])
        return float((self.scores["probabilities"][str(BATTLE_DEATHS)] - (self.observed >= BATTLE_DEATHS)) ** 2)


Said = Mapping[Cell, Scored]


@dataclass
class Counted:
    """The cells that count by forecaster, `SERVED` standing for whichever model was in service."""

    served: dict[Cell, Scored] = field(default_factory=dict)
    baselines: dict[str, dict[Cell, Scored]] = field(default_factory=dict)
    challengers: dict[str, dict[Cell, Scored]] = field(default_factory=dict)


def facts(connection: sa.Connection) -> list[SnapshotFacts]:
    """The facts of all snapshots that kept their draws, oldest first."""
    text = snapshots.c.document
    document: Any = sa.type_coerce(text, sa.JSON) if connection.dialect.name == "sqlite" else sa.cast(text, sa.JSON)
    listed = sa.select(
        *(snapshots.c[name] for name in ("id", "region", "simulated", "withdrawn_at")),
        document["outcome"].as_string().label("outcome"),
        document["origin"].as_string().label("origin"),
        document[("model", "origin")].as_string().label("model_origin"),
        document[("shadow", "origin")].as_string().label("challenger_origin"),
    ).where(sa.exists().where(forecasts.c.snapshot_id == snapshots.c.id))
    return [
        SnapshotFacts(
            id=row.id,
            region=row.region,
            simulated=row.simulated,
            outcome=row.outcome,
            origin=month(row.origin),
            model_origin=month(row.model_origin),
            challenger_origin=month(row.challenger_origin) if row.challenger_origin else None,
            withdrawn_at=row.withdrawn_at,
        )
        for row in connection.execute(listed.order_by(snapshots.c.id))
    ]


def counting(issued: Sequence[SnapshotFacts], scored: Mapping[int, datetime]) -> dict[int, Month]:
    """The snapshots that count, each with the last month that was seen when it was issued.

    `issued` are those of one region, realm and outcome, oldest first; `scored` says when a snapshot was first scored.
    """
    kept: dict[int, Month] = {}
    origins: list[Month] = []
    for fact in issued:
        if fact.withdrawn_at is not None and not scored.get(fact.id, fact.withdrawn_at) < fact.withdrawn_at:
            continue
        if fact.origin not in origins:
            kept[fact.id] = max([fact.model_origin, fact.origin, *origins])
        origins.append(fact.origin)
    return kept


def bring_up_to_date(
    store: Store,
    issued: Sequence[SnapshotFacts],
    still_open: Mapping[str, Mapping[str, list[str]]],
    now: datetime,
    fence: Fence | None = None,
) -> None:
    """Write the scorecards that have changed; `still_open` are months by outcome and country, not complete yet.

    Raises Superseded where `fence` is a turn that another has taken.
    """

    def kind(fact: SnapshotFacts) -> tuple[str, bool, str]:
        return fact.region, fact.simulated, fact.outcome

    for (region, simulated, outcome), group in groupby(sorted(issued, key=kind), key=kind):
        ours = list(group)
        whose = {"region": region, "simulated": simulated, "outcome": outcome}
        with store.writing() as connection:
            check(connection, fence)
            document = scorecard(_counted(connection, ours)) | {
                "incomplete": _incomplete(ours, connection, still_open[outcome])
            }
            same = [scorecards.c[name] == value for name, value in whose.items()]
            newest = sa.select(scorecards.c.document).where(*same).order_by(scorecards.c.id.desc()).limit(1)
            if connection.scalar(newest) == document:
                continue
            connection.execute(sa.insert(scorecards).values(**whose, at=now, document=document))
            told = {"cases": document["cases"], "last_month": document["last_month"]}
            change = {"at": now, "kind": "scorecard", "region": region, "simulated": simulated, "document": told}
            connection.execute(sa.insert(changes).values(**change, snapshot_id=ours[-1].id))


def _counted(connection: sa.Connection, issued: Sequence[SnapshotFacts]) -> Counted:
    """What counts of one region, realm and outcome, each cell as its last revision has it."""
    v, f = verifications.c, forecasts.c
    first = sa.select(v.snapshot_id, sa.func.min(v.at)).group_by(v.snapshot_id)
    kept = counting(issued, {row[0]: row[1] for row in connection.execute(first)})
    challenged = {fact.id: fact.challenger_origin for fact in issued}
    same = (v.snapshot_id == f.snapshot_id) & (v.forecaster == f.forecaster) & (v.location_code == f.location_code)
    columns = (v.snapshot_id, v.location_code, v.lead, v.months, v.month, v.observed, v.scores, v.forecaster, f.role)
    rows = sa.select(*columns).join(forecasts, same).where(v.snapshot_id.in_(kept)).order_by(v.revision, v.id)
    found = Counted()
    for row in connection.execute(rows):
        first_month = month(row.month) - row.months + 1
        if first_month <= kept[row.snapshot_id]:
            continue
        cell = Cell(row.snapshot_id, row.location_code, row.lead, row.months)
        if row.role == "served":
            of = found.served
        elif row.role == "baseline":
            of = found.baselines.setdefault(row.forecaster, {})
        else:
            seen = challenged[row.snapshot_id]
            if seen is None or first_month <= seen:
                continue
            of = found.challengers.setdefault(row.forecaster, {})
        of[cell] = Scored(row.month, row.observed, row.scores)
    return found


def _incomplete(
    issued: Sequence[SnapshotFacts], connection: sa.Connection, still_open: Mapping[str, list[str]]
) -> list[dict[str, Any]]:
    """Months that forecasts wait for: covered by a source, and not complete."""
    ours = forecasts.c.snapshot_id.in_([fact.id for fact in issued])
    members = connection.scalars(sa.select(forecasts.c.location_code).distinct().where(ours)).all()
    first = str(min(fact.origin for fact in issued) + 1)
    waiting = {iso3: [when for when in still_open.get(iso3, ()) if when >= first] for iso3 in sorted(members)}
    return [{"location_code": iso3, "months": months} for iso3, months in waiting.items() if months]


def scorecard(counted: Counted) -> dict[str, Any]:
    """What the forecasts that count come to, ready for JSON; `EMPTY` where there are none yet."""
    if not counted.served:
        return dict(EMPTY)
    months = sorted({scored.month for cell, scored in counted.served.items() if cell.months == 1})
    names = [SERVED, *sorted(counted.baselines)]

    def beside(cells: Iterable[Cell]) -> list[dict[str, Any]]:
        these = set(cells)
        said = [counted.served, *(counted.baselines[name] for name in names[1:])]
        return [
            _summary(name, {c: s for c, s in of.items() if c in these}) for name, of in zip(names, said, strict=True)
        ]

    countries = sorted({cell.location_code for cell in counted.served})
    return {
        "cases": sum(cell.months == 1 for cell in counted.served),
        "origins": len({cell.snapshot_id for cell in counted.served}),
        "first_month": months[0] if months else None,
        "last_month": months[-1] if months else None,
        "forecasters": beside(counted.served),
        "lead_groups": [
            {"first_lead": first, "last_lead": last, "forecasters": beside(cells)}
            for first, last in GROUPS
            if (cells := [cell for cell in counted.served if first <= cell.lead <= last])
        ],
        "countries": [
            {
                "location_code": iso3,
                "location_name": geography.country(iso3).name(),
                "forecasters": beside(cell for cell in counted.served if cell.location_code == iso3),
            }
            for iso3 in countries
        ],
        "differences": [
            difference
            for name in names[1:]
            for difference in _differences(SERVED, counted.served, name, counted.baselines[name])
        ],
        "challengers": [_challenger(name, counted.challengers[name], counted) for name in sorted(counted.challengers)],
        "reliability": {
            "month_25": _reliability(_chances(counted.served, 1, (BATTLE_DEATHS,))),
            "three_months": _reliability(_chances(counted.served, HORIZON, RUNGS)),
        },
        "pit": {
            "all": _pit(s for c, s in counted.served.items() if c.months == 1),
            "active": _pit(s for c, s in counted.served.items() if c.months == 1 and s.scores["active"]),
        },
    }


def _summary(name: str, said: Said) -> dict[str, Any]:
    """Mean losses, coverage, and what three-month sums come to; null with a reason where nothing can be said."""
    single = [scored for cell, scored in said.items() if cell.months == 1]
    sums = [scored for cell, scored in said.items() if cell.months == HORIZON]
    active = [scored for scored in single if scored.scores["active"]]
    told = [scored.scores["escalation"] for scored in sums if "escalation" in scored.scores]
    reasons = {} if active else {"coverage": "no_active_country"}
    if not sums:
        reasons["three_months"] = "no_outcome_yet"
    return {
        "forecaster": name,
        "cases": len(single),
        "scores": {loss: _mean(scored.loss(loss) for scored in single) for loss in LOSSES} if single else None,
        "coverage": {
            "cases": len(active),
            **{name: _mean(scored.scores[name] for scored in active) for name in ("within_50", "within_90")},
        }
        if active
        else None,
        "three_months": {
            "cases": len(sums),
            "brier_rungs": _mean((p - came) ** 2 for p, came in _chances(said, HORIZON, RUNGS)),
            "escalation": {
                "cases": len(told),
                "observed": sum(event["observed"] for event in told),
                "brier": _mean((event["probability"] - event["observed"]) ** 2 for event in told),
                "brier_h24": _mean(
                    (event["h24"] - event["observed"]) ** 2 for event in told if event["h24"] is not None
                ),
            },
        }
        if sums
        else None,
        "reasons": reasons | ({} if single else {"scores": "no_outcome_yet"}),
    }


def _challenger(name: str, said: Said, counted: Counted) -> dict[str, Any]:
    """A challenger beside what was served, on the cells that both have."""
    both = {cell: scored for cell, scored in counted.served.items() if cell in said}
    ours = {cell: scored for cell, scored in said.items() if cell in both}
    return {
        "model_id": name,
        "forecasters": [_summary(name, ours), _summary(SERVED, both)],
        "differences": _differences(name, ours, SERVED, both),
    }


def _differences(ours: str, said: Said, theirs: str, other: Said) -> list[dict[str, Any]]:
    """One forecast's losses relative to another's on single months, with an interval, or why there is none."""
    cells = [cell for cell in said if cell.months == 1 and cell in other]
    countries = sorted({cell.location_code for cell in cells})
    months = len({said[cell].month for cell in cells})
    sizes = {"cases": len(cells), "months": months, "countries": len(countries)}
    found = []
    for loss in LOSSES:
        told: dict[str, Any] = {"forecaster": ours, "against": theirs, "score": loss, **sizes}
        told |= {"value": None, "low": None, "high": None, "reasons": {}}
        if months < FEWEST_MONTHS or len(countries) < FEWEST_COUNTRIES:
            told["reasons"]["value"] = "too_few_months" if months < FEWEST_MONTHS else "too_few_countries"
        else:
            one, two = (
                np.array([[sum(of[c].loss(loss) for c in cells if c.location_code == iso3)] for iso3 in countries])
                for of in (said, other)
            )
            difference = scoring.paired_difference(one, two, np.random.default_rng(0))
            if np.isnan(difference.value):
                told["reasons"]["value"] = "nothing_lost"
            else:
                told |= {name: round(getattr(difference, name), 4) for name in ("value", "low", "high")}
        found.append(told)
    return found


def _chances(said: Said, months: int, rungs: Sequence[int]) -> Iterator[tuple[float, bool]]:
    """Each probability of reaching a rung, and whether it was reached."""
    for cell, scored in said.items():
        if cell.months == months:
            for rung in rungs:
                yield scored.scores["probabilities"][str(rung)], scored.observed >= rung


def _reliability(chances: Iterable[tuple[float, bool]]) -> list[dict[str, Any]]:
    """The reliability table, its filled classes alone."""
    pairs = list(chances)
    if not pairs:
        return []
    said, event = np.array([p for p, _ in pairs]), np.array([came for _, came in pairs])
    table = scoring.reliability(said, event, PARTS)
    return [
        {
            "from": place / PARTS,
            "to": (place + 1) / PARTS,
            "cases": int(number),
            "probability": round(float(table.probability[place]), 4),
            "frequency": round(float(table.frequency[place]), 4),
        }
        for place, number in enumerate(table.number)
        if number
    ]


def _pit(scored: Iterable[Scored]) -> dict[str, Any]:
    """The share of outcomes in each tenth of their forecasts."""
    places = np.array([min(int(PARTS * one.scores["pit"]), PARTS - 1) for one in scored], dtype=np.intp)
    if not places.size:
        return {"cases": 0, "shares": None}
    shares = np.bincount(places, minlength=PARTS) / places.size
    return {"cases": int(places.size), "shares": [round(float(share), 4) for share in shares]}


def _mean(values: Iterable[float]) -> float | None:
    """The mean, rounded for telling; None of nothing."""
    known = list(values)
    return round(sum(known) / len(known), 6) if known else None
