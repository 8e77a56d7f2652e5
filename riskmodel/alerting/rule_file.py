"""The file of alert rules: the one that ships, and the one in a home that replaces it; read and checked."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from riskmodel import reference
from riskmodel.alerting.rule import KnownNames, Rule, Severity
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.config_errors import line_of, rule_broken, syntax_error
from riskmodel.errors import BadInput, Refused
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS

SHIPPED = "alert_rules.toml"

BY_SEVERITY = "route_by_severity"
"""The table that gives a route to the rules of a severity that name none."""

WAY_OUT = "Correct it and check it with `vigie alerts check`, or move it away to use the rules that Vigie ships."


def load(home: Home, bands: Mapping[str, float]) -> tuple[Rule, ...]:
    """Return the rules of a home, or the shipped ones if it has none. Raises BadInput with file, line, rule and key.

    `bands` gives the lowest risk score of each band.
    """
    return parse(*read_file(home), bands)


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


def shipped() -> tuple[Rule, ...]:
    """Return the rules that Vigie ships."""
    return parse(reference.text(SHIPPED), SHIPPED)


def parse(text: str, file: str, bands: Mapping[str, float] = DEFAULT_BANDS) -> tuple[Rule, ...]:
    """Read rules from TOML; `rule = []` means no rules. Raises BadInput with file, line, rule and key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise BadInput(f"{file}: not valid TOML: {syntax_error(failure, text)}. {WAY_OUT}") from failure
    if unknown := sorted(tables.keys() - {"rule", BY_SEVERITY}):
        line = line_of(text, unknown[:1])
        raise BadInput(f"{_place(file, line)}: unknown key {unknown[0]!r}: rules are [[rule]] tables. {WAY_OUT}")
    routes = _routes_by_severity(tables.get(BY_SEVERITY, {}), text, file)
    if not isinstance(tables.get("rule"), list):
        raise BadInput(
            f"{file}: there are no [[rule]] tables in it. Write `rule = []` if you want no alerts at all, or move the "
            "file away to use the rules that Vigie ships."
        )
    known = _known_names(bands)
    rules: list[Rule] = []
    for index, table in enumerate(tables["rule"]):
        rule = _parse_rule(table, index, text, file, known)
        if any(rule.name == earlier.name for earlier in rules):
            line = line_of(text, ("rule", index, "name"))
            raise BadInput(f"{_place(file, line)}: rule {rule.name!r}: name: another rule has this name. {WAY_OUT}")
        rules.append(rule if rule.route else rule.model_copy(update={"route": routes.get(rule.severity)}))
    _check_inhibition(rules, text, file)
    return tuple(rules)


def _routes_by_severity(table: Any, text: str, file: str) -> dict[str, str]:
    """Return the route of each severity that has one."""
    severities = get_args(Severity)
    for key, route in table.items() if isinstance(table, dict) else [("", None)]:
        if key not in severities or not isinstance(route, str) or not 0 < len(route) <= 64:
            line = line_of(text, (BY_SEVERITY, *([key] if key else [])))
            must = f"must be a table with the name of a route for some of {', '.join(severities)}"
            raise BadInput(f"{_place(file, line)}: {'.'.join(filter(None, (BY_SEVERITY, key)))}: {must}. {WAY_OUT}")
    return dict(table)


def _check_inhibition(rules: Sequence[Rule], text: str, file: str) -> None:
    """Raise BadInput if a rule is inhibited by one that does not exist, or by itself, also through other rules."""
    inhibitors = {rule.name: rule.inhibited_by or () for rule in rules}
    for index, rule in enumerate(rules):
        error = None
        if unknown := [name for name in rule.inhibited_by or () if name not in inhibitors]:
            similar = difflib.get_close_matches(unknown[0], inhibitors, n=1)
            error = f"there is no rule {unknown[0]!r}" + (f" (did you mean {similar[0]}?)" if similar else "")
        elif rule.name in _inhibitors_of(rule.name, inhibitors):
            error = "the rule inhibits itself, alone or through other rules, so it could never send a message"
        if error:
            line = line_of(text, ("rule", index, "inhibited_by"))
            raise BadInput(f"{_place(file, line)}: rule {rule.name!r}: inhibited_by: {error}. {WAY_OUT}")


def _inhibitors_of(name: str, inhibitors: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the rules that inhibit a rule, directly or through others."""
    found: set[str] = set()
    waiting = list(inhibitors[name])
    while waiting:
        if (inhibitor := waiting.pop()) not in found:
            found.add(inhibitor)
            waiting += inhibitors.get(inhibitor, ())
    return found


def _known_names(bands: Mapping[str, float]) -> KnownNames:
    signals = [name for each in INDICATORS if each.signal for name in (each.name, each.family)]
    return KnownNames(bands, {each.name for each in INDICATORS}, set(signals))


def _parse_rule(table: Any, index: int, text: str, file: str, names: KnownNames) -> Rule:
    try:
        return Rule.model_validate(table, context=names)
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
