"""`vigie alerts replay` shows what would have been sent, and what happened."""

import json
from collections.abc import Callable
from typing import Any

import hindcast_files
import numpy as np
import pytest
from recompute_support import OperatedHome
from snapshot_documents import SCORES

from riskmodel.home import Home
from riskmodel.months import month, span

Vigie = Callable[..., Any]

RULES = """
[[rule]]
name = "high"
title = { en = "Risk is high", fr = "Le risque est élevé" }
metric = "risk_score"
fire_at = 80
clear_at = 80
severity = "warning"
countries = ["MLI"]

[[rule]]
name = "few"
title = { en = "Few reports", fr = "Peu d’informations" }
metric = "few_reports"
fire_at = 1
clear_at = 1
severity = "info"
"""


@pytest.fixture
def replayed(home: Home) -> Home:
    """Mali: 30 deaths a month in 2021, a high score from May to July, and 600 deaths in October."""
    operated = OperatedHome(home.root)
    operated.ingest_months("2021-12", MLI=[30] * 9 + [600, 0, 0])
    home.alert_rules.write_text(RULES, encoding="utf-8")
    for origin in span(month("2020-03"), month("2021-11")):
        high = month("2021-05") <= origin <= month("2021-07")
        hindcast_files.write(home, str(origin), lower=0.0 if high else 7.0)
    return home


def test_each_message_has_its_headline_and_each_alert_its_result(replayed: Home, vigie: Vigie) -> None:
    assert SCORES["MLI"] is not None
    assert 80 < SCORES["MLI"] < 87
    result = vigie("alerts", "replay", "--from", "2021-03", "--to", "2021-12", "--format", "json")
    assert result.code == 0, result.err
    content = json.loads(result.out)
    fired, ended = content["messages"]
    assert (fired["origin"], fired["kind"], fired["location_code"]) == ("2021-05", "firing", "MLI")
    assert "Mali" in fired["headline"]["en"]
    assert "81.4, up from 74.4 in April 2021 (alert from 80)" in fired["text"]["en"]
    assert "Le risque est élevé" in fired["headline"]["fr"]
    assert (fired["result"], fired["lead_months"], fired["deaths"]) == ("hit", 5, [30, 30, 30, 30, 600, 0])
    assert (ended["origin"], ended["kind"], ended["fired_origin"]) == ("2021-08", "resolved", "2021-05")
    high, few = content["rules"]
    assert (high["alerts"], high["hit"], high["within_months"]) == (1, 1, 6)
    assert (few["event"], few["alerts"]) == (None, 0)
    shown = vigie("alerts", "replay", "--from", "2021-03", "--to", "2021-12").out
    assert "right after 5 month(s); deaths of the next months: 30 30 30 30 600 0" in shown
    assert "high: 1 alerts, right 1 of 1 (escalation within 6 months)" in shown


def test_an_alert_that_began_before_only_ends(replayed: Home, vigie: Vigie) -> None:
    result = vigie("alerts", "replay", "--from", "2021-06", "--to", "2021-12", "--format", "json")
    assert [message["kind"] for message in json.loads(result.out)["messages"]] == ["resolved"]


def test_other_countries_have_no_messages(replayed: Home, vigie: Vigie) -> None:
    result = vigie("alerts", "replay", "--from", "2021-03", "--to", "2021-12", "--country", "NER")
    assert "no rule would have sent a message from 2021-03 to 2021-12" in result.out


def test_a_period_that_ends_before_it_begins_is_wrong_use(replayed: Home, vigie: Vigie) -> None:
    assert vigie("alerts", "replay", "--from", "2021-03", "--to", "2021-01").code == 2


@pytest.mark.long
def test_missing_hindcasts_are_computed_first(home: Home, vigie: Vigie) -> None:
    rng = np.random.default_rng(1)
    operated = OperatedHome(home.root)
    operated.ingest_months("2021-12", MLI=rng.integers(0, 90, 60).tolist())
    operated.put_model()
    home.alert_rules.write_text(RULES, encoding="utf-8")
    result = vigie("alerts", "replay", "--from", "2021-01", "--to", "2021-06", "--format", "json")
    assert result.code == 0, result.err
    assert list(home.hindcasts.glob("MLI/state_based/2020-01.parquet"))
