"""Scores as an Atom feed (RFC 4287): an entry for each snapshot, and for each country whose band it changed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  # writes, never parses

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES
from service.snapshots import history, snapshot_cache
from service.store.values import instant

ATOM_NAMESPACE = "http://www.w3.org/2005/Atom"
MAX_SNAPSHOTS = 50
"""How many snapshots a feed contains."""


def scores(
    connection: sa.Connection, region: str, simulated: bool, now: datetime, site: str, outcome: str | None = None
) -> bytes:
    """Return the feed of a region, of real or simulated data, newest entry first. Without a snapshot it is empty.

    Without an `outcome`, it is that of the newest snapshot's headline. `site` is the address of the service that links
    begin with, without a slash at its end.
    """
    query, pages = (f"?outcome={outcome}", f"{site}/en/{outcome}") if outcome else ("", site)
    newest = history.newest(connection, region, simulated, 1)
    shared = snapshot_cache.document(connection, newest[0].id, newest[0].digest) if newest else {}
    outcome = outcome or shared.get("outcome", OUTCOMES[0])
    listed = history.newest(connection, region, simulated, MAX_SNAPSHOTS + 1, outcome=outcome)
    numbers = [row.id for row in listed]
    rows = history.of_snapshots(connection, numbers, outcome)
    withdrawals = history.withdrawn(connection, region, simulated, numbers)
    valid = [number for number in numbers if number not in withdrawals]
    entries = [
        entry
        for snapshot in listed[:MAX_SNAPSHOTS]  # the one after them is only compared with
        for entry in (
            _snapshot_entry(snapshot, rows[snapshot.id], withdrawals.get(snapshot.id)),
            *(_band_entries(snapshot, rows, valid) if snapshot.id in valid else ()),
        )
    ]
    feed = Element("feed", {"xmlns": ATOM_NAMESPACE, "xml:lang": "en"})
    prefix = "SIMULATED: " if simulated else ""
    label = OUTCOME_LABELS[outcome]["en"]
    add_text(feed, "id", f"urn:vigie:feed:scores:{region}:{'simulated' if simulated else 'real'}:{outcome}")
    add_text(feed, "title", f"{prefix}Vigie – risk scores of {_name(region)} and its neighbours, {label}")
    add_text(feed, "subtitle", f"Forecasts of deaths in {label}. A forecast is not a fact.")
    add_text(feed, "updated", max((entry["updated"] for entry in entries), default=instant(now)))
    SubElement(
        feed, "link", {"rel": "self", "type": "application/atom+xml", "href": f"{site}/feeds/scores.atom{query}"}
    )
    SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": f"{pages}/"})
    add_text(SubElement(feed, "author"), "name", "Vigie")
    if licence := shared.get("licence"):
        add_text(feed, "rights", licence)
    for entry in entries:
        node = SubElement(feed, "entry")
        for name in ("id", "title", "updated", "published"):
            add_text(node, name, entry[name])
        SubElement(node, "link", {"rel": "alternate", "href": pages + entry["link"]})
        for code, text in OUTCOME_LABELS[outcome].items():
            SubElement(node, "category", {"term": outcome, "label": text, "xml:lang": code})
        add_text(node, entry["element"], entry["text"])
    written: bytes = tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _snapshot_entry(
    snapshot: sa.Row[Any], rows: Sequence[sa.Row[Any]], withdrawal: sa.Row[Any] | None
) -> dict[str, Any]:
    """Return the entry of a snapshot. Its title says if the snapshot was withdrawn."""
    ranked = sorted(rows, key=lambda row: (row.risk_score is None, -(row.risk_score or 0.0)))
    outcome = ranked[0].outcome
    return {
        "id": f"urn:vigie:snapshot:{snapshot.digest}:{outcome}",
        "title": f"{'WITHDRAWN: ' if withdrawal else ''}{_simulated_prefix(ranked)}Risk scores of "
        f"{OUTCOME_LABELS[outcome]['en']} from data to {ranked[0].origin} (snapshot {snapshot.id})",
        "published": instant(snapshot.issued_at),
        "updated": instant(withdrawal.withdrawn_at if withdrawal else snapshot.issued_at),
        "link": "/",
        "element": "content",
        "text": "\n".join(f"{_name(row.location_code)}: {_score(row)}" for row in ranked),
    }


def _band_entries(
    snapshot: sa.Row[Any], rows: Mapping[int, Sequence[sa.Row[Any]]], valid: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield an entry for each band that differs from the snapshot before. Withdrawn snapshots do not count."""
    before = next((number for number in valid if number < snapshot.id), None)
    bands_before = {row.location_code: row.band for row in rows[before]} if before else {}
    for row in rows[snapshot.id]:
        iso3 = row.location_code
        if iso3 in bands_before and bands_before[iso3] != row.band:
            band_before = bands_before[iso3] or "unknown"
            yield {
                "id": f"urn:vigie:band:{snapshot.digest}:{row.outcome}:{iso3}",
                "title": f"{_simulated_prefix([row])}{_name(iso3)}: {band_before} → {row.band or 'unknown'} "
                f"({OUTCOME_LABELS[row.outcome]['en']})",
                "published": instant(snapshot.issued_at),
                "updated": instant(snapshot.issued_at),
                "link": f"/country/{iso3}",
                "element": "summary",
                "text": f"{_name(iso3)}: {_score(row)}. The band before was {band_before}.",
            }


def _simulated_prefix(rows: Sequence[sa.Row[Any]]) -> str:
    return "SIMULATED: " if rows[0].simulated else ""


def _score(row: sa.Row[Any]) -> str:
    return "unknown" if row.risk_score is None else f"{row.risk_score:.1f} of 100 ({row.band})"


def _name(iso3: str) -> str:
    return geography.country(iso3).name()


def add_text(parent: Element, tag: str, text: str) -> None:
    """Add an element with a text."""
    SubElement(parent, tag).text = text
