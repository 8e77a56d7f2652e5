"""The processes of a running Vigie: how one command becomes a child, is waited for, and never outlives its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from riskmodel.home import Home

PARENT = "VIGIE_PARENT"
"""The environment variable that tells a child whose child it is, so that it stops when that process is gone."""

LISTENS_ON = "VIGIE_LISTENS_ON"
"""The environment variable that tells a web worker which host its server is bound to."""

GRACE = 10.0
"""How long a process may take to end after it was asked to [s]."""


def command(home: Home, *arguments: str) -> list[str]:
    """The command line of a `vigie` sub-command over a home, by this very interpreter."""
    return [sys.executable, "-m", "riskmodel", "--home", str(home.root), *arguments]


def allow_open_files(wanted: int) -> None:
    """Let this process and its children hold that many files and connections open, as far as the system allows it."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # there are systems without such limits
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, wanted)), hard))


_children: set["subprocess.Popen[bytes]"] = set()


def start(
    line: Sequence[str], environment: Mapping[str, str] | None = None, *, heard: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a child that stops when this process is gone; a Ctrl-C on the terminal reaches it only through us.

    What a child says that is `heard` comes by its `stdout`, errors too; otherwise it goes where ours goes.
    """
    environment = {**os.environ, **(environment or {}), PARENT: str(os.getpid())}
    child = subprocess.Popen(  # noqa: S603 - ourselves
        line,
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if heard else None,
        stderr=subprocess.STDOUT if heard else None,
    )
    _children.add(child)
    return child


def stop(child: "subprocess.Popen[bytes]") -> None:
    """Ask a child to end, and end it if it does not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _children.discard(child)


def stop_children() -> None:
    """Stop whatever this process has started and not yet waited for."""
    for child in list(_children):
        stop(child)


def run(line: Sequence[str], deadline: float | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run a child to its end and return its exit code; it is stopped at the deadline [s] or if we are interrupted.

    Raises subprocess.TimeoutExpired when the deadline has passed.
    """
    child = start(line, environment)
    try:
        return child.wait(deadline)
    finally:
        stop(child)


def end_with_parent(parent: int | None = None, grace: float = GRACE) -> None:
    """Watch the process that started this one; once it is gone, ask ourselves to end, and do so after `grace`.

    `parent` is by default the one named in the environment; without any, nothing is watched. `grace` in seconds.
    """
    if parent is None:
        parent = int(os.environ.get(PARENT, "0"))
    if parent:
        threading.Thread(target=_watch, args=(parent, grace), daemon=True, name="parent").start()


def _watch(parent: int, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os._exit(1)
