"""Taking files in: a source reads them, the archive keeps them, and a receipt says what became of every row."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Ingest, Kind, realm
from riskmodel.events.releases import published
from riskmodel.events.table import Checked, month_of
from riskmodel.outcomes import TYPES


class Content(Protocol):
    """A file on disk; `content_sha256` is known when all of it has been read."""

    path: Path
    content_sha256: str


class Source(Protocol):
    """A file that a provider's module has opened: rows in batches, then what the content told about itself."""

    kind: Kind
    source: str
    flavour: str
    schema: pa.Schema
    simulated: bool

    @property
    def table(self) -> Content: ...
    def read(self, today: date) -> Iterator[Checked]: ...
    def told(self) -> tuple[str | None, list[Coverage]]: ...


@dataclass(frozen=True)
class Receipt:
    """What became of one file: the ingest, whether the archive had it before, and the first rows that were kept out."""

    path: Path
    ingest: Ingest
    known: bool
    retires_simulation: bool
    kept_out: tuple[str, ...]


def ingest(
    archive: Archive,
    source: Source,
    *,
    covers: Sequence[Coverage] = (),
    release: str | None = None,
    stated: datetime | None = None,
    private: bool = False,
    now: datetime,
) -> Receipt:
    """Take in one file; a file that the archive already has, said to cover the same, adds nothing.

    `stated` is when the source says that this very file was published. `private` rows never leave the home.

    Raises BadInput if no row of it can be read, and Refused for simulated data beside real; the archive is as it was.
    """
    path = source.table.path
    deaths = flagged = 0
    kept_out: list[str] = []
    before = realm(archive.root)
    if source.simulated and before == "real":
        raise Refused(f"{archive.root} holds real data; simulated data never enters beside it")
    with archive.ingesting(source.kind, source.schema) as staging:
        for checked in source.read(now.date()):
            staging.write(checked.good, checked.quarantined)
            deaths += sum(pc.sum(checked.good[name]).as_py() or 0 for name in _counted(source.schema))
            if "flags" in checked.good.column_names:
                flagged += checked.good.num_rows - (
                    pc.sum(pc.equal(checked.good["flags"].cast(pa.string()), "")).as_py() or 0
                )
            kept_out += [_line(path, row) for row in checked.quarantined.slice(0, _SHOWN - len(kept_out)).to_pylist()]
        if not staging.rows:
            why = (
                f"none of its {staging.quarantined:,} rows can be read; {kept_out[0]}" if kept_out else "it has no rows"
            )
            raise BadInput(f"{path}: {why}")
        told_release, told_covers = source.told()
        if not source.simulated:
            release, covers = release or told_release, covers or told_covers
        content = source.table.content_sha256
        for old in staging.known:
            same = (old.content_sha256, old.release, old.covers) == (content, release, tuple(map(str, covers)))
            if same and old.withdrawn_at is None:
                return Receipt(path, old, True, False, tuple(kept_out))
        entered = staging.commit(
            source=source.source,
            flavour=source.flavour,
            file=path.name,
            content_sha256=content,
            release=release,
            covers=covers,
            simulated=source.simulated,
            learned=_learned(staging.known, source.source, release, covers, stated, now),
            now=now,
            deaths=int(deaths),
            flagged=flagged,
            private=private,
        )
    return Receipt(path, entered, False, before == "simulated" and not source.simulated, tuple(kept_out))


_SHOWN = 5


def _learned(
    known: Sequence[Ingest],
    source: str,
    release: str | None,
    covers: Sequence[Coverage],
    stated: datetime | None,
    now: datetime,
) -> datetime:
    """When the content became known: its release's day, unless it revises what was already had of that release."""
    revises = any(
        old.source == source and old.release == release and any(a.meets(b) for a in covers for b in _spans(old))
        for old in known
    )
    if stated is not None and (revises or release is None):
        return min(stated, now)
    return now if release is None or revises else min(published(release), now)


def _spans(ingest: Ingest) -> list[Coverage]:
    return [Coverage.parse(text) for text in ingest.covers]


def _counted(schema: pa.Schema) -> list[str]:
    """The columns of best estimates: `deaths` of events, or `deaths_state_based` and its like of country-months."""
    return [name for name in schema.names if name == "deaths"] or [n for n in schema.names if n.startswith("deaths_")]


def _line(path: Path, row: dict[str, object]) -> str:
    value = f" ({row['value']!r})" if row["value"] is not None else ""
    return f"{path}: row {row['row']}: {row['rule']}{value}"


def by_country(archive: Archive, entered: Ingest) -> pd.DataFrame:
    """What an ingest holds, one row a country: rows, first and last month, deaths by type, rows it does not cover."""
    table = pq.read_table(archive.root / entered.data)
    months = month_of(table["date_start" if entered.kind == "events" else "month"])
    iso3 = table["iso3"].cast(pa.string()).to_pandas()
    frame = pd.DataFrame({"iso3": iso3, "rows": 1, "first": months.astype("datetime64[s]")})
    frame["last"] = frame["first"]
    if entered.kind == "events":
        kinds, deaths = table["type_of_violence"].cast(pa.string()).to_pandas(), table["deaths"].to_numpy()
        for kind in TYPES:
            frame[kind] = np.where(kinds == kind, deaths, 0)
    else:
        for kind in TYPES:
            frame[kind] = table[f"deaths_{kind}"].to_numpy() if f"deaths_{kind}" in table.column_names else np.nan
    covered = np.zeros(len(frame), dtype=bool)
    for part in map(Coverage.parse, entered.covers):
        covered |= (
            (months >= part.first) & (months <= part.last) & ((part.iso3 == WORLD) | (iso3 == part.iso3).to_numpy())
        )
    frame["outside"] = ~covered
    groups = frame.groupby("iso3")
    sums = groups[["rows", *TYPES, "outside"]].sum(min_count=1)
    return sums.assign(first=groups["first"].min(), last=groups["last"].max())


def gaps(entered: Ingest) -> list[str]:
    """The months missing inside a country-month table, as `MLI 2010-03..2010-05`: unknown, not zero."""
    spans: dict[str, list[Coverage]] = {}
    for part in map(Coverage.parse, entered.covers):
        spans.setdefault(part.iso3, []).append(part)
    return [
        f"{iso3} {before.last + 1}..{after.first - 1}"
        for iso3, parts in spans.items()
        for before, after in itertools.pairwise(sorted(parts, key=lambda part: part.first))
    ]
