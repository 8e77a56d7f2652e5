"""Two outcomes in one snapshot: each read is of one of them, says which, and chooses it with `?outcome=`."""

import csv
import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from announced import record_changes
from flask import Flask
from flask.testing import FlaskClient
from html_page import BROWSER, Page, get_page
from inprocess import Exchange, FrontClient, record_requests
from snapshot_documents import NOW, SCORES, STATE_BASED_SCORES, both_outcomes
from snapshots_support import SettableClock, SnapshotHome, fire_alerts, full_home

from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES
from service.cli.app import create_app
from service.http.request_context import context_of
from service.store import task_queue
from service.store.tables import alert_states

KEY = {"vigie.key": "abcdef"}
"""What the gate adds to a request with a key."""
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    return full_home(tmp_path_factory.mktemp("outcomes") / "home")


@pytest.fixture(scope="module")
def both(full: SnapshotHome) -> FlaskClient:
    """A client of a home whose snapshots have both outcomes; the headline is all."""
    return create_app(full.home, clock=SettableClock()).test_client()


@pytest.fixture
def single(tmp_path: Path) -> FlaskClient:
    """A client of a home whose snapshot has state_based alone, for want of a model."""
    home = SnapshotHome(tmp_path / "single")
    home.add_ingests("simulated")
    home.issue(simulated=True)
    return create_app(home.home, clock=SettableClock()).test_client()


def addresses_with_outcome(client: FlaskClient) -> list[str]:
    """An address for each GET that takes `outcome`, in each format."""
    filled = {"{iso3}": "MLI", "{number}": "2", "{a}": "1", "{b}": "2"}
    return [
        re.sub(r"{\w+}", lambda part: filled[part[0]], path)
        for path, methods in client.get("/openapi.json").json["paths"].items()
        if any(parameter["name"] == "outcome" for parameter in methods.get("get", {}).get("parameters", ()))
    ]


def begin(client: FrontClient, target: str) -> Exchange:
    exchange = client.begin(target, headers={"Prefer": "wait=20"})
    exchange.send(b"")
    return exchange


def kinds_of(data: list[dict[str, Any]]) -> list[tuple[str, str | None, str | None]]:
    return [(change["kind"], change["outcome"], change["location_code"]) for change in data]


def risk_of_mali(client: FlaskClient, query: str = "") -> float:
    return float(client.get(f"/v1/scores/MLI{query}").json["data"]["risk_score"])


def test_the_headline_is_served_unless_another_outcome_is_named(both: FlaskClient) -> None:
    assert risk_of_mali(both) == risk_of_mali(both, "?outcome=all") == SCORES["MLI"]
    assert risk_of_mali(both, "?outcome=state_based") == STATE_BASED_SCORES["MLI"]
    bands = {row["location_code"]: row["band"] for row in both.get("/v1/scores?outcome=state_based").json["data"]}
    assert (bands["MLI"], bands["BFA"], bands["MRT"]) == ("high", "high", None)
    high = both.get("/v1/scores?outcome=state_based&band_at_least=high&fields=band").json["data"]
    assert {row["location_code"] for row in high} == {"MLI", "BFA"}


def test_every_address_of_an_outcome_takes_it_and_says_it(both: FlaskClient) -> None:
    addresses = addresses_with_outcome(both)
    assert len(addresses) > 25
    for address in addresses:
        for query, expected in (("", "all"), ("?outcome=all", "all"), ("?outcome=state_based", "state_based")):
            response = both.get(address + query)
            assert response.status_code == 200, address + query
            if response.mimetype.endswith("json"):
                payload = json.loads(response.data)
                assert payload["outcome"] == expected, address + query
                assert payload["outcome_label"] == OUTCOME_LABELS[expected]
                assert payload["outcomes"] == ["all", "state_based"]
            elif response.mimetype == "text/csv":
                lines = list(csv.DictReader(io.StringIO(response.text)))
                assert {line["outcome"] for line in lines} <= {expected}, address + query
                assert lines or "alerts" in address
        unknown = both.get(f"{address}?outcome=non_state")
        assert (unknown.status_code, unknown.json["parameter"]) == (400, "outcome"), address
        assert all(name in unknown.json["rule"] for name in OUTCOMES), address


