"""Children that are forked from a warm server: a process that has imported what jobs need, and does nothing else.

A new interpreter imports for two seconds before a recompute begins; a fork takes milliseconds. The server is
`multiprocessing`'s. It never computes, opens no database and starts no thread, so a child inherits no lock of others.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection
from typing import IO, TYPE_CHECKING

from setproctitle import setproctitle

from riskmodel.home import Home
from riskmodel.parent_process import PARENT_VARIABLE
from service.jobs import processes
from service.jobs.processes import Child

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

log = logging.getLogger("vigie.jobs")

AVAILABLE = sys.platform == "linux"
"""Elsewhere there is no fork server, or libraries of the system do not survive a fork (macOS)."""

PRELOAD = (
    "riskmodel.cli.main",
    "service.jobs.fork_server",
    "service.jobs.recompute",
    "service.jobs.task_worker",
    "service.jobs.verification",
    "service.alerts.channels",
    "service.logs",
)
"""What the server imports: the commands that jobs run, with all that they import."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Keeps NumPy and PyArrow from starting threads when they are imported: only a process without threads may fork."""

SERVER_DIED = 255
"""The exit code that `multiprocessing` gives a child whose fork server died: nobody knows how the child ended."""

_IMPORTED_BY = os.getpid()
"""In a forked child, the process id of its fork server: that imported this module."""

_lock = threading.Lock()
"""`multiprocessing` reads the exit code of a child in whichever thread asks first or starts another child. Without this
lock two threads could read it at once, and one of them would get `SERVER_DIED`."""


class ForkServer:
    """Starts `vigie` commands over a home as forked children.

    The server starts with the first child. It inherits this process's environment, to which `ENVIRONMENT` is added.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        os.environ.update(ENVIRONMENT)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD))

    def warm_up(self) -> None:
        """Start the server, and wait until it has imported everything [about 2 s]."""
        with contextlib.suppress(OSError, EOFError), _lock:
            process = self._context.Process(target=_nothing)
            process.start()
            process.join()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a `vigie` command, as `processes.start` does with `capture`.

        If the server was killed, the child is a new interpreter, and the next call starts another server.
        """
        line = processes.command(self._home, *arguments)
        reader, writer = self._context.Pipe(duplex=False)
        with reader, writer:
            complete = {**os.environ, **environment}  # the server has the environment of its own start
            process = self._context.Process(target=_run_command, args=(line, complete, writer))
            try:
                with _lock:
                    process.start()
            except (OSError, EOFError) as died:
                log.warning("the fork server has died (%s); starting a new interpreter", type(died).__name__)
                return processes.start(line, environment, capture=True)
            return ForkedChild(process, os.fdopen(os.dup(reader.fileno()), "rb"))


class ForkedChild:
    """A forked child, with the methods of `subprocess.Popen` that `Child` has. `stdout` has its errors too."""

    def __init__(self, process: "ForkServerProcess", stdout: IO[bytes]) -> None:
        self._process, self.stdout = process, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how the child ended, as `subprocess` does; None while it runs."""
        if self.returncode is None:
            with _lock:
                exit_code = self._process.exitcode
            # A child ends with its server, so it is gone or about to.
            self.returncode = -signal.SIGKILL if exit_code == SERVER_DIED else exit_code
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the child has ended. Raises subprocess.TimeoutExpired after `timeout` [s]."""
        connection.wait([self._process.sentinel], timeout)
        if (exit_code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return exit_code

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def _nothing() -> None:
    """Do nothing in a child, so that its server starts."""


def _run_command(line: Sequence[str], environment: Mapping[str, str], output: connection.Connection) -> None:
    """Run a `vigie` command in a forked child, as a new interpreter would run it."""
    from riskmodel.cli.main import main

    os.setsid()
    with output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    setproctitle(" ".join(line))  # before the environment changes: it needs the memory of the first one
    os.environ.clear()
    os.environ.update(environment, **{PARENT_VARIABLE: str(_IMPORTED_BY)})
    sys.argv = ["vigie", *line[3:]]
    main()
