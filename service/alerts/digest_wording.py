"""Texts of the messages that are not about one change: digests, reminders and the monthly brief."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from babel.dates import format_date
from babel.numbers import format_decimal

from riskmodel.alerting.rule import SEVEREST_FIRST
from riskmodel.alerting.states import FIRING
from riskmodel.outcomes import OUTCOME_LABELS
from service.alerts import wording
from service.alerts.known_alerts import REMINDER
from service.alerts.wording import LOCALES, Bilingual
from service.drawing.labels import BAND_LABELS
from service.drawing.language import language as language_of

SHORT_LIST = 8
"""How many parts the short text of a digest names; the full text names all."""

SIMULATED = {"en": "SIMULATED", "fr": "SIMULATED (données simulées)"}

COUNTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "en": {FIRING: ("{} alert", "{} alerts"), REMINDER: ("{} lasts", "{} last"), "ended": ("{} ended", "{} ended")},
    "fr": {
        FIRING: ("{} alerte", "{} alertes"),
        REMINDER: ("{} en cours", "{} en cours"),
        "ended": ("{} terminée", "{} terminées"),
    },
}
"""Words for one and for several parts of a digest, by what they say."""


def digest(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of a digest of `data["alerts"]`: new alerts first, then those that last, then those that ended;
    the severest first in each."""
    order = (FIRING, REMINDER)
    entries = sorted(
        data["alerts"],
        key=lambda entry: (
            order.index(entry["kind"]) if entry["kind"] in order else len(order),
            SEVEREST_FIRST.index(entry["severity"]),
            entry["at"],
        ),
    )
    counts = Counter(entry["kind"] if entry["kind"] in order else "ended" for entry in entries)

    def headline(code: str) -> str:
        found = [
            words[number > 1 or (code == "en" and number == 0)].format(number)
            for kind, words in COUNTS[code].items()
            if (number := counts[kind])
        ]
        return _headline(data, code, "digest", f"{data['name'][code]} – {', '.join(found)}")

    def text(code: str, longest: int | None) -> str:
        lines = [f"- {entry['headline'][code]}" for entry in entries[:longest]]
        if longest is not None and (rest := len(entries) - longest) > 0:
            lines.append(_more(rest, code))
        return "\n".join([f"{headline(code)}.", *lines])

    def sms(code: str) -> str:
        *_, found = headline(code).split(" – ")
        marked = "SIMULATED. " if data["simulated"] else ""
        return f"{marked}VIGIE {data['region']}: {found}."

    return _texts(headline, sms, text)


