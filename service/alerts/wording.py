"""Texts of alerts in English and French, made from the facts of a transition, a summary, a correction or a test.

Each message has a `headline` and three lengths: `sms` is one SMS, `text` a few sentences, `full` a plain e-mail. This
module knows no database and no channel. Every text about simulated data begins with SIMULATED in both languages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from riskmodel import geography
from riskmodel.geography import WHOLE_REGION
from service.alerts import sentences
from service.alerts.composition import Bilingual, Line, Section, bilingual, message
from service.drawing.language import language as language_of
from service.snapshots.outcome_parts import MISSING_REASONS

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

LOSS = {
    "en": "Until this forecast is back, there are no new alerts about these deaths",
    "fr": "Jusqu’à son retour, il n’y a pas de nouvelle alerte sur ces morts",
}

LABELS = {
    "en": {"deaths": "Deaths", "why": "Why", "note": "Note"},
    "fr": {"deaths": "Morts", "why": "Pourquoi", "note": "Consigne"},
}

NO_ALL_CLEAR = {
    "en": "This is not an all-clear: the danger may still be there",
    "fr": "Ce n’est pas une levée d’alerte\xa0: le danger peut persister",
}

TAKEN_BACK = {
    "en": "The figures that it was based on have changed: please disregard it",
    "fr": "Les chiffres sur lesquels elle reposait ont changé\xa0: veuillez ne pas en tenir compte",
}

END_TEXTS = {"expired": NO_ALL_CLEAR, "corrected": TAKEN_BACK}


def name(location_code: str, region: str) -> Bilingual:
    """Return the name of a country, or of the region around a focal country if the location is `*`."""
    if location_code != WHOLE_REGION:
        return bilingual(geography.country(location_code).name)
    focal = bilingual(geography.country(region).name)
    return {"en": f"{focal['en']} and its neighbours", "fr": f"{focal['fr']} et pays voisins"}


def change(kind: str, data: Mapping[str, Any], *, of_forecast: str | None = None) -> dict[str, Bilingual]:
    """Return the texts of a transition to the state `kind`.

    `of_forecast` is the outcome of the forecast, if it is not that of the alert.
    """

    def lines(language: str) -> list[Line]:
        labels = LABELS[language]
        return [
            Line(END_TEXTS[kind][language] if kind in END_TEXTS else ""),
            Line(_since(data, language) if kind == "reminder" else ""),
            Line(sentences.likelihood(data, language)),
            Line(sentences.measurement(data, language)),
            Line(reason(data["causes"], language)),
            Line(sentences.labelled(labels["deaths"], sentences.deaths(data, language), language), short=False),
            Line(sentences.labelled(labels["why"], sentences.why(data, language), language), short=False),
            Line(sentences.data_age(data, language, of_forecast)),
            Line(sentences.record(data, language)),
            Line(sentences.labelled(labels["note"], data["note"][language] if data["note"] else "", language)),
        ]

    def sms(language: str) -> list[str]:
        facts = (sentences.likelihood, sentences.short_value, sentences.data_day)
        return [fact(data, language) for fact in facts]

    return message(kind, data, lambda language: sentences.alert(data, language), lines, sms, about=data["title"])


def summary(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the message for the first forecasts of some outcomes.

    Their firing alerts are `data["alerts"]`.
    """

    def subject(language: str) -> str:
        first = {"en": "first forecast of", "fr": "première prévision\xa0:"}[language]
        of = f"{first} {sentences.outcomes(data, language)}"
        return f"{data['name'][language]} – {of}, {sentences.count_of(data['alerts'], language)}"

    return message(
        "summary",
        data,
        subject,
        lambda language: [Line(sentences.data_age(data, language))],
        lambda language: [sentences.count_of(data["alerts"], language), sentences.countries(data["alerts"], language)],
        sections=lambda language: [Section("", [sentences.entry(alert, language) for alert in data["alerts"]])],
    )


