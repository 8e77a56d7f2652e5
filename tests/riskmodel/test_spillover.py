"""Spill-over: weights and distances against naive loops, and Mali's borders in 2022 by hand."""

import math
from pathlib import Path

import ged
import numpy as np
import pytest
import worlds
from histories import SAHEL, rectangle, series

from riskmodel import geography, reference
from riskmodel.indicators.families import spillover
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import assemble
from riskmodel.months import month
from riskmodel.outcomes import TYPES

COMPUTE = {indicator.name: indicator.compute for indicator in spillover.INDICATORS}
FILES = {"BFA": "burkina_faso", "NER": "niger", "CIV": "cote_divoire", "SEN": "senegal", "MLI": "mali"}


def border(one: str, other: str) -> list[tuple[float, float]]:
    """The points of a common border, as the table has them."""
    return [
        (float(row["latitude"]), float(row["longitude"]))
        for row in reference.rows("borders.csv")
        if {row["iso3"], row["neighbour"]} == {one, other}
    ]


def naive_beyond(inputs: Inputs, row: int, column: int, months: int, deaths: bool) -> float:
    """Events across the border of one country, one event and one border point at a time."""
    events, summed, known = inputs.required_events, 0.0, False
    for there, neighbour in enumerate(inputs.iso3):
        covered = column >= months - 1 and events.covered[there, column - months + 1 : column + 1].all()
        if not (covered and neighbour in geography.country(inputs.iso3[row]).neighbours):
            continue
        line, known = border(inputs.iso3[row], neighbour), True
        for event in np.flatnonzero(events.recent(there, column, months) & events.located):
            point = float(events.latitude[event]), float(events.longitude[event])
            if min(worlds.km(*point, *other) for other in line) <= 100:
                summed += float(events.deaths[event]) if deaths else 1.0
    return math.log1p(summed) if known else math.nan


def test_the_sum_the_mean_and_the_worst_of_the_neighbours() -> None:
    deaths = np.zeros((len(SAHEL), 12))
    deaths[SAHEL.index("BFA")] = 10
    deaths[SAHEL.index("NER"), -1] = 24
    deaths[SAHEL.index("MLI")] = 1000
    panel = assemble(rectangle(deaths), "state_based")
    assert np.expm1(series(panel, "neighbours_deaths_12m")[-1]) == pytest.approx(144, rel=1e-5)
    assert np.expm1(series(panel, "neighbours_mean_12m")[-1]) == pytest.approx(144 / 7, rel=1e-5)
    assert np.expm1(series(panel, "neighbours_worst_12m")[-1]) == pytest.approx(120, rel=1e-5)
    assert series(panel, "neighbours_at_war_12m")[-1] == pytest.approx(1 / 7)


def test_an_unknown_neighbour_makes_the_sum_unknown_and_an_island_has_none() -> None:
    iso3 = (*SAHEL, worlds.ISLAND)
    deaths = np.zeros((len(iso3), 12))
    deaths[SAHEL.index("SEN"), -1] = np.nan
    panel = assemble(rectangle(deaths, iso3), "state_based")
    assert np.isnan(series(panel, "neighbours_deaths_1m", "MLI")[-1])
    assert series(panel, "neighbours_deaths_1m", "MLI")[-2] == 0
    assert series(panel, "neighbours_deaths_1m", "NER")[-1] == 0  # Senegal is no neighbour of Niger
    assert np.isnan(series(panel, "neighbours_deaths_1m", worlds.ISLAND)).all()


@pytest.mark.parametrize("seed", range(3))
def test_events_across_the_border_equal_a_naive_loop(seed: int) -> None:
    inputs = worlds.world(seed, events=400)
    for what in ("deaths", "events"):
        for months in (3, 12):
            ours = COMPUTE[f"beyond_border_{what}_{months}m"](inputs)
            for row, column in ((0, 139), (2, 60), (6, 100), (7, 11), (8, 139)):
                expected = naive_beyond(inputs, row, column, months, what == "deaths")
                np.testing.assert_allclose(ours[row, column], expected, err_msg=f"{what} {row} {column}")


def test_deaths_by_distance_equal_a_naive_loop() -> None:
    inputs = worlds.world(5)
    ours = COMPUTE["deaths_by_distance_12m"](inputs)
    deaths = inputs.tables["deaths"]
    for row, column in ((0, 139), (3, 60), (8, 139)):
        here, parts = geography.country(inputs.iso3[row]), []
        for there, iso3 in enumerate(inputs.iso3):
            other = geography.country(iso3)
            away = worlds.km(here.latitude, here.longitude, other.latitude, other.longitude)
            sum_there = deaths[there, column - 11 : column + 1].sum()
            if there != row and away <= 1500 and not np.isnan(sum_there):
                parts.append(sum_there * min(1.0, 100 / away))
        expected = math.log1p(sum(parts)) if parts else math.nan
        np.testing.assert_allclose(ours[row, column], expected, rtol=2e-4)


