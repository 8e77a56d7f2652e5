"""Homes with snapshots in them, as recompute leaves them: built for tests, by rule and seed, from no data."""

import gzip
import hashlib
import random
from datetime import UTC, datetime, timedelta
from math import exp, log1p
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.events import manifest
from riskmodel.home import Home
from riskmodel.months import last_day, month
from service.alerts import lifecycle, outbox, rules
from service.jobs import scorecard_build
from service.jobs.scorecard_build import Cell, CountedForecasts, ScoredForecast
from service.snapshots import history
from service.store.database import Store
from service.store.tables import deliveries, event_lists, events, forecasts, jobs, runs, scorecards, snapshots, tasks
from service.store.values import canonical

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

FAMILIES = {
    "intensity": ("Intensity", "Intensité"),
    "capital": ("Capital and sites", "Capitale et sites"),
    "spillover": ("Spill-over", "Voisinage"),
    "people": ("People", "Populations"),
}
CONTRIBUTIONS = {"intensity": 4.02, "capital": 0.0, "spillover": -0.94, "people": 0.0}
VALUES = {
    "deaths_12m": (log1p(153), log1p(80)),
    "share_25_12m": (0.4167, 0.0),
    "events_near_12m": (log1p(19), None),
    "median_distance_12m": (516.25, 781.0),
    "neighbours_12m": (0.0, log1p(3)),
    "displaced": (None, None),
}
"""Invented values now and 12 months earlier. Nobody was displaced that a table tells of: there is none."""


def families() -> list[dict[str, Any]]:
    """Four families of invented indicators; the last one lacks its input."""
    declared = {
        "intensity": [
            indicator("deaths_12m", "log1p", ("Deaths over 12 months", "Morts sur 12 mois")),
            indicator("share_25_12m", "share", ("Months with 25 deaths", "Mois comptant 25 morts"), direction=0),
        ],
        "capital": [
            indicator("events_near_12m", "log1p", ("Events near the capital", "Événements près de la capitale")),
            indicator(
                "median_distance_12m", "number", ("Distance of the deaths", "Éloignement des morts"), "km", direction=-1
            ),
        ],
        "spillover": [indicator("neighbours_12m", "log1p", ("Deaths next door", "Morts chez les voisins"))],
        "people": [indicator("displaced", "log1p", ("Displaced persons", "Personnes déplacées"), absent=True)],
    }
    return [
        {
            "name": name,
            "title": {"en": english, "fr": french},
            "theme": {"en": "An invented theme", "fr": "Un thème inventé"},
            "indicators": declared[name],
        }
        for name, (english, french) in FAMILIES.items()
    ]


def indicator(
    name: str,
    scale: str,
    meaning: tuple[str, str],
    unit: str = "log(1 + count)",
    *,
    direction: int = 1,
    absent: bool = False,
) -> dict[str, Any]:
    """One declaration, as recompute writes it."""
    return {
        "name": name,
        "unit": unit,
        "window": 12,
        "direction": direction,
        "scale": scale,
        "meaning": dict(zip(("en", "fr"), meaning, strict=True)),
        "missing": {"en": "a month is not covered", "fr": "un mois n'est pas couvert"},
        "literature": [{"reference": "Nobody (1999), An invented work", "doi": "10.0000/invented"}],
        "inputs": ["displaced"] if absent else ["events"],
        "input_missing": absent,
    }


