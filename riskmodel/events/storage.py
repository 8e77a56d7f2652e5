"""Read the archive's Parquet files: each is checked against its digest, and decoded once."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.errors import Refused
from riskmodel.events.manifest import Ingest


class TableReader:
    """Decodes the data files of one archive and keeps the tables. Views made from one another share a reader.

    An ingest never changes, so a decoded table stays valid. It lives as long as the last view that holds the reader.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tables: dict[tuple[str, tuple[str, ...] | None], pa.Table] = {}

    def read(self, ingest: Ingest, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the table of an ingest, or some of its columns. Raises Refused if the file is missing or altered."""
        key = (ingest.data, None if columns is None else tuple(columns))
        if key not in self._tables:
            path = self.root / ingest.data
            check_digest(path, ingest.data_sha256)
            self._tables[key] = pq.read_table(path, columns=None if columns is None else list(columns))
        return self._tables[key]


def check_digest(path: Path, sha256: str) -> None:
    """Raise Refused unless a file has this digest. A file that has not been touched since is not hashed again."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise Refused(f"{path} is missing; restore it from a copy, or withdraw its ingest") from None
    if _cached_digest(path, stat.st_ino, stat.st_size, stat.st_mtime_ns) != sha256:
        raise Refused(f"{path} was altered: its digest is not the manifest's; restore it, or withdraw its ingest")


@lru_cache(maxsize=4096)
def _cached_digest(path: Path, *_: int) -> str:
    return digest_of(path)


def forget_digests() -> None:
    """Forget the digests computed so far, so that the next check reads every byte."""
    _cached_digest.cache_clear()


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
