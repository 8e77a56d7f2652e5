"""Counts of who asked how often this minute, shared by all web workers of a home on one machine.

A file that the workers map into their memory holds a table of counters with a column for each worker. A worker writes
to its own column only and adds up the columns to read: no lock between processes, no system call, nothing in the
database. It knows nothing of HTTP. Several machines count apart: each allows the whole limit.

Who asks is known by two places in the table, chosen by a keyed hash; the smaller of the two counts is theirs. Others
who happen to share both places can only make a count too large; the key is drawn with the file, so that nobody outside
can aim at somebody's places.
"""

import hashlib
import logging
import mmap
import os
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from riskmodel.errors import Refused
from riskmodel.home import atomic_write

ROWS, PLACES, COLUMNS = 2, 16_384, 32
CELL = 8
"""Bytes of a counter: the window it counts in the upper half, the count in the lower, written in one step."""

HEAD = 4
"""Cells before the table: how many columns have been in use, a mark that the file is whole, and the key of the hash."""

SIZE = CELL * (HEAD + ROWS * PLACES * COLUMNS)
MARK = b"VIGIE001"

_COUNT = (1 << 32) - 1
_MOST_KNOWN = 4_096
"""How many askers a worker remembers the places of."""

_LOG = logging.getLogger(__name__)


class Counters:
    """One worker's column among those of all."""

    def __init__(self, folder: Path) -> None:
        """Take a column of the table in this folder. Raises Refused if all are taken.

        Where the file cannot be made (a full disk), the worker counts by itself: it must serve all the same.
        """
        self._places: dict[str, tuple[int, ...]] = {}
        self._counting = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "counters.lock"):
                self._map = _mapped(folder / "counters")
                self._cells = memoryview(self._map).cast("Q")
                self._column, self._held = _free_column(folder)
                self._cells[0] = max(self._cells[0], self._column + 1)
        except OSError as failure:
            _LOG.error("no counters can be shared in %s, each worker counts for itself: %s", folder, failure.strerror)
            self._map = mmap.mmap(-1, SIZE)
            self._map[:SIZE] = _fresh()
            self._cells, self._column = memoryview(self._map).cast("Q"), 0
            self._cells[0] = 1
        self._key = self._map[2 * CELL : HEAD * CELL]

    def count(self, who: str, window: int) -> int:
        """Count one request of somebody in this window of time; return how many there were in it, this one included."""
        cells, mine = self._cells, self._column
        columns = cells[0]
        fewest = _COUNT
        with self._counting:
            for place in self._places.get(who) or self._found(who):
                own = cells[place + mine]
                own = own + 1 if own >> 32 == window else (window << 32) + 1
                cells[place + mine] = own
                total = 0
                for cell in cells[place : place + columns]:
                    if cell >> 32 == window:
                        total += cell & _COUNT
                fewest = min(fewest, total)
        return fewest

    def _found(self, who: str) -> tuple[int, ...]:
        if len(self._places) >= _MOST_KNOWN:
            self._places.clear()
        digest = hashlib.blake2b(who.encode("utf-8", "replace"), key=self._key, digest_size=4 * ROWS).digest()
        self._places[who] = tuple(
            HEAD + COLUMNS * (PLACES * row + int.from_bytes(digest[4 * row : 4 * row + 4]) % PLACES)
            for row in range(ROWS)
        )
        return self._places[who]


def _mapped(path: Path) -> mmap.mmap:
    """The file, written out in full before it is mapped: to run out of disk later would kill the worker."""
    if not _whole(path):
        with atomic_write(path) as part:
            part.write_bytes(_fresh())
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), SIZE)


def _whole(path: Path) -> bool:
    if not path.exists() or path.stat().st_size != SIZE:
        return False
    with path.open("rb") as file:
        return file.read(2 * CELL).endswith(MARK)


def _fresh() -> bytes:
    return bytes(CELL) + MARK + os.urandom(2 * CELL) + bytes(SIZE - HEAD * CELL)


def _free_column(folder: Path) -> tuple[int, FileLock]:
    """A column that no living worker holds; its lock goes when the process does, however it ends."""
    for column in range(COLUMNS):
        lock = FileLock(folder / f"counters-{column}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return column, lock
    raise Refused(f"{COLUMNS} web workers run over this home already")
