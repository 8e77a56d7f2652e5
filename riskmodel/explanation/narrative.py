"""Explanations as they are told: ready for JSON, with one plain sentence each in English and French.

It words what `drivers` and `neighbour_effects` have computed, and computes nothing itself. Numbers, plurals and the
spaces before French punctuation follow the rules of the language.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from babel.numbers import NumberPattern, format_decimal, format_percent, parse_pattern
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.assessment import EARLIER, Assessment
from riskmodel.explanation.drivers import BACKGROUNDS, OWN_DEATHS, TARGETS, Contribution, Split
from riskmodel.explanation.neighbour_effects import CAVEAT, SPAN, NeighbourEffects
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

READING = {
    "en": f"Points by which the score would be lower had the neighbour had neither deaths nor events in the last "
    f"{SPAN} months; below zero, the model associates its violence with less risk. They do not add up to those of all "
    "neighbours at peace together.",
    "fr": f"Nombre de points dont le score serait plus bas si le voisin n’avait connu ni morts ni événements au cours "
    f"des {SPAN} derniers mois ; en dessous de zéro, le modèle associe sa violence à un risque moindre. Leur somme "
    "n’est pas celle de tous les voisins en paix à la fois.",
}

_TARGET = {
    "risk_score": {"en": "risk score", "fr": "score de risque"},
    "escalation_from_draws": {
        "en": "escalation probability (as the draws imply it)",
        "fr": "probabilité d’escalade (selon les tirages)",
    },
}
_POINTS = {
    "risk_score": {"en": ("point", "points"), "fr": ("point", "points")},
    "escalation_from_draws": {
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
_USUAL = {
    "own_year": {"en": "mean of the year before", "fr": "moyenne de l’année précédente"},
    "region": {"en": "the region's mean", "fr": "moyenne de la région"},
}
_THEN = {"en": "12 months earlier", "fr": "12 mois plus tôt"}
_MAINLY = {"en": ", mainly with ", "fr": ", surtout avec "}
_ROUNDING = {"en": "rounding of the draws", "fr": "arrondi des tirages"}
_PARTS = {
    "en": ("{points} associated with: {families}", "none with: {families}", "not read by this model: {families}"),
    "fr": (
        "{points} associés à : {families}",
        "aucun point pour : {families}",
        "familles que ce modèle ne lit pas : {families}",
    ),
}
OWN = {"en": "The country's own deaths, month by month", "fr": "Les morts du pays, mois par mois"}
_SIDE = {"en": ("above", "below"), "fr": ("au-dessus de", "au-dessous de")}
_COLON = {"en": ": ", "fr": " : "}
_SEMICOLON = {"en": "; ", "fr": " ; "}
_BOUND = re.compile(r" (?=[:;!?%»])|(?<=«) |(?<=\d) (?=\d)")


def declared(outcome: str) -> list[dict[str, Any]]:
    """The declarations of all families beside an outcome, ready for JSON."""
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
                    "meaning": _set(indicator.called(outcome)),
                    "missing": _set(indicator.missing),
                    "literature": [{"reference": work.reference, "doi": work.doi} for work in indicator.literature],
                    "inputs": list(indicator.inputs),
                }
                for indicator in family.indicators
            ],
        }
        for family in FAMILIES
    ]


def drivers_told(
    found: Mapping[str, Mapping[str, Split]], seen: Assessment, iso3: str, served: Mapping[str, float]
) -> dict[str, Any]:
    """What drives a country's score, by target and background, with the events behind each family.

    `served` has each target as the snapshot serves it [points]; what differs from the model's own answer is the
    rounding of its draws.
    """
    return {
        **{
            target: {
                background: _split(_Told(found[background][target], seen, iso3, target, background, served[target]))
                for background in BACKGROUNDS
                if background in found
            }
            for target in TARGETS
        },
        "events": _events(seen, iso3),
        "method": _set(METHOD),
    }


def neighbour_effects_payload(matrix: NeighbourEffects) -> dict[str, Any]:
    """The matrix as pairs of neighbours and as what all neighbours make together."""
    return {
        "note": _set({language: f"{CAVEAT[language]} {READING[language]}" for language in LANGUAGES}),
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
    return str(format_decimal(rounded, format=_pattern(sign), locale=language))


@cache
def _pattern(text: str) -> NumberPattern:
    """Parsed once: a snapshot tells thousands of numbers by a few patterns."""
    return parse_pattern(text)


def value(indicator: Indicator, said: float, language: str) -> str:
    """An indicator's value as a person reads it: a count for the log of one, per cent for a share."""
    if np.isnan(said):
        return {"en": "unknown", "fr": "inconnu"}[language]
    if indicator.scale == "log1p":
        count = float(np.expm1(said))
        return number(count, language, digits=0 if abs(count - round(count)) < 0.01 or count >= 100 else 1)
    if indicator.scale == "share":
        pattern = _pattern("0.#%" if language == "en" else "0.#\xa0%")
        return str(format_percent(round(said, 4), format=pattern, locale=language))
    return number(said, language, digits=0 if abs(said - round(said)) < 1e-6 or abs(said) >= 100 else 1)


