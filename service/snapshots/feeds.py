"""Scores as an Atom feed (RFC 4287): an entry for each snapshot and for each band that it changed. It knows no web."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  # writes, never parses

import sqlalchemy as sa

from riskmodel import geography
from service.snapshots import history
from service.store.values import instant

ATOM = "http://www.w3.org/2005/Atom"
NEWEST = 50
"""How many snapshots a feed tells of."""


def scores(connection: sa.Connection, region: str, simulated: bool, now: datetime) -> bytes:
    """The feed of a region in one realm, newest entry first. Without a snapshot it has no entries."""
    listed = history.newest(connection, region, simulated, NEWEST + 1)
    numbers = [row.id for row in listed]
    said = history.together(connection, numbers)
    taken_back = history.withdrawn(connection, region, simulated, numbers)
    standing = [number for number in numbers if number not in taken_back]
    entries = [
        entry
        for row in listed[:NEWEST]
        if said[row.id]
        for entry in (
            _snapshot(row, said[row.id], taken_back.get(row.id)),
            *(_bands(row, said, standing) if row.id in standing else ()),
        )
    ]
    feed = Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    marked = "SIMULATED: " if simulated else ""
    _text(feed, "id", f"urn:vigie:feed:scores:{region}:{'simulated' if simulated else 'real'}")
    _text(feed, "title", f"{marked}Vigie – risk scores of {_name(region)} and its neighbours")
    _text(feed, "subtitle", "Forecasts of political violence. A forecast is not a fact.")
    _text(feed, "updated", max((entry["updated"] for entry in entries), default=instant(now)))
    SubElement(feed, "link", {"rel": "self", "type": "application/atom+xml", "href": "/feeds/scores.atom"})
    SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": "/"})
    _text(SubElement(feed, "author"), "name", "Vigie")
    for entry in entries:
        node = SubElement(feed, "entry")
        for name in ("id", "title", "updated", "published"):
            _text(node, name, entry[name])
        SubElement(node, "link", {"rel": "alternate", "href": entry["link"]})
        _text(node, "summary" if entry["short"] else "content", entry["text"])
    text: bytes = tostring(feed, encoding="utf-8", xml_declaration=True)
    return text


def _snapshot(row: sa.Row[Any], said: Sequence[sa.Row[Any]], taken_back: sa.Row[Any] | None) -> dict[str, Any]:
    """The entry of a snapshot; one that was withdrawn says so from then on."""
    scored = sorted(said, key=lambda each: (each.risk_score is None, -(each.risk_score or 0.0)))
    return {
        "id": f"urn:vigie:snapshot:{row.digest}",
        "title": f"{'WITHDRAWN: ' if taken_back else ''}{_marked(scored)}"
        f"Risk scores from data to {scored[0].origin} (snapshot {row.id})",
        "published": instant(row.issued_at),
        "updated": instant(taken_back.withdrawn_at if taken_back else row.issued_at),
        "link": "/",
        "text": "\n".join(f"{_name(each.location_code)}: {_score(each)}" for each in scored),
        "short": False,
    }


def _bands(
    row: sa.Row[Any], said: Mapping[int, Sequence[sa.Row[Any]]], standing: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """An entry for each band that a snapshot changed against the one before it that still stands."""
    before = next((number for number in standing if number < row.id), None)
    bands = {each.location_code: each.band for each in said[before]} if before else {}
    for each in said[row.id]:
        iso3 = each.location_code
        if iso3 in bands and bands[iso3] != each.band:
            was = bands[iso3] or "unknown"
            yield {
                "id": f"urn:vigie:band:{row.digest}:{iso3}",
                "title": f"{_marked([each])}{_name(iso3)}: {was} → {each.band or 'unknown'}",
                "published": instant(row.issued_at),
                "updated": instant(row.issued_at),
                "link": f"/country/{iso3}",
                "text": f"{_name(iso3)}: {_score(each)}; the band before was {was}.",
                "short": True,
            }


def _marked(said: Sequence[sa.Row[Any]]) -> str:
    return "SIMULATED: " if said[0].simulated else ""


def _score(row: sa.Row[Any]) -> str:
    return "unknown" if row.risk_score is None else f"{row.risk_score:.1f} of 100 ({row.band})"


def _name(iso3: str) -> str:
    return geography.country(iso3).name()


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text
