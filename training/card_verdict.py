"""The first lines of a model card: how good the model is, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from riskmodel import geography
from riskmodel.bundle import Bundle
from riskmodel.scoring import Estimate
from training import gate
from training.formatting import INTERVAL_HEADING, LABELS, format_difference, format_outcome
from training.gate import RULE_MEANINGS, Check
from training.registry import ACTION_LABELS, JournalEntry
from training.report import Block, BulletList, Heading, Paragraph, Table
from training.result_store import StoredBacktest
from training.results import LOSSES, BacktestResult

BASELINES = {
    "conflictology12": "repeating the last twelve months (conflictology12)",
    "ew4s": "a smoothed history (ew4s)",
}
BOOTSTRAP_SEED = 0


def verdict_blocks(
    model: Bundle, backtest: StoredBacktest | None, entry: JournalEntry | None, region: str
) -> Iterator[Block]:
    """Yield the verdict on a model, from its back-test on past years; `entry` says how it last entered service."""
    yield Heading("In short")
    if backtest is None:
        yield BulletList(
            (f"How good it is on past years is not known: {missing_backtest(model)}", _in_service(model, entry))
        )
        return
    result, ours = backtest.read(backtest.windows), backtest.setup.model
    windows = [window.name for window in result.windows]
    years = windows[0] if len(windows) == 1 else f"{windows[0]}-{windows[-1]}"
    part = result.for_countries(geography.region(region).members)
    lines = [
        f"{years}, {len(result.iso3)} countries: {'; '.join(_compared(result, ours, other) for other in BASELINES)}.",
        _coverage(result, ours),
        _in_service(model, entry),
    ]
    if part.has_outcomes:
        region_line = "; ".join(_compared(part, ours, other) for other in BASELINES)
        lines.insert(1, f"The region of {region}, {len(part.iso3)} countries: {region_line}.")
    if purpose := _purpose(result, ours):
        lines.insert(-1, purpose)
    yield BulletList(lines)
    checks = gate.run_checks(result, None)
    passed = "It fulfils" if gate.passes(checks) else "It does NOT fulfil"
    yield Paragraph(f"{passed} what the gate asks of every model, on all countries, windows {', '.join(windows)}:")
    yield checks_table([asdict(check) for check in checks])
    yield rule_notes({check.rule for check in checks})


def missing_backtest(model: Bundle, kind: str = "challenge") -> str:
    """Return a sentence with the command that makes a back-test of a model."""
    years = "--windows 2018:2022" if kind == "challenge" else "--rolling 2018:2022"
    command = f"vigie backtest {years} --outcome {model.outcome}"
    return f"no back-test of this configuration and code is stored. Run {command}."


def checks_table(checks: Sequence[dict[str, object]]) -> Table:
    """Return checks of the gate, or of the guard of a refit, as a table."""
    found = [Check(**values) for values in checks]  # type: ignore[arg-type]  # from JSON
    rows = [
        (
            str(check.against),
            LABELS.get(check.score, check.score),
            check.rule,
            *format_difference(Estimate(check.value, check.low, check.high)),
            f"{check.won} of {check.windows}",
            gate.mark(check, found) or "yes",
        )
        for check in found
    ]
    return Table(("against", "score", "rule", "difference", INTERVAL_HEADING, "windows won", "met"), rows)


def rule_notes(rules: set[str]) -> Paragraph:
    """Explain the rules of a table of checks."""
    meanings = "; ".join(f"{rule}: {meaning}" for rule, meaning in RULE_MEANINGS.items() if rule in rules)
    return Paragraph(f"{meanings}. A negative difference is a lower loss.")


def _compared(result: BacktestResult, ours: str, other: str) -> str:
    """Say on which losses a model is better or worse than a baseline, by the interval of the difference."""
    better, worse = [], []
    for score in LOSSES:
        found = result.difference(score, ours, other, np.random.default_rng(BOOTSTRAP_SEED)).estimate
        text = f"{LABELS[score]} ({found.value:+.1%})"
        if found.high < 0:
            better.append(text)
        elif found.low > 0:
            worse.append(text)
    parts = [f"{word} on {', '.join(scores)}" for word, scores in (("better", better), ("worse", worse)) if scores]
    clear = " and ".join(parts) or "neither better nor worse"
    rest = "" if len(better) + len(worse) == len(LOSSES) else ", no clear difference on the other losses"
    return f"{clear} than {BASELINES[other]}{rest if parts else ' on any loss'}"


def _coverage(result: BacktestResult, ours: str) -> str:
    held = {level: result.means(level)[result.index_of(ours), -1] for level in ("within_50", "within_90")}
    if np.isnan(list(held.values())).any():
        return "How much its intervals hold is not known: no country had a death in the year before."
    return (
        f"Its 50 % interval held {held['within_50']:.0%} and its 90 % interval {held['within_90']:.0%} of the outcomes "
        "of countries with deaths in the year before."
    )


def _purpose(result: BacktestResult, ours: str) -> str:
    """Say what the served pool is for, where the best baseline does as well on CRPS and log-CRPS."""
    found = {
        score: result.difference(score, ours, "ew4s", np.random.default_rng(BOOTSTRAP_SEED)).estimate
        for score in ("crps", "log_crps", "ign")
    }
    if ours != "pool" or (found["crps"].high < 0 and found["log_crps"].high < 0):
        return ""
    ign = found["ign"]
    if ign.high < 0:
        class_of_outcome = "it gives the class of the outcome more probability"
    else:
        class_of_outcome = "its IGN is no worse" if ign.low <= 0 else "although its IGN is higher"
    return (
        "What the pool is for, where ew4s alone does at least as well on CRPS and log-CRPS: drivers and what-ifs can "
        f"explain its scores, its draws are joint over the months, and {class_of_outcome} (IGN {ign.value:+.1%}, "
        f"interval {ign.low:+.1%} to {ign.high:+.1%})."
    )


def _in_service(model: Bundle, entry: JournalEntry | None) -> str:
    made = f"It forecasts {format_outcome(model.outcome)} and learned from data to {model.origin}"
    if entry is None:
        return f"{made}. It has not been in service."
    return f"{made}. It entered service on {entry.at[:10]}: {ACTION_LABELS[entry.action]}."
