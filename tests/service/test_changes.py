"""The change feed: rows in the transaction of the change, and cursors that miss and repeat nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from announced import issue
from flask.testing import FlaskClient
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from riskmodel.alerting import rule_file
from service.alerts import lifecycle
from service.cli.app import create_app
from service.jobs.withdrawal import withdraw
from service.snapshots import change_feed
from service.store.tables import changes as table
from service.store.tables import snapshots

RULES = rule_file.parse(
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


def changes_since(client: FlaskClient, since: str = "start", **parameters: object) -> dict[str, Any]:
    response = client.get("/v1/changes", query_string={"since": since, **parameters})
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    payload: dict[str, Any] = response.json
    return payload


def test_a_snapshot_and_the_bands_that_differ_are_told_in_order(home: SnapshotHome, client: FlaskClient) -> None:
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
        "outcome": "state_based",
        "location_code": "SEN",
        "location_name": "Senegal",
        "snapshot_id": 2,
        "from_band": "minimal",
        "to_band": "low",
        "from_score": 7.8,
        "to_score": 7.8,
        "reasons": {},
        "of_headline": True,
    }
    assert (guinea["from_band"], guinea["to_band"], guinea["to_score"]) == ("low", None, None)
    assert guinea["reasons"] == {"to_band": "no_history", "to_score": "no_history"}


def test_an_alert_is_told_with_its_transition(home: SnapshotHome, client: FlaskClient) -> None:
    number = issue(home)
    with home.store.writing() as connection:
        document = connection.execute(sa.select(snapshots.c.document)).scalar_one()
        how = {"run_id": 1, "snapshot_id": number, "now": NOW}
        lifecycle.evaluate(connection, rules=RULES, document=document, causes=["new_month"], **how)
    (_, alert) = changes_since(client)["data"]
    assert (alert["kind"], alert["location_code"], alert["rule"]) == ("alert", "MLI", "grave")
    assert (alert["from_state"], alert["to_state"], alert["value"]) == ("ok", "firing", 81.4)
    assert alert["headline"].keys() == {"en", "fr"}


def test_a_withdrawal_is_told_and_what_it_changes_back(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    issue(home, MLI="extreme")
    withdraw(home.store, RULES, 2, "a wrong file", LATER)
    data = changes_since(client)["data"]
    assert [c["kind"] for c in data] == ["snapshot", "snapshot", "band", "withdrawal", "band", "alert"]
    assert (data[3]["snapshot_id"], data[3]["withdrawn_reason"], data[3]["in_service"]) == (2, "a wrong file", 1)
    assert (data[4]["snapshot_id"], data[4]["from_band"], data[4]["to_band"]) == (1, "extreme", "very high")
    withdraw(home.store, RULES, 1, "wrong too", LATER)
    last = [change for change in changes_since(client)["data"] if change["kind"] == "withdrawal"][-1]
    assert (last["snapshot_id"], last["in_service"], last["reasons"]) == (1, None, {"in_service": "no_snapshot"})


def test_an_older_snapshot_that_is_withdrawn_changes_no_band(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home, MLI="extreme")
    issue(home)
    before = changes_since(client)["next"]
    withdraw(home.store, (), 1, "a wrong file", LATER)
    assert [c["kind"] for c in changes_since(client, before)["data"]] == ["withdrawal"]


def test_what_is_rolled_back_is_not_told(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    cursor = changes_since(client)["next"]
    with home.store.engine.connect() as connection:
        change_feed.snapshot_issued(connection, connection.execute(sa.select(snapshots)).one(), None, NOW)
        connection.rollback()
    assert changes_since(client, cursor)["data"] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_page_by_page_nothing_is_missed_or_repeated(home: SnapshotHome, client: FlaskClient, limit: int) -> None:
    for place in range(4):
        issue(home, SEN="low" if place % 2 else "minimal", MLI="high" if place % 2 else "low")
    all_at_once = changes_since(client)
    assert all_at_once["more"] is False
    cursor, seen, more = "start", [], True
    while more:
        page = changes_since(client, cursor, limit=limit)
        assert len(page["data"]) <= limit
        seen += page["data"]
        cursor, more = page["next"], page["more"]
    assert seen == all_at_once["data"]
    assert cursor == all_at_once["next"] == seen[-1]["cursor"]
    for place, change in enumerate(seen):
        assert changes_since(client, change["cursor"])["data"] == seen[place + 1 :]


def test_without_a_cursor_it_begins_now(home: SnapshotHome, client: FlaskClient) -> None:
    issue(home)
    payload = client.get("/v1/changes").json
    assert (payload["data"], payload["more"], payload["snapshot_id"], payload["simulated"]) == ([], False, 1, False)
    issue(home)
    assert [c["snapshot_id"] for c in changes_since(client, payload["next"])["data"]] == [2]


def test_where_there_is_nothing_yet_a_cursor_is_given_all_the_same(tmp_path: Path) -> None:
    empty = SnapshotHome(tmp_path / "empty")
    client = create_app(empty.home, clock=lambda: LATER).test_client()
    payload = client.get("/v1/changes").json
    assert (payload["data"], payload["snapshot_id"], payload["simulated"]) == ([], None, None)
    empty.add_ingests("real")
    issue(empty)
    kinds = [(c["kind"], c["simulated"]) for c in changes_since(client, payload["next"])["data"]]
    assert kinds == [("realm", False), ("snapshot", False)]


def test_a_cursor_of_simulated_data_learns_that_they_are_retired(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated")
    client = create_app(home.home, clock=lambda: LATER).test_client()
    document = home.issue(simulated=True)
    with home.store.writing() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == document["id"])).one()
        change_feed.snapshot_issued(connection, row, None, NOW)
    seen = changes_since(client)
    assert [c["simulated"] for c in seen["data"]] == [True]
    home.add_ingests("simulated", "real")
    (realm,) = changes_since(client, seen["next"])["data"]
    assert (realm["kind"], realm["realm"], realm["simulated"], realm["at"]) == (
        "realm",
        "real",
        False,
        "2023-01-10T08:50:00Z",
    )
    assert changes_since(client, realm["cursor"])["data"] == []
    issue(home)
    assert [c["kind"] for c in changes_since(client, seen["next"], limit=1)["data"]] == ["realm"]
    assert [c["kind"] for c in changes_since(client, realm["cursor"])["data"]] == ["snapshot"]
    assert all(not c["simulated"] for c in changes_since(client)["data"])


@pytest.mark.parametrize(
    "since", ["", "0", "nix", "%00", "é", "MS5NTEkucmVhbC4", "MS5ORVIucmVhbC4w", "MS5NTEkucmVhbC45OQ"]
)
def test_what_is_no_cursor_of_ours_is_a_problem(home: SnapshotHome, client: FlaskClient, since: str) -> None:
    """Also one of another region (NER), and one from beyond the newest change, as a restored database leaves behind."""
    issue(home)
    for path in ("/v1/changes", "/v1/stream"):
        response = client.get(path, query_string={"since": since})
        assert (response.status_code, response.json["type"]) == (400, "urn:vigie:problem:bad-cursor"), path
        assert response.json["reason"]


def test_a_cursor_whose_next_change_was_pruned_is_a_problem_and_not_a_gap(
    home: SnapshotHome, client: FlaskClient
) -> None:
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


def test_without_the_front_a_stream_ends_after_the_changes_that_there_are(
    home: SnapshotHome, client: FlaskClient
) -> None:
    """Under a plain WSGI server: its client connects again."""
    issue(home)
    first = client.get("/v1/stream")
    assert first.mimetype == "text/event-stream"
    assert first.text.count("\n\n") == 1
    cursor = first.text.split("\n")[0].removeprefix("id: ")
    issue(home)
    assert "event: snapshot" in client.get("/v1/stream", headers={"Last-Event-ID": cursor}).text
    assert "Last-Event-ID" in first.headers["Vary"]
