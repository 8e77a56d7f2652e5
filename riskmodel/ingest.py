"""Taking files in: a source reads them, the archive keeps them, and a receipt says what became of every row."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.events.columns import months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Ingest, Kind, realm
from riskmodel.events.releases import published
from riskmodel.events.table import CheckedBatch
from riskmodel.outcomes import TYPES


class Content(Protocol):
    """A file on disk; `content_sha256` is known when all of it has been read."""

    path: Path
    content_sha256: str


class Source(Protocol):
    """A file that a provider's module has opened: rows in batches, then what the content told about itself."""

    kind: Kind
    source: str
    variant: str
    schema: pa.Schema
    simulated: bool

    @property
    def table(self) -> Content: ...
    def read(self, today: date) -> Iterator[CheckedBatch]: ...
    def release_and_coverage(self) -> tuple[str | None, list[Coverage]]: ...


@dataclass(frozen=True)
class IngestReport:
    """What became of one file: whether the archive had it before, the first rows kept out, rows by flag."""

    path: Path
    ingest: Ingest
    known: bool
    retires_simulation: bool
    kept_out: tuple[str, ...]
    flags: Mapping[str, int]


def ingest(
    archive: Archive,
    source: Source,
    *,
    covers: Sequence[Coverage] = (),
    release: str | None = None,
    stated: datetime | None = None,
    private: bool = False,
    now: datetime,
) -> IngestReport:
    """Take in one file; a file that the archive already has, said to cover the same, adds nothing.

    `stated` is when the source says that this very file was published. `private` rows never leave the home.

    Raises BadInput if no row of it can be read, and Refused for simulated data beside real; the archive is as it was.
    """
    path = source.table.path
    deaths, combinations = 0, Counter[str]()
    kept_out: list[str] = []
    before = realm(archive.root)
    if source.simulated and before == "real":
        raise Refused(f"{archive.root} holds real data; simulated data never enters beside it")
    with archive.ingesting(source.kind, source.schema) as staging:
        for checked in source.read(now.date()):
            staging.write(checked.accepted, checked.quarantined)
            deaths += sum(pc.sum(checked.accepted[name]).as_py() or 0 for name in _counted(source.schema))
            if "flags" in checked.accepted.column_names:
                combinations.update(_combinations(checked.accepted["flags"]))
            kept_out += [_line(path, row) for row in checked.quarantined.slice(0, _SHOWN - len(kept_out)).to_pylist()]
        if not staging.rows:
            why = (
                f"none of its {staging.quarantined:,} rows can be read; {kept_out[0]}" if kept_out else "it has no rows"
            )
            raise BadInput(f"{path}: {why}")
        told_release, told_covers = source.release_and_coverage()
        _agree(path, told_release, release)
        if not source.simulated:
            release, covers = release or told_release, covers or told_covers
        if early := [str(part) for part in covers if part.last >= np.datetime64(now.date(), "M")]:
            raise BadInput(f"{path}: nothing can cover a month that is not over: {', '.join(early)}")
        content = source.table.content_sha256
        for old in staging.ingests:
            same = (old.content_sha256, old.release, old.covers) == (content, release, tuple(map(str, covers)))
            if same and old.withdrawn_at is None:
                return IngestReport(path, old, True, False, tuple(kept_out), {})
        entered = staging.commit(
            source=source.source,
            variant=source.variant,
            file=path.name,
            content_sha256=content,
            release=release,
            covers=covers,
            simulated=source.simulated,
            known_since=_known_since(staging.ingests, source.source, release, covers, stated, now),
            now=now,
            deaths=int(deaths),
            flagged=combinations.total(),
            private=private,
        )
    flags = Counter[str]()
    for raised, rows in combinations.items():
        flags.update(dict.fromkeys(raised.split(), rows))
    retires = before == "simulated" and realm(archive.root) == "real"
    return IngestReport(path, entered, False, retires, tuple(kept_out), dict(flags.most_common()))


_SHOWN = 5


def _combinations(flags: pa.ChunkedArray) -> dict[str, int]:
    """How many rows bear each combination of flags; those without any apart."""
    counted = flags.cast(pa.string()).value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in counted if entry["values"]}


def _agree(path: Path, told: str | None, given: str | None) -> None:
    """Raises BadInput if a file is said to be of another year's release, or another kind, than its content shows."""
    if told and given and (told.split(".")[0], told.count(".") > 1) != (given.split(".")[0], given.count(".") > 1):
        raise BadInput(f"{path}: its content is that of release {told}, not {given}; leave --release out")


def _known_since(
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
    events = entered.kind == "events"
    path = archive.root / entered.data
    day = "date_start" if events else "month"
    counts = ["type_of_violence", "deaths"] if events else _counted(pq.read_schema(path))
    table = pq.read_table(path, columns=["iso3", day, *counts])
    iso3 = sorted(pc.unique(table["iso3"].cast(pa.string())).to_pylist())
    country, months = positions(table["iso3"], iso3), months_of(table[day])
    first = np.full(len(iso3), np.datetime64("9999-12", "M"))
    last = np.full(len(iso3), np.datetime64("0000-01", "M"))
    np.minimum.at(first, country, months)
    np.maximum.at(last, country, months)

    def total(rows: NDArray[np.bool_], deaths: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        weights = None if deaths is None else deaths[rows]
        return np.bincount(country[rows], weights, minlength=len(iso3)).astype(np.float64)

    all_rows = np.ones(country.size, dtype=bool)
    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {"rows": total(all_rows).astype(np.int64)}
    for i, kind in enumerate(TYPES):
        if events:
            columns[kind] = total(positions(table["type_of_violence"], TYPES) == i, table["deaths"].to_numpy())
        elif f"deaths_{kind}" in counts:
            columns[kind] = total(all_rows, table[f"deaths_{kind}"].to_numpy())
        else:
            columns[kind] = np.full(len(iso3), np.nan)
    covered = np.zeros(country.size, dtype=bool)
    for part in map(Coverage.parse, entered.covers):
        here = True if part.iso3 == WORLD else country == iso3.index(part.iso3) if part.iso3 in iso3 else False
        covered |= (months >= part.first) & (months <= part.last) & here
    columns["outside"] = total(~covered).astype(np.int64)
    frame = pd.DataFrame(columns, index=pd.Index(iso3, name="iso3"))
    return frame.assign(first=first.astype("datetime64[s]"), last=last.astype("datetime64[s]"))


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
