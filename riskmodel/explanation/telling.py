"""Explanations as they are told: ready for JSON, with one plain sentence each in English and French.

It words what `drivers` and `domino` have computed, and computes nothing itself. Numbers are written as the language
writes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from babel.numbers import format_decimal, format_percent

from riskmodel import geography
from riskmodel.assessment import EARLIER, Assessment
from riskmodel.explanation.domino import CAVEAT, Domino
from riskmodel.explanation.drivers import BACKGROUNDS, TARGETS, Split
from riskmodel.indicators.declaration import Family, Indicator
from riskmodel.indicators.panel import FAMILIES, INDICATORS

LANGUAGES = ("en", "fr")
TOLD = 3
"""How many indicators of a family are told."""

METHOD = {
    "en": "Shapley values over the families of indicators: what each adds to the score, in points, against the average "
    "of the background, on average over all orders in which the families may be added. They tell what the model "
    "associates with the score, not what caused it.",
    "fr": "Valeurs de Shapley sur les familles d’indicateurs : ce que chacune ajoute au score, en points, par "
    "rapport à la moyenne de référence, en moyenne sur tous les ordres d’ajout des familles. Elles disent ce que le "
    "modèle associe au score, et non ce qui l’a causé.",
}

_TARGET = {
    "risk_score": {"en": "risk score", "fr": "score de risque"},
    "escalation_probability": {"en": "escalation probability", "fr": "probabilité d’escalade"},
}
_UNREAD = {
    "en": " (this model does not read it: too few of the months that it learned from have it)",
    "fr": " (ce modèle ne la lit pas : trop peu des mois dont il a appris la connaissent)",
}
_AVERAGE = {
    "own_year": {"en": "its own average of the 12 months before", "fr": "sa propre moyenne des 12 mois précédents"},
    "region": {"en": "the region's average", "fr": "la moyenne de la région"},
}


def declared() -> list[dict[str, Any]]:
    """The declarations of all families, ready for JSON."""
    return [
        {
            "name": family.name,
            "title": dict(family.title),
            "theme": dict(family.theme),
            "indicators": [
                {
                    "name": indicator.name,
                    "unit": indicator.unit,
                    "window": indicator.window,
                    "direction": indicator.direction,
                    "scale": indicator.scale,
                    "meaning": dict(indicator.meaning),
                    "missing": dict(indicator.missing),
                    "literature": [{"reference": work.reference, "doi": work.doi} for work in indicator.literature],
                    "inputs": list(indicator.inputs),
                }
                for indicator in family.indicators
            ],
        }
        for family in FAMILIES
    ]


def drivers_told(found: Mapping[str, Mapping[str, Split]], seen: Assessment, iso3: str, score: float) -> dict[str, Any]:
    """What drives a country's score, by target and background, with the events behind each family.

    `score` is the risk score that is served; what differs from the model's own answer is the rounding of its draws.
    """
    return {
        **{
            target: {
                background: _split(found[background][target], seen, iso3, target, background, score)
                for background in BACKGROUNDS
                if background in found
            }
            for target in TARGETS
        },
        "events": _events(seen, iso3),
        "method": METHOD,
    }


def domino_told(matrix: Domino) -> dict[str, Any]:
    """The matrix as pairs of neighbours and as what all neighbours make together."""
    return {
        "note": CAVEAT,
        "pairs": [
            {"from": source, "to": target, **_points(matrix.pairs[i, j], matrix.score[j])}
            for i, source in enumerate(matrix.members)
            for j, target in enumerate(matrix.members)
            if target in geography.country(source).neighbours
        ],
        "all": [
            {"to": target, **_points(matrix.together[j], matrix.score[j])} for j, target in enumerate(matrix.members)
        ],
    }


def number(value: float, language: str, *, digits: int = 1, signed: bool = False) -> str:
    """A number as a language writes it; a sign is always written where asked for."""
    rounded = round(value, digits) + 0.0
    pattern = "#,##0." + "0" * digits if digits else "#,##0"
    sign = f"+{pattern};−{pattern}" if signed and rounded else f"{pattern};−{pattern}"
    return str(format_decimal(rounded, format=sign, locale=language))


def value(indicator: Indicator, said: float, language: str) -> str:
    """An indicator's value as a person reads it: a count for the log of one, per cent for a share."""
    if np.isnan(said):
        return {"en": "unknown", "fr": "inconnu"}[language]
    if indicator.scale == "log1p":
        count = float(np.expm1(said))
        return number(count, language, digits=0 if abs(count - round(count)) < 0.01 or count >= 100 else 1)
    if indicator.scale == "share":
        return str(format_percent(round(said, 4), format="0.#%" if language == "en" else "0.# %", locale=language))
    return number(said, language, digits=0 if abs(said - round(said)) < 1e-6 or abs(said) >= 100 else 1)


def _points(points: float, score: float) -> dict[str, Any]:
    if np.isnan(points):
        return {"points": None, "share": None, "reason": "not_forecast" if np.isnan(score) else "no_neighbour"}
    return {"points": round(float(points), 2), "share": round(float(points / score), 4) if score else None}


