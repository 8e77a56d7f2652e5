"""`vigie up`: prepare the home, then keep the web server and the scheduler running until asked to stop."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from riskmodel.errors import Unavailable
from riskmodel.events import manifest
from riskmodel.home import Home
from service.jobs import processes
from service.settings import Settings
from service.snapshots import snapshot_view
from service.store.context import Context
from service.store.database import Store

Say = Callable[[str], None]

PATIENCE = 20.0
"""How long the web server may take to answer [s]."""

RESTART_AFTER = (1.0, 2.0, 5.0, 15.0, 60.0)
"""How long to wait before a process that died is started again, growing with each death in a row [s]."""

STEADY = 300.0
"""A process that lived this long starts again at once the next time [s]."""


class Kept:
    """A process that is started again whenever it dies."""

    def __init__(self, name: str, line: list[str], say: Say) -> None:
        self.name, self._line, self._say = name, line, say
        self._deaths, self._due = 0, 0.0
        self._start()

    def _start(self) -> None:
        self.child, self._born = processes.start(self._line), time.monotonic()

    def look_after(self) -> None:
        """Start the process again if it has died and has waited its time."""
        now = time.monotonic()
        if (code := self.child.poll()) is None:
            return
        if not self._due:
            self._deaths = 0 if now - self._born > STEADY else self._deaths
            wait = RESTART_AFTER[min(self._deaths, len(RESTART_AFTER) - 1)]
            self._deaths, self._due = self._deaths + 1, now + wait
            self._say(f"the {self.name} ended ({code}); starting it again in {wait:.0f} s")
        elif now >= self._due:
            self._due = 0.0
            self._start()


def up(home: Home, settings: Settings, host: str, port: int, say: Say, ended: Callable[[], bool]) -> None:
    """Serve a home until `ended` says so.

    A home without a snapshot is prepared first; otherwise the last one is served at once and the scheduler catches up.
    Raises Unavailable if the address is taken or the web server does not come up.
    """
    free(host, port)
    say(f"home: {home.root}")
    store = Store.of(home)
    _prepare(home, settings, store, say, ended)
    if ended():
        return
    if manifest.realm(home.archive) == "simulated":
        say("everything served is SIMULATED, until real data comes in (vigie ingest ucdp …)")
    web = processes.command(home, "web", "--host", host, "--port", str(port))
    kept = [Kept("web server", web, say), Kept("scheduler", processes.command(home, "scheduler"), say)]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        if _answers(f"{url}/healthz", ended):
            say(f"Vigie is looking out: {url} (Ctrl-C stops it)")
        while not ended():
            for process in kept:
                process.look_after()
            time.sleep(0.2)
        say("stopping")
    finally:
        processes.stop_children()


def reach(home: Home, settings: Settings, host: str) -> str:
    """What it means to listen where others can reach us, for the operator to know."""
    if settings.allows_public_read(host):
        reading = "anybody who reaches it may read (public_read = true)"
    else:
        reading = (
            "reading takes a key (vigie keys add --scope read --label NAME), "
            f"or public_read = true in {home.settings} to let anybody read"
        )
    return f"listening on {host}, beyond this machine: {reading}. Keys travel in the clear: put TLS before it"


def _prepare(home: Home, settings: Settings, store: Store, say: Say, ended: Callable[[], bool]) -> None:
    """Create what the first page needs, under the leases of the jobs, so that no scheduler does the same work."""
    asking = settings.pull and manifest.realm(home.archive) != "real"
    if not asking and _has_snapshot(home, settings, store):
        return
    from service.jobs.job_definitions import define_jobs
    from service.jobs.job_run import JobRunner

    runner = JobRunner(Context(home, settings, store), stopping=ended, print_line=say)
    jobs = {job.name: job for job in define_jobs(settings)}
    runner.declare(tuple(jobs.values()))
    if asking:
        runner.run_now(jobs["pull"])
    if _has_snapshot(home, settings, store) or ended():
        return
    if not runner.run_now(jobs["recompute"]):
        say("another Vigie prepares this home; there is nothing to serve until it is done")
    elif not _has_snapshot(home, settings, store) and not ended():
        say("there is nothing to serve yet; the page says why, and the scheduler tries again")


def free(host: str, port: int) -> None:
    """Raises Unavailable if the address cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as taken:
            why = f"cannot listen on {host}:{port} ({taken.strerror}); choose another --port"
            raise Unavailable(why) from None


def _has_snapshot(home: Home, settings: Settings, store: Store) -> bool:
    simulated = manifest.realm(home.archive) != "real"
    with store.reading() as connection:
        return snapshot_view.in_service(connection, settings, simulated=simulated, now=datetime.now(UTC)) is not None


def _answers(url: str, ended: Callable[[], bool]) -> bool:
    """Wait until the web server answers; False if we were asked to end first."""
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        if ended():
            return False
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own loopback address  # nosec B310
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise Unavailable(f"the web server does not answer at {url}")
