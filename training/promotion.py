"""Put models into service: decide whether a model is a refit or a challenger, check it, and record why it was taken.

It knows the archive and the home, and no terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np

from riskmodel import bundle
from riskmodel.bundle import Bundle
from riskmodel.errors import BadInput, Refused
from riskmodel.events.view import View
from riskmodel.forecasting.component import forecastable
from riskmodel.home import Home
from training import evaluation, gate
from training.backtest_runner import Backtest, build_panel
from training.gate import Check
from training.registry import JournalEntry, promote
from training.result_store import StoredBacktest, stored_backtests
from training.train import iso_seconds
from training.versions import is_same_configuration
from training.windows import MONTHS_PER_YEAR, Window, recent_challenge_windows
from training.workers import THIS_PROCESS, Workers

MIN_HISTORY = 60  # [months]
"""A window needs this much data before its origin: with less there is too little to learn from."""


@dataclass(frozen=True)
class Examination:
    """What was found about a model, and whether it may enter service.

    `action` is `refit` for the configuration of the model in service, and `gate` for a challenger. `notes` say which
    comparison was not possible, and why the model was refused if no check says it.
    """

    action: str
    passed: bool
    windows: tuple[Window, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def refusal(self) -> str | None:
        """Why the model was refused, in one line; None if it was not."""
        missed = [f"{check.against}, {check.score}: {check.value:+.1%}" for check in self.checks if not check.passed]
        return None if self.passed else "; ".join((*self.notes, *missed))


@dataclass(frozen=True)
class Offer:
    """The result of offering a new model to the service.

    `action` is how the model was put into service (see `registry.ACTION_LABELS`); None where it was not, because
    `champion`, the model in service before, stays. `examination` is None where none was needed.
    """

    action: str | None
    champion: str | None
    examination: Examination | None = None


def examine(
    home: Home,
    view: View,
    model: Bundle,
    windows: Sequence[Window] = (),
    workers: Workers = THIS_PROCESS,
    on_window: Callable[[Window], None] = lambda window: None,
) -> Examination:
    """Check a model that could replace the one in service: as a refit if it has its configuration, else by the gate.

    The gate uses `windows`; by default the latest calendar years up to the model's origin. Raises Refused for a model
    that was trained on simulated data where the archive has real data, or the other way round.
    """
    if model.provenance.simulated != view.simulated:
        realm = "simulated" if view.simulated else "real"
        raise Refused(f"the model {model.id} cannot be evaluated: the archive has {realm} data, the model had not")
    champion, note = _champion(home, model)
    if champion is not None and is_same_configuration(
        model.provenance.configuration, champion.provenance.configuration
    ):
        return check_refit(view, model, champion)
    found = _run_gate(home, view, model, champion, windows, workers, on_window)
    return replace(found, notes=(*found.notes, note)) if note else found


def check_refit(view: View, refit: Bundle, before: Bundle) -> Examination:
    """Check that a refit forecasts finitely, and is not far worse than the model before on the months since.

    The months since are those after the origin of the model before, at most the latest twelve. This is a guard against
    broken data and no contest: the refit has learned from these months.
    """
    if refit.origin < before.origin:
        return Examination("refit", False, notes=(f"its data end in {refit.origin}, before those of {before.id}",))
    outcome, origin = refit.outcome, refit.origin
    observed = view.outcomes().with_history(outcome, origin)
    panel = build_panel(view, observed, outcome).until(origin)
    draws = refit.model.forecast(panel, origin).draws[forecastable(panel, origin)]
    if not (draws.size and np.isfinite(draws).all() and (draws >= 0).all()):
        return Examination("refit", False, notes=("its forecast is not finite for every country with a history",))
    months = min(int((origin - before.origin).astype(int)), MONTHS_PER_YEAR)
    if not months:
        note = f"not compared with {before.id}: there are no months since, both know the data to {origin}"
        return Examination("refit", True, notes=(note,))
    window = Window(f"{origin - months + 1}..{origin}", origin - months, first_lead=1, last_lead=months)
    known = panel.until(window.origin)
    forecasts = [model.model.forecast(known, window.origin) for model in (refit, before)]
    try:
        result = evaluation.score_window(panel, window, ("refit", "before"), lambda _: (forecasts, []))
    except BadInput as error:
        return Examination("refit", True, (window,), notes=(f"not compared with {before.id}: {error}",))
    checks = tuple(gate.guard_checks(result, "refit", "before"))
    return Examination("refit", gate.passes(checks), (window,), checks)


def put_into_service(
    home: Home, model: Bundle, now: datetime, action: str, reason: str = "", found: Examination | None = None
) -> None:
    """Put a model into service and record what was found about it.

    `now` is in UTC, `action` a key of `registry.ACTION_LABELS`.
    """
    checks = tuple(map(asdict, found.checks)) if found else ()
    windows = tuple(window.name for window in found.windows) if found else ()
    reason = reason or ("; ".join(found.notes) if found else "")
    simulated = model.provenance.simulated
    entry = JournalEntry(iso_seconds(now), model.id, simulated, model.outcome, action, reason, checks, windows)
    promote(home.models, entry)


def offer(
    home: Home,
    view: View,
    model: Bundle,
    now: datetime,
    workers: Workers = THIS_PROCESS,
    on_window: Callable[[Window], None] = lambda window: None,
) -> Offer:
    """Put a new model into service: at once where no model can serve, else if it passes its examination.

    Nothing changes where the model is in service already. `now` is in UTC.
    """
    champion = bundle.champion(home.models, simulated=view.simulated, outcome=model.outcome)
    if champion is None:
        put_into_service(home, model, now, "first")
        return Offer("first", None)
    if champion.name == model.id:
        return Offer(None, champion.name)
    try:
        unusable = bundle.replacement_reason(champion, home.archive)
        bundle.load(champion)
    except Refused as damaged:
        unusable = str(damaged)
    if unusable:
        put_into_service(home, model, now, "replacement", unusable)
        return Offer("replacement", champion.name)
    found = examine(home, view, model, workers=workers, on_window=on_window)
    if found.passed:
        put_into_service(home, model, now, found.action, found=found)
    return Offer(found.action if found.passed else None, champion.name, found)


def backtest_of(view: View, model: Bundle, kind: str = "challenge") -> Backtest:
    """Return the back-test of a model's configuration on an archive."""
    return Backtest(view, model.outcome, model.model, model.provenance.seed, kind)