def drivers(score: float, escalation: float) -> dict[str, Any]:
    """An invented split of a score [points] and of an escalation probability [percentage points]."""

    def split(value: float, than: tuple[str, str]) -> dict[str, Any]:
        difference = sum(CONTRIBUTIONS.values())
        return {
            "value": value,
            "average": round(value - difference, 2),
            "difference": round(difference, 2),
            "rounding": 0.0,
            "sentence": {"en": f"{value} against {than[0]}.", "fr": f"{value} par rapport à {than[1]}."},
            "families": [
                {
                    "family": family,
                    "used": family != "people",
                    "contribution": contribution,
                    "sentence": {
                        "en": f"{FAMILIES[family][0]}: {contribution} points.",
                        "fr": f"{FAMILIES[family][1]}\xa0: {contribution} points.",
                    },
                    "indicators": [
                        {"name": "own_deaths", "contribution": 1.42, "standard_error": 0.0},
                        {"name": "deaths_12m", "contribution": 2.6, "standard_error": 0.05},
                    ]
                    if family == "intensity"
                    else [],
                    "other_indicators": 0.0,
                }
                for family, contribution in CONTRIBUTIONS.items()
            ],
        }

    own, region = ("its own year", "sa propre année"), ("the region", "la région")
    return {
        "risk_score": {"own_year": split(score, own), "region": split(score, region)},
        "escalation_from_draws": {
            "own_year": split(round(100 * escalation, 1), own),
            "region": split(round(100 * escalation, 1), region),
        },
        "events": {
            "intensity": [{"event_id": "424242", "date": "2022-07-22", "iso3": "MLI", "deaths": 7, "where": "Kati"}],
            "spillover": [{"event_id": "17", "date": "2022-12-01", "iso3": "BFA", "deaths": 1, "where": None}],
        },
        "method": {"en": "An invented method.", "fr": "Une méthode inventée."},
    }


def neighbour_effects() -> dict[str, Any]:
    """Invented points between land neighbours; what goes with Mauritania is unknown, for its score is."""
    pairs = [(one, to) for one in SCORES for to in SCORES if to in geography.country(one).neighbours]
    return {
        "note": {"en": "An association, not a cause.", "fr": "Une association, et non une cause."},
        "pairs": [{"from": one, "to": to, **_points(one, to)} for one, to in pairs],
        "all": [{"to": to, **_points("all", to)} for to in SCORES],
    }


def _points(one: str, to: str) -> dict[str, Any]:
    score = SCORES[to]
    if score is None:
        return {"points": None, "share": None, "reason": "not_forecast"}
    points = round(random.Random(one + to).uniform(-0.5, 3), 2)
    return {"points": points, "share": round(points / score, 4)}


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
        "model": {
            "id": "2022-12-state_based-ab12cd34",
            "digest": "e" * 64,
            "origin": origin,
            "trained_at": None,
            "vigie": "0.1.0",
        },
        "shadow": None,
        "bands": BANDS,
        "data_quality": [],
        "indicator_families": families(),
        "indicator_sources": [{"kind": "events", "source": "UCDP 24.1"}, {"kind": "coups", "source": "Invented"}],
        "neighbour_effects": neighbour_effects(),
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
        "escalation_model": None if score is None else "draws_and_regression",
        "escalation_from_draws": None if score is None else round(score / 250, 3),
        "onset_model": None if score is None else "draws",
        "completeness": {"month": origin, "value": 0.62, "low": 0.41, "high": 0.83},
        "data_quality": QUALITY.get(iso3, []),
        "nowcast": [{"month": origin, "reported": 31, "expected": 50, "value": 0.62, "low": 0.41, "high": 0.83}],
        "reasons": {"onset_probability": "not_quiet"} if score and score > 30 else {},
        "forecast": [],
        "observed": [{"month": str(end - 35 + i), "deaths": deaths} for i, deaths in enumerate(observed)],
        "sources": [{"ingest": "i1", **source, "first": "1989-01", "last": origin}],
        "indicators": {name: now for name, (now, _) in VALUES.items()},
        "indicators_before": {name: before for name, (_, before) in VALUES.items()},
        "drivers": None if score is None else drivers(score, score / 250),
    }
    if score is None:
        fields = ("risk_score", "escalation_probability", "onset_probability", "expected_deaths")
        nothing = {"observed": [{**month, "deaths": None} for month in shown["observed"]], "sources": [], "nowcast": []}
        unknown = {key: dict.fromkeys(VALUES) for key in ("indicators", "indicators_before")}
        voiced = ("escalation_model", "escalation_from_draws", "onset_model")
        reasons = dict.fromkeys((*fields, *voiced, "completeness", "drivers"), "no_history")
        return {**shown, **nothing, **unknown, "completeness": None, "reasons": reasons}
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
        variant="ged",
        file="ged.csv",
        content_sha256="0" * 64,
        release=None if simulated else "24.1",
        covers=("*:1989-01..2022-12",),
        simulated=simulated,
        known_since="2023-01-01T00:00:00Z",
        ingested_at="2023-01-01T00:00:00Z",
        rows=1,
        deaths=1,
        flagged=0,
        quarantined=0,
        data_sha256="0" * 64,
    )


