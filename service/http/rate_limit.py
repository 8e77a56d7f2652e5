"""How many requests each client has made in this minute, counted over all web workers of one machine.

The workers map one file into memory: a table of counters with a column for each worker. A worker writes to its own
column only, and adds up the columns to read: no lock between processes, no system call, no database. Several machines
count separately, so each allows the whole limit.

A client has one cell in each of two rows, chosen by a keyed hash; the smaller of the two counts is its own (a count-min
sketch). Clients that share both cells can only make a count too large. The key is random and made with the file, so
no client can choose the cells of another one.
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

ROWS, CELLS, COLUMNS = 2, 16_384, 32
"""The size of the table: hash rows, cells in a row, and columns in a cell (one for each worker)."""

COUNTER_BYTES = 8
"""A counter has its window in the upper half and its count in the lower, so both are written in one step [bytes]."""

HEADER = 4
"""Counters before the table: how many columns were ever used, a mark that the file is complete, the key of the hash."""

SIZE = COUNTER_BYTES * (HEADER + ROWS * CELLS * COLUMNS)
FORMAT = b"VIGIE001"

_COUNT = (1 << 32) - 1
_MAX_REMEMBERED = 4_096
"""For how many clients a worker remembers the cells."""

_LOG = logging.getLogger(__name__)


class RequestCounter:
    """One worker's column of the shared table."""

    def __init__(self, folder: Path) -> None:
        """Take a free column of the table in `folder`. Raises Refused if there is none.

        If the file cannot be made (a full disk), the worker counts alone: serving matters more than the limit.
        """
        self._cells_of: dict[str, tuple[int, ...]] = {}
        self._counting = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "counters.lock"):
                self._map = _open_table(folder / "counters")
                self._table = memoryview(self._map).cast("Q")
                self._column, self._column_lock = _take_column(folder)
                self._table[0] = max(self._table[0], self._column + 1)
        except OSError as failure:
            _LOG.error("requests are counted by each worker alone: no counters in %s: %s", folder, failure.strerror)
            self._map = mmap.mmap(-1, SIZE)
            self._map[:SIZE] = _empty_table()
            self._table, self._column = memoryview(self._map).cast("Q"), 0
            self._table[0] = 1
        self._hash_key = self._map[2 * COUNTER_BYTES : HEADER * COUNTER_BYTES]

    def count(self, client: str, window: int) -> int:
        """Count one request of a client in a window of time. Return its requests in that window, with this one."""
        table, own_column = self._table, self._column
        columns = table[0]
        smallest = _COUNT
        with self._counting:
            for cell in self._cells_of.get(client) or self._find_cells(client):
                counter = table[cell + own_column]
                counter = counter + 1 if counter >> 32 == window else (window << 32) + 1
                table[cell + own_column] = counter
                total = 0
                for each in table[cell : cell + columns]:
                    if each >> 32 == window:
                        total += each & _COUNT
                smallest = min(smallest, total)
        return smallest

    def _find_cells(self, client: str) -> tuple[int, ...]:
        if len(self._cells_of) >= _MAX_REMEMBERED:
            self._cells_of.clear()
        digest = hashlib.blake2b(client.encode("utf-8", "replace"), key=self._hash_key, digest_size=4 * ROWS).digest()
        self._cells_of[client] = tuple(
            HEADER + COLUMNS * (CELLS * row + int.from_bytes(digest[4 * row : 4 * row + 4]) % CELLS)
            for row in range(ROWS)
        )
        return self._cells_of[client]


def _open_table(path: Path) -> mmap.mmap:
    """Map the file. It is written in full first: a page that the disk has no room for would kill the worker later."""
    if not _is_complete(path):
        with atomic_write(path) as part:
            part.write_bytes(_empty_table())
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), SIZE)


def _is_complete(path: Path) -> bool:
    if not path.exists() or path.stat().st_size != SIZE:
        return False
    with path.open("rb") as file:
        return file.read(2 * COUNTER_BYTES).endswith(FORMAT)


def _empty_table() -> bytes:
    return bytes(COUNTER_BYTES) + FORMAT + os.urandom(2 * COUNTER_BYTES) + bytes(SIZE - HEADER * COUNTER_BYTES)


def _take_column(folder: Path) -> tuple[int, FileLock]:
    """Return a column that no living worker has, with its lock. The system releases the lock when the process ends."""
    for column in range(COLUMNS):
        lock = FileLock(folder / f"counters-{column}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return column, lock
    raise Refused(f"{COLUMNS} web workers serve this home already: stop one of them first")
