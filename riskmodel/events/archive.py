"""The append-only archive: one folder per ingest, visible once the manifest lists it, and never changed.

The folder has the data, the quarantined rows, and the statement, from which the manifest can be made again. A
withdrawal is a folder with a statement alone. Numbers are never used again. What the manifest does not list is neither
deleted nor overwritten: a manifest that was put back from an older copy does not list all that is there.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.events import manifest
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Damaged, Entry, Ingest, Kind, Withdrawal
from riskmodel.events.storage import TableReader, check_digest, digest_of, forget_digests
from riskmodel.events.table import QUARANTINE_SCHEMA
from riskmodel.events.view import View, ViewChange
from riskmodel.home import atomic_write, sync

LOCK_WAIT = 60
"""How long a second ingest waits for the first [s]."""

ROW_GROUP = 1 << 17
"""Rows that are written together. Small row groups make the file larger, and slower to read."""

STATEMENT = "statement.json"

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild of the manifest did: `added` entries that it did not list, and which folders it leaves out."""

    entries: tuple[Entry, ...]
    added: tuple[Entry, ...]
    left_out: tuple[str, ...]


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
        """Yield every ingest with what is wrong with its files, or None. Every byte is read again.

        Raises Refused, as all reading does, if the manifest is damaged.
        """
        forget_digests()
        entries = manifest.entries(self.root)
        for ingest in self.ingests():
            try:
                self._check_files(ingest)
                for entry in entries:
                    if ingest.id in (entry.id, entry.withdraws if isinstance(entry, Withdrawal) else None):
                        self._check_statement(entry)
            except Refused as damage:
                yield ingest, str(damage)
            else:
                yield ingest, None

    def quarantined(self, number: str) -> pa.Table:
        """Return the rows of an ingest that could not be read, as `QUARANTINE_SCHEMA`.

        Raises BadInput for an ingest that the archive does not have, and Refused for an altered file.
        """
        ingest = next((ingest for ingest in self.ingests() if ingest.id == number), None)
        if ingest is None:
            raise BadInput(f"{self.root} has no ingest {number}: vigie archive log lists them")
        if ingest.quarantine_sha256 is None:
            return QUARANTINE_SCHEMA.empty_table()
        self._check_files(ingest)
        return pq.read_table(self.root / ingest.quarantine, schema=QUARANTINE_SCHEMA)

    def _check_files(self, ingest: Ingest) -> None:
        check_digest(self.root / ingest.data, ingest.data_sha256)
        if ingest.quarantine_sha256:
            check_digest(self.root / ingest.quarantine, ingest.quarantine_sha256)

    def _check_statement(self, entry: Entry) -> None:
        path = self.root / entry.id / STATEMENT
        if not path.is_file():
            raise Refused(f"{path} is missing: vigie archive rebuild writes it again")
        if path.read_bytes() != manifest.encoded([entry]):
            raise Refused(f"{path} was altered: vigie archive rebuild writes it again")

    def unlisted(self) -> list[Path]:
        """Return the folders that the manifest does not list. They count for nothing, and nothing removes them."""
        listed = {entry.id for entry in manifest.entries(self.root)}
        return [folder for folder in _numbered(self.root) if folder.name not in listed]

    def rebuild(self) -> Rebuilt:
        """Make the manifest from itself, as far as it can be read, and from the statements of all ingests.

        Missing and altered statements of listed ingests are written again. The manifest that was there is kept as
        `manifest.before-rebuild.json`. An ingest that is not listed is left out if its files are not as it states.
        """
        with self._locked():
            self._remove_unfinished()
            forget_digests()
            try:
                listed = {entry.id: entry for entry in manifest.entries(self.root)}
            except Damaged:
                listed = {entry.id: entry for entry in manifest.salvaged(self.root / "manifest.json")}
            entries, left_out = dict(listed), []
            for folder in _numbered(self.root):
                stated = _statement(folder)
                if stated and stated == listed.get(folder.name):
                    continue
                if stated and self._is_intact(stated) and not self._is_intact(listed.get(folder.name)):
                    entries[stated.id] = stated
                elif folder.name not in listed:
                    left_out.append(folder.name)
            in_order = tuple(entries[number] for number in sorted(entries, key=int))
            path = self.root / "manifest.json"
            if path.exists() and path.read_bytes() != manifest.encoded(in_order):
                shutil.copy2(path, self.root / "manifest.before-rebuild.json")
            for entry in in_order:
                _state(entry, self.root / entry.id)
            manifest.write(self.root, in_order)
            added = tuple(entry for entry in in_order if entry.id not in listed)
            return Rebuilt(in_order, added, tuple(left_out))

    def _is_intact(self, entry: Entry | None) -> bool:
        """Return whether the files of an entry are as it states."""
        if entry is None:
            return False
        try:
            if isinstance(entry, Ingest):
                self._check_files(entry)
        except Refused:
            return False
        return True

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
            self._remove_unfinished()
            entries = manifest.entries(self.root)
            reason = manifest.plain(reason)
            withdrawal = Withdrawal(_next_number(self.root, entries), number, _iso(now), reason)
            folder = self.root / f"{withdrawal.id}.part"
            folder.mkdir()
            _append(self.root, entries, withdrawal, folder)
            return replace(ingests[number], withdrawn_at=withdrawal.withdrawn_at, withdrawn_reason=reason)

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
            entries = manifest.entries(self.root)
            if not entries:
                manifest.write(self.root, ())  # from now on, data without a manifest is damage and no first ingest
            self._remove_unfinished()
            try:
                with contextlib.closing(Staging(self.root, kind, schema, entries, self.ingests())) as staging:
                    yield staging
            except OSError as failure:
                if failure.errno not in _CANNOT_WRITE:
                    raise
                reason = f"cannot write to {self.root} ({os.strerror(failure.errno)}); the archive is as it was"
                raise VigieError(reason) from failure
            finally:
                self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        """Remove what an ingest wrote that was interrupted: its folder does not have its final name yet."""
        for folder in self.root.glob("[0-9]*.part"):
            shutil.rmtree(folder)
        for pattern in (".*.part", "*/.*.part"):
            for path in self.root.glob(pattern):
                path.unlink()


