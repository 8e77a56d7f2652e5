"""The append-only archive: one Parquet file per ingest, visible once the manifest lists it, and never changed."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.events import manifest
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Ingest, Kind
from riskmodel.events.storage import TableReader, check_digest, digest_of, forget_digests
from riskmodel.events.table import QUARANTINE_SCHEMA
from riskmodel.events.view import View, ViewChange
from riskmodel.home import sync

LOCK_WAIT = 60
"""How long a second ingest waits for the first [s]."""

ROW_GROUP = 1 << 17
"""Rows that are written together. Small row groups make the file larger, and slower to read."""

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Archive:
    """The archive in one folder. Reading needs no lock: the manifest is always complete."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ingests(self) -> tuple[Ingest, ...]:
        """Return all ingests, oldest first."""
        return manifest.read(self.root)

    def view(self, as_of: datetime | None = None) -> View:
        """Return what the archive says, or what it said at a past moment."""
        return View(TableReader(self.root), manifest.active(self.ingests(), as_of))

    def check(self) -> Iterator[tuple[Ingest, str | None]]:
        """Yield every ingest with what is wrong with its files, or None. Every byte is read again."""
        forget_digests()
        for ingest in self.ingests():
            try:
                check_digest(self.root / ingest.data, ingest.data_sha256)
                if ingest.quarantine_sha256:
                    check_digest(self.root / ingest.quarantine, ingest.quarantine_sha256)
            except Refused as damage:
                yield ingest, str(damage)
            else:
                yield ingest, None

    def log(self) -> list[tuple[Ingest, ViewChange]]:
        """Return every ingest with what it changed of what the archive said before it, oldest first."""
        never_withdrawn = [replace(ingest, withdrawn_at=None) for ingest in self.ingests()]
        reader = TableReader(self.root)
        entries, before = [], View(reader, ())
        for number, ingest in enumerate(self.ingests(), start=1):
            after = View(reader, manifest.active(tuple(never_withdrawn[:number])))
            entries.append((ingest, ViewChange.between(before, after)))
            before = after
        return entries

    def withdraw(self, number: str, reason: str, now: datetime) -> Ingest:
        """Withdraw an ingest: it counts no more from now on. It stays in the archive, and views of the past keep it.

        Raises BadInput if there is no such ingest, or if it was withdrawn before.
        """
        with self._locked():
            ingests = {ingest.id: ingest for ingest in self.ingests()}
            if number not in ingests:
                raise BadInput(f"there is no ingest {number} in {self.root}: vigie archive log lists them")
            if ingests[number].withdrawn_at:
                raise BadInput(f"ingest {number} was withdrawn on {ingests[number].withdrawn_at}")
            ingests[number] = replace(ingests[number], withdrawn_at=_iso(now), withdrawn_reason=reason)
            manifest.write(self.root, tuple(ingests.values()))
            return ingests[number]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the archive for writing. Raises Refused if another process has the lock for more than `LOCK_WAIT`."""
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / "lock", timeout=LOCK_WAIT):
                yield
        except Timeout:
            raise Refused(f"another ingest has locked {self.root}; try again when it is done") from None

    @contextlib.contextmanager
    def ingesting(self, kind: Kind, schema: pa.Schema) -> Iterator["Staging"]:
        """Take a file in: write batches to the staging, then `commit`. Without a commit nothing remains.

        Raises Refused if another process has the archive locked for more than `LOCK_WAIT`.
        """
        with self._locked():
            ingests = self.ingests()
            if not ingests:
                manifest.write(self.root, ())  # from now on, data without a manifest is damage and no first ingest
            self._remove_leftovers()
            number = f"{len(ingests) + 1:04d}"
            try:
                with contextlib.closing(Staging(self.root, kind, schema, number, ingests)) as staging:
                    yield staging
            except OSError as failure:
                if failure.errno not in _CANNOT_WRITE:
                    raise
                reason = f"cannot write to {self.root} ({os.strerror(failure.errno)}); the archive is as it was"
                raise VigieError(reason) from failure
            finally:
                self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Remove the files of an ingest that never became visible."""
        visible = {name for ingest in self.ingests() for name in (ingest.data, ingest.quarantine)}
        for folder in (*get_args(Kind), "quarantine"):
            for path in (self.root / folder).glob("*"):
                if f"{folder}/{path.name}" not in visible:
                    path.unlink()
        for path in self.root.glob(".*.part"):
            path.unlink()


class Staging:
    """An ingest that is not visible yet. `ingests` are those that the archive has."""

    def __init__(self, root: Path, kind: Kind, schema: pa.Schema, number: str, ingests: tuple[Ingest, ...]) -> None:
        self.number, self.ingests = number, ingests
        self._root, self._kind = root, kind
        self._data, self._quarantine = root / kind / f"{number}.parquet", root / "quarantine" / f"{number}.parquet"
        for path in (self._data, self._quarantine):
            path.parent.mkdir(exist_ok=True)
        self._writers = {self._data: pq.ParquetWriter(self._data, schema, compression="zstd")}
        self._pending: list[pa.Table] = []
        self.rows = self.quarantined = 0

    def write(self, accepted: pa.Table, quarantined: pa.Table) -> None:
        """Add a batch."""
        self._pending.append(accepted)
        if sum(table.num_rows for table in self._pending) >= ROW_GROUP:
            self._flush()
        if quarantined.num_rows:
            if self._quarantine not in self._writers:
                writer = pq.ParquetWriter(self._quarantine, QUARANTINE_SCHEMA, compression="zstd")
                self._writers[self._quarantine] = writer
            self._writers[self._quarantine].write_table(quarantined)
        self.rows += accepted.num_rows
        self.quarantined += quarantined.num_rows

    def commit(
        self,
        *,
        source: str,
        variant: str,
        file: str,
        content_sha256: str,
        release: str | None,
        covers: Sequence[Coverage],
        simulated: bool,
        known_since: datetime,
        now: datetime,
        deaths: int,
        flagged: int,
        private: bool = False,
    ) -> Ingest:
        """Make the ingest visible, permanently."""
        self._flush()
        self.close()
        # The data must be on the disk before the manifest names it: a power cut can come between the two.
        for path in self._writers:
            sync(path)
            sync(path.parent)
        ingest = Ingest(
            id=self.number,
            kind=self._kind,
            source=source,
            variant=variant,
            file=file,
            content_sha256=content_sha256,
            release=release,
            covers=tuple(map(str, covers)),
            simulated=simulated,
            known_since=_iso(known_since),
            ingested_at=_iso(now),
            rows=self.rows,
            deaths=deaths,
            flagged=flagged,
            quarantined=self.quarantined,
            data_sha256=digest_of(self._data),
            quarantine_sha256=digest_of(self._quarantine) if self.quarantined else None,
            private=private,
        )
        manifest.write(self._root, (*self.ingests, ingest))
        return ingest

    def _flush(self) -> None:
        """Write the pending batches as one row group."""
        if tables := [table for table in self._pending if table.num_rows]:
            self._writers[self._data].write_table(pa.concat_tables(tables).unify_dictionaries())
        self._pending.clear()

    def close(self) -> None:
        """Close the files. Pending batches are not written."""
        for writer in self._writers.values():
            writer.close()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