class SettableClock:
    """A clock that stands, soon after the snapshot was issued, until it is set."""

    def __init__(self) -> None:
        self.now = NOW + timedelta(minutes=20)

    def __call__(self) -> datetime:
        return self.now


class SnapshotHome:
    """A home, and what a scheduler would do to it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.store = Store.of(self.home)

    def add_ingests(self, *realms: str) -> None:
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
            history.add_missing(connection)
            self._run(connection, at, "snapshot", number, None)
        return issued

    def replace(self, issued: dict[str, Any]) -> None:
        """Let the last snapshot say something else, under the digest of what it says."""
        said = {"document": issued, "digest": hashlib.sha256(canonical(issued).encode()).hexdigest()}
        with self.store.writing() as connection:
            connection.execute(sa.update(snapshots).where(snapshots.c.id == issued["id"]).values(said))

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


TASK = "5f0c1d7e-0000-4000-8000-000000000001"
"""The task of a home that has been lived in."""


def full_home(root: Path, *, simulated: bool = False) -> SnapshotHome:
    """A home with three months, a withdrawn snapshot, a failed run, and rows for every endpoint of the API."""
    home = SnapshotHome(root)
    home.add_ingests("simulated" if simulated else "real")
    for months, origin in enumerate(("2022-10", "2022-11", "2022-12")):
        home.issue(origin=origin, at=NOW + timedelta(days=30 * (months - 2)), simulated=simulated)
    home.issue(at=NOW + timedelta(minutes=1), simulated=simulated)
    home.run("failed", at=NOW + timedelta(minutes=2), error="an invented reason")
    with home.store.writing() as connection:
        wrong = sa.update(snapshots).where(snapshots.c.id == 4)
        connection.execute(
            wrong.values(withdrawn_at=NOW + timedelta(minutes=3), withdrawn_reason="an invented mistake")
        )
        connection.execute(sa.insert(event_lists).values({**event_list(), "simulated": simulated}))
        connection.execute(sa.insert(events), [event(number) for number in range(250)])
        text = f"origin,iso3,month,draw,deaths,simulated\n2022-12,MLI,2023-01,1,7,{str(simulated).lower()}\n"
        drawn = {"parquet": b"PAR1 not really PAR1", "csv": gzip.compress(text.encode(), mtime=0), "digest": "a" * 64}
        of_country = {"snapshot_id": 3, "forecaster": "pool", "location_code": "MLI", "role": "served"}
        connection.execute(sa.insert(forecasts).values(**of_country, **drawn))
        fire_alerts(home, connection, 3, simulated=simulated)
        card = {"region": "MLI", "simulated": simulated, "outcome": "state_based", "at": NOW}
        connection.execute(sa.insert(scorecards).values(**card, document=scored()))
        connection.execute(sa.insert(jobs), [job("recompute"), job("verify", succeeded_at=None, next_run_at=None)])
        requested = {"kind": "recompute", "request": {"region": "MLI"}, "digest": "b" * 64, "requested_at": NOW}
        done = {"status": "done", "attempts": 1, "started_at": NOW, "finished_at": NOW}
        result = {"run_id": 3, "snapshot_id": 3, "issued": True}
        connection.execute(sa.insert(tasks).values(id=TASK, **requested, **done, result=result))
    return home


def job(name: str, **other: Any) -> dict[str, Any]:
    """A job that ended well a minute ago, but for what is said."""
    moments = {"declared_at": NOW, "started_at": NOW, "finished_at": NOW, "succeeded_at": NOW, "next_run_at": NOW}
    limits = {"every_seconds": 3600, "deadline_seconds": 600, "overdue_after_seconds": 10**9}
    return {"name": name, "token": 1, "status": "ok", **moments, **limits, **other}


def scored() -> dict[str, Any]:
    """A scorecard of thirteen months, with a baseline and a challenger; Mali's figures are not complete."""
    cells = {
        Cell(origin, iso3, 1, months): ScoredForecast(
            f"20{21 + origin // 12}-{1 + origin % 12:02}",
            30 * (origin % 4 == 0),
            {
                "crps": 2.5,
                "log_crps": 0.2,
                "ign": 0.9,
                "mis": 40.0,
                "pit": 0.35,
                **dict.fromkeys(("within_50", "within_90", "active"), True),
                "probabilities": dict.fromkeys(("1", "5", "25", "100", "300", "1000"), 0.25),
                "escalation": {"observed": origin % 2, "probability": 0.4, "h24": 0.3},
            },
        )
        for iso3 in SCORES
        for origin in range(13)
        for months in (1, 3)
    }
    told = scorecard_build.build_scorecard(CountedForecasts(cells, {"zero": cells}, {"challenger-1": cells}))
    return {**told, "incomplete": [{"location_code": "MLI", "months": ["2022-12"]}]}


