"""Workers end with the process that started them, also if that is killed."""

import os
import subprocess
import sys
import time

import pytest

PROGRAM = """
import os, time
from training.workers import Workers

def work(shared, case):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece: two processes write
    time.sleep(600)

list(Workers(2).map_unordered(work, [(None, 1), (None, 2)]))
"""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
def test_workers_end_when_the_command_is_killed() -> None:
    command = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    workers = [int(command.stdout.readline()) for _ in range(2)]
    assert all(map(is_running, workers))
    command.kill()
    command.wait()
    deadline = time.monotonic() + 60
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "the workers live on"
        time.sleep(0.1)
