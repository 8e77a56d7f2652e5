"""Homes with issued snapshots and rows for every endpoint of the API, made without data and without a recompute."""

import gzip
import hashlib
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from snapshot_documents import NOW, SCORES, both_outcomes, document, nested

from riskmodel.alerting import rule_file
from riskmodel.alerting.judgement import Announcement, DeathsByMonth
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.events import manifest
from riskmodel.home import Home
from riskmodel.months import month, span
from riskmodel.outcomes import OUTCOMES
from service.alerts import lifecycle, outbox, records
from service.jobs import alert_records, scorecard_build
from service.jobs.forecast_scores import Cell
from service.jobs.scorecard_build import CountedForecasts, ScoredForecast
from service.snapshots import history
from service.store.database import Store
from service.store.tables import (
    alert_actions,
    alert_results,
    alert_states,
    alerts,
    deliveries,
    event_lists,
    events,
    forecasts,
    jobs,
    runs,
    scorecards,
    silences,
    snapshots,
    tasks,
    transitions,
)
from service.store.tables import alert_records as alert_records_table
from service.store.values import canonical


def ingest(*, simulated: bool) -> manifest.Ingest:
    """Return an entry of the archive's manifest. There is no data file behind it."""
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
    """A clock that stands still, shortly after the snapshot was issued, until it is set."""

    def __init__(self) -> None:
        self.now = NOW + timedelta(minutes=20)

    def __call__(self) -> datetime:
        return self.now


