"""Work for several items: in forked children at once, and again in this process where a child fails."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.jobs import forked_work


def test_each_item_has_its_result_and_a_process_of_its_own() -> None:
    results = forked_work.for_each(lambda item: (item, os.getpid()), ["a", "b", "c"])
    assert [item for item, _ in results] == ["a", "b", "c"]
    processes = [process for _, process in results]
    assert processes[0] == os.getpid()
    assert len(set(processes)) == (3 if len(os.sched_getaffinity(0)) > 1 else 1)


def test_the_work_of_a_child_that_was_killed_is_done_again() -> None:
    parent = os.getpid()

    def work(item: str) -> str:
        if item == "b" and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return item.upper()

    assert forked_work.for_each(work, ["a", "b"]) == ["A", "B"]


@pytest.mark.parametrize("wrong", ["a", "b"])
def test_an_error_is_raised_in_this_process(wrong: str) -> None:
    def work(item: str) -> str:
        if item == wrong:
            raise ValueError(f"{item} is wrong")
        return item

    with pytest.raises(ValueError, match=f"{wrong} is wrong"):
        forked_work.for_each(work, ["a", "b"])


ENDLESS = """
import os, sys, time
from pathlib import Path
from service.jobs import forked_work

def work(item):
    Path(sys.argv[1], f"{item}.part").write_text(str(os.getpid()))
    Path(sys.argv[1], f"{item}.part").rename(Path(sys.argv[1], item))
    time.sleep(600)

forked_work.for_each(work, ["a", "b"])
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one processor there are no children")
def test_a_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)])
    files = [tmp_path / name for name in ("a", "b")]
    wait_until(lambda: all(file.exists() for file in files))
    child = int(files[1].read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: has_ended(child))


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
