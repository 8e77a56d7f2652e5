"""What the API promises: the guide, the OpenAPI document and what is answered say the same, on any home."""

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import jsonschema_rs
import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from issued import NOW, TASK, Issuer, lived_in, without_explanations

from riskmodel.home import Home
from service import keys, spreadsheet
from service.api import openapi, problems
from service.api.openapi import Asked, offers
from service.api.schemas import Said
from service.app import create_app
from service.store.tables import forecasts, snapshots

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"
PROMISED = Path(__file__).with_name("promised.txt")
SHOWN = ("/", "/country/{iso3}", "/docs", "/scorecard")
PAGES = {f"{under}{page}" for page in SHOWN for under in ("", "/{language}")} | {"/static/{filename}"}
ATOM = "{http://www.w3.org/2005/Atom}"
CASES = 2000
MORE_THAN_A_SCHEMA_SAYS = """
[[operations]]
include-path-regex = "^/v1/(events|changes|stream|scores|forecasts|indicators|drivers|whatif|recompute|tasks)"
checks.positive_data_acceptance.enabled = false
"""
"""That `to` is not before `from`, that a day is past, that a code is a country's and that a cursor was given out here
are no matters of a schema, so what fits it may still be refused."""


def clock() -> datetime:
    return NOW + timedelta(minutes=20)


@pytest.fixture(autouse=True)
def _streams_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_STREAM_SECONDS", "1")


@pytest.fixture
def seeded(tmp_path: Path) -> Issuer:
    return lived_in(tmp_path / "lived-in")


