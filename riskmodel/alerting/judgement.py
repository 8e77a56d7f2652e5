"""What an alert rule announces, whether its alerts were right, and the record that follows.

Everything is judged by the newest figures of deaths. This module reads no file and loads no model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from riskmodel.alerting.metrics import FEW_REPORTS, REGION_METRIC, argument_of
from riskmodel.alerting.rule import Rule
from riskmodel.months import Month, Months, month
from riskmodel.targets import BATTLE_DEATHS, HORIZON, QUIET_MONTHS, escalation_threshold, observed_escalations

Floats = NDArray[np.float64]
Event: TypeAlias = Literal["escalation", "onset", "deaths"]
Result: TypeAlias = Literal["hit", "false_alarm", "too_early", "unknown"]

HIT: Result = "hit"
FALSE_ALARM: Result = "false_alarm"
TOO_EARLY: Result = "too_early"
UNKNOWN: Result = "unknown"

ONSET_MONTHS = 12
"""An onset is announced for so many months [months]."""
SEEN_MONTHS = (6, 12)
"""What followed a rule that announces no event of its own is an escalation within these [months], the first by
default."""
MIN_JUDGED = 5
"""With fewer judged alerts a record says that there are too few cases."""
NOTICES = (FEW_REPORTS, REGION_METRIC)
"""Metrics that are about the data: they announce nothing that happens in a country."""
DEATHS_UNKNOWN = "value_unknown"
"""The reason where deaths of an alert's months are unknown."""


@dataclass(frozen=True)
class Announcement:
    """What an alert says of the months after its origin.

    - `escalation`: within `months`, three months in a row have at least 25 deaths and twice those of the three before
      them; with 3 `months` it is what `riskmodel.targets` defines
    - `onset`: a month of 25 deaths or more within `months`; misses are counted in quiet countries
    - `deaths`: `deaths` or more in the month `months` after the origin

    `seen` marks a rule about something seen or forecast in general. It announces no event of its own: its share of hits
    is compared with the base rate.
    """

    event: Event
    months: int
    deaths: int = BATTLE_DEATHS
    seen: bool = False


@dataclass(frozen=True)
class DeathsByMonth:
    """The newest figures of deaths of one outcome: `values` has shape (country, month) [deaths], NaN where unknown."""

    iso3: tuple[str, ...]
    months: Months
    values: Floats

    @cached_property
    def last_known(self) -> Month | None:
        """The newest month that is known for some country."""
        known = np.flatnonzero((~np.isnan(self.values)).any(axis=0))
        return self.months[known[-1]] if known.size else None

    def column(self, origin: str) -> int:
        """Return the position of a month (YYYY-MM); it can lie outside of the data."""
        return int((month(origin) - self.months[0]).astype(int))


class Outcomes(NamedTuple):
    """What followed each month, each float64 of shape (country, month).

    `happened` is 1 or 0, NaN where it is unknown or the period is not over. `lead` is the time until the event [months]
    where it happened, else NaN. `at_risk` is False where the event cannot be missed: an onset in a country that is not
    quiet.
    """

    happened: Floats
    lead: Floats
    at_risk: NDArray[np.bool_]


class JudgedAlert(NamedTuple):
    """An alert that fired at `origin` (YYYY-MM), and its result.

    `lead` is the time until the event of a hit [months]. `deaths` are those of the months of its period, None where
    unknown. `reason` says why a result is unknown.
    """

    location_code: str
    origin: str
    result: Result
    lead: int | None
    deaths: tuple[int | None, ...]
    reason: str | None = None


class Episode(NamedTuple):
    """An unbroken run of origins, `first` to `last` (YYYY-MM), that each have the event ahead of them.

    It is announced if an alert fired at one of them; else it is a miss.
    """

    location_code: str
    first: str
    last: str
    announced: bool


@dataclass(frozen=True)
class Judged:
    """The alerts of a rule, judged, and the episodes that it should have announced, over the same country-months.

    `first_month` and `last_month` are the first and the last origin that the rule read (YYYY-MM). `country_months` is
    how many country-months it read; in `known_months` of them it is known what followed, and in `event_months` the
    event did.
    """

    announcement: Announcement
    first_month: str
    last_month: str
    alerts: tuple[JudgedAlert, ...]
    episodes: tuple[Episode, ...]
    country_months: int
    known_months: int
    event_months: int


