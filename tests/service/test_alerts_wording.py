"""Texts of alerts: no jargon, French typography, and numbers that agree with their nouns."""

import re
from functools import cache
from typing import Any

import pytest
from snapshot_documents import families

from riskmodel.alerting import rule_file
from riskmodel.alerting.metrics import KINDS
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.outcomes import OUTCOMES
from service.alerts import metric_words, wording
from service.snapshots.outcome_parts import MISSING_REASONS

FORECAST = {"indicator_families": families()}
ARGUMENTS = {"indicator": ":events_near_12m:change", "signal": ":capital"}
METRICS = [f"{name}{ARGUMENTS.get(name, ':3' if kind.argument else '')}" for name, kind in KINDS.items()]

FACTS: dict[str, Any] = {
    "name": wording.name("BFA", "MLI"),
    "title": {"en": "A title", "fr": "Un titre"},
    "note": None,
    "metric": "risk_score",
    "metric_label": metric_words.metric_label("risk_score", FORECAST),
    "bands": DEFAULT_BANDS,
    "value": 78.1,
    "fire_at": 70,
    "clear_at": 65,
    "causes": ["new_month"],
    "outcome": "state_based",
    "origin": "2022-12",
    "data_as_of": "2022-12-31",
    "at": "2023-01-10T08:30:00Z",
    "snapshot_id": 11,
    "withdrawn_reason": "a wrong file.",
}
PROBABILITIES = {"value": 0.456, "fire_at": 0.5, "clear_at": 0.4}


STATES = ("ok", "pending", "firing", "resolved", "corrected", "expired")
LENGTHS = ("headline", "sms", "text", "full")
JARGON = r"snapshot|bulletin|firing|fires|resolved|décès|\borigin|metric|métrique|forecast no|prévision n°|None\b|null"


def of_metric(metric: str) -> dict[str, Any]:
    return {"metric": metric, "metric_label": metric_words.metric_label(metric, FORECAST)}


@cache
def texts() -> list[dict[str, dict[str, str]]]:
    """Headline and text of every kind of message, metric, cause and outcome."""
    firing = wording.change("firing", FACTS)
    summaries = [wording.summary(FACTS | {"alerts": [FACTS] * count}) for count in range(3)]
    corrections = [wording.correction(FACTS | {"alerts": [firing] * count}) for count in (1, 2)]
    changes = [
        wording.change(state, FACTS | of_metric(metric) | {"causes": [cause], "outcome": outcome} | more)
        for metric in METRICS
        for state in (
            ("ok", "pending", "firing", "resolved", "corrected", "expired") if metric == "band" else ("firing",)
        )
        for cause in wording.CAUSES
        for outcome in OUTCOMES
        for more in ([{"value": None}, PROBABILITIES] if "probability" in metric else [{}])
    ]
    losses = [wording.loss(FACTS | {"reason": reason}, of_forecast="all") for reason in MISSING_REASONS]
    return [*changes, *summaries, *losses, *corrections, wording.test("duty")]


def test_no_text_contains_jargon() -> None:
    for message in texts():
        for language in ("en", "fr"):
            for text in (message[part][language] for part in LENGTHS):
                assert not re.search(JARGON, text, re.I), text


def test_french_texts_have_non_breaking_spaces() -> None:
    shipped = [{"headline": rule.title.model_dump()} for rule in rule_file.shipped()]
    for message in [*texts(), *shipped]:
        for length, text in message.items():
            assert length == "sms" or not re.search("[^\xa0\u202f][:;?!»%]|«[^\xa0\u202f]", text["fr"]), text["fr"]


@pytest.mark.parametrize(
    ("count", "en", "fr"),
    [(0, "0 alerts", "0 alerte"), (1, "1 alert", "1 alerte"), (2, "2 alerts", "2 alertes")],
)
def test_a_summary_counts_its_alerts(count: int, en: str, fr: str) -> None:
    headline = wording.summary(FACTS | {"alerts": [FACTS] * count})["headline"]
    assert headline["en"].endswith(f"state-based conflict, {en}")
    assert headline["fr"].endswith(f"conflits impliquant un État, {fr}")


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
    assert "Reason: a wrong file. Data: up to 31 December 2022" in message["text"]["en"]


@pytest.mark.parametrize(
    ("metric", "value", "en", "fr"),
    [
        ("escalation_probability", 0.456, "45.6%", "45,6\xa0%"),
        ("expected_deaths", 1234.56, "1,234.6", "1\u202f234,6"),
        ("risk_score", 78.0, "78", "78"),
        ("probability_25:3", 0.12, "12%", "12\xa0%"),
        ("indicator:share_25_12m", 0.4167, "0.42", "0,42"),
        ("band", 70.0, "very high", "très élevé"),
        ("band", 0.0, "none", "aucun"),
    ],
)
def test_amounts_are_written_as_in_the_language(metric: str, value: float, en: str, fr: str) -> None:
    written = [metric_words.amount(metric, value, language, DEFAULT_BANDS) for language in ("en", "fr")]
    assert written == [en, fr]


def test_the_words_of_metrics_are_those_of_the_metrics() -> None:
    assert metric_words.METRICS.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("metric", "en", "fr"),
    [
        ("indicator:events_near_12m", "Events near the capital", "Événements près de la capitale"),
        (
            "indicator:events_near_12m:change",
            "Events near the capital, change in 12 months",
            "Événements près de la capitale, évolution en 12 mois",
        ),
        ("signal:capital", "Signals (Capital and sites)", "Signaux (Capitale et sites)"),
        ("signal:events_near_12m", "Signals (Events near the capital)", "Signaux (Événements près de la capitale)"),
        (
            "probability_25:3",
            "Probability of 25 deaths or more in month 3 of the forecast",
            "Probabilité de 25 morts ou plus au mois 3 de la prévision",
        ),
    ],
)
def test_a_metric_with_an_argument_names_it_in_words(metric: str, en: str, fr: str) -> None:
    assert metric_words.metric_label(metric, FORECAST) == {"en": en, "fr": fr}


def test_a_note_ends_the_text() -> None:
    note = {"en": "Call the field office.", "fr": "Appelez le bureau de terrain."}
    text = wording.change("firing", FACTS | {"note": note})["text"]
    assert text["en"].endswith("31 December 2022 (10 days ago). Note: Call the field office.")
    assert text["fr"].endswith("31 décembre 2022 (il y a 10 jours). Consigne\xa0: Appelez le bureau de terrain.")
