"""Prepare a snapshot's neighbour effects for the region page: one table with a shade for each cell.

This module knows no words and no markup.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

SHADE_LEVELS = 3
"""Number of shades in the style sheet for each sign."""
MIN_EFFECT = 0.05
"""Smaller effects are shown as 0.0 [points]; their cells have no shade."""


@dataclass(frozen=True)
class Cell:
    """Points of one country's score associated with a neighbour's violence; `bordering` is False without a border."""

    points: float | None
    share: float | None
    shade: str
    bordering: bool = True


@dataclass(frozen=True)
class NeighbourMatrix:
    """A row for each country as the neighbour, a column for each country whose score is affected.

    `all_neighbours` has one cell a column, for all neighbours together; `reasons` says why points are unknown.
    """

    note: Mapping[str, str]
    members: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    all_neighbours: tuple[Cell, ...]
    reasons: tuple[str, ...]


def neighbour_matrix(document: Mapping[str, Any]) -> NeighbourMatrix | None:
    """Return the table of a snapshot, shaded relative to its largest effect; None if drivers are off."""
    effects = document["neighbour_effects"]
    if not effects:
        return None
    members = tuple(country["location_code"] for country in document["countries"])
    by_pair = {(effect["from"], effect["to"]): effect for effect in effects["pairs"]}
    by_target = {effect["to"]: effect for effect in effects["all"]}
    listed = [*effects["pairs"], *effects["all"]]
    largest = max([MIN_EFFECT, *(abs(effect["points"]) for effect in listed if effect["points"] is not None)])
    return NeighbourMatrix(
        note=effects["note"],
        members=members,
        rows=tuple(
            (source, tuple(_cell(by_pair.get((source, target)), largest) for target in members)) for source in members
        ),
        all_neighbours=tuple(_cell(by_target.get(target), largest) for target in members),
        reasons=tuple(dict.fromkeys(effect.get("reason", "unknown") for effect in listed if effect["points"] is None)),
    )


def _cell(effect: Mapping[str, Any] | None, largest: float) -> Cell:
    if effect is None:
        return Cell(None, None, "", bordering=False)
    points = effect["points"]
    if points is None or abs(points) < MIN_EFFECT:
        return Cell(points, effect.get("share"), "")
    sign = "increase" if points > 0 else "decrease"
    return Cell(points, effect.get("share"), f"{sign}-{ceil(SHADE_LEVELS * abs(points) / largest)}")
