"""Armed actors: each indicator against plain loops, and Mali in 2012 and the Liptako in 2019 by hand."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ged
import numpy as np
import pytest
import worlds

from riskmodel.indicators.families.actors import INDICATORS
from riskmodel.indicators.inputs import Inputs

COMPUTE = {indicator.name: indicator.compute for indicator in INDICATORS}
FILES = {"MLI": "mali", "BFA": "burkina_faso", "NER": "niger"}


class EventsByCountry:
    """The events of some inputs by country, one at a time: month, the armed sides and the dyad."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, events = inputs, inputs.required_events
        self.events: list[list[tuple[int, set[str], int]]] = [[] for _ in inputs.iso3]
        for i in range(events.day.size):
            sides = {events.actors[side] for side in (events.side_a[i], events.side_b[i]) if side >= 0}
            self.events[events.row[i]].append((int(events.column[i]), sides - {"Civilians"}, int(events.dyad[i])))

    def covered(self, row: int, column: int, months: int) -> bool:
        known = self.inputs.required_events.covered[row, max(column - months + 1, 0) : column + 1]
        return column >= months - 1 and bool(known.all())

    def window(self, row: int, column: int, months: int) -> Iterator[tuple[set[str], int]]:
        return ((sides, dyad) for when, sides, dyad in self.events[row] if column - months < when <= column)

    def actors(self, row: int, column: int, months: int) -> Counter[str]:
        return Counter(actor for sides, _ in self.window(row, column, months) for actor in sides)

    def groups(self, row: int, column: int, months: int) -> Counter[str]:
        parts = self.actors(row, column, months)
        return Counter({actor: n for actor, n in parts.items() if not actor.startswith("Government of")})

    def dyads(self, row: int, column: int, months: int) -> set[int]:
        return {dyad for sides, dyad in self.window(row, column, months) if len(sides) == 2 and dyad >= 0}

    def cross_border(self, row: int, column: int) -> set[str] | None:
        """The groups that are also active in a neighbour; None where no neighbour's events are covered."""
        neighbours = [i for i in np.flatnonzero(self.inputs.neighbours[row]) if self.covered(i, column, 12)]
        if not neighbours or not self.covered(row, column, 12):
            return None
        return set(self.groups(row, column, 12)) & {name for i in neighbours for name in self.groups(i, column, 12)}

    def values(self, row: int, column: int) -> dict[str, float]:
        values = dict.fromkeys(COMPUTE, float("nan"))
        if self.covered(row, column, 12):
            parts, groups = self.actors(row, column, 12), self.groups(row, column, 12)
            values["actors_12m"] = np.log1p(len(parts))
            values["dyads_12m"] = np.log1p(len(self.dyads(row, column, 12)))
            if groups:
                values["dominance_12m"] = max(groups.values()) / sum(groups.values())
        for months in (12, 36):
            if self.covered(row, column, months) and (parts := self.actors(row, column, months)):
                shares = [number / sum(parts.values()) for number in parts.values()]
                values[f"effective_actors_{months}m"] = 1 / sum(share**2 for share in shares)
        if self.covered(row, column, 72):
            before = self.actors(row, column - 12, 60)
            values["new_actors_12m"] = np.log1p(len(set(self.actors(row, column, 12)) - set(before)))
            new = self.dyads(row, column, 12) - self.dyads(row, column - 12, 60)
            values["new_dyads_12m"] = np.log1p(len(new))
        if (cross_border := self.cross_border(row, column)) is not None:
            values["cross_border_actors_12m"] = np.log1p(len(cross_border))
            if crossing := [bool(sides & cross_border) for sides, _ in self.window(row, column, 12)]:
                values["cross_border_share_12m"] = sum(crossing) / len(crossing)
        return values


def test_every_indicator_equals_a_plain_loop() -> None:
    inputs = worlds.world(5, months=100, events=900)
    ours = {name: compute(inputs) for name, compute in COMPUTE.items()}
    plain = EventsByCountry(inputs)
    for row in range(len(inputs.iso3)):
        for column in (5, 11, 20, 40, 71, 80, 99):
            for name, value in plain.values(row, column).items():
                np.testing.assert_allclose(ours[name][row, column], value, err_msg=f"{name} {row} {column}")
    assert all(np.nanmax(values) > 0 for values in ours.values())
    assert np.isnan(ours["cross_border_actors_12m"][inputs.iso3.index(worlds.ISLAND)]).all()


def years(events: list[dict[str, str]], first: int, last: int) -> list[dict[str, str]]:
    return [row for row in events if first <= int(row["date_start"].split("/")[2][:4]) <= last]


def value(inputs: Inputs, name: str, iso3: str, when: str) -> float:
    return float(COMPUTE[name](inputs)[inputs.iso3.index(iso3), worlds.column(inputs, when)])


def real(shared: Path, *iso3: str) -> dict[str, Path]:
    """Countries' event files by what they cover."""
    return {f"{code}:1989-01..2022-12": shared / f"gedevents_{FILES[code]}_to_2022.csv.gz" for code in iso3}


def test_the_armed_actors_of_mali_in_2012(shared: Path, tmp_path: Path) -> None:
    """The year of the rebellion in the north and of the coup: nine of ten armed actors were new in five years."""
    files = real(shared, "MLI")
    inputs, (mali,) = ged.inputs(tmp_path, files), map(ged.rows, files.values())
    year, before = years(mali, 2012, 2012), years(mali, 2007, 2011)
    sides = [side for row in year for side in (row["side_a"], row["side_b"]) if side != "Civilians"]
    parts = Counter(sides)
    seen = {side for row in before for side in (row["side_a"], row["side_b"])}
    fights = {row["dyad_name"] for row in year if row["side_b"] != "Civilians"}
    groups = Counter(side for side in sides if not side.startswith("Government of"))
    expected = {
        "actors_12m": np.log1p(len(parts)),
        "effective_actors_12m": len(sides) ** 2 / sum(number**2 for number in parts.values()),
        "dominance_12m": max(groups.values()) / sum(groups.values()),
        "new_actors_12m": np.log1p(len(set(parts) - seen)),
        "dyads_12m": np.log1p(len(fights)),
        "new_dyads_12m": np.log1p(len(fights - {row["dyad_name"] for row in before})),
    }
    for name, values in expected.items():
        assert value(inputs, name, "MLI", "2012-12") == pytest.approx(values), name
    assert (len(parts), len(set(parts) - seen)) == (10, 9)


def test_the_armed_groups_on_both_sides_of_nigers_borders_in_2019(shared: Path, tmp_path: Path) -> None:
    files = real(shared, *FILES)
    inputs = ged.inputs(tmp_path, files)
    year = {code: years(ged.rows(path), 2019, 2019) for code, path in zip(FILES, files.values(), strict=True)}
    active = {}
    for code in FILES:
        sides = {side for row in year[code] for side in (row["side_a"], row["side_b"])}
        active[code] = {side for side in sides if side != "Civilians" and not side.startswith("Government of")}
    cross_border = active["NER"] & (active["MLI"] | active["BFA"])
    niger = year["NER"]
    crossing = sum(row["side_a"] in cross_border or row["side_b"] in cross_border for row in niger)
    assert {"IS", "JNIM"} == cross_border
    assert value(inputs, "cross_border_actors_12m", "NER", "2019-12") == pytest.approx(np.log1p(len(cross_border)))
    assert value(inputs, "cross_border_share_12m", "NER", "2019-12") == pytest.approx(crossing / len(niger))
