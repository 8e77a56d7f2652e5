"""The archive's manifest: the list of ingests, with what each covers and since when it is known, and of withdrawals.

An ingest is visible once `manifest.json` lists it. That file is only ever replaced as a unit. Each entry has a digest
of its content and of the digest before it, so that any altered bit shows. A statement is a manifest of one entry; it
lies next to the data of its ingest. This module imports no pandas and no pyarrow, because the web process uses it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from riskmodel.errors import Refused
from riskmodel.events.releases import published
from riskmodel.home import atomic_write

Kind = Literal["events", "country_months", "protests", "acled", "gdelt", "displacement"]
Realm = Literal["simulated", "real"]

OUTCOME_KINDS = ("events", "country_months")
"""The kinds that outcomes are computed from. Only these retire simulated data."""

SHIPPED = "shipped"
"""The variant of the history that ships with Vigie. Any other file takes precedence over it."""

FORMAT = 3
"""The format of `manifest.json` and of statements. Format 2 had no digests of entries and no statements."""

_SOURCE_NAMES = {
    "ucdp": "UCDP",
    "acled": "ACLED",
    "gdelt": "GDELT",
    "monthly": "country-month table",
    "unhcr": "UNHCR",
    "idmc": "IDMC",
}


@dataclass(frozen=True)
class Ingest:
    """One file taken in. Times are ISO 8601, UTC; `covers` has spans as `Coverage` writes them; `deaths` [deaths].

    `variant` says which layout of its source the file has. `known_since` is when the content was published, or when it
    was taken in if that is not known. `private` rows never leave the home. A withdrawn ingest stays in the archive and
    does not count from `withdrawn_at` on.
    """

    id: str
    kind: Kind
    source: str
    variant: str
    file: str
    content_sha256: str
    release: str | None
    covers: tuple[str, ...]
    simulated: bool
    known_since: str
    ingested_at: str
    rows: int
    deaths: int
    flagged: int
    quarantined: int
    data_sha256: str
    quarantine_sha256: str | None = None
    private: bool = False
    withdrawn_at: str | None = None
    withdrawn_reason: str | None = None

    @property
    def label(self) -> str:
        """The source for a reader: `UCDP 24.1`."""
        name = "SIMULATED" if self.simulated else _SOURCE_NAMES.get(self.source, self.source)
        return f"{name} {self.release}" if self.release else name

    @property
    def data(self) -> str:
        """The data file, relative to the archive."""
        return f"{self.id}/{self.kind}.parquet"

    @property
    def quarantine(self) -> str:
        """The file of quarantined rows, relative to the archive. It exists only if `quarantined` is not 0."""
        return f"{self.id}/quarantine.parquet"

    @property
    def rank(self) -> tuple[bool, str, str]:
        """The order of precedence: the newest release first, then the newest ingest.

        A file without a release ranks below all releases. The shipped history ranks below all files.
        """
        released = published(self.release).isoformat() if self.release else ""
        return self.variant != SHIPPED, released, self.id

    @property
    def candidate(self) -> bool:
        """Whether its release is a candidate (26.0.2, 26.01.26.06), which a final one (26.1) supersedes."""
        return self.release is not None and self.release.count(".") > 1

    def is_active(self, as_of: datetime | None) -> bool:
        """Return whether it counts at a moment; None is now."""
        if as_of is None:
            return self.withdrawn_at is None
        withdrawn = self.withdrawn_at is not None and datetime.fromisoformat(self.withdrawn_at) <= as_of
        return datetime.fromisoformat(self.known_since) <= as_of and not withdrawn


@dataclass(frozen=True)
class Withdrawal:
    """The withdrawal of the ingest `withdraws`. It has a number of its own, as an ingest has."""

    id: str
    withdraws: str
    withdrawn_at: str
    withdrawn_reason: str


Entry = Ingest | Withdrawal

_WITHDRAWAL = ("withdrawn_at", "withdrawn_reason")
"""What an ingest has from its withdrawal, and not from its own entry."""


class Damaged(Refused):
    """The manifest, or a statement, is missing or not as it was written."""


def read(archive: Path) -> tuple[Ingest, ...]:
    """Return the ingests of an archive, oldest first; none where there is no archive. Raises as `entries` does."""
    found: dict[str, Ingest] = {}
    for entry in entries(archive):
        if isinstance(entry, Ingest):
            found[entry.id] = entry
        elif (ingest := found.get(entry.withdraws)) and ingest.withdrawn_at is None:
            found[ingest.id] = replace(ingest, withdrawn_at=entry.withdrawn_at, withdrawn_reason=entry.withdrawn_reason)
    return tuple(found.values())


def withdrawn(archive: Path) -> list[str]:
    """Return the ids of the ingests that were withdrawn, oldest first."""
    return [ingest.id for ingest in read(archive) if ingest.withdrawn_at is not None]


def entries(archive: Path) -> tuple[Entry, ...]:
    """Return the ingests and withdrawals that the manifest lists, oldest first; none where there is no archive.

    Raises Damaged if the manifest is missing or altered, and Refused if it has another format.
    """
    path = archive / "manifest.json"
    try:
        stat = path.stat()
    except FileNotFoundError:
        if any(archive.glob("*/*.parquet")):
            raise Damaged(f"{path} is missing, but the archive has data: {_WAY_OUT}") from None
        return ()
    # The manifest is replaced, never changed in place: a new one has another inode or time.
    return _parsed(path, stat.st_mtime_ns, stat.st_ino, stat.st_size)


_WAY_OUT = "run vigie archive rebuild, or restore it from a copy"


@lru_cache(maxsize=4)
def _parsed(path: Path, *_: int) -> tuple[Entry, ...]:
    return decoded(path.read_bytes(), path)


def decoded(content: bytes, path: Path) -> tuple[Entry, ...]:
    """Return the entries in the content of a manifest or statement; `path` is for messages. Raises as `entries` does.

    The content must be what Vigie writes, byte for byte.
    """
    try:
        document = json.loads(content)
        found = document["format"]
        records = document["entries"] if found == FORMAT else ()
        read_entries = tuple(map(_entry, records)) if found == FORMAT else ()
    except (ValueError, KeyError, TypeError, AttributeError) as unreadable:
        raise Damaged(f"{path} is damaged (it cannot be read: {unreadable}); {_WAY_OUT}") from unreadable
    if isinstance(found, int) and found > FORMAT:
        raise Refused(f"{path} has format {found}, and this version of Vigie reads format {FORMAT}: use a newer Vigie")
    if found in range(1, FORMAT):
        raise Refused(
            f"{path} has format {found}, and this version of Vigie reads format {FORMAT}: "
            "ingest the files again into a new home (vigie --home NEW_FOLDER ingest …)"
        )
    if found != FORMAT or encoded(read_entries) != content:
        altered = (
            f"entry {entry.id} does not have its digest"
            for entry, digest, record in zip(read_entries, _chain(read_entries), records, strict=True)
            if record.get("digest") != digest
        )
        raise Damaged(f"{path} is damaged ({next(altered, 'it is not as Vigie wrote it')}); {_WAY_OUT}")
    return read_entries


def salvaged(path: Path) -> tuple[Entry, ...]:
    """Return the entries of a damaged manifest that still have their digests."""
    try:
        records = json.loads(path.read_bytes())["entries"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    found, before = [], ""
    for record in records if isinstance(records, list) else ():
        with suppress(KeyError, TypeError, AttributeError, ValueError):
            if _digest(before, entry := _entry(record)) == record["digest"]:
                found.append(entry)
        before = str(record.get("digest")) if isinstance(record, dict) else ""
    return tuple(found)


def _entry(record: dict[str, Any]) -> Entry:
    content = {name: value for name, value in record.items() if name != "digest"}
    return Withdrawal(**content) if "withdraws" in content else Ingest(**content | {"covers": tuple(content["covers"])})


def encoded(listed: Sequence[Entry]) -> bytes:
    """Return the content of a manifest, or of a statement, with the digest of each entry."""
    chained = zip(listed, _chain(listed), strict=True)
    document = {"format": FORMAT, "entries": [_content(entry) | {"digest": digest} for entry, digest in chained]}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _chain(listed: Sequence[Entry]) -> list[str]:
    """Return the digest of each entry: of its content, and of the digest before it."""
    digests = [""]
    for entry in listed:
        digests.append(_digest(digests[-1], entry))
    return digests[1:]


def _digest(before: str, entry: Entry) -> str:
    text = json.dumps([FORMAT, before, _content(entry)], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(entry: Entry) -> dict[str, Any]:
    of_ingest = isinstance(entry, Ingest)
    return {name: value for name, value in asdict(entry).items() if not (of_ingest and name in _WITHDRAWAL)}


def plain(text: str) -> str:
    """Return a text in one line: `?` for a byte that is no character, a space for a control character."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text.encode(errors="replace").decode())


