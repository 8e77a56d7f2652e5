"""How alert rules would have done at past origins, beside their rivals: as figures for JSON, and as rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring
from riskmodel.alerting.judgement import (
    MIN_JUDGED,
    ONSET_MONTHS,
    SEEN_MONTHS,
    Announcement,
    announcement_of,
    outcomes,
)
from riskmodel.alerting.rule import Rule
from riskmodel.months import Month
from riskmodel.scoring import Estimate
from training.alert_evaluation import AlertEvaluation, Mask, evaluate, fire
from training.alert_past import H24, LEVEL, AlertPast, rivals
from training.alert_tuning import closest
from training.formatting import INTERVAL_HEADING, UNKNOWN, format_value
from training.result_tables import Rows
from training.results import RESAMPLES, Floats

ONSET = Announcement("onset", ONSET_MONTHS)
HEADINGS = (
    "alerts",
    "a year",
    "right",
    "precision",
    "false per hit",
    "caught",
    "recall",
    "lead",
    "base rate",
    "onsets",
)
NOTES = (
    "an alert is right if what its rule announces followed; shares leave out alerts whose months are not over",
    "right: of the judged alerts; a year: alerts per country-year; false per hit: false alarms for each right alert",
    "caught: episodes in which an alert fired; an episode is an unbroken run of months with the event ahead of them",
    "onsets: caught episodes of a month of 25 deaths in the year ahead, after five years without one",
    "lead: the median of the months from a right alert to the event; base rate: how often the event followed any month",
    "rivals read the deaths of the same country-months; a threshold is the one that raises as many alerts as the rule",
    "h24 is the share of a country's last 24 sums of three months that would be an escalation",
    f"in brackets: the {INTERVAL_HEADING} of a bootstrap over countries, or over years where a rule has one country",
    f"fewer than {MIN_JUDGED} judged alerts are too few for a share to mean much",
)


@dataclass(frozen=True)
class Contender:
    """A rule or a rival: its alerts judged by one announcement, and how many onsets they caught."""

    name: str
    announcement: Announcement
    evaluation: AlertEvaluation
    onsets: AlertEvaluation
    is_rule: bool = True


@dataclass(frozen=True)
class RuleReport:
    """A rule at past origins, `first` to `last` (YYYY-MM): its own contenders first, then its rivals.

    `reason` says why there is nothing to judge; then there are no contenders.
    """

    rule: Rule
    outcome: str
    where: str
    source: str
    first: str | None
    last: str | None
    contenders: tuple[Contender, ...]
    reason: str | None = None


def report(rule: Rule, past: AlertPast, first: Month | None, last: Month | None) -> RuleReport:
    """Judge the alerts that a rule would have had at the origins from `first` to `last`, beside its rivals."""
    announcement = announcement_of(rule)
    if announcement is None:
        return _nothing(rule, past, "it is about the data and announces nothing")
    values = past.values_of(rule)
    if values is None:
        return _nothing(rule, past, "its metric is unknown at past origins")
    months = past.deaths.months
    inside = (months >= (months[0] if first is None else first)) & (months <= (months[-1] if last is None else last))
    read = ~np.isnan(values) & inside
    if not read.any():
        return _nothing(rule, past, "there is no value in these months")
    columns = np.flatnonzero(read.any(axis=0))
    units = _units(read, past)
    onsets = outcomes(ONSET, past.deaths.values)

    def contender(name: str, fired: Mask, of: Announcement, *, is_rule: bool) -> Contender:
        followed = outcomes(of, past.deaths.values)
        return Contender(
            name, of, evaluate(fired, read, followed, units), evaluate(fired, read, onsets, units), is_rule
        )

    fired = past.fired(rule)
    if announcement.seen:
        found = [
            contender(f"escalation in {within} months", fired, replace(announcement, months=within), is_rule=True)
            for within in SEEN_MONTHS
        ]
    else:
        found = [contender(rule.name, fired, announcement, is_rule=True)]
        alerts = int((fired & read).sum())
        for name, of_rival in rivals(past).items():
            on_same = np.where(read, of_rival, np.nan)
            label, at = _rival(name, on_same, alerts)
            found.append(contender(label, at, announcement, is_rule=False))
    ends = [str(months[columns[end]]) for end in (0, -1)]
    return RuleReport(rule, past.outcome, past.where, past.source, ends[0], ends[1], tuple(found))


def rows(of: RuleReport, seed: int) -> Rows:
    """Return a table of a rule and its rivals."""
    lines: list[tuple[str, ...]] = []
    for each in of.contenders:
        found, counts = each.evaluation, _counts(each, seed)
        judged = found.hits.sum() + found.false_alarms.sum()
        lines.append(
            (
                each.name,
                f"{found.alerts.sum():.0f}",
                _format_share(found.alerts_per_year(counts)),
                f"{found.hits.sum():.0f} of {judged:.0f}",
                _format_share(found.precision(counts)),
                _format_ratio(found.false_alarms_per_hit(counts)),
                f"{found.caught.sum():.0f} of {found.episodes.sum():.0f}",
                _format_share(found.recall(counts)),
                _format_months(found.median_lead(counts)),
                _format_share(found.base_rate(counts)),
                f"{each.onsets.caught.sum():.0f} of {each.onsets.episodes.sum():.0f}",
            )
        )
    return (of.rule.name, *HEADINGS), lines


def heading(of: RuleReport) -> str:
    """Return one line about a rule: what it watches, where, and the months that are covered."""
    rule = of.rule
    thresholds = f"fires at {rule.fire_at:g} for {rule.for_origins} origin(s), clears below {rule.clear_at:g}"
    if of.reason:
        return f"{rule.name}: {rule.metric}, {thresholds}; not judged: {of.reason}"
    return f"{rule.name}: {rule.metric}, {thresholds}; {of.where}, origins {of.first} to {of.last}, {of.source}"


def document(of: RuleReport, seed: int) -> dict[str, Any]:
    """Return a report ready for JSON. Each share has its value and its 90 % interval, None where unknown."""
    return {
        "rule": of.rule.name,
        "metric": of.rule.metric,
        "outcome": of.outcome,
        "fire_at": of.rule.fire_at,
        "clear_at": of.rule.clear_at,
        "for": of.rule.for_origins,
        "where": of.where,
        "source": of.source,
        "first_month": of.first,
        "last_month": of.last,
        "reason": of.reason,
        "contenders": [_figures(each, seed) for each in of.contenders],
    }


def _figures(contender: Contender, seed: int) -> dict[str, Any]:
    found, counts = contender.evaluation, _counts(contender, seed)
    alerts, hits, false_alarms = (int(each.sum()) for each in (found.alerts, found.hits, found.false_alarms))
    shares = {
        "precision": found.precision(counts),
        "recall": found.recall(counts),
        "false_alarms_per_hit": found.false_alarms_per_hit(counts),
        "alerts_per_country_year": found.alerts_per_year(counts),
        "median_lead_months": found.median_lead(counts),
        "base_rate": found.base_rate(counts),
        "onset_recall": contender.onsets.recall(counts),
    }
    return {
        "name": contender.name,
        "is_rule": contender.is_rule,
        "event": contender.announcement.event,
        "within_months": contender.announcement.months,
        "deaths": contender.announcement.deaths,
        "country_years": round(float(found.years.sum()), 2),
        "alerts": alerts,
        "hits": hits,
        "false_alarms": false_alarms,
        "not_judged": alerts - hits - false_alarms,
        "episodes": int(found.episodes.sum()),
        "caught": int(found.caught.sum()),
        "onsets": int(contender.onsets.episodes.sum()),
        "onsets_caught": int(contender.onsets.caught.sum()),
        "too_few_cases": hits + false_alarms < MIN_JUDGED,
        **{name: _estimate(resamples) for name, resamples in shares.items()},
    }


def _estimate(resamples: Floats) -> dict[str, float | None]:
    estimate = Estimate.from_bootstrap(resamples)
    values = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


def _nothing(rule: Rule, past: AlertPast, reason: str) -> RuleReport:
    return RuleReport(rule, past.outcome, past.where, past.source, None, None, (), reason)


def _units(read: Mask, past: AlertPast) -> NDArray[np.intp]:
    """Return the bootstrap unit of each country-month: its country, or its year where there is a single country."""
    if read.any(axis=1).sum() > 1:
        return np.broadcast_to(np.arange(len(read))[:, None], read.shape)
    years = past.deaths.months.astype("datetime64[Y]").astype(int)
    return np.broadcast_to(years - years[0], read.shape)


def _rival(name: str, values: Floats, alerts: int) -> tuple[str, Mask]:
    """Return a rival with its threshold, and where it fires."""
    if name not in (H24, LEVEL):
        return name, fire(values, 1.0, 1.0)
    setting = closest(values, alerts)
    if setting is None:
        return name, np.zeros(values.shape, dtype=bool)
    return f"{name} ≥ {setting.fire_at:g}", fire(values, *setting[:3])


def _counts(contender: Contender, seed: int) -> NDArray[np.int64]:
    """Draw how often each resample contains each unit that the contender has country-months of."""
    years = contender.evaluation.years
    present = np.flatnonzero(years > 0)
    counts = np.zeros((1 + RESAMPLES if present.size > 1 else 1, years.size), dtype=np.int64)
    counts[:, present] = scoring.bootstrap_counts(present.size, np.random.default_rng(seed), RESAMPLES)
    return counts


def _format_share(resamples: Floats) -> str:
    estimate = Estimate.from_bootstrap(resamples)
    value, low, high = (format_value("share", each) for each in (estimate.value, estimate.low, estimate.high))
    return value if low == UNKNOWN else f"{value} ({low}-{high})"


def _format_ratio(resamples: Floats) -> str:
    """Format false alarms per hit; a resample without a hit is infinite and counts as such."""
    if not np.isfinite(resamples[0]):
        return UNKNOWN
    known = resamples[1:][~np.isnan(resamples[1:])]
    if not known.size:
        return f"{resamples[0]:.1f}"
    low, high = (np.quantile(known, at, method="higher") for at in (0.05, 0.95))
    return f"{resamples[0]:.1f} ({low:.1f}-{'∞' if np.isinf(high) else f'{high:.1f}'})"


def _format_months(resamples: Floats) -> str:
    estimate = Estimate.from_bootstrap(resamples)
    low, high = (format_value("months", each) for each in (estimate.low, estimate.high))
    return f"{format_value('months', estimate.value)} ({low}-{high})" if np.isfinite(estimate.value) else UNKNOWN


def all_reports(
    rules: Sequence[Rule], pasts: Sequence[AlertPast], headline: str, first: Month | None, last: Month | None
) -> list[RuleReport]:
    """Return a report of each rule on each past of its outcome; a past that does not know a metric is left out.

    `headline` is the outcome of a rule that names none.
    """
    found = []
    for rule in rules:
        own = [past for past in pasts if past.outcome == (rule.outcome or headline)]
        reports = [report(rule, past, first, last) for past in own]
        judged = [each for each in reports if each.reason is None]
        found += judged or reports[:1]
    return found
