"""Invented snapshots, as a recompute writes them: made by rule and seed, without data."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from math import exp, log1p
from typing import Any

from riskmodel import geography
from riskmodel.months import last_day, month
from riskmodel.outcomes import OUTCOMES

NOW = datetime(2023, 1, 10, 8, 30, tzinfo=UTC)
BANDS = {"minimal": 0.0, "low": 10.0, "moderate": 30.0, "high": 50.0, "very high": 70.0, "extreme": 85.0}
SCORES = {
    "MLI": 81.4,
    "BFA": 86.2,
    "NER": 62.9,
    "DZA": 31.5,
    "CIV": 22.7,
    "GIN": 12.3,
    "SEN": 7.8,
    "MRT": None,
}


STATE_BASED_SCORES = {iso3: None if score is None else round(score * 0.75, 1) for iso3, score in SCORES.items()}
"""Scores of the second outcome in a snapshot with both: lower, and in other bands."""

QUALITY = {
    "NER": [{"code": "few_reports", "probability": 0.0004, "months": 3}],
    "DZA": [
        {"code": "imprecise_dates", "events": 0.02, "deaths": 0.31, "months": 12},
        {"code": "imprecise_places", "events": 0.25, "deaths": None, "months": 12},
    ],
}
"""Warnings about the data by country: few reports in Niger, imprecise events in Algeria."""

FAMILIES = {
    "intensity": ("Intensity", "Intensité"),
    "capital": ("Capital and sites", "Capitale et sites"),
    "spillover": ("Spill-over", "Voisinage"),
    "people": ("People", "Populations"),
}
CONTRIBUTIONS = {"intensity": 4.02, "capital": 0.0, "spillover": -0.94}
"""Of the families that the model reads."""
VALUES = {
    "deaths_12m": (log1p(153), log1p(80)),
    "share_25_12m": (0.4167, 0.0),
    "events_near_12m": (log1p(19), None),
    "median_distance_12m": (516.25, 781.0),
    "neighbours_12m": (0.0, log1p(3)),
    "displaced": (None, None),
}
"""Invented values now and 12 months earlier. There is no table of displaced persons."""


def families() -> list[dict[str, Any]]:
    """Return four families of invented indicators; the last one lacks its input."""
    declared = {
        "intensity": [
            indicator("deaths_12m", "log1p", ("Deaths over 12 months", "Morts sur 12 mois")),
            indicator("share_25_12m", "share", ("Months with 25 deaths", "Mois comptant 25 morts"), direction=0),
        ],
        "capital": [
            indicator("events_near_12m", "log1p", ("Events near the capital", "Événements près de la capitale")),
            indicator(
                "median_distance_12m", "number", ("Distance of the deaths", "Éloignement des morts"), "km", direction=-1
            ),
        ],
        "spillover": [indicator("neighbours_12m", "log1p", ("Deaths next door", "Morts chez les voisins"))],
        "people": [indicator("displaced", "log1p", ("Displaced persons", "Personnes déplacées"), absent=True)],
    }
    return [
        {
            "name": name,
            "title": {"en": english, "fr": french},
            "theme": {"en": "An invented theme", "fr": "Un thème inventé"},
            "indicators": declared[name],
        }
        for name, (english, french) in FAMILIES.items()
    ]


def indicator(
    name: str,
    scale: str,
    meaning: tuple[str, str],
    unit: str = "log(1 + count)",
    *,
    direction: int = 1,
    absent: bool = False,
) -> dict[str, Any]:
    """Return one declaration, as a recompute writes it."""
    return {
        "name": name,
        "unit": unit,
        "window": 12,
        "direction": direction,
        "scale": scale,
        "meaning": dict(zip(("en", "fr"), meaning, strict=True)),
        "missing": {"en": "a month is not covered", "fr": "un mois n'est pas couvert"},
        "literature": [{"reference": "Nobody (1999), An invented work", "doi": "10.0000/invented"}],
        "inputs": ["displaced"] if absent else ["events"],
        "input_missing": absent,
    }


def drivers(score: float, escalation: float) -> dict[str, Any]:
    """Return an invented split of a score [points] and of an escalation probability [percentage points]."""

    def split(value: float, average_of: tuple[str, str]) -> dict[str, Any]:
        difference = sum(CONTRIBUTIONS.values())
        return {
            "value": value,
            "average": round(value - difference, 2),
            "difference": round(difference, 2),
            "rounding": 0.0,
            "sentence": {"en": f"{value} against {average_of[0]}.", "fr": f"{value} par rapport à {average_of[1]}."},
            "families": [
                {
                    "family": family,
                    "contribution": contribution,
                    "sentence": {
                        "en": f"{FAMILIES[family][0]}: {contribution} points.",
                        "fr": f"{FAMILIES[family][1]}\xa0: {contribution} points.",
                    },
                    "indicators": [
                        {"name": "own_deaths", "contribution": 1.42, "standard_error": 0.0},
                        {"name": "deaths_12m", "contribution": 2.6, "standard_error": 0.05},
                    ]
                    if family == "intensity"
                    else [],
                    "other_indicators": 0.0,
                }
                for family, contribution in CONTRIBUTIONS.items()
            ],
        }

    own, region = ("its own year", "sa propre année"), ("the region", "la région")
    return {
        "risk_score": {"own_year": split(score, own), "region": split(score, region)},
        "escalation_from_draws": {
            "own_year": split(round(100 * escalation, 1), own),
            "region": split(round(100 * escalation, 1), region),
        },
        "events": {
            "intensity": [{"event_id": "424242", "date": "2022-07-22", "iso3": "MLI", "deaths": 7, "where": "Kati"}],
            "spillover": [{"event_id": "17", "date": "2022-12-01", "iso3": "BFA", "deaths": 1, "where": None}],
        },
        "method": {"en": "An invented method.", "fr": "Une méthode inventée."},
    }


def signals(iso3: str, origin: str) -> list[dict[str, Any]]:
    """Return an invented signal of Mali; none of any other country."""
    rate = {"share": 0.4512, "low": 0.39, "high": 0.51, "months": 1705, "countries": 67}
    without = {"share": 0.352, "low": 0.31, "high": 0.39, "months": 15149, "countries": 113}
    signal = {
        "indicator": "events_near_12m",
        "family": "capital",
        "meaning": {"en": "Events near the capital", "fr": "Événements près de la capitale"},
        "unit": "events",
        "months": 12,
        "value": 19,
        "highest_in_five_years": True,
        "as_high": 2,
        "past_months": 120,
        "earlier": [{"month": str(month(origin) - 12 * age), "value": 8 - age} for age in range(1, 6)],
        "since": str(month(origin) - 3),
        "events": [{"event_id": "424243", "date": "2022-07-23", "iso3": "MLI", "deaths": 2, "where": "Kati"}],
        "events_counted": 19,
        "sentence": {
            "en": "Events near the capital: 19, the highest in five years.",
            "fr": "Événements près de la capitale\xa0: 19, le niveau le plus élevé en cinq ans.",
        },
        "base_rates": {
            "escalation": {"first_year": 1994, "last_year": 2020, "with_signal": rate, "without_signal": without},
            "month_25": None,
        },
        "base_rate_sentence": {
            "en": "An escalation followed in 45 % of 1,705 such country-months.",
            "fr": "Une escalade a suivi pour 45\xa0% de 1\xa0705 pays-mois.",
        },
        "reasons": {"month_25": "already_violent"},
    }
    return [signal] if iso3 == "MLI" else []


def neighbour_effects(scores: Mapping[str, float | None]) -> dict[str, Any]:
    """Return invented effects between land neighbours. Those on Mauritania are unknown, because its score is."""
    pairs = [(source, to) for source in scores for to in scores if to in geography.country(source).neighbours]
    return {
        "note": {"en": "An association, not a cause.", "fr": "Une association, et non une cause."},
        "pairs": [{"from": source, "to": to, **_points(source, to, scores)} for source, to in pairs],
        "all": [{"to": to, **_points("all", to, scores)} for to in scores],
    }


def _points(source: str, to: str, scores: Mapping[str, float | None]) -> dict[str, Any]:
    score = scores[to]
    if score is None:
        return {"points": None, "share": None, "reason": "not_forecast"}
    points = round(random.Random(source + to).uniform(-0.5, 3), 2)
    return {"points": points, "share": round(points / score, 4)}


def document(
    *,
    origin: str = "2022-12",
    simulated: bool = False,
    number: int = 1,
    issued_at: datetime = NOW,
    outcome: str = "state_based",
    scores: Mapping[str, float | None] = SCORES,
) -> dict[str, Any]:
    """Return the flat document of an outcome in the region of Mali.

    Mauritania has no history, Guinea has a gap of six months.
    """
    source = {"source": "SIMULATED" if simulated else "UCDP 24.1", "release": None if simulated else "24.1"}
    return {
        "id": number,
        "previous_digest": None,
        "issued_at": issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "MLI",
        "origin": origin,
        "data_as_of": last_day(month(origin)),
        "newer_data": {},
        "outcome": outcome,
        "simulated": simulated,
        "causes": ["new_month"],
        "source": "SIMULATED" if simulated else "UCDP 24.1",
        "licence": "CC0-1.0" if simulated else "CC BY 4.0 · UCDP",
        "shipped_only": False,
        "data": {"digest": "d" * 64, "ingests": []},
        "model": {
            "id": f"2022-12-{outcome}-ab12cd34",
            "digest": "e" * 64,
            "origin": origin,
            "trained_at": None,
            "vigie": "0.1.0",
        },
        "shadow": None,
        "bands": BANDS,
        "data_quality": [],
        "indicator_families": families(),
        "indicator_sources": [{"kind": "events", "source": "UCDP 24.1"}, {"kind": "coups", "source": "Invented"}],
        "signals_note": {"en": "Signals are observations.", "fr": "Les signaux sont des observations."},
        "neighbour_effects": neighbour_effects(scores),
        "countries": [country(iso3, origin, source, scores[iso3]) for iso3 in geography.region("MLI").members],
    }


SHARED_KEYS = (
    *("id", "previous_digest", "issued_at", "region", "simulated", "causes", "licence", "shipped_only", "data"),
    *("bands", "outcome", "missing_outcomes", "withdrawals", "input_digest"),
)
"""The keys of a snapshot's document that its outcomes share."""


