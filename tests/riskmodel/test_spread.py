"""Where violence reaches: each indicator against plain loops, and Burkina Faso in 2019 by hand."""

import csv
import gzip
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import worlds

from riskmodel import geography
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.indicators.gathering import gather
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.spread import FAMILY, INDICATORS
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.sources.ucdp import GedFile

COMPUTE = {indicator.name: indicator.compute for indicator in INDICATORS}


def haversine(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The great-circle distance of two places (latitude, longitude [degrees]) [km]."""
    (north, east), (to_north, to_east) = (tuple(map(math.radians, place)) for place in (one, other))
    half = math.sin((to_north - north) / 2) ** 2
    half += math.cos(north) * math.cos(to_north) * math.sin((to_east - east) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(half))


def dispersion(places: list[tuple[float, float]]) -> float:
    """The root-mean-square distance from the centre, which is that of all pairs divided by the root of two [km]."""
    squares = [haversine(one, other) ** 2 for one in places for other in places]
    return math.sqrt(sum(squares) / 2) / len(places)


def naive(inputs: Inputs, row: int, column: int) -> dict[str, float]:
    """What the indicators say of one country and month, one event at a time."""
    events = inputs.reported

    def told(months: int) -> bool:
        return column >= months - 1 and bool(events.told[row, column - months + 1 : column + 1].all())

    def window(until: int, months: int) -> list[int]:
        there = (events.row == row) & (events.column <= until) & (events.column > until - months)
        return np.flatnonzero(there).tolist()

    def units(until: int, months: int) -> Counter[int]:
        return Counter(int(events.adm_1[i]) for i in window(until, months) if events.adm_1[i] >= 0)

    said = dict.fromkeys(COMPUTE, float("nan"))
    for months, memory in ((3, 24), (12, 60)):
        if told(months):
            said[f"units_{months}m"] = np.log1p(len(units(column, months)))
        if told(months + memory):
            fresh = set(units(column, months)) - set(units(column - months, memory))
            said[f"new_units_{months}m"] = np.log1p(len(fresh))
    if told(60) and units(column, 60):
        said["units_share_12m"] = len(units(column, 12)) / len(units(column, 60))
    if told(12):
        if number := units(column, 12):
            said["effective_units_12m"] = sum(number.values()) ** 2 / sum(n**2 for n in number.values())
        if located := [i for i in window(column, 12) if events.located[i]]:
            said["dispersion_12m"] = dispersion([(events.latitude[i], events.longitude[i]) for i in located])
    return said


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
    events = inputs.reported
    events.latitude[:], events.longitude[:], events.where_prec[:] = 27.123, 179.987, 1
    values = COMPUTE["dispersion_12m"](inputs)
    assert (values[~np.isnan(values)] == 0).all()
    assert (~np.isnan(values)).any()


def test_dispersion_knows_no_date_line() -> None:
    inputs = worlds.world(8, months=60)
    events = inputs.reported
    events.latitude[:], events.where_prec[:] = 0.0, 1
    events.longitude[::2], events.longitude[1::2] = 179.5, -179.5
    assert np.nanmax(COMPUTE["dispersion_12m"](inputs)) == pytest.approx(
        math.pi / 360 * geography.EARTH_RADIUS, rel=3e-4
    )


def test_behind_it_stands_one_event_of_each_unit_the_new_ones_first() -> None:
    inputs = worlds.world(8, months=100, events=900)
    events = inputs.reported
    assert FAMILY.behind
    for row in range(len(inputs.iso3)):
        places = FAMILY.behind(inputs, row, 99)
        units = events.adm_1[places]
        lately = [i for i in np.flatnonzero(events.recent(row, 99, 12)) if events.adm_1[i] >= 0]
        before = set(events.adm_1[(events.row == row) & (events.column >= 28) & (events.column < 88)].tolist())
        touched = {int(events.adm_1[i]) for i in lately}
        assert len(set(units.tolist())) == places.size == min(len(touched), 5)
        assert set(units[: len(touched - before)].tolist()) <= touched - before
        for place in places:
            assert place in lately
            assert events.deaths[place] == max(
                events.deaths[i] for i in lately if events.adm_1[i] == events.adm_1[place]
            )


def test_how_far_violence_reached_in_burkina_faso_in_2019(shared: Path, tmp_path: Path) -> None:
    """It touched nine of the thirteen regions; five of them had been spared in the five years before."""
    path = shared / "gedevents_burkina_faso_to_2022.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        head, *body = csv.reader(file)  # a row has one field more than the header names
    rows = [dict(zip(head, row, strict=False)) for row in body]

    def units(first: int, last: int) -> Counter[str]:
        years = range(first, last + 1)
        return Counter(r["adm_1"] for r in rows if r["adm_1"] and int(r["date_start"].split("/")[2][:4]) in years)

    touched = units(2019, 2019)
    located = [
        (float(row["latitude"]), float(row["longitude"]))
        for row in rows
        if row["date_start"].split("/")[2].startswith("2019") and int(row["where_prec"]) <= 3
    ]
    expected = {
        "units_12m": np.log1p(len(touched)),
        "new_units_12m": np.log1p(len(set(touched) - set(units(2014, 2018)))),
        "units_share_12m": len(touched) / len(units(2015, 2019)),
        "effective_units_12m": sum(touched.values()) ** 2 / sum(n**2 for n in touched.values()),
        "dispersion_12m": dispersion(located),
    }
    archive = Archive(tmp_path / "archive")
    covers = [Coverage.parse("BFA:1989-01..2022-12")]
    ingest(archive, GedFile(path), covers=covers, now=datetime(2026, 11, 22, tzinfo=UTC))
    view = archive.view()
    frame = view.outcomes()
    inputs = gather(view, frame, frame.deaths["state_based"])
    column = int((month("2019-12") - frame.months[0]).astype(int))
    for name, value in expected.items():
        assert COMPUTE[name](inputs)[0, column] == pytest.approx(value, rel=1e-3), name
    assert (len(touched), len(set(touched) - set(units(2014, 2018)))) == (9, 5)
    assert units(2016, 2016).total() < units(2017, 2017).total() < units(2018, 2018).total() < touched.total()
