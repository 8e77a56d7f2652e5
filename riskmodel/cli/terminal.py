"""What a person at a terminal sees: tables as wide as they need, and progress where there is a terminal for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

WIDTH_OF_FILES = 140


def console(*, stderr: bool = False) -> Console:
    """A console that never cuts a table short when its output goes to a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if stream.isatty() else WIDTH_OF_FILES)


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars with the time left, on standard error; nothing at all where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        yield bars
