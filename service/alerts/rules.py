"""Alert rules: the TOML file that people edit, read and checked. `service.alerts.wording` has the words of metrics."""

import math
import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from riskmodel import geography, reference
from riskmodel.errors import BadInput, Refused
from riskmodel.home import Home
from service.config_errors import line_of, rule_broken, syntax_error

SHIPPED = "alert_rules.toml"

WAY_OUT = "Correct it and check it with `vigie alerts rules`, or move it away to use the rules that Vigie ships."

Metric = Literal["risk_score", "escalation_probability", "onset_probability", "expected_deaths", "data_age_days"]
Outcome = Literal["all", "state_based"]
Severity = Literal["info", "warning", "severe"]

REGION_METRIC: Metric = "data_age_days"
"""The metric of the region as a whole. It changes with the clock; the others change with the origin."""

MAXIMUM: dict[Metric, float] = {
    "risk_score": 100,
    "escalation_probability": 1,
    "onset_probability": 1,
    "expected_deaths": math.inf,
    "data_age_days": math.inf,
}
"""Highest value of each metric. A rule with a higher threshold would never fire."""

Threshold = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
# No control characters: a title becomes part of an e-mail's subject.
OneLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,120}$")]


class Title(BaseModel, extra="forbid", frozen=True):
    """Meaning of a rule in one line, in English and French."""

    en: OneLine
    fr: OneLine


class Rule(BaseModel):
    """Rule: it fires once `metric` is at or above `fire_at` for `for_origins` origins, and clears below `clear_at`.

    The metric is that of the forecast of `outcome`, by default of each snapshot's headline.
    Thresholds are in the unit of the metric: risk score 0-100, probabilities 0-1, [deaths], [days].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: Title
    metric: Metric
    outcome: Outcome | None = None
    fire_at: Threshold
    clear_at: Threshold
    for_origins: Annotated[int, Field(alias="for", strict=True, ge=1)] = 1
    countries: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    severity: Severity
    route: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @field_validator("fire_at")
    @classmethod
    def _check_fire_at(cls, fire_at: float, info: ValidationInfo) -> float:
        if "metric" in info.data and fire_at > (maximum := MAXIMUM[info.data["metric"]]):
            raise ValueError(f"must not be above {maximum:g}, the highest {info.data['metric']}")
        return fire_at

    @field_validator("clear_at")
    @classmethod
    def _check_clear_at(cls, clear_at: float, info: ValidationInfo) -> float:
        if clear_at > info.data.get("fire_at", math.inf):
            raise ValueError("must not be above fire_at")
        return clear_at

    @field_validator("for_origins")
    @classmethod
    def _check_for_origins(cls, origins: int, info: ValidationInfo) -> int:
        if origins > 1 and info.data.get("metric") == REGION_METRIC:
            raise ValueError(f"must be 1 or absent for {REGION_METRIC}, which changes with the clock")
        return origins

    @field_validator("countries")
    @classmethod
    def _check_countries(cls, countries: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if countries and info.data.get("metric") == REGION_METRIC:
            raise ValueError(f"must be absent for {REGION_METRIC}, which is about the whole region")
        for iso3 in countries or ():
            try:
                geography.country(iso3)
            except BadInput as unknown:
                raise ValueError(str(unknown)) from unknown
        return countries


def load(home: Home) -> tuple[Rule, ...]:
    """Return the rules of a home, or the shipped ones if it has none. Raises BadInput with file, line, rule and key."""
    return parse(*read_file(home))


def read_file(home: Home) -> tuple[str, str]:
    """Return the text of the rules in force and the name of their file. Raises BadInput if it cannot be read."""
    path = home.alert_rules
    if not path.exists():
        return reference.text(SHIPPED), f"the {SHIPPED} that Vigie ships"
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except UnicodeDecodeError:
        raise BadInput(f"{path}: cannot be read: it is not UTF-8 text. {WAY_OUT}") from None
    except OSError as failure:
        raise BadInput(f"{path}: cannot be read: {failure.strerror}. {WAY_OUT}") from failure


def write_shipped(home: Home) -> None:
    """Write the shipped rules to a home, as a file to edit. Raises Refused if it has a file of rules."""
    home.root.mkdir(parents=True, exist_ok=True)
    try:
        with home.alert_rules.open("x", encoding="utf-8") as file:  # "x" never overwrites, also if two run at once
            file.write(reference.text(SHIPPED))
    except FileExistsError:
        raise Refused(
            f"{home.alert_rules}: exists already, and Vigie does not overwrite it. Edit it, or move it away first."
        ) from None


def parse(text: str, file: str) -> tuple[Rule, ...]:
    """Read rules from TOML; `rule = []` means no rules. Raises BadInput with file, line, rule and key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise BadInput(f"{file}: not valid TOML: {syntax_error(failure, text)}. {WAY_OUT}") from failure
    if unknown := sorted(tables.keys() - {"rule"}):
        line = line_of(text, unknown[:1])
        raise BadInput(f"{_place(file, line)}: unknown key {unknown[0]!r}: rules are [[rule]] tables. {WAY_OUT}")
    if not isinstance(tables.get("rule"), list):
        raise BadInput(
            f"{file}: there are no [[rule]] tables in it. Write `rule = []` if you want no alerts at all, or move the "
            "file away to use the rules that Vigie ships."
        )
    rules: list[Rule] = []
    for index, table in enumerate(tables["rule"]):
        rule = _parse_rule(table, index, text, file)
        if any(rule.name == earlier.name for earlier in rules):
            line = line_of(text, ("rule", index, "name"))
            raise BadInput(f"{_place(file, line)}: rule {rule.name!r}: name: another rule has this name. {WAY_OUT}")
        rules.append(rule)
    return tuple(rules)


def _parse_rule(table: Any, index: int, text: str, file: str) -> Rule:
    try:
        return Rule.model_validate(table)
    except ValidationError as failure:
        errors = sorted(failure.errors(), key=lambda error: error["type"] == "missing")  # those with a line first
    name = table.get("name") if isinstance(table, dict) else None
    rule = f"rule {name!r}" if isinstance(name, str) else f"rule number {index + 1}"
    known = [field.alias or key for key, field in Rule.model_fields.items()]
    found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'table'}: {rule_broken(e, known)}" for e in errors)
    line = line_of(text, ("rule", index, *errors[0]["loc"]))
    raise BadInput(f"{_place(file, line)}: {rule}: {found}. {WAY_OUT}")


def _place(file: str, line: int | None) -> str:
    return file if line is None else f"{file}, line {line}"
