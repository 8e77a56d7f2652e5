"""Changes of alerts as CAP messages (Common Alerting Protocol 1.2, OASIS), in English and French.

The start of an alert is an `Alert`. Its regular end is an `Update` that says all clear. Every other end is a `Cancel`:
the rule was changed, the data were revised, or the value is no longer known. It says nothing about the danger.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  # writes, never parses

from riskmodel import geography
from riskmodel.alerting.metrics import kind_of
from riskmodel.alerting.states import FIRING, RESOLVED
from riskmodel.geography import WHOLE_REGION
from service.alerts.published import PublishedChange

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"

MEDIA_TYPE = "application/cap+xml"

ALERT, UPDATE, CANCEL = "Alert", "Update", "Cancel"

SEVERITIES = {"severe": "Severe", "warning": "Moderate", "info": "Minor"}

LIKELY = 0.5
"""CAP calls Likely what has a probability above this, and Possible what is below."""

NOTE = "The end of the alert says nothing about the danger. La fin de l’alerte ne dit rien du danger."


def message(changes: Sequence[PublishedChange], number: int, site: str) -> bytes:
    """Return the CAP message of one change. `changes` are those of its alert, oldest first, up to that one or further.

    `site` is the address of the service that links begin with. Raises StopIteration if there is no such change.
    """
    change = next(change for change in changes if change.number == number)
    earlier = [each for each in changes if each.number < number]
    kind = ALERT if change.to_state == FIRING else UPDATE if change.to_state == RESOLVED else CANCEL
    if kind == ALERT and earlier:
        kind = UPDATE
    root = Element("alert", {"xmlns": NAMESPACE})
    _add(root, "identifier", _identifier(change))
    _add(root, "sender", sender(site))
    _add(root, "sent", _moment(change.at))
    _add(root, "status", "Test" if change.facts["simulated"] else "Actual")
    _add(root, "msgType", kind)
    _add(root, "source", "Vigie")
    _add(root, "scope", "Public")
    if kind == CANCEL:
        _add(root, "note", NOTE)
    if earlier:
        _add(root, "references", " ".join(f"{sender(site)},{_identifier(each)},{_moment(each.at)}" for each in earlier))
    _add(root, "incidents", change.alert_id)
    for language in ("en", "fr"):
        _add_info(root, change, kind, language, site)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def sender(site: str) -> str:
    """Return who sends the messages of a service: its host, in the form of an e-mail address."""
    return f"vigie@{urlsplit(site).hostname or 'localhost'}"


def _add_info(root: Element, change: PublishedChange, kind: str, language: str, site: str) -> None:
    facts = change.facts
    info = SubElement(root, "info")
    _add(info, "language", language)
    _add(info, "category", "Security")
    _add(info, "event", facts["title"][language])
    _add(info, "responseType", "AllClear" if kind == UPDATE and change.to_state == RESOLVED else "Monitor")
    _add(info, "urgency", _urgency(change))
    _add(info, "severity", SEVERITIES[facts["severity"]])
    _add(info, "certainty", _certainty(facts))
    _add_value(info, "eventCode", "rule", facts["rule"])
    _add(info, "effective", _moment(change.at))
    _add(info, "senderName", "Vigie")
    _add(info, "headline", facts["headline"][language])
    _add(info, "description", facts["text"][language])
    if facts.get("note"):
        _add(info, "instruction", facts["note"][language])
    if urlsplit(site).scheme:
        _add(info, "web", f"{site}/{language}/alerts/{change.alert_id}")
    for name in ("metric", "value", "reason", "fire_at", "outcome", "origin", "data_as_of", "snapshot_id"):
        if facts.get(name) is not None:
            _add_value(info, "parameter", name, str(facts[name]))
    _add_area(info, facts, language)


def _urgency(change: PublishedChange) -> str:
    """Forecasts are about the months after next week; notices about the data are about no event."""
    if change.to_state != FIRING:
        return "Past"
    return "Unknown" if change.facts["location_code"] == WHOLE_REGION else "Future"


def _certainty(facts: dict[str, Any]) -> str:
    """Return how certain the event is, from its probability. What is no probability is possible."""
    if facts["value"] is None or facts["location_code"] == WHOLE_REGION:
        return "Unknown"
    is_likely = kind_of(facts["metric"]).probability and facts["value"] >= LIKELY
    return "Likely" if is_likely else "Possible"


def _add_area(info: Element, facts: dict[str, Any], language: str) -> None:
    area = SubElement(info, "area")
    _add(area, "areaDesc", facts["name"][language])
    location = facts["location_code"]
    codes = geography.region(facts["region"]).members if location == WHOLE_REGION else (location,)
    for iso3 in codes:
        if polygon := _polygon(iso3):
            _add(area, "polygon", polygon)
    for iso3 in codes:
        _add_value(area, "geocode", "ISO 3166-1 alpha-3", iso3)


@cache
def _polygon(iso3: str) -> str:
    """Return the hull of a country as CAP writes a polygon; empty where it would cross the date line."""
    return " ".join(f"{latitude:.2f},{longitude:.2f}" for latitude, longitude in _closed(geography.hull(iso3)))


def _closed(places: Any) -> Iterator[tuple[float, float]]:
    yield from places
    if len(places):
        yield places[0]


def _identifier(change: PublishedChange) -> str:
    return f"{change.alert_id}.{change.number}"


def _moment(moment: datetime) -> str:
    """Write a moment as CAP wants it: without a fraction, and with the offset of UTC in digits."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def _add(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = text


def _add_value(parent: Element, tag: str, name: str, value: str) -> None:
    node = SubElement(parent, tag)
    _add(node, "valueName", name)
    _add(node, "value", value)
