"""How a message is put together: one headline, and its sentences in three lengths and two languages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from service.alerts import gsm7

Bilingual: TypeAlias = dict[str, str]
"""One text by language: `en` and `fr`."""

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
    "correction": {"en": "CORRECTION", "fr": "RECTIFICATIF"},
    "reminder": {"en": "REMINDER", "fr": "RAPPEL"},
    "digest": {"en": "ALERTS", "fr": "ALERTES"},
    "brief": {"en": "MONTHLY BRIEF", "fr": "BILAN MENSUEL"},
    "test": {"en": "TEST", "fr": "ESSAI"},
}

SIMULATED = {"en": "SIMULATED", "fr": "SIMULATED (données simulées)"}
"""What every text about simulated data begins with, in every language."""

MAX_ITEMS = 8
"""A short text lists no more alerts than this."""


class Section(NamedTuple):
    """A list in a message. `heading` is empty if the headline announces it already."""

    heading: str
    items: Sequence[str]


class Line(NamedTuple):
    """A sentence of a message without its full stop; `short` says whether the short text has it too."""

    sentence: str
    short: bool = True


def message(
    kind: str,
    data: Mapping[str, Any],
    subject: Callable[[str], str],
    lines: Callable[[str], Sequence[Line]],
    sms: Callable[[str], Sequence[str]],
    *,
    sections: Callable[[str], Sequence[Section]] = lambda language: (),
    about: Mapping[str, str] | None = None,
) -> dict[str, Bilingual]:
    """Return headline and texts. Each argument returns its part of one language.

    `sections` are lists at the end, of which the short text has the first entries. `sms` has the most important part
    first. `about` follows the name of the country in an SMS.
    """
    headline = bilingual(lambda language: _headline(kind, data, language, subject(language)))

    def text(language: str) -> str:
        short = joined(headline[language], *(line.sentence for line in lines(language) if line.short))
        return "\n".join([short, *_listed(sections(language), language, MAX_ITEMS)])

    def full(language: str) -> str:
        sentences = [joined(line.sentence) for line in lines(language) if line.sentence]
        return "\n".join([headline[language], "", *sentences, *_listed(sections(language), language)]).rstrip()

    def short_message(language: str) -> str:
        name = data["name"][language] if "name" in data else ""
        title = name + {"en": ": ", "fr": "\xa0: "}[language] + about[language] if about else name
        simulated = "SIMULATED - " if data.get("simulated") else ""
        first = " ".join(filter(None, (f"{simulated}{KINDS[kind][language]}", title)))
        return gsm7.fitting([gsm7.to_gsm7(line) for line in (first, *sms(language)) if line])

    return {"headline": headline, "sms": bilingual(short_message), "text": bilingual(text), "full": bilingual(full)}


def _listed(sections: Sequence[Section], language: str, most: int | None = None) -> list[str]:
    """Return the lines of some sections, of each at most so many items."""
    lines = []
    for heading, items in sections:
        lines += [heading + {"en": ":", "fr": "\xa0:"}[language]] if heading else []
        lines += [f"- {joined(item)}" for item in items[:most]]
        if rest := len(items[most:]) if most else 0:
            lines.append({"en": f"- and {rest} more.", "fr": f"- et {rest} de plus."}[language])
    return lines


def _headline(kind: str, data: Mapping[str, Any], language: str, subject: str) -> str:
    simulated = [SIMULATED[language]] if data.get("simulated") else []
    return " – ".join([*simulated, KINDS[kind][language], subject])


def bilingual(text: Callable[[str], str]) -> Bilingual:
    """Return the text that a function makes of each language."""
    return {"en": text("en"), "fr": text("fr")}


def joined(*parts: str) -> str:
    """Return sentences, each with a full stop. Empty ones are left out."""
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)
