"""Verification and the scorecard: what is scored and when, what counts, challengers, and what is shown."""

import csv
import gzip
import hashlib
import importlib
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from recompute_support import COUNTRIES, NOW, OperatedHome

from riskmodel import bundle, scoring
from riskmodel.errors import Refused
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, History
from riskmodel.forecasting.forecast_table import FORECAST_SCHEMA
from riskmodel.home import Home
from riskmodel.months import month
from service.cli.app import create_app
from service.jobs import forecast_scores, scorecard_build
from service.jobs.forecast_scores import Cell
from service.jobs.scorecard_build import CountedForecasts, ScoredForecast, SnapshotFacts
from service.jobs.withdrawal import withdraw
from service.snapshots.scorecard import EMPTY_SCORECARD
from service.store.tables import changes, forecasts, scorecards, verifications

BASELINES = {"zero", "last", "conflictology12", "history60", "ew4s"}


@pytest.fixture
def operated(home: Home) -> OperatedHome:
    """A home with a snapshot of December 2021: twelve months of 30 deaths in Mali, and draws that all say 30."""
    made = OperatedHome.ready(home, drivers=False)
    made.run()
    return made


def newest_scorecard(operated: OperatedHome) -> dict[str, Any]:
    document: dict[str, Any] = operated.rows(scorecards)[-1].document
    return document


def test_the_draws_behind_a_snapshot_are_stored_and_its_digest_covers_them(operated: OperatedHome) -> None:
    document, stored = operated.document(0), operated.rows(forecasts)
    served = document["model"]["id"]
    assert {(row.forecaster, row.role) for row in stored} == {(served, "served"), *((n, "baseline") for n in BASELINES)}
    assert {row.location_code for row in stored} == set(COUNTRIES), "a country without a forecast has no draws"
    for row in stored:
        assert hashlib.sha256(row.parquet).hexdigest() == row.digest
        assert document["forecasts"][row.forecaster][row.location_code] == row.digest
        assert (row.csv is not None) == (row.role == "served")
    mali = next(row for row in stored if (row.role, row.location_code) == ("served", "MLI"))
    table = pq.read_table(io.BytesIO(mali.parquet))
    assert table.schema.equals(
        FORECAST_SCHEMA.append(pa.field("outcome", pa.string())).append(pa.field("simulated", pa.bool_()))
    )
    assert set(table["deaths"].to_pylist()) == {30}
    assert (table.num_rows, table["month"][0].as_py().date().isoformat()) == (12 * 12, "2022-01-01")
    lines = list(csv.DictReader(io.StringIO(gzip.decompress(mali.csv).decode())))
    last = {"origin": "2021-12-01", "iso3": "MLI", "month": "2022-12-01", "draw": "11", "deaths": "30"}
    assert lines[-1] == {**last, "outcome": "state_based", "simulated": "false"}
    assert hashlib.sha256(mali.csv).hexdigest() == document["forecasts_csv"]["MLI"]


def test_each_forecast_is_scored_when_its_month_is_complete(operated: OperatedHome) -> None:
    assert operated.verify(NOW).scored == 0
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44])
    assert operated.verify(NOW).scored == len(COUNTRIES) * 6
    assert operated.verify(NOW).scored == 0
    rows = {(row.forecaster, row.location_code): row for row in operated.rows(verifications)}
    served = operated.document(0)["model"]["id"]
    mali = rows[served, "MLI"]
    assert (mali.lead, mali.months, mali.revision, mali.month, mali.observed) == (1, 1, 0, "2022-01", 44)
    assert mali.scores["crps"] == 14
    assert (mali.scores["within_50"], mali.scores["within_90"], mali.scores["active"]) == (False, False, True)
    assert mali.scores["mis"] == 20 * 14
    assert mali.scores["probabilities"] == {"1": 1, "5": 1, "25": 1, "100": 0, "300": 0, "1000": 0}
    assert mali.scores["pit"] == 1, "all draws lie below the outcome"
    assert rows["zero", "MLI"].scores["crps"] == 44
    quiet = rows[served, "SEN"]
    assert (quiet.observed, quiet.scores["crps"], quiet.scores["active"]) == (0, 0, False)
    assert 0 < quiet.scores["pit"] < 1, "the PIT of a certain forecast that was right is random"
    last = rows["last", "MLI"]
    with operated.store.reading() as connection:
        same = (forecasts.c.forecaster == "last") & (forecasts.c.location_code == "MLI")
        parquet = connection.scalar(sa.select(forecasts.c.parquet).where(same))
    draws = pq.read_table(io.BytesIO(parquet))["deaths"].to_numpy().reshape(12, -1)[0]
    assert last.scores["crps"] == pytest.approx(float(scoring.crps(draws, np.array(44))), abs=1e-6)
    assert last.scores["ign"] == pytest.approx(float(scoring.ignorance(draws, np.array(44))), abs=1e-6)
    assert (draws < 44).mean() <= last.scores["pit"] <= (draws <= 44).mean()


