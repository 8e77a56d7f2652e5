"""Heartbeat of a job: tells an outside monitor when a run starts, succeeds or fails."""

import contextlib
import queue
import threading
from collections.abc import Callable

from service.alerts.channels.heartbeat import HeartbeatSignal

MIN_INTERVAL = 60.0
"""Shortest time between two runs that call the monitor, unless the result changes [s]: monitors limit the calls."""

MAX_WAITING = 10
"""How many calls wait for a monitor that does not answer. Further ones are left out."""


class Heartbeat:
    """Calls a monitor in a thread of its own, in order: a monitor that hangs delays no job.

    `call` makes one call; `monotonic` returns seconds.
    """

    def __init__(self, call: Callable[[HeartbeatSignal], None], monotonic: Callable[[], float]) -> None:
        self._call, self._monotonic = call, monotonic
        self._waiting: queue.Queue[HeartbeatSignal] = queue.Queue(MAX_WAITING)
        self._last_call = float("-inf")
        self._last_result: HeartbeatSignal | None = None
        self._announced = False
        threading.Thread(target=self._keep_calling, daemon=True, name="heartbeat").start()

    def started(self) -> None:
        """Tell that a run starts."""
        now = self._monotonic()
        self._announced = now - self._last_call >= MIN_INTERVAL
        if self._announced:
            self._last_call = now
            self._put("start")

    def ended(self, *, ok: bool) -> None:
        """Tell how the run ended."""
        result: HeartbeatSignal = "success" if ok else "fail"
        if self._announced or result != self._last_result:
            self._put(result)
        self._last_result = result

    def _put(self, signal: HeartbeatSignal) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(signal)

    def _keep_calling(self) -> None:
        while True:
            self._call(self._waiting.get())