def write(archive: Path, listed: Sequence[Entry]) -> None:
    """Replace the list. From this moment new entries count."""
    with atomic_write(archive / "manifest.json") as part:
        part.write_bytes(encoded(listed))


def realm(archive: Path) -> Realm | None:
    """Return whether the archive counts as real (real data retires simulated data) or simulated; None if empty."""
    ingests = [ingest for ingest in read(archive) if ingest.is_active(None) and ingest.kind in OUTCOME_KINDS]
    if not ingests:
        return None
    return "simulated" if all(ingest.simulated for ingest in ingests) else "real"


def shipped_only(archive: Path) -> bool:
    """Return whether the history that ships with Vigie is all that outcomes are computed from."""
    counting = [ingest for ingest in read(archive) if ingest.is_active(None) and ingest.kind in OUTCOME_KINDS]
    return bool(counting) and all(ingest.variant == SHIPPED for ingest in counting)


def active(ingests: tuple[Ingest, ...], as_of: datetime | None = None) -> tuple[Ingest, ...]:
    """Return the ingests that count as of a moment, lowest precedence first. Real ones exclude simulated ones."""
    found = [ingest for ingest in ingests if ingest.is_active(as_of)]
    if any(not ingest.simulated and ingest.kind in OUTCOME_KINDS for ingest in found):
        found = [ingest for ingest in found if not ingest.simulated]
    return tuple(sorted(found, key=lambda ingest: ingest.rank))


def digest(ingests: tuple[Ingest, ...]) -> str:
    """Return one SHA-256 over everything that counts: data, coverage and, by the order, precedence."""
    counting = [i for i in ingests if i.covers or i.kind not in OUTCOME_KINDS]
    identity = [[i.kind, i.source, i.release, i.covers, i.simulated, i.data_sha256] for i in counting]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