def test_three_months_are_scored_as_a_sum_with_escalation(operated: OperatedHome) -> None:
    operated.ingest_months("2022-03", MLI=[30] * 12 + [60, 60, 61])
    operated.verify(NOW)
    served = operated.document(0)["model"]["id"]
    sums = {(r.forecaster, r.location_code): r for r in operated.rows(verifications) if r.months == 3}
    mali = sums[served, "MLI"]
    assert (mali.lead, mali.month, mali.observed) == (3, "2022-03", 181)
    assert mali.scores["probabilities"]["100"] == 0
    assert mali.scores["escalation"] == {"threshold": 180, "probability": 0, "observed": True, "h24": 0}
    assert sums[served, "SEN"].scores["escalation"] == {"threshold": 25, "probability": 0, "observed": False, "h24": 0}
    served_entry = next(entry for entry in newest_scorecard(operated)["forecasters"] if entry["forecaster"] == "served")
    assert served_entry["three_months"]["escalation"] == {
        "cases": 7,
        "observed": 1,
        **dict.fromkeys(("brier", "brier_h24"), pytest.approx(1 / 7, abs=1e-6)),
    }
    assert served_entry["three_months"]["brier_rungs"] == pytest.approx(1 / 42, abs=1e-6), "Mali's rung of 100 deaths"


def test_escalation_is_scored_by_the_issued_probability_and_not_by_the_draws(operated: OperatedHome) -> None:
    document = operated.document(0)
    served, cell = document["model"]["id"], Cell(1, "MLI", 3, 3)
    document["countries"][0]["escalation_probability"] = 0.75
    document["shadow"] = {"model_id": "other", "escalation_probability": {"MLI": 0.5}}
    country, draws = forecast_scores.CountryAtIssue.of(document, "MLI"), np.full((12, 4), 30)
    scores = [forecast_scores.score(draws, [(cell, 200)], country, name)[0] for name in (served, "other", "ew4s")]
    assert [scored["escalation"]["probability"] for scored in scores] == [0.75, 0.5, 0]


def test_only_a_changed_outcome_is_a_revision(operated: OperatedHome) -> None:
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44])
    operated.verify(NOW)
    before = len(operated.rows(verifications))
    operated.ingest_months("2022-01", MLI=[30] * 11 + [31, 44])
    assert operated.verify(NOW).scored == 0, "other data, the same outcome"
    operated.ingest_months("2022-01", MLI=[30] * 12 + [50])
    done = operated.verify(NOW)
    assert (done.scored, done.revised) == (6, 6)
    assert newest_scorecard(operated)["cases"] == len(COUNTRIES)
    served = next(entry for entry in newest_scorecard(operated)["forecasters"] if entry["forecaster"] == "served")
    assert served["scores"]["crps"] == pytest.approx(20 / 7, abs=1e-6), "the revised outcome counts"
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44])
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44], NER=[1])
    assert operated.verify(NOW).revised == 12
    rows = [r for r in operated.rows(verifications) if (r.forecaster, r.location_code) == ("zero", "MLI")]
    assert [(row.revision, row.observed) for row in rows] == [(0, 44), (1, 50), (2, 44)]
    assert len(operated.rows(verifications)) == before + 6 + 12


def test_an_incomplete_month_is_not_scored(operated: OperatedHome) -> None:
    operated.ingest_months("2022-01", known_since=NOW + timedelta(days=31), MLI=[30] * 12 + [44])
    assert operated.verify(NOW).scored == 0
    assert newest_scorecard(operated)["incomplete"][0] == {"location_code": "BFA", "months": ["2022-01"]}
    operated.ingest_months("2022-01", MLI=[30] * 12 + [45])
    assert operated.verify(NOW).scored == len(COUNTRIES) * 6
    assert newest_scorecard(operated)["incomplete"] == []


