"""Alert rules: the shipped file, and the errors in a file of an operator."""

import re
from pathlib import Path

import pytest

from riskmodel import reference
from riskmodel.alerting import rule_file
from riskmodel.alerting.rule import Rule
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.errors import BadInput, Refused
from riskmodel.home import Home
from service.settings import load

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
min_settled = 0.6
cool_down = 3
note = { en = "Call the field office.", fr = "Appelez le bureau de terrain." }
repeat_every = 7
group_by = "country"
"""


def test_a_home_without_rules_uses_the_shipped_ones(tmp_path: Path) -> None:
    shipped = {rule.name: rule for rule in rule_file.load(Home(tmp_path), DEFAULT_BANDS)}
    assert {rule.metric.partition(":")[0] for rule in shipped.values()} == {
        *("escalation_probability", "onset_probability", "band", "signal", "neighbours_rising", "few_reports"),
        "data_age_days",
    }
    assert shipped["very-high-risk"].fire_at == DEFAULT_BANDS["very high"]
    assert all(rule.route is None for rule in shipped.values()), "a new home has no routes"


def test_the_rules_of_a_home_replace_the_shipped_ones(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.alert_rules.write_text(GOOD, encoding="utf-8")
    (rule,) = rule_file.load(home, DEFAULT_BANDS)
    assert (rule.fire_at, rule.clear_at, rule.for_origins) == (0.5, 0.4, 2)
    assert (rule.min_settled, rule.cool_down, rule.note.en) == (0.6, 3, "Call the field office.")
    assert (rule.countries, rule.severity, rule.route) == (("MLI", "BFA"), "severe", "duty")
    assert (rule.repeat_every, rule.group_by, rule.inhibited_by) == (7, "country", None)


def test_an_empty_list_means_no_rules() -> None:
    assert rule_file.parse("rule = []", "rules.toml") == ()


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
        ("min_settled = 0.6", "min_settled = 60", "min_settled"),
        ("cool_down = 3", "cool_down = -1", "cool_down"),
        ('en = "Call the field office."', 'en = ""', "note.en"),
        ('"escalation_probability"', '"escalation_probability:3"', "metric"),
        ('"escalation_probability"', '"probability_25"', "metric"),
        ('"escalation_probability"', '"probability_25:13"', "metric"),
        ('"escalation_probability"', '"indicator:capital_events"', "metric"),
        ('"escalation_probability"', '"indicator:own_events_12m:percentile"', "metric"),
        ('"escalation_probability"', '"indicator:capital_events_250km_12m:rank"', "metric"),
        ("repeat_every = 7", "repeat_every = 0", "repeat_every"),
        ("repeat_every = 7", 'repeat_every = "weekly"', "repeat_every"),
        ('group_by = "country"', 'group_by = "month"', "group_by"),
        ("repeat_every = 7", "inhibited_by = []", "inhibited_by"),
        ("repeat_every = 7", 'inhibited_by = ["nothing"]', "inhibited_by"),
        ("repeat_every = 7", 'inhibited_by = ["escalation"]', "inhibited_by"),
        ('"escalation_probability"', '"signal:weather"', "metric"),
        ('"escalation_probability"', '"band"', "fire_at"),
    ],
)
def test_an_error_names_file_line_rule_and_key(old: str, new: str, key: str) -> None:
    assert old in GOOD
    text = GOOD.replace("escalation", "other", 1) + GOOD.replace(old, new, 1)
    with pytest.raises(BadInput) as failure:
        rule_file.parse(text, "my/alert_rules.toml")
    name = "Escalation!" if key == "name" else "escalation"
    line = re.match(rf"my/alert_rules\.toml, line (\d+): rule '{name}': {re.escape(key)}: ", str(failure.value))
    assert line, str(failure.value)
    written = text.splitlines()[int(line[1]) - 1]
    assert written.startswith((key.partition(".")[0], "[[rule]]" if not new else key.partition(".")[0]))
    assert int(line[1]) > 10, "the first rule is correct"
    assert "vigie alerts check" in str(failure.value), "it names a way out"


@pytest.mark.parametrize(
    ("metric", "fire_at", "clear_at"),
    [
        ("probability_100:12", 0.2, 0.1),
        ("change_12m", 10, -2.5),
        ("rank_change", 2, 0),
        ("neighbours_rising", 2, 1),
        ("reported_deaths", 25, 10),
        ("indicator:capital_events_250km_12m", 5, 3),
        ("indicator:capital_events_250km_12m:change", 5, 0),
        ("indicator:capital_events_250km_12m:percentile", 95, 80),
        ("signal:capital", 1, 1),
        ("signal:capital_events_250km_12m", 1, 1),
        ("few_reports", 1, 1),
    ],
)
def test_every_metric_can_be_written(metric: str, fire_at: float, clear_at: float) -> None:
    text = GOOD.replace("escalation_probability", metric)
    text = text.replace("fire_at = 0.5", f"fire_at = {fire_at}").replace("clear_at = 0.4", f"clear_at = {clear_at}")
    (rule,) = rule_file.parse(text, "rules.toml")
    assert (rule.metric, rule.fire_at, rule.clear_at) == (metric, fire_at, clear_at)


def test_the_thresholds_of_a_band_are_names_of_the_settings() -> None:
    text = GOOD.replace("escalation_probability", "band").replace("0.5", '"alarm"').replace("0.4", '"watch"')
    (rule,) = rule_file.parse(text, "rules.toml", {"calm": 0, "watch": 30, "alarm": 60})
    assert (rule.fire_at, rule.clear_at) == (60, 30)
    with pytest.raises(BadInput, match=r"line 6: .*fire_at: must be the name of a band: low, moderate, high"):
        rule_file.parse(text, "rules.toml")


def test_a_similar_name_is_suggested() -> None:
    text = GOOD.replace("escalation_probability", "indicator:capital_events_250km_12").replace("0.5", "5")
    with pytest.raises(BadInput, match=r"line 5: .*did you mean capital_events_250km_12m\?"):
        rule_file.parse(text, "rules.toml")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[[rule]\n", r"rules\.toml: not valid TOML: .*at line 1, column 7"),
        ("", r"rules\.toml: there are no \[\[rule\]\] tables in it. Write `rule = \[\]`"),
        ("# nothing\n", "there are no"),
        ("rule = 3", "there are no"),
        ("\n[[rules]]\nname = 'a'", r"rules\.toml, line 2: unknown key 'rules'"),
        ("[[rule]]\nmetric = 'risk_score'", "line 1: rule number 1: name: is missing"),
        (GOOD.replace("severity", "severty"), r"line 10: rule 'escalation': .*unknown key \(did you mean severity\?\)"),
        (GOOD + GOOD, "line 19: rule 'escalation': name: another rule has this name"),
        ("rule = [1]", "line 1: rule number 1"),
        ("[route_by_severity]\nsever = 'duty'\n" + GOOD, r"line 2: route_by_severity\.sever: must be a table with"),
        ("[route_by_severity]\nsevere = ['duty']\n" + GOOD, r"line 2: route_by_severity\.severe: must be a table with"),
        (
            GOOD
            + 'inhibited_by = ["second"]'
            + GOOD.replace("escalation", "second", 1)
            + 'inhibited_by = ["escalation"]',
            r"line 17: rule 'escalation': inhibited_by: the rule inhibits itself, alone or through other rules",
        ),
        (GOOD + 'inhibited_by = ["escalating"]', r"there is no rule 'escalating' \(did you mean escalation\?\)"),
    ],
)
def test_a_broken_file_is_refused_with_the_way_out(text: str, error: str) -> None:
    with pytest.raises(BadInput, match=error) as failure:
        rule_file.parse(text, "rules.toml")
    assert "move" in str(failure.value)


def test_a_rule_without_a_route_takes_that_of_its_severity() -> None:
    without = GOOD.replace('route = "duty"\n', "").replace("escalation", "other", 1)
    text = f"{GOOD}{without}{without.replace('other', 'third', 1).replace('severe', 'info')}"
    rules = rule_file.parse(f'{text}[route_by_severity]\nsevere = "on-call"\n', "rules.toml")
    assert [rule.route for rule in rules] == ["duty", "on-call", None]


def test_a_percentile_is_at_most_100() -> None:
    text = GOOD.replace("escalation_probability", "indicator:capital_events_250km_12m:percentile").replace("0.5", "101")
    with pytest.raises(BadInput, match="fire_at: must not be above 100"):
        rule_file.parse(text, "rules.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.alert_rules.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"alert_rules\.toml: cannot be read: it is not UTF-8 text"):
        rule_file.load(home, DEFAULT_BANDS)


def test_the_written_file_has_the_shipped_rules_and_is_never_overwritten(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    rule_file.write_shipped(home)
    assert home.alert_rules.read_text(encoding="utf-8") == reference.text(rule_file.SHIPPED)
    assert rule_file.load(home, DEFAULT_BANDS) == rule_file.shipped()
    home.alert_rules.write_text(GOOD, encoding="utf-8")
    with pytest.raises(Refused, match="exists already"):
        rule_file.write_shipped(home)
    assert home.alert_rules.read_text(encoding="utf-8") == GOOD


def test_the_examples_in_the_guide_are_right(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    rule, routes = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    home = Home(tmp_path)
    home.alert_rules.write_text(rule, encoding="utf-8")
    home.settings.write_text(routes, encoding="utf-8")
    (example,) = rule_file.load(home, DEFAULT_BANDS)
    assert example.route in load(home).routes
    assert {f"`{'for' if key == 'for_origins' else key}`" for key in Rule.model_fields} <= set(
        re.findall(r"^\| (`\w+`) \|", guide, re.MULTILINE)
    )
