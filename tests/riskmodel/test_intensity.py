"""Intensity: each indicator of a small history, and Mali at the end of 2022 by hand."""

import math
from pathlib import Path

import ged
import numpy as np
import pytest
import worlds
from histories import rectangle, series

from riskmodel.indicators.panel import assemble

SPEC = """
deaths           0   0   3  25   0   1   ?   2
deaths_1m        0   0   3  25   0   1   ?   2
deaths_3m        ?   ?   3  28  28  26   ?   ?
deaths_6m        ?   ?   ?   ?   ?  29   ?   ?
"""


def test_deaths_over_windows_match_the_table() -> None:
    rows = {line.split()[0]: line.split()[1:] for line in SPEC.strip().splitlines()}
    drawn = {name: [np.nan if cell == "?" else float(cell) for cell in cells] for name, cells in rows.items()}
    panel = assemble(rectangle(drawn.pop("deaths")), "state_based")
    for name, expected in drawn.items():
        np.testing.assert_allclose(np.expm1(series(panel, name)), expected, rtol=1e-6)


def test_waiting_time_is_unknown_until_the_record_is_long_enough() -> None:
    deaths = np.zeros(300)
    deaths[150] = 1
    panel = assemble(rectangle(deaths), "state_based")
    since = series(panel, "since_1")
    assert np.isnan(since[:119]).all()
    assert (since[119:150] == 120).all()
    assert since[150] == 0
    assert since[155] == 5
    assert since[290] == 120
    assert (series(panel, "since_25")[119:] == 120).all()


def test_waiting_time_is_unknown_after_an_unknown_month_until_it_happens_again() -> None:
    panel = assemble(rectangle([1, 0, np.nan, 0, 0, 1, 0]), "state_based")
    np.testing.assert_array_equal(series(panel, "since_1"), [0, 1, np.nan, np.nan, np.nan, 0, 1])


def test_shares_maximum_volatility_trend_and_level() -> None:
    deaths = np.zeros(60)
    deaths[-12:] = [0, 0, 0, 30, 0, 0, 0, 1, 0, 10, 20, 70]
    panel = assemble(rectangle(deaths), "state_based")
    last = {name: float(series(panel, name)[-1]) for name in panel.names}
    assert last["share_1_12m"] == pytest.approx(5 / 12)
    assert last["share_25_12m"] == pytest.approx(2 / 12)
    assert last["share_25_60m"] == pytest.approx(2 / 60)
    assert last["highest_12m"] == pytest.approx(np.log1p(70))
    assert last["volatility_12m"] == pytest.approx(np.log1p(deaths[-12:]).std())
    assert last["trend_3m"] == pytest.approx(np.log1p(100) - np.log1p(1))
    assert last["level_3m"] == pytest.approx(np.log1p(100) - np.log1p(131 / 20))


def test_weights_halve_with_each_half_life() -> None:
    deaths = np.zeros(64)
    deaths[59] = 64
    mean = np.expm1(series(assemble(rectangle(deaths), "state_based"), "deaths_half_life_4m")[[59, 63]])
    assert mean[1] == pytest.approx(mean[0] / 2, rel=1e-5)


def test_events_of_all_types_are_counted_and_weighted_by_age() -> None:
    inputs = worlds.world(3, holes=0)
    events, row = inputs.required_events, inputs.iso3.index("MLI")
    panel = worlds.panel(inputs)
    monthly = [((events.row == row) & (events.column == month)).sum() for month in range(worlds.MONTHS)]
    assert np.expm1(series(panel, "events_12m")[-1]) == pytest.approx(sum(monthly[-12:]), rel=1e-5)
    weights = [0.5 ** (age / 4) for age in range(60)]
    mean = sum(w * n for w, n in zip(weights, monthly[:-61:-1], strict=True)) / sum(weights)
    assert np.expm1(series(panel, "events_half_life_4m")[-1]) == pytest.approx(mean, rel=1e-5)
    assert mean > 0


def test_acceleration_is_the_change_of_the_trend() -> None:
    panel = assemble(rectangle([0, 0, 1, 3, 0, 0, 0, 10, 5]), "state_based")
    expected = np.log1p(15) - 2 * np.log1p(3) + np.log1p(1)
    assert series(panel, "acceleration_3m")[-1] == pytest.approx(expected)


def test_rank_counts_lower_earlier_sums_and_half_of_the_equal_ones() -> None:
    deaths = np.zeros(120)
    deaths[10], deaths[50], deaths[119] = 7, 9, 7
    rank = series(assemble(rectangle(deaths), "state_based"), "rank_3m")
    assert np.isnan(rank[:119]).all()
    assert rank[119] == pytest.approx((117 - 6 + 3 / 2) / 117)  # of 117 earlier sums 3 are equal and 3 greater
    assert series(assemble(rectangle(np.zeros(130)), "state_based"), "rank_3m")[-1] == 0.5


def test_malis_intensity_at_the_end_of_2022_by_hand(shared: Path, tmp_path: Path) -> None:
    path = shared / "gedevents_mali_to_2022.csv.gz"
    events, deaths = [0] * 408, [0] * 408
    for row in ged.rows(path):
        number = (int(row["date_start"][6:10]) - 1989) * 12 + int(row["date_start"][:2]) - 1
        events[number] += 1
        deaths[number] += int(row["best_est"]) * (row["type_of_violence"] == "1")
    sums = [sum(deaths[end - 3 : end]) for end in range(291, 409)]
    below = sum((one < sums[-1]) + 0.5 * (one == sums[-1]) for one in sums[:-1])
    logs = [math.log1p(sum(deaths[end - 3 : end])) for end in (408, 405, 402)]

    panel = worlds.panel(ged.inputs(tmp_path, {"MLI:1989-01..2022-12": path}))
    last = dict(zip(panel.names, panel.values[0, -1].tolist(), strict=True))
    for months in (1, 3, 6, 12, 24, 60):
        assert np.expm1(last[f"events_{months}m"]) == pytest.approx(sum(events[-months:]), rel=1e-5)
    assert last["rank_3m"] == pytest.approx(below / 117)
    assert last["acceleration_3m"] == pytest.approx(logs[0] - 2 * logs[1] + logs[2], abs=1e-6)
    assert 0.5 < below / 117 < 1
    assert sum(events[-12:]) > 100
