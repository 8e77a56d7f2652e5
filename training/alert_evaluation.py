"""Evaluate alerts over many country-months at once: how many, how many right, what they caught and how early.

Alerts follow the life-cycle of `riskmodel.alerting.states`, and are judged as `riskmodel.alerting.judgement` judges
them. This module knows no model, no file and no terminal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from riskmodel import scoring
from riskmodel.alerting.judgement import Outcomes
from riskmodel.alerting.states import EXPIRES_AFTER
from training.results import Floats
from training.windows import MONTHS_PER_YEAR

Mask = NDArray[np.bool_]

LONGEST_LEAD = MONTHS_PER_YEAR
"""The longest time from an alert to its event that is counted [months]."""


@dataclass(frozen=True)
class AlertEvaluation:
    """Alerts and the episodes that they should announce, summed by bootstrap unit; each of shape (unit,).

    An *episode* is an unbroken run of origins that each have the event ahead of them. It is caught if an alert fires at
    one of them. `years` are country-years. `leads`, shape (unit, LONGEST_LEAD + 1), counts hits by the months until
    the event. In `event_months` of the `known_months` the event followed, whether or not an alert fired.
    """

    years: Floats
    alerts: Floats
    hits: Floats
    false_alarms: Floats
    episodes: Floats
    caught: Floats
    leads: Floats
    known_months: Floats
    event_months: Floats

    def precision(self, counts: NDArray[np.int64]) -> Floats:
        """Return the share of judged alerts that were right, in each resample of units."""
        return scoring.ratio_of_sums(self.hits, self.hits + self.false_alarms, counts)

    def recall(self, counts: NDArray[np.int64]) -> Floats:
        """Return the share of episodes that were caught, in each resample."""
        return scoring.ratio_of_sums(self.caught, self.episodes, counts)

    def false_alarms_per_hit(self, counts: NDArray[np.int64]) -> Floats:
        """Return the false alarms for each hit, in each resample; infinite where nothing was hit."""
        return scoring.ratio_of_sums(self.false_alarms, self.hits, counts)

    def alerts_per_year(self, counts: NDArray[np.int64]) -> Floats:
        """Return the alerts per country-year, in each resample."""
        return scoring.ratio_of_sums(self.alerts, self.years, counts)

    def base_rate(self, counts: NDArray[np.int64]) -> Floats:
        """Return the share of country-months that the event followed, in each resample."""
        return scoring.ratio_of_sums(self.event_months, self.known_months, counts)

    def median_lead(self, counts: NDArray[np.int64]) -> Floats:
        """Return the median lead of the hits [months], in each resample; NaN where there is no hit."""
        by_lead = np.cumsum(counts @ self.leads, axis=1)
        hits = by_lead[:, -1]
        # The median of an even number is the mean of the two in the middle.
        middle = [(by_lead < np.ceil(hits / 2 + more)[:, None]).sum(axis=1) for more in (0, 0.5)]
        return np.where(hits > 0, (middle[0] + np.where(hits % 2, middle[0], middle[1])) / 2, np.nan)


def fire(
    values: Floats, fire_at: ArrayLike, clear_at: ArrayLike, for_origins: ArrayLike = 1, cool_down: int = 0
) -> Mask:
    """Return at which origins an alert fires, of the shape of `values` and the thresholds together.

    `values` has shape (..., month), NaN where unknown, one for each origin. The thresholds broadcast against (...). It
    equals `states.next_state` at each origin, for many countries and thresholds at once.
    """
    fire_at, clear_at, needed = (np.asarray(each) for each in (fire_at, clear_at, for_origins))
    shape = np.broadcast_shapes(values.shape[:-1], fire_at.shape, clear_at.shape, needed.shape)
    fired = np.zeros((*shape, values.shape[-1]), dtype=bool)
    firing, reached = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
    peak, resolved, last_known = np.full(shape, np.nan), np.full(shape, -np.inf), np.full(shape, -np.inf)
    for month in range(values.shape[-1]):
        value = np.broadcast_to(values[..., month], shape)
        known = ~np.isnan(value)
        ends = firing & (value < clear_at)
        cools = (month - resolved < cool_down) & (value <= peak)
        high = known & ~firing & (value >= fire_at) & ~cools
        reached = np.where(known & ~firing, np.where(high, reached + 1, 0), reached)
        starts = high & (reached >= needed)
        peak = np.where(starts, value, np.where(firing & known & ~ends, np.fmax(peak, value), peak))
        resolved = np.where(ends, month, np.where(starts, -np.inf, resolved))
        reached = np.where(starts | ends, 0, reached)
        firing = (firing & ~ends) | starts
        last_known = np.where(known, month, last_known)
        expires = ~known & (firing | (reached > 0)) & (month - last_known >= EXPIRES_AFTER)
        firing, reached = firing & ~expires, np.where(expires, 0, reached)
        peak, resolved = np.where(expires, np.nan, peak), np.where(expires, -np.inf, resolved)
        fired[..., month] = starts
    return fired


def evaluate(fired: Mask, read: Mask, followed: Outcomes, units: NDArray[np.intp]) -> AlertEvaluation:
    """Evaluate alerts; all arrays have shape (country, month).

    `read` marks the country-months that count, and `followed` is what followed each. `units` numbers the bootstrap unit
    of each country-month from 0.
    """
    number = int(units.max()) + 1
    fired = fired & read
    known = read & followed.at_risk & ~np.isnan(followed.happened)
    event = known & (followed.happened > 0)
    episode = label_episodes(event)
    starts = np.unique(episode[event], return_index=True)[1]
    caught = np.unique(episode[event & fired], return_index=True)[1]

    def count(mask: Mask) -> Floats:
        return np.bincount(units[mask], minlength=number).astype(np.float64)

    def count_places(of: Mask, places: NDArray[np.intp]) -> Floats:
        return np.bincount(units[of][places], minlength=number).astype(np.float64)

    hit = fired & (followed.happened > 0)
    return AlertEvaluation(
        years=count(read) / MONTHS_PER_YEAR,
        alerts=count(fired),
        hits=count(hit),
        false_alarms=count(fired & (followed.happened == 0)),
        episodes=count_places(event, starts),
        caught=count_places(event & fired, caught),
        leads=np.stack([count(hit & (followed.lead == lead)) for lead in range(LONGEST_LEAD + 1)], axis=1),
        known_months=count(known),
        event_months=count(event),
    )


def label_episodes(event: Mask) -> NDArray[np.intp]:
    """Number the unbroken runs of `event`, shape (country, month), from 1; 0 elsewhere."""
    starts = event & ~np.pad(event, ((0, 0), (1, 0)))[:, :-1]
    return np.where(event, starts.ravel().cumsum().reshape(event.shape), 0)
