"""Prepare a snapshot's drivers for the pages: titles and declarations by name, contributions by size, the main family.

This module knows no words and no markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any

MIN_CONTRIBUTION = 0.05
"""Smaller contributions are shown as 0.0 [points]; they are not named as the main factor."""
TOP_SIGNALS = 5
"""How many signals of a country the page shows at once; the others are folded."""
TOP_INDICATORS = 5
"""How many indicators of a family the page shows."""


def family_titles(document: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    """Return the titles, by language, of each indicator family."""
    return {family["name"]: family["title"] for family in document["indicator_families"]}


def indicator_declarations(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the declaration of each indicator."""
    families = document["indicator_families"]
    return {indicator["name"]: indicator for family in families for indicator in family["indicators"]}


def by_size(contributions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort contributions by absolute value, largest first."""
    return sorted(contributions, key=lambda item: -abs(item["contribution"]))


def main_family(country: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the family that contributes most to the score's difference from the country's own year, if any."""
    drivers = country["drivers"]
    split = drivers and drivers["risk_score"].get("own_year")
    families = by_size(split["families"]) if split else []
    return families[0] if families and abs(families[0]["contribution"]) >= MIN_CONTRIBUTION else None
