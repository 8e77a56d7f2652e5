"""The API contract: the guide, the OpenAPI document and the responses agree, on every kind of home."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import hindcast_files
import jsonschema_rs
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from snapshot_documents import NOW
from snapshots_support import ALERT, SILENCE, TASK, SettableClock, SnapshotHome, full_home

from riskmodel import country_scores
from riskmodel.alerting import metrics
from riskmodel.explanation.signal_payload import RateReason, Reason
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from service.api import openapi
from service.cli.app import create_app
from service.drawing import labels
from service.http import keys
from service.http.problems import KINDS
from service.http.request_context import context_of
from service.jobs import hindcast_store
from service.settings import load
from service.store.context import Context
from service.store.tables import alerts, snapshots, transitions

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"
PROMISED = Path(__file__).with_name("promised.txt")
SHOWN = ("/", "/alerts", "/country/{iso3}", "/docs", "/scorecard")
PAGES = {f"{under}{page}" for page in SHOWN for under in ("", "/{language}")}
PAGES |= {f"/{{language}}/{{outcome}}{page}" for page in SHOWN if page not in ("/alerts", "/docs")}
PAGES |= {"/alerts/{alert_id}", "/{language}/alerts/{alert_id}"}
PAGES |= {"/static/{filename}", "/favicon.ico", "/robots.txt"}
KEY = {"vigie.key": "abcdef"}
"""What the gate adds to a request with a key."""
ATOM = "{http://www.w3.org/2005/Atom}"
CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"
EXPLAINING = (
    *("input_missing", "unknown", "not_asked", "not_forecast", "no_neighbour", "not_in_snapshot"),
    *("hindcast", "no_earlier_score"),
    *get_args(Reason),
)
"""The reasons of indicators, drivers, signals, hindcasts and changes that scores do not have."""
MORE_THAN_A_SCHEMA_SAYS = """
[[operations]]
include-path-regex = "^/v1/(events|alerts|changes|stream|scores|forecasts|indicators|drivers|whatif|recompute|tasks)"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/v1/(signals|silences)"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path = "/v1/stream"
checks.positive_data_acceptance.enabled = false
checks.response_schema_conformance.enabled = false
"""
"""The schema of a stream is that of its text, which generated clients read; schemathesis holds each event against it.
`test_waiting.py` reads the events instead. A schema cannot say that `to` is not before `from`, that a day is past, or
that a code is a country's. Nor can it say that a cursor is known here. So values that fit it may still be refused."""


pytestmark = pytest.mark.usefixtures("short_streams")


@pytest.fixture
def seeded(tmp_path: Path) -> SnapshotHome:
    return full_home(tmp_path / "lived-in")


@pytest.fixture
def app(seeded: SnapshotHome) -> Flask:
    return create_app(seeded.home, clock=SettableClock())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as empty:
        described: dict[str, Any] = create_app(Home(Path(empty))).test_client().get("/openapi.json").json
    return described


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, in which no object may have additional keys."""

    def shut(schema: Any) -> Any:
        if isinstance(schema, list):
            return [shut(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        copied = {name: shut(each) for name, each in schema.items()}
        return copied | ({"additionalProperties": False} if "properties" in schema else {})

    return {**document, "components": {"schemas": shut(document["components"]["schemas"])}}


def differences(document: dict[str, Any], response: Any, path: str, method: str = "get") -> list[str]:
    """The differences between a response and the document."""
    entry = document["paths"][path][method]["responses"].get(str(response.status_code))
    if entry is None:
        return [f"{path}: {response.status_code} is not described"]
    if response.mimetype not in entry.get("content", {}):
        return [f"{path}: {response.status_code} comes as {response.mimetype}"]
    schema = entry["content"][response.mimetype]["schema"]
    if not response.mimetype.endswith("json"):
        return [] if schema["type"] == "string" else [f"{path}: {response.mimetype} is described as {schema}"]
    with_components = {**schema, "components": closed(document)["components"]}
    validator = jsonschema_rs.validator_for(with_components)
    payload = json.loads(response.data)
    return [f"{path}: {list(each.instance_path)}: {each.message[:200]}" for each in validator.iter_errors(payload)]


def addresses(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every path of the document that takes GET, and an address that exists."""
    filled = {"{iso3}": "MLI", "{number}": "1", "{a}": "1", "{b}": "2", "{id}": TASK, "{alert_id}": ALERT}
    read = [path for path, methods in document["paths"].items() if "get" in methods]
    return [(path, re.sub(r"{\w+}", lambda part: filled[part[0]], path)) for path in read]


