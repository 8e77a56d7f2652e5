"""Alert rules: data that people edit, read and checked. What a rule says, and never what becomes of it."""

import math
import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from riskmodel import geography, reference
from riskmodel.errors import BadInput
from riskmodel.home import Home

SHIPPED = "alert_rules.toml"

Metric = Literal["risk_score", "escalation_probability", "onset_probability", "expected_deaths", "data_age_days"]
Severity = Literal["info", "warning", "severe"]

REGION_METRIC: Metric = "data_age_days"
"""The one metric that is about the region as a whole, and moves with the clock and not with the origin."""

HIGHEST: dict[Metric, float] = {
    "risk_score": 100,
    "escalation_probability": 1,
    "onset_probability": 1,
    "expected_deaths": math.inf,
    "data_age_days": math.inf,
}
"""The highest value each metric can have: a threshold above it would never be met."""

Threshold = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,120}$")]


class Title(BaseModel, extra="forbid", frozen=True):
    """What it means that a rule fires, in one line."""

    en: Line
    fr: Line


class Rule(BaseModel):
    """One rule: it fires when `metric` has been at or above `fire_at` for so many origins, and clears below `clear_at`.

    Thresholds are in the unit of the metric: risk score 0-100, probabilities 0-1, [deaths], [days].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: Title
    metric: Metric
    fire_at: Threshold
    clear_at: Threshold
    for_origins: Annotated[int, Field(alias="for", strict=True, ge=1)] = 1
    countries: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    severity: Severity
    route: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @field_validator("fire_at")
    @classmethod
    def _can_be_met(cls, fire_at: float, info: ValidationInfo) -> float:
        if "metric" in info.data and fire_at > (highest := HIGHEST[info.data["metric"]]):
            raise ValueError(f"{info.data['metric']} is never above {highest:g}")
        return fire_at

    @field_validator("clear_at")
    @classmethod
    def _not_above(cls, clear_at: float, info: ValidationInfo) -> float:
        if clear_at > info.data.get("fire_at", math.inf):
            raise ValueError("an alert must not clear above the value it fires at")
        return clear_at

    @field_validator("for_origins")
    @classmethod
    def _origins_pass(cls, origins: int, info: ValidationInfo) -> int:
        if origins > 1 and info.data.get("metric") == REGION_METRIC:
            raise ValueError(f"{REGION_METRIC} moves with the clock, not from origin to origin")
        return origins

    @field_validator("countries")
    @classmethod
    def _known(cls, countries: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if countries and info.data.get("metric") == REGION_METRIC:
            raise ValueError(f"{REGION_METRIC} is about the region, not about a country")
        for iso3 in countries or ():
            try:
                geography.country(iso3)
            except BadInput as unknown:
                raise ValueError(str(unknown)) from unknown
        return countries


def load(home: Home) -> tuple[Rule, ...]:
    """The rules of a home, or those that ship if it has none. Raises BadInput naming file, rule and key."""
    return parse(*source(home))


def source(home: Home) -> tuple[str, str]:
    """The text of the rules in force, and the name of where it stands. Raises BadInput if it cannot be read."""
    own = home.alert_rules
    if not own.exists():
        return reference.text(SHIPPED), f"the {SHIPPED} that ships"
    try:
        return own.read_text(encoding="utf-8"), str(own)
    except (OSError, UnicodeDecodeError) as unreadable:
        raise BadInput(f"{own}: cannot be read: {unreadable}") from unreadable


def parse(text: str, where: str) -> tuple[Rule, ...]:
    """Read rules from TOML. `rule = []` is no rules at all. Raises BadInput naming `where`, rule and key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise BadInput(f"{where}: not TOML: {broken}") from broken
    if (unknown := sorted(tables.keys() - {"rule"})) or not isinstance(tables.get("rule"), list):
        said = f"unknown key {unknown[0]!r}" if unknown else "no rules"
        raise BadInput(f"{where}: {said}: rules are [[rule]] tables (rule = [] where none is wanted)")
    rules = tuple(_rule(table, number, where) for number, table in enumerate(tables["rule"], start=1))
    names = [rule.name for rule in rules]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInput(f"{where}: rule {twice!r}: name: stands twice; each rule has a name of its own")
    return rules


def _rule(table: Any, number: int, where: str) -> Rule:
    try:
        return Rule.model_validate(table)
    except ValidationError as wrong:
        named = table.get("name") if isinstance(table, dict) else None
        rule = f"rule {named!r}" if isinstance(named, str) else f"rule number {number}"
        found = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in wrong.errors()
        )
        raise BadInput(f"{where}: {rule}: {found}") from None
