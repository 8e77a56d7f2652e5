"""Homes with snapshots in them, as recompute leaves them: built for tests, by rule and seed, from no data."""

import hashlib
import random
from datetime import UTC, datetime, timedelta
from math import exp
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.events import manifest
from riskmodel.home import Home
from riskmodel.months import last_day, month
from service.store import Store, canonical, runs, snapshots

NOW = datetime(2023, 1, 10, 8, 30, tzinfo=UTC)
BANDS = {"minimal": 0.0, "low": 10.0, "moderate": 30.0, "high": 50.0, "very high": 70.0, "extreme": 85.0}
SCORES = {
    "MLI": 81.4,
    "BFA": 86.2,
    "NER": 62.9,
    "DZA": 31.5,
    "CIV": 22.7,
    "GIN": 12.3,
    "SEN": 7.8,
    "MRT": None,
}


QUALITY = {
    "NER": [{"code": "few_reports", "probability": 0.0004, "months": 3}],
    "DZA": [
        {"code": "imprecise_dates", "events": 0.02, "deaths": 0.31, "months": 12},
        {"code": "imprecise_places", "events": 0.25, "deaths": None, "months": 12},
    ],
}
"""Warnings about the data by country: Niger has gone silent, Algeria's events are vague."""


def document(
    *, origin: str = "2022-12", simulated: bool = False, number: int = 1, issued_at: datetime = NOW
) -> dict[str, Any]:
    """A snapshot of the region around Mali; Mauritania has no history, Guinea a gap of six months."""
    source = {"source": "SIMULATED" if simulated else "UCDP 24.1", "release": None if simulated else "24.1"}
    return {
        "id": number,
        "previous_digest": None,
        "issued_at": issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "MLI",
        "origin": origin,
        "data_as_of": last_day(month(origin)),
        "outcome": "state_based",
        "simulated": simulated,
        "first": number == 1,
        "causes": ["new_month"],
        "source": "SIMULATED" if simulated else "UCDP 24.1",
        "data": {"digest": "d" * 64, "ingests": []},
        "model": {"id": "2022-12-state_based-ab12cd34", "digest": "e" * 64, "origin": origin, "trained_at": None},
        "bands": BANDS,
        "data_quality": [],
        "countries": [country(iso3, origin, source) for iso3 in geography.region("MLI").members],
    }


def country(iso3: str, origin: str, source: dict[str, Any]) -> dict[str, Any]:
    """One country's part, by its place in `SCORES`."""
    score, end, rng = SCORES[iso3], month(origin), random.Random(iso3)
    level = exp(((score or 0) - 15) / 14) if score and score > 10 else 0.2
    observed: list[float | None] = [float(int(level * rng.lognormvariate(0, 0.7))) for _ in range(36)]
    if iso3 == "GIN":
        observed[8:14] = [None] * 6
    shown = {
        "location_code": iso3,
        "reference_period_start": f"{end + 1}-01",
        "reference_period_end": last_day(end + 3),
        "risk_score": score,
        "band": None if score is None else max((n for n in BANDS if score >= BANDS[n]), key=lambda n: BANDS[n]),
        "rungs": [],
        "escalation_probability": None if score is None else round(score / 300, 3),
        "onset_probability": None if score is None or score > 30 else round(score / 100, 3),
        "expected_deaths": None if score is None else round(level * 3.3, 1),
        "completeness": {"month": origin, "value": 0.62, "low": 0.41, "high": 0.83},
        "data_quality": QUALITY.get(iso3, []),
        "nowcast": [{"month": origin, "reported": 31, "expected": 50, "value": 0.62, "low": 0.41, "high": 0.83}],
        "reasons": {"onset_probability": "not_quiet"} if score and score > 30 else {},
        "forecast": [],
        "observed": [{"month": str(end - 35 + i), "deaths": deaths} for i, deaths in enumerate(observed)],
        "sources": [{"ingest": "i1", **source, "first": "1989-01", "last": origin}],
        "indicators": {"deaths_12m": level, "deaths_60m": None},
    }
    if score is None:
        fields = ("risk_score", "escalation_probability", "onset_probability", "expected_deaths", "completeness")
        nothing = {"observed": [{**month, "deaths": None} for month in shown["observed"]], "sources": [], "nowcast": []}
        return {**shown, **nothing, "completeness": None, "reasons": dict.fromkeys(fields, "no_history")}
    shown["rungs"] = [
        {"deaths": rung, "probability": round(1 / (1 + (rung / (3 * level)) ** 1.4), 3)}
        for rung in (1, 5, 25, 100, 300, 1000)
    ]
    shown["forecast"] = [_lead(end + lead, lead, level) for lead in range(1, 13)]
    return shown