def facts(number: int, origin: str, withdrawn: int | None = None, trained: str = "2020-12") -> SnapshotFacts:
    at = None if withdrawn is None else NOW + timedelta(days=withdrawn)
    return SnapshotFacts(number, "MLI", False, "state_based", month(origin), month(trained), None, at)


def test_one_snapshot_counts_for_each_origin() -> None:
    first, again, later = facts(1, "2021-12"), facts(2, "2021-12"), facts(3, "2022-01")
    assert list(scorecard_build.counting_snapshots([first, again, later], {})) == [1, 3]
    scored = {1: NOW}
    assert list(scorecard_build.counting_snapshots([facts(1, "2021-12", -1), again, later], scored)) == [2, 3], (
        "before it was scored"
    )
    assert list(scorecard_build.counting_snapshots([facts(1, "2021-12", +1), again, later], scored)) == [1, 3], (
        "a withdrawal after the first score does not count"
    )
    assert scorecard_build.counting_snapshots([later, first], {})[1] == month("2022-01"), (
        "a month that an earlier snapshot had seen is no forecast"
    )
    assert scorecard_build.counting_snapshots([facts(1, "2021-12", trained="2022-06")], {})[1] == month("2022-06")


def test_a_better_informed_snapshot_of_the_same_origin_does_not_count(operated: OperatedHome) -> None:
    operated.put_model(History())
    assert operated.run(NOW + timedelta(days=1)).issued
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44])
    assert operated.verify(NOW).scored == 2 * len(COUNTRIES) * 6, "each issued snapshot is scored"
    assert (newest_scorecard(operated)["cases"], newest_scorecard(operated)["origins"]) == (len(COUNTRIES), 1)
    assert newest_scorecard(operated)["forecasters"][0]["scores"]["crps"] == 2, (
        "14 deaths in one of seven countries, by the first"
    )
    withdraw(operated.store, [], 1, "after the fact", NOW + timedelta(days=9))
    operated.verify(NOW + timedelta(days=10))
    assert newest_scorecard(operated)["forecasters"][0]["scores"]["crps"] == 2


def test_altered_draws_are_not_scored(operated: OperatedHome, vigie: Callable[..., Any]) -> None:
    with operated.store.writing() as connection:
        same = (forecasts.c.forecaster == "ew4s") & (forecasts.c.location_code == "MLI")
        connection.execute(sa.update(forecasts).where(same).values(parquet=b"PAR1", digest="0" * 64))
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44])
    with pytest.raises(Refused, match="snapshot 1, state_based, ew4s, MLI have changed since they were issued"):
        operated.verify(NOW)
    assert len(operated.rows(verifications)) == len(COUNTRIES) * 6 - 1
    assert vigie("verify").code == 1


def test_a_challenger_forecasts_in_the_shadow_and_is_scored(operated: OperatedHome) -> None:
    before = operated.document(0)
    name = operated.put_model(SMOOTHED_HISTORY, challenger=True)
    assert not operated.run(NOW).issued, "a new challenger is no reason for a snapshot"
    operated.ingest_months("2022-01", MLI=[30] * 12 + [44])
    operated.run(NOW)
    document = operated.document(1)
    assert (before["shadow"], document["shadow"]["model_id"], document["shadow"]["reason"]) == (None, name, None)
    roles = {(row.snapshot_id, row.role) for row in operated.rows(forecasts) if row.forecaster == name}
    assert roles == {(2, "shadow")}
    assert document["countries"][0]["expected_deaths"] == pytest.approx(3 * (11 * 30 + 44) / 12, abs=0.1), (
        "the champion's"
    )
    operated.ingest_months("2022-02", MLI=[30] * 12 + [44, 60])
    operated.verify(NOW)
    (challenger,) = newest_scorecard(operated)["challengers"]
    assert challenger["model_id"] == name
    assert [entry["forecaster"] for entry in challenger["forecasters"]] == [name, "served"]
    assert {entry["cases"] for entry in challenger["forecasters"]} == {len(COUNTRIES)}, "only where both forecast"
    assert {d["reasons"]["value"] for d in challenger["differences"]} == {"too_few_months"}


