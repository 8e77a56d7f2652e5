"""Print back-tests, comparisons, gate results and lists of models as tables on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.scoring import Estimate
from training import as_known, gate
from training.backtest_alerts import shipped_threshold
from training.formatting import INTERVAL_HEADING, LABELS, format_difference, format_outcome, format_value
from training.gate import RULE_MEANINGS
from training.promotion import Examination
from training.registry import ACTION_LABELS
from training.result_tables import (
    ALERT_NOTES,
    EVENT_NOTES,
    NO_THRESHOLDS,
    SCORE_NOTES,
    Rows,
    alert_rows,
    coverage_rows,
    event_rows,
    shipped_alert_rows,
)
from training.results import COVERAGES, EVENTS, LOSSES, BacktestResult

AS_KNOWN_SCORES = ("crps", "log_crps", "ign")
AS_KNOWN_NOTES = (
    "final: from the newest figures; reported: from those published by the origin, as if final; revised: from these, "
    "with the revision model",
    "cost: reported against final; gain: revised against reported; won back: the share of the cost that is regained",
)
REFERENCE = "conflictology12"
"""The forecaster that the others are compared with."""


def print_means(result: BacktestResult, console: Console) -> None:
    """Print the mean scores of each forecaster by window, and over all windows."""
    scores = (*LOSSES, *COVERAGES)
    table = _make_table("window", "forecaster", *(LABELS[score] for score in scores))
    means = {score: result.means(score) for score in scores}
    rows = [row for row in range(len(result.forecasters)) if not np.isnan(means["crps"][row]).all()]
    for column, window in enumerate([*(window.name for window in result.windows), "all"]):
        for row in rows:
            table.add_row(
                window if row == rows[0] else "",
                result.forecasters[row],
                *(format_value(score, means[score][row, column]) for score in scores),
                end_section=row == rows[-1],
            )
    console.print(table)
    _print_notes(SCORE_NOTES, console)


def print_differences(result: BacktestResult, console: Console, seed: int) -> None:
    """Print each forecaster's losses relative to the reference, with their intervals and the windows won."""
    headings = (f"against {REFERENCE}", "score", "difference", INTERVAL_HEADING, "windows won")
    table = _make_table(*headings)
    for forecaster in result.forecasters:
        if forecaster == REFERENCE or np.isnan(result.scores["crps"][result.index_of(forecaster)]).all():
            continue
        for score in LOSSES:
            difference = result.difference(score, forecaster, REFERENCE, np.random.default_rng(seed))
            table.add_row(
                forecaster if score == LOSSES[0] else "",
                LABELS[score],
                *format_difference(difference.estimate),
                f"{difference.windows_won} of {difference.windows}",
            )
    console.print(table)
    console.print(f"{_difference_note(result)}\n")


def print_comparison(result: BacktestResult, console: Console, seed: int) -> None:
    """Print the losses of two forecasters, and those of the first relative to the second."""
    ours, theirs = result.forecasters
    table = _make_table("score", ours, theirs, "difference", INTERVAL_HEADING, f"windows won by {ours}")
    table.columns[1].justify = "right"
    for score in LOSSES:
        difference = result.difference(score, ours, theirs, np.random.default_rng(seed))
        table.add_row(
            LABELS[score],
            *(format_value(score, mean) for mean in result.means(score)[:, -1]),
            *format_difference(difference.estimate),
            f"{difference.windows_won} of {difference.windows}",
        )
    console.print(table)
    for level in COVERAGES:
        our_coverage, their_coverage = (format_value(level, mean) for mean in result.means(level)[:, -1])
        console.print(f"{LABELS[level]} of active country-months: {our_coverage} and {their_coverage}")
    console.print(_difference_note(result))


def print_cost_of_not_knowing(result: BacktestResult, console: Console, seed: int) -> None:
    """Print the mean losses from final, reported and revised figures, what not knowing costs and what is won back."""
    headings = ("forecaster", "score", *as_known.BASES, "cost", INTERVAL_HEADING, "gain", INTERVAL_HEADING, "won back")
    table = _make_table(*headings)
    for forecaster in dict.fromkeys(name.rpartition(", ")[0] for name in result.forecasters):
        for score in AS_KNOWN_SCORES:
            rng = np.random.default_rng(seed)
            means = [
                result.means(score)[result.index_of(as_known.name_of(forecaster, basis)), -1]
                for basis in as_known.BASES
            ]
            found = as_known.cost_of_not_knowing(result, forecaster, score, rng)
            table.add_row(
                forecaster if score == AS_KNOWN_SCORES[0] else "",
                LABELS[score],
                *(format_value(score, mean) for mean in means),
                *format_difference(found.cost),
                *format_difference(found.gain),
                format_value("won_back", found.won_back),
                end_section=score == AS_KNOWN_SCORES[-1],
            )
    console.print(table)
    _print_notes((*AS_KNOWN_NOTES, _difference_note(result)), console)


