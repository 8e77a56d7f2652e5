"""`vigie up`: prepare the home, then keep the web server and the scheduler running until told to stop."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable

from riskmodel.errors import Unavailable
from riskmodel.events import manifest
from riskmodel.home import Home
from service.cli.listening import check_address
from service.cli.supervision import Child, StopSignals, SupervisedProcess, wait
from service.jobs import processes
from service.settings import Settings
from service.snapshots import snapshot_view
from service.store.context import Context
from service.store.database import Store

STARTUP_TIMEOUT = 20.0
"""How long the web server can take to answer [s]."""

STOP_SECONDS = 12.0
"""How long the processes have to end after SIGTERM, beyond the time to drain [s]."""


def up(
    home: Home,
    settings: Settings,
    host: str,
    port: int,
    print_line: Callable[[str], None],
    signals: StopSignals,
) -> None:
    """Serve a home until there is a signal.

    A home without a snapshot is prepared first. Otherwise the last snapshot is served at once, and the scheduler runs
    the jobs that are due. Raises Unavailable if the address is in use or the web server does not answer in time.
    """
    check_address(host, port)
    print_line(f"home: {home.root}")
    context = Context(home, settings, Store.of(home))
    _prepare(context, print_line, signals.stopping)
    if signals.stopping():
        return
    if manifest.realm(home.archive) == "simulated":
        print_line("all scores are SIMULATED until you add real data (vigie ingest ucdp …)")
    elif manifest.shipped_only(home.archive):
        way_on = "Vigie fetches newer data" if settings.pull else "For today's data: vigie up --pull ucdp"
        print_line(f"History to December 2022 that ships with Vigie. {way_on}")
    web_command = processes.command(home, "web", "--host", host, "--port", str(port))
    scheduler_command = processes.command(home, "scheduler")
    supervised = [
        SupervisedProcess("web server", lambda: processes.start(web_command), print_line),
        SupervisedProcess("scheduler", lambda: processes.start(scheduler_command), print_line),
    ]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        if _wait_until_alive(f"{url}/healthz", signals.stopping):
            print_line(f"Vigie is running at {url} (stop it with Ctrl-C)")
        while not signals.stopping():
            for process in supervised:
                process.check()
            wait(0.1, signals.stopping)
        print_line("stopping")
        _stop([process.child for process in supervised], settings.drain_time(host), signals)
    finally:
        processes.stop_children()


def _stop(children: list[Child], drain_seconds: float, signals: StopSignals) -> None:
    """Let the processes end. A second signal is passed on: it ends them at once."""

    def ended() -> bool:
        return all(child.poll() is not None for child in children)

    for child in children:
        child.terminate()
    wait(drain_seconds + STOP_SECONDS, lambda: ended() or signals.at_once())
    if not ended():
        for child in children:
            child.terminate()
        wait(3.0, ended)
    for child in children:
        if child.poll() is None:
            child.kill()


def _prepare(context: Context, print_line: Callable[[str], None], stopping: Callable[[], bool]) -> None:
    """Create what the first page needs, under the leases of the jobs, so that no scheduler does the same work."""
    if _has_snapshot(context):
        return
    # Imported here, because a home with a snapshot starts faster without it.
    from service.jobs.job_definitions import define_jobs
    from service.jobs.job_run import JobRunner

    runner = JobRunner(context, stopping=stopping, print_line=print_line)
    jobs = {job.name: job for job in define_jobs(context.settings)}
    runner.declare(tuple(jobs.values()))
    if not runner.run_now(jobs["recompute"]):
        print_line("another Vigie is preparing this home; there are no scores until it has finished")
    elif not _has_snapshot(context) and not stopping():
        print_line("there are no scores yet; the page says why, and the scheduler tries again")


def _has_snapshot(context: Context) -> bool:
    simulated = manifest.realm(context.home.archive) != "real"
    with context.store.reading() as connection:
        view = snapshot_view.in_service(connection, context.settings, simulated=simulated, now=context.clock())
    return view is not None


def _wait_until_alive(url: str, stopping: Callable[[], bool]) -> bool:
    """Wait until the web server answers. Return false if told to stop first. Raises Unavailable after a time."""
    until = time.monotonic() + STARTUP_TIMEOUT
    while time.monotonic() < until:
        if stopping():
            return False
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own loopback address  # nosec B310
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise Unavailable(f"the web server does not answer at {url}: see the log above")
