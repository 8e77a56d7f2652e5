"""When the event loop of each web worker last ran: a file that the workers of one web server share."""

import asyncio
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

WORKER_NUMBER = "VIGIE_WORKER"
"""Environment variable: the number of a worker among those of its web server, from 0."""

BEAT_EVERY = 1.0
"""How often a worker writes its time [s]."""

HUNG_AFTER = 10.0
"""A worker that has written no time for so long hangs, or is dead and was not replaced [s]."""

_TIME = struct.Struct("d")


class Heartbeats:
    """The times of all workers, on the monotonic clock, which the processes of a machine share."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "heartbeats"

    def create(self, workers: int) -> None:
        """Make the file for so many workers, of which none has written yet."""
        self._path.write_bytes(bytes(_TIME.size * workers))

    async def keep_beating(self, number: int) -> None:
        """Write the time of one worker until cancelled. Nothing else in its event loop may keep it from this."""
        with self._path.open("r+b", buffering=0) as file:
            while True:
                with suppress(OSError):
                    os.pwrite(file.fileno(), _TIME.pack(time.monotonic()), _TIME.size * number)
                await asyncio.sleep(BEAT_EVERY)

    def all_alive(self) -> bool:
        """Return whether every worker has written its time recently."""
        try:
            times = [beat for (beat,) in _TIME.iter_unpack(self._path.read_bytes())]
        except OSError:
            return False
        return bool(times) and time.monotonic() - min(times) < HUNG_AFTER
