"""Signals: the declared indicators that stand out against a country's own past.

An indicator stands out in a month if its count is the highest in five years, or if at most 5 % of the months of ten
years had one as high. Counts of windows that overlap can be equal: a high that lasts stands out for as long as it
lasts. A signal is an observation of what was reported: neither a forecast nor a cause. Months after the one that is
asked for change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography, windows
from riskmodel.assessment import region_origin
from riskmodel.events.view import View
from riskmodel.explanation.base_rates import base_rates
from riskmodel.explanation.narrative import events_payload, typeset
from riskmodel.explanation.signal_payload import NOTE, Reason, RecentDeaths, Signal, payload, signal_payload
from riskmodel.indicators.declaration import MAX_KEY_EVENTS, MIN_SIGNAL_EVENTS, Indicator, SignalRule
from riskmodel.indicators.inputs import Events, Indices, Inputs
from riskmodel.indicators.panel import INDICATORS
from riskmodel.indicators.read_inputs import read_events
from riskmodel.months import Month, Months
from riskmodel.outcomes import OUTCOMES, CountryMonths
from riskmodel.signal_table import MAX_PER_FAMILY
from riskmodel.windows import YEAR, Rectangle

KINDS: tuple[tuple[Indicator, SignalRule], ...] = tuple(
    (indicator, indicator.signal) for indicator in INDICATORS if indicator.signal
)
"""The indicators that can be signals, with their rules."""
FIVE_YEARS, TEN_YEARS = 60, 120  # [months]
RARE = 0.05
"""A count is rare if at most this share of the months of ten years had one as high."""


@dataclass(frozen=True)
class Comparison:
    """An indicator of some countries compared with its own past; all arrays are of shape (country, month).

    `values` are counts, NaN where unknown. `highest` marks the highest count in five years. `as_high_5` and
    `as_high_10` are how many of the 60 and 120 months before had a count at least as high; NaN where one of them is
    unknown. `stands_out` leaves out counts below the minimum. `rows` are the indices of the countries in `inputs`.
    """

    kind: Indicator
    rule: SignalRule
    inputs: Inputs
    rows: Indices
    values: Rectangle
    highest: NDArray[np.bool_]
    as_high_5: Rectangle
    as_high_10: Rectangle
    stands_out: NDArray[np.bool_]

    def events_behind(self, country: int, column: int) -> tuple[Indices, bool]:
        """Return the indices of the events that a count counts, and whether all of them are known."""
        if self.inputs.events is None:
            return np.empty(0, dtype=np.intp), False
        row = self.rows[country]
        behind = self.rule.events(self.inputs, int(row), column)
        if "events" in self.kind.inputs:
            return behind, True
        read = self.inputs.neighbours[row] if self.rule.of_neighbours else [row]
        window = slice(max(column - self.rule.months + 1, 0), column + 1)
        return behind, bool(self.inputs.events.covered[read, window].all())

    def is_signal(self, country: int, column: int) -> bool:
        """Return whether a count stands out and, if its events are known, has enough of them behind it."""
        if not self.stands_out[country, column]:
            return False
        behind, complete = self.events_behind(country, column)
        return behind.size >= MIN_SIGNAL_EVENTS or not complete

    def reason(self, country: int, column: int) -> Reason | None:
        """Return why a month cannot be compared with its past, or None."""
        if np.isnan(self.values[country, column]):
            return "value_unknown"
        return "past_too_short" if np.isnan(self.as_high_5[country, column]) else None

    def percentile(self, country: int, column: int) -> float | None:
        """Return in how many of the 120 months before a month the count was lower [%]; None if one is unknown."""
        as_high = self.as_high_10[country, column]
        return None if np.isnan(as_high) else round(100 * float(1 - as_high / TEN_YEARS), 1)

    def _listed(self, behind: Indices) -> list[dict[str, Any]]:
        """The deadliest of the events behind a count, then the newest, as they are shown."""
        if (events := self.inputs.events) is None:
            return []
        order = np.lexsort((-events.day[behind], -events.deaths[behind]))
        return events_payload(self.inputs, behind[order[:MAX_KEY_EVENTS]])

    def signal(self, country: int, column: int) -> Signal | None:
        """Return the signal of a country at the end of a month, if there is one."""
        if not self.is_signal(country, column):
            return None
        since = column
        while since and self.is_signal(country, since - 1):
            since -= 1
        behind, complete = self.events_behind(country, column)
        ten_years = not np.isnan(self.as_high_10[country, column])
        as_high = (self.as_high_10 if ten_years else self.as_high_5)[country, column]
        return Signal(
            kind=self.kind,
            months=self.rule.months,
            month=str(self.inputs.months[column]),
            value=int(self.values[country, column]),
            highest=bool(self.highest[country, column]),
            as_high=int(as_high),
            past=TEN_YEARS if ten_years else FIVE_YEARS,
            earlier=tuple(
                (str(self.inputs.months[column - age]), int(self.values[country, column - age]))
                for age in range(YEAR, FIVE_YEARS + 1, YEAR)
            ),
            since=str(self.inputs.months[since]),
            events=self._listed(behind),
            events_counted=behind.size if complete else None,
        )


def compare(kind: Indicator, rule: SignalRule, inputs: Inputs, rows: Indices) -> Comparison:
    """Compare an indicator of some countries with its own past. Column t uses nothing after month t."""
    values = np.full((len(rows), len(inputs.months)), np.nan)
    if inputs.available.issuperset(kind.inputs):
        values = kind.compute(inputs)[rows]
        values = np.rint(np.expm1(values) if kind.scale == "log1p" else values)
    before = windows.lagged(windows.maximum(values, FIVE_YEARS), 1)
    without_overlap = windows.lagged(windows.maximum(values, FIVE_YEARS - rule.months + 1), rule.months)
    highest = (values >= before) & (values > without_overlap)
    as_high_5, as_high_10 = (windows.months_as_high(values, months) for months in (FIVE_YEARS, TEN_YEARS))
    stands_out = (highest | (as_high_10 <= RARE * TEN_YEARS)) & (values >= rule.minimum)
    return Comparison(kind, rule, inputs, rows, values, highest, as_high_5, as_high_10, stands_out)


@dataclass(frozen=True)
class RegionSignals:
    """The signals of some countries, at the end of any month, of one outcome.

    `deaths` are those of the outcome as reported, shape (member, month) [deaths].
    """

    members: tuple[str, ...]
    outcome: str
    months: Months
    deaths: Rectangle
    comparisons: tuple[Comparison, ...]

    def at(self, month: Month) -> list[dict[str, Any]]:
        """Return the signals of each member at the end of a month, ready for JSON.

        They are unknown in a month that the archive does not have.
        """
        column = int((month - self.months[0]).astype(int)) if self.months.size else -1
        if 0 <= column < self.months.size:
            return [self._payload(country, column) for country in range(len(self.members))]
        unknown: list[tuple[Indicator, Reason]] = [(part.kind, "value_unknown") for part in self.comparisons]
        none = {part.kind.name: None for part in self.comparisons}
        return [payload(iso3, str(month), [], unknown, none) for iso3 in self.members]

    def _payload(self, country: int, column: int) -> dict[str, Any]:
        unknown: list[tuple[Indicator, Reason]] = []
        found = []
        for comparison in self.comparisons:
            if reason := comparison.reason(country, column):
                unknown.append((comparison.kind, reason))
            elif signal := comparison.signal(country, column):
                found.append(signal)
        year = self.deaths[country, max(column - YEAR + 1, 0) : column + 1]
        recent = RecentDeaths(self.outcome, float(year.sum()), float(year.max()))
        listed = _most_telling(found, self.outcome)
        signals = [signal_payload(signal, recent) for signal in listed]
        unlisted = [signal.kind.name for signal in found if signal not in listed]
        percentiles = {part.kind.name: part.percentile(country, column) for part in self.comparisons}
        return payload(self.members[country], str(self.months[column]), signals, unknown, percentiles, unlisted)


def _most_telling(found: Sequence[Signal], outcome: str) -> list[Signal]:
    """Return at most `MAX_PER_FAMILY` signals of each family: the rarest first, then the one with the highest lift."""

    def order(signal: Signal) -> tuple[float, float]:
        rate = base_rates(outcome).get((signal.kind.name, "escalation"))
        return signal.as_high / signal.past, -rate.lift if rate else 0.0

    chosen: list[Signal] = []
    for signal in sorted(found, key=order):
        if sum(other.kind.family == signal.kind.family for other in chosen) < MAX_PER_FAMILY:
            chosen.append(signal)
    return chosen


@dataclass(frozen=True)
class Observations:
    """What the signals of a region are found in: deaths as reported and events, of its members and their neighbours.

    `comparisons` are those that no outcome's deaths are needed for: the outcomes share them.
    """

    members: tuple[str, ...]
    frame: CountryMonths
    events: Events | None
    comparisons: tuple[Comparison, ...]

    def of(self, outcome: str) -> RegionSignals:
        """Return the signals of an outcome."""
        inputs, rows = _inputs(self.frame, self.events, outcome), self.frame.rows(self.members)
        shared = {part.kind.name: part for part in self.comparisons}
        comparisons = [shared.get(kind.name) or compare(kind, rule, inputs, rows) for kind, rule in KINDS]
        deaths = self.frame.deaths[outcome][rows]
        return RegionSignals(self.members, outcome, self.frame.months, deaths, tuple(comparisons))


def observe(view: View, members: tuple[str, ...]) -> Observations:
    """Read what the signals of some countries are found in, and compare with their past what no outcome changes."""
    around = {code for iso3 in members for code in (iso3, *geography.country(iso3).neighbours)}
    outcomes = view.outcomes()
    frame = outcomes.only(tuple(code for code in outcomes.iso3 if code in around)).including(members)
    return observations(members, frame, read_events(view, frame) if frame.months.size else None)


def signals_of_month(
    view: View, members: tuple[str, ...], month: Month | None = None, outcome: str | None = None
) -> dict[str, Any]:
    """Return the signals of some countries at the end of a month, ready for JSON, under `data`.

    By default the month is the newest one that is known for half of the countries. The default outcome is all deaths,
    where the archive has a history of them. Raises BadInput where no country has a history.
    """
    outcome = outcome or view.outcomes().default_outcome
    month = month or region_origin(view, members, outcome)
    return {
        "month": str(month),
        "outcome": outcome,
        "simulated": view.simulated,
        "note": note(),
        "data": observe(view, members).of(outcome).at(month),
    }


def with_signals(scores: Mapping[str, Any], stands_out: Mapping[str, Any]) -> dict[str, Any]:
    """Return a country's scores with its signals, the indicators that could not be compared with their past, the
    percentiles of the others, and the signals that are not listed."""
    own = {name: stands_out[name] for name in ("signals", "not_compared", "percentiles", "unlisted_signals")}
    return {**scores, **own, "reasons": {**scores["reasons"], **stands_out["reasons"]}}


def note() -> dict[str, str]:
    """Return what signals are and are not, in each language."""
    return typeset(NOTE)


def observations(members: tuple[str, ...], frame: CountryMonths, events: Events | None) -> Observations:
    """Make the observations of some countries of a frame; `events` are of the frame's countries and months."""
    inputs, rows = _inputs(frame, events, OUTCOMES[0]), frame.rows(members)
    shared = [compare(kind, rule, inputs, rows) for kind, rule in KINDS if "deaths" not in kind.inputs]
    return Observations(members, frame, events, tuple(shared))


def _inputs(frame: CountryMonths, events: Events | None, outcome: str) -> Inputs:
    return Inputs(frame.iso3, frame.months, {"deaths": frame.deaths[outcome]}, events, outcome)
