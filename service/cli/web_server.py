"""`vigie web`: the processes of the web server, which this one starts again when they die and drains before a stop.

Each worker has a granian server of its own, and all of them listen on the same port: the system spreads connections
over them. One granian with several workers ends all of them when one of them dies twice within seconds.
"""

import logging
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from riskmodel.home import Home
from riskmodel.parent_process import PARENT_VARIABLE, end_with_parent
from service import logs
from service.cli.supervision import QUICK_DEATH, StopSignals, SupervisedProcess, wait
from service.http import telemetry
from service.http.heartbeats import WORKER_NUMBER, Heartbeats
from service.http.interfaces import DRAIN_SIGNAL
from service.jobs import processes
from service.settings import Limits, Settings

QUEUED_CONNECTIONS = 4_096
"""How many connections wait in the queue of the operating system. Beyond that, a client tries again after a second."""

ENDING_SECONDS = 0.5
"""How long workers have to send the ends of streams and long polls, after draining [s]."""

log = logging.getLogger("vigie.web")

STOP_SECONDS = 8.0
"""How long workers have to answer the requests that they have begun, before they are killed [s]."""

# Nothing of the application is running in this process when it forks. On other systems a fork is not safe.
_PROCESSES: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


class _WorkerProcess:
    """A process with a granian server and its only worker. Both are one process group."""

    def __init__(self, target: str, host: str, port: int, number: int, settings: Settings) -> None:
        arguments = (target, host, port, number, settings.limits, settings.log_format)
        self._process: BaseProcess = _PROCESSES.Process(target=_serve, args=arguments, name=target)
        self._process.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        """Answer the requests that have begun, and end."""
        self._process.terminate()

    def drain(self) -> None:
        """Say that the server will stop soon."""
        self._signal_group(DRAIN_SIGNAL)

    def kill(self) -> None:
        """End at once."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _serve(target: str, host: str, port: int, number: int, limits: Limits, log_format: logs.LogFormat | None) -> None:
    """Run granian with one worker. Ends with it."""
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, signal.SIG_DFL)
    signal.signal(DRAIN_SIGNAL, signal.SIG_IGN)  # it is for the worker, which inherits this until it listens to it
    os.setsid()  # a Ctrl-C in the terminal reaches it only through the supervisor
    end_with_parent()
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    os.environ[WORKER_NUMBER] = str(number)
    logs.configure(log_format)

    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    Granian(
        target,
        factory=True,
        interface=Interfaces.RSGI,
        address=host,
        port=port,
        websockets=False,
        backlog=QUEUED_CONNECTIONS,
        backpressure=limits.connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=1000 * limits.header_seconds, max_buffer_size=limits.header_bytes
        ),
        workers_kill_timeout=5,
        process_name=" ".join(sys.orig_argv),  # keep the command line, and add the number of a worker to it
        log_level=LogLevels.critical,  # the supervisor says that a worker has died
        log_dictconfig=logs.GRANIAN_LOGGING,
    ).serve()


def serve(home: Home, settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve a home with so many worker processes, until a signal; drain first."""
    signals = StopSignals()
    folder = telemetry.new_folder(home)
    Heartbeats(folder).create(workers)
    # Workers read these from the environment.
    os.environ["VIGIE_HOME"] = str(home.root)
    os.environ[processes.LISTENS_ON] = host
    os.environ[telemetry.METRICS_FOLDER] = str(folder)
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # glibc would otherwise keep freed memory for each thread
    processes.raise_open_files_limit(2 * settings.limits.connections + 256)
    logs.configure(settings.log_format)
    import service.cli.app  # noqa: F401 - imported once, and not by every worker that takes the place of a dead one

    children: list[_WorkerProcess] = []

    def supervise(name: str, target: str, address: str, its_port: int, number: int) -> SupervisedProcess:
        def start() -> _WorkerProcess:
            children[number : number + 1] = [_WorkerProcess(target, address, its_port, number, settings)]
            return children[number]

        return SupervisedProcess(name, start, log.error, stable_after=QUICK_DEATH)

    supervised = [
        supervise(f"web worker {number + 1}", "service.cli.app:worker", host, port, number) for number in range(workers)
    ]
    if settings.admin_port is not None:
        target = "service.cli.app:admin_worker"
        supervised.append(supervise("admin server", target, settings.admin_host, settings.admin_port, workers))
    while not signals.stopping():
        for process in supervised:
            process.check()
        wait(0.05, signals.stopping)
    _stop(children, settings.drain_time(host), signals)


def _stop(children: list[_WorkerProcess], drain_seconds: float, signals: StopSignals) -> None:
    """Drain the workers, let them finish, and end them. A second signal ends them at once."""
    if drain_seconds:
        log.info("draining for %g s; a second signal stops at once", drain_seconds)
    for child in children:
        child.drain()
    wait(drain_seconds + ENDING_SECONDS, signals.at_once)
    for child in children:
        child.terminate()

    def ended() -> bool:
        return all(child.poll() is not None for child in children)

    wait(STOP_SECONDS, lambda: ended() or signals.at_once())
    wait(1.0, ended)
    for child in children:
        child.kill()  # also what a server that was killed has left in its group
