"""From a snapshot's explanations to what pages show of them: in which order, how deep a shade. No words and no markup.

A snapshot of an older Vigie has no explanations; there is nothing to show then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

LEVELS = 3
"""How many shades the style sheet has for points of either sign."""
VISIBLE = 0.05
"""What rounds to nothing at one decimal is no leading family and has no shade [points]."""
TOP = 5
"""How many indicators of a family are shown."""


def titles(document: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    """The titles of the families by language."""
    return {family["name"]: family["title"] for family in document.get("indicator_families") or []}


def declared(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The declarations of the indicators by name."""
    families = document.get("indicator_families") or []
    return {indicator["name"]: indicator for family in families for indicator in family["indicators"]}


def ranked(contributions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Contributions, the greatest of either sign first."""
    return sorted(contributions, key=lambda part: -abs(part["contribution"]))


def leading(country: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The family that contributes most to a score's difference from the country's own year; None if none does."""
    split = ((country.get("drivers") or {}).get("risk_score") or {}).get("own_year")
    families = ranked(split["families"]) if split else []
    return families[0] if families and abs(families[0]["contribution"]) >= VISIBLE else None


@dataclass(frozen=True)
class Cell:
    """Points of `to`'s score that go with `from`'s violence; `bordering` is False where there is nothing to tell of."""

    points: float | None
    share: float | None
    shade: str
    bordering: bool = True


@dataclass(frozen=True)
class Matrix:
    """A row of cells for each country that violence comes `from`, one column for each; `together` is all neighbours."""

    note: Mapping[str, str]
    members: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    together: tuple[Cell, ...]
    reasons: tuple[str, ...]


def matrix(document: Mapping[str, Any]) -> Matrix | None:
    """The neighbour effects of a snapshot, with shades relative to the largest value; None where it has none."""
    told = document.get("neighbour_effects")
    if not told:
        return None
    members = tuple(country["location_code"] for country in document["countries"])
    pairs = {(pair["from"], pair["to"]): pair for pair in told["pairs"]}
    together = {pair["to"]: pair for pair in told["all"]}
    known = [*told["pairs"], *told["all"]]
    most = max([VISIBLE, *(abs(pair["points"]) for pair in known if pair["points"] is not None)])
    return Matrix(
        note=told["note"],
        members=members,
        rows=tuple((source, tuple(_cell(pairs.get((source, to)), most) for to in members)) for source in members),
        together=tuple(_cell(together.get(to), most) for to in members),
        reasons=tuple(dict.fromkeys(pair.get("reason", "unknown") for pair in known if pair["points"] is None)),
    )


def _cell(pair: Mapping[str, Any] | None, most: float) -> Cell:
    if pair is None:
        return Cell(None, None, "", bordering=False)
    points = pair["points"]
    if points is None or abs(points) < VISIBLE:
        return Cell(points, pair.get("share"), "")
    shade = f"{'more' if points > 0 else 'less'}-{ceil(LEVELS * abs(points) / most)}"
    return Cell(points, pair.get("share"), shade)
