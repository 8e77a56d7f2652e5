"""Start, run and stop child processes. A child never outlives the process that started it."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from riskmodel.errors import ExitCode
from riskmodel.home import Home
from riskmodel.parent_process import PARENT_VARIABLE

LISTENS_ON = "VIGIE_LISTENS_ON"
"""The environment variable that tells a web worker which host its server is bound to."""

STOP_GRACE = 10.0
"""How long a child has to end after SIGTERM, before it gets SIGKILL [s]."""

CHECK_EVERY = 0.1
"""How often `run` calls its `check` [s]."""

ERROR_PREFIX = "vigie: "
"""How `vigie` begins the line that says why a command failed."""

MAX_ERROR_LENGTH = 1000
"""How much of an error line is kept [characters]."""


@dataclass(frozen=True)
class ChildResult:
    """How a child ended: its exit code (negative: the signal that killed it) and the error line it printed, if any."""

    exit_code: int
    error: str | None

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return self.exit_code < 0

    def describe(self) -> str:
        """Return how the child ended, as the end of a sentence that begins with its name."""
        if self.killed:
            return f"was stopped by signal {-self.exit_code}"
        # The text of an internal error is for the log only: it may contain secrets.
        reason = f": {self.error}" if self.error and self.exit_code != ExitCode.INTERNAL else ""
        return f"ended with exit code {self.exit_code}{reason}"


class Child(Protocol):
    """A running child, as `subprocess.Popen` has it. `returncode` is None until `poll` or `wait` has seen its end."""

    returncode: int | None

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its output, if that is captured."""

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that killed it), or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


def command(home: Home, *arguments: str) -> list[str]:
    """Return the command line of a `vigie` command over a home, run by this Python interpreter."""
    return [sys.executable, "-m", "riskmodel", "--home", str(home.root), *arguments]


def raise_open_files_limit(wanted: int) -> None:
    """Allow this process and its children to open this many files and connections, or as many as the system allows."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # some systems have no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, wanted)), hard))


_children: set[Child] = set()


def start(
    line: Sequence[str], environment: Mapping[str, str] | None = None, *, capture: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a child that ends when this process is gone.

    It has a session of its own, so that a Ctrl-C in the terminal reaches it only through this process. With `capture`,
    its `stdout` is a pipe that has its errors too; otherwise it writes to where this process writes.
    """
    environment = {**os.environ, **(environment or {}), PARENT_VARIABLE: str(os.getpid())}
    child = subprocess.Popen(  # noqa: S603 - the command is our own
        line,
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
    )
    _children.add(child)
    return child


def lower_priority(child: "subprocess.Popen[bytes]", niceness: int) -> None:
    """Lower the priority of a child and of those that it will start; 19 is the lowest."""
    if hasattr(os, "setpriority"):  # Windows has none
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, child.pid, niceness)


def stop(child: Child) -> None:
    """Stop a child with SIGTERM, or with SIGKILL if it does not end."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _children.discard(child)


def stop_children() -> None:
    """Stop all children of this process that still run."""
    for child in list(_children):
        stop(child)


def run(child: Child, *, print_line: Callable[[str], None], check: Callable[[], None] = lambda: None) -> ChildResult:
    """Wait for the end of a child whose output is captured. Each line of its output goes to `print_line`.

    `check` is called several times a second. If it raises, the child is stopped and the exception is passed on.
    """
    output = _Output(child.stdout, print_line)
    try:
        while child.poll() is None:
            check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(CHECK_EVERY)
    finally:
        stop(child)
        output.join(1.0)  # a grandchild that still holds the pipe must not keep us waiting
    assert child.returncode is not None  # noqa: S101 - it has ended  # nosec B101
    return ChildResult(child.returncode, output.error)


class _Output(threading.Thread):
    """Passes the lines of a child's output on, and keeps its last error line."""

    def __init__(self, stream: IO[bytes] | None, print_line: Callable[[str], None]) -> None:
        super().__init__(daemon=True, name="child-output")
        assert stream is not None  # noqa: S101 - the child was started with a pipe  # nosec B101
        self._stream, self._print_line = stream, print_line
        self.error: str | None = None
        self.start()

    def run(self) -> None:
        with self._stream:
            for raw in self._stream:
                if not (line := raw.decode(errors="replace").rstrip()):
                    continue
                if line.startswith(ERROR_PREFIX):
                    self.error = line.removeprefix(ERROR_PREFIX)[:MAX_ERROR_LENGTH]
                self._print_line(line)
