"""A counter in a file, which the web workers of one machine share."""

import fcntl
import mmap
from pathlib import Path


class GenerationCounter:
    """How often the workers of one machine have started a new table: a file that all map into memory."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        if path.stat().st_size < 8:
            self._file.truncate(8)
        self._memory = mmap.mmap(self._file.fileno(), 8)

    def current(self) -> bytes:
        """Return the count, as 8 bytes."""
        return self._memory[:8]

    def advance(self, known: bytes) -> bytes:
        """Add one. Return the new count, or `known` if another worker has added since: then read the state again."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = self._memory[:8]
            self._memory[:8] = (int.from_bytes(now, "little") + 1).to_bytes(8, "little")
            return self._memory[:8] if now == known else known
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