NEEDS_NO_SNAPSHOT = {
    *("/healthz", "/metrics", "/openapi.json", "/v1/changes", "/v1/stream", "/v1/countries", "/v1/countries.csv"),
    *("/v1/jobs", "/v1/jobs.csv", "/v1/ledger", "/v1/ledger.csv", "/v1/runs", "/v1/runs.csv"),
    *("/v1/snapshots", "/v1/snapshots.csv", "/v1/alerts/undelivered", "/v1/alerts/undelivered.csv"),
    "/v1/silences",
    *("/v1/alerts/changes", "/v1/alerts/changes.csv"),
}
ONE_SNAPSHOT = "/v1/snapshots/{number}"
TWO_SNAPSHOTS = {"/v1/snapshots/{a}/diff/{b}", "/v1/snapshots/{a}/diff/{b}.csv"}
DRAWS = {"/v1/forecasts/{iso3}/draws.csv", "/v1/forecasts/{iso3}/draws.parquet"}
HOMES = ("full", "empty", "archive only", "simulated", "withdrawn")


def expected_problem(kind: str, path: str) -> str:
    """The problem that an address has on a home of one kind; empty where it has none."""
    if kind == "full" or path in NEEDS_NO_SNAPSHOT:
        return ""
    if path == "/v1/tasks/{id}":
        return "unknown-task"
    if path.startswith("/v1/alerts/{alert_id}"):
        return "unknown-alert"
    if kind == "empty":
        return "no-data"
    if path.startswith("/feeds/"):
        return ""
    if path in TWO_SNAPSHOTS or (path == ONE_SNAPSHOT and kind == "archive only"):
        return "unknown-snapshot"
    if kind in ("simulated"):
        return "no-draws" if path in DRAWS else ""
    return "" if path == ONE_SNAPSHOT else "no-real-snapshot"


@pytest.fixture
def of_kind(tmp_path: Path) -> Callable[[str], FlaskClient]:
    """A client of a home of one kind."""

    def made(kind: str) -> FlaskClient:
        home = full_home(tmp_path / "home") if kind == "full" else SnapshotHome(tmp_path / "home")
        if kind == "archive only":
            home.add_ingests("real")
        elif kind == "simulated":
            home.add_ingests("simulated")
            home.issue(simulated=True)
        elif kind == "withdrawn":
            home.add_ingests("real")
            home.issue()
            with home.store.writing() as connection:
                connection.execute(
                    sa.update(snapshots).values(withdrawn_at=NOW, withdrawn_reason="an invented mistake")
                )
        return create_app(home.home, clock=SettableClock()).test_client()

    return made


@pytest.mark.parametrize("kind", HOMES)
def test_every_response_is_as_described(
    of_kind: Callable[[str], FlaskClient], document: dict[str, Any], kind: str
) -> None:
    """Status, problem and every key. On a full home every address succeeds."""
    client = of_kind(kind)
    for path, address in addresses(document):
        response = client.get(address)
        assert differences(document, response, path) == []
        problem = json.loads(response.data)["type"] if response.status_code >= 400 else ""
        assert problem.removeprefix("urn:vigie:problem:") == expected_problem(kind, path), path


def test_every_request_for_a_task_is_accepted_as_described(
    of_kind: Callable[[str], FlaskClient], document: dict[str, Any]
) -> None:
    """The other responses: 202 for each POST, and for each read as of a day that no snapshot answers."""
    client = of_kind("archive only")
    bodies = {"/v1/whatif": {"location_code": "MLI", "deaths": 2}, "/v1/recompute": None}
    described = {path: methods.get("post", {"responses": {}}) for path, methods in document["paths"].items()}
    posts = {path for path, method in described.items() if "202" in method["responses"]}
    assert posts == bodies.keys()
    for path, body in bodies.items():
        response = client.post(path, json=body, environ_overrides=KEY)
        assert (response.status_code, differences(document, response, path, "post")) == (202, []), path
    reads = [each for each in addresses(document) if "202" in document["paths"][each[0]].get("get", {})["responses"]]
    assert len(reads) > 10
    for path, address in reads:
        response = client.get(f"{address}?as_of=2023-01-05")
        assert (response.status_code, differences(document, response, path)) == (202, []), path


def test_a_refused_query_or_media_type_is_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    for path, address in addresses(document):
        response = client.get(f"{address}?nothing=1")
        assert (response.status_code, differences(document, response, path)) == (400, []), path
        response = client.get(address, headers={"Accept": "image/png"})
        several = len(document["paths"][path]["get"]["responses"].get("200", {}).get("content", ())) > 1
        expected = 406 if several and path != "/metrics" else client.get(address).status_code
        assert (response.status_code, differences(document, response, path)) == (expected, []), path
        assert several or response.status_code != 406, path


