"""What a home lacks before it can be scored, and the commands that bring it: each runs as a child process.

The service imports nothing of training; it asks the command line for it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

import numpy as np

from riskmodel import bundle
from riskmodel.errors import Refused
from riskmodel.events import manifest
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.months import Month
from service.settings import Settings

Run: TypeAlias = Callable[[Sequence[str], float], int]
"""Runs a `vigie` command as a child, until a deadline [s] at the latest, and returns its exit code."""

TRAINING_DEADLINE = 3600.0
"""How long training may take [s]."""


def lacking(home: Home, settings: Settings, now: datetime) -> Iterator[tuple[str, list[str]]]:
    """What is missing, in order, each with the arguments of the `vigie` command that brings it.

    Judged step by step: the next is looked for when the one before has been done.
    """
    last_month = np.datetime64(now.date(), "M") - 1
    if manifest.realm(home.archive) is None:
        yield "a SIMULATED archive, there being no data yet", _simulate(settings)
    elif manifest.realm(home.archive) == "simulated" and _last_month(home) < last_month:
        yield "the newest month of the SIMULATED archive", _simulate(settings)
    if why := _no_model(home):
        yield f"a model trained on the archive: {why}", ["train", "--region", settings.region]


def prepare(home: Home, settings: Settings, now: datetime, say: Callable[[str], None], run: Run) -> int:
    """Bring what is lacking, then recompute; returns the exit code of the first command that failed, else 0."""
    for what, arguments in lacking(home, settings, now):
        say(f"preparing {what}")
        if code := run(arguments, TRAINING_DEADLINE):
            return code
    say(f"recomputing the scores of the region of {settings.region}")
    return run(["recompute", "--region", settings.region], settings.recompute_deadline_seconds)


def _last_month(home: Home) -> Month:
    """The last month that the archive covers."""
    return max(Coverage.parse(span).last for ingest in manifest.read(home.archive) for span in ingest.covers)


def _no_model(home: Home) -> str | None:
    """Why the archive needs a model; None where it has one, or one that was altered: somebody has to look at that."""
    path = bundle.champion(home.models, simulated=manifest.realm(home.archive) == "simulated")
    if path is None:
        return "there is none yet"
    try:
        why = bundle.outdated_reason(path)
    except Refused:
        return None
    return f"the one in service {why}" if why else None


def _simulate(settings: Settings) -> list[str]:
    return ["ingest", "simulated", "--seed", str(settings.simulated_seed)]
