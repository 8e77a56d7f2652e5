"""Texts of the messages that are not about one change: digests, reminders and the monthly brief."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from babel.dates import format_date

from riskmodel.alerting.rule import SEVEREST_FIRST
from riskmodel.alerting.states import FIRING
from riskmodel.outcomes import OUTCOME_LABELS
from service.alerts import wording
from service.alerts.known_alerts import REMINDER
from service.alerts.wording import LOCALES, Bilingual

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
            lines.append({"en": f"- and {rest} more", "fr": f"- et {rest} de plus"}[code])
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
