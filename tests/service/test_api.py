"""The read API over HTTP: scores, runs, readiness, alerts, indicators and drivers."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from snapshot_documents import LATEST, NOW, SCORES
from snapshots_support import SettableClock, SnapshotHome, fire_alerts

from service.cli.app import create_app
from service.http.request_context import context_of
from service.store.tables import deliveries

EXPLAINED = ("/v1/indicators", "/v1/indicators/SEN", "/v1/drivers/SEN")
READS = ("/v1/scores", "/v1/scores/SEN", "/v1/runs", "/v1/snapshots", "/v1/snapshots/1")
META = {
    "region",
    "snapshot_id",
    "digest",
    "issued_at",
    "data_as_of",
    "origin",
    "outcome",
    "source",
    "model_id",
    "status",
    "data_age_days",
    "simulated",
    "next_run_at",
}


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    return SnapshotHome(tmp_path / "home")


@pytest.fixture
def real(home: SnapshotHome) -> SnapshotHome:
    home.add_ingests("real")
    home.issue()
    return home


def test_scores_are_sorted_by_risk_and_describe_their_snapshot(real: SnapshotHome, client: FlaskClient) -> None:
    payload = client.get("/v1/scores").json
    assert [row["location_code"] for row in payload["data"]] == ["BFA", "MLI", "NER", "DZA", "CIV", "GIN", "SEN", "MRT"]
    assert {key: payload[key] for key in META - {"digest"}} == {
        "region": "MLI",
        "snapshot_id": 1,
        "issued_at": "2023-01-10T08:30:00Z",
        "data_as_of": "2022-12-31",
        "origin": "2022-12",
        "outcome": "state_based",
        "source": "UCDP 24.1",
        "model_id": "2022-12-state_based-ab12cd34",
        "status": "fresh",
        "data_age_days": 10,
        "simulated": False,
        "next_run_at": "2023-01-10T09:29:00Z",
    }
    assert re.fullmatch("[0-9a-f]{64}", payload["digest"])


def test_the_list_of_scores_omits_long_keys(real: SnapshotHome, client: FlaskClient) -> None:
    row, full = client.get("/v1/scores").json["data"][1], client.get("/v1/scores/MLI").json["data"]
    long = {
        "forecast",
        "observed",
        "indicators",
        "indicators_before",
        "drivers",
        "signals",
        "not_compared",
        "percentiles",
        "unlisted_signals",
    }
    assert full.keys() - row.keys() == long
    assert {key: full[key] for key in row} == row
    assert row["location_name"] == "Mali"
    assert len(full["observed"]) == 36
    assert [month["lead"] for month in full["forecast"]] == list(range(1, 13))


def test_an_unknown_value_is_null_with_a_reason(real: SnapshotHome, client: FlaskClient) -> None:
    row = client.get("/v1/scores/MRT").json["data"]
    for field in ("risk_score", "escalation_probability", "onset_probability", "expected_deaths"):
        assert row[field] is None
        assert row["reasons"][field] == "no_history"
    assert row["band"] is None
    assert {month["deaths"] for month in row["observed"]} == {None}
    without_past = dict.fromkeys(("rank_change", "change_1m", "change_12m"), "no_earlier_score")
    reasons = client.get("/v1/scores/MLI").json["data"]["reasons"]
    assert reasons == {"onset_probability": "not_quiet", **without_past}


def test_data_are_late_while_runs_fail(real: SnapshotHome, client: FlaskClient, clock: SettableClock) -> None:
    clock.now = datetime(2023, 1, 10, 9, tzinfo=UTC)
    assert client.get("/v1/scores").json["status"] == "fresh"
    real.run("failed", error="a file was altered")
    assert client.get("/v1/scores").json["status"] == "late"
    real.run("running")
    assert client.get("/v1/scores").json["status"] == "late"
    real.run("unchanged", snapshot=1)
    assert client.get("/v1/scores").json["status"] == "fresh"


@pytest.mark.parametrize(
    ("days", "status"), [(0, "fresh"), (55, "fresh"), (56, "late"), (100, "late"), (101, "stale"), (1400, "stale")]
)
def test_the_status_follows_the_age_of_the_data(
    real: SnapshotHome, client: FlaskClient, clock: SettableClock, days: int, status: str
) -> None:
    clock.now = datetime(2022, 12, 31, 12, tzinfo=UTC) + timedelta(days=days)
    for path in ("/v1/scores", "/v1/scores/MLI", "/v1/runs", "/v1/snapshots", "/v1/snapshots/1", "/v1/alerts"):
        payload = client.get(path).json
        assert (payload["status"], payload["data_age_days"]) == (status, days)


def test_every_payload_has_the_shared_keys(real: SnapshotHome, client: FlaskClient) -> None:
    for path in (*EXPLAINED, *READS, "/v1/alerts", "/readyz"):
        assert client.get(path).json.keys() >= META, path


def test_unsettled_figures_and_data_quality_are_in_json_and_csv(real: SnapshotHome, client: FlaskClient) -> None:
    payload = client.get("/v1/scores").json
    rows = {row["location_code"]: row for row in payload["data"]}
    assert payload["data_quality"] == []
    assert payload["release_class"] == "monthly_candidate"
    assert rows["MLI"]["latest_month"] == {"month": "2022-12", **LATEST}
    assert (rows["MRT"]["latest_month"], rows["MRT"]["reasons"]["latest_month"]) == (None, "no_history")
    assert rows["NER"]["data_quality"] == [{"code": "few_reports", "probability": 0.0004, "months": 3}]
    *settled, newest = client.get("/v1/scores/MLI").json["data"]["observed"]
    assert {key for month in settled for key in month} == {"month", "deaths"}
    assert newest == {"month": "2022-12", **LATEST, "reported": newest["deaths"], "deaths": newest["deaths"]}
    *_, last = csv.DictReader(io.StringIO(client.get("/v1/scores/MLI.csv").text))
    assert (last["month"], last["release_class"], last["expected_final"]) == ("2022-12", "monthly_candidate", "50.2")
    assert [last[name] for name in ("p05", "p25", "p75", "p95")] == ["12", "33", "64", "130"]
    lines = {line["location_code"]: line for line in csv.DictReader(io.StringIO(client.get("/v1/scores.csv").text))}
    columns = ("release_class", "reported", "expected_final", "final_p05", "final_p25", "final_p75", "final_p95")
    assert [lines["MLI"][column] for column in columns] == ["monthly_candidate", "31", "50.2", "12", "33", "64", "130"]
    assert [lines["MRT"][column] for column in columns] == [""] * 7
    assert lines["DZA"]["data_quality"] == "imprecise_dates; imprecise_places"


def test_csv_has_the_same_values_as_json(real: SnapshotHome, client: FlaskClient) -> None:
    response = client.get("/v1/scores.csv")
    assert response.content_type == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(response.text)))
    rows = client.get("/v1/scores").json["data"]
    assert [row["location_code"] for row in table] == [row["location_code"] for row in rows]
    for line, row in zip(table, rows, strict=True):
        for field in ("risk_score", "escalation_probability", "onset_probability", "expected_deaths"):
            assert line[field] == ("" if row[field] is None else str(row[field]))
        for field in ("escalation_model", "escalation_from_draws", "onset_model"):
            assert line[field] == ("" if row[field] is None else str(row[field]))
        for rung in row["rungs"]:
            assert line[f"rung_{rung['deaths']}"] == str(rung["probability"])
    assert {line["simulated"] for line in table} == {"false"}
    assert {line["status"] for line in table} == {"fresh"}
    assert list(table[0])[-1] == "simulated"
    assert table[1]["location_name"] == "Mali"
    assert table[1]["sources"] == "UCDP 24.1"
    assert "onset_probability=not_quiet" in table[1]["reasons"].split("; ")
    assert table[7]["rung_1"] == table[7]["band"] == table[7]["sources"] == ""


def test_the_command_line_prints_what_the_api_serves(real: SnapshotHome, vigie: Callable[..., Any]) -> None:
    client = create_app(real.home).test_client()
    printed = {form: vigie("--home", real.home.root, "scores", "--format", form).out for form in ("json", "csv")}
    assert json.loads(printed["json"]) == client.get("/v1/scores").json
    assert printed["csv"].splitlines() == client.get("/v1/scores.csv").text.splitlines()


def test_simulated_data_are_marked_in_every_payload(home: SnapshotHome, client: FlaskClient) -> None:
    home.add_ingests("simulated")
    home.issue(simulated=True)
    for path in (*EXPLAINED, *READS, "/v1/alerts", "/readyz"):
        payload = client.get(path).json
        assert payload["simulated"] is True, path
        assert payload["source"] == "SIMULATED"
    assert {line["simulated"] for line in csv.DictReader(io.StringIO(client.get("/v1/scores.csv").text))} == {"true"}


def test_real_data_retire_simulated_scores_at_once(home: SnapshotHome, client: FlaskClient) -> None:
    home.add_ingests("simulated")
    home.issue(simulated=True)
    assert client.get("/v1/scores").json["simulated"] is True
    home.add_ingests("simulated", "real")
    for path in (*EXPLAINED, "/v1/scores", "/v1/scores.csv", "/v1/scores/MLI", "/v1/alerts", "/readyz"):
        response = client.get(path)
        assert (response.status_code, response.json["type"]) == (503, "urn:vigie:problem:no-real-snapshot"), path
    retired = client.get("/v1/snapshots/1")
    assert (retired.status_code, retired.json["type"]) == (404, "urn:vigie:problem:retired-snapshot")
    listed = client.get("/v1/snapshots").json
    assert (listed["data"], listed["snapshot_id"], listed["simulated"]) == ([], None, False)


def test_a_simulated_snapshot_never_replaces_a_real_one(real: SnapshotHome, client: FlaskClient) -> None:
    real.issue(simulated=True)
    assert client.get("/v1/scores").json["snapshot_id"] == 1
    real.issue()
    assert client.get("/v1/scores").json["snapshot_id"] == 3


def test_without_a_snapshot_the_problem_says_why(home: SnapshotHome, client: FlaskClient) -> None:
    assert client.get("/v1/scores").json["type"] == "urn:vigie:problem:no-data"
    assert client.get("/readyz").status_code == 503
    home.add_ingests("simulated")
    assert client.get("/v1/scores").json["type"] == "urn:vigie:problem:no-snapshot"
    runs = client.get("/v1/runs")
    assert (runs.status_code, runs.json["data"], runs.json["snapshot_id"]) == (200, [], None)
    assert runs.json.keys() >= META


def test_runs_list_status_snapshot_and_error(real: SnapshotHome, client: FlaskClient) -> None:
    real.run("unchanged", at=NOW + timedelta(hours=1), snapshot=1)
    real.run("failed", at=NOW + timedelta(hours=2), error="the model is of other data")
    payload = client.get("/v1/runs").json
    assert [(run["id"], run["status"], run["snapshot_id"], run["error"]) for run in payload["data"]] == [
        (3, "failed", None, "the model is of other data"),
        (2, "unchanged", 1, None),
        (1, "snapshot", 1, None),
    ]
    assert payload["data"][2]["started_at"] == "2023-01-10T08:29:00Z"
    assert payload["data"][2]["finished_at"] == "2023-01-10T08:30:00Z"
    assert payload["next_run_at"] == "2023-01-10T11:29:00Z"


def test_the_service_is_ready_while_runs_succeed(real: SnapshotHome, client: FlaskClient, clock: SettableClock) -> None:
    assert client.get("/readyz").json["ready"] is True
    clock.now = NOW + timedelta(minutes=181)
    late = client.get("/readyz")
    assert (late.status_code, late.json["type"]) == (503, "urn:vigie:problem:late-snapshot")
    assert late.json["renewed_at"] == "2023-01-10T08:30:00Z"
    real.run("failed", at=NOW + timedelta(minutes=180), error="no")
    assert client.get("/readyz").status_code == 503
    real.run("unchanged", at=NOW + timedelta(minutes=180), snapshot=1)
    assert client.get("/readyz").status_code == 200


def test_stale_data_do_not_make_the_service_unready(
    real: SnapshotHome, client: FlaskClient, clock: SettableClock
) -> None:
    clock.now = NOW + timedelta(days=500)
    real.run("unchanged", at=clock.now, snapshot=1)
    ready = client.get("/readyz").json
    assert (ready["ready"], ready["status"]) == (True, "stale")


def test_alerts_list_firing_alerts_and_undelivered_messages(real: SnapshotHome, client: FlaskClient) -> None:
    with real.store.writing() as connection:
        undelivered = fire_alerts(real, connection, 1)
    payload = client.get("/v1/alerts").json
    assert {"BFA", "MLI"} <= {alert["location_code"] for alert in payload["data"]}
    assert all(not alert["simulated"] for alert in payload["data"])
    assert [(message["id"], message["status"]) for message in payload["undelivered"]] == [(undelivered, "failed")]
    assert client.get("/readyz").json["undelivered"] == 1


def test_undelivered_messages_are_in_pages(real: SnapshotHome, client: FlaskClient) -> None:
    with real.store.writing() as connection:
        fire_alerts(real, connection, 1)
        lost = connection.execute(sa.select(deliveries).where(deliveries.c.status == "failed")).one()._asdict()
        ids = [f"msg_{number:032x}" for number in range(20_000)]
        rows = [{**lost, "id": each, "created_at": NOW + timedelta(seconds=n // 7)} for n, each in enumerate(ids)]
        connection.execute(sa.insert(deliveries), rows)
    summary = client.get("/v1/alerts")
    assert (summary.json["undelivered_count"], len(summary.json["undelivered"])) == (20_001, 100)
    assert len(summary.data) < 100_000
    assert len(client.get("/").data) < 200_000
    found, address = [], summary.json["undelivered_url"] + "?limit=999"
    while address:
        page = client.get(address).json
        found += [message["id"] for message in page["data"]]
        address = page["next"]
    assert [each for each in found if each != lost["id"]] == ids[::-1], "newest first, each once"
    assert found.count(lost["id"]) == 1
    assert client.get(f"/v1/alerts/undelivered?cursor=msg_{'f' * 32}").status_code == 400
    assert len(client.get("/v1/alerts/undelivered.csv?limit=3").text.splitlines()) == 4


def _settings(home: SnapshotHome) -> Any:
    return context_of(create_app(home.home)).settings


def test_indicators_are_declared_by_family(real: SnapshotHome, client: FlaskClient) -> None:
    payload = client.get("/v1/indicators").json
    assert [family["name"] for family in payload["data"]] == ["intensity", "capital", "spillover", "people"]
    declared = {indicator["name"]: indicator for family in payload["data"] for indicator in family["indicators"]}
    assert [name for name, indicator in declared.items() if indicator["input_missing"]] == ["displaced"]
    assert declared["median_distance_12m"]["direction"] == -1
    assert declared["deaths_12m"]["meaning"] == {"en": "Deaths over 12 months", "fr": "Morts sur 12 mois"}
    assert declared["deaths_12m"]["literature"][0]["doi"] == "10.0000/invented"
    assert payload["reasons"] == {}


def test_a_missing_indicator_value_has_a_reason(real: SnapshotHome, client: FlaskClient) -> None:
    data = client.get("/v1/indicators/MLI").json["data"]
    assert (data["location_code"], data["location_name"], data["reasons"]) == ("MLI", "Mali", {})
    values = {entry["name"]: entry for family in data["families"] for entry in family["indicators"]}
    assert values["neighbours_12m"] == {
        "name": "neighbours_12m",
        "value": 0.0,
        "before": pytest.approx(1.386294),
        "reasons": {},
        "missing": None,
    }
    assert (values["events_near_12m"]["before"], values["events_near_12m"]["reasons"]) == (None, {"before": "unknown"})
    assert values["events_near_12m"]["missing"]["en"] == "a month is not covered"
    assert values["displaced"]["reasons"] == {"value": "input_missing", "before": "input_missing"}
    assert values["displaced"]["missing"] is None
    unknown = client.get("/v1/indicators/MRT").json["data"]["families"]
    assert {entry["value"] for family in unknown for entry in family["indicators"]} == {None}


def test_drivers_have_the_families_that_the_model_reads_and_neighbour_effects(
    real: SnapshotHome, client: FlaskClient
) -> None:
    data = client.get("/v1/drivers/MLI").json["data"]
    served = client.get("/v1/scores/MLI").json["data"]
    for target, scale in (("risk_score", 1), ("escalation_from_draws", 100)):
        assert data["drivers"][target]["own_year"]["value"] == pytest.approx(scale * served[target], abs=0.1)
        for split in data["drivers"][target].values():
            contributions = [family["contribution"] for family in split["families"]]
            assert len(contributions) == 3
            assert sum(contributions) == pytest.approx(split["difference"])
    assert data["drivers"]["events"]["intensity"][0]["event_id"] == "424242"
    assert (
        {pair["to"] for pair in data["neighbour_effects"]["from_neighbours"]}
        == {"MLI"}
        == {data["neighbour_effects"]["all"]["to"]}
    )
    assert [pair["from"] for pair in data["neighbour_effects"]["from_neighbours"]] == [
        iso3 for iso3 in SCORES if iso3 != "MLI"
    ]
    assert {pair["from"] for pair in data["neighbour_effects"]["to_neighbours"]} == {"MLI"}
    (unknown,) = [pair for pair in data["neighbour_effects"]["to_neighbours"] if pair["points"] is None]
    assert (unknown["to"], unknown["reason"]) == ("MRT", "not_forecast")
    assert data["reasons"] == {}
    without = client.get("/v1/drivers/MRT").json["data"]
    assert (without["drivers"], without["reasons"]) == (None, {"drivers": "no_history"})


def test_drivers_that_are_switched_off_have_a_reason(home: SnapshotHome, client: FlaskClient) -> None:
    home.add_ingests("real")
    issued = home.issue()
    issued["neighbour_effects"] = None
    for country in issued["countries"]:
        country["drivers"] = None
        country["reasons"].setdefault("drivers", "not_asked")
    home.replace(issued)
    data = client.get("/v1/drivers/MLI").json["data"]
    assert data["reasons"] == {"drivers": "not_asked", "neighbour_effects": "not_asked"}


def test_the_region_comes_from_the_settings(real: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_REGION", "NER")
    client = create_app(real.home, clock=lambda: NOW).test_client()
    assert client.get("/v1/scores").json["type"] == "urn:vigie:problem:no-real-snapshot"
    assert client.get("/v1/runs").json["data"] == []
    assert client.get("/v1/snapshots").json["data"] == []
    assert client.get("/v1/snapshots/1").json["type"] == "urn:vigie:problem:unknown-snapshot"


def test_every_country_of_the_region_has_an_address(real: SnapshotHome, client: FlaskClient) -> None:
    for iso3, score in SCORES.items():
        assert client.get(f"/v1/scores/{iso3}").json["data"]["risk_score"] == score
