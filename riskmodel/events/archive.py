"""The append-only archive: one Parquet file per ingest, visible once the manifest lists it, never changed afterwards.

Each ingest is a statement about the country-months it covers. For every country-month the statement of highest
precedence speaks alone (newest release, then newest ingest), so nothing is counted twice and no row is overwritten.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.events import coverage, manifest
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Ingest, Kind
from riskmodel.events.table import QUARANTINE, SCHEMA, month_of
from riskmodel.home import sync
from riskmodel.months import Month, Months, span
from riskmodel.outcomes import TYPES, CountryMonths, history

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

LOCK_WAIT = 60
"""How long a second ingest waits for the first [s]."""

ROW_GROUP = 1 << 17
"""Rows that are written together."""


class Archive:
    """The archive in one folder. Reading needs no lock: the manifest is always whole."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ingests(self) -> tuple[Ingest, ...]:
        """All ingests, oldest first."""
        return manifest.read(self.root)

    def view(self, as_of: datetime | None = None) -> "View":
        """What the archive says, or would have said at a past moment."""
        return View(self.root, manifest.in_service(self.ingests(), as_of))

    def check(self) -> Iterator[tuple[Ingest, str | None]]:
        """Every ingest, with what is wrong with its files, or None; every byte is read anew."""
        _digest_seen.cache_clear()
        for ingest in self.ingests():
            try:
                _verify(self.root / ingest.data, ingest.data_sha256)
                if ingest.quarantine_sha256:
                    _verify(self.root / ingest.quarantine, ingest.quarantine_sha256)
            except Refused as wrong:
                yield ingest, str(wrong)
            else:
                yield ingest, None

    def log(self) -> list[tuple[Ingest, "Change"]]:
        """Every ingest with what it changed of what the archive said before it, oldest first."""
        known = [replace(ingest, withdrawn_at=None) for ingest in self.ingests()]
        entries, before = [], View(self.root, ())
        for number, ingest in enumerate(self.ingests(), start=1):
            after = View(self.root, manifest.in_service(tuple(known[:number])))
            entries.append((ingest, Change.between(before, after)))
            before = after
        return entries

    def withdraw(self, number: str, why: str, now: datetime) -> Ingest:
        """Take an ingest out of what counts from now on; it is kept, and as-of questions about the past still see it.

        Raises BadInput if there is no such ingest, or it was withdrawn before.
        """
        with self._locked():
            known = {ingest.id: ingest for ingest in self.ingests()}
            if number not in known:
                raise BadInput(f"there is no ingest {number} in {self.root}: vigie archive log lists them")
            if known[number].withdrawn_at:
                raise BadInput(f"ingest {number} was withdrawn on {known[number].withdrawn_at}")
            known[number] = replace(known[number], withdrawn_at=_iso(now), withdrawn_why=why)
            manifest.write(self.root, tuple(known.values()))
            return known[number]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the archive. Raises Refused if another holds it for longer than `LOCK_WAIT`."""
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / "lock", timeout=LOCK_WAIT):
                yield
        except Timeout:
            raise Refused(f"another ingest holds {self.root}; try again when it is done") from None

    @contextlib.contextmanager
    def ingesting(self, kind: Kind, schema: pa.Schema) -> Iterator["Staging"]:
        """Take a file in: write batches to the staging, then `commit`. Without a commit nothing remains.

        Raises Refused if another ingest holds the archive for longer than `LOCK_WAIT`.
        """
        with self._locked():
            known = self.ingests()
            if not known:
                manifest.write(self.root, ())  # from now on, data without a manifest is damage and no first ingest
            self._clean()
            try:
                with contextlib.closing(Staging(self.root, kind, schema, f"{len(known) + 1:04d}", known)) as staging:
                    yield staging
            except OSError as failure:
                if failure.errno not in _NO_ROOM:
                    raise
                why = f"cannot write to {self.root} ({os.strerror(failure.errno)}); the archive is as it was"
                raise VigieError(why) from failure
            finally:
                self._clean()

    def _clean(self) -> None:
        """Remove what an ingest that never became visible left behind."""
        visible = {name for ingest in self.ingests() for name in (ingest.data, ingest.quarantine)}
        for folder in (*get_args(Kind), "quarantine"):
            for path in (self.root / folder).glob("*"):
                if f"{folder}/{path.name}" not in visible:
                    path.unlink()
        for path in self.root.glob(".*.part"):
            path.unlink()


class Staging:
    """An ingest that is not visible yet."""

    def __init__(self, root: Path, kind: Kind, schema: pa.Schema, number: str, known: tuple[Ingest, ...]) -> None:
        self.number, self.known = number, known
        self._root, self._kind = root, kind
        self._data, self._quarantine = root / kind / f"{number}.parquet", root / "quarantine" / f"{number}.parquet"
        for path in (self._data, self._quarantine):
            path.parent.mkdir(exist_ok=True)
        self._writers = {self._data: pq.ParquetWriter(self._data, schema, compression="zstd")}
        self._waiting: list[pa.Table] = []
        self.rows = self.quarantined = 0

    def write(self, good: pa.Table, quarantined: pa.Table) -> None:
        """Add a batch."""
        self._waiting.append(good)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            self._flush()
        if quarantined.num_rows:
            if self._quarantine not in self._writers:
                self._writers[self._quarantine] = pq.ParquetWriter(self._quarantine, QUARANTINE, compression="zstd")
            self._writers[self._quarantine].write_table(quarantined)
        self.rows += good.num_rows
        self.quarantined += quarantined.num_rows

    def commit(
        self,
        *,
        source: str,
        flavour: str,
        file: str,
        content_sha256: str,
        release: str | None,
        covers: Sequence[Coverage],
        simulated: bool,
        learned: datetime,
        now: datetime,
        deaths: int,
        flagged: int,
        private: bool = False,
    ) -> Ingest:
        """Make the ingest visible, for good."""
        self._flush()
        self.close()
        for path in self._writers:
            sync(path)
            sync(path.parent)
        ingest = Ingest(
            id=self.number,
            kind=self._kind,
            source=source,
            flavour=flavour,
            file=file,
            content_sha256=content_sha256,
            release=release,
            covers=tuple(map(str, covers)),
            simulated=simulated,
            learned=_iso(learned),
            ingested_at=_iso(now),
            rows=self.rows,
            deaths=deaths,
            flagged=flagged,
            quarantined=self.quarantined,
            data_sha256=digest_of(self._data),
            quarantine_sha256=digest_of(self._quarantine) if self.quarantined else None,
            private=private,
        )
        manifest.write(self._root, (*self.known, ingest))
        return ingest

    def _flush(self) -> None:
        """Write what waits, as one row group: small ones make the file larger, and slower to read."""
        if together := [table for table in self._waiting if table.num_rows]:
            self._writers[self._data].write_table(pa.concat_tables(together).unify_dictionaries())
        self._waiting.clear()

    def close(self) -> None:
        """Let go of the files; what waits is not written."""
        for writer in self._writers.values():
            writer.close()


@dataclass(frozen=True)
class View:
    """What a set of ingests says together; `ingests` are in rising precedence."""

    root: Path
    ingests: tuple[Ingest, ...]

    @property
    def simulated(self) -> bool:
        """Whether all of it is simulated."""
        return any(ingest.simulated for ingest in self.ingests)

    @property
    def digest(self) -> str:
        """One SHA-256 over everything the view is made from."""
        return manifest.digest(self.ingests)

    def _read(self, ingest: Ingest, columns: list[str] | None = None) -> pa.Table:
        """The table of an ingest. Raises Refused if the file is not the one that was taken in."""
        _verify(self.root / ingest.data, ingest.data_sha256)
        return pq.read_table(self.root / ingest.data, columns=columns)

    @cached_property
    def _covers(self) -> list[list[Coverage]]:
        return [
            [Coverage.parse(text) for text in ingest.covers] if ingest.kind in manifest.OUTCOME_KINDS else []
            for ingest in self.ingests
        ]

    @cached_property
    def _frame(self) -> tuple[tuple[str, ...], Months]:
        """The countries and months that anything covers."""
        parts = [part for covers in self._covers for part in covers]
        if not parts:
            return (), np.empty(0, dtype="datetime64[M]")
        world = any(part.iso3 == WORLD for part in parts)
        iso3 = sorted(geography.countries() if world else {part.iso3 for part in parts})
        return tuple(iso3), span(min(part.first for part in parts), max(part.last for part in parts))

    def _speaker(self, numbers: Iterable[int]) -> NDArray[np.int16]:
        """Of some ingests, the place of the one that speaks for each country-month; -1 where none does."""
        iso3, months = self._frame
        speaker = np.full((len(iso3), months.size), -1, dtype=np.int16)
        for number in sorted(numbers):
            speaker[coverage.mask(self._covers[number], iso3, months)] = number
        return speaker

    def _of_kind(self, kind: Kind) -> list[int]:
        return [number for number, ingest in enumerate(self.ingests) if ingest.kind == kind and ingest.covers]

    def tables(self, kind: Kind) -> Iterator[tuple[Ingest, pa.Table]]:
        """The ingests of a kind with their tables, in rising precedence."""
        for ingest in self.ingests:
            if ingest.kind == kind:
                yield ingest, self._read(ingest)

    def events(self, columns: Sequence[str]) -> pa.Table:
        """The events in service, each once: `columns` of `events.table.SCHEMA`, in no particular order.

        Those of country-months that their ingest covers and for which no other has precedence; and, of a candidate
        release, late events of months for which an older candidate speaks. An id that comes from two places (an event
        that a later release moved or revised) counts as the higher precedence has it.
        """
        iso3, months = self._frame
        numbers = self._of_kind("events")
        speaker = self._speaker(numbers)
        of_candidates = np.isin(speaker, [number for number in numbers if self.ingests[number].candidate])
        needed = list(dict.fromkeys([*columns, "event_id", "iso3", "date_start"]))
        parts = [SCHEMA.empty_table().select(needed)]
        for number in numbers:
            table = self._read(self.ingests[number], needed)
            cell, inside = _cells(table["iso3"], table["date_start"], iso3, months)
            counts = speaker == number
            if self.ingests[number].candidate:
                counts |= of_candidates & (speaker < number) & ~coverage.mask(self._covers[number], iso3, months)
            parts.append(table.filter(pa.array(inside & counts.flat[np.where(inside, cell, 0)])))
        together = pa.concat_tables(parts)
        if len(numbers) > 1:
            ids = together["event_id"].to_pandas()
            together = together.filter(pa.array(~ids.duplicated(keep="last").to_numpy()))
        return together.select(list(columns))

    def told(self, frame: CountryMonths) -> NDArray[np.bool_]:
        """Which country-months of a frame some event file covers, shape (country, month)."""
        spans = (part for number in self._of_kind("events") for part in self._covers[number])
        return coverage.mask((part for part in spans if part.iso3 in (WORLD, *frame.iso3)), frame.iso3, frame.months)

    @cached_property
    def _outcomes(self) -> CountryMonths:
        iso3, months = self._frame
        shape = (len(iso3), months.size)
        events = self.events(["iso3", "date_start", "type_of_violence", "deaths"])
        cell, _ = _cells(events["iso3"], events["date_start"], iso3, months)
        kind, best = places(events["type_of_violence"], TYPES), events["deaths"].to_numpy()
        of_events, of_months = self._of_kind("events"), self._of_kind("country_months")
        tables = {number: self._read(self.ingests[number]) for number in of_months}
        deaths = {}
        for i, name in enumerate(TYPES):
            saying = [number for number in of_months if f"deaths_{name}" in tables[number].column_names]
            speaker = self._speaker([*of_events, *saying])
            counted = np.bincount(cell[kind == i], best[kind == i], minlength=len(iso3) * months.size).reshape(shape)
            deaths[name] = np.where(np.isin(speaker, of_events), counted, np.nan)
            for number in saying:
                at, inside = _cells(tables[number]["iso3"], tables[number]["month"], iso3, months)
                said = np.full(shape, np.nan)
                said.flat[at[inside]] = tables[number][f"deaths_{name}"].to_numpy()[inside]
                deaths[name] = np.where(speaker == number, said, deaths[name])
            if name == "state_based":
                source = speaker
        untyped = np.bincount(cell[kind < 0], best[kind < 0], minlength=len(iso3) * months.size).reshape(shape)
        deaths["all"] = np.sum([*(deaths[name] for name in TYPES), untyped], axis=0)
        return CountryMonths(iso3, months, deaths, source, tuple(ingest.id for ingest in self.ingests))

    def outcomes(self) -> CountryMonths:
        """Deaths by country-month and type. A cell that nothing covers is NaN."""
        return self._outcomes

    def origin(self, iso3: Sequence[str], outcome: str = "state_based") -> Month | None:
        """The last month known for at least half of those countries that have a history, or None without any.

        A history is an unbroken run of `HISTORY` months or more; a country's own origin is the end of its
        latest. A straggler has no data at the common origin, and a forerunner's extra months wait for the others.
        """
        observed = self.outcomes()
        here = [i for i, code in enumerate(observed.iso3) if code in set(iso3)]
        runs = [history(~np.isnan(observed.deaths[outcome][i])) for i in here]
        ends = sorted(observed.months[run.stop - 1] for run in runs if run)
        return ends[len(ends) // 2] if ends else None

    def verify(self) -> None:
        """Raises Refused unless every file is the one that was taken in."""
        for ingest in self.ingests:
            _verify(self.root / ingest.data, ingest.data_sha256)

    def sources(self, iso3: str, until: Month) -> list[dict[str, str | None]]:
        """Who speaks for a country's state-based deaths up to a month: ingest, source, release, first and last month.

        In the order of the months.
        """
        observed = self.outcomes().until(until)
        row = observed.source[observed.iso3.index(iso3)] if iso3 in observed.iso3 else np.empty(0, dtype=np.int16)
        speaking = [
            (part, self.ingests[number])
            for number in np.unique(row[row >= 0])
            for part in coverage.spans(iso3, observed.months[row == number])
        ]
        return [
            {"ingest": i.id, "source": i.label, "release": i.release, "first": str(part.first), "last": str(part.last)}
            for part, i in sorted(speaking, key=lambda pair: pair[0].first)
        ]


@dataclass(frozen=True)
class Change:
    """How what counts differs between two views: country-months that became known, events, deaths [deaths]."""

    country_months: int
    events_added: int
    events_revised: int
    events_gone: int
    deaths: int

    @classmethod
    def between(cls, before: View, after: View) -> "Change":
        """The change from one view to another. An event is revised if its country, day, type or deaths changed."""
        compared = ["event_id", "iso3", "date_start", "type_of_violence", "deaths"]
        old, new = (
            view.events(compared).to_pandas().astype({"iso3": str, "type_of_violence": str}).set_index("event_id")
            for view in (before, after)
        )
        both = old.index.intersection(new.index)
        revised = (old.loc[both].astype(str) != new.loc[both].astype(str)).any(axis=1)
        known, total = zip(*(_known(view) for view in (before, after)), strict=True)
        return cls(
            country_months=known[1] - known[0],
            events_added=len(new.index.difference(old.index)),
            events_revised=int(revised.sum()),
            events_gone=len(old.index.difference(new.index)),
            deaths=total[1] - total[0],
        )

    @property
    def said(self) -> str:
        """In words."""
        parts = [
            f"{self.country_months:+,} country-months" if self.country_months else "",
            f"{self.events_added:,} events added" if self.events_added else "",
            f"{self.events_revised:,} revised" if self.events_revised else "",
            f"{self.events_gone:,} gone" if self.events_gone else "",
            f"{self.deaths:+,} deaths" if self.deaths else "",
        ]
        return ", ".join(part for part in parts if part) or "nothing changed"


def _known(view: View) -> tuple[int, int]:
    """How many country-months a view knows, and all the deaths in them."""
    deaths = view.outcomes().deaths
    return int((~np.isnan(deaths["state_based"])).sum()), int(sum(np.nansum(deaths[kind]) for kind in TYPES))


def _verify(path: Path, sha256: str) -> None:
    """Raises Refused unless a file has its digest; a file that has not been touched since is not read again."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise Refused(f"{path} is missing; restore it from a copy, or withdraw its ingest") from None
    if _digest_seen(path, stat.st_ino, stat.st_size, stat.st_mtime_ns) != sha256:
        raise Refused(f"{path} was altered: its digest is not the manifest's; restore it, or withdraw its ingest")