def test_each_line_of_a_csv_names_its_outcome_in_words(both: FlaskClient) -> None:
    labels = {"all": "all organised violence", "state_based": "state-based conflict"}
    for path in ("/v1/scores.csv", "/v1/scores/MLI/history.csv", "/v1/drivers/MLI.csv", "/v1/alerts.csv"):
        for outcome, label in labels.items():
            lines = list(csv.DictReader(io.StringIO(both.get(f"{path}?outcome={outcome}").text)))
            assert {(line["outcome"], line["outcome_label"]) for line in lines} <= {(outcome, label)}, path
            assert lines or "alerts" in path


def test_an_outcome_that_is_not_there_is_a_problem_with_its_reason(single: FlaskClient) -> None:
    for address in addresses_with_outcome(single):
        address = re.sub("/2$|/1/diff/2", lambda part: part[0].replace("2", "1"), address)  # there is one snapshot
        response = single.get(f"{address}?outcome=all")
        assert response.status_code == 404, address
        problem = response.json
        assert problem["type"] == "urn:vigie:problem:no-outcome", address
        facts = [problem[name] for name in ("outcome", "reason", "outcomes")]
        assert facts == ["all", "no_model", ["state_based"]]
        assert problem["explanation"]["en"] == (
            "No model of these deaths is in service. After a first start, Vigie trains it within minutes. "
            "To train it by hand: vigie train."
        )
        assert problem["explanation"]["fr"].endswith("vous-même\u00a0: vigie train.")
    payload = single.get("/v1/scores").json
    assert (payload["outcome"], payload["outcomes"]) == ("state_based", ["state_based"])
    assert payload["missing_outcomes"] == single.get("/v1/model").json["missing_outcomes"] == {"all": "no_model"}


def test_the_map_format_names_the_outcome_of_each_feature(both: FlaskClient) -> None:
    features = json.loads(both.get("/v1/scores.geojson?outcome=state_based").data)["features"]
    named = {(each["properties"]["outcome"], each["properties"]["outcome_label"]["fr"]) for each in features}
    assert named == {("state_based", "conflits impliquant un État")}


def test_draws_are_those_of_the_outcome(both: FlaskClient) -> None:
    draws = both.get("/v1/forecasts/MLI?outcome=state_based").json["data"]["draws"]
    assert draws["csv"] == "/v1/forecasts/MLI/draws.csv?outcome=state_based"
    file = both.get(draws["csv"])
    assert "state_based" in file.text.splitlines()[1]
    assert file.headers["Vigie-Outcome"] == "state_based"
    assert "MLI-state_based-2022-12" in file.headers["Content-Disposition"]
    assert both.get("/v1/forecasts/MLI/draws.csv").headers["Vigie-Outcome"] == "all"


def test_a_feed_is_of_one_outcome_and_names_it_in_both_languages(both: FlaskClient) -> None:
    feeds = {
        outcome: ElementTree.fromstring(both.get(f"/feeds/scores.atom{query}").data)  # noqa: S314 - our own
        for outcome, query in (("all", ""), ("state_based", "?outcome=state_based"))
    }
    for outcome, feed in feeds.items():
        labels = OUTCOME_LABELS[outcome]
        entries = feed.findall(f"{ATOM}entry")
        assert entries
        for node in (feed, *entries):
            assert labels["en"] in (node.findtext(f"{ATOM}title") or "")
        named = {category.get("label") for category in feed.iter(f"{ATOM}category")}
        assert named == set(labels.values())
    ids = [{node.text for node in feed.iter(f"{ATOM}id")} for feed in feeds.values()]
    assert not ids[0] & ids[1]
    links = {link.get("href") for link in feeds["state_based"].iter(f"{ATOM}link")}
    assert links == {"/feeds/scores.atom?outcome=state_based", "/en/state_based/"}


