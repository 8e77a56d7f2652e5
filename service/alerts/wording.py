"""Texts of alerts in English and French, made from the facts of a transition, a summary, a correction or a test.

This module knows no database and no channel. Every text about simulated data begins with SIMULATED in both languages.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

from babel.dates import format_date
from babel.numbers import format_decimal, format_percent

from riskmodel import geography
from riskmodel.alerting.metrics import BAND, kind_of
from riskmodel.bands import band_of
from riskmodel.geography import WHOLE_REGION
from riskmodel.outcomes import OUTCOME_LABELS
from service.drawing.labels import BAND_LABELS
from service.drawing.language import language as language_of
from service.snapshots.outcome_parts import MISSING_REASONS

Bilingual: TypeAlias = dict[str, str]
"""One text by language: `en` and `fr`."""

LOCALES = {"en": "en_GB", "fr": "fr_FR"}

CAUSES: dict[str, Bilingual] = {
    "first": {"en": "the first forecast", "fr": "la première prévision"},
    "new_month": {"en": "a new month of data", "fr": "un nouveau mois de données"},
    "revision": {"en": "revised data", "fr": "des données révisées"},
    "new_source": {"en": "a new source of data", "fr": "une nouvelle source de données"},
    "model": {"en": "a new forecasting model", "fr": "un nouveau modèle de prévision"},
    "settings": {"en": "changed settings", "fr": "une modification des réglages"},
    "withdrawal": {"en": "the withdrawal of a forecast", "fr": "le retrait d’une prévision"},
    "rules": {"en": "a changed alert rule", "fr": "une modification de la règle d’alerte"},
    "outcome": {
        "en": "the alert rule now uses the forecast of another type of violence",
        "fr": "la règle d’alerte utilise désormais la prévision d’un autre type de violence",
    },
    "earlier_scores": {
        "en": "newly computed scores of earlier months",
        "fr": "un nouveau calcul des scores de mois antérieurs",
    },
    "unknown": {
        "en": "the value of the alert has been unknown for three months",
        "fr": "la valeur de l’alerte est inconnue depuis trois mois",
    },
    "inhibition": {"en": "the end of a graver alert", "fr": "la fin d’une alerte plus grave"},
    "silence": {
        "en": "the end of a silence; the alert is still on",
        "fr": "la fin d’un silence ; l’alerte dure encore",
    },
    "clock": {"en": "no new data for a long time", "fr": "l’absence prolongée de nouvelles données"},
}
"""Reasons for a change of state."""

CAUSES_WITH_EVENTS = frozenset({"first", "new_month", "revision"})
"""Causes that can bring new events. The text of any other change says that there are none."""

KINDS: dict[str, Bilingual] = {
    "ok": {"en": "NO ALERT", "fr": "PAS D’ALERTE"},
    "pending": {"en": "POSSIBLE ALERT", "fr": "ALERTE POSSIBLE"},
    "firing": {"en": "ALERT", "fr": "ALERTE"},
    "resolved": {"en": "END OF ALERT", "fr": "FIN D’ALERTE"},
    "corrected": {"en": "ALERT CORRECTED", "fr": "ALERTE RECTIFIÉE"},
    "expired": {"en": "ALERT EXPIRED", "fr": "ALERTE EXPIRÉE"},
    "rule_changed": {"en": "RULE CHANGED", "fr": "RÈGLE MODIFIÉE"},
    "summary": {"en": "SUMMARY", "fr": "RÉCAPITULATIF"},
    "missing": {"en": "NO FORECAST", "fr": "PAS DE PRÉVISION"},
    "digest": {"en": "DIGEST", "fr": "SYNTHÈSE"},
    "reminder": {"en": "STILL FIRING", "fr": "ALERTE EN COURS"},
    "brief": {"en": "MONTHLY BRIEF", "fr": "BULLETIN MENSUEL"},
    "correction": {"en": "CORRECTION", "fr": "RECTIFICATIF"},
    "test": {"en": "TEST", "fr": "ESSAI"},
}

METRICS: dict[str, Bilingual] = {
    "risk_score": {"en": "Risk score from 0 to 100", "fr": "Score de risque de 0 à 100"},
    "band": {
        "en": "Risk level entered from below in the last 12 months",
        "fr": "Niveau de risque atteint à la hausse au cours des 12 derniers mois",
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

THRESHOLDS = {
    "en": "(alert from {fire_at}, end below {clear_at})",
    "fr": "(alerte à partir de {fire_at}, fin en dessous de {clear_at})",
}

LOSS = {
    "en": "Until this forecast is back, there are no new alerts about these deaths",
    "fr": "Jusqu’à son retour, il n’y a pas de nouvelle alerte sur ces morts",
}

NO_ALL_CLEAR = {
    "en": "This is not an all-clear: the danger may still be there",
    "fr": "Ce n’est pas une levée d’alerte : le danger peut persister",
}

TAKEN_BACK = {
    "en": "The figures that it was based on have changed: please disregard it",
    "fr": "Les chiffres sur lesquels elle reposait ont changé : veuillez ne pas en tenir compte",
}

END_TEXTS = {"expired": NO_ALL_CLEAR, "corrected": TAKEN_BACK}

DATA = {
    "en": "Forecast no. {snapshot_id} covers {outcome} and uses data up to {day}",
    "fr": "La prévision n°\xa0{snapshot_id} ({outcome}) utilise les données jusqu’au {day}",
}


def name(location_code: str, region: str) -> Bilingual:
    """Return the name of a country, or of the region around a focal country if the location is `*`."""
    if location_code != WHOLE_REGION:
        return _bilingual(geography.country(location_code).name)
    focal = _bilingual(geography.country(region).name)
    return {"en": f"{focal['en']} and its neighbours", "fr": f"{focal['fr']} et pays voisins"}


def change(kind: str, data: Mapping[str, Any], *, of_forecast: str | None = None) -> dict[str, Bilingual]:
    """Return headline and text of a transition to the state `kind`.

    `of_forecast` is the outcome of the forecast, if it is not that of the alert.
    """
    headline = _bilingual(lambda language: _headline(kind, data, language, _alert(data, language)))

    def text(language: str) -> str:
        forecast = _data(data, language, of_forecast)
        note = data["note"][language].rstrip(".") if data["note"] else ""
        end = END_TEXTS[kind][language] if kind in END_TEXTS else ""
        parts = (_measurement(data, language), end, reason(data["causes"], language), forecast, note)
        return _sentences(headline[language], *parts)

    return {"headline": headline, "text": _bilingual(text)}


def summary(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return headline and text of the message for the first forecasts of some outcomes.

    Their firing alerts are `data["alerts"]`.
    """
    count = len(data["alerts"])
    subject = {
        "en": f"{data['name']['en']} – first forecast, {count} {'alert' if count == 1 else 'alerts'}",
        "fr": f"{data['name']['fr']} – première prévision, {count} {'alerte' if count < 2 else 'alertes'}",
    }
    headline = _bilingual(lambda language: _headline("summary", data, language, subject[language]))

    def text(language: str) -> str:
        alerts = (_sentences(_alert(alert, language), _measurement(alert, language)) for alert in data["alerts"])
        return "\n".join([_sentences(headline[language], _data(data, language)), *(f"- {alert}" for alert in alerts)])

    return {"headline": headline, "text": _bilingual(text)}


