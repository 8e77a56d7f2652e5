"""The metrics of alert rules in words, and their values as people write them."""

from collections.abc import Mapping
from typing import Any

from babel.numbers import format_decimal, format_percent

from riskmodel.alerting.metrics import BAND, kind_of
from riskmodel.bands import band_of
from service.alerts.composition import Bilingual, bilingual
from service.drawing.labels import BAND_LABELS
from service.drawing.language import language as language_of

METRICS: dict[str, Bilingual] = {
    "risk_score": {"en": "Risk score from 0 to 100", "fr": "Score de risque de 0 à 100"},
    "band": {
        "en": "Risk level after a rise in the last 12 months",
        "fr": "Niveau de risque après une hausse au cours des 12 derniers mois",
    },
    "escalation_probability": {
        "en": "Probability of an escalation in the next 3 months",
        "fr": "Probabilité d’une escalade au cours des 3 prochains mois",
    },
    "onset_probability": {
        "en": "Probability of a month with 25 deaths or more in the next 12 months",
        "fr": "Probabilité d’un mois à 25 morts ou plus au cours des 12 prochains mois",
    },
    "probability_1": {
        "en": "Probability of a death or more in month {lead} of the forecast",
        "fr": "Probabilité d’au moins un mort au mois {lead} de la prévision",
    },
    "probability_25": {
        "en": "Probability of 25 deaths or more in month {lead} of the forecast",
        "fr": "Probabilité de 25 morts ou plus au mois {lead} de la prévision",
    },
    "probability_100": {
        "en": "Probability of 100 deaths or more in month {lead} of the forecast",
        "fr": "Probabilité de 100 morts ou plus au mois {lead} de la prévision",
    },
    "expected_deaths": {
        "en": "Deaths forecast for the next 3 months",
        "fr": "Nombre de morts prévu pour les 3 prochains mois",
    },
    "reported_deaths": {
        "en": "Deaths reported in the last 3 months of data",
        "fr": "Nombre de morts signalés au cours des 3 derniers mois de données",
    },
    "change_1m": {
        "en": "Points gained by the risk score in 1 month",
        "fr": "Hausse du score de risque en 1 mois, en points",
    },
    "change_12m": {
        "en": "Points gained by the risk score in 12 months",
        "fr": "Hausse du score de risque en 12 mois, en points",
    },
    "rank_change": {
        "en": "Places gained in the region in 1 month, by risk score",
        "fr": "Places gagnées dans la région en 1 mois, selon le score de risque",
    },
    "neighbours_rising": {
        "en": "Neighbouring countries whose risk score gained 5 points or more in 1 month",
        "fr": "Pays voisins dont le score de risque a gagné 5 points ou plus en 1 mois",
    },
    "indicator": {"en": "{meaning}", "fr": "{meaning}"},
    "signal": {"en": "Signals ({meaning})", "fr": "Signaux ({meaning})"},
    "few_reports": {
        "en": "Fewer reports than the country’s past makes plausible (1: yes, 0: no)",
        "fr": "Moins de signalements que le passé du pays ne le laisse attendre (1\xa0: oui, 0\xa0: non)",
    },
    "data_age_days": {
        "en": "Days since the end of the newest data",
        "fr": "Nombre de jours depuis la fin des données les plus récentes",
    },
}
"""The name of each metric in words, before its value."""

CHANGE = {"en": "{meaning}, change in 12 months", "fr": "{meaning}, évolution en 12 mois"}
"""The name of an indicator's change."""

PERCENTILE = {
    "en": "{meaning}, percentage of the last 120 months that were lower",
    "fr": "{meaning}, pourcentage des 120 derniers mois qui étaient plus bas",
}
"""The name of an indicator's percentile."""

NO_BAND = {"en": "none", "fr": "aucun"}


def metric_label(metric: str, forecast: Mapping[str, Any]) -> Bilingual:
    """Return the name of a metric in words. `forecast` is a flat document: it declares the indicators."""
    name, _, argument = metric.partition(":")
    subject, _, change = argument.partition(":")
    meanings = {}
    for family in forecast["indicator_families"] if name in ("indicator", "signal") else ():
        meanings[family["name"]] = family["title"]
        meanings |= {indicator["name"]: indicator["meaning"] for indicator in family["indicators"]}
    meaning = meanings.get(subject, {"en": subject, "fr": subject})
    template = {"": METRICS[name], "change": CHANGE, "percentile": PERCENTILE}[change]
    return bilingual(lambda language: template[language].format(lead=argument, meaning=meaning[language]))


def amount(metric: str, value: float, language: str, bands: Mapping[str, float]) -> str:
    """Format a value of a metric for people: a probability in per cent, a band by its name, a number with two decimals
    at most. `bands` gives the lowest score of each band.
    """
    if metric == BAND:
        name = band_of(value, bands)
        return language_of(language).translations.gettext(BAND_LABELS.get(name, name)) if value else NO_BAND[language]
    if kind_of(metric).probability:
        return format_percent(round(value, 3), locale=language, decimal_quantization=False)
    return format_decimal(round(value, 2 if metric.startswith("indicator:") else 1), locale=language)
