"""Alert rules: what ships, and what a person may get wrong in a file of their own."""

import re
from pathlib import Path

import pytest

from riskmodel import reference
from riskmodel.errors import BadInput
from riskmodel.home import Home
from service.alerts import rules
from service.settings import DEFAULT_BANDS, load

GOOD = """
[[rule]]
name = "escalation"
title = { en = "Escalation", fr = "Escalade" }
metric = "escalation_probability"
fire_at = 0.5
clear_at = 0.4
for = 2
countries = ["MLI", "BFA"]
severity = "severe"
route = "duty"
"""


def test_a_home_without_rules_has_those_that_ship(tmp_path: Path) -> None:
    shipped = {rule.name: rule for rule in rules.load(Home(tmp_path))}
    assert {rule.metric for rule in shipped.values()} == {"escalation_probability", "risk_score", "data_age_days"}
    assert shipped["very-high-risk"].fire_at == DEFAULT_BANDS["very high"]
    assert all(rule.route is None for rule in shipped.values()), "a fresh home has no routes to send by"


def test_the_rules_of_a_home_take_the_place_of_those_that_ship(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.alert_rules.write_text(GOOD, encoding="utf-8")
    (rule,) = rules.load(home)
    assert (rule.fire_at, rule.clear_at, rule.for_origins) == (0.5, 0.4, 2)
    assert (rule.countries, rule.severity, rule.route) == (("MLI", "BFA"), "severe", "duty")


def test_a_home_may_want_no_alerts() -> None:
    assert rules.parse("rule = []", "here") == ()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("fire_at = 0.5", "", "fire_at"),
        ("fire_at = 0.5", "fire_at = 50", "fire_at"),
        ("fire_at = 0.5", 'fire_at = "0.5"', "fire_at"),
        ("fire_at = 0.5", "fire_at = nan", "fire_at"),
        ("fire_at = 0.5", "fire_at = true", "fire_at"),
        ("clear_at = 0.4", "clear_at = 0.6", "clear_at"),
        ("clear_at = 0.4", "clear_at = 0.0", "clear_at"),
        ("for = 2", "for = 0", "for"),
        ("for = 2", "for = 1.5", "for"),
        ('["MLI", "BFA"]', '["Mali"]', "countries"),
        ('["MLI", "BFA"]', "[]", "countries"),
        ('"severe"', '"dreadful"', "severity"),
        ('"escalation_probability"', '"deaths"', "metric"),
        ('"escalation_probability"', '"data_age_days"', "for"),
        (', fr = "Escalade"', "", "title.fr"),
        ('"Escalade"', '"Escalade\\nBcc: all@example.org"', "title.fr"),
        ('route = "duty"', 'channel = "duty"', "channel"),
        ('name = "escalation"', 'name = "Escalation!"', "name"),
    ],
)
def test_a_wrong_value_is_named_by_file_rule_and_key(old: str, new: str, key: str) -> None:
    assert old in GOOD
    with pytest.raises(BadInput) as wrong:
        rules.parse(GOOD.replace(old, new, 1), "my/alert_rules.toml")
    said = str(wrong.value)
    named = "Escalation!" if key == "name" else "escalation"
    assert said.startswith(f"my/alert_rules.toml: rule '{named}': ")
    assert f"{key}: " in said


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[[rule]\n", "not TOML"),
        ("", "no rules"),
        ("rule = 3", "no rules"),
        ("[[rules]]\nname = 'a'", "unknown key 'rules'"),
        ("[[rule]]\nmetric = 'risk_score'", "rule number 1: name"),
        (GOOD + GOOD, "stands twice"),
        ("rule = [1]", "rule number 1"),
    ],
)
def test_a_wrong_file_is_told(text: str, rule: str) -> None:
    with pytest.raises(BadInput, match=rule):
        rules.parse(text, "here")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.alert_rules.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"alert_rules\.toml: cannot be read"):
        rules.load(home)


def test_what_ships_can_be_a_start_for_a_file_of_ones_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.alert_rules.write_text(reference.text(rules.SHIPPED), encoding="utf-8")
    assert rules.load(home) == rules.parse(reference.text(rules.SHIPPED), "shipped")


def test_the_examples_in_the_guide_are_right(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    rule, routes = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    home = Home(tmp_path)
    home.alert_rules.write_text(rule, encoding="utf-8")
    home.settings.write_text(routes, encoding="utf-8")
    (example,) = rules.load(home)
    assert example.route in load(home).routes
    assert {f"`{'for' if key == 'for_origins' else key}`" for key in rules.Rule.model_fields} <= set(
        re.findall(r"^\| (`\w+`) \|", guide, re.MULTILINE)
    )
