"""Figures of a back-test as rows of text, the same for a terminal and for a card. It knows neither of them."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from riskmodel.forecasting.escalation import RULE
from riskmodel.scoring import Estimate
from training import alert_evaluation
from training.alert_evaluation import EARLIER, RATE, STANDS
from training.backtest import SERVED
from training.results import BATTLE, CHANCES, COVERAGES, ESCALATION, ONSET, Judged

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Headings, and rows as wide."""
LEADS_SHOWN = ((1, 3), (1, 12))
"""Of a rolling back-test."""
INTERVAL = "90 % interval"
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
    "AUROC": "{:.3f}".format,
    "AP": "{:.3f}".format,
    "difference": "{:+.1%}".format,
    "share": "{:.2f}".format,
    "months": "{:.0f}".format,
}
LEGEND = (
    "in 50 %, in 90 %: share of outcomes inside the interval, where the country had deaths in the year before, by the "
    "randomised PIT: an outcome that some of the draws equal is spread evenly over their share",
    "ew4s: the last 84 months, weight halving every 4, smoothed; conflictology12: the last twelve months again; "
    "history60: the last 60, weight halving every 9; last: Poisson around the last month; zero: certain peace",
)
EVENTS = (
    "escalation: the next three months have twice the deaths of the last three, and 25 at the least",
    "onset: a month of 25 deaths within twelve, in a country without one in five years",
    "h24: the share of the country's own last 24 sums of three months that would have been an escalation",
    "served: the draws, h24, or the draws and a regression: whichever did best in the five years before a January",
)
ALERTS = (
    f"an alert is raised where P(escalation) reaches a threshold, and stands {STANDS} months",
    f"threshold: in each window the lowest with at most {RATE:.0f} alert per country-year in the windows before it",
    "a year: alerts per country-year; precision: the share of alerts whose months held an escalation",
    "an episode is an unbroken run of months before an escalation, caught if an alert is raised within it; recall: the "
    "share of episodes that were caught; lead: months from the alert until the escalation, their median",
    "an onset is an episode that begins after five years without a month of 25 deaths, if the next year is known",
    "in brackets: the 90 % interval",
)
NO_ALERTS = f"No alerts yet: thresholds are fixed on {EARLIER} earlier windows, and there are no more than that."


def shown(score: str, value: float) -> str:
    """A figure as it is written in tables; a dash for one that is unknown."""
    return "–" if np.isnan(value) else _SHOWN.get(score, "{:.4f}".format)(value)


def relative(value: float, low: float, high: float) -> tuple[str, str]:
    """A relative difference and its interval, as they are written in tables."""
    return _told("difference", Estimate(value, low, high))


def coverages(judged: Judged, names: Sequence[str], seed: int) -> Rows:
    """Coverage over all windows, with its intervals, by component."""
    times = judged.resampled(np.random.default_rng(seed))
    rows = []
    for name in names:
        found = [(level, judged.coverage(level, name, times)) for level in COVERAGES]
        if not np.isnan(found[0][1].value):
            rows.append((name, *(text for level, share in found for text in _told(level, share))))
    return ("forecast", *(text for level in COVERAGES for text in (HEADINGS[level], INTERVAL))), rows


def events(judged: Judged, seed: int, chances: Sequence[str] = CHANCES) -> Rows:
    """How well probabilities told the events that came from those that did not, by event and component.

    Where the rule speaks, rows tell what the model, the first component, and what is served have more than it.
    """
    times, rows = judged.resampled(np.random.default_rng(seed)), []
    for what in chances:
        found = judged.events(what)
        ranked = {
            name: judged.ranking(what, name, times)
            for c, name in enumerate(judged.components)
            if not np.isnan(found["Brier"][c, -1])
        }
        for name, figures in ranked.items():
            c = judged.component(name)
            rows.append(
                (
                    HEADINGS[what],
                    name,
                    *(shown(score, found[score][c, -1]) for score in ("came", "Brier")),
                    *(text for figure in figures for text in _told("AP", Estimate.of(figure))),
                    " ".join("–" if np.isnan(ap) else f"{ap:.2f}" for ap in found["AP"][c, :-1]),
                )
            )
        for ours in _held_against_the_rule(judged, ranked):
            more = [one - other for one, other in zip(ranked[ours], ranked[RULE], strict=True)]
            told = (text for figure in more for text in _told("AP", Estimate.of(figure), "+"))
            rows.append((HEADINGS[what], f"{ours} − {RULE}", "", "", *told, ""))
    return ("event", "forecast", "came", "Brier", "AUROC", INTERVAL, "AP", INTERVAL, "AP by window"), rows


def alerts(judged: Judged, seed: int) -> tuple[Judged, Rows] | None:
    """What became of each component's alerts, with the windows they are of; None where there are too few of these."""
    if len(judged.windows) <= EARLIER:
        return None
    part, shares = judged.during(judged.windows[EARLIER:]), {}
    rows: list[tuple[str, ...]] = []
    times = part.resampled(np.random.default_rng(seed))
    for name in judged.components:
        its = alert_evaluation.tally(judged, name)
        if not its.years.any():
            continue
        shares[name] = (its.precision(times), its.recall(times))
        rows.append(
            (
                name,
                " ".join("–" if np.isinf(level) else f"{level:.3f}" for level in its.thresholds),
                f"{its.alerts.sum():.0f}",
                *(_in_one(Estimate.of(share)) for share in (its.a_year(times), *shares[name])),
                f"{its.caught.sum():.0f} of {its.episodes.sum():.0f}",
                shown("months", its.lead),
                f"{its.onsets_caught.sum():.0f} of {its.onsets.sum():.0f}",
            )
        )
    for ours in _held_against_the_rule(judged, shares):
        more = [_in_one(Estimate.of(one - other), "+") for one, other in zip(shares[ours], shares[RULE], strict=True)]
        rows.append((f"{ours} − {RULE}", "", "", "", *more, "", "", ""))
    headings = ("forecast", "thresholds", "alerts", "a year", "precision", "recall", "caught", "lead", "onsets")
    return part, (headings, rows)


def _held_against_the_rule(judged: Judged, known: Collection[str]) -> list[str]:
    """The model and what would be served of escalation, if they and the rule are known."""
    return [name for name in (judged.components[0], SERVED) if name in known and RULE in known]


def _told(kind: str, figure: Estimate, sign: str = "") -> tuple[str, str]:
    """A figure and its interval."""
    value, low, high = (shown(kind, number) for number in (figure.value, figure.low, figure.high))
    if sign:
        value, low, high = (
            text if text == "–" or text.startswith("-") else f"{sign}{text}" for text in (value, low, high)
        )
    return value, f"{low} to {high}" if np.isfinite(figure.low) else "–"


def _in_one(share: Estimate, sign: str = "") -> str:
    value, interval = _told("share", share, sign)
    return f"{value} ({interval})"
