"""Explanations as text: drivers and neighbour effects ready for JSON, with one sentence each in English and French.

This module words what `drivers` and `neighbour_effects` have computed. Numbers, plurals and the spaces before French
punctuation follow the rules of the language.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from babel.numbers import NumberPattern, format_decimal, format_percent, parse_pattern
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.assessment import EARLIER_ORIGINS, Assessment
from riskmodel.explanation.drivers import BACKGROUNDS, OWN_DEATHS, TARGETS, Contribution, DriverSplit
from riskmodel.explanation.neighbour_effects import CAVEAT, NEIGHBOUR_MONTHS, NeighbourEffects
from riskmodel.indicators.declaration import Family, Indicator, Text
from riskmodel.indicators.inputs import Indices, Inputs
from riskmodel.indicators.panel import FAMILIES, INDICATORS
from riskmodel.outcomes import OUTCOME_LABELS

LANGUAGES = ("en", "fr")
MAX_INDICATORS = 3
"""A family's sentence names this many indicators that contribute most."""

METHOD = {
    "en": "Shapley values over the families of indicators: the points that each family adds to the score, compared "
    "with the average of the background. They are averaged over all orders in which families can be added. They show "
    "what the model associates with the score, not what caused it.",
    "fr": "Valeurs de Shapley sur les familles d’indicateurs : ce que chacune ajoute au score, en points, par "
    "rapport à la moyenne de référence, en moyenne sur tous les ordres d’ajout des familles. Elles montrent ce que le "
    "modèle associe au score, et non ce qui l’a causé.",
}

NEIGHBOUR_METHOD = {
    "en": "Points by which the score would be lower if the neighbour had had no deaths and no events in the last "
    f"{NEIGHBOUR_MONTHS} months. Below zero, the model associates its violence with less risk. The points of single "
    "neighbours do not add up to those of all neighbours together.",
    "fr": "Nombre de points dont le score serait plus bas si le voisin n’avait connu ni morts ni événements au cours "
    f"des {NEIGHBOUR_MONTHS} derniers mois ; en dessous de zéro, le modèle associe sa violence à un risque moindre. "
    "La somme des points de chaque voisin n’est pas celle de tous les voisins ensemble.",
}

