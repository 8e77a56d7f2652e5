"""The archive's list of ingests: what came in, when it was learned, what it covers. Light enough for the web process.

An ingest is visible when it stands in `manifest.json`, which is only ever replaced whole.
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
from riskmodel.home import whole_file

Kind = Literal["events", "country_months", "acled", "gdelt", "displacement"]
Realm = Literal["simulated", "real"]

OUTCOME_KINDS = ("events", "country_months")
"""The kinds that outcomes are made of. Only they retire what is simulated."""

_NAMES = {
    "ucdp": "UCDP",
    "acled": "ACLED",
    "gdelt": "GDELT",
    "monthly": "country-month table",
    "unhcr": "UNHCR",
    "idmc": "IDMC",
}


@dataclass(frozen=True)
class Ingest:
    """One file taken in. Times are ISO 8601, UTC; `covers` are spans as `Coverage` writes them; `deaths` [deaths].

    `learned` is when its content was published, where that is known, else when it came in. `private` rows never leave
    the home. A withdrawn ingest is kept, and counts no more from `withdrawn_at` on.
    """

    id: str
    kind: Kind
    source: str
    flavour: str
    file: str
    content_sha256: str
    release: str | None
    covers: tuple[str, ...]
    simulated: bool
    learned: str
    ingested_at: str
    rows: int
    deaths: int
    flagged: int
    quarantined: int
    data_sha256: str
    quarantine_sha256: str | None = None
    private: bool = False
    withdrawn_at: str | None = None
    withdrawn_why: str | None = None

    @property
    def label(self) -> str:
        """The source in words: `UCDP 24.1`."""
        name = "SIMULATED" if self.simulated else _NAMES.get(self.source, self.source)
        return f"{name} {self.release}" if self.release else name

    @property
    def data(self) -> str:
        """The data file, relative to the archive."""
        return f"{self.kind}/{self.id}.parquet"

    @property
    def quarantine(self) -> str:
        """The file of quarantined rows, relative to the archive; there only where `quarantined` is not 0."""
        return f"quarantine/{self.id}.parquet"

    @property
    def rank(self) -> tuple[str, str]:
        """The order of precedence: the newest release wins, then the newest ingest; unstated ranks oldest."""
        return (published(self.release).isoformat() if self.release else "", self.id)

    @property
    def candidate(self) -> bool:
        """Whether its release is a candidate (26.0.2, 26.01.26.06), which a final one (26.1) supersedes."""
        return self.release is not None and self.release.count(".") > 1

    def known(self, when: datetime | None) -> bool:
        """Whether it counted at a moment; None is now."""
        if when is None:
            return self.withdrawn_at is None
        out = self.withdrawn_at is not None and datetime.fromisoformat(self.withdrawn_at) <= when
        return datetime.fromisoformat(self.learned) <= when and not out


def read(archive: Path) -> tuple[Ingest, ...]:
    """The ingests of an archive, oldest first; none where there is no archive. Raises Refused if it is unreadable."""
    path = archive / "manifest.json"
    try:
        stat = path.stat()
    except FileNotFoundError:
        if any(archive.glob("*/*.parquet")):
            raise Refused(f"{path} is missing, and there is data beside it: restore it from a copy") from None
        return ()
    return _read(path, stat.st_mtime_ns, stat.st_ino, stat.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, *_: int) -> tuple[Ingest, ...]:
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["ingests"]
        return tuple(Ingest(**{**record, "covers": tuple(record["covers"])}) for record in records)
    except (ValueError, KeyError, TypeError) as unreadable:
        raise Refused(f"{path} is damaged ({unreadable}); restore it from a copy") from unreadable


def write(archive: Path, ingests: tuple[Ingest, ...]) -> None:
    """Replace the list: from this moment the new ingests are visible."""
    with whole_file(archive / "manifest.json") as part:
        text = json.dumps(
            {"format": 1, "ingests": [asdict(ingest) for ingest in ingests]}, indent=1, ensure_ascii=False
        )
        part.write_text(text + "\n", encoding="utf-8")


def realm(archive: Path) -> Realm | None:
    """Whether the archive holds real data (which retires all that is simulated), only simulated, or nothing."""
    ingests = [ingest for ingest in read(archive) if ingest.known(None) and ingest.kind in OUTCOME_KINDS]
    if not ingests:
        return None
    return "simulated" if all(ingest.simulated for ingest in ingests) else "real"


def in_service(ingests: tuple[Ingest, ...], as_of: datetime | None = None) -> tuple[Ingest, ...]:
    """The ingests that counted as of a moment, and never simulated beside real; lowest precedence first."""
    known = [ingest for ingest in ingests if ingest.known(as_of)]
    if any(not ingest.simulated and ingest.kind in OUTCOME_KINDS for ingest in known):
        known = [ingest for ingest in known if not ingest.simulated]
    return tuple(sorted(known, key=lambda ingest: ingest.rank))


def digest(ingests: tuple[Ingest, ...]) -> str:
    """One SHA-256 over everything that counts: data, coverage and, by the order, precedence."""
    speaking = [i for i in ingests if i.covers or i.kind not in OUTCOME_KINDS]
    said = [[i.kind, i.source, i.release, i.covers, i.simulated, i.data_sha256] for i in speaking]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