@pytest.fixture
def grown(tmp_path: Path) -> SnapshotHome:
    """A home that had state_based alone in its first snapshot, and both outcomes since."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue(origin="2022-11", at=NOW - timedelta(days=30))
    home.issue(both=True)
    return home


@pytest.fixture
def home(grown: SnapshotHome) -> SnapshotHome:
    return grown


def test_lists_have_the_outcomes_of_each_snapshot(client: FlaskClient) -> None:
    for path in ("/v1/snapshots", "/v1/ledger"):
        assert [row["outcomes"] for row in client.get(path).json["data"]] == [["all", "state_based"], ["state_based"]]
        of_all = client.get(f"{path}?outcome=all").json
        assert [row["outcomes"] for row in of_all["data"]] == [["all", "state_based"]]
        first = client.get(f"{path}?outcome=state_based&limit=1").json
        assert [len(first["data"]), len(client.get(first["next"]).json["data"])] == [1, 1]
        assert client.get(first["next"]).json["next"] is None
    assert [row["outcome"] for row in client.get("/v1/snapshots").json["data"]] == ["all", "state_based"]
    history = {name: client.get(f"/v1/scores/MLI/history?outcome={name}").json["data"] for name in OUTCOMES}
    assert {name: [row["snapshot_id"] for row in rows] for name, rows in history.items()} == {
        "all": [2],
        "state_based": [2, 1],
    }
    assert [row["risk_score"] for row in history["state_based"]] == [STATE_BASED_SCORES["MLI"], SCORES["MLI"]]


def test_two_snapshots_are_compared_in_an_outcome_that_both_have(client: FlaskClient) -> None:
    assert client.get("/v1/snapshots/1/diff/2").json["type"] == "urn:vigie:problem:incomparable-snapshots"
    assert client.get("/v1/snapshots/1/diff/2?outcome=all").json["type"] == "urn:vigie:problem:no-outcome"
    payload = client.get("/v1/snapshots/1/diff/2?outcome=state_based").json
    assert (payload["outcome"], payload["snapshot_id"]) == ("state_based", 2)
    mali = next(row for row in payload["data"] if row["location_code"] == "MLI")
    assert (mali["risk_score_before"], mali["risk_score_after"]) == (SCORES["MLI"], STATE_BASED_SCORES["MLI"])
    document = client.get("/v1/snapshots/2?outcome=state_based").json["data"]["document"]
    assert document["outcomes"].keys() == set(OUTCOMES)


def test_a_past_moment_has_the_outcomes_of_its_snapshot(grown: SnapshotHome) -> None:
    client = create_app(grown.home, clock=lambda: NOW + timedelta(days=3)).test_client()
    then, later = "?as_of=2022-12-20", "?as_of=2023-01-11"
    assert client.get(f"/v1/scores{then}").json["outcome"] == "state_based"
    assert client.get(f"/v1/scores{then}&outcome=all").json["reason"] == "no_model"
    assert client.get(f"/v1/scores{later}").json["outcome"] == "all"
    page = get_page(client, f"/en/state_based/country/MLI{later}")
    links = {link["href"] for link in page.attributes_of("a")}
    assert {f"/en/country/MLI{later}", f"/en/state_based/{later}", "/en/state_based/country/MLI"} <= links
    assert f"/v1/scores{later}&outcome=state_based" in links


def test_a_task_is_of_the_outcome_that_was_named(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    app = create_app(home.home, clock=SettableClock())
    client = app.test_client()
    tasks = [
        client.get(f"/v1/scores?as_of=2023-01-05{named}") for named in ("", "&outcome=all", "&outcome=state_based")
    ]
    assert {task.status_code for task in tasks} == {202}
    requested = [task.json["data"]["request"]["outcomes"] for task in tasks]
    assert requested == [list(OUTCOMES), ["all"], ["state_based"]]
    assert len({task.json["data"]["id"] for task in tasks}) == 3
    waiting = get_page(client, "/en/state_based/?as_of=2023-01-05", 202)
    assert "/fr/state_based/?as_of=2023-01-05" in {link["href"] for link in waiting.attributes_of("a")}
    refused = client.post(
        "/v1/whatif", json={"location_code": "MLI", "deaths": 2, "outcome": "all"}, environ_overrides=KEY
    )
    assert (refused.status_code, refused.json["reason"]) == (404, "no_model")
    wrong = client.post(
        "/v1/whatif", json={"location_code": "MLI", "deaths": 2, "outcome": "non_state"}, environ_overrides=KEY
    )
    assert (wrong.status_code, wrong.json["field"]) == (400, "outcome")
    accepted = client.post("/v1/whatif", json={"location_code": "MLI", "deaths": 2}, environ_overrides=KEY)
    assert accepted.json["data"]["request"]["outcome"] is None
    with context_of(app).store.reading() as connection:
        assert task_queue.by_id(connection, accepted.json["data"]["id"]) is not None


@pytest.fixture
def follower(tmp_path: Path) -> FlaskClient:
    """A client of a home whose third snapshot changed a band of each outcome, and whose first had one outcome."""
    home = SnapshotHome(tmp_path / "followed")
    home.add_ingests("real")
    home.issue()
    record_changes(home, 1)
    home.issue(both=True)
    record_changes(home, 2)
    home.issue(both=True)
    flat = both_outcomes(number=3)
    for document, iso3 in zip(flat, ("SEN", "GIN"), strict=True):
        next(row for row in document["countries"] if row["location_code"] == iso3)["band"] = "moderate"
    home.replace(*flat)
    record_changes(home, 3)
    return create_app(home.home, clock=SettableClock()).test_client()


def test_changes_of_bands_are_those_of_the_outcome_and_others_come_always(follower: FlaskClient) -> None:
    def followed(query: str) -> list[tuple[str, str | None, str | None]]:
        return kinds_of(follower.get(f"/v1/changes?since=start{query}").json["data"])

    issued = ("snapshot", None, None)
    assert followed("") == followed("&outcome=all") == [issued, issued, issued, ("band", "all", "SEN")]
    of_state_based = followed("&outcome=state_based")
    assert [change for change in of_state_based if change[0] == "snapshot"] == [issued] * 3
    assert of_state_based[-1] == ("band", "state_based", "GIN")
    assert {outcome for kind, outcome, _ in of_state_based if kind == "band"} == {"state_based"}
    stream = follower.get("/v1/stream?since=start&outcome=state_based").text
    assert '"outcome":"state_based"' in stream
    assert '"outcome":"all"' not in stream


def test_by_default_a_band_is_of_the_headline_that_its_snapshot_had(tmp_path: Path) -> None:
    """So what a client gets does not depend on when it asks."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    record_changes(home, 1)
    changed = home.issue()
    changed["countries"][0]["band"] = "low"
    home.replace(changed)
    record_changes(home, 2)
    client = create_app(home.home, clock=SettableClock()).test_client()
    before = client.get("/v1/changes?since=start").json["data"]
    home.issue(both=True)
    record_changes(home, 3)
    after = client.get("/v1/changes?since=start").json["data"]
    assert [change["kind"] for change in before] == ["snapshot", "snapshot", "band"]
    assert [change["kind"] for change in after] == ["snapshot", "snapshot", "band", "snapshot"]
    assert (after[2]["outcome"], after[2]["of_headline"]) == ("state_based", True)


