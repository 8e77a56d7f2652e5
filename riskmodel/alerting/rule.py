"""An alert rule, with the checks of its keys."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from riskmodel import geography
from riskmodel.alerting import metrics
from riskmodel.alerting.metrics import BAND, REGION_METRIC, MetricKind, Thresholds
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.errors import BadInput

Outcome = Literal["all", "state_based"]
Severity = Literal["info", "warning", "severe"]
SEVEREST_FIRST: tuple[Severity, ...] = ("severe", "warning", "info")
GroupBy = Literal["rule", "country", "region"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Threshold = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# No control characters: a title becomes part of an e-mail's subject.
OneLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,120}$")]
LongLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,400}$")]


@dataclass(frozen=True)
class KnownNames:
    """What a rule can name: the bands with their lowest scores, the indicators, and the kinds and families of signals.

    It is the validation context of `Rule`. Without it the bands are the default ones, and any indicator or signal is
    accepted.
    """

    bands: Mapping[str, float]
    indicators: Collection[str]
    signals: Collection[str]


class Title(BaseModel, extra="forbid", frozen=True):
    """Meaning of a rule in one line, in English and French."""

    en: OneLine
    fr: OneLine


class Note(BaseModel, extra="forbid", frozen=True):
    """What a reader should know or do when an alert of the rule fires, in English and French."""

    en: LongLine
    fr: LongLine


class Rule(BaseModel):
    """Rule: it fires once `metric` is at or above `fire_at` for `for_origins` origins, and clears below `clear_at`.

    The metric is that of the forecast of `outcome`, by default of each snapshot's headline. Thresholds are in the unit
    of the metric: risk score 0-100, probabilities 0-1, [deaths], [days]. Those of `band` are written as names of bands,
    and are the lowest scores of these. `min_settled` is a share 0-1 of the last three months, `cool_down` is a number
    of origins after the end of an alert. A message is repeated every `repeat_every` days. `group_by` says which changes
    of one run make one message. No messages are sent while a rule of `inhibited_by` fires for the same location.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    title: Title
    metric: str
    outcome: Outcome | None = None
    fire_at: Threshold
    clear_at: Threshold
    for_origins: Annotated[int, Field(alias="for", strict=True, ge=1)] = 1
    min_settled: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    cool_down: Annotated[int, Field(strict=True, ge=0)] = 0
    countries: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    severity: Severity
    route: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    repeat_every: Annotated[int, Field(strict=True, ge=1, le=366)] | None = None
    group_by: GroupBy | None = None
    inhibited_by: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    note: Note | None = None

    @property
    def kind(self) -> MetricKind:
        """What its metric is."""
        return metrics.kind_of(self.metric)

    @property
    def thresholds(self) -> Thresholds:
        """The two thresholds together."""
        return Thresholds(self.fire_at, self.clear_at)

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, metric: str, info: ValidationInfo) -> str:
        metrics.check(metric)
        if isinstance(info.context, KnownNames):
            argument = metrics.argument_of(metric).partition(":")[0]
            if metric.endswith(f":{metrics.PERCENTILE}"):
                _check_name(argument, info.context.signals, "an indicator that can be a signal")
            elif metric.startswith("indicator:"):
                _check_name(argument, info.context.indicators, "an indicator")
            if metric.startswith("signal:"):
                _check_name(argument, info.context.signals, "a kind or a family of signals")
        return metric

    @field_validator("fire_at", "clear_at", mode="before")
    @classmethod
    def _read_band(cls, threshold: Any, info: ValidationInfo) -> Any:
        if info.data.get("metric") != BAND:
            return threshold
        bands = info.context.bands if isinstance(info.context, KnownNames) else DEFAULT_BANDS
        names = [name for name, floor in bands.items() if floor > 0]  # no score enters the lowest band from below
        if threshold not in names:
            raise ValueError(f"must be the name of a band: {', '.join(names)}")
        return float(bands[threshold])

    @field_validator("fire_at", "clear_at")
    @classmethod
    def _check_threshold(cls, threshold: float, info: ValidationInfo) -> float:
        if "metric" not in info.data:
            return threshold
        metric = info.data["metric"]
        kind = metrics.kind_of(metric)
        if threshold <= 0 and not kind.signed:
            raise ValueError("must be greater than 0")
        if threshold > kind.maximum:
            raise ValueError(f"must not be above {kind.maximum:g}, the highest {metric}")
        return threshold

    @field_validator("clear_at")
    @classmethod
    def _check_clear_at(cls, clear_at: float, info: ValidationInfo) -> float:
        if clear_at > info.data.get("fire_at", clear_at):
            raise ValueError("must not be above fire_at")
        return clear_at

    @field_validator("for_origins")
    @classmethod
    def _check_for_origins(cls, origins: int, info: ValidationInfo) -> int:
        if origins > 1 and info.data.get("metric") == REGION_METRIC:
            raise ValueError(f"must be 1 or absent for {REGION_METRIC}, which changes with the clock")
        return origins

    @field_validator("min_settled", "cool_down", "countries")
    @classmethod
    def _check_absent(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("metric") == REGION_METRIC:
            raise ValueError(f"must be absent for {REGION_METRIC}, which is about the data of the whole region")
        return value

    @field_validator("countries")
    @classmethod
    def _check_countries(cls, countries: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for iso3 in countries or ():
            try:
                geography.country(iso3)
            except BadInput as unknown:
                raise ValueError(str(unknown)) from unknown
        return countries


def _check_name(name: str, known: Collection[str], what: str) -> None:
    if name in known:
        return
    similar = difflib.get_close_matches(name, known, n=1)
    raise ValueError(f"{name!r} is not the name of {what}" + (f" (did you mean {similar[0]}?)" if similar else ""))
