"""What alert rules read at past origins, from the hindcasts of a region or from a rolling back-test; and their rivals.

All values are arrays of shape (country, month) over the months of the deaths by which alerts are judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from riskmodel.alerting import replay
from riskmodel.alerting.hindcast_scores import region_scores
from riskmodel.alerting.judgement import DeathsByMonth, announcement_of
from riskmodel.alerting.metrics import RegionScores, argument_of
from riskmodel.alerting.replay import RuleReplay
from riskmodel.alerting.rule import Rule
from riskmodel.explanation.narrative import families_payload
from riskmodel.hindcasts import Hindcast
from riskmodel.months import Month, Months
from riskmodel.targets import BATTLE_DEATHS, HORIZON
from riskmodel.windows import YEAR
from training.alert_evaluation import Mask, fire
from training.backtest_alerts import by_month
from training.evaluation import SERVED
from training.results import BATTLE_MONTH, ESCALATION, ONSET, PROBABILITY_OF, BacktestResult, Floats

H24, LEVEL, HIGHEST, DOUBLED = "h24", "deaths of 3 months", "highest month of 12, ≥ 25", "last month doubled"
"""The rivals of a rule. The first two have a threshold: it is set so that they raise as many alerts as the rule."""


class AlertPast(Protocol):
    """What rules read at past origins."""

    @property
    def where(self) -> str:
        """Of which countries, in words."""

    @property
    def source(self) -> str:
        """From what, in words."""

    @property
    def outcome(self) -> str:
        """The deaths that are forecast."""

    @property
    def deaths(self) -> DeathsByMonth:
        """The newest figures of deaths."""

    @property
    def h24(self) -> Floats:
        """The probability of escalation by the rule h24."""

    def values_of(self, rule: Rule) -> Floats | None:
        """Return the value that a rule reads; NaN where unknown. None if it cannot be had from this source."""

    def fired(self, rule: Rule) -> Mask:
        """Return where a rule fires."""


@dataclass(frozen=True)
class HindcastPast:
    """What rules read from the hindcasts of one outcome in a region, oldest first."""

    where: str
    source: str
    outcome: str
    deaths: DeathsByMonth
    hindcasts: Sequence[Hindcast]
    bands: Mapping[str, float]

    @cached_property
    def scores(self) -> list[RegionScores]:
        """What rules read at each origin."""
        return region_scores(self.hindcasts, self.bands, families_payload(self.outcome))

    def replay(self, rule: Rule) -> RuleReplay:
        """Replay a rule with the states of the service."""
        return replay.replay(rule, self.scores)

    def values_of(self, rule: Rule) -> Floats | None:
        """Return the value that a rule reads; None if no hindcast has it."""
        replayed, values = self.replay(rule), self._empty()
        columns = [self.deaths.column(origin) for origin in replayed.origins]
        for iso3, readings in replayed.readings.items():
            known = [np.nan if reading.value is None else reading.value for reading in readings]
            values[self.deaths.iso3.index(iso3), columns] = known
        return None if np.isnan(values).all() else values

    def fired(self, rule: Rule) -> Mask:
        """Return where a rule fires."""
        fired = np.zeros(self.deaths.values.shape, dtype=bool)
        for alert in self.replay(rule).alerts:
            fired[self.deaths.iso3.index(alert.location_code), self.deaths.column(alert.fired_origin)] = True
        return fired

    @cached_property
    def h24(self) -> Floats:
        """The probability of escalation by the rule h24."""
        values = self._empty()
        for hindcast in self.hindcasts:
            column = self.deaths.column(str(hindcast.origin))
            for country in hindcast.countries:
                if (value := country["escalation_h24"]) is not None:
                    values[self.deaths.iso3.index(country["location_code"]), column] = value
        return values

    def _empty(self) -> Floats:
        return np.full(self.deaths.values.shape, np.nan)


@dataclass(frozen=True)
class RollingPast:
    """What rules about probabilities read from a rolling back-test: escalation, onset, and months of 25 deaths."""

    where: str
    source: str
    outcome: str
    deaths: DeathsByMonth
    result: BacktestResult

    def values_of(self, rule: Rule) -> Floats | None:
        """Return the value that a rule reads; None if the back-test does not have it."""
        name, model = rule.metric.partition(":")[0], self.result.forecasters[0]
        if name == "escalation_probability":
            return self._probability(ESCALATION, SERVED, HORIZON)
        if name == "onset_probability":
            return self._probability(ONSET, model, YEAR)
        if name == "probability_25":
            return self._probability(BATTLE_MONTH, model, int(argument_of(rule.metric)))
        return None

    def fired(self, rule: Rule) -> Mask:
        """Return where a rule fires."""
        values = self.values_of(rule)
        if values is None:
            raise ValueError(f"a back-test does not have {rule.metric}")
        return fire(values, rule.fire_at, rule.clear_at, rule.for_origins, rule.cool_down)

    @cached_property
    def h24(self) -> Floats:
        """The probability of escalation by the rule h24."""
        return self._probability(ESCALATION, H24, HORIZON)

    def _probability(self, event: str, forecaster: str, lead: int) -> Floats:
        scores = self.result.scores[PROBABILITY_OF[event]][self.result.index_of(forecaster)]
        values = by_month(self.result, scores[..., self.result.leads == lead])
        first = min(window.origins[0] for window in self.result.windows)
        aligned = np.full(self.deaths.values.shape, np.nan)
        start = self.deaths.column(str(first))
        aligned[:, start : start + values.shape[1]] = values
        return aligned


def rivals(past: AlertPast) -> dict[str, Floats]:
    """Return the values of each rival: what a reader of the deaths alone could go by."""
    deaths = past.deaths.values
    recent = np.full(deaths.shape, np.nan)
    recent[:, HORIZON - 1 :] = np.lib.stride_tricks.sliding_window_view(deaths, HORIZON, axis=1).sum(axis=-1)
    highest = np.full(deaths.shape, np.nan)
    highest[:, YEAR - 1 :] = np.lib.stride_tricks.sliding_window_view(deaths, YEAR, axis=1).max(axis=-1)
    before = np.pad(deaths[:, :-1], ((0, 0), (1, 0)), constant_values=np.nan)
    doubled = np.where(np.isnan(before + deaths), np.nan, (deaths >= 2 * before) & (deaths > 0))
    return {
        H24: past.h24,
        LEVEL: recent,
        HIGHEST: np.where(np.isnan(highest), np.nan, (deaths >= highest) & (deaths >= BATTLE_DEATHS)),
        DOUBLED: doubled,
    }


def can_be_judged(rule: Rule) -> bool:
    """Return whether a rule announces something that can be judged."""
    return announcement_of(rule) is not None


def years_of(months: Months, first: Month, last: Month) -> dict[int, slice]:
    """Return the columns of each calendar year between two months of `months`, both included, by year."""
    years = months.astype("datetime64[Y]").astype(int) + 1970
    inside = (months >= first) & (months <= last)
    found = {}
    for year in np.unique(years[inside]).tolist():
        columns = np.flatnonzero(inside & (years == year))
        found[int(year)] = slice(int(columns[0]), int(columns[-1]) + 1)
    return found
