"""The metrics of alert rules: how each is written, its limits, and how it is read from the scores of one origin.

A metric is a name such as `risk_score`, some with an argument after a colon, such as `signal:capital`. The words of
metrics are in `service.alerts.wording`.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from riskmodel import geography, score_changes
from riskmodel.indicator_values import count_of
from riskmodel.months import month
from riskmodel.score_changes import NO_EARLIER_SCORE, SPANS, RiskScores
from riskmodel.signal_table import MAX_PER_FAMILY

REGION_METRIC = "data_age_days"
"""The metric of the region as a whole. It changes with the clock; the others change with the origin."""

BAND = "band"
"""The metric whose thresholds are names of bands."""

RECENT_MONTHS = 3
"""The months of `reported_deaths`, and of the share of settled data [months]."""
BAND_MONTHS = 12
"""A band counts as entered if the score was below it at one of so many origins before [months]."""
RISE_POINTS = 5.0
"""A neighbour's risk score rises if it gains this much in a month [points]."""

PERCENTILE = "percentile"
"""The end of a metric that is an indicator's percentile in its own past."""

FEW_REPORTS = "few_reports"
PAST_TOO_SHORT = "past_too_short"
"""The reason where an indicator has no percentile, because not all of the ten years before are known."""
NOT_DECLARED = "not_in_snapshot"
"""The reason where a snapshot does not declare the indicator or the family."""
NOT_SETTLED = "not_settled"
"""The reason where less of the recent data is settled than a rule asks for."""


class Thresholds(NamedTuple):
    """An alert fires at or above `fire_at` and is resolved below `clear_at`, in the unit of its metric."""

    fire_at: float
    clear_at: float


class Reading(NamedTuple):
    """The value of a metric, or None and the reason why it is unknown."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class RegionScores:
    """What rules read: the scores of a region at one origin, of one outcome, and those of earlier origins.

    `document` is flat, as a snapshot has it: `origin` (YYYY-MM), `data_as_of`, `bands`, `indicator_families`, and
    `countries` with the payload of each country. `earlier` has risk scores by origin; an unknown origin is absent.
    `today` is the day on which the rules are evaluated (UTC).
    """

    document: Mapping[str, Any]
    earlier: Mapping[str, RiskScores]
    today: date

    @cached_property
    def countries(self) -> dict[str, Mapping[str, Any]]:
        """The payload of each country by its code."""
        return {country["location_code"]: country for country in self.document["countries"]}

    @cached_property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Ranks and changes of each country by its code; see `score_changes`."""
        earlier = {span: self.before(months) for span, months in SPANS.items()}
        return score_changes.changes(self.document["countries"], earlier)

    @cached_property
    def indicators(self) -> dict[str, Mapping[str, Any]]:
        """The declaration of each indicator by its name, with the name of its `family`."""
        return {
            indicator["name"]: {**indicator, "family": family["name"]}
            for family in self.document["indicator_families"]
            for indicator in family["indicators"]
        }

    def before(self, months: int) -> RiskScores:
        """Return the scores of the origin some months before; empty if they are unknown."""
        return self.earlier.get(str(month(self.document["origin"]) - months), {})


Read: TypeAlias = Callable[[RegionScores, str, str, Thresholds], Reading]
"""Takes the scores of a region, a country, the argument of the metric and the thresholds of the rule.

Where a value is known in part, the thresholds decide whether that part is enough.
"""


@dataclass(frozen=True)
class MetricKind:
    """One metric.

    `argument` is how its argument is written, None if it takes none, and `pattern` the form of it. `maximum` is the
    highest value; a rule with a higher threshold would never fire. `signed` metrics can be below 0. `earlier_months`
    is how far back it reads earlier scores [months].
    """

    read: Read
    maximum: float = math.inf
    argument: str | None = None
    pattern: str = ""
    signed: bool = False
    probability: bool = False
    earlier_months: int = 0


def kind_of(metric: str) -> MetricKind:
    """Return the kind of a metric that `check` accepts."""
    return PERCENTILE_KIND if metric.endswith(f":{PERCENTILE}") else KINDS[metric.partition(":")[0]]


def argument_of(metric: str) -> str:
    """Return what stands after the colon; empty if the metric takes no argument."""
    return metric.partition(":")[2]


