"""What an alert says, in English and French: plain words made from the facts of a change, a summary or a test.

It knows no database and no channel. Everything made from simulated data begins with SIMULATED, in either language.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from babel.numbers import format_decimal, format_percent

from riskmodel import geography

Both: TypeAlias = dict[str, str]
"""The same words by language: `en` and `fr`."""

REGION = "*"
"""The location of what is about the region as a whole."""

CAUSES: dict[str, Both] = {
    "first": {"en": "the first snapshot", "fr": "du premier bulletin"},
    "new_month": {"en": "a new month of data", "fr": "d’un nouveau mois de données"},
    "revision": {"en": "revised data", "fr": "de données révisées"},
    "model": {"en": "a new model", "fr": "d’un nouveau modèle"},
    "settings": {"en": "changed settings", "fr": "de réglages modifiés"},
    "withdrawal": {"en": "a withdrawn snapshot", "fr": "du retrait d’un bulletin"},
    "rules": {"en": "a changed alert rule", "fr": "d’une règle d’alerte modifiée"},
    "clock": {"en": "time that passed without newer data", "fr": "du temps écoulé sans données plus récentes"},
}
"""Why a state changed."""

NEWS = frozenset({"first", "new_month", "revision"})
"""The causes that can bring news of events. A change for any other says that it is none."""

_KINDS = {
    "ok": {"en": "NO ALERT", "fr": "PAS D’ALERTE"},
    "pending": {"en": "PENDING", "fr": "EN ATTENTE"},
    "firing": {"en": "ALERT", "fr": "ALERTE"},
    "resolved": {"en": "RESOLVED", "fr": "FIN D’ALERTE"},
    "summary": {"en": "SUMMARY", "fr": "RÉCAPITULATIF"},
    "correction": {"en": "CORRECTION", "fr": "RECTIFICATIF"},
    "test": {"en": "TEST", "fr": "ESSAI"},
}

_METRICS = {
    "risk_score": {"en": "Risk score, 0 to 100: {}", "fr": "Score de risque, de 0 à 100\xa0: {}"},
    "escalation_probability": {
        "en": "Probability of escalation within 3 months: {}",
        "fr": "Probabilité d’escalade d’ici 3 mois\xa0: {}",
    },
    "onset_probability": {
        "en": "Probability of a month with 25 deaths or more within 12 months: {}",
        "fr": "Probabilité d’un mois à 25 morts ou plus d’ici 12 mois\xa0: {}",
    },
    "expected_deaths": {
        "en": "Expected deaths in the next 3 months: {}",
        "fr": "Morts attendues au cours des 3 prochains mois\xa0: {}",
    },
    "data_age_days": {
        "en": "Age of the newest data, in days: {}",
        "fr": "Âge des données les plus récentes, en jours\xa0: {}",
    },
}

_THRESHOLDS = {
    "en": "(fires at {fire_at}, clears below {clear_at})",
    "fr": "(se déclenche à {fire_at}, cesse en dessous de {clear_at})",
}

_OUTCOMES = {
    "state_based": {"en": "State-based violence", "fr": "Violence impliquant un État"},
    "all": {"en": "All organised violence", "fr": "Toute violence organisée"},
}

_DATA = {
    "en": "{outcome}, data as of {data_as_of}, snapshot {snapshot_id}",
    "fr": "{outcome}, données au {data_as_of}, bulletin {snapshot_id}",
}


def name(location_code: str, region: str) -> Both:
    """The name of a country; of `*`, the name of the region around a focal country."""
    if location_code != REGION:
        return _both(geography.country(location_code).name)
    focal = _both(geography.country(region).name)
    return {"en": f"{focal['en']} and its neighbours", "fr": f"{focal['fr']} et pays voisins"}


def change(kind: str, data: Mapping[str, Any]) -> dict[str, Both]:
    """Headline and text of one alert that came into a state, from the facts of its transition."""
    headline = _both(lambda language: _headline(kind, data, language, _alert(data, language)))
    return {
        "headline": headline,
        "text": _both(
            lambda language: _sentences(
                headline[language], _measured(data, language), because(data["causes"], language), _data(data, language)
            )
        ),
    }


def summary(data: Mapping[str, Any]) -> dict[str, Both]:
    """Headline and text of the one message that stands for a whole first snapshot: `data["alerts"]` are firing."""
    count = len(data["alerts"])
    what = {
        "en": f"{data['name']['en']} – alerts firing in the first snapshot: {count}",
        "fr": f"{data['name']['fr']} – alertes en cours dans le premier bulletin\xa0: {count}",
    }
    headline = _both(lambda language: _headline("summary", data, language, what[language]))

    def text(language: str) -> str:
        alerts = (_sentences(_alert(alert, language), _measured(alert, language)) for alert in data["alerts"])
        return "\n".join([_sentences(headline[language], _data(data, language)), *(f"- {alert}" for alert in alerts)])

    return {"headline": headline, "text": _both(text)}


def correction(data: Mapping[str, Any]) -> dict[str, Both]:
    """Headline and text of the message that takes back a snapshot, and with it the messages in `data["alerts"]`."""
    number, count = data["snapshot_id"], len(data["alerts"])
    what = {
        "en": f"{data['name']['en']} – snapshot {number} is withdrawn, and {count} messages sent from it with it",
        "fr": f"{data['name']['fr']} – le bulletin {number} est retiré, et avec lui {count} messages envoyés",
    }
    headline = _both(lambda language: _headline("correction", data, language, what[language]))

    def text(language: str) -> str:
        why = {"en": f"Reason given: {data['why']}", "fr": f"Motif donné\xa0: {data['why']}"}[language]
        told = (f"- {alert['headline'][language]}" for alert in data["alerts"])
        return "\n".join([_sentences(headline[language], why, _data(data, language)), *told])

    return {"headline": headline, "text": _both(text)}


def test(route: str) -> dict[str, Both]:
    """Headline and text of a message that tries a route."""
    what = {"en": f"Vigie reaches the route “{route}”", "fr": f"Vigie atteint la voie «\xa0{route}\xa0»"}
    headline = _both(lambda language: _headline("test", {}, language, what[language]))
    none = {"en": "This is no alert: nothing has happened", "fr": "Ceci n’est pas une alerte\xa0: rien n’est arrivé"}
    return {"headline": headline, "text": _both(lambda language: _sentences(headline[language], none[language]))}


def because(causes: Sequence[str], language: str) -> str:
    """Why a state changed, in words that say so where it was not for news of events."""
    named = {"en": " and ", "fr": " et "}[language].join(CAUSES[cause][language] for cause in causes)
    said = {"en": "Because of {}", "fr": "En raison {}"}[language].format(named)
    if NEWS.isdisjoint(causes):
        said += {"en": ", not of new events", "fr": ", et non de nouveaux événements"}[language]
    return said


def amount(metric: str, value: float, language: str) -> str:
    """A value of a metric as people read it: probabilities in per cent, one decimal at most."""
    if metric.endswith("_probability"):
        return format_percent(round(value, 3), locale=language, decimal_quantization=False)
    return format_decimal(round(value, 1), locale=language)


def _both(say: Callable[[str], str]) -> Both:
    return {"en": say("en"), "fr": say("fr")}


def _headline(kind: str, data: Mapping[str, Any], language: str, what: str) -> str:
    simulated = {"en": ["SIMULATED"], "fr": ["SIMULATED (données simulées)"]}[language] if data.get("simulated") else []
    return " – ".join([*simulated, _KINDS[kind][language], what])


def _alert(data: Mapping[str, Any], language: str) -> str:
    return f"{data['name'][language]} – {data['title'][language]}"


def _measured(data: Mapping[str, Any], language: str) -> str:
    """The value and its thresholds; nothing where the alert went for another reason than its value."""
    if data["value"] is None:
        return ""
    said = {key: amount(data["metric"], data[key], language) for key in ("value", "fire_at", "clear_at")}
    return f"{_METRICS[data['metric']][language].format(said['value'])} {_THRESHOLDS[language].format(**said)}"


def _data(data: Mapping[str, Any], language: str) -> str:
    return _DATA[language].format(**{**data, "outcome": _OUTCOMES[data["outcome"]][language]})


def _sentences(*parts: str) -> str:
    return " ".join(f"{part}." for part in parts if part)
