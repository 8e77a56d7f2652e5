"""End this process when the process that started it is gone, so that a killed parent leaves no children behind."""

import os
import signal
import threading
import time
from collections.abc import Callable

PARENT_VARIABLE = "VIGIE_PARENT"
"""The environment variable that gives a child the process id of its parent."""

GRACE_SECONDS = 10.0
"""How long a process has to end after SIGTERM [s]."""

CHECK_EVERY_SECONDS = 0.1


def end_with_parent(grace_seconds: float = GRACE_SECONDS) -> None:
    """Watch the process named in `PARENT_VARIABLE`, if it is set. Once that is gone, end this one.

    This process gets SIGTERM first; after `grace_seconds` [s] it is ended without cleaning up.
    """
    parent = int(os.environ.get(PARENT_VARIABLE, "0"))
    if parent:
        _start(_watch_fork, parent, grace_seconds)


def end_with(parent: int, grace_seconds: float = GRACE_SECONDS) -> None:
    """Watch `parent`, the process that started this one. Once it is gone, end this one as `end_with_parent` does."""
    _start(_watch, parent, grace_seconds)


def _start(watch: Callable[[int, float], None], parent: int, grace_seconds: float) -> None:
    threading.Thread(target=watch, args=(parent, grace_seconds), daemon=True, name="parent-watch").start()


def _watch_fork(parent: int, grace_seconds: float) -> None:
    from multiprocessing import parent_process  # slow to import, and only children need it

    # A forked child depends on two: on the fork server, and on the process that asked for it.
    requester = parent_process()
    _watch(parent, grace_seconds, lambda: requester is None or requester.is_alive())


def _watch(parent: int, grace_seconds: float, also_alive: Callable[[], bool] = lambda: True) -> None:
    # A child that starts after its parent has died sees another parent at once.
    while os.getppid() == parent and also_alive():
        time.sleep(CHECK_EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    os._exit(1)
