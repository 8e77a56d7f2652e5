"""Explanations as they are told: ready for JSON, with one plain sentence each in English and French.

It words what `drivers` and `domino` have computed, and computes nothing itself. Numbers, plurals and the spaces before
French punctuation are as the language has them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from babel.numbers import format_decimal, format_percent

from riskmodel import geography
from riskmodel.assessment import EARLIER, Assessment
from riskmodel.explanation.domino import CAVEAT, Domino
from riskmodel.explanation.drivers import BACKGROUNDS, OWN_DEATHS, TARGETS, Split
from riskmodel.indicators.declaration import Family, Indicator, Text
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
_POINTS = {
    "risk_score": {"en": ("point", "points"), "fr": ("point", "points")},
    "escalation_probability": {
        "en": ("percentage point", "percentage points"),
        "fr": ("point de pourcentage", "points de pourcentage"),
    },
}
_UNREAD = {
    "en": " (this model does not read it: it is known for too few of the months that the model was trained on)",
    "fr": " (ce modèle ne la lit pas : elle n’est connue que pour trop peu des mois sur lesquels il a été entraîné)",
}
_AVERAGE = {
    "own_year": {"en": "its own average of the 12 months before", "fr": "sa propre moyenne des 12 mois précédents"},
    "region": {"en": "the region's average", "fr": "la moyenne de la région"},
}
_SIDE = {"en": ("above", "below"), "fr": ("au-dessus de", "au-dessous de")}
_COLON = {"en": ": ", "fr": " : "}
_SEMICOLON = {"en": "; ", "fr": " ; "}
_BOUND = re.compile(r" (?=[:;!?%»])|(?<=«) |(?<=\d) (?=\d)")


def declared() -> list[dict[str, Any]]:
    """The declarations of all families, ready for JSON."""
    return [
        {
            "name": family.name,
            "title": _set(family.title),
            "theme": _set(family.theme),
            "indicators": [
                {
                    "name": indicator.name,
                    "unit": indicator.unit,
                    "window": indicator.window,
                    "direction": indicator.direction,
                    "scale": indicator.scale,
                    "meaning": _set(indicator.meaning),
                    "missing": _set(indicator.missing),
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
        "method": _set(METHOD),
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
        return str(format_percent(round(said, 4), format="0.#%" if language == "en" else "0.#\xa0%", locale=language))
    return number(said, language, digits=0 if abs(said - round(said)) < 1e-6 or abs(said) >= 100 else 1)


def _set(text: Text) -> dict[str, str]:
    """The text with spaces in French that no line breaks at: before : ; ! ? % », after «, and within numbers."""
    return {language: _BOUND.sub("\xa0", said) if language == "fr" else said for language, said in text.items()}


def _points(points: float, score: float) -> dict[str, Any]:
    if np.isnan(points):
        return {"points": None, "share": None, "reason": "not_forecast" if np.isnan(score) else "no_neighbour"}
    return {"points": round(float(points), 2), "share": round(float(points / score), 4) if score else None}


def _split(split: Split, seen: Assessment, iso3: str, target: str, background: str, score: float) -> dict[str, Any]:
    served = score if target == "risk_score" else split.value
    return {
        "value": round(served, 2),
        "average": round(split.average, 2),
        "difference": round(served - split.average, 2),
        "rounding": round(served - split.value, 3) + 0.0,
        "sentence": _in_each(lambda language: _summary(split, iso3, target, background, served, language)),
        "families": [_family(family, place, split, seen, iso3, target) for place, family in enumerate(FAMILIES)],
    }


def _family(family: Family, place: int, split: Split, seen: Assessment, iso3: str, target: str) -> dict[str, Any]:
    """A family's contribution, the indicators that contribute most to it, and one sentence.

    The sentence tells the headline indicators, and those that contribute most.
    """
    points = split.families[place]
    top = sorted(split.indicators.get(place, ()), key=lambda one: -abs(one.points))[:TOLD]
    shown = {indicator.name: indicator for indicator in family.indicators if indicator.name in family.headline}
    shown |= {INDICATORS[one.indicator].name: INDICATORS[one.indicator] for one in top if one.indicator != OWN_DEATHS}

    def sentence(language: str) -> str:
        said = f"{number(points, language, signed=True)} {_unit(points, target, language)}"
        unread = "" if place in split.read else _UNREAD[language]
        first, *more = (_now_and_then(indicator, seen, iso3, language) for indicator in shown.values())
        told = _SEMICOLON[language].join([first, *(one[0].lower() + one[1:] for one in more)])
        return f"{family.title[language]}{_COLON[language]}{said}{unread}. {told}."

    return {
        "family": family.name,
        "contribution": round(points, 2) + 0.0,
        "sentence": _in_each(sentence),
        "indicators": [
            {
                "name": "own_deaths" if one.indicator == OWN_DEATHS else INDICATORS[one.indicator].name,
                "contribution": round(one.points, 2) + 0.0,
                "standard_error": round(one.error, 3),
            }
            for one in top
        ],
    }


def _in_each(sentence: Callable[[str], str]) -> dict[str, str]:
    return _set({language: sentence(language) for language in LANGUAGES})


def _summary(split: Split, iso3: str, target: str, background: str, served: float, language: str) -> str:
    """One sentence: how far from the average, and what of it goes with which family."""
    country = geography.country(iso3).name(language)
    families = sorted(zip(split.families, FAMILIES, strict=True), key=lambda part: -abs(part[0]))
    titled = [(points, family.title[language].lower()) for points, family in families]
    some = ", ".join(f"{title} {number(points, language, signed=True)}" for points, title in titled if round(points, 1))
    none = ", ".join(title for points, title in titled if not round(points, 1))
    per_cent = "" if target == "risk_score" else {"en": "%", "fr": " %"}[language]
    now, usual = (number(points, language) + per_cent for points in (served, split.average))
    difference = served - split.average
    side, average = _SIDE[language][difference < 0], _AVERAGE[background][language]
    away = f"{number(abs(difference), language)} {_unit(difference, target, language)} {side} {average} ({usual})"
    what, points = _TARGET[target][language], _POINTS[target][language][1]
    if language == "fr":
        said = [f"{country} : {what} de {now}, {away}"]
        said += [f"{points} associés à : {some}"] * bool(some) + [f"aucun point pour : {none}"] * bool(none)
    else:
        said = [f"{country}: {what} {now}, {away}"]
        said += [f"{points} associated with: {some}"] * bool(some) + [f"none with: {none}"] * bool(none)
    return _SEMICOLON[language].join(said) + "."


def _unit(points: float, target: str, language: str) -> str:
    """The word for so many points as they are written: in English only 1.0 is singular, in French all below 2."""
    written = abs(round(points, 1))
    return _POINTS[target][language][written >= 2 if language == "fr" else written != 1]


def _now_and_then(indicator: Indicator, seen: Assessment, iso3: str, language: str) -> str:
    row, at = seen.panel.iso3.index(iso3), seen.panel.names.index(indicator.name)
    series = seen.panel.values[row, :, at]
    values = (float(series[-1 - back]) if back < len(series) else np.nan for back in (0, EARLIER))
    now, then = (value(indicator, said, language) for said in values)
    earlier = {"en": f"12 months earlier: {then}", "fr": f"12 mois plus tôt : {then}"}[language]
    return f"{indicator.meaning[language]}{_COLON[language]}{now} ({earlier})"


def _events(seen: Assessment, iso3: str) -> dict[str, list[dict[str, Any]]]:
    """The events behind each family's values of the origin, by family; no family where events are not known."""
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
