"""Do the same work for several items at once: for the first in this process, for each other in a forked child.

A fork shares what this process has read and computed, so nothing is read twice. Use it before this process predicts:
a fork after OpenMP has started threads hangs.
"""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from riskmodel.parent_process import PARENT_VARIABLE, end_with_parent

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

Item = TypeVar("Item")
Result = TypeVar("Result")

GRACE_SECONDS = 1.0
"""How long a child has to end after this process is gone [s]: it holds the locks of this process until then."""


def for_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the result of the work for each item. Where no child can be forked, this process does all the work.

    The work is also done again here if its child fails, so that an error is raised where it can be read.
    """
    if len(items) < 2 or sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return [work(item) for item in items]
    children = [_Child(work, item) for item in items[1:]]
    try:
        results = [work(items[0])]
        for item, child in zip(items[1:], children, strict=True):
            try:
                results.append(child.result())
            except EOFError:
                results.append(work(item))
        return results
    finally:
        for child in children:
            child.stop()


class _Child(Generic[Result]):
    """A forked child that does the work for one item."""

    def __init__(self, work: Callable[[Any], Result], item: Any) -> None:
        context = multiprocessing.get_context("fork")
        self._reader, writer = context.Pipe(duplex=False)
        self._process: ForkProcess = context.Process(target=_send_result, args=(writer, work, item))
        with writer:
            self._process.start()

    def result(self) -> Result:
        """Wait for the result. Raises EOFError if the child ended without one."""
        result: Result = self._reader.recv()
        return result

    def stop(self) -> None:
        """End the child, if it still runs."""
        self._process.kill()
        self._process.join()
        self._reader.close()


def _send_result(writer: connection.Connection, work: Callable[[Any], Any], item: Any) -> None:
    os.environ[PARENT_VARIABLE] = str(os.getppid())
    end_with_parent(GRACE_SECONDS)
    with writer, contextlib.suppress(Exception):  # the parent does the work again, and raises the error
        writer.send(work(item))
