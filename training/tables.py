"""What a person at a terminal sees of a back-test or a comparison."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from training.gate import BETTER_MEANS, NOT_WORSE_MEANS, Check
from training.judged import BATTLE, CHANCES, COVERAGES, ESCALATION, LOSSES, ONSET, Judged
from training.registry import HOW

AGAINST = "conflictology12"
HEADINGS = {
    "Brier": "Brier ≥ 25",
    "50 %": "in 50 %",
    "90 %": "in 90 %",
    BATTLE: "a month of 25 deaths or more",
    ESCALATION: "escalation",
    ONSET: "onset",
}
_SHOWN: dict[str, Callable[[float], str]] = {
    "CRPS": "{:.3f}".format,
    "MIS": "{:.1f}".format,
    "50 %": "{:.1%}".format,
    "90 %": "{:.1%}".format,
    "came": "{:.0f}".format,
}
LEGEND = (
    "in 50 %, in 90 %: share of outcomes inside the interval, where the country had deaths in the year before\n"
    "ew4s: the last 84 months, weight halving every 4, smoothed; conflictology12: the last twelve months again;\n"
    "history60: the last 60, weight halving every 9; last: Poisson around the last month; zero: certain peace\n"
)


def shown(score: str, value: float) -> str:
    """A figure as it is written in tables; a dash for one that is unknown."""
    return "–" if np.isnan(value) else _SHOWN.get(score, "{:.4f}".format)(value)


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
    console.print(LEGEND)


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
                f"{found.value:+.1%}",
                f"{found.low:+.1%} to {found.high:+.1%}",
                "{} of {}".format(*won),
            )
    console.print(table)
    console.print("the interval is that of a paired bootstrap over countries; a window is won by the lower mean\n")


def comparison(judged: Judged, console: Console, seed: int) -> None:
    """The losses of two forecasts, and the first relative to the second."""
    ours, theirs = judged.components
    table = _table("score", ours, theirs, "difference", "90 % interval", f"windows won by {ours}")
    table.columns[1].justify = "right"
    for score in LOSSES:
        found, won = judged.difference(score, ours, theirs, np.random.default_rng(seed))
        one, other = judged.means(score)[:, -1]
        interval = f"{found.low:+.1%} to {found.high:+.1%}"
        table.add_row(
            HEADINGS.get(score, score),
            shown(score, one),
            shown(score, other),
            f"{found.value:+.1%}",
            interval,
            "{} of {}".format(*won),
        )
    console.print(table)
    for level in COVERAGES:
        one, other = judged.means(level)[:, -1]
        console.print(f"{HEADINGS[level]} of active country-months: {shown(level, one)} and {shown(level, other)}")
    console.print("the interval is that of a paired bootstrap over countries; a window is won by the lower mean")


def events(judged: Judged, console: Console, chances: Sequence[str] = CHANCES) -> None:
    """How well probabilities told the events that came from those that did not, over all windows and by window."""
    table = _table("event", "forecast", "came", "Brier", "AUROC", "AP", "AP by window")
    for what in chances:
        found = judged.events(what)
        told = [c for c in range(len(judged.components)) if not np.isnan(found["Brier"][c, -1])]
        for c in told:
            table.add_row(
                HEADINGS[what] if c == told[0] else "",
                judged.components[c],
                *(shown(score, found[score][c, -1]) for score in ("came", "Brier", "AUROC", "AP")),
                " ".join("–" if np.isnan(ap) else f"{ap:.2f}" for ap in found["AP"][c, :-1]),
                end_section=c == told[-1],
            )
    console.print(table)
    console.print(
        "escalation: the next three months have twice the deaths of the last three, and 25 at the least\n"
        "onset: a month of 25 deaths within twelve, in a country without one in five years\n"
        "h24: the share of the country's own last 24 sums of three months that would have been an escalation\n"
        "served: the draws, h24, or the draws and a regression: whichever did best in the five years before a January\n"
    )


def voices(choice: Mapping[str, Any]) -> str:
    """Who speaks of escalation beside a model, and what decided it, in words."""
    told = ", ".join(f"{voice} {score:.4f}" for voice, score in choice["Brier"].items())
    held_out = f"{choice['cases']} country-months of the origins {choice['origins']}, {choice['events']} escalations"
    why = f"Brier {told} on {held_out}" if told else f"too few to choose by: {held_out}"
    return f"escalation is said by: {choice['speaks']} ({why})"


def verdict(checks: Sequence[Check], console: Console) -> None:
    """What the gate asked, and what it found."""
    table = _table("against", "score", "asked", "difference", "90 % interval", "windows won", "")
    for check in checks:
        table.add_row(
            check.against,
            check.score,
            check.rule,
            f"{check.value:+.1%}",
            f"{check.low:+.1%} to {check.high:+.1%}",
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


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < 2 else "right")
    return table