def rule_change(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the message about the alerts in `data["alerts"]`, which ended with their rules."""
    count = bilingual(lambda language: sentences.count_of(data["alerts"], language))
    ended = {
        "en": f"{count['en']} ended with a changed rule",
        "fr": f"{count['fr']} {'prend' if len(data['alerts']) < 2 else 'prennent'} fin avec une règle modifiée",
    }
    return message(
        "rule_changed",
        data,
        lambda language: f"{data['name'][language]} – {ended[language]}",
        lambda language: [Line(NO_ALL_CLEAR[language]), Line(sentences.data_age(data, language))],
        lambda language: [ended[language], NO_ALL_CLEAR[language], sentences.countries(data["alerts"], language)],
        sections=lambda language: [Section("", [sentences.alert(alert, language) for alert in data["alerts"]])],
    )


def loss(data: Mapping[str, Any], *, of_forecast: str) -> dict[str, Bilingual]:
    """Return the texts of the message that an outcome is no longer forecast.

    `data["reason"]` is a key of `MISSING_REASONS`. `of_forecast` is the outcome that is still forecast.
    """

    def lines(code: str) -> list[Line]:
        why = language_of(code).translations.gettext(MISSING_REASONS[data["reason"]])
        reasoned = {"en": f"Reason: {why}", "fr": f"Raison\xa0: {why}"}[code]
        return [Line(reasoned), Line(LOSS[code]), Line(sentences.data_age(data, code, of_forecast))]

    return message(
        "missing",
        data,
        lambda code: f"{data['name'][code]} – {sentences.outcomes(data, code)}",
        lines,
        lambda code: [sentences.outcomes(data, code), LOSS[code]],
    )


def correction(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the message that takes back the messages in `data["alerts"]`."""
    count = len(data["alerts"])
    disregard = {
        "en": f"please disregard {count} earlier {'message' if count == 1 else 'messages'}",
        "fr": "veuillez ne pas tenir compte "
        + ("d’un message précédent" if count == 1 else f"de {count} messages précédents"),
    }
    withdrawn = {"en": "The underlying forecast was withdrawn", "fr": "La prévision correspondante a été retirée"}

    def lines(language: str) -> list[Line]:
        why = {"en": "Reason: {}", "fr": "Motif\xa0: {}"}[language].format(data["withdrawn_reason"].rstrip("."))
        return [Line(withdrawn[language]), Line(why), Line(sentences.data_age(data, language))]

    return message(
        "correction",
        data,
        lambda language: f"{data['name'][language]} – {disregard[language]}",
        lines,
        lambda language: [disregard[language], withdrawn[language]],
        sections=lambda language: [Section("", [alert["headline"][language] for alert in data["alerts"]])],
    )


def test(route: str) -> dict[str, Bilingual]:
    """Return the texts of a message that tests a route."""
    subject = {"en": f"message by the route “{route}”", "fr": f"message par le canal «\xa0{route}\xa0»"}
    explanation = {
        "en": "This is not an alert. Nothing has happened",
        "fr": "Ce message n’est pas une alerte. Il ne s’est rien passé",
    }
    return message(
        "test",
        {},
        lambda language: subject[language],
        lambda language: [Line(explanation[language])],
        lambda language: [explanation[language]],
    )


UNREADABLE = {"en": "Damaged message, which cannot be read", "fr": "Message endommagé, illisible"}
"""Headline of a message whose stored row is damaged."""


def reason(causes: Sequence[str], language: str) -> str:
    """Return why a state changed. If none of the causes brings new events, the text says so."""
    named = {"en": " and ", "fr": " et "}[language].join(CAUSES[cause][language] for cause in causes)
    text = {"en": f"Reason: {named}", "fr": f"Raison\xa0: {named}"}[language]
    if CAUSES_WITH_EVENTS.isdisjoint(causes):
        text += {"en": ". It does not reflect new events", "fr": ". Cela ne reflète pas de nouveaux événements"}[
            language
        ]
    return text


def _since(data: Mapping[str, Any], language: str) -> str:
    day = language_of(language).long_date(data["since"][:10])
    return {
        "en": f"The alert has been on since {day}. Nobody has acknowledged it",
        "fr": f"L’alerte dure depuis le {day}. Personne ne l’a prise en charge",
    }[language]
