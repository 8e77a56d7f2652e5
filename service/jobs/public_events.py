"""The events that may be published: taken from the archive by a recompute, stored as rows that the web process reads.

Only sources whose terms allow it are published, each with its licence and attribution. Private ingests never are.
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
from service.store.tables import SEAL, event_lists, events
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
"""The terms of use of each source whose events may be published. Other sources, such as ACLED, do not allow it."""

EVENT_COLUMNS = tuple(name for name in events.c.keys() if name not in ("region", "location_code", SEAL))  # noqa: SIM118
"""The columns of `events` that the archive has under the same name."""


@dataclass(frozen=True)
class PublicEvents:
    """The public events of one region, and the months that they cover: rows of `event_lists` and `events`."""

    list_row: dict[str, Any]
    event_rows: list[dict[str, Any]]

    def store(self, connection: sa.Connection) -> None:
        """Replace the stored events of the region."""
        region = self.list_row["region"]
        connection.execute(sa.delete(events).where(events.c.region == region))
        connection.execute(sa.delete(event_lists).where(event_lists.c.region == region))
        connection.execute(sa.insert(event_lists).values(self.list_row))
        if self.event_rows:
            connection.execute(sa.insert(events), self.event_rows)


def updated(store: Store, view: View, region: str) -> PublicEvents | None:
    """Return the public events of a region; None if they are stored already."""
    public = tuple(i for i in view.ingests if i.kind == "events" and i.source in TERMS and not i.private)
    members = geography.region(region).members
    content = [manifest.digest(public), members, [ingest.label for ingest in public], TERMS]
    digest = hashlib.sha256(canonical({"shown": content}).encode()).hexdigest()
    with store.reading() as connection:
        stored = connection.scalar(sa.select(event_lists.c.digest).where(event_lists.c.region == region))
    if stored == digest:
        return None
    public_view = view.with_ingests(public)
    covers = [
        [part for part in map(Coverage.parse, ingest.covers) if part.iso3 in (WORLD, *members)] for ingest in public
    ]
    document = {"sources": _sources(public_view, covers), "coverage": _covered_months(covers, members)}
    list_row = {"region": region, "simulated": view.simulated, "digest": digest, "document": document}
    return PublicEvents(list_row, _event_rows(public_view, region))


def _sources(public_view: View, covers: Sequence[Sequence[Coverage]]) -> list[dict[str, Any]]:
    """Return each release that covers the region, with its terms and when its newest ingest came in."""
    covering = [ingest for ingest, parts in zip(public_view.ingests, covers, strict=True) if parts]
    sources = [
        {"source": i.label, "release": i.release, "known_since": i.known_since, **TERMS[i.source]}
        for i in sorted(covering, key=lambda ingest: ingest.known_since)
    ]
    return list({source["source"]: source for source in sources}.values())


def _covered_months(covers: Sequence[Sequence[Coverage]], members: Sequence[str]) -> list[dict[str, str]]:
    """Return the months covered for each country. Outside of them nothing is known."""
    parts = [part for parts in covers for part in parts]
    if not parts:
        return []
    months = span(min(part.first for part in parts), max(part.last for part in parts))
    return [
        {"location_code": iso3, "first": str(part.first), "last": str(part.last)}
        for iso3, covered in zip(members, coverage.mask(parts, members, months), strict=True)
        for part in coverage.spans(iso3, months[covered])
    ]


def _event_rows(public_view: View, region: str) -> list[dict[str, Any]]:
    table = public_view.events(["iso3", *EVENT_COLUMNS])
    in_region = pc.is_in(table["iso3"].cast(pa.string()), pa.array(geography.region(region).members))
    table = table.filter(in_region).rename_columns(["location_code", *EVENT_COLUMNS])
    as_text = {"date_start": pa.string(), "date_end": pa.string()}
    schema = pa.schema(
        [
            # without the dictionaries of repeated texts, which PyArrow converts to Python slowly
            (f.name, as_text.get(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type))
            for f in table.schema
        ]
    )
    columns = [column.to_pylist() for column in table.cast(schema).columns]
    names = ("region", *table.column_names)
    return [dict(zip(names, (region, *values), strict=True)) for values in zip(*columns, strict=True)]