def test_the_cursor_passes_the_changes_of_other_outcomes(follower: FlaskClient) -> None:
    """Or else it would look as if the client had missed them when they are deleted."""
    cursors = {name: follower.get(f"/v1/changes?since=start&outcome={name}").json["next"] for name in OUTCOMES}
    newest = follower.get("/v1/changes").json["next"]
    assert set(cursors.values()) == {newest}
    pages, cursor = [], "start"
    while True:
        page = follower.get(f"/v1/changes?since={cursor}&outcome=state_based&limit=2").json
        pages += page["data"]
        cursor = page["next"]
        if not page["more"]:
            break
    assert pages == follower.get("/v1/changes?since=start&outcome=state_based").json["data"]
    assert cursor == newest


def test_the_response_cache_has_an_entry_for_each_outcome(app: Flask) -> None:
    cached, direct = FrontClient(app), app.test_client()
    cached.refresh()
    requests = record_requests(app)
    for path in ("/v1/scores", "/v1/scores.csv", "/en/country/MLI", "/country/MLI"):
        for query in ("", "?outcome=all", "?outcome=state_based", "?outcome=all"):
            expected = direct.get(path + query)
            requests.clear()
            first, again = cached.get(path + query), cached.get(path + query)
            assert first.data == again.data == expected.data, path + query
            assert first.headers["ETag"] == expected.headers["ETag"]
            assert len(requests) <= 1, "the second response comes from the cache"


