"""Output and exit codes of `vigie alerts backtest` and `vigie alerts tune`."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel import bundle
from riskmodel.bundle import Provenance
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS

Vigie = Callable[..., Any]

RULES = """
[[rule]]
name = "escalation"
title = { en = "Escalation", fr = "Escalade" }
metric = "escalation_probability"
fire_at = 0.1
clear_at = 0.1
severity = "severe"

[[rule]]
name = "high"
title = { en = "High", fr = "Haut" }
metric = "risk_score"
fire_at = 20
clear_at = 15
severity = "warning"

[[rule]]
name = "few-reports"
title = { en = "Few", fr = "Peu" }
metric = "few_reports"
fire_at = 1
clear_at = 1
severity = "info"
"""


@pytest.fixture
def ruled(home: Home, archive: None) -> Home:
    """A home with ten years of eight countries, a model in service, and three rules."""
    features = tuple(indicator.name for indicator in INDICATORS)
    provenance = Provenance("state_based", "2009-12", "0" * 64, False, 1, features, {}, "2026-11-22T08:00:00Z")
    bundle.set_champion(home.models, bundle.save(Conflictology(), provenance, home.models))
    home.alert_rules.write_text(RULES, encoding="utf-8")
    return home


def test_rules_are_judged_beside_rivals_and_tuned_on_hindcasts_that_are_computed_first(
    ruled: Home, vigie: Vigie, tmp_path: Path
) -> None:
    result = vigie("alerts", "backtest", "--from", "2007-03", "--to", "2009-06", "--format", "json")
    assert result.code == 0, result.err
    escalation, high, few = json.loads(result.out)["data"]
    assert (escalation["first_month"], escalation["last_month"]) == ("2007-03", "2009-06")
    own, *rivals = escalation["contenders"]
    assert [rival["is_rule"] for rival in rivals] == [False] * 4
    assert own["alerts"] == own["hits"] + own["false_alarms"] + own["not_judged"] > 0
    assert own["precision"]["value"] == round(own["hits"] / (own["hits"] + own["false_alarms"]), 4)
    assert own["precision"]["low"] <= own["precision"]["value"] <= own["precision"]["high"]
    assert len({rival["base_rate"]["value"] for rival in rivals}) == 1, "rivals see the same country-months"
    assert [(each["event"], each["within_months"]) for each in high["contenders"]] == [
        ("escalation", 6),
        ("escalation", 12),
    ]
    assert (few["contenders"], few["reason"]) == ([], "it is about the data and announces nothing")
    shown = vigie("alerts", "backtest", "--from", "2007-03", "--to", "2009-06")
    assert "origins 2007-03 to 2009-06, hindcasts" in shown.out
    assert f"{own['hits']} of {own['hits'] + own['false_alarms']}" in shown.out
    assert "nan" not in shown.out
    table, drawing = tmp_path / "curve.csv", tmp_path / "curve.svg"
    files = ("--csv", table, "--svg", drawing)
    tuned = vigie("alerts", "tune", "--from", "2007-01", "--budget", "0.5 per country-year", *files)
    assert tuned.code == 0, tuned.err
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    [chosen] = [row for row in rows if row["chosen"] == "1"]
    assert f"fire_at = {float(chosen['fire_at']):g}\nclear_at = {float(chosen['clear_at']):g}\n" in tuned.out
    assert 0 < float(chosen["in_region_per_country_year"]) <= 0.5
    assert "escalation: escalation_probability" in tuned.out
    assert "high" not in tuned.out, "only rules that forecast an event are tuned unless they are named"
    assert drawing.read_text(encoding="utf-8").count("<circle") > 3
    costs = vigie("alerts", "tune", "--rule", "high", "--from", "2007-01", "--cost-ratio", "5")
    assert "goal: a missed event costs as much as 5 false alarms" in costs.out, costs.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--budget", "much"), "'much' is no budget: write '1 per country-year'"),
        (("--budget", "1", "--cost-ratio", "10"), "choose one: --budget or --cost-ratio"),
        (("--rule", "hihg"), "there is no rule 'hihg': escalation, high, few-reports"),
        (("--rule", "few-reports"), "few_reports announces nothing"),
    ],
)
def test_wrong_use_of_tune_is_refused(ruled: Home, vigie: Vigie, arguments: tuple[str, ...], error: str) -> None:
    result = vigie("alerts", "tune", *arguments)
    assert result.code == 2
    assert error in " ".join(result.err.split())


def test_tuning_on_all_countries_needs_a_rolling_back_test(ruled: Home, vigie: Vigie) -> None:
    result = vigie("alerts", "tune", "--scope", "world")
    assert result.code == 3
    assert "run vigie backtest --rolling 2008:2022 first" in result.err
