"""Children that are forked from a warm server behave as new interpreters do, and none is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_lives import alive, family, wait_until

from riskmodel.home import Home
from service.jobs import fork_server, processes
from service.jobs.fork_server import ForkServer
from service.jobs.processes import Child
from service.store.database import Store

pytestmark = pytest.mark.skipif(not fork_server.AVAILABLE, reason="forks on Linux only")

NO_TASK = ("task", "no-such-task")
"""A command that ends at once with exit code 3."""


@pytest.fixture(scope="module", autouse=True)
def no_server_left() -> Iterator[None]:
    """One fork server serves all tests of this module, and no other: one of another module has other imports."""
    kill_servers()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in fork_server.ENVIRONMENT.items():
            environment.setenv(name, value)
        yield
    kill_servers()


def kill_servers() -> None:
    for pid in server_pids(os.getpid()):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid), "the fork server has ended")


@pytest.fixture
def server(home: Home) -> ForkServer:
    server = ForkServer(home)
    server.warm_up()
    return server


def server_pids(parent: int) -> list[int]:
    return [pid for pid, (_, line) in family(parent).items() if "multiprocessing.forkserver" in line]


def pids_of(parent: int, *words: str) -> list[int]:
    """The descendants of a process with these words in their command line."""
    return [pid for pid, (_, line) in family(parent).items() if {"riskmodel", *words} <= set(line)]


@contextmanager
def waiting_recompute(home: Home, server: ForkServer) -> Iterator[tuple[Child, int]]:
    """A forked recompute that waits for another one to end, and its process id."""
    with Store.of(home).exclusive("recompute", 1):
        child = server.start(("recompute",), {})
        try:
            (pid,) = wait_until(lambda: pids_of(os.getpid(), "recompute"), "it has its title")
            yield child, pid
        finally:
            processes.stop(child)


def test_it_prints_and_ends_as_a_new_interpreter_does(home: Home, server: ForkServer) -> None:
    results = []
    for child in (server.start(NO_TASK, {}), processes.start(processes.command(home, *NO_TASK), capture=True)):
        printed: list[str] = []
        results.append((processes.run(child, print_line=printed.append), printed))
    forked, interpreter = results
    assert forked == interpreter
    assert (forked[0].exit_code, forked[1]) == (3, ["vigie: there is no task no-such-task"])


def test_it_has_its_own_session_and_environment_and_shows_what_it_does(home: Home, server: ForkServer) -> None:
    with waiting_recompute(home, server) as (_, pid):
        assert os.getsid(pid) == pid
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
        assert title == " ".join(processes.command(home, "recompute"))
    (server_pid,) = server_pids(os.getpid())
    assert b"OMP_NUM_THREADS=1" in Path(f"/proc/{server_pid}/environ").read_bytes().split(b"\0")
    child = server.start(("recompute",), {"VIGIE_FENCE": "recompute:7"})
    result = processes.run(child, print_line=lambda line: None)
    assert "this one (token 7) is not allowed to write" in str(result.error)


def test_the_server_has_no_threads_and_no_open_files_but_its_output(home: Home, server: ForkServer) -> None:
    """A child would inherit the locks of threads, and the connections of a database."""
    processes.run(server.start(NO_TASK, {}), print_line=lambda line: None)
    (pid,) = server_pids(os.getpid())
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    opened = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir() if int(link.name) > 2]
    assert [str(path) for path in opened if path.is_file()] == []


def test_it_is_stopped_by_sigterm(home: Home, server: ForkServer) -> None:
    with waiting_recompute(home, server) as (child, pid):
        processes.stop(child)
        assert child.poll() == -signal.SIGTERM
        assert not alive(pid)


def test_a_stopped_child_is_killed_after_a_while(
    home: Home, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE", 0.5)
    with waiting_recompute(home, server) as (child, pid):
        os.kill(pid, signal.SIGSTOP)
        stat = Path(f"/proc/{pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "all its threads are stopped")
        processes.stop(child)
        assert child.poll() == -signal.SIGKILL


def test_a_killed_server_ends_its_children_and_the_next_command_runs(home: Home, server: ForkServer) -> None:
    with waiting_recompute(home, server) as (child, pid):
        (killed,) = server_pids(os.getpid())
        os.kill(killed, signal.SIGKILL)
        result = processes.run(child, print_line=lambda line: None)
        assert result.killed, "so that its job is tried again soon"
        wait_until(lambda: not alive(pid), "the child has ended")
    for _ in range(2):
        assert processes.run(server.start(NO_TASK, {}), print_line=lambda line: None).exit_code == 3
    assert server_pids(os.getpid()) not in ([], [killed])


def test_many_children_at_once_have_their_own_exit_codes(server: ForkServer) -> None:
    def exit_code(number: int) -> int:
        arguments = NO_TASK if number % 2 else ("--version",)
        return processes.run(server.start(arguments, {}), print_line=lambda line: None).exit_code

    before = threading.active_count()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(exit_code, range(40))) == [0, 3] * 20
    wait_until(lambda: threading.active_count() <= before, "the threads that read output have ended")


SCHEDULER = """
import sys, time
from pathlib import Path
from riskmodel.home import Home
from service.jobs.fork_server import ForkServer
home = Home(Path(sys.argv[1]))
child = ForkServer(home).start(("recompute",), {})
time.sleep(60)
"""


def test_server_and_children_end_with_a_scheduler_that_is_killed(home: Home) -> None:
    with Store.of(home).exclusive("recompute", 1):
        scheduler = subprocess.Popen([sys.executable, "-c", SCHEDULER, str(home.root)])
        try:
            wait_until(lambda: pids_of(scheduler.pid, "recompute"), "the child has its title")
            time.sleep(0.5)
            pids = list(family(scheduler.pid))
        finally:
            scheduler.kill()
            scheduler.wait()
        wait_until(lambda: not any(alive(pid) for pid in pids), "all have ended", within=20)
