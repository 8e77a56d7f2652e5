"""Choose the thresholds of an alert rule from the past alone, and show what each threshold would have cost.

A threshold for a year is chosen on the years before it, by what was known when they ended. This module knows no model,
no file and no terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from riskmodel.alerting.judgement import Outcomes
from training.alert_evaluation import Mask, fire, label_episodes
from training.results import Floats

MIN_EARLIER_YEARS = 3
"""A threshold is chosen on at least this many years."""
LEVELS = 60
"""The number of thresholds that are tried: quantiles of the values, denser towards the highest."""
CLEAR_RATIOS = (1.0, 0.8, 0.6)
"""`clear_at` is tried at these shares of `fire_at`."""
FOR_ORIGINS = (1, 2)
DEFAULT_BUDGET = 1.0  # [alerts per country-year]


class Settings(NamedTuple):
    """The keys of a rule that are chosen, and the `ratio` of `clear_at` to `fire_at` before rounding."""

    fire_at: float
    clear_at: float
    for_origins: int
    ratio: float


class Goal(NamedTuple):
    """What is asked of a threshold.

    With `budget` [alerts per country-year], as many episodes as possible are caught by no more alerts than that. With
    `cost_ratio`, a missed episode costs as much as so many false alarms, and the sum of both is the lowest.
    """

    budget: float | None = DEFAULT_BUDGET
    cost_ratio: float | None = None


class Counts(NamedTuple):
    """What each of the settings would have done in some months, each of shape (setting,); `years` are country-years."""

    years: float
    alerts: Floats
    hits: Floats
    false_alarms: Floats
    caught: Floats
    episodes: int


@dataclass(frozen=True)
class Trial:
    """A rule's values, shape (country, month), NaN where unknown, and what followed; `settings` are tried on them.

    `horizon` is how many months an alert is about [months]: what followed a month is known so much later. `limited`,
    shape (country,), marks the countries in which a budget counts: by default all.
    """

    values: Floats
    followed: Outcomes
    horizon: int
    settings: tuple[Settings, ...]
    limited: Mask | None = None

    @cached_property
    def fired(self) -> Mask:
        """Where each of the settings fires, shape (setting, country, month)."""
        return _fire_each(self.values, self.settings)

    def counts(self, months: slice, known_until: int | None = None) -> Counts:
        """Count over some months. What followed a month counts if it was known at the month `known_until`."""
        return self.counts_of(self.fired, months, known_until)

    def counts_of(self, alerts: Mask, months: slice, known_until: int | None = None) -> Counts:
        """Count alerts, shape (country, month) or (setting, country, month), over some months."""
        inside = np.zeros(self.values.shape, dtype=bool)
        inside[:, months] = True
        read = inside & ~np.isnan(self.values)
        judged = read & ~np.isnan(self.followed.happened)
        if known_until is not None:
            judged &= np.arange(self.values.shape[1]) + self.horizon <= known_until
        event = judged & self.followed.at_risk & (self.followed.happened > 0)
        episode, fired = label_episodes(event), np.reshape(alerts & read, (-1, *self.values.shape))
        return Counts(
            years=float(read.sum()) / 12,
            alerts=fired.sum(axis=(1, 2)).astype(np.float64),
            hits=(fired & judged & (self.followed.happened > 0)).sum(axis=(1, 2)).astype(np.float64),
            false_alarms=(fired & judged & (self.followed.happened == 0)).sum(axis=(1, 2)).astype(np.float64),
            caught=np.array([np.unique(episode[event & each]).size for each in fired], dtype=np.float64),
            episodes=int(episode.max(initial=0)),
        )

    def choose(self, goal: Goal, before: int) -> int | None:
        """Return which of the settings serves a goal best in the months before `before`; None where none is allowed.

        Among equals, fewer false alarms win, then the higher threshold.
        """
        counts = self.counts(slice(0, before), known_until=before - 1)
        missed = counts.episodes - counts.caught
        order = [missed, counts.false_alarms]
        allowed = counts.alerts > 0
        if goal.cost_ratio is not None:
            order = [goal.cost_ratio * missed + counts.false_alarms]
        else:
            allowed &= self.limited_rate(slice(0, before)) <= (goal.budget or 0.0)
        if not allowed.any():
            return None
        order += [-np.array([setting.fire_at for setting in self.settings])]
        order += [-np.array([setting.clear_at for setting in self.settings])]
        ranked = np.lexsort(order[::-1])
        return int(next(place for place in ranked if allowed[place]))

    def limited_rate(self, months: slice) -> Floats:
        """Return the alerts per country-year of each of the settings, where a budget counts, shape (setting,)."""
        rows = slice(None) if self.limited is None else self.limited
        years = (~np.isnan(self.values[rows, months])).sum() / 12
        return np.asarray(self.fired[:, rows, months].sum(axis=(1, 2)) / max(years, 1.0))

    def nested(self, goal: Goal, years: Sequence[slice]) -> list[int | None]:
        """Return which settings are chosen for each year on the years before; None for the first years.

        `years` are the months of each year, in order.
        """
        return [
            self.choose(goal, months.start) if place >= MIN_EARLIER_YEARS else None
            for place, months in enumerate(years)
        ]


def levels(values: Floats, number: int = LEVELS) -> Floats:
    """Return thresholds to try on values: quantiles, denser towards the highest, to two significant digits."""
    known = values[np.isfinite(values)]
    known = known[known > 0]
    if not known.size:
        return np.empty(0)
    quantiles = np.quantile(known, 1 - np.geomspace(0.6, 0.001, number), method="higher")
    return np.unique([float(f"{value:.2g}") for value in quantiles])


def grid(
    fire_at: Floats, ratios: Sequence[float] = CLEAR_RATIOS, for_origins: Sequence[int] = FOR_ORIGINS
) -> tuple[Settings, ...]:
    """Return all settings of some thresholds, shares of `clear_at` and numbers of origins."""
    return tuple(
        Settings(float(level), float(f"{level * ratio:.2g}"), needed, ratio)
        for needed in for_origins
        for ratio in ratios
        for level in fire_at
    )


def fire_nested(trial: Trial, years: Sequence[slice], chosen: Sequence[int | None]) -> Mask:
    """Return where alerts fire if each year has its own settings, shape (country, month).

    The alerts of a year are those that its settings would have had if they had always been in force.
    """
    fired = np.zeros(trial.values.shape, dtype=bool)
    for months, place in zip(years, chosen, strict=True):
        if place is not None:
            fired[:, months] = trial.fired[place][:, months]
    return fired


def closest(values: Floats, alerts: int, clear_ratio: float = 1.0, for_origins: int = 1) -> Settings | None:
    """Return the threshold at which values raise about so many alerts; the higher one of two that are equally close.

    `values` has shape (country, month). None where no threshold raises an alert.
    """
    settings = grid(levels(values), (clear_ratio,), (for_origins,))
    if not settings:
        return None
    numbers = _fire_each(values, settings).sum(axis=(1, 2))
    if not numbers.any():
        return None
    distance = np.where(numbers > 0, np.abs(numbers - alerts), np.inf)
    return settings[len(settings) - 1 - int(np.argmin(distance[::-1]))]


def _fire_each(values: Floats, settings: Sequence[Settings]) -> Mask:
    """Return where each of some settings fires, shape (setting, country, month)."""
    fire_at, clear_at, needed, _ = (np.array(column)[:, None] for column in zip(*settings, strict=True))
    return fire(values[None], fire_at, clear_at, needed)