def _set(text: Text) -> dict[str, str]:
    """The text with spaces in French that no line breaks at: before : ; ! ? % », after «, and within numbers."""
    return {language: _BOUND.sub("\xa0", said) if language == "fr" else said for language, said in text.items()}


def _points(points: float, score: float) -> dict[str, Any]:
    if np.isnan(points):
        return {"points": None, "share": None, "reason": "not_forecast" if np.isnan(score) else "no_neighbour"}
    return {"points": round(float(points), 2), "share": round(float(points / score), 4) if score else None}


def _split(told: "_Told") -> dict[str, Any]:
    split = told.split
    return {
        "value": round(told.served, 2),
        "average": round(split.average, 2),
        "difference": round(told.served - split.average, 2),
        "rounding": round(told.rounding, 3) + 0.0,
        "sentence": _in_each(lambda language: _summary(told, language)),
        "families": [_family(family, place, told) for place, family in enumerate(FAMILIES)],
    }


class _Told(NamedTuple):
    """One split and what its words are made of; `served` is the target as a snapshot serves it."""

    split: Split
    seen: Assessment
    iso3: str
    target: str
    background: str
    served: float

    @property
    def rounding(self) -> float:
        """What the draws that are served add to the model's own answer [points]."""
        return self.served - self.split.value

    @property
    def points(self) -> list[float]:
        """The families' contributions, as exact as they are told anywhere."""
        return [round(points, 2) + 0.0 for points in self.split.families]


def _family(family: Family, place: int, told: _Told) -> dict[str, Any]:
    """A family's contribution, the indicators that contribute most to it, and one sentence.

    The sentence tells which indicators contribute most, and the values of these and of the headline indicators.
    """
    points, read = told.points[place], place in told.split.read
    top = sorted(told.split.indicators.get(place, ()), key=lambda one: -abs(one.points))[:TOLD]
    others = points - sum(one.points for one in top) if top else 0.0
    return {
        "family": family.name,
        "read": read,
        "contribution": points,
        "sentence": _in_each(lambda language: _sentence(family, points, read, top, told, language)),
        "indicators": [
            {
                "name": _name(one),
                "contribution": round(one.points, 2) + 0.0,
                "standard_error": round(one.error, 3),
            }
            for one in top
        ],
        "others": round(others, 2) + 0.0,
    }


def _name(one: Contribution) -> str:
    return "own_deaths" if one.indicator == OWN_DEATHS else INDICATORS[one.indicator].name


def _sentence(
    family: Family, points: float, read: bool, top: Sequence[Contribution], told: _Told, language: str
) -> str:
    shown = {indicator.name: indicator for indicator in family.indicators if indicator.name in family.headline}
    shown |= {INDICATORS[one.indicator].name: INDICATORS[one.indicator] for one in top if one.indicator != OWN_DEATHS}
    said = f"{number(points, language, signed=True)} {_unit(points, told.target, language)}"
    most = [
        f"{_low(OWN[language] if one.indicator == OWN_DEATHS else INDICATORS[one.indicator].meaning[language])} "
        f"({number(one.points, language, signed=True)})"
        for one in top
        if round(one.points, 1)
    ]
    mainly = f"{_MAINLY[language]}{', '.join(most)}" if most else ""
    values = _SEMICOLON[language].join(_low(_now_and_then(one, told, language)) for one in shown.values())
    unread = "" if read else _UNREAD[language]
    return f"{family.title[language]}{_COLON[language]}{said}{mainly}{unread}. {values[0].upper()}{values[1:]}."


