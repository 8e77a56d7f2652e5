"""Create what a home lacks before it can be scored: data, a model. Each step is a `vigie` command.

The service imports nothing of `training`; it starts the command line as a child process instead.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

import numpy as np

from riskmodel import bundle
from riskmodel.errors import Refused
from riskmodel.events import manifest
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.months import Month
from service.store.context import Context

TRAINING_DEADLINE = 3600.0
"""How long training may take [s]."""


class RunVigie(Protocol):
    """Runs a `vigie` command as a child, for at most `deadline` [s]. Raises if it does not succeed."""

    def __call__(self, *arguments: str, deadline: float) -> None:
        """Run the command."""


def missing(context: Context) -> Iterator[tuple[str, list[str]]]:
    """Yield the steps that create what is missing, in order: what it does, and the arguments of the `vigie` command.

    A step is checked only after the caller has done the steps before it.
    """
    home, settings = context.home, context.settings
    last_month = np.datetime64(context.clock().date(), "M") - 1
    simulate = ["ingest", "simulated", "--seed", str(settings.simulated_seed)]
    # A first start that was interrupted can have left one of the two files of the shipped history.
    shipped = {ingest.kind for ingest in manifest.read(home.archive) if ingest.variant == manifest.SHIPPED}
    if manifest.realm(home.archive) is None or len(shipped) == 1:
        if settings.simulated and not shipped:
            yield "making a SIMULATED archive", simulate
        else:
            yield "taking in the history to December 2022 that ships with Vigie", ["ingest", "history"]
    elif manifest.realm(home.archive) == "simulated" and _last_covered_month(home) < last_month:
        yield "making the newest month of the SIMULATED archive", simulate
    if reason := _no_usable_model(home):
        yield (
            f"training a model, which takes about a minute: {reason}",
            ["train", "--brief", "--region", settings.region],
        )


def prepare(context: Context, print_line: Callable[[str], None], run_vigie: RunVigie) -> None:
    """Create what is missing, then recompute. Raises what `run_vigie` raises; later steps are not run then."""
    for what, arguments in missing(context):
        print_line(what)
        run_vigie(*arguments, deadline=TRAINING_DEADLINE)
    region = context.settings.region
    print_line(f"computing the scores of the region of {region}")
    run_vigie("recompute", "--region", region, deadline=context.settings.recompute_deadline_seconds)


def _last_covered_month(home: Home) -> Month:
    return max(Coverage.parse(span).last for ingest in manifest.read(home.archive) for span in ingest.covers)


def _no_usable_model(home: Home) -> str | None:
    """Return why the archive needs new models, or None.

    A model that was altered is not replaced: the operator has to see the error. Where one outcome has a model, the
    other one is not trained by itself: the archive may not know it, or the operator may not want it.
    """
    champions = bundle.champions(home.models, simulated=manifest.realm(home.archive) == "simulated")
    if not champions:
        return "there is none yet"
    for path in champions.values():
        with suppress(Refused):
            if reason := bundle.replacement_reason(path, home.archive):
                return f"the one in service {reason}"
    return None