def test_border_weights_are_shares_of_the_length() -> None:
    """Mali's borders in km are those that atlases give; the table draws rivers straighter than they run."""
    inputs = Inputs(SAHEL, np.array(["2020-01"], dtype="datetime64[M]"), {"deaths": np.zeros((8, 1))})
    lengths = dict(zip(SAHEL, spillover.border_lengths(inputs)[0], strict=True))
    known = {"DZA": 1359, "BFA": 1325, "CIV": 599, "GIN": 1062, "MRT": 2236, "NER": 838, "SEN": 489}
    assert lengths["MLI"] == 0
    for code, kilometres in known.items():
        share, expected = lengths[code] / sum(lengths.values()), kilometres / sum(known.values())
        assert share == pytest.approx(expected, abs=0.04), code


def test_one_country_alone_and_no_events() -> None:
    inputs = worlds.world(1, iso3=("MLI",), events=50)
    for name, compute in COMPUTE.items():
        assert np.isnan(compute(inputs)).all() == (name != "border_events_12m"), name
    nothing = worlds.chosen(inputs.required_events, np.empty(0, dtype=np.intp))
    quiet = Inputs(inputs.iso3, inputs.months, inputs.tables, worlds.renumbered(nothing))
    assert np.nanmax(COMPUTE["border_events_12m"](quiet)) == 0
    assert spillover.FAMILY.key_events is not None
    assert spillover.FAMILY.key_events(inputs, 0, 139).size == 0


def test_key_events_are_near_the_border_first_and_then_the_deadliest() -> None:
    inputs = worlds.world(2)
    events, row, column = inputs.required_events, 0, 139
    assert spillover.FAMILY.key_events is not None
    key_events = spillover.FAMILY.key_events(inputs, row, column)
    recent = [
        i for there in np.flatnonzero(inputs.neighbours[row]) for i in np.flatnonzero(events.recent(there, column, 12))
    ]
    by_pair = {code: border("MLI", code) for code in geography.country("MLI").neighbours}

    def far(i: int) -> bool:
        point = float(events.latitude[i]), float(events.longitude[i])
        points = by_pair[inputs.iso3[events.row[i]]]
        return not (events.located[i] and min(worlds.km(*point, *other) for other in points) <= 100)

    covered = [i for i in recent if not far(i) or events.kind[i] == TYPES.index("state_based")]
    expected = sorted(covered, key=lambda i: (far(i), -events.deaths[i], -events.day[i]))[:5]
    assert key_events.tolist() == expected
    assert len(key_events) == 5


def by_hand(shared: Path, iso3: str) -> list[tuple[str, int]]:
    """Month and deaths of a country's located events within 100 km of Mali, read without the code under test."""
    line, found = border("MLI", iso3), []
    for row in ged.rows(shared / f"gedevents_{FILES[iso3]}_to_2022.csv.gz"):
        if row["where_prec"] not in ("1", "2", "3"):
            continue
        point = float(row["latitude"]), float(row["longitude"])
        if min(worlds.km(*point, *other) for other in line) <= 100:
            when = row["date_start"]
            found.append((f"{when[6:10]}-{when[0:2]}", int(row["best_est"])))
    return found


def test_malis_borders_in_2022_by_hand(shared: Path, tmp_path: Path) -> None:
    """Algeria, Guinea and Mauritania have no event file here: they are left out, as `missing` says."""
    files = {f"{iso3}:1989-01..2022-12": shared / f"gedevents_{name}_to_2022.csv.gz" for iso3, name in FILES.items()}
    panel = worlds.panel(ged.inputs(tmp_path, files))
    near = [event for iso3 in ("BFA", "NER", "CIV", "SEN") for event in by_hand(shared, iso3)]
    counted = {}
    for year in range(2014, 2023):
        of_year = [deaths for when, deaths in near if when.startswith(str(year))]
        counted[year] = len(of_year), sum(of_year)
        at = panel.at(month(f"{year}-12"))[panel.iso3.index("MLI")]
        for name, expected in zip(("events", "deaths"), counted[year], strict=True):
            value = np.expm1(at[panel.names.index(f"beyond_border_{name}_12m")])
            assert value == pytest.approx(expected, rel=1e-5), (year, name)
    assert counted[2014][0] < 10 < 100 < counted[2022][0]
