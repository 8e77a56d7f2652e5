"""Alerts of escalation that the probabilities of a rolling back-test would have raised.

The threshold of a window is chosen on earlier windows only, or it is the one that ships. This module knows no model and
no terminal.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel import targets
from riskmodel.alerting import rule_file
from riskmodel.alerting.judgement import ONSET_MONTHS, Outcomes
from riskmodel.alerting.rule import Rule
from training.alert_evaluation import AlertEvaluation, evaluate, fire
from training.alert_tuning import DEFAULT_BUDGET, MIN_EARLIER_YEARS, Goal, Trial, fire_nested, grid, levels
from training.results import ESCALATION, MONTHS_TO_ESCALATION, ONSET, PROBABILITY_OF, BacktestResult, Floats

MAX_ALERTS_PER_YEAR = DEFAULT_BUDGET
"""The most alerts per country-year that a threshold may raise in the windows it is chosen on."""
MIN_EARLIER_WINDOWS = MIN_EARLIER_YEARS
"""A threshold is chosen on at least this many windows."""


class BacktestAlerts(NamedTuple):
    """Alerts of escalation in a back-test: the threshold of each window, and how they did on escalations and onsets."""

    thresholds: Floats
    escalations: AlertEvaluation
    onsets: AlertEvaluation


def shipped_rule() -> Rule:
    """Return the rule of escalation that ships."""
    return next(rule for rule in rule_file.shipped() if rule.metric == "escalation_probability")


def shipped_threshold() -> float:
    """Return the probability of escalation at which the alert rules that ship fire."""
    return shipped_rule().fire_at


def evaluate_alerts(result: BacktestResult, forecaster: str, threshold: float | None = None) -> BacktestAlerts:
    """Evaluate a forecaster's alerts in all windows at a threshold; or without one, where it can be chosen on others.

    The other keys are those of the rule that ships, with `clear_at` in the same ratio to `fire_at`. Without
    `threshold`, the windows are those that have `MIN_EARLIER_WINDOWS` windows before them: the result must have one
    such window or more. Each window's threshold is then the one that catches most escalations with no more than
    `MAX_ALERTS_PER_YEAR` alerts per country-year in the windows before it.
    """
    rule, first = shipped_rule(), MIN_EARLIER_WINDOWS if threshold is None else 0
    ratio = rule.clear_at / rule.fire_at
    values, followed = probability_of_escalation(result, forecaster), escalations_of(result)
    window_of = window_of_month(result)
    if threshold is None:
        settings = grid(levels(values), (ratio,), (rule.for_origins,))
        windows = [np.flatnonzero(window_of == window) for window in range(len(result.windows))]
        columns = [slice(int(months[0]), int(months[-1]) + 1) for months in windows]
        trial = Trial(values, followed, targets.HORIZON, settings)
        chosen = trial.nested(Goal(MAX_ALERTS_PER_YEAR), columns) if settings else [None] * len(columns)
        fired = fire_nested(trial, columns, chosen) if settings else np.zeros(values.shape, dtype=bool)
        thresholds = np.array([np.inf if place is None else settings[place].fire_at for place in chosen])
    else:
        fired = fire(values, threshold, threshold * ratio, rule.for_origins, rule.cool_down)
        thresholds = np.full(len(result.windows), threshold)
    read = (window_of >= first) & ~np.isnan(values)
    units = units_of(result, first)
    return BacktestAlerts(
        thresholds[first:], evaluate(fired, read, followed, units), evaluate(fired, read, onsets_of(result), units)
    )


def by_month(result: BacktestResult, values: NDArray[np.generic]) -> Floats:
    """Lay values of shape (window, country, issue) out as (country, month since the first origin); NaN in a gap."""
    indices = month_indices(result)
    laid_out = np.full((len(result.iso3), indices.max() + 1), np.nan)
    laid_out[:, indices.ravel()] = values.transpose(1, 0, 2).reshape(len(result.iso3), -1)
    return laid_out


def month_indices(result: BacktestResult) -> NDArray[np.int64]:
    """Return the index of each origin in months since the first origin, shape (window, issue)."""
    origins = np.stack([window.origins for window in result.windows]).astype("datetime64[M]").astype(np.int64)
    return np.asarray(origins - origins.min())


def window_of_month(result: BacktestResult) -> NDArray[np.intp]:
    """Return the index of the window of each month, shape (month,); −1 for a month that is in none."""
    indices = month_indices(result)
    window_of = np.full(indices.max() + 1, -1)
    window_of[indices.ravel()] = np.repeat(np.arange(len(indices)), indices.shape[1])
    return window_of


def escalations_of(result: BacktestResult) -> Outcomes:
    """Return which origins of a back-test had an escalation ahead of them, shape (country, month)."""
    at_horizon = result.leads == targets.HORIZON
    happened = by_month(result, result.observed[ESCALATION][..., at_horizon])
    lead = by_month(result, result.observed[MONTHS_TO_ESCALATION][..., at_horizon])
    return Outcomes(happened, np.where(happened > 0, lead, np.nan), np.ones(happened.shape, dtype=bool))


def onsets_of(result: BacktestResult) -> Outcomes:
    """Return which origins of a back-test had an onset ahead of them, shape (country, month); in quiet countries."""
    happened = by_month(result, result.observed[ONSET][..., result.leads == ONSET_MONTHS])
    return Outcomes(happened, np.full(happened.shape, np.nan), ~np.isnan(happened))


def probability_of_escalation(result: BacktestResult, forecaster: str) -> Floats:
    """Return a forecaster's probability where it is known what followed, shape (country, month); else NaN."""
    at_horizon = result.leads == targets.HORIZON
    scores = result.scores[PROBABILITY_OF[ESCALATION]][result.index_of(forecaster)]
    probability = by_month(result, scores[..., at_horizon])
    return np.where(np.isnan(escalations_of(result).happened), np.nan, probability)


def units_of(result: BacktestResult, first: int) -> NDArray[np.intp]:
    """Return the bootstrap unit of each country-month: its country, or its window where there is a single country.

    Windows count from the one with the index `first`.
    """
    window_of = np.maximum(window_of_month(result) - first, 0)
    if result.bootstrap_unit == "countries":
        return np.broadcast_to(np.arange(len(result.iso3))[:, None], (len(result.iso3), len(window_of)))
    return window_of[None]