def fire_alerts(home: SnapshotHome, connection: sa.Connection, snapshot: int, *, simulated: bool = False) -> str:
    """Let the alerts of the shipped rules fire, and a message about them be lost; returns its id."""
    lifecycle.evaluate(
        connection,
        rules=rules.load(home.home),
        document=document(number=snapshot, simulated=simulated),
        run_id=snapshot,
        snapshot_id=snapshot,
        now=NOW,
        data_age_days=10,
        causes=["new_month"],
        first=False,
    )
    headline = {"headline": {"en": "An invented alert", "fr": "Une alerte inventée"}}
    lost = outbox.enqueue(connection, route="duty", kind="firing", data=headline, now=NOW)
    given_up = sa.update(deliveries).where(deliveries.c.id == lost).values(status="failed", attempts=9, error="500")
    connection.execute(given_up)
    return lost


def event_list() -> dict[str, Any]:
    """Whose events may be shown, and what they cover, as recompute writes it."""
    source = {"source": "UCDP 24.1", "release": "24.1", "known_since": "2024-06-01T00:00:00Z", "licence": "CC BY 4.0"}
    terms = {"licence_url": "https://creativecommons.org/licenses/by/4.0/", "attribution": "UCDP, an invented copy"}
    covers = [{"location_code": "MLI", "first": "2022-01", "last": "2022-12"}]
    document = {"sources": [{**source, **terms}], "coverage": covers}
    return {"region": "MLI", "simulated": False, "digest": "c" * 64, "document": document}


def event(number: int) -> dict[str, Any]:
    """One invented event in Mali or Niger; every tenth one is placed nowhere."""
    day = (NOW - timedelta(days=20 + number // 3)).date().isoformat()
    known = number % 10 > 0
    return {
        "region": "MLI",
        "event_id": str(1000 + number),
        "location_code": "MLI" if number % 2 else "NER",
        "date_start": day,
        "date_end": day,
        "date_prec": 1 + number % 5,
        "type_of_violence": "state_based",
        "side_a": "Government of Mali",
        "side_b": "=An invented group",
        "deaths": number % 7,
        "deaths_low": number % 7,
        "deaths_high": 2 * (number % 7),
        "deaths_civilians": 0,
        "latitude": 14.5 if known else None,
        "longitude": -4.25 if known else None,
        "where_prec": 2,
        "adm_1": "Mopti region" if known else None,
        "flags": "" if known else "no_adm_1 no_coordinates",
    }
