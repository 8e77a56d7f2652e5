"""The change feed: rows in the transaction of the change, cursors, waiting clients and streams."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service.alerts import lifecycle, rules
from service.cli.app import create_app
from service.jobs.withdrawal import withdraw
from service.snapshots import change_feed
from service.store.tables import changes as table
from service.store.tables import snapshots

RULES = rules.parse(
    '[[rule]]\nname = "grave"\nmetric = "risk_score"\nfire_at = 60\nclear_at = 55\nseverity = "warning"\n'
    'title = {en = "Grave", fr = "Grave"}\ncountries = ["MLI"]\n',
    "rules",
)
LATER = NOW + timedelta(minutes=20)


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    return issuer


def issue(home: SnapshotHome, **bands: str | None) -> int:
    """Issue a snapshot in which these countries have these bands, and record the changes as a recompute does."""
    with home.store.reading() as connection:
        before = connection.execute(sa.select(snapshots).order_by(snapshots.c.id.desc())).first()
    document = home.issue()
    for country in document["countries"]:
        if country["location_code"] in bands:
            country["band"] = bands[country["location_code"]]
            if country["band"] is None:
                country.update(risk_score=None, reasons={"risk_score": "no_history"})
    home.replace(document)
    with home.store.writing() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == document["id"])).one()
        change_feed.snapshot_issued(connection, row, before.document if before else None, NOW)
    return int(document["id"])


def changes_since(client: FlaskClient, since: str = "start", **parameters: object) -> dict[str, Any]:
    response = client.get("/v1/changes", query_string={"since": since, **parameters})
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    payload: dict[str, Any] = response.json
    return payload


def test_a_snapshot_and_its_changed_bands_come_in_order(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    issue(home, SEN="low", GIN=None)
    first, second, guinea, senegal = changes_since(client)["data"]
    assert [(c["kind"], c["snapshot_id"]) for c in (first, second)] == [("snapshot", 1), ("snapshot", 2)]
    assert (second["origin"], second["causes"], second["simulated"]) == ("2022-12", ["new_month"], False)
    assert senegal == {
        "cursor": senegal["cursor"],
        "at": "2023-01-10T08:30:00Z",
        "kind": "band",
        "simulated": False,
        "location_code": "SEN",
        "location_name": "Senegal",
        "snapshot_id": 2,
        "from_band": "minimal",
        "to_band": "low",
        "from_score": 7.8,
        "to_score": 7.8,
        "reasons": {},
    }
    assert (guinea["from_band"], guinea["to_band"], guinea["to_score"]) == ("low", None, None)
    assert guinea["reasons"] == {"to_band": "no_history", "to_score": "no_history"}


def test_an_alert_change_has_both_states(home: SnapshotHome, client: FlaskClient) -> None:
    number = issue(home)
    with home.store.writing() as connection:
        document = connection.execute(sa.select(snapshots.c.document)).scalar_one()
        how = {"run_id": 1, "snapshot_id": number, "now": NOW, "data_age_days": 10, "first": False}
        lifecycle.evaluate(connection, rules=RULES, document=document, causes=["new_month"], **how)
    (_, alert) = changes_since(client)["data"]
    assert (alert["kind"], alert["location_code"], alert["rule"]) == ("alert", "MLI", "grave")
    assert (alert["from_state"], alert["to_state"], alert["value"]) == ("ok", "firing", 81.4)
    assert alert["headline"].keys() == {"en", "fr"}


def test_bands_and_alerts_that_change_back_follow_a_withdrawal(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    issue(home, MLI="extreme")
    withdraw(home.store, RULES, 2, "a wrong file", LATER)
    data = changes_since(client)["data"]
    assert [c["kind"] for c in data] == ["snapshot", "snapshot", "band", "withdrawal", "band", "alert"]
    assert (data[3]["snapshot_id"], data[3]["withdrawn_reason"], data[3]["in_service"]) == (2, "a wrong file", 1)
    assert (data[4]["snapshot_id"], data[4]["from_band"], data[4]["to_band"]) == (1, "extreme", "very high")
    withdraw(home.store, RULES, 1, "wrong too", LATER)
    last = changes_since(client)["data"][-1]
    assert (last["snapshot_id"], last["in_service"], last["reasons"]) == (1, None, {"in_service": "no_snapshot"})


def test_withdrawing_an_older_snapshot_changes_no_band(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home, MLI="extreme")
    issue(home)
    before = changes_since(client)["next"]
    withdraw(home.store, (), 1, "a wrong file", LATER)
    assert [c["kind"] for c in changes_since(client, before)["data"]] == ["withdrawal"]


def test_a_rolled_back_change_is_not_listed(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    cursor = changes_since(client)["next"]
    with home.store.engine.connect() as connection:
        change_feed.snapshot_issued(connection, connection.execute(sa.select(snapshots)).one(), None, NOW)
        connection.rollback()
    assert changes_since(client, cursor)["data"] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_miss_and_repeat_no_change(home: SnapshotHome, client: FlaskClient, limit: int) -> None:
    for place in range(4):
        issue(home, SEN="low" if place % 2 else "minimal", MLI="high" if place % 2 else "low")
    everything = changes_since(client)
    assert everything["more"] is False
    cursor, collected, more = "start", [], True
    while more:
        page = changes_since(client, cursor, limit=limit)
        assert len(page["data"]) <= limit
        collected += page["data"]
        cursor, more = page["next"], page["more"]
    assert collected == everything["data"]
    assert cursor == everything["next"] == collected[-1]["cursor"]
    for place, change in enumerate(collected):
        assert changes_since(client, change["cursor"])["data"] == collected[place + 1 :]


def test_without_a_cursor_only_later_changes_are_listed(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    payload = client.get("/v1/changes").json
    assert (payload["data"], payload["more"], payload["snapshot_id"], payload["simulated"]) == ([], False, 1, False)
    issue(home)
    assert [c["snapshot_id"] for c in changes_since(client, payload["next"])["data"]] == [2]


def test_an_empty_home_has_a_cursor(tmp_path: Path) -> None:
    empty = SnapshotHome(tmp_path / "empty")
    client = create_app(empty.home, clock=lambda: LATER).test_client()
    payload = client.get("/v1/changes").json
    assert (payload["data"], payload["snapshot_id"], payload["simulated"]) == ([], None, None)
    empty.add_ingests("real")
    issue(empty)
    kinds = [(c["kind"], c["simulated"]) for c in changes_since(client, payload["next"])["data"]]
    assert kinds == [("realm", False), ("snapshot", False)]


def test_a_cursor_from_simulated_data_gets_a_realm_change(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated")
    client = create_app(home.home, clock=lambda: LATER).test_client()
    document = home.issue(simulated=True)
    with home.store.writing() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == document["id"])).one()
        change_feed.snapshot_issued(connection, row, None, NOW)
    collected = changes_since(client)
    assert [c["simulated"] for c in collected["data"]] == [True]
    home.add_ingests("simulated", "real")
    (realm,) = changes_since(client, collected["next"])["data"]
    assert (realm["kind"], realm["realm"], realm["simulated"], realm["at"]) == (
        "realm",
        "real",
        False,
        "2023-01-10T08:50:00Z",
    )
    assert changes_since(client, realm["cursor"])["data"] == []
    issue(home)
    assert [c["kind"] for c in changes_since(client, collected["next"], limit=1)["data"]] == ["realm"]
    assert [c["kind"] for c in changes_since(client, realm["cursor"])["data"]] == ["snapshot"]
    assert all(not c["simulated"] for c in changes_since(client)["data"])


@pytest.mark.parametrize(
    "since", ["", "0", "nix", "%00", "é", "MS5NTEkucmVhbC4", "MS5ORVIucmVhbC4w", "MS5NTEkucmVhbC45OQ"]
)
def test_an_invalid_cursor_is_a_problem(home: SnapshotHome, client: FlaskClient, since: str) -> None:
    """Also a cursor of another region (NER), and one after the newest change, as after a restored backup."""
    issue(home)
    for path in ("/v1/changes", "/v1/stream"):
        response = client.get(path, query_string={"since": since})
        assert (response.status_code, response.json["type"]) == (400, "urn:vigie:problem:bad-cursor"), path
        assert response.json["reason"]


def test_a_cursor_whose_next_change_is_deleted_is_a_problem(home: SnapshotHome, client: FlaskClient) -> None:
    for _ in range(4):
        issue(home)
    cursors = [change["cursor"] for change in changes_since(client)["data"]]
    with home.store.writing() as connection:
        connection.execute(sa.delete(table).where(table.c.id <= 2))
    assert client.get("/v1/changes", query_string={"since": cursors[0]}).json["type"] == "urn:vigie:problem:bad-cursor"
    assert [c["snapshot_id"] for c in changes_since(client, cursors[1])["data"]] == [3, 4]
    assert [c["snapshot_id"] for c in changes_since(client)["data"]] == [3, 4]


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1e2"])
def test_a_wrong_limit_is_a_problem(home: SnapshotHome, client: FlaskClient, limit: str) -> None:
    response = client.get("/v1/changes", query_string={"limit": limit})
    assert (response.status_code, response.json["type"]) == (400, "urn:vigie:problem:bad-query")
    assert response.json["parameter"] == "limit"


def test_a_waiting_client_gets_the_next_change(home: SnapshotHome, client: FlaskClient) -> None:
    cursor = changes_since(client)["next"]
    later = threading.Timer(0.4, lambda: issue(home))
    later.start()
    began = time.monotonic()
    response = client.get("/v1/changes", query_string={"since": cursor}, headers={"Prefer": "wait=20, respond-async"})
    took = time.monotonic() - began
    later.join()
    assert [c["kind"] for c in response.json["data"]] == ["snapshot"]
    assert response.json["snapshot_id"] == 1
    assert response.headers["Preference-Applied"] == "wait=20"
    assert 0.4 <= took < 5


def test_waiting_is_limited_in_time_and_slots(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_MAX_WAIT_SECONDS", "1")
    monkeypatch.setenv("VIGIE_MAX_WAITING_CLIENTS", "1")
    app = create_app(home.home, clock=lambda: LATER)
    began = time.monotonic()
    response = app.test_client().get("/v1/changes", headers={"Prefer": "wait=3600"})
    assert 1 <= time.monotonic() - began < 3
    assert (response.headers["Preference-Applied"], response.json["data"]) == ("wait=1", [])
    stream = app.test_client().get("/v1/stream")
    assert stream.status_code == 200
    refused = app.test_client().get("/v1/stream")
    assert (refused.status_code, refused.json["type"]) == (503, "urn:vigie:problem:too-many-waiters")
    assert refused.headers["Retry-After"] == "5"
    at_once = app.test_client().get("/v1/changes", headers={"Prefer": "wait=30"})
    assert "Preference-Applied" not in at_once.headers
    stream.close()
    assert "Preference-Applied" in app.test_client().get("/v1/changes", headers={"Prefer": "wait=1"}).headers


def events(chunks: Iterator[bytes], count: int) -> list[dict[str, str]]:
    """The next events of a stream."""
    found: list[dict[str, str]] = []
    while len(found) < count:
        for block in next(chunks).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append(fields)
    return found


def test_a_stream_sends_changes_and_resumes(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    response = client.get("/v1/stream")
    assert response.mimetype == "text/event-stream"
    chunks = iter(response.response)
    (hello,) = events(chunks, 1)
    assert "data" not in hello
    issue(home, SEN="low")
    snapshot, band = events(chunks, 2)
    response.close()
    assert (snapshot["event"], band["event"]) == ("snapshot", "band")
    assert json.loads(band["data"]) == changes_since(client)["data"][-1]
    for cursor, rest in ((hello["id"], [snapshot, band]), (snapshot["id"], [band])):
        again = client.get("/v1/stream", headers={"Last-Event-ID": cursor})
        assert events(iter(again.response), 1 + len(rest))[1:] == rest
        again.close()


def test_a_stream_sends_heartbeats_and_ends(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.changes.HEARTBEAT_INTERVAL", 0.3)
    monkeypatch.setenv("VIGIE_STREAM_SECONDS", "1")
    response = create_app(home.home, clock=lambda: LATER).test_client().get("/v1/stream")
    chunks = [chunk.decode() for chunk in response.response]
    assert chunks[0].startswith(": vigie")
    assert 2 <= chunks.count(": still here\n\n") <= 3
