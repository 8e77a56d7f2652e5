"""Tables of a back-test as rows of text, the same for a terminal and for a model card."""

from collections.abc import Collection, Sequence

import numpy as np

from riskmodel.forecasting.escalation import RULE
from riskmodel.scoring import Estimate
from training.backtest_alerts import (
    MAX_ALERTS_PER_YEAR,
    MIN_EARLIER_WINDOWS,
    evaluate_alerts,
    shipped_threshold,
)
from training.evaluation import SERVED
from training.formatting import (
    INTERVAL_HEADING,
    LABELS,
    UNKNOWN,
    format_estimate,
    format_share,
    format_value,
)
from training.results import COVERAGES, EVENTS, BacktestResult

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""The headings of a table, and rows of the same width."""
KIND_DESCRIPTIONS = {
    "challenge": "data to October of the year before, leads 3-14",
    "rolling": "every month-end, refitted each January, leads 1-12",
}
LEAD_RANGES = ((1, 3), (1, 12))
"""The ranges of leads that a rolling back-test is shown for [months]."""
SCORE_NOTES = (
    "CRPS, log-CRPS, IGN, MIS and Brier are mean losses: lower is better",
    "in 50 %, in 90 %: share of outcomes inside the interval, in countries with deaths in the year before; 50 and 90 % "
    "are best",
    "an outcome that equals some of the draws is inside in part (randomised PIT)",
    "ew4s: the last 84 months, weight halving every 4, smoothed; conflictology12: the last twelve months again; "
    "history60: the last 60, weight halving every 9; last: Poisson around the last month; zero: no deaths",
)
EVENT_NOTES = (
    "Brier: lower is better; AUROC and AP (average precision): higher is better",
    "escalation: the next three months have at least twice the deaths of the last three, and at least 25",
    "onset: a month of 25 deaths within twelve, in a country without one in five years",
    "h24: the share of the country's own last 24 sums of three months that would be an escalation",
    "served: the draws, h24, or the draws and a regression: whichever did best in the five years before a January",
)
ALERT_NOTES = (
    "an alert fires and clears as one of the shipped rule of escalation does, whose `clear_at` stays in proportion",
    "thresholds: of each window, the one that catches most escalations with at most "
    f"{MAX_ALERTS_PER_YEAR:.0f} alert per country-year in the windows before",
    "right: of the alerts; a year: alerts per country-year",
    "precision: the share of alerts that an escalation followed within three months; higher is better",
    "an episode is an unbroken run of months before an escalation; an alert that fires within it catches it",
    "recall: the share of episodes that were caught; higher is better",
    "lead: the median of the months from the alert to the escalation",
    "onsets: caught runs of months with a month of 25 deaths in the year ahead, after five years without one",
    f"in brackets: the {INTERVAL_HEADING}",
)
NO_THRESHOLDS = (
    f"No thresholds yet: they are chosen on {MIN_EARLIER_WINDOWS} earlier windows, and there are no more than that."
)


def coverage_rows(result: BacktestResult, forecasters: Sequence[str], seed: int) -> Rows:
    """Return the coverage of each forecaster over all windows, with its intervals."""
    counts, rows = result.resampled(np.random.default_rng(seed)), []
    for forecaster in forecasters:
        estimates = [(level, result.coverage(level, forecaster, counts)) for level in COVERAGES]
        if not np.isnan(estimates[0][1].value):
            rows.append((forecaster, *(text for level, share in estimates for text in format_estimate(level, share))))
    return ("forecaster", *(text for level in COVERAGES for text in (LABELS[level], INTERVAL_HEADING))), rows


def event_rows(result: BacktestResult, seed: int, events: Sequence[str] = EVENTS) -> Rows:
    """Return how well each forecaster's probabilities separate months with an event from months without.

    Where the rule h24 forecasts an event, more rows give the difference to it: of the model (the first forecaster)
    and of what is served.
    """
    counts = result.resampled(np.random.default_rng(seed))
    rows: list[tuple[str, ...]] = []
    for event in events:
        skill = result.event_skill(event)
        rankings = {
            forecaster: result.ranking(event, forecaster, counts)
            for row, forecaster in enumerate(result.forecasters)
            if not np.isnan(skill["brier"][row, -1])
        }
        for forecaster, resamples in rankings.items():
            row = result.index_of(forecaster)
            by_window = skill["average_precision"][row, :-1]
            rows.append(
                (
                    LABELS[event],
                    forecaster,
                    *(format_value(name, skill[name][row, -1]) for name in ("events", "brier")),
                    *(text for of in resamples for text in format_estimate("auroc", Estimate.from_bootstrap(of))),
                    " ".join(UNKNOWN if np.isnan(precision) else f"{precision:.2f}" for precision in by_window),
                )
            )
        for ours in _compared_with_rule(result, rankings):
            gains = [one - other for one, other in zip(rankings[ours], rankings[RULE], strict=True)]
            texts = (
                text for gain in gains for text in format_estimate("auroc", Estimate.from_bootstrap(gain), signed=True)
            )
            rows.append((LABELS[event], f"{ours} − {RULE}", "", "", *texts, ""))
    headings = ("event", "forecaster", "observed", "Brier", "AUROC", INTERVAL_HEADING, "AP", INTERVAL_HEADING)
    return (*headings, "AP by window"), rows


def alert_rows(result: BacktestResult, seed: int) -> tuple[BacktestResult, Rows] | None:
    """Return each forecaster's alerts, and the part of the result they are evaluated on.

    None where there are too few windows to fix a threshold on.
    """
    if len(result.windows) <= MIN_EARLIER_WINDOWS:
        return None
    evaluated = result.for_windows(result.windows[MIN_EARLIER_WINDOWS:])
    return evaluated, _alert_table(result, evaluated, seed, None)


def shipped_alert_rows(result: BacktestResult, seed: int) -> Rows:
    """Return each forecaster's alerts at the threshold of the rules that ship."""
    return _alert_table(result, result, seed, shipped_threshold())