def print_coverage(result: BacktestResult, console: Console, seed: int) -> None:
    """Print the coverage of each forecaster, with its interval."""
    print_rows(coverage_rows(result, result.forecasters, seed), console)
    console.print(f"{_interval_note(result)}\n")


def print_events(result: BacktestResult, console: Console, seed: int, events: Sequence[str] = EVENTS) -> None:
    """Print how well probabilities separate months with an event from months without."""
    print_rows(event_rows(result, seed, events), console)
    _print_notes((*EVENT_NOTES, _interval_note(result)), console)


def print_alerts(result: BacktestResult, with_earlier: BacktestResult, console: Console, seed: int) -> None:
    """Print the alerts that would have been raised: at the threshold that ships, and at those fixed on earlier windows.

    `with_earlier` has earlier windows too.
    """
    console.print(f"alerts of escalation in {_names(result)}, at the threshold that ships, {shipped_threshold():.2f}")
    print_rows(shipped_alert_rows(result, seed), console)
    if (evaluated := alert_rows(with_earlier, seed)) is None:
        console.print(NO_THRESHOLDS)
    else:
        part, rows = evaluated
        console.print(f"\nalerts of escalation in {_names(part)}, at thresholds fixed on the windows before")
        print_rows(rows, console)
    _print_notes((*ALERT_NOTES, _interval_note(result)), console)


def _names(result: BacktestResult) -> str:
    return ", ".join(window.name for window in result.windows)


def print_examination(found: Examination, outcome: str, console: Console) -> None:
    """Print what was found about a refit or a challenger."""
    names = ", ".join(window.name for window in found.windows)
    if found.action == "refit":
        since = f", {names}, all countries" if names else ""
        console.print(f"the refit, next to the model before: {format_outcome(outcome)}{since}")
    elif names:
        console.print(
            f"the gate: {format_outcome(outcome)}, all countries, windows {names}, data to October of the year before, "
            "leads 3-14"
        )
    for note in found.notes:
        console.print(note)
    if not found.checks:
        return
    table = _make_table("against", "score", "rule", "difference", INTERVAL_HEADING, "windows won", "")
    for check in found.checks:
        table.add_row(
            check.against,
            LABELS[check.score],
            check.rule,
            *format_difference(Estimate(check.value, check.low, check.high)),
            f"{check.won} of {check.windows}",
            gate.mark(check, found.checks),
        )
    console.print(table)
    rules = dict.fromkeys(check.rule for check in found.checks)
    console.print("; ".join(f"{rule}: {RULE_MEANINGS[rule]}" for rule in rules))
    console.print("losses: lower is better; a negative difference is a lower loss")


def print_models(models: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print all models of a home, and how each entered service; `models` are those of `registry.list_models`."""
    table = _make_table("model", "trained", "origin", "outcome", "seed", "in service", "last put into service")
    for column in table.columns[2:]:
        column.justify = "left"
    for model in models:
        if model["damaged"]:
            table.add_row(model["model"], model["damaged"], *[""] * 3, _service_state(model), "")
            continue
        table.add_row(
            model["model"],
            model["trained_at"][:16].replace("T", " "),
            model["origin"],
            OUTCOME_LABELS[model["outcome"]]["en"],
            str(model["seed"]),
            _service_state(model),
            _last_promotion(model),
        )
    console.print(table)
    for model in models:
        if refit := model["refit"]:
            what = "refit overdue" if refit["overdue"] else "refit due" if refit["due"] else "next refit"
            newer = f"the data are {refit['age_months']} months newer"
            console.print(f"{model['model']}: {newer}; {what} ({refit['policy']}): {refit['description']}")


def _service_state(model: Mapping[str, Any]) -> str:
    return "yes" if model["in_service"] else "in its shadow" if model["in_shadow"] else ""


def _last_promotion(model: Mapping[str, Any]) -> str:
    promoted = model["promoted"]
    text = f"{promoted['at'][:10]} {ACTION_LABELS[promoted['action']]}" if promoted else "never"
    if promoted and promoted["reason"]:
        text += f": {promoted['reason']}"
    if model["outdated"]:
        text += f"; can no longer serve: it {model['outdated']}"
    return text


def _interval_note(result: BacktestResult) -> str:
    return f"the interval is that of a bootstrap over {result.bootstrap_unit}"


def _difference_note(result: BacktestResult) -> str:
    return (
        "losses: lower is better; a negative difference is a lower loss; a window is won by the lower mean loss; "
        f"the interval is that of a paired bootstrap over {result.bootstrap_unit}"
    )


def _print_notes(notes: Sequence[str], console: Console) -> None:
    console.print("\n".join(notes) + "\n")


def print_rows(rows: Rows, console: Console) -> None:
    """Print a table; rows that begin with the same cell show it once."""
    headings, lines = rows
    table, previous = _make_table(*headings), ""
    for first, *rest in lines:
        table.add_row("" if first == previous else first, *rest)
        previous = first
    console.print(table)


def _make_table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < 2 else "right")
    return table
