"""Put models into service: run the gate on an archive, and record why.

It knows the archive and the home, and no terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from riskmodel import bundle
from riskmodel.bundle import Bundle
from riskmodel.errors import BadInput, Refused
from riskmodel.events.view import View
from riskmodel.home import Home
from training import gate
from training.backtest_runner import Backtest
from training.gate import Check
from training.registry import JournalEntry, promote
from training.result_store import StoredBacktest, stored_backtest, stored_backtests
from training.results import BacktestResult
from training.train import iso_seconds
from training.windows import Window, recent_challenge_windows
from training.workers import THIS_PROCESS, Workers

MIN_HISTORY = 60  # [months]
"""A window needs this much data before its origin: with less there is too little to learn from."""


@dataclass(frozen=True)
class GateResult:
    """What the gate found. `notes` say which comparison was not possible, and why."""

    windows: tuple[Window, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may be put into service."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Offer:
    """The result of offering a new model to the service.

    `action` is how the model was put into service (see `registry.ACTION_LABELS`); None where it was not, because
    `champion`, the model in service before, stays. `gate_result` is None where the gate did not run.
    """

    action: str | None
    champion: str | None
    gate_result: GateResult | None = None


def run_gate(
    home: Home,
    view: View,
    challenger: Bundle,
    windows: Sequence[Window] = (),
    workers: Workers = THIS_PROCESS,
    on_window: Callable[[Window], None] = lambda window: None,
) -> GateResult:
    """Back-test a model's configuration and compare it with the simple forecasters and with the model in service.

    By default on the latest calendar years up to the model's origin. Raises Refused for a model that was trained on
    simulated data where the archive has real data, or the other way round.
    """
    if challenger.provenance.simulated != view.simulated:
        realm = "simulated" if view.simulated else "real"
        raise Refused(f"the model {challenger.id} cannot be evaluated: the archive has {realm} data, the model had not")
    months = view.outcomes().months
    last = min(challenger.origin, months[-1])
    windows = tuple(windows) or recent_challenge_windows(months[0] + MIN_HISTORY, last, gate.DEFAULT_WINDOWS)
    if not windows:
        return GateResult((), (), (f"no calendar year up to {last} has {MIN_HISTORY} months of history before it",))
    try:
        ours = backtest_of(view, challenger).run(home, windows, workers, on_window=on_window)
    except BadInput as error:
        return GateResult(windows, (), (str(error),))
    theirs, note = _champion_result(home, view, challenger, windows, workers)
    return GateResult(windows, tuple(gate.run_checks(ours, theirs)), (note,) if note else ())


def put_into_service(
    home: Home, model: Bundle, now: datetime, action: str, reason: str = "", gate_result: GateResult | None = None
) -> None:
    """Put a model into service and record what the gate found.

    `now` is in UTC, `action` a key of `registry.ACTION_LABELS`.
    """
    checks = tuple(map(asdict, gate_result.checks)) if gate_result else ()
    windows = tuple(window.name for window in gate_result.windows) if gate_result else ()
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
    """Put a new model into service: at once where no model can serve, else if it passes the gate.

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
    except Refused as damaged:
        unusable = str(damaged)
    if unusable:
        put_into_service(home, model, now, "replacement", unusable)
        return Offer("replacement", champion.name)
    result = run_gate(home, view, model, workers=workers, on_window=on_window)
    if result.passed:
        put_into_service(home, model, now, "gate", gate_result=result)
    return Offer("gate" if result.passed else None, champion.name, result)


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


def _champion_result(
    home: Home, view: View, challenger: Bundle, windows: Sequence[Window], workers: Workers
) -> tuple[BacktestResult | None, str]:
    """Return the back-test of the model in service, or None and the reason."""
    path = bundle.champion(home.models, simulated=view.simulated, outcome=challenger.outcome)
    if path is None:
        return None, "no model is in service yet"
    try:
        champion = bundle.load(path)
    except Refused as error:
        return None, f"not compared with the model in service: {error}"
    ours, theirs = challenger.provenance, champion.provenance
    if (ours.configuration, ours.code) == (theirs.configuration, theirs.code):
        return None, "not compared with the model in service: it has the same configuration and code"
    if ours.configuration != theirs.configuration:
        return backtest_of(view, champion).run(home, windows, workers), ""
    # The code that trained the champion is gone: only a back-test that was stored then can stand for it.
    stored = stored_backtest(home, replace(backtest_of(view, champion).setup, code=theirs.code))
    if all(map(stored.has, windows)):
        return stored.read(windows), ""
    return None, (
        "not compared with the model in service: it was trained by other code. "
        "No back-test by that code is stored for these data and windows"
    )