def stored_backtests_of(home: Home, model: Bundle) -> list[StoredBacktest]:
    """Return the stored back-tests of a model's configuration and code.

    First those on the data the model was trained on, then the newest.
    """
    provenance = model.provenance
    found = [
        stored
        for stored in reversed(stored_backtests(home))
        if (stored.setup.configuration, stored.setup.outcome, stored.setup.simulated, stored.setup.code)
        == (provenance.configuration, provenance.outcome, provenance.simulated, provenance.code)
    ]
    return sorted(found, key=lambda stored: stored.setup.data_digest != provenance.data_digest)


def _run_gate(
    home: Home,
    view: View,
    challenger: Bundle,
    champion: Bundle | None,
    windows: Sequence[Window],
    workers: Workers,
    on_window: Callable[[Window], None],
) -> Examination:
    """Back-test a model's configuration, and compare it with the baselines and with the configuration in service."""
    months = view.outcomes().months
    last = min(challenger.origin, months[-1])
    windows = tuple(windows) or recent_challenge_windows(months[0] + MIN_HISTORY, last, gate.DEFAULT_WINDOWS)
    if not windows:
        note = f"no calendar year up to {last} has {MIN_HISTORY} months of history before it"
        return Examination("gate", False, notes=(note,))
    try:
        ours = backtest_of(view, challenger).run(home, windows, workers, on_window=on_window)
    except BadInput as error:
        return Examination("gate", False, windows, notes=(str(error),))
    theirs = backtest_of(view, champion).run(home, windows, workers) if champion else None
    checks = tuple(gate.run_checks(ours, theirs))
    return Examination("gate", gate.passes(checks), windows, checks)


def _champion(home: Home, model: Bundle) -> tuple[Bundle | None, str]:
    """Return the model in service of the same outcome and realm, or None and the reason."""
    path = bundle.champion(home.models, simulated=model.provenance.simulated, outcome=model.outcome)
    if path is None:
        return None, "no model is in service yet"
    try:
        return bundle.load(path), ""
    except Refused as error:
        return None, f"not compared with the model in service: {error}"