class Staging:
    """An ingest that is not visible yet. `ingests` are those that the archive has."""

    def __init__(
        self, root: Path, kind: Kind, schema: pa.Schema, entries: tuple[Entry, ...], ingests: tuple[Ingest, ...]
    ) -> None:
        self.number, self.ingests = _next_number(root, entries), ingests
        self._root, self._kind, self._entries = root, kind, entries
        self._folder = root / f"{self.number}.part"
        self._folder.mkdir()
        self._data, self._quarantine = self._folder / f"{kind}.parquet", self._folder / "quarantine.parquet"
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
        for path in self._writers:
            sync(path)
        ingest = Ingest(
            id=self.number,
            kind=self._kind,
            source=source,
            variant=variant,
            file=manifest.plain(file),
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
        _append(self._root, self._entries, ingest, self._folder)
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


def _append(root: Path, entries: tuple[Entry, ...], entry: Entry, folder: Path) -> None:
    """Give a finished folder its final name, and list it in the manifest."""
    _state(entry, folder)
    final = root / entry.id
    # All must be on the disk before the manifest names it: a power cut can come between the two.
    folder.rename(final)
    sync(root)
    try:
        manifest.write(root, (*entries, entry))
    except OSError:
        if entry not in manifest.entries(root):
            final.rename(folder)
        raise


def _state(entry: Entry, folder: Path) -> None:
    """Write the statement of an entry, unless it is there."""
    path, content = folder / STATEMENT, manifest.encoded([entry])
    if not path.is_file() or path.read_bytes() != content:
        with atomic_write(path) as part:
            part.write_bytes(content)


def _statement(folder: Path) -> Entry | None:
    """Return what the statement in a folder says; None if there is none, or if it is damaged or of another folder."""
    path = folder / STATEMENT
    try:
        (entry,) = manifest.decoded(path.read_bytes(), path)
    except (OSError, Refused, ValueError):
        return None
    return entry if entry.id == folder.name else None


def _numbered(root: Path) -> list[Path]:
    """Return the folders that have a number for a name, in order."""
    return sorted((path for path in root.glob("[0-9]*") if path.name.isdecimal()), key=lambda path: int(path.name))


def _next_number(root: Path, entries: tuple[Entry, ...]) -> str:
    """Return a number that neither an entry nor a folder has had."""
    known = [*(entry.id for entry in entries), *(folder.name for folder in _numbered(root))]
    return f"{1 + max(map(int, known), default=0):04d}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
