"""Who kills whom: each indicator against plain loops, and the Central African Republic in December 2013 by hand."""

from pathlib import Path

import ged
import numpy as np
import pytest
import worlds

from riskmodel.indicators.families.composition import FAMILY, INDICATORS
from riskmodel.indicators.inputs import Inputs
from riskmodel.outcomes import TYPES

COMPUTE = {indicator.name: indicator.compute for indicator in INDICATORS}
UNKNOWN = -1


def share(part: float, total: float) -> float:
    return part / total if total else float("nan")


def naive(inputs: Inputs, row: int, column: int, months: int) -> dict[str, float]:
    """The indicators of one country and month, one event at a time."""
    events = inputs.required_events
    if column < months - 1 or not events.covered[row, column - months + 1 : column + 1].all():
        names = [name for name in COMPUTE if name.endswith(f"_{months}m")]
        return dict.fromkeys(names, float("nan"))
    deaths, by_state, civilians, counted, largest = dict.fromkeys(range(-1, 3), 0.0), 0.0, 0.0, 0.0, 0.0
    kinds: dict[tuple[int, str, bool], set[int]] = {}
    for i in range(events.day.size):
        if events.row[i] != row or not column - months < events.column[i] <= column:
            continue
        kind, dead = int(events.kind[i]), float(events.deaths[i])
        deaths[kind] += dead
        if kind == 2:
            by_state += dead * events.state_a[i]
            largest = max(largest, dead)
        if not np.isnan(events.civilians[i]):
            civilians, counted = civilians + events.civilians[i], counted + dead
        if kind != UNKNOWN and events.adm_1[i] != UNKNOWN and events.date_prec[i] <= 3:
            written = str(events.day[i].astype("datetime64[D]"))
            fortnight = int(events.adm_1[i]), written[:7], int(written[8:]) > 15
            kinds.setdefault(fortnight, set()).add(kind)
    known = sum(deaths[kind] for kind in range(3))
    values = {f"{name}_share_{months}m": share(deaths[kind], known) for kind, name in enumerate(TYPES)}
    values[f"civilian_share_{months}m"] = share(civilians, counted)
    values[f"one_sided_deaths_{months}m"] = np.log1p(deaths[2])
    values[f"convergence_{months}m"] = np.log1p(sum(len(seen) > 1 for seen in kinds.values()))
    if months == 12:
        values["state_one_sided_deaths_12m"] = np.log1p(by_state)
        values["state_one_sided_share_12m"] = share(by_state, deaths[2])
        values["largest_massacre_12m"] = np.log1p(largest)
    return values


@pytest.mark.parametrize("months", [3, 12])
def test_every_indicator_equals_a_plain_loop(months: int) -> None:
    inputs = worlds.world(3, months=60, days=28)
    ours = {name: compute(inputs) for name, compute in COMPUTE.items() if name.endswith(f"_{months}m")}
    for row in range(len(inputs.iso3)):
        for column in range(0, 60, 3):
            expected = naive(inputs, row, column, months)
            assert expected.keys() == ours.keys()
            for name, value in expected.items():
                np.testing.assert_allclose(ours[name][row, column], value, err_msg=f"{name} {row} {column}")
    assert all(np.nanmax(values) > 0 for values in ours.values())


def test_key_events_are_the_deadliest_of_each_type_in_turn() -> None:
    inputs = worlds.world(3, months=60)
    events = inputs.required_events
    assert FAMILY.key_events
    row = int(np.argmax(np.bincount(events.row[events.column >= 48])))
    indices = FAMILY.key_events(inputs, row, 59)
    assert indices.size == 5
    assert (events.row[indices] == row).all()
    assert (events.column[indices] >= 48).all()
    recent = (events.row == row) & (events.column >= 48)
    assert {int(kind) for kind in events.kind[indices[:3]]} == {0, 1, 2}
    for index in indices[:3]:
        assert events.deaths[index] == events.deaths[recent & (events.kind == events.kind[index])].max()
    assert list(events.deaths[indices[:3]]) == sorted(events.deaths[indices[:3]], reverse=True)


def test_there_are_no_key_events_without_events() -> None:
    inputs = worlds.world(3, months=60, events=0)
    assert FAMILY.key_events
    assert FAMILY.key_events(inputs, 0, 59).size == 0
    assert np.nanmax(COMPUTE["one_sided_deaths_12m"](inputs)) == 0
    assert np.isnan(COMPUTE["civilian_share_12m"](inputs)).all()


def test_who_killed_whom_in_the_central_african_republic_in_2013(shared: Path, tmp_path: Path) -> None:
    """The year in which the Séléka took Bangui: a government inflicted half of the deaths in one-sided violence."""
    path = shared / "GEDEvent_v23_1_CAF.csv.gz"
    year = [row for row in ged.rows(path) if row["date_start"].startswith("2013-")]
    dead = {kind: sum(int(row["best"]) for row in year if row["type_of_violence"] == kind) for kind in "123"}
    one_sided = [row for row in year if row["type_of_violence"] == "3"]
    by_state = sum(int(row["best"]) for row in one_sided if row["side_a"].startswith("Government of"))
    seen: dict[tuple[str, str, bool], set[str]] = {}
    for row in year:
        if row["adm_1"] and int(row["date_prec"]) <= 3:
            half = row["adm_1"], row["date_start"][:7], int(row["date_start"][8:10]) > 15
            seen.setdefault(half, set()).add(row["type_of_violence"])
    expected = {
        "state_based_share_12m": dead["1"] / sum(dead.values()),
        "non_state_share_12m": dead["2"] / sum(dead.values()),
        "one_sided_share_12m": dead["3"] / sum(dead.values()),
        "civilian_share_12m": sum(int(row["deaths_civilians"]) for row in year) / sum(dead.values()),
        "one_sided_deaths_12m": np.log1p(dead["3"]),
        "state_one_sided_deaths_12m": np.log1p(by_state),
        "state_one_sided_share_12m": by_state / dead["3"],
        "largest_massacre_12m": np.log1p(max(int(row["best"]) for row in one_sided)),
        "convergence_12m": np.log1p(sum(len(kinds) > 1 for kinds in seen.values())),
    }
    inputs = ged.inputs(tmp_path, {"CAF:1989-01..2022-12": path})
    column = worlds.column(inputs, "2013-12")
    for name, value in expected.items():
        np.testing.assert_allclose(COMPUTE[name](inputs)[0, column], value, err_msg=name)
    assert 0.5 < expected["state_one_sided_share_12m"] < 0.6
    assert FAMILY.key_events
    worst = FAMILY.key_events(inputs, 0, column)[0]
    assert str(inputs.required_events.day[worst].astype("datetime64[D]")) == "2013-12-05"  # Bangui
    assert np.log1p(inputs.required_events.deaths[worst]) == expected["largest_massacre_12m"]
