"""Run commands as child processes and measure what each costs: seconds, processor time and peak memory.

It imports nothing heavy: a child that is started from a large process counts that process's memory as its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HEADINGS = f"{'process':<46}{'seconds':>9}{'processor':>11}{'peak MB':>9}"


class Cost(NamedTuple):
    """What one process cost: elapsed time [s], processor time [s], peak memory [MB]; and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


def run_process(*command: object) -> Cost:
    """Run a command to its end. Raises SystemExit with its standard error if it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        child = subprocess.Popen([*map(str, command)], stdout=out, stderr=err)  # noqa: S603 - our own commands
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        if child.returncode:
            raise SystemExit(f"{command[0]} exited with {child.returncode}: {err.read()}")
        units_per_mb = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / units_per_mb, out.read())


def run_python(code: str, *arguments: object) -> Cost:
    """Run Python code in a process of its own."""
    return run_process(sys.executable, "-c", code, *arguments)


def run_vigie(home: Path, *arguments: object) -> Cost:
    """Run `vigie` on a home."""
    return run_process(sys.executable, "-m", "riskmodel", "--home", home, *arguments)


def print_cost(name: str, cost: Cost, note: str = "") -> None:
    """Print one line below `HEADINGS`."""
    print(f"{name:<46}{cost.seconds:>9.2f}{cost.cpu_seconds:>11.2f}{cost.peak_mb:>9.0f}  {note}", flush=True)
