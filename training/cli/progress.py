"""Show the progress of a back-test on the terminal, with the time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.windows import Window


@contextmanager
def window_progress(total: int) -> "Iterator[Callable[[Window], None]]":
    """Yield a function to call after each window. `total` is the number of windows, 0 if it is not known."""
    from riskmodel.cli import terminal

    started, finished = time.monotonic(), 0
    with terminal.progress() as bars:
        bar = bars.add_task("windows", total=total or None)

        def advance(window: "Window") -> None:
            nonlocal finished
            finished += 1
            seconds_left = (time.monotonic() - started) / finished * (total - finished)
            description = f"windows, {_format_duration(seconds_left)} left" if total else "windows"
            bars.update(bar, advance=1, description=description)

        yield advance


def _format_duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