def _split(split: Split, seen: Assessment, iso3: str, target: str, background: str, score: float) -> dict[str, Any]:
    served = score if target == "risk_score" else split.value
    families = [
        {
            "family": family.name,
            "contribution": round(split.families[place], 2) + 0.0,
            "sentence": _of_family(family, place, split, seen, iso3),
            "indicators": [
                {
                    "name": INDICATORS[at].name if at >= 0 else "own_deaths",
                    "contribution": round(points, 2) + 0.0,
                    "standard_error": round(error, 3),
                }
                for at, points, error in _top(split, place)
            ],
        }
        for place, family in enumerate(FAMILIES)
    ]
    return {
        "value": round(served, 2),
        "average": round(split.average, 2),
        "difference": round(served - split.average, 2),
        "rounding": round(served - split.value, 3) + 0.0,
        "sentence": {language: _summary(split, iso3, target, background, served, language) for language in LANGUAGES},
        "families": families,
    }


def _top(split: Split, family: int) -> list[tuple[int, float, float]]:
    """The indicators that contribute most to a family, the greatest first."""
    return sorted(split.indicators.get(family, ()), key=lambda entry: -abs(entry[1]))[:TOLD]


def _summary(split: Split, iso3: str, target: str, background: str, served: float, language: str) -> str:
    """One sentence: how far from the average, and what of it goes with which family."""
    country = geography.country(iso3).name(language)
    difference = served - split.average
    titles = [family.title[language].lower() for family in FAMILIES]
    told = sorted(zip(split.families, titles, strict=True), key=lambda part: -abs(part[0]))
    some = ", ".join(f"{title} {number(points, language, signed=True)}" for points, title in told if round(points, 1))
    none = ", ".join(title for points, title in told if not round(points, 1))
    away = number(abs(difference), language)
    per_cent = "" if target == "risk_score" else {"en": "%", "fr": " %"}[language]
    now, usual = (number(points, language) + per_cent for points in (served, split.average))
    if language == "fr":
        side = "au-dessus de" if difference >= 0 else "au-dessous de"
        parts = [f"points associés à : {some}" if some else "", f"aucun point pour : {none}" if none else ""]
        said = (
            f"{country} : {_TARGET[target]['fr']} de {now}, {away} points {side} {_AVERAGE[background]['fr']} ({usual})"
        )
        return " ; ".join([said, *filter(None, parts)]) + "."
    side = "above" if difference >= 0 else "below"
    parts = [f"points associated with: {some}" if some else "", f"none with: {none}" if none else ""]
    said = f"{country}: {_TARGET[target]['en']} {now}, {away} points {side} {_AVERAGE[background]['en']} ({usual})"
    return "; ".join([said, *filter(None, parts)]) + "."


def _of_family(family: Family, place: int, split: Split, seen: Assessment, iso3: str) -> dict[str, str]:
    """One sentence: the family's contribution, and its indicators that contribute most, or else its first."""
    top = [INDICATORS[at] for at, _, _ in _top(split, place) if at >= 0]
    headline = [indicator for indicator in family.indicators if indicator.name in family.headline]
    shown = [*headline, *(indicator for indicator in top if indicator not in headline)]
    return {language: _sentence(family, place, split, shown, seen, iso3, language) for language in LANGUAGES}


def _sentence(
    family: Family, place: int, split: Split, shown: Sequence[Indicator], seen: Assessment, iso3: str, language: str
) -> str:
    points = split.families[place]
    said = number(points, language, signed=True)
    told = ("; " if language == "en" else " ; ").join(_now_and_then(one, seen, iso3, language) for one in shown)
    unread = "" if place in split.read else _UNREAD[language]
    if language == "fr":
        return f"{family.title['fr']} : {said} point{'s' * (abs(points) >= 2)}{unread}. {told}."
    return f"{family.title['en']}: {said} point{'s' * (round(abs(points), 1) != 1)}{unread}. {told}."


def _now_and_then(indicator: Indicator, seen: Assessment, iso3: str, language: str) -> str:
    row, at = seen.panel.iso3.index(iso3), seen.panel.names.index(indicator.name)
    series = seen.panel.values[row, :, at]
    values = (float(series[-1 - back]) if back < len(series) else np.nan for back in (0, EARLIER))
    now, then = (value(indicator, said, language) for said in values)
    if language == "fr":
        return f"{indicator.meaning['fr']} : {now} (12 mois plus tôt : {then})"
    return f"{indicator.meaning['en']}: {now} (12 months earlier: {then})"


def _events(seen: Assessment, iso3: str) -> dict[str, list[dict[str, Any]]]:
    """The events behind each family's values, by family; none where events are not known."""
    events = seen.inputs.events
    if events is None:
        return {}
    row, last = seen.inputs.iso3.index(iso3), len(seen.inputs.months) - 1
    behind = {family.name: family.behind(seen.inputs, row, last) for family in FAMILIES if family.behind}
    return {
        name: [
            {
                "event_id": str(events.event_id[i]),
                "date": str(np.datetime64(int(events.day[i]), "D")),
                "iso3": seen.inputs.iso3[events.row[i]],
                "where": events.units[events.adm_1[i]][1] if events.adm_1[i] >= 0 else None,
                "deaths": int(events.deaths[i]),
            }
            for i in places
        ]
        for name, places in behind.items()
    }
