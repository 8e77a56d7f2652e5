"""What the alert rules that ship would have said of real and invented history."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel.alerting import rule_file
from riskmodel.alerting.metrics import RegionScores
from riskmodel.alerting.replay import alerts_of, of_hindcast, past_scores, replay
from riskmodel.alerting.rule import Rule
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.events.archive import Archive
from riskmodel.explanation.narrative import families_payload
from riskmodel.explanation.signals import observe
from riskmodel.home import Home
from riskmodel.months import month, span

Vigie = Callable[..., Any]

RULES = {rule.name: rule for rule in rule_file.shipped()}


@pytest.fixture
def mali(vigie: Vigie, home: Home, shared: Path) -> list[RegionScores]:
    """What rules about signals read of Mali in 2020-2022, in UCDP's events."""
    file = shared / "gedevents_mali_to_2022.csv.gz"
    entered = vigie("ingest", "ucdp", file, "--covers", "MLI:1989-01..2022-12", "--release", "24.1")
    assert entered.code == 0, entered.err
    signals = observe(Archive(home.archive).view(), ("MLI",)).of("all")
    families = families_payload("all")
    hindcasts = [
        {"origin": str(origin), "countries": [{**each, "risk_score": None} for each in signals.at(origin)]}
        for origin in span(month("2020-01"), month("2022-12"))
    ]
    return past_scores([of_hindcast(hindcast, DEFAULT_BANDS, families) for hindcast in hindcasts])


def test_violence_nears_bamako_in_2021_and_2022(mali: list[RegionScores]) -> None:
    found = replay(RULES["capital-250km"], mali)
    firing = {
        origin
        for alert in found.alerts
        for origin in found.origins
        if alert.fired_origin <= origin and (alert.ended_origin is None or origin < alert.ended_origin)
    }
    assert {"2021-12", "2022-12"} <= firing
    assert not any(origin.startswith("2020") for origin in firing)


def test_the_rule_of_the_inner_ring_reads_a_signal_that_rarer_ones_hide(mali: list[RegionScores]) -> None:
    found = replay(RULES["capital-100km"], mali)
    assert {reading.reason for reading in found.readings["MLI"]} == {None}


@pytest.mark.parametrize("name", ["high-risk", "very-high-risk"])
def test_a_long_war_does_not_keep_a_band_alert(name: str) -> None:
    rule: Rule = RULES[name]
    scores = [40.0] * 12 + [90.0] * 30
    hindcasts = [
        {"origin": str(origin), "countries": [{"location_code": "MLI", "risk_score": score, "reasons": {}}]}
        for origin, score in zip(span(month("2010-01"), month("2013-06")), scores, strict=True)
    ]
    found = replay(rule, past_scores([of_hindcast(each, DEFAULT_BANDS, []) for each in hindcasts]))
    assert [(alert.fired_origin, alert.ended_origin) for alert in found.alerts] == [("2011-01", "2012-01")]


def test_escalation_fires_at_a_chance_of_one_in_six() -> None:
    rule = RULES["escalation"]
    origins = ["2020-01", "2020-02", "2020-03"]
    assert [alert.fired_origin for alert in alerts_of(rule, "MLI", origins, [0.1, 1 / 6 + 0.01, 0.1])] == ["2020-02"]
    assert alerts_of(rule, "MLI", origins, [0.1, 0.15, 0.1]) == []
