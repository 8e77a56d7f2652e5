"""The events that may be shown: taken from the archive while scores are computed, kept as rows that the web can read.

Only sources whose terms allow handing their events on, each with its licence and how it wants to be cited; nothing of a
private ingest. The web process imports `service.api.events` and not this module, which reads the archive.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from riskmodel import geography
from riskmodel.events import coverage, manifest
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.view import View
from riskmodel.months import span
from service.store.database import Store
from service.store.tables import event_lists, events
from service.store.values import canonical

TERMS = {
    "ucdp": {
        "licence": "CC BY 4.0",
        "licence_url": "https://creativecommons.org/licenses/by/4.0/",
        "attribution": "Uppsala Conflict Data Program (UCDP) Georeferenced Event Dataset; Sundberg & Melander (2013), "
        "doi:10.1177/0022343313484347",
    },
    "simulated": {
        "licence": "CC0-1.0",
        "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
        "attribution": "SIMULATED by Vigie: every event is invented",
    },
}
"""By source: those that are not here, ACLED first of all, forbid it or do not say."""

COLUMNS = tuple(name for name in events.c.keys() if name not in ("region", "location_code"))  # noqa: SIM118 - no dict


@dataclass(frozen=True)
class EventList:
    """The events of one region that may be shown, and what they cover."""

    row: dict[str, Any]
    events: list[dict[str, Any]]

    def keep(self, connection: sa.Connection) -> None:
        """Put them in place of what was shown before."""
        region = self.row["region"]
        connection.execute(sa.delete(events).where(events.c.region == region))
        connection.execute(sa.delete(event_lists).where(event_lists.c.region == region))
        connection.execute(sa.insert(event_lists).values(self.row))
        if self.events:
            connection.execute(sa.insert(events), self.events)


def changed(store: Store, view: View, region: str) -> EventList | None:
    """The events of a region that may be shown, unless they are those that are kept already."""
    allowed = tuple(i for i in view.ingests if i.kind == "events" and i.source in TERMS and not i.private)
    members = geography.region(region).members
    told = [manifest.digest(allowed), members, [ingest.label for ingest in allowed], TERMS]
    digest = hashlib.sha256(canonical({"shown": told}).encode()).hexdigest()
    with store.reading() as connection:
        kept = connection.scalar(sa.select(event_lists.c.digest).where(event_lists.c.region == region))
    if kept == digest:
        return None
    shown = view.with_ingests(allowed)
    parts = [
        [part for part in map(Coverage.parse, ingest.covers) if part.iso3 in (WORLD, *members)] for ingest in allowed
    ]
    document = {"sources": _sources(shown, parts), "coverage": _covers(parts, members)}
    row = {"region": region, "simulated": view.simulated, "digest": digest, "document": document}
    return EventList(row, _rows(shown, region))


def _sources(shown: View, parts: Sequence[Sequence[Coverage]]) -> list[dict[str, Any]]:
    """Whose events, by release, with their terms: the newest ingest of each that speaks for the region."""
    speaking = [ingest for ingest, spans in zip(shown.ingests, parts, strict=True) if spans]
    told = [
        {"source": i.label, "release": i.release, "known_since": i.known_since, **TERMS[i.source]}
        for i in sorted(speaking, key=lambda ingest: ingest.known_since)
    ]
    return list({each["source"]: each for each in told}.values())


def _covers(parts: Sequence[Sequence[Coverage]], members: Sequence[str]) -> list[dict[str, str]]:
    """The months that they speak for, by country; outside of them nothing is known."""
    together = [part for spans in parts for part in spans]
    if not together:
        return []
    months = span(min(part.first for part in together), max(part.last for part in together))
    return [
        {"location_code": iso3, "first": str(part.first), "last": str(part.last)}
        for iso3, known in zip(members, coverage.mask(together, members, months), strict=True)
        for part in coverage.spans(iso3, months[known])
    ]


def _rows(shown: View, region: str) -> list[dict[str, Any]]:
    table = shown.events(["iso3", *COLUMNS])
    inside = pc.is_in(table["iso3"].cast(pa.string()), pa.array(geography.region(region).members))
    table = table.filter(inside).rename_columns(["location_code", *COLUMNS])
    days = {"date_start": pa.string(), "date_end": pa.string()}
    written = pa.schema([(field.name, days.get(field.name, field.type)) for field in table.schema])
    return [{"region": region, **row} for row in table.cast(written).to_pylist()]