@pytest.mark.parametrize("path", ["/", "/country/MLI", "/scorecard"])
def test_pages_have_a_switch_and_links_of_the_same_outcome(both: FlaskClient, path: str) -> None:
    for code, named in (("en", "State-based conflict"), ("fr", "Conflits impliquant un État")):
        page = Page(both.get(f"/{code}/state_based{path}").text)
        assert named in page.text
        current = [link["href"] for link in page.attributes_of("a") if link.get("aria-current") == "page"]
        assert current == [f"/{code}/state_based{path}"]
        links = {link["href"] or "" for link in page.attributes_of("a")}
        assert f"/{code}{path}" in links, "the headline has the address without an outcome"
        # Alerts are of all outcomes, and the API is one.
        inner = {href for href in links if re.match(r"/(en|fr)/(?!alerts\b|docs$)", href)}
        assert {href for href in inner if "/state_based/" not in href} == {f"/{code}{path}"}
        assert both.get(f"{path}?lang={code}&outcome=state_based").text == both.get(f"/{code}/state_based{path}").text
        for href in links - {"#content"} if path == "/country/MLI" else ():
            assert both.get(href).status_code == 200, href
        title = re.search("<title>(.*)</title>", both.get(f"/{code}/state_based{path}").text)
        assert title
        assert OUTCOME_LABELS["state_based"][code] in title[1]
    headline = get_page(both, f"/en{path}")
    assert "all organised violence" in headline.text
    data = {link["href"] or "" for link in headline.attributes_of("a") if (link["href"] or "").startswith("/v1/")}
    assert not [href for href in data if "outcome" in href]


def test_charts_name_the_outcome(both: FlaskClient) -> None:
    for path, count in (("/", 8), ("/country/BFA", 1)):
        drawings = Page(both.get(f"/fr/state_based{path}").text).attributes_of("svg")
        labels = [drawing["aria-label"] or "" for drawing in drawings if drawing.get("role") == "img"]
        assert len([label for label in labels if "(conflits impliquant un État)" in label]) >= count - 1


def test_a_page_says_why_an_outcome_is_not_there(single: FlaskClient) -> None:
    for code, why in (
        ("en", "All organised violence: no model of these deaths is in service."),
        ("fr", "Ensemble des violences organisées : aucun modèle de prévision de ces morts n’est en service."),
    ):
        for path in ("/", "/country/MLI", "/scorecard"):
            page = get_page(single, f"/{code}{path}")
            assert why in page.text
            assert not [link for link in page.attributes_of("a") if "/all/" in (link["href"] or "")]
    missing = get_page(single, "/fr/all/country/MLI", 404)
    assert "Prévision non disponible" in missing.text
    assert "Vigie l’entraîne en quelques minutes." in missing.text
    assert "/fr/" in {link["href"] for link in missing.attributes_of("a")}
    assert single.get("/?outcome=non_state", headers=BROWSER).status_code == 400


def test_the_page_says_why_a_firing_alert_has_no_value_today(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "silent")
    home.add_ingests("real")
    home.issue()
    with home.store.writing() as connection:
        fire_alerts(home, connection, 1)
        connection.execute(sa.update(alert_states).values(value=None, reason="no_model"))
    client = create_app(home.home, clock=SettableClock()).test_client()
    assert "(today: no model of these deaths is in service)" in get_page(client, "/en/").text
    assert "(aujourd’hui : aucun modèle" in get_page(client, "/fr/").text


def test_alerts_of_every_outcome_are_listed_and_can_be_chosen(both: FlaskClient) -> None:
    every = both.get("/v1/alerts").json["data"]
    assert every
    assert {alert["outcome"] for alert in every} == {"all"}
    assert both.get("/v1/alerts?outcome=all").json["data"] == every
    assert both.get("/v1/alerts?outcome=state_based").json["data"] == []
    shown: Any = get_page(both, "/en/state_based/").text
    assert f"{every[0]['title']['en']}" in shown
    assert "– all organised violence" in shown


def test_a_long_poll_and_a_stream_wait_for_the_outcome_that_they_named(grown: SnapshotHome, app: Flask) -> None:
    with FrontClient(app) as client:
        cursor = client.get("/v1/changes").json["next"]
        waiting = {name: begin(client, f"/v1/changes?since={cursor}&outcome={name}") for name in OUTCOMES}
        stream = begin(client, f"/v1/stream?since={cursor}&outcome=state_based")
        assert stream.status == 200
        grown.issue(both=True)
        flat = both_outcomes(number=3)
        for document, iso3 in zip(flat, ("SEN", "GIN"), strict=True):
            next(row for row in document["countries"] if row["location_code"] == iso3)["band"] = "extreme"
        grown.replace(*flat)
        record_changes(grown, 3)
        for name, iso3 in (("all", "SEN"), ("state_based", "GIN")):
            data = kinds_of(waiting[name].response().json["data"])
            assert data == [("snapshot", None, None), ("band", name, iso3)]
        seen = b""
        while b'"GIN"' not in seen:
            seen += stream.read() or b""
        assert b'"SEN"' not in seen
        stream.disconnect()
