"""Spread of violence: each indicator against plain loops, and Burkina Faso in 2019 by hand."""

import math
from collections import Counter
from pathlib import Path

import ged
import numpy as np
import pytest
import worlds

from riskmodel import geography
from riskmodel.indicators.families.spread import INDICATORS
from riskmodel.indicators.inputs import Inputs

COMPUTE = {indicator.name: indicator.compute for indicator in INDICATORS}


def dispersion(points: list[tuple[float, float]]) -> float:
    """The root-mean-square distance from the centre, which is that of all pairs divided by the root of two [km]."""
    squares = [worlds.km(*one, *other) ** 2 for one in points for other in points]
    return math.sqrt(sum(squares) / 2) / len(points)


def naive(inputs: Inputs, row: int, column: int) -> dict[str, float]:
    """The indicators of one country and month, one event at a time."""
    events = inputs.required_events

    def covered(months: int) -> bool:
        return column >= months - 1 and bool(events.covered[row, column - months + 1 : column + 1].all())

    def window(until: int, months: int) -> list[int]:
        there = (events.row == row) & (events.column <= until) & (events.column > until - months)
        return np.flatnonzero(there).tolist()

    def units(until: int, months: int) -> Counter[int]:
        return Counter(int(events.adm_1[i]) for i in window(until, months) if events.adm_1[i] >= 0)

    values = dict.fromkeys(COMPUTE, float("nan"))
    for months, quiet in ((3, 24), (12, 60)):
        if covered(months):
            values[f"units_{months}m"] = np.log1p(len(units(column, months)))
        if covered(months + quiet):
            new = set(units(column, months)) - set(units(column - months, quiet))
            values[f"new_units_{months}m"] = np.log1p(len(new))
    if covered(60) and units(column, 60):
        values["units_share_12m"] = len(units(column, 12)) / len(units(column, 60))
    if covered(12):
        if number := units(column, 12):
            values["effective_units_12m"] = sum(number.values()) ** 2 / sum(n**2 for n in number.values())
        if located := [i for i in window(column, 12) if events.located[i]]:
            values["dispersion_12m"] = dispersion([(events.latitude[i], events.longitude[i]) for i in located])
    return values


def test_every_indicator_equals_a_plain_loop() -> None:
    inputs = worlds.world(8, months=100, events=900)
    ours = {name: compute(inputs) for name, compute in COMPUTE.items()}
    for row in range(len(inputs.iso3)):
        for column in (1, 5, 11, 26, 59, 71, 85, 99):
            for name, value in naive(inputs, row, column).items():
                # A straight line through the Earth is shorter than the way over it: by 0.4 % at 2,000 km.
                close = 5e-3 if name == "dispersion_12m" else 1e-12
                np.testing.assert_allclose(
                    ours[name][row, column],
                    value,
                    rtol=close,
                    atol=0.05 * (close > 1e-3),
                    err_msg=f"{name} {row} {column}",
                )
    assert all(np.nanmax(values) > 0 for values in ours.values())


def test_events_in_one_place_have_no_dispersion_however_far_from_the_capital() -> None:
    inputs = worlds.world(8, months=60)
    events = inputs.required_events
    events.latitude[:], events.longitude[:], events.where_prec[:] = 27.123, 179.987, 1
    values = COMPUTE["dispersion_12m"](inputs)
    assert (values[~np.isnan(values)] == 0).all()
    assert (~np.isnan(values)).any()


def test_dispersion_is_right_across_the_date_line() -> None:
    inputs = worlds.world(8, months=60)
    events = inputs.required_events
    events.latitude[:], events.where_prec[:] = 0.0, 1
    events.longitude[::2], events.longitude[1::2] = 179.5, -179.5
    assert np.nanmax(COMPUTE["dispersion_12m"](inputs)) == pytest.approx(
        math.pi / 360 * geography.EARTH_RADIUS, rel=3e-4
    )


def test_the_spread_of_violence_in_burkina_faso_in_2019(shared: Path, tmp_path: Path) -> None:
    """Nine of the thirteen regions had events; five of them had had none in the five years before."""
    path = shared / "gedevents_burkina_faso_to_2022.csv.gz"
    rows = ged.rows(path)

    def units(first: int, last: int) -> Counter[str]:
        years = range(first, last + 1)
        return Counter(r["adm_1"] for r in rows if r["adm_1"] and int(r["date_start"].split("/")[2][:4]) in years)

    hit = units(2019, 2019)
    located = [
        (float(row["latitude"]), float(row["longitude"]))
        for row in rows
        if row["date_start"].split("/")[2].startswith("2019") and int(row["where_prec"]) <= 3
    ]
    expected = {
        "units_12m": np.log1p(len(hit)),
        "new_units_12m": np.log1p(len(set(hit) - set(units(2014, 2018)))),
        "units_share_12m": len(hit) / len(units(2015, 2019)),
        "effective_units_12m": sum(hit.values()) ** 2 / sum(n**2 for n in hit.values()),
        "dispersion_12m": dispersion(located),
    }
    inputs = ged.inputs(tmp_path, {"BFA:1989-01..2022-12": path})
    column = worlds.column(inputs, "2019-12")
    for name, value in expected.items():
        assert COMPUTE[name](inputs)[0, column] == pytest.approx(value, rel=1e-3), name
    assert (len(hit), len(set(hit) - set(units(2014, 2018)))) == (9, 5)
    assert units(2016, 2016).total() < units(2017, 2017).total() < units(2018, 2018).total() < hit.total()
