"""The verdict of a scorecard in words, made from its figures."""

from collections.abc import Mapping
from typing import Any

from service.drawing.labels import UNSCORED_LABELS, VERDICT_TEXTS
from service.drawing.language import LOCALES, Language, language, sentence_case


def with_texts(scorecards: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` of `/v1/scorecard` with `text`, by language code, in each `verdict`."""
    return {**_with_text(scorecards), "hindcast": _with_text(scorecards["hindcast"])}


def _with_text(card: Mapping[str, Any]) -> dict[str, Any]:
    text = {code: _verdict(card, language(code)) for code in LOCALES}
    return {**card, "verdict": {**card["verdict"], "text": text}}


def _verdict(card: Mapping[str, Any], words: Language) -> str:
    facts, translate = card["verdict"], words.translations.gettext
    if not facts["comparisons"]:
        reason = translate(UNSCORED_LABELS[facts["reason"]])
        return translate(VERDICT_TEXTS["none"]) % {"reason": reason}
    period = {name: words.month(card[f"{name}_month"]) for name in ("first", "last")}
    sentences = []
    for position, comparison in enumerate(facts["comparisons"]):
        text = translate(VERDICT_TEXTS[comparison["against"]])
        sentence = text % comparison
        sentences.append(sentence if position else translate(VERDICT_TEXTS["period"]) % {**period, "verdict": sentence})
    if facts["within_90"] is not None:
        share = words.share(round(facts["within_90"], 2))
        sentences.append(translate(VERDICT_TEXTS["interval"]) % {"share": share})
    return " ".join(map(sentence_case, sentences))