_TARGET = {
    "risk_score": {"en": "risk score", "fr": "score de risque"},
    "escalation_from_draws": {
        "en": "escalation probability (from the draws)",
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
_AVERAGE = {
    "own_year": {"en": "its own average of the 12 months before", "fr": "sa propre moyenne des 12 mois précédents"},
    "region": {"en": "the region's average", "fr": "la moyenne de la région"},
}
_MEAN = {
    "own_year": {"en": "mean of the year before", "fr": "moyenne de l’année précédente"},
    "region": {"en": "the region's mean", "fr": "moyenne de la région"},
}
_EARLIER = {"en": "12 months earlier", "fr": "12 mois plus tôt"}
_MAINLY = {"en": ", mainly with ", "fr": ", surtout avec "}
_ROUNDING = {
    "en": "rounding and months that can still change",
    "fr": "arrondi et mois qui peuvent encore changer",
}
_PARTS = {
    "en": ("{points} associated with: {families}", "none with: {families}"),
    "fr": ("{points} associés à : {families}", "aucun point pour : {families}"),
}
_OWN_DEATHS = {"en": "The country's own deaths, month by month", "fr": "Les morts du pays, mois par mois"}
_SIDE = {"en": ("above", "below"), "fr": ("au-dessus de", "au-dessous de")}
_COLON = {"en": ": ", "fr": " : "}
_SEMICOLON = {"en": "; ", "fr": " ; "}
_NONBREAKING = re.compile(r" (?=[:;!?%»])|(?<=«) |(?<=\d) (?=\d)")


def families_payload(outcome: str) -> list[dict[str, Any]]:
    """Return the declarations of all families for an outcome, ready for JSON."""
    return [
        {
            "name": family.name,
            "title": typeset(family.title),
            "theme": typeset(family.theme),
            "indicators": [
                {
                    "name": indicator.name,
                    "unit": indicator.unit,
                    "window": indicator.window,
                    "direction": indicator.direction,
                    "scale": indicator.scale,
                    "meaning": typeset(indicator.meaning_for(outcome)),
                    "missing": typeset(indicator.missing),
                    "literature": [{"reference": work.reference, "doi": work.doi} for work in indicator.literature],
                    "inputs": list(indicator.inputs),
                }
                for indicator in family.indicators
            ],
        }
        for family in FAMILIES
    ]


def drivers_payload(
    splits: Mapping[str, Mapping[str, DriverSplit]],
    assessment: Assessment,
    iso3: str,
    served: Mapping[str, float],
    read: Sequence[int],
) -> dict[str, Any]:
    """Return the drivers of a country's score by target and background, with the key events of each family.

    `read` has the indices of the families that the model reads (`drivers.families_read`): only these are shown.
    `served` has each target as the snapshot serves it [points]. It differs from the model's own output, because
    draws are rounded and mix over what unsettled months may turn out to be.
    """
    return {
        **{
            target: {
                background: _split_payload(
                    _ScoreSplit(splits[background][target], assessment, iso3, target, background, served[target], read)
                )
                for background in BACKGROUNDS
                if background in splits
            }
            for target in TARGETS
        },
        "events": _key_events(assessment, iso3, read),
        "method": typeset(METHOD),
    }


def neighbour_effects_payload(effects: NeighbourEffects) -> dict[str, Any]:
    """Return the neighbour effects as pairs of neighbours (`pairs`) and of all neighbours together (`all`)."""
    note = {language: f"{CAVEAT[language]} {NEIGHBOUR_METHOD[language]}" for language in LANGUAGES}
    return {
        "note": typeset(note),
        "pairs": [
            {"from": source, "to": target, **_effect(effects.pairs[i, j], effects.score[j])}
            for i, source in enumerate(effects.members)
            for j, target in enumerate(effects.members)
            if target in geography.country(source).neighbours
        ],
        "all": [
            {"to": target, **_effect(effects.together[j], effects.score[j])} for j, target in enumerate(effects.members)
        ],
    }


def format_number(value: float, language: str, *, digits: int = 1, signed: bool = False) -> str:
    """Return a number as a language writes it, with a plus sign before positive ones if `signed`."""
    rounded = round(value, digits) + 0.0  # + 0.0: no minus sign before zero
    pattern = "#,##0." + "0" * digits if digits else "#,##0"
    sign = f"+{pattern};−{pattern}" if signed and rounded else f"{pattern};−{pattern}"
    return str(format_decimal(rounded, format=_pattern(sign), locale=language))


@cache
def _pattern(text: str) -> NumberPattern:
    """A parsed pattern; cached, because a snapshot formats thousands of numbers with a few patterns."""
    return parse_pattern(text)


def format_value(indicator: Indicator, value: float, language: str) -> str:
    """Return an indicator's value as a person reads it: a count for the log of one, per cent for a share."""
    if np.isnan(value):
        return {"en": "unknown", "fr": "inconnu"}[language]
    if indicator.scale == "log1p":
        count = float(np.expm1(value))
        return format_number(count, language, digits=0 if abs(count - round(count)) < 0.01 or count >= 100 else 1)
    if indicator.scale == "share":
        pattern = _pattern("0.#%" if language == "en" else "0.#\xa0%")
        return str(format_percent(round(value, 4), format=pattern, locale=language))
    return format_number(value, language, digits=0 if abs(value - round(value)) < 1e-6 or abs(value) >= 100 else 1)


def typeset(text: Text) -> dict[str, str]:
    """Return the text with non-breaking spaces in French: before : ; ! ? % », after «, and within numbers."""
    return {
        language: _NONBREAKING.sub("\xa0", words) if language == "fr" else words for language, words in text.items()
    }


def in_each_language(sentence: Callable[[str], str]) -> dict[str, str]:
    """Return a sentence, made by a function of the language, in all languages."""
    return typeset({language: sentence(language) for language in LANGUAGES})


def _effect(points: float, score: float) -> dict[str, Any]:
    if np.isnan(points):
        return {"points": None, "share": None, "reason": "not_forecast" if np.isnan(score) else "no_neighbour"}
    return {"points": round(float(points), 2), "share": round(float(points / score), 4) if score else None}


class _ScoreSplit(NamedTuple):
    """A driver split with what its sentences need; `served` is the target as a snapshot serves it [points].

    `read` has the indices of the families that the model reads.
    """

    split: DriverSplit
    assessment: Assessment
    iso3: str
    target: str
    background: str
    served: float
    read: Sequence[int]

    @property
    def rounding(self) -> float:
        """The served value minus the model's own output [points]: rounded draws, mixed over unsettled months."""
        return self.served - self.split.value

    @property
    def points(self) -> list[float]:
        """The families' contributions, rounded as they are served [points]."""
        return [round(points, 2) + 0.0 for points in self.split.families]


def _split_payload(part: _ScoreSplit) -> dict[str, Any]:
    return {
        "value": round(part.served, 2),
        "average": round(part.split.average, 2),
        "difference": round(part.served - part.split.average, 2),
        "rounding": round(part.rounding, 3) + 0.0,
        "sentence": in_each_language(lambda language: _summary_sentence(part, language)),
        "families": [_family_payload(FAMILIES[index], index, part) for index in part.read],
    }


def _family_payload(family: Family, index: int, part: _ScoreSplit) -> dict[str, Any]:
    """A family's contribution, the indicators that contribute most to it, and one sentence."""
    points = part.points[index]
    top = sorted(part.split.indicators.get(index, ()), key=lambda one: -abs(one.points))[:MAX_INDICATORS]
    others = points - sum(one.points for one in top) if top else 0.0
    return {
        "family": family.name,
        "contribution": points,
        "sentence": in_each_language(lambda language: _family_sentence(family, points, top, part, language)),
        "indicators": [
            {
                "name": _indicator_name(one),
                "contribution": round(one.points, 2) + 0.0,
                "standard_error": round(one.standard_error, 3),
            }
            for one in top
        ],
        "other_indicators": round(others, 2) + 0.0,
    }


def _indicator_name(contribution: Contribution) -> str:
    return "own_deaths" if contribution.indicator == OWN_DEATHS else INDICATORS[contribution.indicator].name


def _family_sentence(
    family: Family, points: float, top: Sequence[Contribution], part: _ScoreSplit, language: str
) -> str:
    """The indicators that contribute most, and the values of these and of the headline indicators."""
    shown = {indicator.name: indicator for indicator in family.indicators if indicator.name in family.headline}
    shown |= {INDICATORS[one.indicator].name: INDICATORS[one.indicator] for one in top if one.indicator != OWN_DEATHS}
    total = f"{format_number(points, language, signed=True)} {_unit(points, part.target, language)}"
    most = [
        f"{_lower_first(_OWN_DEATHS if one.indicator == OWN_DEATHS else INDICATORS[one.indicator].meaning, language)} "
        f"({format_number(one.points, language, signed=True)})"
        for one in top
        if round(one.points, 1)
    ]
    mainly = f"{_MAINLY[language]}{', '.join(most)}" if most else ""
    values = _SEMICOLON[language].join(_value_phrase(indicator, part, language) for indicator in shown.values())
    return f"{family.title[language]}{_COLON[language]}{total}{mainly}. {values[0].upper()}{values[1:]}."


def _lower_first(text: Text, language: str) -> str:
    """The text with a small first letter, for use within a sentence."""
    return text[language][0].lower() + text[language][1:]


def _summary_sentence(part: _ScoreSplit, language: str) -> str:
    """The distance from the average, and the points of each family."""
    country, target = geography.country(part.iso3).name(language), part.target
    by_size = sorted(
        ((part.points[i], FAMILIES[i].title[language].lower()) for i in part.read),
        key=lambda pair: -abs(pair[0]),
    )
    contributing = [
        f"{title} {format_number(points, language, signed=True)}" for points, title in by_size if round(points, 1)
    ]
    if round(part.rounding, 1):
        contributing.append(f"{_ROUNDING[language]} {format_number(part.rounding, language, signed=True)}")
    without_points = [title for points, title in by_size if not round(points, 1)]
    percent = "" if target == "risk_score" else {"en": "%", "fr": " %"}[language]
    value, average = (format_number(points, language) + percent for points in (part.served, part.split.average))
    difference = part.served - part.split.average
    side, background = _SIDE[language][difference < 0], _AVERAGE[part.background][language]
    distance = f"{format_number(abs(difference), language)} {_unit(difference, target, language)}"
    name, points = _TARGET[target][language], _POINTS[target][language][1]
    subject = f"{country} ({OUTCOME_LABELS[part.assessment.outcome][language]})"
    value_phrase = f"{subject} : {name} de {value}" if language == "fr" else f"{subject}: {name} {value}"
    phrases = [f"{value_phrase}, {distance} {side} {background} ({average})"]
    for families, phrase in zip((contributing, without_points), _PARTS[language], strict=True):
        if families:
            phrases.append(phrase.format(points=points, families=", ".join(families)))
    return _SEMICOLON[language].join(phrases) + "."


def _unit(points: float, target: str, language: str) -> str:
    """Singular or plural for a number as it is written: English has the singular for 1.0 only, French below 2."""
    written = abs(round(points, 1))
    return _POINTS[target][language][written >= 2 if language == "fr" else written != 1]


def _value_phrase(indicator: Indicator, part: _ScoreSplit, language: str) -> str:
    """An indicator's value, and the value that the split compares it with: the region's, or the year before."""
    panel = part.assessment.panel
    row, column = panel.iso3.index(part.iso3), panel.names.index(indicator.name)
    series = panel.values[row, :, column].astype(np.float64)
    unit = f" {indicator.unit}" if indicator.unit == "km" else ""

    def mean_phrase(values: NDArray[np.float64]) -> str:
        mean = _mean(indicator, values)
        return format_value(indicator, mean, language) + (unit if np.isfinite(mean) else "")

    if part.background == "region":
        region = mean_phrase(panel.values[:, -1, column].astype(np.float64))
        comparison = f"{_MEAN['region'][language]}{_COLON[language]}{region}"
    else:
        earlier = (
            mean_phrase(series[-1 - EARLIER_ORIGINS : -EARLIER_ORIGINS])
            if len(series) > EARLIER_ORIGINS
            else format_value(indicator, np.nan, language)
        )
        year = mean_phrase(series[-1 - EARLIER_ORIGINS : -1])
        comparison = (
            f"{_EARLIER[language]}{_COLON[language]}{earlier}, {_MEAN['own_year'][language]}{_COLON[language]}{year}"
        )
    meaning = _lower_first(indicator.meaning_for(part.assessment.outcome), language)
    return f"{meaning}{_COLON[language]}{mean_phrase(series[-1:])} ({comparison})"


def _mean(indicator: Indicator, values: NDArray[np.float64]) -> float:
    """The mean of the known values, on the indicator's scale; for logs of counts, the log of the mean count."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan")
    return float(np.log1p(np.expm1(known).mean()) if indicator.scale == "log1p" else known.mean())


def _key_events(assessment: Assessment, iso3: str, read: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """The key events of some families, by their indices, at the origin; empty where events are unknown."""
    events = assessment.inputs.events
    if events is None:
        return {}
    row, last = assessment.inputs.iso3.index(iso3), len(assessment.inputs.months) - 1
    by_family = {
        family.name: family.key_events(assessment.inputs, row, last)
        for family in (FAMILIES[index] for index in read)
        if family.key_events
    }
    return {name: events_payload(assessment.inputs, indices) for name, indices in by_family.items()}


def events_payload(inputs: Inputs, indices: Indices) -> list[dict[str, Any]]:
    """Return some events as they are shown, in the order of their indices."""
    events = inputs.required_events
    return [
        {
            "event_id": str(events.event_id[i]),
            "date": str(np.datetime64(int(events.day[i]), "D")),
            "iso3": inputs.iso3[events.row[i]],
            "where": events.units[events.adm_1[i]][1] if events.adm_1[i] >= 0 else None,
            "deaths": int(events.deaths[i]),
        }
        for i in indices
    ]
