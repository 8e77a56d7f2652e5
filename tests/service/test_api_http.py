"""HTTP behaviour of the API: formats, conditional requests, compression, problems, headers."""

import gzip
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from snapshot_documents import NOW
from snapshots_support import SettableClock, SnapshotHome

from riskmodel.home import Home
from service.api import openapi
from service.api.endpoints import Body, endpoint
from service.api.shared_schemas import Schema
from service.cli.app import create_app
from service.http import problems
from service.http.request_context import context_of
from service.snapshots import read_model


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    """A home with a snapshot of real data."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    return home


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", "text/csv"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/json;q=0.5, text/csv", "text/csv"),
    ],
)
def test_accept_selects_the_format_of_scores(
    home: SnapshotHome, client: FlaskClient, accept: str, expected: str
) -> None:
    response = client.get("/v1/scores", headers={"Accept": accept})
    assert response.mimetype == expected
    assert "Accept" in response.headers["Vary"]


def test_accept_selects_among_all_formats_or_is_refused(client: FlaskClient) -> None:
    for accept, media in (
        ("text/csv", "text/csv"),
        ("application/geo+json", "application/geo+json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/png", "application/problem+json"),
    ):
        response = client.get("/v1/scores", headers={"Accept": accept})
        assert response.mimetype == media
        assert response.status_code == 406 or "Accept" in response.headers["Vary"]
    assert client.get("/v1/scores.csv", headers={"Accept": "application/json"}).mimetype == "text/csv"
    refused = json.loads(client.get("/v1/countries", headers={"Accept": "image/png"}).data)
    assert (refused["status"], refused["offered"]) == (406, ["application/json", "text/csv"])
    assert client.get("/v1/model", headers={"Accept": "text/csv"}).mimetype == "application/json"


@pytest.mark.parametrize(
    ("query", "parameter", "rule"),
    [
        ("/v1/scores?bnad=1", "bnad", "unknown parameter; use one of: outcome, as_of, region, band_at_least"),
        ("/v1/scores?outcome=non_state", "outcome", "'all' or 'state_based'"),
        ("/v1/scores?region=ML1", "region", "A-Z"),
        ("/v1/scores?band_at_least=severe", "band_at_least", "one of minimal, low, moderate, high, very high, extreme"),
        ("/v1/scores?fields=risk_score,secret", "fields", "'risk_score'"),
        ("/v1/scores?fields=", "fields", "'risk_score'"),
        ("/v1/scores?region=MLI&region=NER", "region", "once only"),
        ("/v1/runs?limit=0", "limit", "greater than or equal to 1"),
        ("/v1/runs?limit=1e2", "limit", "in digits"),
        ("/v1/runs?limit=1001", "limit", "less than or equal to 1000"),
        ("/v1/runs?cursor=-1", "cursor", "pattern"),
        ("/v1/events?from=2022-13-01", "from", "date"),
        ("/v1/events?from=20220101", "from", "YYYY-MM-DD"),
        ("/v1/events?from=2022-02-01&to=2022-01-01", "to", "not before from"),
        ("/healthz?x=1", "x", "this endpoint takes no parameter"),
    ],
)
def test_a_bad_query_names_the_parameter_and_the_rule(
    client: FlaskClient, query: str, parameter: str, rule: str
) -> None:
    response = client.get(query)
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
    problem = json.loads(response.data)
    assert (problem["type"], problem["parameter"]) == ("urn:vigie:problem:bad-query", parameter)
    assert rule in problem["rule"]


def test_a_body_is_validated_like_a_query() -> None:
    class Deaths(Body):
        deaths: int

    class DoubledDeaths(Schema):
        twice: int

    part = Blueprint("part", __name__)

    @endpoint(part, "/double", "Double the deaths", DoubledDeaths, method="POST", body=Deaths)
    def double(body: Deaths) -> dict[str, Any]:
        return {"twice": 2 * body.deaths}

    app = Flask(__name__)
    app.register_blueprint(part)
    problems.register(app)
    client = app.test_client()
    assert client.post("/double", json={"deaths": 4}).json == {"twice": 8}
    for body, field in (({"deaths": "many"}, "deaths"), ({"deaths": 1, "x": 1}, "x"), ({}, "deaths")):
        refused = client.post("/double", json=body)
        problem = json.loads(refused.data)
        assert (refused.status_code, problem["type"], problem["field"]) == (400, "urn:vigie:problem:bad-body", field)
    assert client.post("/double", data="x").status_code == 415
    assert json.loads(client.post("/double", data="{", content_type="application/json").data)["status"] == 400
    with app.test_request_context():
        described = openapi.document(app, {}, "")
    assert described["paths"]["/double"]["post"]["requestBody"]["required"] is True
    assert {"200", "400", "415"} <= described["paths"]["/double"]["post"]["responses"].keys()


def test_an_unchanged_response_is_a_304(home: SnapshotHome, client: FlaskClient, clock: SettableClock) -> None:
    for path in ("/v1/scores", "/v1/scores.csv", "/v1/scores/MLI", "/v1/runs", "/v1/snapshots/1", "/v1/alerts", "/"):
        first = client.get(path)
        assert first.headers["ETag"].startswith('W/"'), path
        assert first.headers["Cache-Control"] == f"public, max-age={30 if path == '/' else 60}"
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b""), path
    clock.now += timedelta(days=90)
    path = "/v1/scores"
    assert client.get(path, headers={"If-None-Match": client.get(path).headers["ETag"]}).status_code == 304
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).json["status"] == "late"


@pytest.mark.parametrize("path", ["/", "/country/MLI", "/v1/scores", "/v1/scores.csv", "/static/vigie.css"])
def test_a_response_is_compressed_if_the_client_accepts_it(home: SnapshotHome, client: FlaskClient, path: str) -> None:
    plain, thin = client.get(path), client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert thin.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(thin.data) == plain.data
    assert int(thin.headers["Content-Length"]) == len(thin.data) < len(plain.data)
    assert thin.headers["ETag"].startswith('W/"')
    assert all("Accept-Encoding" in response.headers["Vary"] for response in (plain, thin))
    refused = client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert refused.data == plain.data
    again = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": thin.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def _problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem: dict[str, Any] = json.loads(response.data)
    assert problem["status"] == status
    assert problem["title"]
    return problem


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v1/",
        "/v1/runs/1",
        "/v1/snapshots/first",
        "/v1/snapshots/99999999999",
        "/static/../app.py",
        "/static/x",
    ],
)
def test_a_wrong_address_is_a_problem(home: SnapshotHome, client: FlaskClient, path: str) -> None:
    assert _problem(client.get(path), 404)["type"] == "about:blank"


def test_an_unknown_country_or_snapshot_is_its_own_problem(home: SnapshotHome, client: FlaskClient) -> None:
    unknown = _problem(client.get("/v1/scores/XYZ"), 404)
    assert (unknown["type"], unknown["location_code"]) == ("urn:vigie:problem:unknown-country", "XYZ")
    for path in ("/v1/indicators/XYZ", "/v1/drivers/XYZ"):
        assert _problem(client.get(path), 404)["location_code"] == "XYZ"
    assert _problem(client.get("/v1/scores/mli"), 404)["type"] == "urn:vigie:problem:unknown-country"
    unknown = _problem(client.get("/v1/snapshots/99"), 404)
    assert (unknown["type"], unknown["snapshot_id"]) == ("urn:vigie:problem:unknown-snapshot", 99)


@pytest.mark.parametrize("path", ["/v1/scores", "/v1/snapshots/1", "/healthz", "/"])
def test_a_wrong_method_is_a_problem_with_the_allowed_methods(
    home: SnapshotHome, client: FlaskClient, path: str
) -> None:
    response = client.post(path)
    _problem(response, 405)
    assert "GET" in response.headers["Allow"]


def test_an_internal_error_reveals_nothing(
    home: SnapshotHome, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(read_model, "scores_payload", breaks)
    response = client.get("/v1/scores")
    _problem(response, 500)
    assert b"inside" not in response.data


def test_a_database_that_cannot_be_read_is_a_problem(home: SnapshotHome, client: FlaskClient) -> None:
    with home.store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE snapshots RENAME TO renamed"))
    for path in ("/v1/scores", "/readyz"):
        assert _problem(client.get(path), 503)["type"] == "urn:vigie:problem:unreadable-store"
    assert client.get("/healthz").json == {"alive": True}


def test_a_damaged_archive_is_a_problem_without_its_path(home: SnapshotHome, client: FlaskClient) -> None:
    (home.home.archive / "manifest.json").write_text("{")
    response = client.get("/v1/scores")
    assert _problem(response, 503)["type"] == "urn:vigie:problem:unreadable-data"
    assert str(home.home.root) not in response.text


@pytest.mark.parametrize("path", ["/", "/v1/scores", "/v1/scores.csv", "/healthz", "/nowhere", "/static/vigie.css"])
def test_every_response_has_security_headers(home: SnapshotHome, client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_json_writes_times_with_z_and_refuses_nan(app: Flask) -> None:
    with app.app_context():
        assert app.json.dumps({"at": NOW, "name": "Côte d’Ivoire"}) == (
            '{"at":"2023-01-10T08:30:00Z","name":"Côte d’Ivoire"}'
        )
        with pytest.raises(ValueError, match="not JSON compliant"):
            app.json.dumps({"score": float("nan")})
        with pytest.raises(TypeError, match="set cannot be written"):
            app.json.dumps({"score": {1}})


def test_the_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_HOME", str(tmp_path / "new"))
    app = create_app()
    assert app.test_client().get("/healthz").status_code == 200
    store = context_of(app).store
    assert store.file is None or (store.file == Home(tmp_path / "new").database and store.file.exists())
    assert context_of(app).home == Home(tmp_path / "new")


def test_the_web_process_imports_no_heavy_packages() -> None:
    heavy = ("sklearn", "pandas", "pyarrow", "scipy", "apscheduler", "joblib", "training")
    script = f"import sys, service.cli.app; sys.exit(repr([m for m in {heavy!r} if m in sys.modules] or ''))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == "''"


def test_a_request_uses_one_database_connection_at_a_time(home: SnapshotHome, app: Flask) -> None:
    """A request that needs a second connection could wait forever once all connections are in use."""
    open_connections: list[int] = [0]
    most: dict[str, int] = {}
    engine = context_of(app).store.engine

    def acquired(*_: Any) -> None:
        open_connections[0] += 1
        most[path] = max(most.get(path, 0), open_connections[0])

    def released(*_: Any) -> None:
        open_connections[0] -= 1

    sa.event.listen(engine, "checkout", acquired)
    sa.event.listen(engine, "checkin", released)
    values = {"iso3": "MLI", "number": "1", "a": "1", "b": "1", "language": "fr", "filename": "vigie.css"}
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    for rule in (rule for rule in rules if rule.arguments <= values.keys() and rule.rule != "/v1/stream"):
        path = re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda part: values[part[1]], rule.rule)
        status = app.test_client().get(path).status_code
        assert status == (404 if "/draws." in path else 200), path  # this home has no draws
    assert {path for path, number in most.items() if number > 1} == set()
    assert most["/readyz"] == most["/v1/alerts"] == most["/metrics"] == most["/"] == 1