def check(metric: str) -> str:
    """Return a metric if it is written correctly. Raises ValueError with the rule."""
    name, colon, argument = metric.partition(":")
    if name not in KINDS:
        raise ValueError(f"must be one of {', '.join(map(_form, KINDS))}")
    kind = KINDS[name]
    if bool(colon) != bool(kind.argument) or not re.fullmatch(kind.pattern, argument):
        raise ValueError(f"must be written {_form(name)}")
    return metric


def _form(name: str) -> str:
    argument = KINDS[name].argument
    return f"{name}:{argument}" if argument else name


def read(metric: str, scores: RegionScores, iso3: str, thresholds: Thresholds, min_settled: float = 0.0) -> Reading:
    """Return the value of a metric of a country, or the reason why it is unknown.

    It is unknown if less than the share `min_settled` of the months of `RECENT_MONTHS` is settled.
    """
    if min_settled and settled_share(scores.countries[iso3]) < min_settled:
        return Reading(None, NOT_SETTLED)
    return kind_of(metric).read(scores, iso3, argument_of(metric), thresholds)


def settled_share(country: Mapping[str, Any]) -> float:
    """Return the share of the last three months whose deaths are known and can no longer change."""
    recent = country["observed"][-RECENT_MONTHS:]
    return sum(each["deaths"] is not None and "release_class" not in each for each in recent) / RECENT_MONTHS