def _lead(when: Any, lead: int, level: float) -> dict[str, Any]:
    spread = 1 + lead / 12
    low, high = round(level * 0.25 / spread), round(level * (2 + spread))
    return {
        "lead": lead,
        "month": str(when),
        "expected": round(level * 1.1, 2),
        "p05": float(low if level > 5 else 0),
        "p25": float(round(level * 0.6)),
        "p50": float(round(level * 0.9)),
        "p75": float(round(level * 1.4)),
        "p95": float(high),
        "probability_1": round(1 - exp(-level), 3),
        "probability_25": round(1 / (1 + (25 / level) ** 1.5), 3),
        "probability_100": round(1 / (1 + (100 / level) ** 1.5), 3),
    }


def ingest(*, simulated: bool) -> manifest.Ingest:
    """A line of the archive's list; nothing here reads the data behind it."""
    return manifest.Ingest(
        id="sim" if simulated else "real",
        kind="events",
        source="simulated" if simulated else "ucdp",
        flavour="ged",
        file="ged.csv",
        content_sha256="0" * 64,
        release=None if simulated else "24.1",
        covers=("*:1989-01..2022-12",),
        simulated=simulated,
        learned="2023-01-01T00:00:00Z",
        ingested_at="2023-01-01T00:00:00Z",
        rows=1,
        deaths=1,
        flagged=0,
        quarantined=0,
        data_sha256="0" * 64,
    )


class Issuer:
    """A home, and what a scheduler would do to it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        root.mkdir(parents=True, exist_ok=True)
        self.store = Store(f"sqlite:///{self.home.database}")

    def hold(self, *realms: str) -> None:
        """Let the archive hold ingests of these realms."""
        manifest.write(self.home.archive, tuple(ingest(simulated=realm == "simulated") for realm in realms))

    def issue(self, *, at: datetime = NOW, **how: Any) -> dict[str, Any]:
        """Make a snapshot and its run, as a recompute that began a minute before `at`."""
        with self.store.writing() as connection:
            number = (connection.scalar(sa.select(sa.func.max(snapshots.c.id))) or 0) + 1
            issued = document(number=number, issued_at=at, **how)
            connection.execute(
                sa.insert(snapshots).values(
                    id=number,
                    region="MLI",
                    simulated=issued["simulated"],
                    issued_at=at,
                    input_digest="f" * 64,
                    previous_digest=None,
                    digest=hashlib.sha256(canonical(issued).encode()).hexdigest(),
                    document=issued,
                )
            )
            self._run(connection, at, "snapshot", number, None)
        return issued

    def run(self, status: str, *, at: datetime = NOW, snapshot: int | None = None, error: str | None = None) -> None:
        """Make a run that made no snapshot."""
        with self.store.writing() as connection:
            self._run(connection, at, status, snapshot, error)

    def _run(
        self, connection: sa.Connection, at: datetime, status: str, snapshot: int | None, error: str | None
    ) -> None:
        connection.execute(
            sa.insert(runs).values(
                region="MLI",
                started_at=at - timedelta(minutes=1),
                finished_at=at,
                status=status,
                input_digest="f" * 64,
                snapshot_id=snapshot,
                error=error,
            )
        )
