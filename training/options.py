"""What the commands of training share: options, the archive that they ask, the time left on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES

if TYPE_CHECKING:
    from riskmodel.events.view import View
    from riskmodel.forecasting.component import Explainable
    from training.windows import Window

OUTCOME = click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    default=OUTCOMES[0],
    show_default=True,
    help="The deaths that are forecast.",
)
REGION = click.option(
    "--region", type=options.ISO3, default="MLI", show_default=True, help="The focal country of the region served."
)
SEED = click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same model."
)
MODEL = click.option(
    "--model",
    "written",
    metavar="MODULE:FUNCTION",
    help="A model of your own: a function of a module here that makes a component from a seed.",
)
JOBS = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes at work on windows, one thread each; with 1, this process with its threads.",
)
DASK = click.option("--dask", metavar="ADDRESS", help="Work on a Dask cluster: tcp://host:8786 of its scheduler.")


def look(home: Home, as_of: datetime | None = None) -> "View":
    """The archive as it is, or as a past moment knew it. Raises BadInput if there is nothing in it."""
    from riskmodel.errors import BadInput
    from riskmodel.events.archive import Archive

    view = Archive(home.archive).view(as_of)
    if not view.ingests:
        then = f" had nothing in it by {as_of:%Y-%m-%d}" if as_of else " is empty"
        raise BadInput(f"the archive{then}: vigie ingest takes files in")
    return view


def marked(view: "View") -> str:
    """What stands before figures that are made from it."""
    return "SIMULATED " if view.simulated else ""


def component(written: str | None, seed: int) -> "Explainable":
    """The model that `--model` names, else Vigie's own. Raises BadParameter for what is none."""
    from training import models

    try:
        return models.named(written or models.OURS, seed)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--model") from None


@contextmanager
def progress(total: int) -> "Iterator[Callable[[Window], None]]":
    """Give a function that is told each window that is done; the terminal tells the time left."""
    from riskmodel.cli import terminal

    began, number = time.monotonic(), 0
    with terminal.progress() as bars:
        bar = bars.add_task("windows", total=total or None)

        def done(window: "Window") -> None:
            nonlocal number
            number += 1
            left = (time.monotonic() - began) / number * (total - number)
            bars.update(bar, advance=1, description=f"windows, {_duration(left)} left" if total else "windows")

        yield done


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