def reminder(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the message that an alert still fires; `data["since"]` is when it began (ISO 8601)."""

    def headline(code: str) -> str:
        outcome = OUTCOME_LABELS[data["outcome"]][code]
        return _headline(data, code, REMINDER, f"{data['name'][code]} – {data['title'][code]} ({outcome})")

    def since(code: str) -> str:
        day = format_date(date.fromisoformat(data["since"][:10]), "long", locale=LOCALES[code])
        return {
            "en": f"The alert has been firing since {day}. Nobody has acknowledged it.",
            "fr": f"L’alerte dure depuis le {day}. Personne ne l’a prise en charge.",
        }[code]

    def value(code: str) -> str:
        if data["value"] is None:
            return {"en": "The present value is not known.", "fr": "La valeur actuelle n’est pas connue."}[code]
        amount = wording.amount(data["metric"], data["value"], code, data["bands"])
        return {"en": f"{data['metric_label']['en']}: {amount}.", "fr": f"{data['metric_label']['fr']}\xa0: {amount}."}[
            code
        ]

    def text(code: str, longest: int | None) -> str:
        note = f" {data['note'][code].rstrip('.')}." if data["note"] else ""
        return f"{headline(code)}. {since(code)} {value(code)}{note}"

    def sms(code: str) -> str:
        marked = "SIMULATED. " if data["simulated"] else ""
        lasts = {"en": "still fires, not acknowledged", "fr": "alerte en cours, sans prise en charge"}[code]
        return f"{marked}VIGIE {data['location_code']}: {data['rule']} {lasts}."

    return _texts(headline, sms, text)


def _texts(headline: Any, sms: Any, text: Any) -> dict[str, Bilingual]:
    return {
        "headline": {code: headline(code) for code in LOCALES},
        "sms": {code: sms(code) for code in LOCALES},
        "text": {code: text(code, SHORT_LIST) for code in LOCALES},
        "full": {code: text(code, None) for code in LOCALES},
    }


def _headline(data: Mapping[str, Any], code: str, kind: str, subject: str) -> str:
    marked = [SIMULATED[code]] if data["simulated"] else []
    return " – ".join([*marked, wording.KINDS[kind][code], subject])


def monthly_brief(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the monthly brief; its facts are in `brief`."""

    def when(code: str) -> str:
        return format_date(date.fromisoformat(f"{data['origin']}-01"), "LLLL y", locale=LOCALES[code])

    def headline(code: str) -> str:
        firing = len(data["firing"])
        count = {
            "en": f"{firing} {'alert fires' if firing == 1 else 'alerts fire'}" if firing else "no alert fires",
            "fr": f"{firing} {'alerte' if firing == 1 else 'alertes'} en cours" if firing else "aucune alerte en cours",
        }[code]
        return _headline(data, code, "brief", f"{data['name'][code]}, {when(code)} – {count}")

    def moved(code: str) -> list[str]:
        if data["reason"] is not None:
            unknown = {
                "en": "Changes of the risk scores are not known: the month before has no scores.",
                "fr": "L’évolution des scores de risque n’est pas connue\xa0: le mois précédent n’a pas de scores.",
            }
            return [unknown[code]]
        if not data["moved"]:
            same = {
                "en": "No risk score has moved by a point or more in a month.",
                "fr": "Aucun score de risque n’a varié d’un point ou plus en un mois.",
            }
            return [same[code]]
        colon = {"en": ":", "fr": "\xa0:"}[code]
        title = {"en": "Risk scores that moved most in a month", "fr": "Scores de risque les plus changés en un mois"}
        return [f"{title[code]}{colon}", *(f"- {_moved(each, code)}" for each in data["moved"])]

    def firing(code: str, longest: int | None) -> list[str]:
        if not data["firing"]:
            return [{"en": "No alert fires.", "fr": "Aucune alerte n’est en cours."}[code]]
        lines = [f"- {_firing(each, code)}" for each in data["firing"][:longest]]
        if longest is not None and (rest := len(data["firing"]) - longest) > 0:
            lines.append(_more(rest, code))
        return [{"en": "Alerts that fire:", "fr": "Alertes en cours\xa0:"}[code], *lines]

    def since(code: str) -> list[str]:
        if data["last_month"] is None:
            return []
        began, still = data["last_month"]["began"], data["last_month"]["firing"]
        if not began:
            nothing = {
                "en": "No alert has begun since the last brief.",
                "fr": "Aucune alerte n’a commencé depuis le dernier bulletin.",
            }
            return [nothing[code]]
        english = f"Since the last brief, {began} {'alert has' if began == 1 else 'alerts have'} begun; {still} of them"
        french = (
            f"Depuis le dernier bulletin, {began} {'alerte a' if began == 1 else 'alertes ont'} commencé, dont {still}"
        )
        return [{"en": f"{english} {'fires' if still == 1 else 'fire'} now.", "fr": f"{french} en cours."}[code]]

    def state(code: str) -> str:
        day = format_date(date.fromisoformat(data["data_as_of"]), "long", locale=LOCALES[code])
        age = data["data_age_days"]
        return {
            "en": f"Data up to {day}, {age} days old{DATA_STATUS[data['data_status']][code]}.",
            "fr": f"Données jusqu’au {day}, soit {age} jours{DATA_STATUS[data['data_status']][code]}.",
        }[code]

    def text(code: str, longest: int | None) -> str:
        # Old data stands first: it puts all that follows into question.
        data_state = [state(code)]
        rest = [*moved(code), *firing(code, longest), *since(code)]
        return "\n".join(
            [f"{headline(code)}.", *(rest + data_state if data["data_status"] == "fresh" else data_state + rest)]
        )

    def sms(code: str) -> str:
        marked = "SIMULATED. " if data["simulated"] else ""
        changes = ", ".join(
            f"{each['location_code']} {each['risk_score']:.0f} ({each['change_1m']:+.0f})" for each in data["moved"]
        )
        alerts = {"en": "alerts", "fr": "alertes"}[code]
        known = {"en": "data to", "fr": "données au"}[code]
        scores = f"{changes}; " if changes else ""
        place = f"VIGIE {data['region']} {data['origin']}"
        return f"{marked}{place}: {scores}{alerts} {len(data['firing'])}; {known} {data['data_as_of']}."

    return _texts(headline, sms, text)


DATA_STATUS: Mapping[str, Bilingual] = {
    "fresh": {"en": "", "fr": ""},
    "late": {"en": ": new data is overdue", "fr": "\xa0: de nouvelles données sont attendues"},
    "stale": {"en": ": too old to rely on", "fr": "\xa0: trop anciennes pour s’y fier"},
}


def _moved(each: Mapping[str, Any], code: str) -> str:
    score, change = (
        format_decimal(abs(each[key]), format="0.#", locale=LOCALES[code]) for key in ("risk_score", "change_1m")
    )
    sign = "+" if each["change_1m"] > 0 else "−"
    band = language_of(code).translations.gettext(BAND_LABELS.get(each["band"], each["band"]))
    return {
        "en": f"{each['name']['en']}: {score} of 100 ({band}), {sign}{change}",
        "fr": f"{each['name']['fr']}\xa0: {score} sur 100 ({band}), {sign}{change}",
    }[code]


def _firing(each: Mapping[str, Any], code: str) -> str:
    month = format_date(date.fromisoformat(f"{each['since_origin']}-01"), "LLLL y", locale=LOCALES[code])
    since = {"en": f"since the data of {month}", "fr": f"depuis les données de {month}"}[code]
    return f"{each['name'][code]} – {each['title'][code]}, {since}"


def _more(number: int, code: str) -> str:
    return {"en": f"- and {number} more", "fr": f"- et {number} de plus"}[code]
