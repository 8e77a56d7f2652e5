"""The feed, the CAP messages and the table of changes of alerts, as the service serves them."""

import csv
from io import StringIO
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient
from snapshots_support import SnapshotHome, full_home

from service.alerts import cap
from service.cli.app import create_app


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    return full_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture
def client(home: SnapshotHome) -> FlaskClient:
    app: Flask = create_app(home.home)
    return app.test_client()


def test_the_table_leads_to_the_messages_and_has_the_columns_of_hdx_signals(client: FlaskClient) -> None:
    rows = list(csv.DictReader(StringIO(client.get("/v1/alerts/changes.csv").text)))
    payload = client.get("/v1/alerts/changes?limit=1").json
    assert rows
    assert payload["next"].startswith("/v1/alerts/changes?limit=1&cursor=")
    assert payload["data"][0]["change"] == int(rows[0]["change"])
    assert list(rows[0])[:8] == [
        *("iso3", "location", "region", "indicator_name", "indicator_title", "date", "value", "alert_level")
    ]
    assert {row["alert_level"] for row in rows} <= {"High concern", "Medium concern", "Low concern"}
    assert client.get(rows[0]["further_information"]).mimetype == "text/html"
    message = client.get(rows[0]["cap_url"])
    assert (message.status_code, message.mimetype) == (200, "application/cap+xml")
    assert ElementTree.fromstring(message.data).findtext(f"{{{cap.NAMESPACE}}}incidents") == rows[0]["alert_id"]  # noqa: S314 - our own
    newest = client.get(f"/v1/alerts/{rows[0]['alert_id']}/cap.xml")
    assert newest.data == message.data


@pytest.mark.parametrize(
    "address", ["/v1/alerts/alr_ffffffffffffffffffffffffffffffff/cap.xml", "/v1/alerts/{}/cap.xml?change=99999"]
)
def test_an_unknown_alert_or_change_is_a_problem(client: FlaskClient, address: str) -> None:
    known = client.get("/v1/alerts/changes").json["data"][0]["alert_id"]
    response = client.get(address.format(known))
    assert (response.status_code, response.json["title"]) == (404, "No such alert")


def test_the_feed_is_served(client: FlaskClient) -> None:
    response = client.get("/feeds/alerts.atom?lang=fr")
    assert response.mimetype == "application/atom+xml"
    assert 'xml:lang="fr"' in response.text
    assert 'href="/feeds/alerts.atom?lang=fr"' in response.text
