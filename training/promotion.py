"""From a trained model to its judgement at the gate: which windows, which evidence, what stands beside it.

It knows the archive and the home, and no terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from riskmodel import bundle
from riskmodel.bundle import Bundle
from riskmodel.errors import BadInput, Refused
from riskmodel.events.view import View
from riskmodel.home import Home
from training import gate
from training.backtest_runner import Trial
from training.gate import Check
from training.registry import Promotion, promote
from training.result_store import Record, record, records
from training.results import Judged
from training.windows import Window, recent
from training.workers import ALONE, Workers

HISTORY_NEEDED = 60  # [months]
"""A window that begins sooner after the first month of the data has too little to learn from."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found: `notes` say what could not be asked, and why."""

    windows: tuple[Window, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may be put into service."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def judge(
    home: Home,
    view: View,
    challenger: Bundle,
    windows: Sequence[Window] = (),
    workers: Workers = ALONE,
    done: Callable[[Window], None] = lambda window: None,
) -> Verdict:
    """Hold a model's configuration, fitted anew in each window, against the simple forecasts and the champion's.

    By default on the latest calendar years up to the model's origin. Raises Refused for a model of another realm than
    the archive's.
    """
    if challenger.provenance.simulated != view.simulated:
        held = "simulated" if view.simulated else "real"
        raise Refused(f"the model {challenger.id} cannot be judged: the archive holds {held} data, and it saw other")
    months = view.outcomes().months
    last = min(challenger.origin, months[-1])
    asked = tuple(windows) or recent(months[0] + HISTORY_NEEDED, last, gate.WINDOWS)
    if not asked:
        return Verdict((), (), (f"no calendar year up to {last} has {HISTORY_NEEDED} months of history before it",))
    trial = trial_of(view, challenger)
    try:
        ours = trial.run(home, asked, workers, done=done)
    except BadInput as short:
        return Verdict(asked, (), (str(short),))
    theirs, note = _champion(home, view, challenger, asked, workers)
    return Verdict(asked, tuple(gate.checks(ours, theirs)), (note,) if note else ())


def enter(home: Home, model: Bundle, at: str, how: str, why: str, verdict: Verdict | None = None) -> None:
    """Put a model into service and write down what the gate found; `at` is ISO 8601 in UTC, `how` one of `HOW`."""
    checks = tuple(map(asdict, verdict.checks)) if verdict else ()
    windows = tuple(window.name for window in verdict.windows) if verdict else ()
    promote(home.models, Promotion(at, model.id, model.provenance.simulated, how, why, checks, windows))


def trial_of(view: View, model: Bundle, kind: str = "challenge") -> Trial:
    """The back-test of a model's configuration on an archive."""
    return Trial(view, model.outcome, model.model, model.provenance.seed, kind)


def evidence(home: Home, model: Bundle) -> list[Record]:
    """The back-tests of a model's configuration and code: first those on the data it learned from, then the newest."""
    facts = model.provenance
    found = [
        kept
        for kept in reversed(records(home))
        if (kept.setup.configuration, kept.setup.outcome, kept.setup.simulated, kept.setup.code)
        == (facts.configuration, facts.outcome, facts.simulated, facts.code)
    ]
    return sorted(found, key=lambda kept: kept.setup.data_digest != facts.data_digest)


def _champion(
    home: Home, view: View, challenger: Bundle, windows: Sequence[Window], workers: Workers
) -> tuple[Judged | None, str]:
    """The back-test of the model in service, or why there is none."""
    path = bundle.champion(home.models, simulated=view.simulated)
    if path is None:
        return None, "no model is in service yet"
    try:
        champion = bundle.load(path)
    except Refused as unusable:
        return None, f"not held against the model in service: {unusable}"
    if champion.outcome != challenger.outcome:
        return None, f"not held against the model in service: it forecasts {champion.outcome} deaths"
    ours, theirs = challenger.provenance, champion.provenance
    if (ours.configuration, ours.code) == (theirs.configuration, theirs.code):
        return None, "the model in service is of the same configuration and code: this is the same model, fitted anew"
    if ours.configuration != theirs.configuration:
        return trial_of(view, champion).run(home, windows, workers), ""
    kept = record(home, replace(trial_of(view, champion).setup, code=theirs.code))
    if all(map(kept.has, windows)):
        return kept.read(windows), ""
    return None, (
        "not held against the model in service: it is of the same configuration and of code that is not here any more, "
        "and no back-test of it on these data and windows is kept"
    )