@dataclass(frozen=True)
class Record:
    """The record of a rule, from `first_month` to `last_month` (origins, YYYY-MM).

    `base_rate` is the share of country-months that were followed by the event, whether or not an alert fired. A share
    is None where there is nothing to divide by. `reason` is `too_few_cases` if fewer than `MIN_JUDGED` alerts are
    judged.
    """

    first_month: str
    last_month: str
    alerts: int
    hits: int
    false_alarms: int
    too_early: int
    unknown: int
    episodes: int
    misses: int
    precision: float | None
    recall: float | None
    false_alarms_per_hit: float | None
    alerts_per_country_year: float | None
    median_lead_months: float | None
    base_rate: float | None
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)


def announcement_of(rule: Rule) -> Announcement | None:
    """Return what a rule announces; None for a notice about the data."""
    return announced_by(rule.metric)


def announced_by(metric: str) -> Announcement | None:
    """Return what a rule of this metric announces; None for a notice about the data."""
    if metric in NOTICES:
        return None
    if metric == "escalation_probability":
        return Announcement("escalation", HORIZON)
    if metric == "onset_probability":
        return Announcement("onset", ONSET_MONTHS)
    if metric.startswith("probability_"):
        deaths = int(metric.partition(":")[0].removeprefix("probability_"))
        return Announcement("deaths", int(argument_of(metric)), deaths)
    return Announcement("escalation", SEEN_MONTHS[0], seen=True)


def outcomes(announcement: Announcement, deaths: Floats) -> Outcomes:
    """Return what followed each month of `deaths`, shape (country, month) [deaths], NaN where unknown."""
    at_risk = np.ones(deaths.shape, dtype=bool)
    if announcement.event == "escalation":
        return Outcomes(*_escalations(deaths, announcement.months), at_risk)
    if announcement.event == "onset":
        ahead = [_ahead(deaths, lead) for lead in range(1, announcement.months + 1)]
        return Outcomes(*_first_reached(ahead, BATTLE_DEATHS), _quiet(deaths))
    after = _ahead(deaths, announcement.months)
    happened = np.where(np.isnan(after), np.nan, after >= announcement.deaths)
    return Outcomes(happened, np.where(happened > 0, float(announcement.months), np.nan), at_risk)


def judge(
    announcement: Announcement,
    deaths: DeathsByMonth,
    alerts: Iterable[tuple[str, str]],
    read: NDArray[np.bool_],
) -> Judged:
    """Judge alerts, given as (country, origin at which it fired), by the newest figures of deaths.

    `read`, shape (country, month) of `deaths`, marks the country-months whose value the rule knew: misses, base rate
    and country-years are counted there. A period that ends after the newest known month is `too_early`.
    """
    followed = outcomes(announcement, deaths.values)
    judged = judge_alerts(announcement, deaths, alerts)
    fired = np.zeros(read.shape, dtype=bool)
    for alert in judged:
        row, column = _place(deaths, alert.location_code, alert.origin)
        if row is not None and column is not None:
            fired[row, column] = True
    at_risk = read & followed.at_risk
    known = at_risk & ~np.isnan(followed.happened)
    happened = known & (followed.happened > 0)
    columns = np.flatnonzero(read.any(axis=0))
    first, last = (str(deaths.months[columns[end]]) if columns.size else "" for end in (0, -1))
    return Judged(
        announcement=announcement,
        first_month=first,
        last_month=last,
        alerts=tuple(judged),
        episodes=tuple(_episodes(deaths, happened, fired)),
        country_months=int(read.sum()),
        known_months=int(known.sum()),
        event_months=int(happened.sum()),
    )


def judge_alerts(
    announcement: Announcement, deaths: DeathsByMonth, alerts: Iterable[tuple[str, str]]
) -> list[JudgedAlert]:
    """Judge alerts, given as (country, origin at which it fired), in the order of time."""
    followed = outcomes(announcement, deaths.values)
    ordered = sorted(alerts, key=lambda alert: (alert[1], alert[0]))
    return [_judge_alert(announcement, deaths, followed, iso3, origin) for iso3, origin in ordered]


def record_of(judged: Judged) -> Record:
    """Return the record of a rule from its judged alerts."""
    results = [alert.result for alert in judged.alerts]
    hits, false_alarms = results.count(HIT), results.count(FALSE_ALARM)
    leads = [alert.lead for alert in judged.alerts if alert.lead is not None]
    misses = sum(not episode.announced for episode in judged.episodes)
    return Record(
        first_month=judged.first_month,
        last_month=judged.last_month,
        alerts=len(results),
        hits=hits,
        false_alarms=false_alarms,
        too_early=results.count(TOO_EARLY),
        unknown=results.count(UNKNOWN),
        episodes=len(judged.episodes),
        misses=misses,
        precision=_ratio(hits, hits + false_alarms),
        recall=_ratio(len(judged.episodes) - misses, len(judged.episodes)),
        false_alarms_per_hit=_ratio(false_alarms, hits),
        alerts_per_country_year=_ratio(len(results), judged.country_months / 12),
        median_lead_months=float(median(leads)) if leads else None,
        base_rate=_ratio(judged.event_months, judged.known_months),
        reason="too_few_cases" if hits + false_alarms < MIN_JUDGED else None,
    )


