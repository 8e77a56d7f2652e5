"""Keep processes running: start them again when they die, and notice the signals that end Vigie."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

RESTART_DELAYS = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""How long to wait before starting a process again after its first, second, … quick death in a row [s]."""

QUICK_DEATH = 2.0
"""A process that is killed sooner than this after its start is assumed to fail at every start [s]."""

STABLE_AFTER = 300.0
"""A process that ends by itself within this time is assumed to fail at every start [s]."""

CHECK_EVERY = 0.05
"""How often to check the processes [s]."""


class Child(Protocol):
    """A process that this one started."""

    @property
    def pid(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class StopSignals:
    """How often SIGTERM or Ctrl-C came. The first asks for an orderly end, the second for one at once."""

    def __init__(self) -> None:
        self._count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1

    def stopping(self) -> bool:
        """Return whether there was a signal."""
        return self._count > 0

    def at_once(self) -> bool:
        """Return whether there was a second signal."""
        return self._count > 1


class SupervisedProcess:
    """A process that is started again when it dies.

    One that lived long enough is started again at once, so that a kill is over within a second or two. Only a process
    that dies again and again at its start is started more and more slowly. `stable_after` is how long a process lives
    that has no fault of its own [s]; for one that a signal ended, `QUICK_DEATH` counts.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Child],
        print_line: Callable[[str], None],
        *,
        stable_after: float = STABLE_AFTER,
    ) -> None:
        self.name, self._start_child, self._print_line, self._stable_after = name, start, print_line, stable_after
        self._deaths, self._restart_at = 0, 0.0
        self._start()

    def _start(self) -> None:
        self.child, self._started_at = self._start_child(), time.monotonic()

    def check(self) -> None:
        """Start the process again if it has died and its delay is over."""
        now = time.monotonic()
        if (exit_code := self.child.poll()) is None:
            return
        if not self._restart_at:
            stable_after = QUICK_DEATH if exit_code < 0 else self._stable_after
            self._deaths = 0 if now - self._started_at > stable_after else self._deaths
            delay = RESTART_DELAYS[min(self._deaths, len(RESTART_DELAYS) - 1)]
            self._deaths, self._restart_at = self._deaths + 1, now + delay
            when = f"in {delay:g} s" if delay else "at once"
            self._print_line(f"the {self.name} ended ({exit_code}); starting it again {when}")
        if now >= self._restart_at:
            self._restart_at = 0.0
            self._start()


def wait(seconds: float, until: Callable[[], bool]) -> bool:
    """Wait until something is true, at most so long [s]. Return whether it is."""
    end = time.monotonic() + seconds
    while not (true := until()) and time.monotonic() < end:
        time.sleep(CHECK_EVERY)
    return true
