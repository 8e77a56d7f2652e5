"""Resources besides the scores: histories, events, draws, snapshots, the model, countries, the feed."""

import csv
import hashlib
import io
import json
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from snapshot_documents import NOW
from snapshots_support import SettableClock, SnapshotHome, full_home

from service.cli.app import create_app
from service.snapshots.outcome_parts import of_outcome
from service.store.tables import forecasts, snapshots
from service.store.values import canonical

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def seeded(tmp_path: Path) -> SnapshotHome:
    return full_home(tmp_path / "lived-in")


@pytest.fixture
def client(seeded: SnapshotHome) -> FlaskClient:
    return create_app(seeded.home, clock=SettableClock()).test_client()


def test_scores_can_be_filtered_by_band_and_key(client: FlaskClient) -> None:
    rows = client.get("/v1/scores?band_at_least=very%20high&fields=risk_score,reasons").json["data"]
    assert [(row["location_code"], row["risk_score"]) for row in rows] == [("BFA", 86.2), ("MLI", 81.4)]
    assert rows[0].keys() == {"location_code", "risk_score", "reasons"}
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/scores.csv?band_at_least=extreme&fields=band").text)))
    assert [(line["location_code"], line["band"]) for line in lines] == [("BFA", "extreme")]
    assert "risk_score" not in lines[0]
    assert len(client.get("/v1/scores?band_at_least=minimal").json["data"]) == 7