class SnapshotHome:
    """A home with issued snapshots, without a scheduler."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.store = Store.of(self.home)

    def add_ingests(self, *realms: str) -> None:
        """Put ingests of these kinds of data, real or simulated, into the archive."""
        manifest.write(self.home.archive, tuple(ingest(simulated=realm == "simulated") for realm in realms))

    def issue(self, *, at: datetime = NOW, both: bool = False, **how: Any) -> dict[str, Any]:
        """Issue a snapshot with its run, which started a minute before `at`. Return the flat document of its headline.

        It has state_based, or with `both` all and state_based.
        """
        with self.store.writing() as connection:
            number = (connection.scalar(sa.select(sa.func.max(snapshots.c.id))) or 0) + 1
            how |= {"number": number, "issued_at": at}
            flat = both_outcomes(**how) if both else (document(**how),)
            issued, stored = flat[0], nested(*flat)
            connection.execute(
                sa.insert(snapshots).values(
                    id=number,
                    region="MLI",
                    simulated=issued["simulated"],
                    issued_at=at,
                    input_digest="f" * 64,
                    previous_digest=None,
                    digest=hashlib.sha256(canonical(stored).encode()).hexdigest(),
                    document=stored,
                )
            )
            history.add_missing(connection)
            self._run(connection, at, "snapshot", number, None)
        return issued

    def replace(self, *flat: dict[str, Any]) -> None:
        """Replace the document of a snapshot, and its digest; `flat` are those of its outcomes, the headline first."""
        stored = nested(*flat)
        values = {"document": stored, "digest": hashlib.sha256(canonical(stored).encode()).hexdigest()}
        with self.store.writing() as connection:
            connection.execute(sa.update(snapshots).where(snapshots.c.id == stored["id"]).values(values))

    def run(self, status: str, *, at: datetime = NOW, snapshot: int | None = None, error: str | None = None) -> None:
        """Add a run that issued no snapshot."""
        with self.store.writing() as connection:
            self._run(connection, at, status, snapshot, error)

    def _run(
        self, connection: sa.Connection, at: datetime, status: str, snapshot: int | None, error: str | None
    ) -> None:
        connection.execute(
            sa.insert(runs).values(
                region="MLI",
                started_at=at - timedelta(minutes=1),
                finished_at=None if status == "running" else at,
                status=status,
                input_digest="f" * 64,
                snapshot_id=snapshot,
                error=error,
            )
        )


TASK = "5f0c1d7e-0000-4000-8000-000000000001"
ALERT = f"alr_{'0' * 32}"
SILENCE = f"sil_{'0' * 32}"
"""The id of the task in a full home."""


def full_home(root: Path, *, simulated: bool = False) -> SnapshotHome:
    """Return a home with three months, a withdrawn snapshot, a failed run, and rows for every endpoint of the API.

    Its snapshots have both outcomes.
    """
    home = SnapshotHome(root)
    home.add_ingests("simulated" if simulated else "real")
    for months, origin in enumerate(("2022-10", "2022-11", "2022-12")):
        home.issue(origin=origin, at=NOW + timedelta(days=30 * (months - 2)), simulated=simulated, both=True)
    home.issue(at=NOW + timedelta(minutes=1), simulated=simulated, both=True)
    home.run("failed", at=NOW + timedelta(minutes=2), error="an invented reason")
    with home.store.writing() as connection:
        wrong = sa.update(snapshots).where(snapshots.c.id == 4)
        connection.execute(
            wrong.values(withdrawn_at=NOW + timedelta(minutes=3), withdrawn_reason="an invented mistake")
        )
        connection.execute(sa.insert(event_lists).values({**event_list(), "simulated": simulated}))
        connection.execute(sa.insert(events), [event(number) for number in range(250)])
        columns = "origin,iso3,month,draw,deaths,outcome,simulated"
        of_country = {"snapshot_id": 3, "forecaster": "pool", "location_code": "MLI", "role": "served"}
        for outcome in OUTCOMES:
            text = f"{columns}\n2022-12,MLI,2023-01,1,7,{outcome},{str(simulated).lower()}\n"
            drawn = {"parquet": b"PAR1 not really PAR1", "csv": gzip.compress(text.encode(), mtime=0)}
            connection.execute(sa.insert(forecasts).values(outcome=outcome, **of_country, **drawn, digest="a" * 64))
            card = {"region": "MLI", "simulated": simulated, "outcome": outcome, "at": NOW}
            issued, data_bases = scorecard_document(), {"as_known": 3, "final_figures": 10}
            of_hindcasts = {**issued, "challengers": [], "data_bases": data_bases}
            connection.execute(sa.insert(scorecards).values(**card, basis="issued", document=issued))
            connection.execute(sa.insert(scorecards).values(**card, basis="hindcast", document=of_hindcasts))
        fire_alerts(home, connection, 3, simulated=simulated)
        of_rules = {"region": "MLI", "simulated": simulated, "input_digest": "c" * 64, "at": NOW}
        connection.execute(sa.insert(alert_records_table).values(**of_rules, document=record_document()))
        add_known_alert(connection)
        connection.execute(sa.insert(jobs), [job("recompute"), job("verify", succeeded_at=None, next_run_at=None)])
        requested = {"kind": "recompute", "request": {"region": "MLI"}, "digest": "b" * 64, "requested_at": NOW}
        done = {"status": "done", "attempts": 1, "started_at": NOW, "finished_at": NOW}
        result = {"run_id": 3, "snapshot_id": 3, "issued": True}
        connection.execute(sa.insert(tasks).values(id=TASK, **requested, **done, result=result))
    return home


def job(name: str, **other: Any) -> dict[str, Any]:
    """Return a row of a job that succeeded; `other` columns replace its values."""
    moments = {"declared_at": NOW, "started_at": NOW, "finished_at": NOW, "succeeded_at": NOW, "next_run_at": NOW}
    limits = {"every_seconds": 3600, "deadline_seconds": 600, "overdue_after_seconds": 10**9}
    return {"name": name, "token": 1, "status": "ok", **moments, **limits, **other}


def scorecard_document() -> dict[str, Any]:
    """Return a scorecard of thirteen months with baselines and a challenger; a month of Mali is incomplete."""
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
    baselines = dict.fromkeys(("zero", "conflictology12", "ew4s"), cells)
    scorecard = scorecard_build.build_scorecard(CountedForecasts(cells, baselines, {"challenger-1": cells}))
    return {**scorecard, "incomplete": [{"location_code": "MLI", "months": ["2022-12"]}]}


def fire_alerts(home: SnapshotHome, connection: sa.Connection, snapshot: int, *, simulated: bool = False) -> str:
    """Let the alerts of the default rules fire, and one message fail; return the id of the message."""
    lifecycle.evaluate(
        connection,
        rules=rule_file.load(home.home, DEFAULT_BANDS),
        document=nested(*both_outcomes(number=snapshot, simulated=simulated)),
        run_id=snapshot,
        snapshot_id=snapshot,
        now=NOW,
        causes=["new_month"],
    )
    headline = {"headline": {"en": "An invented alert", "fr": "Une alerte inventée"}}
    lost = outbox.enqueue(connection, route="duty", kind="firing", data=headline, now=NOW)
    given_up = sa.update(deliveries).where(deliveries.c.id == lost).values(status="failed", attempts=9, error="500")
    connection.execute(given_up)
    return lost


def record_document() -> dict[str, Any]:
    """Return the records of one rule and of all together: in hindcasts a hit, a false alarm and a miss."""
    deaths = DeathsByMonth(
        ("MLI",), span(month("2020-01"), month("2022-12")), np.array([[2.0] * 20 + [9, 30, 60] + [2.0] * 13])
    )
    read = np.ones(deaths.values.shape, dtype=bool)
    announces = Announcement("escalation", 3)
    record = alert_records.stored_record(announces, [("MLI", "2021-08"), ("MLI", "2020-03")], deaths, read)
    both = {"outcome": "all", "announces": asdict(announces), "hindcast": record, "issued": None}
    rule = rule_file.shipped()[0]
    shown = {"rule": rule.name, "title": rule.title.model_dump(), "severity": rule.severity, "metric": rule.metric}
    shown |= {"fire_at": rule.fire_at, "clear_at": rule.clear_at}
    notice = {**both, **shown, "rule": "data", "digest": "d" * 64, "announces": None, "hindcast": None}
    return {"rules": [{**both, **shown, "digest": records.digest_of(rule)}, notice], "all_rules": both}


def add_known_alert(connection: sa.Connection) -> None:
    """Add an alert and a silence whose ids tests know: a copy of a firing alert, and a silence."""
    fired = connection.execute(sa.select(transitions).order_by(transitions.c.id).limit(1)).one()
    values = dict(connection.execute(sa.select(alerts).where(alerts.c.id == fired.alert_id)).one()._mapping)
    acknowledged = {"acknowledged_at": NOW, "acknowledged_by": "Awa", "acknowledged_note": None}
    del values["seal"]
    connection.execute(sa.insert(alerts).values(values | {"id": ALERT} | acknowledged))
    columns = {key: value for key, value in fired._mapping.items() if key not in ("id", "seal")}
    connection.execute(sa.insert(transitions).values(columns | {"alert_id": ALERT}))
    state = connection.execute(sa.select(alert_states).where(alert_states.c.alert_id == fired.alert_id)).one()
    columns = {key: value for key, value in state._mapping.items() if key != "seal"}
    connection.execute(sa.insert(alert_states).values(columns | {"alert_id": ALERT, "rule": "an-old-rule"}))
    silence = {"id": SILENCE, "region": "MLI", "simulated": values["simulated"], "rule": "an-old-rule"}
    lasts = {"starts_at": NOW, "until": NOW + timedelta(days=365), "reason": "an invented exercise", "by": "Awa"}
    connection.execute(sa.insert(silences).values(silence | lasts))
    done = {"kind": "silenced", "at": NOW, "by": "Awa", "alert_id": ALERT, "silence_id": SILENCE}
    connection.execute(sa.insert(alert_actions).values(done))
    period = {"event": "escalation", "first_month": "2023-01", "last_month": "2023-03", "deaths": [12, 40, 61]}
    judged = {"alert_id": ALERT, **period, "data_as_of": "2023-03-31", "reason": None}
    for result, lead in (("false_alarm", None), ("hit", 2)):
        row = judged | {"result": result, "lead_months": lead, "at": NOW, "data_digest": result}
        connection.execute(sa.insert(alert_results).values(row))


def event_list() -> dict[str, Any]:
    """Return a row of `event_lists`, as a recompute writes it."""
    source = {"source": "UCDP 24.1", "release": "24.1", "known_since": "2024-06-01T00:00:00Z", "licence": "CC BY 4.0"}
    terms = {"licence_url": "https://creativecommons.org/licenses/by/4.0/", "attribution": "UCDP, an invented copy"}
    covers = [{"location_code": "MLI", "first": "2022-01", "last": "2022-12"}]
    document = {"sources": [{**source, **terms}], "coverage": covers}
    return {"region": "MLI", "simulated": False, "digest": "c" * 64, "document": document}


def event(number: int) -> dict[str, Any]:
    """Return an invented event in Mali or Niger; every tenth one has no place."""
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
