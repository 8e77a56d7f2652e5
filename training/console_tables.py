"""What a person at a terminal sees of a back-test or a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from training import figures
from training.figures import ALERTS, EVENTS, HEADINGS, LEGEND, NO_ALERTS, Rows, relative, shown
from training.gate import BETTER_MEANS, NOT_WORSE_MEANS, Check
from training.registry import HOW
from training.results import CHANCES, COVERAGES, LOSSES, Judged

AGAINST = "conflictology12"


def means(judged: Judged, console: Console) -> None:
    """Each component's scores by window, and over all."""
    table = _table("window", "forecast", *(HEADINGS.get(score, score) for score in (*LOSSES, *COVERAGES)))
    found = {score: judged.means(score) for score in (*LOSSES, *COVERAGES)}
    components = [c for c in range(len(judged.components)) if not np.isnan(found["CRPS"][c]).all()]
    for w, window in enumerate([*(window.name for window in judged.windows), "all"]):
        for c in components:
            table.add_row(
                window if c == components[0] else "",
                judged.components[c],
                *(shown(score, found[score][c, w]) for score in (*LOSSES, *COVERAGES)),
                end_section=c == components[-1],
            )
    console.print(table)
    _explain(LEGEND, console)


def differences(judged: Judged, console: Console, seed: int, against: str = AGAINST) -> None:
    """Each component's losses relative to another's, with their intervals and the windows won."""
    table = _table(f"against {against}", "score", "difference", "90 % interval", "windows won")
    for component in judged.components:
        known = component != against and not np.isnan(judged.cells["CRPS"][judged.component(component)]).all()
        for score in LOSSES if known else ():
            found, won = judged.difference(score, component, against, np.random.default_rng(seed))
            table.add_row(
                component if score == LOSSES[0] else "",
                score,
                *relative(found.value, found.low, found.high),
                "{} of {}".format(*won),
            )
    console.print(table)
    console.print(f"{_paired(judged)}\n")


def comparison(judged: Judged, console: Console, seed: int) -> None:
    """The losses of two forecasts, and the first relative to the second."""
    ours, theirs = judged.components
    table = _table("score", ours, theirs, "difference", "90 % interval", f"windows won by {ours}")
    table.columns[1].justify = "right"
    for score in LOSSES:
        found, won = judged.difference(score, ours, theirs, np.random.default_rng(seed))
        one, other = judged.means(score)[:, -1]
        table.add_row(
            HEADINGS.get(score, score),
            shown(score, one),
            shown(score, other),
            *relative(found.value, found.low, found.high),
            "{} of {}".format(*won),
        )
    console.print(table)
    for level in COVERAGES:
        one, other = judged.means(level)[:, -1]
        console.print(f"{HEADINGS[level]} of active country-months: {shown(level, one)} and {shown(level, other)}")
    console.print(_paired(judged))


def coverage(judged: Judged, console: Console, seed: int) -> None:
    """How much the intervals of each component held, with what could be luck in it."""
    _rows(figures.coverages(judged, judged.components, seed), console)
    console.print(f"the interval is that of a bootstrap over {judged.unit}\n")


def events(judged: Judged, console: Console, seed: int, chances: Sequence[str] = CHANCES) -> None:
    """How well probabilities told the events that came from those that did not, over all windows and by window."""
    _rows(figures.events(judged, seed, chances), console)
    _explain((*EVENTS, f"the interval is that of a bootstrap over {judged.unit}"), console)


def alerts(judged: Judged, console: Console, seed: int) -> None:
    """What became of the alerts that would have been raised, where thresholds could be fixed on earlier windows."""
    if (found := figures.alerts(judged, seed)) is None:
        console.print(f"{NO_ALERTS}\n")
        return
    part, rows = found
    console.print(f"alerts of escalation in {', '.join(window.name for window in part.windows)}")
    _rows(rows, console)
    _explain((*ALERTS, f"the interval is that of a bootstrap over {part.unit}"), console)


def voices(choice: Mapping[str, Any]) -> str:
    """Who speaks of escalation beside a model, and what decided it, in words."""
    told = ", ".join(f"{voice} {score:.4f}" for voice, score in choice["Brier"].items())
    held_out = f"{choice['cases']} country-months of the origins {choice['origins']}, {choice['events']} escalations"
    why = f"Brier {told} on {held_out}" if told else f"too few to choose by: {held_out}"
    return f"escalation is said by: {choice['model']} ({why})"


def verdict(checks: Sequence[Check], console: Console) -> None:
    """What the gate asked, and what it found."""
    table = _table("against", "score", "asked", "difference", "90 % interval", "windows won", "")
    for check in checks:
        table.add_row(
            check.against,
            check.score,
            check.rule,
            *relative(check.value, check.low, check.high),
            f"{check.won} of {check.windows}",
            "" if check.passed else "NOT MET",
        )
    console.print(table)
    console.print(f"better: {BETTER_MEANS}; not worse: {NOT_WORSE_MEANS}")


def models(listed: Sequence[Mapping[str, Any]], console: Console) -> None:
    """All models of a home, and how each came into service."""
    table = _table("model", "trained", "origin", "outcome", "seed", "in service", "last put into service")
    for column in table.columns[2:]:
        column.justify = "left"
    for row in listed:
        if row["damaged"]:
            table.add_row(row["model"], row["damaged"], *[""] * 3, _standing(row), "")
            continue
        promoted = row["promoted"]
        told = f"{promoted['at'][:10]} {HOW[promoted['how']]}" if promoted else "never"
        if promoted and promoted["why"]:
            told += f": {promoted['why']}"
        if row["outgrown"]:
            told += f"; cannot serve any more: it {row['outgrown']}"
        table.add_row(
            row["model"],
            row["trained_at"][:16].replace("T", " "),
            row["origin"],
            row["outcome"],
            str(row["seed"]),
            _standing(row),
            told,
        )
    console.print(table)


def _standing(row: Mapping[str, Any]) -> str:
    return "yes" if row["in_service"] else "in its shadow" if row["in_shadow"] else ""


def _paired(judged: Judged) -> str:
    return f"the interval is that of a paired bootstrap over {judged.unit}; a window is won by the lower mean"


def _explain(lines: Sequence[str], console: Console) -> None:
    console.print("\n".join(lines) + "\n")


def _rows(said: Rows, console: Console) -> None:
    """A table whose first cell is told once for the rows that begin with it."""
    headings, rows = said
    table, before = _table(*headings), ""
    for first, *rest in rows:
        table.add_row("" if first == before else first, *rest)
        before = first
    console.print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < 2 else "right")
    return table