@pytest.mark.parametrize(
    ("address", "path", "problem"),
    [
        ("/v1/scores/XYZ", "/v1/scores/{iso3}", "unknown-country"),
        ("/v1/scores?region=NER", "/v1/scores", "unknown-region"),
        ("/v1/scores?as_of=2019-01-01", "/v1/scores", "nothing-known"),
        ("/v1/scores/MLI/history?as_of=2019-01-01", "/v1/scores/{iso3}/history", "nothing-issued"),
        ("/v1/events?iso3=FRA", "/v1/events", "unknown-country"),
        ("/v1/forecasts/BFA/draws.csv", "/v1/forecasts/{iso3}/draws.csv", "no-draws"),
        ("/v1/changes?since=nix", "/v1/changes", "bad-cursor"),
        ("/v1/stream?since=nix", "/v1/stream", "bad-cursor"),
        ("/v1/snapshots/99", "/v1/snapshots/{number}", "unknown-snapshot"),
        (f"/v1/tasks/{TASK[::-1]}", "/v1/tasks/{id}", "unknown-task"),
    ],
)
def test_every_problem_is_as_described(
    client: FlaskClient, document: dict[str, Any], address: str, path: str, problem: str
) -> None:
    response = client.get(address)
    assert json.loads(response.data)["type"] == f"urn:vigie:problem:{problem}"
    assert differences(document, response, path) == []


def test_what_people_do_about_alerts_is_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    (rule, *_) = {alert["rule"] for alert in client.get("/v1/alerts").json["data"]}
    silence = {"rule": rule, "hours": 2, "reason": "an exercise", "by": "Awa"}
    key = {"vigie.key": keys.add(context_of(client.application).store, "ack", "duty phone", NOW).split("_")[1]}
    for method, address, path, body, status in [
        ("post", f"/v1/alerts/{ALERT}/ack", "/v1/alerts/{alert_id}/ack", {"note": "called"}, 200),
        ("post", f"/v1/alerts/{ALERT}/ack", "/v1/alerts/{alert_id}/ack", {"note": ""}, 400),
        ("delete", f"/v1/alerts/{ALERT}/ack", "/v1/alerts/{alert_id}/ack", None, 200),
        ("post", f"/v1/alerts/{ALERT[:-1]}f/ack", "/v1/alerts/{alert_id}/ack", {}, 404),
        ("post", "/v1/silences", "/v1/silences", silence, 201),
        ("post", "/v1/silences", "/v1/silences", silence | {"hours": 0}, 400),
        ("post", "/v1/silences", "/v1/silences", silence | {"rule": "nothing"}, 400),
        ("delete", f"/v1/silences/{SILENCE}", "/v1/silences/{silence_id}", None, 200),
        ("delete", f"/v1/silences/{SILENCE}", "/v1/silences/{silence_id}", None, 409),
        ("delete", f"/v1/silences/{SILENCE[:-1]}f", "/v1/silences/{silence_id}", None, 404),
    ]:
        response = client.open(address, method=method.upper(), json=body, environ_overrides=key)
        assert (response.status_code, differences(document, response, path, method)) == (status, []), response.data
        refused = client.open(address, method=method.upper(), json=body)
        assert refused.status_code in (400, 401, 404, 409)
        assert differences(document, refused, path, method) == []
    with context_of(client.application).store.writing() as connection:
        connection.execute(sa.update(alerts).values(state="resolved", ended_at=NOW))
        connection.execute(sa.update(transitions).values(to_state="resolved"))
    over = client.post(f"/v1/alerts/{ALERT}/ack", json={}, environ_overrides=key)
    assert (over.status_code, differences(document, over, "/v1/alerts/{alert_id}/ack", "post")) == (409, [])


@pytest.mark.parametrize("body", [{"location_code": "MLI"}, {"location_code": "XYZ", "deaths": 2}, {"deaths": "2"}])
def test_a_refused_body_is_as_described(client: FlaskClient, document: dict[str, Any], body: dict[str, Any]) -> None:
    response = client.post("/v1/whatif", json=body, environ_overrides=KEY)
    assert json.loads(response.data)["type"] == "urn:vigie:problem:bad-body"
    assert differences(document, response, "/v1/whatif", "post") == []


