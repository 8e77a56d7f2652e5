"""Consoles for tables, and progress bars."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

FILE_WIDTH = 140
"""The width of tables in a file or a pipe [characters]. A console without a terminal would take 80, and cut."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that does not cut a table off when its output goes to a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if stream.isatty() else FILE_WIDTH)


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield progress bars with the time left, on standard error; they draw nothing if that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        yield bars
