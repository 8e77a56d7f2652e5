"""Evaluate the escalation alerts that a probability would have raised: how many, how many right, how early.

The threshold of a window is fixed on earlier windows only, or it is the one that ships. This module knows no model and
no terminal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring, targets
from riskmodel.alerting import rule_file
from training.results import ESCALATION, MONTHS_TO_ESCALATION, ONSET, PROBABILITY_OF, BacktestResult, Floats
from training.windows import MONTHS_PER_YEAR

MAX_ALERTS_PER_YEAR = 1.0
"""The most alerts per country-year that a threshold may raise in the windows it is fixed on."""
MIN_EARLIER_WINDOWS = 3
"""A threshold is fixed on at least this many windows."""
ALERT_MONTHS = targets.HORIZON
"""How long an alert lasts [months]: as long as the period it warns of. A country has one alert at a time."""
ONSET_LEAD = MONTHS_PER_YEAR
"""The lead at which onsets are observed [months]."""


@dataclass(frozen=True)
class AlertEvaluation:
    """A forecaster's alerts and the episodes they should catch, summed by bootstrap unit.

    An *episode* is an unbroken run of origins that each have an escalation in their next three months. An alert raised
    within an episode is right, and the episode is then caught. The lead of a caught episode is counted in months, from
    its first alert until the escalation is reached. An onset is an episode that begins in a quiet country.

    `thresholds` has shape (window,) and is infinite where no threshold keeps to the limit. `leads` has shape
    (unit, ALERT_MONTHS + 1) and counts caught episodes by their lead. All others have shape (unit,).
    """

    thresholds: Floats
    years: Floats
    alerts: Floats
    right_alerts: Floats
    episodes: Floats
    caught: Floats
    onsets: Floats
    onsets_caught: Floats
    leads: Floats

    def precision(self, counts: NDArray[np.int64]) -> Floats:
        """Return the share of alerts that were right, in each resample."""
        return scoring.ratio_of_sums(self.right_alerts, self.alerts, counts)

    def recall(self, counts: NDArray[np.int64]) -> Floats:
        """Return the share of episodes that were caught, in each resample."""
        return scoring.ratio_of_sums(self.caught, self.episodes, counts)

    def alerts_per_year(self, counts: NDArray[np.int64]) -> Floats:
        """Return the alerts per country-year, in each resample."""
        return scoring.ratio_of_sums(self.alerts, self.years, counts)

    @property
    def median_lead(self) -> float:
        """The median lead of the caught episodes [months]; NaN where none was caught."""
        leads = np.repeat(np.arange(ALERT_MONTHS + 1), self.leads.sum(axis=0).astype(int))
        return float(np.median(leads)) if leads.size else float("nan")


def shipped_threshold() -> float:
    """Return the probability of escalation at which the alert rules that ship fire."""
    return next(rule.fire_at for rule in rule_file.shipped() if rule.metric == "escalation_probability")


def evaluate_alerts(result: BacktestResult, forecaster: str, threshold: float | None = None) -> AlertEvaluation:
    """Evaluate a forecaster's alerts in all windows at a threshold; or without one, where it can be fixed on others.

    Without `threshold`, the windows are those that have `MIN_EARLIER_WINDOWS` windows before them: the result must have
    at least one such window. Each window's threshold is then the lowest that raised no more than `MAX_ALERTS_PER_YEAR`
    alerts per country-year in the windows before it.
    """
    first = MIN_EARLIER_WINDOWS if threshold is None else 0
    at_horizon = result.leads == targets.HORIZON
    probability, escalation, months_to = (
        _by_month(result, values[..., at_horizon])
        for values in (
            result.scores[PROBABILITY_OF[ESCALATION]][result.index_of(forecaster)],
            result.observed[ESCALATION],
            result.observed[MONTHS_TO_ESCALATION],
        )
    )
    probability[np.isnan(escalation)] = np.nan
    # Onsets are observed in quiet countries only: a value there means that the country is quiet.
    has_onset = ~np.isnan(result.observed[ONSET][..., result.leads == ONSET_LEAD])
    quiet = _by_month(result, has_onset, fill=0.0) > 0
    window_of = _window_of_month(result)
    thresholds = np.full(len(result.windows), np.inf if threshold is None else threshold)
    if threshold is None:
        for window in range(first, len(result.windows)):
            earlier = (window_of >= 0) & (window_of < window)
            thresholds[window] = lowest_threshold(np.where(earlier, probability, np.nan))
    evaluated = window_of >= first
    alerts = raise_alerts(probability, np.where(window_of >= 0, thresholds[window_of], np.inf)) & evaluated
    in_episode = np.where(evaluated, escalation, 0.0) > 0
    starts = in_episode & ~np.pad(in_episode, ((0, 0), (1, 0)))[:, :-1]
    episode = np.where(in_episode, starts.cumsum(axis=1), 0)
    right = alerts & in_episode
    first_right = right & _first_of_episode(right, episode)
    began_quiet = _value_at_start(quiet, starts, episode)

    def by_unit(flags: NDArray[np.bool_]) -> Floats:
        """Count the flagged months by bootstrap unit."""
        windows = range(first, len(result.windows))
        by_window = np.stack([flags[:, window_of == window].sum(axis=1) for window in windows])
        return np.asarray(result.by_unit(by_window).sum(axis=1), dtype=np.float64)

    return AlertEvaluation(
        thresholds=thresholds[first:],
        years=by_unit(~np.isnan(probability)) / MONTHS_PER_YEAR,
        alerts=by_unit(alerts),
        right_alerts=by_unit(right),
        episodes=by_unit(starts),
        caught=by_unit(first_right),
        onsets=by_unit(starts & quiet),
        onsets_caught=by_unit(first_right & began_quiet),
        leads=np.stack([by_unit(first_right & (months_to == lead)) for lead in range(ALERT_MONTHS + 1)], axis=1),
    )


def lowest_threshold(probability: Floats) -> float:
    """Return the lowest threshold within `MAX_ALERTS_PER_YEAR`, or infinity where there is none.

    `probability` has shape (country, month), NaN where there is no forecast.
    """
    allowed = MAX_ALERTS_PER_YEAR * np.isfinite(probability).sum() / MONTHS_PER_YEAR
    candidates = np.unique(probability[probability > 0])
    low, high = 0, len(candidates)
    while low < high:  # bisection works because a lower threshold never raises fewer alerts
        middle = (low + high) // 2
        if raise_alerts(probability, np.full(probability.shape[1], candidates[middle])).sum() <= allowed:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low]) if low < len(candidates) else float("inf")


def raise_alerts(probability: Floats, thresholds: Floats) -> NDArray[np.bool_]:
    """Return where an alert is raised, shape (country, month): the threshold is reached and no alert is active.

    `probability` has shape (country, month), `thresholds` (month,).
    """
    alerts = np.zeros(probability.shape, dtype=bool)
    months_left = np.zeros(len(probability), dtype=np.intp)
    for month in range(probability.shape[1]):
        alerts[:, month] = (probability[:, month] >= thresholds[month]) & (months_left == 0)
        months_left = np.where(alerts[:, month], ALERT_MONTHS - 1, np.maximum(months_left - 1, 0))
    return alerts


def _month_indices(result: BacktestResult) -> NDArray[np.int64]:
    """Return the index of each origin in months since the first origin, shape (window, issue)."""
    origins = np.stack([window.origins for window in result.windows]).astype("datetime64[M]").astype(np.int64)
    return np.asarray(origins - origins.min())


def _by_month(result: BacktestResult, values: NDArray[np.generic], fill: float = np.nan) -> Floats:
    """Lay values of shape (window, country, issue) out as (country, month); `fill` in months without a forecast."""
    indices = _month_indices(result)
    by_month = np.full((len(result.iso3), indices.max() + 1), fill)
    by_month[:, indices.ravel()] = values.transpose(1, 0, 2).reshape(len(result.iso3), -1)
    return by_month


def _window_of_month(result: BacktestResult) -> NDArray[np.intp]:
    """Return the index of the window of each month, shape (month,); −1 for a month that is in none."""
    indices = _month_indices(result)
    window_of = np.full(indices.max() + 1, -1)
    window_of[indices.ravel()] = np.repeat(np.arange(len(indices)), indices.shape[1])
    return window_of


def _first_of_episode(right: NDArray[np.bool_], episode: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the first right alert of each episode."""
    first = np.zeros(right.shape, dtype=bool)
    for country in range(len(right)):
        months = np.flatnonzero(right[country])
        _, places = np.unique(episode[country, months], return_index=True)
        first[country, months[places]] = True
    return first


def _value_at_start(
    flags: NDArray[np.bool_], starts: NDArray[np.bool_], episode: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Give each month of an episode the flag of the episode's first month."""
    at_start = np.zeros(flags.shape, dtype=bool)
    for country in range(len(flags)):
        by_episode = np.concatenate([[False], flags[country, starts[country]]])
        at_start[country] = by_episode[episode[country]]
    return at_start