def _alert_table(result: BacktestResult, evaluated: BacktestResult, seed: int, threshold: float | None) -> Rows:
    counts, shares = evaluated.resampled(np.random.default_rng(seed)), {}
    rows: list[tuple[str, ...]] = []
    for forecaster in result.forecasters:
        thresholds, alerts, onsets = evaluate_alerts(result, forecaster, threshold)
        if not alerts.years.any():
            continue
        shares[forecaster] = (alerts.precision(counts), alerts.recall(counts))
        rows.append(
            (
                forecaster,
                *([] if threshold else [" ".join(_format_threshold(each) for each in thresholds)]),
                f"{alerts.hits.sum():.0f} of {alerts.alerts.sum():.0f}",
                *(
                    format_share(Estimate.from_bootstrap(of))
                    for of in (alerts.alerts_per_year(counts), *shares[forecaster])
                ),
                f"{alerts.caught.sum():.0f} of {alerts.episodes.sum():.0f}",
                format_value("months", float(alerts.median_lead(counts)[0])),
                f"{onsets.caught.sum():.0f} of {onsets.episodes.sum():.0f}",
            )
        )
    blank = () if threshold else ("",)
    for ours in _compared_with_rule(result, shares):
        gains = [one - other for one, other in zip(shares[ours], shares[RULE], strict=True)]
        texts = [format_share(Estimate.from_bootstrap(gain), signed=True) for gain in gains]
        rows.append((f"{ours} − {RULE}", *blank, "", "", *texts, "", "", ""))
    headings = ("right", "a year", "precision", "recall", "caught", "lead", "onsets")
    return ("forecaster", *(() if threshold else ("thresholds",)), *headings), rows


def _format_threshold(threshold: float) -> str:
    return UNKNOWN if np.isinf(threshold) else f"{threshold:.3f}"


def _compared_with_rule(result: BacktestResult, known: Collection[str]) -> list[str]:
    """Return the model and what is served, as far as they and the rule are known."""
    return [forecaster for forecaster in (result.forecasters[0], SERVED) if forecaster in known and RULE in known]