def test_the_guide_has_a_heading_for_every_address_and_no_other(document: dict[str, Any]) -> None:
    headings = "\n".join(re.findall(r"^#+ (`.*`)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    addresses_in_guide = set(re.findall(r"`(/[^`]*)`", headings))
    assert addresses_in_guide == set(document["paths"]) | PAGES - {"/static/{filename}"}


def test_the_guide_names_every_key(document: dict[str, Any]) -> None:
    guide = DOCS.read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", "\n".join(re.findall(r"`[^`]*`", guide))))
    keys = {
        key
        for name, schema in document["components"]["schemas"].items()
        if name != "OpenApiDocument"
        for key in schema.get("properties", ())
    }
    assert sorted(keys - words - {"en", "fr"}) == []


def test_the_guide_names_every_page_and_problem(app: Flask) -> None:
    headings = "\n".join(re.findall(r"^#+ (`.*`)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    addresses = {re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", str(rule)) for rule in app.url_map.iter_rules()}
    assert [a for a in sorted(addresses - {"/static/{filename}"}) if f"`{a}`" not in headings] == []
    assert [name for name in KINDS if f"`{name}`" not in headings] == []


def test_the_guide_names_every_key_of_indicators_and_drivers(client: FlaskClient) -> None:
    sections = DOCS.read_text(encoding="utf-8").split("## `/v1/indicators`")[1].split("## `/v1/alerts`")[0]

    def keys(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys, value))
        if not isinstance(value, dict) or value.keys() == {"en", "fr"}:
            return set()
        return value.keys() | set().union(*map(keys, value.values()))

    paths = ("/v1/indicators", "/v1/indicators/MLI", "/v1/signals/MLI", "/v1/drivers/MLI")
    payloads_of = [client.get(path).json["data"] for path in paths]
    names = {family["name"] for family in payloads_of[0]} | payloads_of[2]["percentiles"].keys()
    assert {key for key in keys(payloads_of) - names if f"`{key}`" not in sections} == set()


def test_every_reason_has_a_label_and_is_in_the_guide() -> None:
    of_alerts = {metrics.NOT_SETTLED}
    codes = {*get_args(country_scores.ScoreReason), *EXPLAINING, *of_alerts}
    assert labels.REASON_LABELS.keys() == codes
    assert all(f"`{code}`" in DOCS.read_text(encoding="utf-8") for code in (*codes, *get_args(RateReason)))


