"""Create what a home lacks before it can be scored: data, a model, a newer model. Each step is a `vigie` command.

The service imports nothing of `training`; it starts the command line as a child process instead.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from riskmodel import bundle, geography, refits
from riskmodel.errors import Refused
from riskmodel.events import manifest
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.months import Month
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES, ranked
from service.jobs.job_run import Interrupted, JobFailed
from service.settings import Settings
from service.snapshots import refit_view, snapshot_view
from service.snapshots.outcome_parts import OutcomeMissing
from service.store.context import Context

TRAINING_DEADLINE = 3600.0
"""How long training may take [s]."""


class RunVigie(Protocol):
    """Runs a `vigie` command as a child, for at most `deadline` [s]. Raises if it does not succeed."""

    def __call__(self, *arguments: str, deadline: float) -> None:
        """Run the command."""


class Step(NamedTuple):
    """What is missing, and the arguments of the `vigie` command that creates it; `optional` if scores need it not.

    `refit` is the outcome whose model the step refits, if it does.
    """

    text: str
    arguments: list[str]
    optional: bool = False
    refit: str | None = None


def missing(context: Context) -> Iterator[Step]:
    """Yield the steps that create what is missing, in order.

    A step is checked only after the caller has done the steps before it. Without any model, only the model of the first
    outcome is trained, so that the first page comes early.
    """
    home, settings = context.home, context.settings
    last_month = np.datetime64(context.clock().date(), "M") - 1
    simulate = ["ingest", "simulated", "--seed", str(settings.simulated_seed)]
    # A first start that was interrupted can have left one of the two files of the shipped history.
    shipped = {ingest.kind for ingest in manifest.read(home.archive) if ingest.variant == manifest.SHIPPED}
    if manifest.realm(home.archive) is None or len(shipped) == 1:
        if settings.simulated and not shipped:
            yield Step("making a SIMULATED archive", simulate)
        else:
            yield Step("taking in the history to December 2022 that ships with Vigie", ["ingest", "history"])
    elif manifest.realm(home.archive) == "simulated" and _last_covered_month(home) < last_month:
        yield Step("making the newest month of the SIMULATED archive", simulate)
    champions, untrained = _champions(home), untrained_outcomes(context)
    if not champions:
        yield _training(settings, (untrained or settings.outcomes[-1:])[0], "there is none yet")
        return
    for outcome, path in champions.items():
        # A model that was altered is not replaced: the operator has to see the error.
        with suppress(Refused):
            if reason := bundle.replacement_reason(path, home.archive):
                usable = bundle.outdated_reason(path) is None
                yield _training(settings, outcome, f"the one in service {reason}", optional=usable)
    for outcome in untrained:
        yield _training(settings, outcome, "there is none yet", optional=True)
    yield from due_refits(context)


def due_refits(context: Context) -> Iterator[Step]:
    """Yield the refits that are due for the models behind the snapshot in service, and can start now."""
    home, settings, now = context.home, context.settings, context.clock()
    simulated = manifest.realm(home.archive) == "simulated"
    for outcome, path in _champions(home).items():
        with context.store.reading() as connection, suppress(OutcomeMissing):
            view = snapshot_view.in_service(connection, settings, simulated=simulated, now=now, outcome=outcome)
            # A model that no snapshot has yet is new: how old its data are is known after the recompute.
            if view is None or view.document["model"]["id"] != path.name:
                continue
            state = refit_view.refit_of(home, settings, view.document)
            if refit_view.can_start(home, state, view.document, now):
                label = OUTCOME_LABELS[outcome]["en"]
                text = f"refitting the model of {label}, which takes about a minute: {state.description}"
                arguments = ["train", "--brief", "--refit", "--region", settings.region, "--outcome", outcome]
                yield Step(text, arguments, optional=True, refit=outcome)


def untrained_outcomes(context: Context) -> list[str]:
    """Return the outcomes of the settings that the archive knows and that have no model, the headline first."""
    home, settings = context.home, context.settings
    champions = _champions(home)
    without = [outcome for outcome in OUTCOMES if outcome in settings.outcomes and outcome not in champions]
    if not without:
        return []
    # Imported here, because it is slow, and most homes have all their models.
    from riskmodel.events.archive import Archive

    try:
        view = Archive(home.archive).view()
        members = geography.region(settings.region).members
        origins = {outcome: view.origin(members, outcome) for outcome in without}
        return ranked({outcome: str(origin) for outcome, origin in origins.items() if origin is not None})
    except Refused:  # the recompute says what is damaged
        return []


def prepare(context: Context, print_line: Callable[[str], None], run_vigie: RunVigie) -> bool:
    """Create what is missing, then recompute. Return whether another model is to be trained in a run of its own.

    Raises what `run_vigie` raises; later steps are not run then. A training that fails, is killed or takes too long
    stops nothing if there are models to compute with: new data must not wait for it. For the same reason a refit comes
    after the recompute that finds it due, in a run of its own.
    """
    first_start = not _champions(context.home)
    for step in missing(context):
        print_line(step.text)
        try:
            run_vigie(*step.arguments, deadline=TRAINING_DEADLINE)
        except JobFailed as failed:
            if not step.optional:
                raise
            print_line(str(failed))
            if step.refit:
                _end_attempt(context.home, step.refit, str(failed))
        except Interrupted:
            if step.refit:
                _end_attempt(context.home, step.refit, None)
            raise
    region = context.settings.region
    print_line(f"computing the scores of the region of {region}")
    run_vigie("recompute", "--region", region, deadline=context.settings.recompute_deadline_seconds)
    return (first_start and bool(untrained_outcomes(context))) or any(due_refits(context))


def _end_attempt(home: Home, outcome: str, failure: str | None) -> None:
    """Record that a refit whose process was ended failed; or forget it, if it was interrupted and can start again."""
    simulated = manifest.realm(home.archive) == "simulated"
    attempt = refits.last_attempt(home.models, simulated=simulated, outcome=outcome)
    if failure is None:
        refits.forget_attempt(home.models, simulated=simulated, outcome=outcome)
    elif attempt is not None and attempt.result == "started":
        failed = replace(attempt, result="failed", reason=failure)
        refits.record_attempt(home.models, failed, simulated=simulated, outcome=outcome)


def _training(settings: Settings, outcome: str, reason: str, *, optional: bool = False) -> Step:
    text = f"training a model of {OUTCOME_LABELS[outcome]['en']}, which takes about a minute: {reason}"
    return Step(text, ["train", "--brief", "--region", settings.region, "--outcome", outcome], optional)


def _champions(home: Home) -> dict[str, Path]:
    return bundle.champions(home.models, simulated=manifest.realm(home.archive) == "simulated")


def _last_covered_month(home: Home) -> Month:
    return max(Coverage.parse(span).last for ingest in manifest.read(home.archive) for span in ingest.covers)