@pytest.fixture
def app(seeded: Issuer) -> Flask:
    return create_app(seeded.home, clock=clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as empty:
        described: dict[str, Any] = create_app(Home(Path(empty))).test_client().get("/openapi.json").json
    return described


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, where no object may have keys that it does not name."""

    def shut(schema: Any) -> Any:
        if isinstance(schema, list):
            return [shut(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        told = {name: shut(each) for name, each in schema.items()}
        return told | ({"additionalProperties": False} if "properties" in schema else {})

    return {**document, "components": {"schemas": shut(document["components"]["schemas"])}}


def wrong(document: dict[str, Any], answer: Any, path: str, method: str = "get") -> list[str]:
    """What of an answer the document does not say."""
    entry = document["paths"][path][method]["responses"].get(str(answer.status_code))
    if entry is None:
        return [f"{path}: {answer.status_code} is not described"]
    if answer.mimetype not in entry.get("content", {}):
        return [f"{path}: {answer.status_code} comes as {answer.mimetype}"]
    schema = entry["content"][answer.mimetype].get("schema", {})
    if schema in ({}, {"type": "string"}):
        return []
    whole = {**schema, "components": closed(document)["components"]}
    validator = jsonschema_rs.validator_for(whole)
    said = json.loads(answer.data)
    return [f"{path}: {list(each.instance_path)}: {each.message[:200]}" for each in validator.iter_errors(said)]


def addresses(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every address of the document that can be read, and one that there is."""
    filled = {"{iso3}": "MLI", "{number}": "1", "{a}": "1", "{b}": "2", "{id}": TASK}
    read = [path for path, methods in document["paths"].items() if "get" in methods]
    return [(path, re.sub(r"{\w+}", lambda part: filled[part[0]], path)) for path in read]


HOMES = ("lived in", "empty", "archive only", "simulated", "withdrawn", "older")


@pytest.fixture
def of_kind(tmp_path: Path) -> Callable[[str], FlaskClient]:
    """A client of a home of one kind."""

    def made(kind: str) -> FlaskClient:
        home = lived_in(tmp_path / "home") if kind == "lived in" else Issuer(tmp_path / "home")
        if kind == "archive only":
            home.hold("real")
        elif kind == "simulated":
            home.hold("simulated")
            home.issue(simulated=True)
        elif kind == "withdrawn":
            home.hold("real")
            home.issue()
            with home.store.writing() as connection:
                connection.execute(sa.update(snapshots).values(withdrawn_at=NOW, withdrawn_why="an invented mistake"))
        elif kind == "older":
            home.hold("real")
            issued = without_explanations(home.issue())
            del issued["data_quality"]
            for country in issued["countries"]:
                for key in ("completeness", "data_quality", "nowcast"):
                    del country[key]
            home.replace(issued)
        return create_app(home.home, clock=clock).test_client()

    return made


@pytest.mark.parametrize("kind", HOMES)
def test_every_answer_is_as_described_with_no_key_beside(
    of_kind: Callable[[str], FlaskClient], document: dict[str, Any], kind: str
) -> None:
    client = of_kind(kind)
    found, statuses = [], set()
    for path, address in addresses(document):
        answer = client.get(address)
        found += wrong(document, answer, path)
        statuses.add(answer.status_code)
        assert answer.status_code != 500, path
    assert found == []
    assert statuses <= ({200} if kind == "lived in" else {200, 404, 503})


def test_every_problem_is_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    refused = {400: "?nothing=1", 406: ""}
    for path, address in addresses(document):
        for status, query in refused.items():
            headers = {"Accept": "image/png"} if status == 406 else {}
            answer = client.get(address + query, headers=headers)
            if status == 406 and answer.status_code == 200:
                continue  # an address that ends in its form has but that one
            assert (answer.status_code, wrong(document, answer, path)) == (status, []), path
    unknown = client.get("/v1/scores/XYZ")
    assert wrong(document, unknown, "/v1/scores/{iso3}") == []


def test_the_guide_names_every_address_and_no_other(document: dict[str, Any]) -> None:
    headings = "\n".join(re.findall(r"^#+ (`.*`)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    told = set(re.findall(r"`(/[^`]*)`", headings))
    assert told == set(document["paths"]) | PAGES - {"/static/{filename}"}


def test_the_guide_names_every_key(document: dict[str, Any]) -> None:
    told = DOCS.read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", "\n".join(re.findall(r"`[^`]*`", told))))
    keys = {
        key
        for name, schema in document["components"]["schemas"].items()
        if name != "Description"
        for key in schema.get("properties", ())
    }
    assert sorted(keys - words - {"en", "fr"}) == []


def said_at(document: dict[str, Any], schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """Every key of a payload with the types that it may have: `data[].risk_score null|number`."""
    choices = [whole(document, choice) for choice in schema.get("anyOf", [schema])]
    if place:
        yield f"{place} {'|'.join(sorted({choice.get('type', 'any') for choice in choices}))}"
    for choice in choices[:1]:
        if "items" in choice:
            yield from said_at(document, choice["items"], f"{place}[]")
        for key, each in choice.get("properties", {}).items():
            yield from said_at(document, each, f"{place}.{key}".strip("."))


def whole(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one that it refers to."""
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def test_a_key_keeps_its_name_and_type(document: dict[str, Any]) -> None:
    said = {
        f"{path} {key}"
        for path, methods in document["paths"].items()
        for media, content in methods.get("get", {"responses": {"200": {}}})["responses"]["200"]
        .get("content", {})
        .items()
        if media.endswith("json") and path != "/openapi.json"
        for key in said_at(document, content["schema"])
    }
    if os.environ.get("VIGIE_PROMISE"):  # at a release, when keys were added
        PROMISED.write_text("\n".join(sorted(said)) + "\n")
    promised = set(PROMISED.read_text().splitlines())
    assert sorted(promised - said) == []
    assert len(promised) > 300


def test_everything_that_is_no_page_is_declared(app: Flask, document: dict[str, Any]) -> None:
    rules = {openapi.PART.sub(r"{\2}", rule.rule) for rule in app.url_map.iter_rules()}
    assert rules == set(document["paths"]) | PAGES


def test_every_payload_of_a_snapshot_carries_what_it_is(client: FlaskClient, document: dict[str, Any]) -> None:
    for path, address in addresses(document):
        answer = client.get(address)
        if path.startswith("/v1/") and answer.mimetype == "application/json":
            said = answer.json
            assert (said["simulated"], said["completeness"]["value"]) == (False, 0.62), path
            assert all(said[key] for key in ("snapshot_id", "issued_at", "data_as_of", "outcome", "status")), path
            assert all(said[key] for key in ("source", "model_id", "next_run_at")), path
        if path.startswith("/v1/") and answer.mimetype == "text/csv":
            lines = list(csv.DictReader(io.StringIO(answer.text)))
            assert {line["simulated"] for line in lines} <= {"false"}, path
            if "draws" not in path:
                assert {"snapshot_id", "issued_at", "status", "model_id", "source"} <= lines[0].keys(), path


def test_what_is_simulated_says_so_in_every_form(
    of_kind: Callable[[str], FlaskClient], document: dict[str, Any]
) -> None:
    client = of_kind("simulated")
    for path, address in addresses(document):
        answer = client.get(address)
        if answer.status_code != 200 or not path.startswith(("/v1/", "/feeds")):
            continue
        if answer.mimetype == "text/event-stream":
            continue  # of nothing that has changed, it says nothing
        if answer.mimetype.endswith("json"):
            assert answer.json["simulated"] is True, path
        elif answer.mimetype == "text/csv":
            assert {line["simulated"] for line in csv.DictReader(io.StringIO(answer.text))} <= {"true"}, path
        else:
            titles = [title.text or "" for title in ElementTree.fromstring(answer.data).iter(f"{ATOM}title")]  # noqa: S314
            assert len(titles) > 1
            assert all("SIMULATED" in title for title in titles)


def test_scores_of_a_band_and_above_and_some_of_their_keys(client: FlaskClient) -> None:
    said = client.get("/v1/scores?band_at_least=very%20high&fields=risk_score,reasons").json["data"]
    assert [(row["location_code"], row["risk_score"]) for row in said] == [("BFA", 86.2), ("MLI", 81.4)]
    assert said[0].keys() == {"location_code", "risk_score", "reasons"}
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/scores.csv?band_at_least=extreme&fields=band").text)))
    assert [(line["location_code"], line["band"]) for line in lines] == [("BFA", "extreme")]
    assert "risk_score" not in lines[0]
    assert len(client.get("/v1/scores?band_at_least=minimal").json["data"]) == 7


@pytest.mark.parametrize(
    ("query", "parameter", "rule"),
    [
        ("/v1/scores?bnad=1", "bnad", "there are: as_of, region, band_at_least, fields"),
        ("/v1/scores?region=mli", "region", "A-Z"),
        ("/v1/scores?band_at_least=severe", "band_at_least", "one of minimal, low, moderate, high, very high, extreme"),
        ("/v1/scores?fields=risk_score,secret", "fields", "'risk_score'"),
        ("/v1/scores?fields=", "fields", "'risk_score'"),
        ("/v1/scores?region=MLI&region=NER", "region", "at most once"),
        ("/v1/runs?limit=0", "limit", "greater than or equal to 1"),
        ("/v1/runs?limit=1e2", "limit", "in digits"),
        ("/v1/runs?limit=1001", "limit", "less than or equal to 1000"),
        ("/v1/runs?cursor=-1", "cursor", "pattern"),
        ("/v1/events?from=2022-13-01", "from", "date"),
        ("/v1/events?from=20220101", "from", "YYYY-MM-DD"),
        ("/v1/events?from=2022-02-01&to=2022-01-01", "to", "not before from"),
        ("/healthz?x=1", "x", "no parameter is taken here"),
    ],
)
def test_a_bad_query_names_the_parameter_and_the_rule(
    client: FlaskClient, query: str, parameter: str, rule: str
) -> None:
    answer = client.get(query)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    said = json.loads(answer.data)
    assert (said["type"], said["parameter"]) == ("urn:vigie:problem:bad-query", parameter)
    assert rule in said["rule"]


def test_another_region_is_served_where_snapshots_of_it_are_kept(tmp_path: Path) -> None:
    home = Issuer(tmp_path / "home")
    home.hold("real")
    home.issue()
    client = create_app(home.home, clock=clock).test_client()
    refused = client.get("/v1/scores?region=NER")
    assert (refused.status_code, json.loads(refused.data)["region"]) == (404, "NER")
    issued = home.issue()
    home.replace({**issued, "region": "NER"})
    with home.store.writing() as connection:
        connection.execute(sa.update(snapshots).where(snapshots.c.id == 2).values(region="NER"))
    assert client.get("/v1/scores?region=NER").json["snapshot_id"] == 2
    assert client.get("/v1/scores?region=MLI").json["snapshot_id"] == 1


def test_the_form_is_the_one_that_is_accepted(client: FlaskClient) -> None:
    for accept, media in (
        ("text/csv", "text/csv"),
        ("application/geo+json", "application/geo+json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/png", "application/problem+json"),
    ):
        answer = client.get("/v1/scores", headers={"Accept": accept})
        assert answer.mimetype == media
        assert answer.status_code == 406 or "Accept" in answer.headers["Vary"]
    assert client.get("/v1/scores.csv", headers={"Accept": "application/json"}).mimetype == "text/csv"
    refused = json.loads(client.get("/v1/model", headers={"Accept": "text/csv"}).data)
    assert (refused["status"], refused["offered"]) == (406, ["application/json"])


def test_history_has_a_line_for_each_snapshot_and_pages(client: FlaskClient) -> None:
    whole = client.get("/v1/scores/MLI/history").json
    assert [(row["snapshot_id"], row["origin"]) for row in whole["data"]] == [
        (4, "2022-12"),
        (3, "2022-12"),
        (2, "2022-11"),
        (1, "2022-10"),
    ]
    assert [bool(row["withdrawn_at"]) for row in whole["data"]] == [True, False, False, False]
    assert (whole["data"][0]["withdrawn_why"], whole["next"]) == ("an invented mistake", None)
    assert (whole["data"][3]["reference_period_start"], whole["data"][3]["reference_period_end"]) == (
        "2022-11-01",
        "2023-01-31",
    )
    seen, following = [], "/v1/scores/MLI/history?limit=3"
    while following:
        answer = client.get(following)
        seen += answer.json["data"]
        following = answer.json["next"]
        assert ("Link" in answer.headers) == bool(following)
    assert seen == whole["data"]
    unknown = client.get("/v1/scores/MRT/history").json["data"][0]
    assert (unknown["risk_score"], unknown["reasons"]["risk_score"]) == (None, "no_history")


def test_events_come_page_by_page_each_once(client: FlaskClient) -> None:
    seen, following = [], "/v1/events?limit=40"
    while following:
        page = client.get(following).json
        seen += page["data"]
        following = page["next"]
    ids = [event["event_id"] for event in seen]
    assert len(ids) == len(set(ids)) == 250
    days = [event["date_start"] for event in seen]
    assert days == sorted(days, reverse=True)
    assert (page["sources"][0]["licence"], page["covers"][0]["last"]) == ("CC BY 4.0", "2022-12")
    some = client.get("/v1/events?iso3=MLI&from=2022-12-01&to=2022-12-10&limit=1000").json["data"]
    assert {event["location_code"] for event in some} == {"MLI"}
    assert {day for event in some for day in [event["date_start"]]} <= {f"2022-12-{day:02}" for day in range(1, 11)}
    assert some
    placed = next(event for event in seen if event["latitude"] is None)
    assert "no_coordinates" in placed["flags"]


def test_no_text_of_a_source_is_run_by_a_spreadsheet(client: FlaskClient) -> None:
    """Every event of this home has a side whose name begins as a formula does, and some a negative longitude."""
    told = client.get("/v1/events").json["data"]
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/events.csv").text)))
    assert {event["side_b"] for event in told} == {"=An invented group"}
    assert {line["side_b"] for line in lines} == {"'=An invented group"}
    assert {line["side_a"] for line in lines} == {"Government of Mali"}
    assert {line["longitude"] for line in lines} == {"", "-4.25"}


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_text_that_begins_as_a_formula_is_written_as_text_and_a_number_as_a_number(begins: str) -> None:
    text = f"{begins}1+1"
    written = spreadsheet.text(("a", "b", "c", "d"), [(text, [text], {text: "why"}, -1.5), (None, [], True, 0)])
    first, second = csv.DictReader(io.StringIO(written, newline=""))
    assert first == {"a": f"'{text}", "b": f"'{text}", "c": f"'{text}=why", "d": "-1.5"}
    assert second == {"a": "", "b": "", "c": "true", "d": "0"}


def test_draws_are_files_that_say_what_they_are(client: FlaskClient, seeded: Issuer) -> None:
    said = client.get("/v1/forecasts/MLI").json["data"]
    assert [lead["lead"] for lead in said["leads"]] == list(range(1, 13))
    assert said["leads"][0]["reference_period_start"] == "2023-01-01"
    with seeded.store.reading() as connection:
        kept = connection.execute(sa.select(forecasts)).one()
    parquet = client.get(said["draws"]["parquet"])
    assert (parquet.data, parquet.mimetype) == (kept.parquet, "application/vnd.apache.parquet")
    assert "MLI-2022-12-snapshot-3.parquet" in parquet.headers["Content-Disposition"]
    assert (parquet.headers["Vigie-Snapshot"], parquet.headers["Vigie-Simulated"]) == ("3", "false")
    assert client.get(said["draws"]["csv"]).text.splitlines()[0] == "origin,iso3,month,draw,deaths,simulated"
    without = client.get("/v1/forecasts/BFA").json["data"]
    assert (without["draws"], without["reasons"]) == (
        {"parquet": None, "csv": None},
        {"draws": "not_in_snapshot"},
    )
    missing = client.get("/v1/forecasts/MRT/draws.csv")
    assert (missing.status_code, json.loads(missing.data)["reason"]) == (404, "no_history")


def test_what_differs_between_two_runs(tmp_path: Path) -> None:
    home = Issuer(tmp_path / "home")
    home.hold("real")
    home.issue(origin="2022-11")
    issued = home.issue()
    issued["model"]["digest"] = "0" * 64
    issued["countries"][0] |= {"risk_score": 66.6, "band": "high"}
    home.replace(issued)
    home.run("failed")
    client = create_app(home.home, clock=clock).test_client()
    said = client.get("/v1/runs/1/diff/2").json
    assert said["differs"] == ["origin", "model"]
    mali = next(row for row in said["data"] if row["location_code"] == "MLI")
    assert (mali["risk_score_before"], mali["risk_score_after"], mali["risk_score_difference"]) == (81.4, 66.6, -14.8)
    assert (mali["band_before"], mali["band_after"]) == ("very high", "high")
    assert "vigie changed 1 2" in said["split"]["en"]
    unknown = next(row for row in said["data"] if row["location_code"] == "MRT")
    assert (unknown["risk_score_difference"], unknown["reasons"]["risk_score_before"]) == (None, "no_history")
    refused = client.get("/v1/runs/1/diff/3")
    assert (refused.status_code, json.loads(refused.data)["reason"]) == (404, "no_snapshot")
    assert json.loads(client.get("/v1/runs/9/diff/1").data)["run"] == 9


def test_the_model_tells_what_its_manifest_says_of_the_same_file(tmp_path: Path) -> None:
    home = Issuer(tmp_path / "home")
    home.hold("real")
    issued = home.issue()
    client = create_app(home.home, clock=clock).test_client()
    gone = client.get("/v1/model").json["data"]
    assert (gone["features"], gone["reasons"]["features"]) == (None, "model_gone")
    said = {"files": {"model.joblib": "e" * 64}, "seed": 0, "features": ["deaths_12m"], "configuration": "Pool()"}
    folder = home.home.models / issued["model"]["id"]
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(said))
    told = client.get("/v1/model").json["data"]
    assert (told["seed"], told["features"], told["configuration"]) == (0, ["deaths_12m"], "Pool()")
    assert told["reasons"]["scores"] == "unknown"
    (folder / "manifest.json").write_text(json.dumps(said | {"files": {"model.joblib": "0" * 64}}))
    assert client.get("/v1/model").json["data"]["reasons"]["features"] == "model_altered"


def test_countries_are_told_even_before_the_first_snapshot(of_kind: Callable[[str], FlaskClient]) -> None:
    said = of_kind("empty").get("/v1/countries").json
    assert [row["location_code"] for row in said["data"] if row["focal"]] == ["MLI"]
    assert {row["reasons"]["served"] for row in said["data"]} == {"no_snapshot"}
    ivory = next(row for row in said["data"] if row["location_code"] == "CIV")
    assert (ivory["name"]["fr"], ivory["capital"]) == ("Côte d’Ivoire", "Yamoussoukro")
    assert said["reasons"] == {"snapshot_id": "no_snapshot"}


def test_scores_on_a_map_are_points_at_capitals(client: FlaskClient) -> None:
    said = json.loads(client.get("/v1/scores.geojson").data)
    mali = next(feature for feature in said["features"] if feature["id"] == "MLI")
    assert mali["geometry"]["coordinates"] == [-8.0, 12.65]
    assert (mali["properties"]["risk_score"], mali["properties"]["simulated"]) == (81.4, False)


def test_the_feed_tells_snapshots_and_changed_bands(tmp_path: Path) -> None:
    home = Issuer(tmp_path / "home")
    home.hold("real")
    home.issue(origin="2022-11", at=NOW - timedelta(days=30))
    home.issue()
    with home.store.writing() as connection:
        changed = sa.text("UPDATE scores SET band = 'high' WHERE snapshot_id = 1 AND location_code = 'MLI'")
        connection.execute(changed)
    client = create_app(home.home, clock=clock).test_client()
    answer = client.get("/feeds/scores.atom")
    assert answer.mimetype == "application/atom+xml"
    feed = ElementTree.fromstring(answer.data)  # noqa: S314  # our own
    for node in (feed, *feed.iter(f"{ATOM}entry")):
        assert all(node.findtext(f"{ATOM}{name}") for name in ("id", "title", "updated")), "RFC 4287, 4.1.1 and 4.1.2"
        assert node.find(f"{ATOM}link") is not None
    titles = [entry.findtext(f"{ATOM}title") for entry in feed.iter(f"{ATOM}entry")]
    assert titles == [
        "Risk scores from data to 2022-12 (snapshot 2)",
        "Mali: high → very high",
        "Risk scores from data to 2022-11 (snapshot 1)",
    ]
    assert feed.findtext(f"{ATOM}updated") == "2023-01-10T08:30:00Z"
    ids = [entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")]
    assert len(set(ids)) == 3
    with home.store.writing() as connection:
        withdrawn = sa.update(snapshots).where(snapshots.c.id == 2).values(withdrawn_at=NOW + timedelta(minutes=5))
        connection.execute(withdrawn)
    later = ElementTree.fromstring(client.get("/feeds/scores.atom").data)  # noqa: S314
    first = next(later.iter(f"{ATOM}entry"))
    assert (first.findtext(f"{ATOM}id"), first.findtext(f"{ATOM}updated")) == (ids[0], "2023-01-10T08:35:00Z")
    assert (first.findtext(f"{ATOM}title") or "").startswith("WITHDRAWN")
    assert len(list(later.iter(f"{ATOM}entry"))) == 2


def test_a_body_is_checked_as_a_query_is() -> None:
    class Question(Asked):
        deaths: int

    class Answer(Said):
        twice: int

    part = Blueprint("part", __name__)

    @offers(part, "/double", "Twice as many", Answer, method="POST", takes=Question)
    def double(asked: Question) -> dict[str, Any]:
        return {"twice": 2 * asked.deaths}

    app = Flask(__name__)
    app.register_blueprint(part)
    problems.register(app)
    client = app.test_client()
    assert client.post("/double", json={"deaths": 4}).json == {"twice": 8}
    for body, field in (({"deaths": "many"}, "deaths"), ({"deaths": 1, "x": 1}, "x"), ({}, "deaths")):
        refused = client.post("/double", json=body)
        said = json.loads(refused.data)
        assert (refused.status_code, said["type"], said["field"]) == (400, "urn:vigie:problem:bad-body", field)
    assert client.post("/double", data="x").status_code == 415
    assert json.loads(client.post("/double", data="{", content_type="application/json").data)["status"] == 400
    with app.test_request_context():
        told = openapi.document(app, {})
    assert told["paths"]["/double"]["post"]["requestBody"]["required"] is True
    assert {"200", "400", "415"} <= told["paths"]["/double"]["post"]["responses"].keys()


def test_the_reference_is_a_page_without_scripts(client: FlaskClient, document: dict[str, Any]) -> None:
    page = client.get("/docs").text
    assert "<script" not in page
    assert all(f"<code>{path}</code>" in page for path in document["paths"])
    assert all(f'id="{name}"' in page for name in document["components"]["schemas"])
    targets = set(re.findall(r'href="#(\w+)"', page)) - {"content"}
    assert targets <= set(re.findall(r'id="(\w+)"', page))
    assert 'lang="fr"' in client.get("/docs?lang=fr").text


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a web server over a home that has been lived in and is still renewed, and a key that may write."""
    home = lived_in(tmp_path / "home")
    home.run("unchanged", at=datetime.now(UTC), snapshot=3)
    key = keys.add(home.store, "write", "schemathesis", datetime.now(UTC))
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "web.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "riskmodel", "web", "--port", str(port)],
            env={**os.environ, "VIGIE_HOME": str(home.home.root)},
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{address}/healthz", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address, key
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_no_question_is_answered_otherwise_than_described(
    listening: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schemathesis.toml").write_text(MORE_THAN_A_SCHEMA_SAYS)
    address, key = listening
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"),
        *("--header", f"Authorization: Bearer {key}"),  # all checks run; naming them would void the exceptions
        *("--max-examples", "35", "--workers", "2", "--seed", "20230726", "--generation-database", "none"),
        *("--no-color", "--warnings", "off"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary = done.stdout[done.stdout.rfind("SUMMARY") - 40 :]
    with capfd.disabled():
        print(f"\nschemathesis:\n{summary}")
    assert done.returncode == 0, done.stdout
    counted = re.search(r"([\d,]+) generated", summary)
    assert counted, summary
    assert int(counted[1].replace(",", "")) >= CASES
