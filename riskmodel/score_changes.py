"""Ranks of risk scores in a region, and how scores have changed since earlier origins."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

SPANS: Mapping[str, int] = {"1m": 1, "12m": 12}
"""Over how many months changes are measured [months], by the end of their keys."""

NO_EARLIER_SCORE = "no_earlier_score"
"""The reason where there is no score of the earlier origin."""

RiskScores: TypeAlias = Mapping[str, float | None]
"""The risk score of each country; None is unknown. A country can be absent."""


def changes(countries: Sequence[Mapping[str, Any]], earlier: Mapping[str, RiskScores]) -> dict[str, dict[str, Any]]:
    """Return `rank`, `rank_change`, `change_1m` and `change_12m` of each country, with `reasons` for those unknown.

    `countries` have `location_code`, `risk_score` and `reasons`. `earlier` has the scores before by the keys of
    `SPANS`. Rank 1 is the highest score. A positive change is a higher score, or a place nearer to rank 1.
    """
    ranks = _ranks({country["location_code"]: country["risk_score"] for country in countries})
    ranks_before = _ranks(earlier["1m"])
    return {country["location_code"]: _of_country(country, ranks, ranks_before, earlier) for country in countries}


def _of_country(
    country: Mapping[str, Any],
    ranks: Mapping[str, int],
    ranks_before: Mapping[str, int],
    earlier: Mapping[str, RiskScores],
) -> dict[str, Any]:
    iso3, score = country["location_code"], country["risk_score"]
    rank, rank_before = ranks.get(iso3), ranks_before.get(iso3)
    values = {
        "rank": rank,
        "rank_change": None if rank is None or rank_before is None else rank_before - rank,
        **{f"change_{span}": _difference(score, earlier[span].get(iso3)) for span in SPANS},
    }
    reason = NO_EARLIER_SCORE if score is not None else country["reasons"].get("risk_score", "unknown")
    return {**values, "reasons": {name: reason for name, value in values.items() if value is None}}


def _difference(score: float | None, before: float | None) -> float | None:
    return None if score is None or before is None else round(score - before, 1)


def _ranks(scores: RiskScores) -> dict[str, int]:
    """Return the rank of each country with a score; equal scores share a rank."""
    known = {iso3: score for iso3, score in scores.items() if score is not None}
    return {iso3: 1 + sum(other > score for other in known.values()) for iso3, score in known.items()}
