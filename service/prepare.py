"""What a home lacks before it can be scored, and the commands that bring it: each runs as a child process.

The service imports nothing of training; it asks the command line for it.
"""

import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime

import numpy as np

from riskmodel import bundle
from riskmodel.errors import Refused
from riskmodel.events import manifest
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.months import Month
from service import processes
from service.settings import Settings

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


def prepare(home: Home, settings: Settings, now: datetime, say: Callable[[str], None]) -> int:
    """Bring what is lacking, then recompute; returns the exit code of the first command that failed, else 0.

    Raises subprocess.TimeoutExpired for a command that outlives its deadline; it is stopped.
    """
    for what, arguments in lacking(home, settings, now):
        say(f"preparing {what}")
        if code := processes.run(processes.command(home, *arguments), TRAINING_DEADLINE):
            return code
    say(f"recomputing the scores of the region of {settings.region}")
    line = processes.command(home, "recompute", "--region", settings.region)
    return processes.run(line, settings.recompute_deadline_seconds)


def pull(home: Home, settings: Settings, say: Callable[[str], None]) -> None:
    """Ask each provider that the settings name for what is new; one that does not answer is said and left for later."""
    for source in settings.pull:
        say(f"asking {source} for what is new")
        try:
            code = processes.run(processes.command(home, "pull", source), settings.pull_deadline_seconds)
        except subprocess.TimeoutExpired as late:
            say(f"{source} was not done after {late.timeout:.0f} s; what was fetched is kept for the next time")
        else:
            if code:
                say(f"nothing new from {source} (exit code {code}); going on with what is here")


def _last_month(home: Home) -> Month:
    """The last month that the archive covers."""
    return max(Coverage.parse(span).last for ingest in manifest.read(home.archive) for span in ingest.covers)


def _no_model(home: Home) -> str | None:
    """Why the archive needs a model; None where it has one, or one that was altered: somebody has to look at that."""
    path = bundle.champion(home.models, simulated=manifest.realm(home.archive) == "simulated")
    if path is None:
        return "there is none yet"
    try:
        why = bundle.outgrown(path)
    except Refused:
        return None
    return f"the one in service {why}" if why else None


def _simulate(settings: Settings) -> list[str]:
    return ["ingest", "simulated", "--seed", str(settings.simulated_seed)]
