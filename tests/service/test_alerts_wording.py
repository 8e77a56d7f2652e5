"""Texts of alerts: no jargon, French typography, and numbers that agree with their nouns."""

import re
from typing import Any

import pytest

from riskmodel import reference
from riskmodel.outcomes import OUTCOMES
from service.alerts import rules, wording
from service.snapshots.outcome_parts import MISSING_REASONS

FACTS: dict[str, Any] = {
    "name": wording.name("BFA", "MLI"),
    "title": {"en": "A title", "fr": "Un titre"},
    "metric": "risk_score",
    "value": 78.1,
    "fire_at": 70,
    "clear_at": 65,
    "causes": ["new_month"],
    "outcome": "state_based",
    "data_as_of": "2022-12-31",
    "snapshot_id": 11,
    "withdrawn_reason": "a wrong file.",
}
PROBABILITIES = {"value": 0.456, "fire_at": 0.5, "clear_at": 0.4}


def texts() -> list[dict[str, dict[str, str]]]:
    """Headline and text of every kind of message, metric, cause and outcome."""
    firing = wording.change("firing", FACTS)
    summaries = [wording.summary(FACTS | {"alerts": [FACTS] * count}) for count in range(3)]
    corrections = [wording.correction(FACTS | {"alerts": [firing] * count}) for count in (1, 2)]
    changes = [
        wording.change(state, FACTS | {"metric": metric, "causes": [cause], "outcome": outcome} | more)
        for state in ("ok", "pending", "firing", "resolved")
        for metric in wording.METRICS
        for cause in wording.CAUSES
        for outcome in OUTCOMES
        for more in ([{"value": None}, PROBABILITIES] if metric.endswith("_probability") else [{}])
    ]
    losses = [wording.loss(FACTS | {"reason": reason}, of_forecast="all") for reason in MISSING_REASONS]
    return [*changes, *summaries, *losses, *corrections, wording.test("duty")]


def test_no_text_contains_jargon() -> None:
    for message in texts():
        for language in ("en", "fr"):
            for part in ("headline", "text"):
                assert not re.search("snapshot|bulletin|firing|fires|resolved|décès", message[part][language], re.I)


def test_french_texts_have_non_breaking_spaces() -> None:
    shipped = [{"headline": rule.title.model_dump()} for rule in rules.parse(reference.text(rules.SHIPPED), "shipped")]
    for message in [*texts(), *shipped]:
        for text in message.values():
            assert not re.search("[^\xa0\u202f][:;?!»%]|«[^\xa0\u202f]", text["fr"]), text["fr"]


@pytest.mark.parametrize(
    ("count", "en", "fr"),
    [(0, "0 alerts", "0 alerte"), (1, "1 alert", "1 alerte"), (2, "2 alerts", "2 alertes")],
)
def test_a_summary_counts_its_alerts(count: int, en: str, fr: str) -> None:
    headline = wording.summary(FACTS | {"alerts": [FACTS] * count})["headline"]
    assert headline["en"].endswith(f"first forecast, {en}")
    assert headline["fr"].endswith(f"première prévision, {fr}")


@pytest.mark.parametrize(
    ("count", "en", "fr"),
    [
        (1, "disregard 1 earlier message", "d’un message précédent"),
        (2, "2 earlier messages", "de 2 messages précédents"),
    ],
)
def test_a_correction_counts_the_messages_and_gives_the_reason(count: int, en: str, fr: str) -> None:
    message = wording.correction(FACTS | {"alerts": [wording.change("firing", FACTS)] * count})
    assert message["headline"]["en"].endswith(en)
    assert message["headline"]["fr"].endswith(fr)
    assert "Reason: a wrong file. Forecast no. 11" in message["text"]["en"]


@pytest.mark.parametrize(
    ("metric", "value", "en", "fr"),
    [
        ("escalation_probability", 0.456, "45.6%", "45,6\xa0%"),
        ("expected_deaths", 1234.56, "1,234.6", "1\u202f234,6"),
        ("risk_score", 78.0, "78", "78"),
    ],
)
def test_amounts_are_written_as_in_the_language(metric: str, value: float, en: str, fr: str) -> None:
    assert (wording.amount(metric, value, "en"), wording.amount(metric, value, "fr")) == (en, fr)


def test_a_message_leads_to_the_page_of_its_outcome() -> None:
    data = {"location_code": "MLI", "outcome": "state_based"}
    for more, page in (
        ({"of_headline": True}, "/fr/country/MLI"),
        ({"of_headline": False}, "/fr/state_based/country/MLI"),
    ):
        linked = wording.with_links({"data": data | more}, "https://example.org")
        assert linked["data"]["url"]["fr"] == f"https://example.org{page}"