def test_another_region_is_served_if_it_has_snapshots(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    client = create_app(home.home, clock=SettableClock()).test_client()
    refused = client.get("/v1/scores?region=NER")
    assert (refused.status_code, json.loads(refused.data)["region"]) == (404, "NER")
    issued = home.issue()
    home.replace({**issued, "region": "NER"})
    with home.store.writing() as connection:
        connection.execute(sa.update(snapshots).where(snapshots.c.id == 2).values(region="NER"))
    assert client.get("/v1/scores?region=NER").json["snapshot_id"] == 2
    assert client.get("/v1/scores?region=MLI").json["snapshot_id"] == 1


def test_history_has_an_entry_per_snapshot_and_pages(client: FlaskClient) -> None:
    history = client.get("/v1/scores/MLI/history").json
    assert [(row["snapshot_id"], row["origin"]) for row in history["data"]] == [
        (4, "2022-12"),
        (3, "2022-12"),
        (2, "2022-11"),
        (1, "2022-10"),
    ]
    assert [bool(row["withdrawn_at"]) for row in history["data"]] == [True, False, False, False]
    assert (history["data"][0]["withdrawn_reason"], history["next"]) == ("an invented mistake", None)
    assert (history["data"][3]["reference_period_start"], history["data"][3]["reference_period_end"]) == (
        "2022-11-01",
        "2023-01-31",
    )
    collected, following = [], "/v1/scores/MLI/history?limit=3"
    while following:
        response = client.get(following)
        collected += response.json["data"]
        following = response.json["next"]
        assert ("Link" in response.headers) == bool(following)
    assert collected == history["data"]
    unknown = client.get("/v1/scores/MRT/history").json["data"][0]
    assert (unknown["risk_score"], unknown["reasons"]["risk_score"]) == (None, "no_history")


def test_every_event_is_on_one_page(client: FlaskClient) -> None:
    collected, following = [], "/v1/events?limit=40"
    while following:
        page = client.get(following).json
        collected += page["data"]
        following = page["next"]
    ids = [event["event_id"] for event in collected]
    assert len(ids) == len(set(ids)) == 250
    days = [event["date_start"] for event in collected]
    assert days == sorted(days, reverse=True)
    assert (page["sources"][0]["licence"], page["coverage"][0]["last"]) == ("CC BY 4.0", "2022-12")
    some = client.get("/v1/events?iso3=MLI&from=2022-12-01&to=2022-12-10&limit=1000").json["data"]
    assert {event["location_code"] for event in some} == {"MLI"}
    assert {day for event in some for day in [event["date_start"]]} <= {f"2022-12-{day:02}" for day in range(1, 11)}
    assert some
    placed = next(event for event in collected if event["latitude"] is None)
    assert "no_coordinates" in placed["flags"]


def test_a_spreadsheet_runs_no_text_from_a_source(client: FlaskClient) -> None:
    """Every event of this home has a side whose name starts like a formula, and some have a negative longitude."""
    events = client.get("/v1/events").json["data"]
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/events.csv").text)))
    assert {event["side_b"] for event in events} == {"=An invented group"}
    assert {line["side_b"] for line in lines} == {"'=An invented group"}
    assert {line["side_a"] for line in lines} == {"Government of Mali"}
    assert {line["longitude"] for line in lines} == {"", "-4.25"}


def test_draws_are_files_with_telling_names_and_headers(client: FlaskClient, seeded: SnapshotHome) -> None:
    forecast = client.get("/v1/forecasts/MLI").json["data"]
    assert [lead["lead"] for lead in forecast["leads"]] == list(range(1, 13))
    assert forecast["leads"][0]["reference_period_start"] == "2023-01-01"
    with seeded.store.reading() as connection:
        stored = connection.execute(sa.select(forecasts).where(forecasts.c.outcome == "all")).one()
    parquet = client.get(forecast["draws"]["parquet"])
    assert (parquet.data, parquet.mimetype) == (stored.parquet, "application/vnd.apache.parquet")
    assert "MLI-all-2022-12-snapshot-3.parquet" in parquet.headers["Content-Disposition"]
    assert (parquet.headers["Vigie-Snapshot"], parquet.headers["Vigie-Simulated"]) == ("3", "false")
    assert (
        client.get(forecast["draws"]["csv"]).text.splitlines()[0] == "origin,iso3,month,draw,deaths,outcome,simulated"
    )
    without = client.get("/v1/forecasts/BFA").json["data"]
    assert (without["draws"], without["reasons"]) == (
        {"parquet": None, "csv": None},
        {"draws": "not_in_snapshot"},
    )
    missing = client.get("/v1/forecasts/MRT/draws.csv")
    assert (missing.status_code, json.loads(missing.data)["reason"]) == (404, "no_history")


def test_snapshots_are_listed_newest_first_in_pages(client: FlaskClient) -> None:
    listed = client.get("/v1/snapshots").json
    assert [(row["snapshot_id"], row["origin"], row["data_as_of"]) for row in listed["data"]] == [
        (4, "2022-12", "2022-12-31"),
        (3, "2022-12", "2022-12-31"),
        (2, "2022-11", "2022-11-30"),
        (1, "2022-10", "2022-10-31"),
    ]
    newest = listed["data"][0]
    assert (newest["withdrawn_at"], newest["withdrawn_reason"]) == ("2023-01-10T08:33:00Z", "an invented mistake")
    assert (newest["issued_at"], newest["model_id"]) == ("2023-01-10T08:31:00Z", "2022-12-all-ab12cd34")
    assert {row["withdrawn_at"] for row in listed["data"][1:]} == {None}
    assert listed["snapshot_id"] == 3
    pages, following = [], "/v1/snapshots?limit=3"
    while following:
        page = client.get(following).json
        pages.append(page["data"])
        following = page["next"]
    assert [len(page) for page in pages] == [3, 1]
    assert [row for page in pages for row in page] == listed["data"]
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/snapshots.csv").text)))
    assert [(line["snapshot_id"], line["withdrawn_reason"]) for line in lines] == [
        ("4", "an invented mistake"),
        ("3", ""),
        ("2", ""),
        ("1", ""),
    ]


def test_a_snapshot_is_served_as_it_was_issued_even_if_withdrawn(client: FlaskClient) -> None:
    entries = client.get("/v1/snapshots").json["data"]
    for number in (2, 4):
        payload = client.get(f"/v1/snapshots/{number}").json
        document = payload["data"].pop("document")
        assert payload["data"] in entries
        assert hashlib.sha256(canonical(document).encode()).hexdigest() == payload["data"]["digest"]
        assert (payload["snapshot_id"], payload["origin"]) == (number, of_outcome(document)["origin"])


def test_a_snapshot_of_another_region_or_of_retired_data_is_not_found(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    client = create_app(home.home, clock=SettableClock()).test_client()
    home.issue(simulated=True)
    assert client.get("/v1/snapshots/1").json["type"] == "urn:vigie:problem:no-data"
    home.add_ingests("simulated")
    assert client.get("/v1/snapshots/1").json["simulated"] is True
    home.add_ingests("simulated", "real")
    home.issue()
    retired = client.get("/v1/snapshots/1")
    assert (retired.status_code, retired.json["type"]) == (404, "urn:vigie:problem:retired-snapshot")
    assert client.get("/v1/snapshots/1/diff/2").json["snapshot_id"] == 1
    assert client.get("/v1/snapshots/2/diff/1").json["type"] == "urn:vigie:problem:retired-snapshot"
    assert [row["snapshot_id"] for row in client.get("/v1/snapshots").json["data"]] == [2]
    with home.store.writing() as connection:
        connection.execute(sa.update(snapshots).where(snapshots.c.id == 2).values(region="NER"))
    unknown = client.get("/v1/snapshots/2")
    assert (unknown.status_code, unknown.json["snapshot_id"]) == (404, 2)
    assert unknown.json["type"] == "urn:vigie:problem:unknown-snapshot"


def test_the_difference_between_two_snapshots(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue(origin="2022-11")
    home.run("failed")
    issued = home.issue()
    issued["model"]["digest"] = "0" * 64
    issued["countries"][0] |= {"risk_score": 66.6, "band": "high"}
    home.replace(issued)
    client = create_app(home.home, clock=SettableClock()).test_client()
    diff = client.get("/v1/snapshots/1/diff/2").json
    assert diff["differs"] == ["origin", "model"]
    assert (diff["before"]["snapshot_id"], diff["after"]["snapshot_id"], diff["snapshot_id"]) == (1, 2, 2)
    mali = next(row for row in diff["data"] if row["location_code"] == "MLI")
    assert (mali["risk_score_before"], mali["risk_score_after"], mali["risk_score_difference"]) == (81.4, 66.6, -14.8)
    assert (mali["band_before"], mali["band_after"]) == ("very high", "high")
    assert "vigie changed 1 2 --outcome state_based" in diff["attribution"]["en"]
    unknown = next(row for row in diff["data"] if row["location_code"] == "MRT")
    assert (unknown["risk_score_difference"], unknown["reasons"]["risk_score_before"]) == (None, "no_history")
    assert client.get("/v1/snapshots/9/diff/1").json["snapshot_id"] == 9
    home.replace({**issued, "outcome": "all"})
    incomparable = client.get("/v1/snapshots/1/diff/2")
    assert (incomparable.status_code, incomparable.json["type"]) == (409, "urn:vigie:problem:incomparable-snapshots")


def test_the_model_has_the_facts_of_a_matching_manifest(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    issued = home.issue()
    client = create_app(home.home, clock=SettableClock()).test_client()
    gone = client.get("/v1/model").json["data"]
    assert (gone["features"], gone["reasons"]["features"]) == (None, "model_gone")
    manifest = {"files": {"model.pickle": "e" * 64}, "seed": 0, "features": ["deaths_12m"], "configuration": "Pool()"}
    folder = home.home.models / issued["model"]["id"]
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    model = client.get("/v1/model").json["data"]
    assert (model["seed"], model["features"], model["configuration"]) == (0, ["deaths_12m"], "Pool()")
    assert model["reasons"]["scores"] == "unknown"
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": {"model.pickle": "0" * 64}}))
    assert client.get("/v1/model").json["data"]["reasons"]["features"] == "model_altered"


def test_countries_are_listed_before_the_first_snapshot(tmp_path: Path) -> None:
    client = create_app(SnapshotHome(tmp_path / "home").home, clock=SettableClock()).test_client()
    payload = client.get("/v1/countries").json
    assert [row["location_code"] for row in payload["data"] if row["focal"]] == ["MLI"]
    assert {row["reasons"]["served"] for row in payload["data"]} == {"no_snapshot"}
    ivory = next(row for row in payload["data"] if row["location_code"] == "CIV")
    assert (ivory["name"]["fr"], ivory["capital"]) == ("Côte d’Ivoire", "Yamoussoukro")
    assert payload["reasons"] == {"snapshot_id": "no_snapshot"}


def test_geojson_has_a_point_at_each_capital(client: FlaskClient) -> None:
    collection = json.loads(client.get("/v1/scores.geojson").data)
    mali = next(feature for feature in collection["features"] if feature["id"] == "MLI")
    assert mali["geometry"]["coordinates"] == [-8.0, 12.65]
    assert (mali["properties"]["risk_score"], mali["properties"]["simulated"]) == (81.4, False)


def test_the_feed_has_snapshots_and_changed_bands(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue(origin="2022-11", at=NOW - timedelta(days=30))
    home.issue()
    with home.store.writing() as connection:
        changed = sa.text("UPDATE scores SET band = 'high' WHERE snapshot_id = 1 AND location_code = 'MLI'")
        connection.execute(changed)
    client = create_app(home.home, clock=SettableClock()).test_client()
    response = client.get("/feeds/scores.atom")
    assert response.mimetype == "application/atom+xml"
    feed = ElementTree.fromstring(response.data)  # noqa: S314 - our own
    for node in (feed, *feed.iter(f"{ATOM}entry")):
        assert all(node.findtext(f"{ATOM}{name}") for name in ("id", "title", "updated")), "RFC 4287, 4.1.1 and 4.1.2"
        assert node.find(f"{ATOM}link") is not None
    titles = [entry.findtext(f"{ATOM}title") for entry in feed.iter(f"{ATOM}entry")]
    assert titles == [
        "Risk scores of state-based conflict from data to 2022-12 (snapshot 2)",
        "Mali: high → very high (state-based conflict)",
        "Risk scores of state-based conflict from data to 2022-11 (snapshot 1)",
    ]
    assert feed.findtext(f"{ATOM}updated") == "2023-01-10T08:30:00Z"
    ids = [entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")]
    assert len(set(ids)) == 3
    with home.store.writing() as connection:
        withdrawn = sa.update(snapshots).where(snapshots.c.id == 2).values(withdrawn_at=NOW + timedelta(minutes=5))
        connection.execute(withdrawn)
    later = ElementTree.fromstring(client.get("/feeds/scores.atom").data)  # noqa: S314 - our own
    first = next(later.iter(f"{ATOM}entry"))
    assert (first.findtext(f"{ATOM}id"), first.findtext(f"{ATOM}updated")) == (ids[0], "2023-01-10T08:35:00Z")
    assert (first.findtext(f"{ATOM}title") or "").startswith("WITHDRAWN")
    assert len(list(later.iter(f"{ATOM}entry"))) == 2


LICENCE = "CC BY 4.0 · UCDP"


def test_the_licence_of_the_data_stands_wherever_they_show(client: FlaskClient) -> None:
    tables = ("/v1/scores", "/v1/scores/MLI/history", "/v1/forecasts/MLI", "/v1/drivers/MLI", "/v1/events")
    for path in tables:
        assert client.get(path).json["licence"] == LICENCE, path
        lines = list(csv.DictReader(io.StringIO(client.get(f"{path}.csv").text)))
        assert {line["licence"] for line in lines} == {LICENCE}, path
    assert client.get("/v1/scores.geojson").json["licence"] == LICENCE
    feed = ElementTree.fromstring(client.get("/feeds/scores.atom").data)  # noqa: S314 - our own
    assert [node.text for node in feed if node.tag.endswith("rights")] == [LICENCE]
    for page in ("/en/", "/fr/country/MLI", "/en/scorecard"):
        assert LICENCE in client.get(page).text, page
