"""Base rates: how often an escalation, or a month of 25 deaths, followed a signal, and how often without it.

The table `signal_base_rates.csv` ships with Vigie. `benchmarks/signals.py` makes it from the events of the world, 1994
to 2020. The rates describe those years. They are no forecast for one country, and no signal is a cause.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from riskmodel import reference
from riskmodel.targets import BATTLE_DEATHS

TABLE = "signal_base_rates.csv"
FIRST_YEAR, LAST_YEAR = 1994, 2020
FOLLOWED_WITHIN = 6
"""An escalation or a deadly month counts if it followed within this time [months]."""
MIN_MONTHS, MIN_COUNTRIES = 30, 5
"""A rate needs at least so many country-months with the signal, in so many countries."""

Target: TypeAlias = Literal["escalation", "month_25"]
TARGETS: tuple[Target, ...] = ("escalation", "month_25")
"""`escalation` at this month-end or one of the next five, as `targets` defines it; a month of 25 deaths or more."""

RateReason: TypeAlias = Literal[
    "not_in_world_events",  # the events of the world that the rates come from do not show this indicator
    "too_few_cases",  # the signal was too rare for a rate
    "no_recent_deaths",  # the country had no deaths in the last 12 months; the rates are of countries that had some
    "already_violent",  # the country had a month of 25 deaths in the last 12; this rate is of countries without one
    "deaths_unknown",  # the deaths of the last 12 months are not all known
]
"""The codes that say why a base rate is None."""


@dataclass(frozen=True)
class Rate:
    """How often something followed: share with its 90 % interval over countries, and what it is the share of."""

    share: float
    low: float
    high: float
    months: int
    countries: int

    @classmethod
    def read(cls, row: Mapping[str, str], prefix: str) -> "Rate":
        """Read a rate from the columns of a row that begin with a prefix."""
        share, low, high = (float(row[f"{prefix}_{name}"]) for name in ("share", "low", "high"))
        return cls(share, low, high, int(row[f"{prefix}_months"]), int(row[f"{prefix}_countries"]))


@dataclass(frozen=True)
class BaseRate:
    """How often something followed with a signal and without it, from `first_year` to `LAST_YEAR`."""

    first_year: int
    with_signal: Rate
    without_signal: Rate

    @property
    def lift(self) -> float:
        """The difference of the two shares."""
        return self.with_signal.share - self.without_signal.share

    @property
    def enough_cases(self) -> bool:
        """Whether the signal was frequent enough for a rate."""
        return self.with_signal.months >= MIN_MONTHS and self.with_signal.countries >= MIN_COUNTRIES


@cache
def base_rates(outcome: str) -> dict[tuple[str, Target], BaseRate]:
    """Return the base rates of an outcome by indicator and target."""
    return {
        (row["indicator"], target): BaseRate(int(row["first_year"]), Rate.read(row, "with"), Rate.read(row, "without"))
        for row in reference.rows(TABLE)
        for target in TARGETS
        if (row["outcome"], row["followed_by"]) == (outcome, target)
    }


def base_rate(
    outcome: str, indicator: str, target: Target, deaths_of_year: float, highest_of_year: float
) -> BaseRate | RateReason:
    """Return the base rate of a signal, or the reason why there is none for this country.

    `deaths_of_year` and `highest_of_year` are the country's deaths of the last 12 months, and those of the deadliest
    of them [deaths]; NaN where unknown.
    """
    rate = base_rates(outcome).get((indicator, target))
    if rate is None:
        return "not_in_world_events"
    if not rate.enough_cases:
        return "too_few_cases"
    if math.isnan(deaths_of_year):
        return "deaths_unknown"
    if not deaths_of_year:
        return "no_recent_deaths"
    if target == "month_25" and highest_of_year >= BATTLE_DEATHS:
        return "already_violent"
    return rate