def test_a_broken_challenger_never_harms_what_is_served(
    operated: OperatedHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = operated.put_model(SMOOTHED_HISTORY, challenger=True)
    file = operated.home.models / name / "model.pickle"
    content = file.read_bytes()
    for number, broken in enumerate(("altered", "gone", "failing", "other outcome", "no name"), start=2):
        if broken == "altered":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif broken == "gone":
            file.unlink()
        elif broken == "failing":
            operated.put_model(failing_model(monkeypatch, tmp_path), challenger=True)
        elif broken == "other outcome":
            operated.put_model(History(), challenger=True, outcome="all")
        else:
            (operated.home.models / "challenger").write_text("../elsewhere\n")
        operated.ingest_months("2021-12", MLI=[30 + number] * 12)
        assert operated.run(NOW).issued, broken
        document = operated.document(-1)
        assert document["countries"][0]["expected_deaths"] == 3 * (30 + number)
        assert document["shadow"]["reason"], broken
        assert str(operated.home.root) not in document["shadow"]["reason"]
        assert not [row for row in operated.rows(forecasts) if row.role == "shadow"]


def failing_model(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """Return a model that fails to forecast. Its module can be imported when the model is unpickled."""
    text = (
        "from dataclasses import dataclass\nfrom riskmodel.forecasting.baselines import Conflictology\n\n"
        "@dataclass(frozen=True)\nclass Broken(Conflictology):\n    name: str = 'broken'\n\n"
        "    def forecast(self, panel, origin):\n        raise ZeroDivisionError('of its own')\n"
    )
    (folder / "a_broken_model.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module("a_broken_model").Broken()


def test_the_challenger_is_set_by_command_and_listed(operated: OperatedHome, vigie: Callable[..., Any]) -> None:
    serving = bundle.champion(operated.home.models, simulated=False, outcome="state_based")
    assert serving is not None
    assert "no model runs in the shadow" in vigie("shadow").out
    name = operated.put_model(SMOOTHED_HISTORY, challenger=True)
    assert vigie("shadow", "--off").code == 0
    assert vigie("shadow", serving.name).code == 1, "it is in service"
    assert f"{name} runs in the shadow for state-based conflict" in vigie("shadow", name, "--why", "a trial").out
    assert "in its shadow" in vigie("models").out
    assert name in vigie("shadow").out
    assert vigie("shadow", "--off").code == 0
    assert vigie("shadow", "--off").code == 1
    assert bundle.challenger(operated.home.models, simulated=False, outcome="state_based") is None


def scored_cells(losses: Callable[[str, int], float], months: int = 12) -> dict[Cell, ScoredForecast]:
    chances = dict.fromkeys(("1", "5", "25", "100", "300", "1000"), 0.25)
    return {
        Cell(lead, iso3, 1, 1): ScoredForecast(
            f"2021-{lead:02d}",
            30 if lead % 4 == 0 else 0,
            {
                **dict.fromkeys(("crps", "log_crps", "ign", "mis"), losses(iso3, lead)),
                "probabilities": chances,
                "within_50": True,
                "within_90": True,
                "active": True,
                "pit": 0.35,
            },
        )
        for iso3 in COUNTRIES
        for lead in range(1, months + 1)
    }


def test_a_difference_has_an_interval_only_with_enough_cases() -> None:
    def ours(iso3: str, lead: int) -> float:
        return 1.0 + COUNTRIES.index(iso3) / 10

    counted = CountedForecasts(scored_cells(ours), {"zero": scored_cells(lambda iso3, lead: 2.0)})
    scorecard = {d["score"]: d for d in scorecard_build.build_scorecard(counted)["differences"]}["crps"]
    one = np.array([[12 * ours(iso3, 0)] for iso3 in sorted(COUNTRIES)])
    expected = scoring.paired_difference(one, np.full((7, 1), 24.0), np.random.default_rng(0))
    assert (scorecard["value"], scorecard["low"], scorecard["high"]) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=1e-4
    )
    few = scorecard_build.build_scorecard(
        CountedForecasts(scored_cells(ours, 11), {"zero": scored_cells(lambda iso3, lead: 2.0, 11)})
    )
    assert {(d["value"], d["reasons"]["value"]) for d in few["differences"]} == {(None, "too_few_months")}


def test_reliability_and_pit_compare_forecasts_with_outcomes() -> None:
    scorecard = scorecard_build.build_scorecard(CountedForecasts(scored_cells(lambda iso3, lead: 1.0), {}))
    (only,) = scorecard["reliability"]["month_25"]
    assert only == {"from": 0.2, "to": 0.3, "cases": 84, "probability": 0.25, "frequency": 0.25}
    assert scorecard["pit"]["all"] == {"cases": 84, "shares": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]}
    assert scorecard.keys() == EMPTY_SCORECARD.keys()
    assert scorecard_build.build_scorecard(CountedForecasts()) == EMPTY_SCORECARD


def visible_text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_before_any_outcome_the_page_says_when_the_first_comes(operated: OperatedHome) -> None:
    client = create_app(operated.home, clock=lambda: NOW).test_client()
    payload = client.get("/v1/scorecard").json
    assert (payload["data"]["cases"], payload["data"]["reasons"]) == (0, {"forecasters": "no_outcome_yet"})
    assert payload["data"]["next"] == {"month": "2022-01", "not_before": "2022-02-01"}
    assert (payload["simulated"], payload["snapshot_id"]) == (False, 1)
    page = visible_text(client.get("/scorecard?lang=en").text)
    assert "No forecast has been scored yet." in page
    assert "The first month is January 2022. It can be scored from 1 February 2022 on." in page
    assert "SIMULATED" not in page
    assert "Aucune prévision n’a encore été évaluée." in client.get("/scorecard?lang=fr").text
    assert 'href="/en/scorecard"' in client.get("/?lang=en").text


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> OperatedHome:
    """A home after four months with a simulated archive that follows the clock."""
    made = OperatedHome(tmp_path_factory.mktemp("simulated") / "home", drivers=False)
    made.put_model(simulated=True)
    for end in range(4):
        now = datetime(2021, 2 + end, 3, tzinfo=UTC)
        made.simulate(str(month("2021-01") + end), now)
        made.run(now)
        made.verify(now)
    return made


def test_a_simulated_archive_is_scored_as_the_clock_moves(simulated: OperatedHome) -> None:
    assert [row.document["cases"] for row in simulated.rows(scorecards)] == [0, 8, 24, 48]
    assert {row.simulated for row in simulated.rows(scorecards)} == {True}
    assert [row.document["cases"] for row in simulated.rows(changes) if row.kind == "scorecard"] == [0, 8, 24, 48]
    client = create_app(simulated.home, clock=lambda: datetime(2021, 5, 4, tzinfo=UTC)).test_client()
    payload = client.get("/v1/scorecard").json
    data = payload["data"]
    assert (payload["simulated"], data["origins"], data["first_month"], data["last_month"]) == (
        True,
        3,
        "2021-02",
        "2021-04",
    )
    assert {entry["forecaster"] for entry in data["forecasters"]} == {"served", *BASELINES}
    ours, twin = (
        next(entry for entry in data["forecasters"] if entry["forecaster"] == name)
        for name in ("served", "conflictology12")
    )
    assert {**ours, "forecaster": ""} == {**twin, "forecaster": ""}, "the model in service is this baseline"
    assert [group["first_lead"] for group in data["lead_groups"]] == [1]
    assert len(data["countries"]) == 8
    for lang, words in (("en", ("SIMULATED", "always zero")), ("fr", ("SIMULÉ", "toujours zéro", "Niger"))):
        page = client.get(f"/scorecard?lang={lang}").text
        assert all(word in page for word in words)
        assert "<script" not in page
        assert page.count("<svg") >= 4


def test_the_draws_of_a_simulated_archive_are_marked(simulated: OperatedHome) -> None:
    stored = simulated.rows(forecasts)
    assert {row.role for row in stored} == {"served", "baseline"}
    assert all(set(pq.read_table(io.BytesIO(row.parquet))["simulated"].to_pylist()) == {True} for row in stored)
    texts = [gzip.decompress(row.csv).decode() for row in stored if row.role == "served"]
    assert {line["simulated"] for text in texts for line in csv.DictReader(io.StringIO(text))} == {"true"}


def test_simulated_and_real_never_mix(simulated: OperatedHome) -> None:
    before = len(simulated.rows(verifications))
    simulated.ingest_months("2021-05", MLI=[30] * 12)
    simulated.put_model()
    simulated.run(datetime(2021, 6, 3, tzinfo=UTC))
    simulated.ingest_months("2021-06", MLI=[30] * 13)
    assert simulated.verify(datetime(2021, 7, 3, tzinfo=UTC)).scored == len(COUNTRIES) * 6
    assert {row.snapshot_id for row in simulated.rows(verifications)[before:]} == {5}
    newest = simulated.rows(scorecards)[-1]
    assert (newest.simulated, newest.document["cases"]) == (False, len(COUNTRIES))
    client = create_app(simulated.home, clock=lambda: datetime(2021, 7, 4, tzinfo=UTC)).test_client()
    assert client.get("/v1/scorecard").json["data"]["cases"] == len(COUNTRIES)
    assert "SIMULATED" not in client.get("/scorecard?lang=en").text