def _low(text: str) -> str:
    """As it stands within a sentence."""
    return text[0].lower() + text[1:]


def _in_each(sentence: Callable[[str], str]) -> dict[str, str]:
    return _set({language: sentence(language) for language in LANGUAGES})


def _summary(told: _Told, language: str) -> str:
    """One sentence: how far from the average, and what of it goes with which family."""
    country, target = geography.country(told.iso3).name(language), told.target
    parts = sorted(zip(told.points, range(len(FAMILIES)), strict=True), key=lambda part: -abs(part[0]))
    titles = [family.title[language].lower() for family in FAMILIES]
    some = [f"{titles[i]} {number(points, language, signed=True)}" for points, i in parts if round(points, 1)]
    if round(told.rounding, 1):
        some.append(f"{_ROUNDING[language]} {number(told.rounding, language, signed=True)}")
    none = [titles[i] for points, i in parts if not round(points, 1) and i in told.split.read]
    unread = [titles[i] for _, i in parts if i not in told.split.read]
    per_cent = "" if target == "risk_score" else {"en": "%", "fr": " %"}[language]
    now, usual = (number(points, language) + per_cent for points in (told.served, told.split.average))
    difference = told.served - told.split.average
    side, average = _SIDE[language][difference < 0], _AVERAGE[told.background][language]
    away = f"{number(abs(difference), language)} {_unit(difference, target, language)} {side} {average} ({usual})"
    what, points = _TARGET[target][language], _POINTS[target][language][1]
    said = [f"{country} : {what} de {now}, {away}" if language == "fr" else f"{country}: {what} {now}, {away}"]
    for some_of_it, words in zip((some, none, unread), _PARTS[language], strict=True):
        if some_of_it:
            said.append(words.format(points=points, families=", ".join(some_of_it)))
    return _SEMICOLON[language].join(said) + "."


def _unit(points: float, target: str, language: str) -> str:
    """The word for so many points as they are written: in English only 1.0 is singular, in French all below 2."""
    written = abs(round(points, 1))
    return _POINTS[target][language][written >= 2 if language == "fr" else written != 1]


def _now_and_then(indicator: Indicator, told: _Told, language: str) -> str:
    """An indicator's value now, beside what the split compares it with: the region, or the year before."""
    panel = told.seen.panel
    row, at = panel.iso3.index(told.iso3), panel.names.index(indicator.name)
    series = panel.values[row, :, at].astype(np.float64)
    unit = f" {indicator.unit}" if indicator.unit == "km" else ""

    def said(values: NDArray[np.float64]) -> str:
        mean = _mean(indicator, values)
        return value(indicator, mean, language) + (unit if np.isfinite(mean) else "")

    if told.background == "region":
        beside = f"{_USUAL['region'][language]}{_COLON[language]}{said(panel.values[:, -1, at].astype(np.float64))}"
    else:
        then = said(series[-1 - EARLIER : -EARLIER]) if len(series) > EARLIER else value(indicator, np.nan, language)
        usual = said(series[-1 - EARLIER : -1])
        beside = f"{_THEN[language]}{_COLON[language]}{then}, {_USUAL['own_year'][language]}{_COLON[language]}{usual}"
    return f"{indicator.called(told.seen.outcome)[language]}{_COLON[language]}{said(series[-1:])} ({beside})"


def _mean(indicator: Indicator, values: NDArray[np.float64]) -> float:
    """The mean of the known values, of counts where they are the logs of counts; as the indicator has it."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan")
    return float(np.log1p(np.expm1(known).mean()) if indicator.scale == "log1p" else known.mean())


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
