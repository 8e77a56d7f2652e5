"""The proposed settings of an alert rule, and what each threshold would have cost: as tables, CSV and SVG."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from riskmodel.alerting.judgement import announcement_of, outcomes
from riskmodel.alerting.rule import Rule
from riskmodel.errors import BadInput
from riskmodel.months import Month
from training import plots
from training.alert_past import AlertPast, years_of
from training.alert_tuning import CLEAR_RATIOS, Counts, Goal, Settings, Trial, fire_nested, grid, levels
from training.formatting import format_value
from training.result_tables import Rows
from training.results import Floats

NOTES = (
    "in the region: alerts per country-year in the region, where the budget counts",
    "right: of the judged alerts; caught: episodes in which an alert fired; a year: alerts per country-year",
    "*: the proposed settings. The other rows have the same `for` and the same ratio of `clear_at` to `fire_at`",
    "chosen on the years before: each year is judged with settings that have not seen it",
)
COLUMNS = (
    *("rule", "metric", "outcome", "first_month", "last_month", "fire_at", "clear_at", "for", "chosen"),
    *(
        "alerts",
        "alerts_per_country_year",
        "in_region_per_country_year",
        "hits",
        "false_alarms",
        "precision",
        "caught",
        "episodes",
        "recall",
    ),
)
CELLS = ("alerts", "a year", "right", "precision", "caught", "recall")
SHOWN_LEVELS = 16
"""How many thresholds the table shows at most; the CSV has all."""


@dataclass(frozen=True)
class Year:
    """A year that is judged with settings chosen on the years before it; None where there are too few."""

    year: int
    settings: Settings | None
    counts: Counts


@dataclass(frozen=True)
class Tuning:
    """What tuning a rule on the origins `first` to `last` (YYYY-MM) found.

    `counts` are of all settings of `trial`, and so
    is `limited_rate`, the alerts per country-year where a budget counts.
    """

    rule: Rule
    where: str
    outcome: str
    first: str
    last: str
    trial: Trial
    counts: Counts
    limited_rate: Floats
    place: int | None
    years: tuple[Year, ...]
    nested: Counts

    @property
    def chosen(self) -> Settings | None:
        """The proposed settings."""
        return None if self.place is None else self.trial.settings[self.place]

    @property
    def curve(self) -> list[int]:
        """The places of the settings that differ from the proposed ones in their threshold only, the lowest first."""
        like = self.chosen or self.trial.settings[0]
        return [
            place
            for place, each in enumerate(self.trial.settings)
            if each.for_origins == like.for_origins and each.ratio == like.ratio
        ]


def tune(
    rule: Rule, past: AlertPast, goal: Goal, first: Month | None, last: Month | None, region: Collection[str]
) -> Tuning:
    """Choose settings of a rule on the origins from `first` to `last`.

    A budget counts in the countries of `region` alone. Raises BadInput where the rule has no values in these months.
    """
    announcement, values = announcement_of(rule), past.values_of(rule)
    months = past.deaths.months
    if announcement is None or values is None:
        raise BadInput(f"the rule {rule.name!r} cannot be tuned: {rule.metric} is unknown at past origins")
    first, last = months[0] if first is None else first, months[-1] if last is None else last
    known = np.flatnonzero(((months >= first) & (months <= last))[None] & ~np.isnan(values)) % months.size
    if not known.size:
        raise BadInput(f"the rule {rule.name!r} cannot be tuned: {rule.metric} has no value in these months")
    start, stop = int(known.min()), int(known.max()) + 1
    followed = outcomes(announcement, past.deaths.values)
    inside = np.full(values.shape, np.nan)
    inside[:, start:stop] = values[:, start:stop]
    ratios = (1.0,) if rule.kind.signed else CLEAR_RATIOS
    settings = grid(levels(inside), ratios)
    if not settings:
        raise BadInput(f"the rule {rule.name!r} cannot be tuned: {rule.metric} is never above 0 in these months")
    limited = np.isin(past.deaths.iso3, list(region))
    trial = Trial(inside, followed, announcement.months, settings, limited)
    years = years_of(months, months[start], months[stop - 1])
    columns = list(years.values())
    places = trial.nested(goal, columns)
    fired = fire_nested(trial, columns, places)
    judged = [at.start for at, place in zip(columns, places, strict=True) if place is not None]
    return Tuning(
        rule=rule,
        where=past.where,
        outcome=past.outcome,
        first=str(months[start]),
        last=str(months[stop - 1]),
        trial=trial,
        counts=trial.counts(slice(start, stop), known_until=stop - 1),
        limited_rate=trial.limited_rate(slice(start, stop)),
        place=trial.choose(goal, stop),
        years=tuple(
            Year(
                year,
                None if place is None else settings[place],
                trial.counts_of(fired, at),
            )
            for (year, at), place in zip(years.items(), places, strict=True)
        ),
        nested=trial.counts_of(fired, slice(min(judged, default=stop), stop)),
    )


def curve_rows(tuning: Tuning) -> Rows:
    """Return the trade-off between alerts and what they catch, the highest threshold first."""
    places, limited = tuning.curve, tuning.limited_rate
    step = -(-len(places) // SHOWN_LEVELS)
    shown = [place for rank, place in enumerate(places) if rank % step == 0 or place == tuning.place]
    rows = [
        (
            "*" if place == tuning.place else "",
            f"{tuning.trial.settings[place].fire_at:g}",
            f"{tuning.trial.settings[place].clear_at:g}",
            f"{limited[place]:.2f}",
            *_cells(tuning.counts, place),
            "#" * round(30 * float(tuning.counts.caught[place]) / max(tuning.counts.episodes, 1)),
        )
        for place in reversed(shown)
    ]
    headings = ("", "fire_at", "clear_at", "in the region", *CELLS, "")
    return headings, rows


def nested_rows(tuning: Tuning) -> Rows:
    """Return how each year went with settings that were chosen on the years before it."""
    rows = [
        (
            str(each.year),
            *(f"{number:g}" for number in each.settings[:3]),
            *_cells(each.counts, 0),
        )
        for each in tuning.years
        if each.settings is not None
    ]
    rows.append(("all", "", "", "", *_cells(tuning.nested, 0)))
    return ("chosen on the years before", "fire_at", "clear_at", "for", *CELLS), rows


def csv_text(tunings: Sequence[Tuning]) -> str:
    """Return all settings that were tried, one row each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for tuning in tunings:
        counts = tuning.counts
        for place, setting in enumerate(tuning.trial.settings):
            hits, false_alarms = counts.hits[place], counts.false_alarms[place]
            writer.writerow(
                {
                    "rule": tuning.rule.name,
                    "metric": tuning.rule.metric,
                    "outcome": tuning.outcome,
                    "first_month": tuning.first,
                    "last_month": tuning.last,
                    "fire_at": setting.fire_at,
                    "clear_at": setting.clear_at,
                    "for": setting.for_origins,
                    "chosen": int(place == tuning.place),
                    "alerts": int(counts.alerts[place]),
                    "alerts_per_country_year": round(counts.alerts[place] / counts.years, 4),
                    "in_region_per_country_year": round(tuning.limited_rate[place], 4),
                    "hits": int(hits),
                    "false_alarms": int(false_alarms),
                    "precision": round(hits / (hits + false_alarms), 4) if hits + false_alarms else "",
                    "caught": int(counts.caught[place]),
                    "episodes": counts.episodes,
                    "recall": round(counts.caught[place] / counts.episodes, 4) if counts.episodes else "",
                }
            )
    return text.getvalue()


def svg(tunings: Sequence[Tuning], *, simulated: bool) -> str:
    """Draw one curve for each rule: alerts per country-year across, the share of episodes that they catch up."""
    curves = []
    for tuning in tunings:
        counts = tuning.counts
        points = [
            (float(counts.alerts[place]) / counts.years, float(counts.caught[place]) / max(counts.episodes, 1))
            for place in tuning.curve
        ]
        chosen = None if tuning.place is None else tuning.curve.index(tuning.place)
        title = f"{'SIMULATED ' if simulated else ''}{tuning.rule.name}, {tuning.first} to {tuning.last}"
        curves.append((title, points, chosen))
    return plots.alert_curves(curves)


def _cells(counts: Counts, place: int) -> tuple[str, ...]:
    hits, judged = counts.hits[place], counts.hits[place] + counts.false_alarms[place]
    return (
        f"{counts.alerts[place]:.0f}",
        format_value("share", counts.alerts[place] / counts.years if counts.years else None),
        f"{hits:.0f} of {judged:.0f}",
        format_value("share", hits / judged if judged else None),
        f"{counts.caught[place]:.0f} of {counts.episodes}",
        format_value("share", counts.caught[place] / counts.episodes if counts.episodes else None),
    )