@lru_cache(maxsize=4096)
def _digest_seen(path: Path, *_: int) -> str:
    return digest_of(path)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cells(
    names: pa.ChunkedArray, dates: pa.ChunkedArray, iso3: Sequence[str], months: Months
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The flat place of each row in the rectangle of country-months, and whether it is in it at all."""
    row, when = places(names, iso3), month_of(dates)
    if not months.size:
        return np.zeros(row.size, dtype=np.int64), np.zeros(row.size, dtype=bool)
    inside = (row >= 0) & (when >= months[0]) & (when <= months[-1])
    return row * months.size + (when - months[0]).astype(np.int64), inside


def places(names: pa.ChunkedArray, order: Sequence[str]) -> NDArray[np.int64]:
    """The place of each name in `order`, -1 where it has none."""
    encoded = names.dictionary_encode() if not pa.types.is_dictionary(names.type) else names.unify_dictionaries()
    where = {name: i for i, name in enumerate(order)}
    found = [np.empty(0, dtype=np.int64)]
    for chunk in encoded.chunks:
        lookup = np.array([*(where.get(name, -1) for name in chunk.dictionary.to_pylist()), -1], dtype=np.int64)
        found.append(lookup[chunk.indices.fill_null(lookup.size - 1).to_numpy(zero_copy_only=False)])
    return np.concatenate(found)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