def nested(*flat: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a snapshot, given the flat documents of its outcomes, the headline first."""
    parts = {
        each["outcome"]: {
            key: value
            for key, value in each.items()
            if key not in (*SHARED_KEYS, "available_outcomes") or key == "causes"
        }
        for each in flat
    }
    missing = {outcome: "no_model" for outcome in OUTCOMES if outcome not in parts}
    shared = {key: value for key, value in flat[0].items() if key in SHARED_KEYS}
    return {"missing_outcomes": missing, **shared, "outcomes": parts}


def both_outcomes(**how: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the flat documents of a snapshot with both outcomes: the headline, all, and state_based."""
    return document(**how, outcome="all"), document(**how, outcome="state_based", scores=STATE_BASED_SCORES)


LATEST = {
    "reported": 31,
    "expected_final": 50.2,
    "p05": 12,
    "p25": 33,
    "p75": 64,
    "p95": 130,
    "release_class": "monthly_candidate",
}
"""An unsettled figure."""


def country(iso3: str, origin: str, source: dict[str, Any], score: float | None) -> dict[str, Any]:
    """Return one country's part of a snapshot, made from its score."""
    end, rng = month(origin), random.Random(iso3)
    level = exp(((score or 0) - 15) / 14) if score and score > 10 else 0.2
    observed: list[float | None] = [float(int(level * rng.lognormvariate(0, 0.7))) for _ in range(36)]
    if iso3 == "GIN":
        observed[8:14] = [None] * 6
    entry = {
        "location_code": iso3,
        "reference_period_start": f"{end + 1}-01",
        "reference_period_end": last_day(end + 3),
        "risk_score": score,
        "band": None if score is None else max((n for n in BANDS if score >= BANDS[n]), key=lambda n: BANDS[n]),
        "rungs": [],
        "escalation_probability": None if score is None else round(score / 300, 3),
        "onset_probability": None if score is None or score > 30 else round(score / 100, 3),
        "expected_deaths": None if score is None else round(level * 3.3, 1),
        "escalation_model": None if score is None else "draws_and_regression",
        "escalation_from_draws": None if score is None else round(score / 250, 3),
        "onset_model": None if score is None else "draws",
        "latest_month": {"month": origin, **LATEST},
        "data_quality": QUALITY.get(iso3, []),
        "reasons": {"onset_probability": "not_quiet"} if score and score > 30 else {},
        "forecast": [],
        "observed": [
            {"month": str(end - 35 + i), "deaths": deaths, **({**LATEST, "reported": deaths} if i == 35 else {})}
            for i, deaths in enumerate(observed)
        ],
        "sources": [{"ingest": "i1", **source, "first": "1989-01", "last": origin}],
        "indicators": {name: now for name, (now, _) in VALUES.items()},
        "indicators_before": {name: before for name, (_, before) in VALUES.items()},
        "drivers": None if score is None else drivers(score, score / 250),
        "signals": signals(iso3, origin),
        "not_compared": [{"indicator": "displaced", "family": "people", "reason": "value_unknown"}],
        "percentiles": {"events_near_12m": 98.3 if iso3 == "MLI" else 40.0, "displaced": None},
        "unlisted_signals": [],
    }
    if score is None:
        fields = ("risk_score", "escalation_probability", "onset_probability", "expected_deaths")
        months = [{"month": str(end - 35 + i), "deaths": None} for i in range(36)]
        nothing = {"observed": months, "sources": []}
        unknown = {key: dict.fromkeys(VALUES) for key in ("indicators", "indicators_before")}
        model_fields = ("escalation_model", "escalation_from_draws", "onset_model")
        reasons = dict.fromkeys((*fields, *model_fields, "latest_month", "drivers"), "no_history")
        reasons["signals"] = "value_unknown"
        return {**entry, **nothing, **unknown, "latest_month": None, "signals": None, "reasons": reasons}
    entry["rungs"] = [
        {"deaths": rung, "probability": round(1 / (1 + (rung / (3 * level)) ** 1.4), 3)}
        for rung in (1, 5, 25, 100, 300, 1000)
    ]
    entry["forecast"] = [_lead(end + lead, lead, level) for lead in range(1, 13)]
    return entry


def _lead(target_month: Any, lead: int, level: float) -> dict[str, Any]:
    spread = 1 + lead / 12
    low, high = round(level * 0.25 / spread), round(level * (2 + spread))
    return {
        "lead": lead,
        "month": str(target_month),
        "expected": round(level * 1.1, 2),
        "p05": float(low if level > 5 else 0),
        "p25": float(round(level * 0.6)),
        "p50": float(round(level * 0.9)),
        "p75": float(round(level * 1.4)),
        "p95": float(high),
        "probability_1": round(1 - exp(-level), 3),
        "probability_25": round(1 / (1 + (25 / level) ** 1.5), 3),
        "probability_100": round(1 / (1 + (100 / level) ** 1.5), 3),
    }