def _score(name: str, scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    return _of(scores.countries[iso3], name)


def _change(name: str, scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    return _of(scores.changes[iso3], name)


def _of(payload: Mapping[str, Any], name: str) -> Reading:
    value = payload[name]
    return Reading(value) if value is not None else Reading(None, payload["reasons"].get(name, "unknown"))


def _probability(threshold: int, scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    country = scores.countries[iso3]
    for entry in country["forecast"]:
        if entry["lead"] == int(argument):
            return Reading(entry[f"probability_{threshold}"])
    return Reading(None, country["reasons"].get("forecast") or country["reasons"].get("risk_score", "unknown"))


def _band(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    """Return the lowest score of the present band if the score rose into that of `fire_at` or a higher one; else 0.

    The rise was within a year. A country that has been in a band for longer has not risen into it. An earlier score
    that is unknown may have been lower. If that could change the state of an alert, the answer is unknown.
    """
    score, reason = _of(scores.countries[iso3], "risk_score")
    if score is None:
        return Reading(None, reason)
    earlier = [scores.before(months).get(iso3) for months in range(BAND_MONTHS, 0, -1)]
    path = [*(each for each in earlier if each is not None), score]
    floors = scores.document["bands"].values()
    present = max(floor for floor in floors if floor <= score)
    if any(_rises_into(floor, path) for floor in floors if floor >= thresholds.fire_at):
        return Reading(present)
    if None in earlier and present >= thresholds.clear_at:
        return Reading(None, NO_EARLIER_SCORE)
    return Reading(0.0)


def _rises_into(floor: float, path: Sequence[float]) -> bool:
    """Return whether scores in the order of time reach `floor` after one below it."""
    lowest = accumulate(path, min)
    return any(before < floor <= after for before, after in zip(lowest, path[1:], strict=False))


def _reported_deaths(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    country = scores.countries[iso3]
    deaths = [each["deaths"] for each in country["observed"][-RECENT_MONTHS:]]
    if len(deaths) < RECENT_MONTHS or None in deaths:
        return Reading(None, country["reasons"].get("latest_month", "value_unknown"))
    return Reading(sum(deaths))


def _few_reports(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    country = scores.countries[iso3]
    if country["latest_month"] is None:
        return Reading(None, country["reasons"].get("latest_month", "unknown"))
    return Reading(float(any(warning["code"] == FEW_REPORTS for warning in country["data_quality"])))


def _indicator(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    """Return an indicator's value or its change over a year. Where a logarithm is stored, both are of the count."""
    name, _, change = argument.partition(":")
    country, declared = scores.countries[iso3], scores.indicators.get(name)
    if country["indicators"] is None:  # in a hindcast
        return Reading(None, country["reasons"].get("indicators", "unknown"))
    now, before = country["indicators"].get(name), country["indicators_before"].get(name)
    if declared is None:
        return Reading(None, NOT_DECLARED)
    if now is None or (change and before is None):
        return Reading(None, "input_missing" if declared["input_missing"] else "unknown")
    value, subtracted = now, before if change else 0.0
    if declared["scale"] == "log1p":
        value, subtracted = count_of(value), count_of(subtracted)
    return Reading(round(value - subtracted, 4))


def _percentile(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    """Return in how many of the months of the last ten years an indicator was lower than now [%]."""
    name, country = argument.partition(":")[0], scores.countries[iso3]
    if name not in country["percentiles"]:
        return Reading(None, NOT_DECLARED)
    unknown = [each["reason"] for each in country["not_compared"] if each["indicator"] == name]
    value = country["percentiles"][name]
    return Reading(None, unknown[0] if unknown else PAST_TOO_SHORT) if value is None else Reading(value)


def _signal(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    """Return how many signals there are of a kind or a family."""
    country = scores.countries[iso3]
    if country["signals"] is None:
        return Reading(None, country["reasons"].get("signals", "unknown"))
    if argument not in scores.indicators and all(argument != each["family"] for each in scores.indicators.values()):
        return Reading(None, NOT_DECLARED)
    if argument in country["unlisted_signals"]:
        return Reading(1)
    matching = [signal for signal in country["signals"] if argument in (signal["indicator"], signal["family"])]
    if len(matching) >= thresholds.fire_at:
        return Reading(len(matching))
    for other in country["not_compared"]:
        if argument in (other["indicator"], other["family"]):
            return Reading(None, other["reason"])
    return Reading(len(matching))


def _neighbours_rising(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    """Return how many neighbours within the region have risen by `RISE_POINTS` or more in a month."""
    neighbours = [code for code in geography.country(iso3).neighbours if code in scores.countries]
    found = [_of(scores.changes[code], "change_1m") for code in neighbours]
    rising = sum(change >= RISE_POINTS for change, _ in found if change is not None)
    unknown = [reason for change, reason in found if change is None]
    return Reading(None, unknown[0]) if unknown and rising < thresholds.fire_at else Reading(rising)


def _data_age(scores: RegionScores, iso3: str, argument: str, thresholds: Thresholds) -> Reading:
    return Reading((scores.today - date.fromisoformat(scores.document["data_as_of"])).days)


_A_YEAR = max(SPANS.values())

KINDS: Mapping[str, MetricKind] = {
    "risk_score": MetricKind(partial(_score, "risk_score"), maximum=100),
    BAND: MetricKind(_band, maximum=100, earlier_months=BAND_MONTHS),
    "escalation_probability": MetricKind(partial(_score, "escalation_probability"), maximum=1, probability=True),
    "onset_probability": MetricKind(partial(_score, "onset_probability"), maximum=1, probability=True),
    **{
        f"probability_{deaths}": MetricKind(
            partial(_probability, deaths), maximum=1, argument="LEAD", pattern="[1-9]|1[0-2]", probability=True
        )
        for deaths in (1, 25, 100)
    },
    "expected_deaths": MetricKind(partial(_score, "expected_deaths")),
    "reported_deaths": MetricKind(_reported_deaths),
    **{
        f"change_{span}": MetricKind(partial(_change, f"change_{span}"), 100, signed=True, earlier_months=_A_YEAR)
        for span in SPANS
    },
    "rank_change": MetricKind(partial(_change, "rank_change"), signed=True, earlier_months=_A_YEAR),
    "neighbours_rising": MetricKind(_neighbours_rising, earlier_months=_A_YEAR),
    "indicator": MetricKind(
        _indicator,
        argument="NAME, indicator:NAME:change or indicator:NAME:percentile",
        pattern=r"\w+(:change|:percentile)?",
        signed=True,
    ),
    "signal": MetricKind(_signal, MAX_PER_FAMILY, argument="KIND or signal:FAMILY", pattern=r"\w+"),
    FEW_REPORTS: MetricKind(_few_reports, maximum=1),
    REGION_METRIC: MetricKind(_data_age),
}
"""Each metric by its name. Those that are fields of the API have the names that they have there."""

PERCENTILE_KIND = MetricKind(_percentile, maximum=100)
"""`indicator:NAME:percentile`, of the indicators that can be signals."""