def _judge_alert(
    announcement: Announcement, deaths: DeathsByMonth, followed: Outcomes, iso3: str, origin: str
) -> JudgedAlert:
    row, column = _place(deaths, iso3, origin)
    first = 1 if announcement.event != "deaths" else announcement.months
    columns = [deaths.column(origin) + lead for lead in range(first, announcement.months + 1)]
    after = tuple(None if row is None else _known(deaths.values[row], each) for each in columns)
    if deaths.last_known is None or month(origin) + announcement.months > deaths.last_known:
        return JudgedAlert(iso3, origin, TOO_EARLY, None, after)
    if row is None or column is None or np.isnan(followed.happened[row, column]):
        return JudgedAlert(iso3, origin, UNKNOWN, None, after, DEATHS_UNKNOWN)
    if followed.happened[row, column] > 0:
        return JudgedAlert(iso3, origin, HIT, int(followed.lead[row, column]), after)
    return JudgedAlert(iso3, origin, FALSE_ALARM, None, after)


def _place(deaths: DeathsByMonth, iso3: str, origin: str) -> tuple[int | None, int | None]:
    """Return row and column of a country and a month; None where the data do not have it."""
    column = deaths.column(origin)
    row = deaths.iso3.index(iso3) if iso3 in deaths.iso3 else None
    return row, column if 0 <= column < deaths.months.size else None


def _known(of_country: Floats, column: int) -> int | None:
    inside = 0 <= column < of_country.size and not np.isnan(of_country[column])
    return int(of_country[column]) if inside else None


def _episodes(deaths: DeathsByMonth, happened: NDArray[np.bool_], fired: NDArray[np.bool_]) -> Iterable[Episode]:
    for iso3, event, alert in zip(deaths.iso3, happened, fired, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], event, [False])).astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            months = deaths.months[start], deaths.months[stop - 1]
            yield Episode(iso3, str(months[0]), str(months[1]), bool(alert[start:stop].any()))


def _escalations(deaths: Floats, months: int) -> tuple[Floats, Floats]:
    """Return whether some three months in a row within `months` are an escalation, and the time until it [months]."""
    escalated, lead = observed_escalations(deaths), np.full(deaths.shape, np.nan)
    if deaths.shape[1] >= HORIZON:
        threshold = np.full(deaths.shape, np.nan)
        threshold[:, HORIZON - 1 :] = escalation_threshold(sliding_window_view(deaths, HORIZON, axis=1))
        total = np.zeros(deaths.shape)
        for after in range(1, HORIZON + 1):
            total += _ahead(deaths, after)
            lead = np.where(np.isnan(lead) & (escalated > 0) & (total >= threshold), after, lead)
    later = [_ahead(escalated, wait) for wait in range(months - HORIZON + 1)]
    leads = [_ahead(lead, wait) + wait for wait in range(months - HORIZON + 1)]
    happened = np.where(np.isnan(later).any(axis=0), np.nan, np.max(later, axis=0))
    return happened, np.where(happened > 0, np.fmin.reduce(leads), np.nan)


def _first_reached(ahead: Sequence[Floats], least: float) -> tuple[Floats, Floats]:
    """Return whether one of the months ahead has `least` deaths or more, and the first that has [months]."""
    stacked = np.stack(ahead)
    reached = stacked >= least
    happened = np.where(np.isnan(stacked).any(axis=0), np.nan, reached.any(axis=0))
    return happened, np.where(happened > 0, reached.argmax(axis=0) + 1.0, np.nan)


def _quiet(deaths: Floats) -> NDArray[np.bool_]:
    """Return where the last `QUIET_MONTHS` months are known and have no month of `BATTLE_DEATHS`."""
    quiet = np.zeros(deaths.shape, dtype=bool)
    if deaths.shape[1] >= QUIET_MONTHS:
        quiet[:, QUIET_MONTHS - 1 :] = (sliding_window_view(deaths, QUIET_MONTHS, axis=1) < BATTLE_DEATHS).all(axis=-1)
    return quiet


def _ahead(values: Floats, months: int) -> Floats:
    """Return the values so many months later, NaN after the end."""
    later = np.full(values.shape, np.nan)
    if months < values.shape[1]:
        later[:, : values.shape[1] - months] = values[:, months:]
    return later


def _ratio(part: float, of: float) -> float | None:
    return round(part / of, 4) if of else None