def loss(data: Mapping[str, Any], *, of_forecast: str) -> dict[str, Bilingual]:
    """Return headline and text of the message that an outcome is no longer forecast.

    `data["reason"]` is a key of `MISSING_REASONS`. `of_forecast` is the outcome that is still forecast.
    """

    def subject(code: str) -> str:
        return f"{data['name'][code]} – {_outcomes(data, code)}"

    headline = _bilingual(lambda code: _headline("missing", data, code, subject(code)))

    def text(code: str) -> str:
        why = language_of(code).translations.gettext(MISSING_REASONS[data["reason"]])
        reasoned = {"en": f"Reason: {why}", "fr": f"Raison\xa0: {why}"}[code]
        return _sentences(headline[code], reasoned, LOSS[code], _data(data, code, of_forecast))

    return {"headline": headline, "text": _bilingual(text)}


def correction(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return headline and text of the message that takes back the messages in `data["alerts"]`."""
    count = len(data["alerts"])
    subject = {
        "en": f"{data['name']['en']} – please disregard {count} earlier {'message' if count == 1 else 'messages'}",
        "fr": f"{data['name']['fr']} – veuillez ne pas tenir compte "
        + ("d’un message précédent" if count == 1 else f"de {count} messages précédents"),
    }
    withdrawn = {"en": "The underlying forecast was withdrawn", "fr": "La prévision correspondante a été retirée"}
    headline = _bilingual(lambda language: _headline("correction", data, language, subject[language]))

    def text(language: str) -> str:
        why = {"en": "Reason: {}", "fr": "Motif\xa0: {}"}[language].format(data["withdrawn_reason"].rstrip("."))
        corrected = (f"- {alert['headline'][language]}" for alert in data["alerts"])
        return "\n".join([_sentences(headline[language], withdrawn[language], why, _data(data, language)), *corrected])

    return {"headline": headline, "text": _bilingual(text)}


def rule_change(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return headline and text of the message about the alerts in `data["alerts"]`, which ended with their rules."""
    count = len(data["alerts"])
    subject = {
        "en": f"{data['name']['en']} – {count} {'alert' if count == 1 else 'alerts'} ended with a changed rule",
        "fr": f"{data['name']['fr']} – {count} "
        + ("alerte prend fin" if count == 1 else "alertes prennent fin")
        + " avec une règle modifiée",
    }
    headline = _bilingual(lambda language: _headline("rule_changed", data, language, subject[language]))

    def text(language: str) -> str:
        first = _sentences(headline[language], NO_ALL_CLEAR[language], _data(data, language))
        return "\n".join([first, *(f"- {_sentences(_alert(alert, language))}" for alert in data["alerts"])])

    return {"headline": headline, "text": _bilingual(text)}


def test(route: str) -> dict[str, Bilingual]:
    """Return headline and text of a message that tests a route."""
    subject = {"en": f"message by the route “{route}”", "fr": f"message par le canal «\xa0{route}\xa0»"}
    headline = _bilingual(lambda language: _headline("test", {}, language, subject[language]))
    explanation = {
        "en": "This is not an alert. Nothing has happened",
        "fr": "Ce message n’est pas une alerte. Il ne s’est rien passé",
    }
    return {
        "headline": headline,
        "text": _bilingual(lambda language: _sentences(headline[language], explanation[language])),
    }


UNREADABLE = {"en": "Damaged message, which cannot be read", "fr": "Message endommagé, illisible"}
"""Headline of a message whose stored row is damaged."""


def with_links(document: Mapping[str, Any], base_url: str | None) -> Mapping[str, Any]:
    """Return a message with the address of the page that it is about, if the service has a public address."""
    if base_url is None:
        return document
    location = document["data"].get("location_code", WHOLE_REGION)
    path = "/" if location == WHOLE_REGION else f"/country/{location}"
    if not document["data"].get("of_headline", True):
        path = f"/{document['data']['outcome']}{path}"
    urls = _bilingual(lambda language: f"{base_url}/{language}{path}")
    return {**document, "data": {**document["data"], "url": urls}}


def reason(causes: Sequence[str], language: str) -> str:
    """Return why a state changed. If none of the causes brings new events, the text says so."""
    named = {"en": " and ", "fr": " et "}[language].join(CAUSES[cause][language] for cause in causes)
    text = {"en": f"Reason: {named}", "fr": f"Raison\xa0: {named}"}[language]
    if CAUSES_WITH_EVENTS.isdisjoint(causes):
        text += {"en": ". It does not reflect new events", "fr": ". Cela ne reflète pas de nouveaux événements"}[
            language
        ]
    return text


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
    return _bilingual(lambda language: template[language].format(lead=argument, meaning=meaning[language]))


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


def _bilingual(text: Callable[[str], str]) -> Bilingual:
    return {"en": text("en"), "fr": text("fr")}


def _headline(kind: str, data: Mapping[str, Any], language: str, subject: str) -> str:
    simulated = {"en": ["SIMULATED"], "fr": ["SIMULATED (données simulées)"]}[language] if data.get("simulated") else []
    return " – ".join([*simulated, KINDS[kind][language], subject])


def _alert(data: Mapping[str, Any], language: str) -> str:
    return f"{data['name'][language]} – {data['title'][language]} ({_outcomes(data, language)})"


def _measurement(data: Mapping[str, Any], language: str) -> str:
    """Return the value and its thresholds; nothing if the value did not cause the change."""
    if data["value"] is None:
        return ""
    amounts = {
        key: amount(data["metric"], data[key], language, data["bands"]) for key in ("value", "fire_at", "clear_at")
    }
    colon = {"en": ": ", "fr": "\xa0: "}[language]
    return f"{data['metric_label'][language]}{colon}{amounts['value']} {THRESHOLDS[language].format(**amounts)}"


def _data(data: Mapping[str, Any], language: str, of_forecast: str | None = None) -> str:
    day = format_date(date.fromisoformat(data["data_as_of"]), "long", locale=LOCALES[language])
    outcome = OUTCOME_LABELS[of_forecast][language] if of_forecast else _outcomes(data, language)
    return DATA[language].format(snapshot_id=data["snapshot_id"], outcome=outcome, day=day)


def _outcomes(data: Mapping[str, Any], language: str) -> str:
    """Return the outcomes of a message in words."""
    labels = [OUTCOME_LABELS[outcome][language] for outcome in data.get("outcomes", [data["outcome"]])]
    return {"en": " and ", "fr": " et "}[language].join(labels)


def _sentences(*parts: str) -> str:
    return " ".join(f"{part}." for part in parts if part)
