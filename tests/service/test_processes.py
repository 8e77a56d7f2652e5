"""Child processes end with their parent or on request; none is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.jobs import processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def ended(pid: int, within: float = 10.0) -> bool:
    """Return whether a process that is not our child ends, or becomes a zombie, within a time [s]."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_result_has_the_exit_code_and_the_last_error_line() -> None:
    printed: list[str] = []
    code = "import sys; print('vigie: one'); print('vigie: two', file=sys.stderr); print('more'); sys.exit(3)"
    result = processes.run(processes.start([sys.executable, "-u", "-c", code], capture=True), print_line=printed.append)
    assert printed == ["vigie: one", "vigie: two", "more"]
    assert (result.exit_code, result.error, result.killed) == (3, "two", False)
    assert result.describe() == "ended with exit code 3: two"


def test_a_child_is_stopped_when_its_check_raises() -> None:
    started = time.monotonic()
    pids: list[int] = []

    def check() -> None:
        if pids:
            raise TimeoutError

    line = [sys.executable, "-u", "-c", "import os, time; print(os.getpid()); time.sleep(60)"]
    with pytest.raises(TimeoutError):
        processes.run(processes.start(line, capture=True), print_line=lambda pid: pids.append(int(pid)), check=check)
    assert time.monotonic() - started < 5
    assert ended(pids[0], within=0.1)


def test_children_are_stopped_together() -> None:
    children = [processes.start(SLEEP) for _ in range(2)]
    processes.stop_children()
    assert [child.poll() for child in children] == [-signal.SIGTERM] * 2


def test_a_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE", 0.2)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    child = processes.start([sys.executable, "-c", script])
    time.sleep(0.5)
    processes.stop(child)
    assert child.poll() == -signal.SIGKILL


VIGIE_SLEEP = """
import click, time
import riskmodel.cli.main as cli

def sleep():
    print("asleep", flush=True)
    time.sleep(60)

cli.vigie.add_command(click.Command("sleep", callback=sleep))
cli.main()
"""
"""A `vigie` command that takes a minute."""


def test_a_command_of_vigie_does_not_outlive_a_parent_that_was_killed() -> None:
    """A task worker trains a model in such a child."""
    parent = (
        "import sys, time; from service.jobs import processes;"
        f"print(processes.start([sys.executable, '-c', {VIGIE_SLEEP!r}, 'sleep']).pid, flush=True); time.sleep(60)"
    )
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    pid = int(started.stdout.readline())
    assert started.stdout.readline() == "asleep\n"
    time.sleep(1.0)
    assert not ended(pid, within=0.1)
    started.kill()
    started.wait()  # not communicate: it would wait until the child closes the pipe
    assert ended(pid)
    started.stdout.close()