def keys_with_types(document: dict[str, Any], schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """Every key of a payload with the types that it may have: `data[].risk_score null|number`."""
    choices = [resolved(document, choice) for choice in schema.get("anyOf", [schema])]
    if place:
        yield f"{place} {'|'.join(sorted({choice.get('type', 'any') for choice in choices}))}"
    for choice in choices[:1]:
        if "items" in choice:
            yield from keys_with_types(document, choice["items"], f"{place}[]")
        for key, each in choice.get("properties", {}).items():
            yield from keys_with_types(document, each, f"{place}.{key}".strip("."))


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one that it refers to."""
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def test_a_key_keeps_its_name_and_type(document: dict[str, Any]) -> None:
    described = {
        f"{path} {key}"
        for path, methods in document["paths"].items()
        for media, content in methods.get("get", {"responses": {"200": {}}})["responses"]["200"]
        .get("content", {})
        .items()
        if media.endswith("json") and path != "/openapi.json"
        for key in keys_with_types(document, content["schema"])
    }
    if os.environ.get("VIGIE_PROMISE"):  # at a release, when keys were added
        PROMISED.write_text("\n".join(sorted(described)) + "\n")
    promised = set(PROMISED.read_text().splitlines())
    assert sorted(promised - described) == []
    assert {line.split()[0] for line in promised} == {line.split()[0] for line in described}, "no address is forgotten"


def test_a_hindcast_fits_the_schemas(seeded: SnapshotHome, document: dict[str, Any]) -> None:
    for outcome in OUTCOMES:
        for origin in ("2022-07", "2022-08"):
            hindcast_files.write(seeded.home, origin, outcome=outcome)
    clock = SettableClock()
    hindcast_store.store(Context(seeded.home, load(seeded.home), seeded.store, clock))
    client = create_app(seeded.home, clock=clock).test_client()
    for path in ("/v1/scores", "/v1/scores/{iso3}", "/v1/scores/{iso3}/history", "/v1/forecasts/{iso3}"):
        for outcome in OUTCOMES:
            response = client.get(f"{path.replace('{iso3}', 'MLI')}?as_of=2022-10-05&outcome={outcome}")
            assert (response.status_code, response.json["basis"]) == (200, "hindcast"), path
            assert differences(document, response, path) == []
    assert differences(document, client.get("/v1/changes?since=start"), "/v1/changes") == []


def test_every_address_is_a_page_or_a_declared_endpoint(app: Flask, document: dict[str, Any]) -> None:
    rules = {openapi.PATH_PART.sub(r"{\2}", rule.rule) for rule in app.url_map.iter_rules()}
    assert rules == set(document["paths"]) | PAGES


@pytest.mark.parametrize("simulated", [False, True])
def test_every_format_says_whether_the_data_are_simulated(
    tmp_path: Path, document: dict[str, Any], simulated: bool
) -> None:
    client = create_app(full_home(tmp_path / "home", simulated=simulated).home, clock=SettableClock()).test_client()
    seen = set()
    for path, address in addresses(document):
        if not path.startswith(("/v1/", "/feeds/")):
            continue
        response = client.get(address)
        assert response.status_code == 200, path
        seen.add(response.mimetype)
        if response.mimetype.endswith("json"):
            assert response.json["simulated"] is simulated, path
        elif response.mimetype == "text/csv":
            lines = list(csv.DictReader(io.StringIO(response.text)))
            assert {line["simulated"] for line in lines} == {str(simulated).lower()}, path
        elif response.mimetype == "application/atom+xml":
            titles = [title.text or "" for title in ElementTree.fromstring(response.data).iter(f"{ATOM}title")]  # noqa: S314 - our own
            assert len(titles) > 1
            assert {"SIMULATED" in title for title in titles} == {simulated}
        elif response.mimetype == "application/vnd.apache.parquet":
            assert response.headers["Vigie-Simulated"] == str(simulated).lower()
        elif response.mimetype == "application/cap+xml":
            (status,) = ElementTree.fromstring(response.data).iter(f"{CAP}status")  # noqa: S314 - our own
            assert status.text == ("Test" if simulated else "Actual")
        else:
            assert response.mimetype == "text/event-stream"
    assert len(seen) == 7


def test_every_payload_says_which_snapshot_it_is_from(client: FlaskClient, document: dict[str, Any]) -> None:
    checked = 0
    for path, address in addresses(document):
        if not path.startswith("/v1/"):
            continue
        response = client.get(address)
        if response.mimetype.endswith("json"):
            payload = response.json
            assert payload["release_class"] == "monthly_candidate", path
            assert all(payload[key] for key in ("snapshot_id", "issued_at", "data_as_of", "outcome", "status")), path
            assert all(payload[key] for key in ("source", "model_id", "next_run_at")), path
            checked += 1
        elif response.mimetype == "text/csv" and path not in DRAWS:
            lines = list(csv.DictReader(io.StringIO(response.text)))
            assert {"snapshot_id", "issued_at", "status", "model_id", "source", "origin"} <= lines[0].keys(), path
            checked += 1
    assert checked > 30


def test_the_reference_page_has_everything_and_no_script(client: FlaskClient, document: dict[str, Any]) -> None:
    page = client.get("/docs").text
    assert "<script" not in page
    assert all(f"<code>{path}</code>" in page for path in document["paths"])
    assert all(f'id="{name}"' in page for name in document["components"]["schemas"])
    targets = set(re.findall(r'href="#(\w+)"', page)) - {"content"}
    assert targets <= set(re.findall(r'id="(\w+)"', page))
    assert 'lang="fr"' in client.get("/docs?lang=fr").text


@pytest.mark.parametrize(("examples", "requests"), [(2, 200), pytest.param(35, 2000, marks=pytest.mark.long)])
def test_generated_requests_get_responses_as_described(
    live_server: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str], examples: int, requests: int
) -> None:
    (tmp_path / "schemathesis.toml").write_text(MORE_THAN_A_SCHEMA_SAYS)
    address, key = live_server
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"),
        *("--header", f"Authorization: Bearer {key}"),  # all checks run; naming them would void the exceptions
        # one worker: CPython 3.11 may fail to parse source in two threads (github.com/python/cpython/issues/106905)
        *("--max-examples", str(examples), "--workers", "1", "--seed", "20230726", "--generation-database", "none"),
        *("--no-color", "--warnings", "off"),
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary = result.stdout[result.stdout.rfind("SUMMARY") - 40 :]
    with capfd.disabled():
        print(f"\nschemathesis:\n{summary}")
    assert result.returncode == 0, result.stdout
    counted = re.search(r"([\d,]+) generated", summary)
    assert counted, summary
    assert int(counted[1].replace(",", "")) >= requests
