"""The archive's manifest: the list of ingests, with what each covers and since when it is known.

An ingest is visible once `manifest.json` lists it. That file is only ever replaced as a unit. This module imports no
pandas and no pyarrow, because the web process uses it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from riskmodel.errors import Refused
from riskmodel.events.releases import published
from riskmodel.home import atomic_write

Kind = Literal["events", "country_months", "acled", "gdelt", "displacement"]
Realm = Literal["simulated", "real"]

OUTCOME_KINDS = ("events", "country_months")
"""The kinds that outcomes are computed from. Only these retire simulated data."""

FORMAT = 2
"""The format of `manifest.json`. Format 1 called `known_since` and `withdrawn_reason` by other names."""

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
        return f"{self.kind}/{self.id}.parquet"

    @property
    def quarantine(self) -> str:
        """The file of quarantined rows, relative to the archive. It exists only if `quarantined` is not 0."""
        return f"quarantine/{self.id}.parquet"

    @property
    def rank(self) -> tuple[str, str]:
        """The order of precedence: the newest release first, then the newest ingest. No release ranks lowest."""
        return (published(self.release).isoformat() if self.release else "", self.id)

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


def read(archive: Path) -> tuple[Ingest, ...]:
    """Return the ingests of an archive, oldest first; none where there is no archive.

    Raises Refused if the manifest is missing, damaged or of another format.
    """
    path = archive / "manifest.json"
    try:
        stat = path.stat()
    except FileNotFoundError:
        if any(archive.glob("*/*.parquet")):
            raise Refused(f"{path} is missing, but the archive has data: restore it from a copy") from None
        return ()
    # The manifest is replaced, never changed in place: a new one has another inode or time.
    return _parsed(path, stat.st_mtime_ns, stat.st_ino, stat.st_size)


@lru_cache(maxsize=4)
def _parsed(path: Path, *_: int) -> tuple[Ingest, ...]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found, records = document["format"], document["ingests"]
    except (ValueError, KeyError, TypeError) as unreadable:
        raise Refused(f"{path} is damaged ({unreadable}); restore it from a copy") from unreadable
    if found != FORMAT:
        raise Refused(
            f"{path} has format {found}, and this version of Vigie reads format {FORMAT}: "
            "ingest the files again into a new home (vigie --home NEW_FOLDER ingest …)"
        )
    try:
        return tuple(_ingest(record) for record in records)
    except (KeyError, TypeError) as unreadable:
        raise Refused(f"{path} is damaged ({unreadable}); restore it from a copy") from unreadable


def _ingest(record: dict[str, Any]) -> Ingest:
    return Ingest(**{**record, "covers": tuple(record["covers"])})


def write(archive: Path, ingests: tuple[Ingest, ...]) -> None:
    """Replace the list. From this moment the new ingests are visible."""
    document = {"format": FORMAT, "ingests": [asdict(ingest) for ingest in ingests]}
    with atomic_write(archive / "manifest.json") as part:
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def realm(archive: Path) -> Realm | None:
    """Return whether the archive counts as real (real data retires simulated data) or simulated; None if empty."""
    ingests = [ingest for ingest in read(archive) if ingest.is_active(None) and ingest.kind in OUTCOME_KINDS]
    if not ingests:
        return None
    return "simulated" if all(ingest.simulated for ingest in ingests) else "real"


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
