"""What each indicator says of a small history, and what holds for all of them whatever the history."""

import re
from dataclasses import replace

import numpy as np
import pytest
from histories import SAHEL, made, rectangle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.indicators.declaration import Indicator
from riskmodel.indicators.panel import INDICATORS, Panel, assemble

MONTHS = 140
ISLAND = "MDG"

holes = st.lists(st.tuples(st.integers(0, len(SAHEL) - 1), st.integers(0, MONTHS - 1)), max_size=3)
seeds = st.integers(0, 50)


def with_holes(seed: int, unknown: list[tuple[int, int]]) -> NDArray[np.float64]:
    deaths = made(seed, MONTHS)
    for place in unknown:
        deaths[place] = np.nan
    return deaths


def column(panel: Panel, name: str, iso3: str = "MLI") -> NDArray[np.float32]:
    return panel.values[panel.iso3.index(iso3), :, panel.names.index(name)]


SPEC = """
deaths           0   0   3  25   0   1   ?   2
deaths_1m        0   0   3  25   0   1   ?   2
deaths_3m        ?   ?   3  28  28  26   ?   ?
deaths_6m        ?   ?   ?   ?   ?  29   ?   ?
"""


def test_deaths_over_windows_as_drawn() -> None:
    rows = {line.split()[0]: line.split()[1:] for line in SPEC.strip().splitlines()}
    drawn = {name: [np.nan if cell == "?" else float(cell) for cell in cells] for name, cells in rows.items()}
    panel = assemble(rectangle(drawn.pop("deaths")), "state_based")
    for name, expected in drawn.items():
        np.testing.assert_allclose(np.expm1(column(panel, name)), expected, rtol=1e-6)


def test_waiting_time_is_unknown_until_the_record_is_long_enough_to_tell() -> None:
    deaths = np.zeros(300)
    deaths[150] = 1
    panel = assemble(rectangle(deaths), "state_based")
    since = column(panel, "since_1")
    assert np.isnan(since[:119]).all()
    assert (since[119:150] == 120).all()
    assert since[150] == 0
    assert since[155] == 5
    assert since[290] == 120
    assert (column(panel, "since_25")[119:] == 120).all()


def test_waiting_time_is_unknown_after_an_unknown_month_until_it_happens_again() -> None:
    panel = assemble(rectangle([1, 0, np.nan, 0, 0, 1, 0]), "state_based")
    np.testing.assert_array_equal(column(panel, "since_1"), [0, 1, np.nan, np.nan, np.nan, 0, 1])


def test_shares_highest_volatility_trend_and_own_level() -> None:
    deaths = np.zeros(60)
    deaths[-12:] = [0, 0, 0, 30, 0, 0, 0, 1, 0, 10, 20, 70]
    panel = assemble(rectangle(deaths), "state_based")
    last = {name: float(column(panel, name)[-1]) for name in panel.names}
    assert last["share_1_12m"] == pytest.approx(5 / 12)
    assert last["share_25_12m"] == pytest.approx(2 / 12)
    assert last["share_25_60m"] == pytest.approx(2 / 60)
    assert last["highest_12m"] == pytest.approx(np.log1p(70))
    assert last["volatility_12m"] == pytest.approx(np.log1p(deaths[-12:]).std())
    assert last["trend_3m"] == pytest.approx(np.log1p(100) - np.log1p(1))
    assert last["level_3m"] == pytest.approx(np.log1p(100) - np.log1p(131 / 20))


def test_half_life_weighs_an_older_month_half() -> None:
    deaths = np.zeros(64)
    deaths[59] = 64
    mean = np.expm1(column(assemble(rectangle(deaths), "state_based"), "deaths_half_life_4m")[[59, 63]])
    assert mean[1] == pytest.approx(mean[0] / 2, rel=1e-5)


def test_neighbours_are_summed_and_the_worst_hit_found() -> None:
    deaths = np.zeros((len(SAHEL), 12))
    deaths[SAHEL.index("BFA")] = 10
    deaths[SAHEL.index("NER"), -1] = 24
    deaths[SAHEL.index("MLI")] = 1000
    panel = assemble(rectangle(deaths), "state_based")
    assert np.expm1(column(panel, "neighbours_deaths_12m")[-1]) == pytest.approx(144, rel=1e-5)
    assert np.expm1(column(panel, "neighbours_mean_12m")[-1]) == pytest.approx(144 / 7, rel=1e-5)
    assert np.expm1(column(panel, "neighbours_worst_12m")[-1]) == pytest.approx(120, rel=1e-5)
    assert column(panel, "neighbours_at_war_12m")[-1] == pytest.approx(1 / 7)


def test_a_neighbour_unknown_makes_the_neighbourhood_unknown_and_an_island_has_none() -> None:
    iso3 = (*SAHEL, ISLAND)
    deaths = np.zeros((len(iso3), 12))
    deaths[SAHEL.index("SEN"), -1] = np.nan
    panel = assemble(rectangle(deaths, iso3), "state_based")
    assert np.isnan(column(panel, "neighbours_deaths_1m", "MLI")[-1])
    assert column(panel, "neighbours_deaths_1m", "MLI")[-2] == 0
    assert column(panel, "neighbours_deaths_1m", "NER")[-1] == 0  # Senegal is no neighbour of Niger
    assert np.isnan(column(panel, "neighbours_deaths_1m", ISLAND)).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, unknown=holes, cut=st.integers(1, MONTHS - 1), garbage=st.integers(0, 1000))
def test_nothing_after_a_month_is_used(seed: int, unknown: list[tuple[int, int]], cut: int, garbage: int) -> None:
    deaths = with_holes(seed, unknown)
    rng = np.random.default_rng(garbage)
    other = deaths.copy()
    other[:, cut:] = np.where(
        rng.random(other[:, cut:].shape) < 0.3, np.nan, rng.integers(0, 10**6, other[:, cut:].shape)
    )
    ours, theirs = (assemble(rectangle(table), "state_based").values[:, :cut] for table in (deaths, other))
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, unknown=holes, later=st.integers(1, 40))
def test_unknown_months_before_the_record_only_shift_the_panel(
    seed: int, unknown: list[tuple[int, int]], later: int
) -> None:
    deaths = with_holes(seed, unknown)
    shifted = np.pad(deaths, ((0, 0), (later, 0)), constant_values=np.nan)
    ours, theirs = (assemble(rectangle(table), "state_based").values for table in (deaths, shifted))
    np.testing.assert_array_equal(ours, theirs[:, later:])
    assert np.isnan(theirs[:, :later]).all()


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_the_declared_window_is_the_one_used(indicator: Indicator) -> None:
    deaths = made(7, MONTHS)
    panel = assemble(rectangle(deaths), "state_based", indicators=[indicator])
    complete = panel.values[:, indicator.window - 1 :]
    assert not np.isnan(complete).any()
    if indicator.window > 1:
        older = deaths.copy()
        older[:, : MONTHS - indicator.window] = 77.0
        again = assemble(rectangle(older), "state_based", indicators=[indicator])
        np.testing.assert_array_equal(panel.values[:, -1], again.values[:, -1])
    if not indicator.name.startswith("since_"):
        assert np.isnan(panel.values[:, : indicator.window - 1]).all()
        broken = deaths.copy()
        broken[:, MONTHS - indicator.window] = np.nan
        assert np.isnan(assemble(rectangle(broken), "state_based", indicators=[indicator]).values[:, -1]).all()


@settings(max_examples=10, deadline=None)
@given(seed=seeds, order=st.permutations(range(len(SAHEL))))
def test_the_order_of_countries_does_not_matter(seed: int, order: list[int]) -> None:
    deaths = made(seed, MONTHS)
    ours = assemble(rectangle(deaths), "state_based").values[order]
    theirs = assemble(rectangle(deaths[order], [SAHEL[i] for i in order]), "state_based").values
    np.testing.assert_array_equal(ours, theirs)


def test_declarations_are_complete() -> None:
    assert len({indicator.name for indicator in INDICATORS}) == len(INDICATORS)
    assert {indicator.family for indicator in INDICATORS} == {"intensity", "spillover"}
    for indicator in INDICATORS:
        assert indicator.direction in (-1, 0, 1)
        assert indicator.meaning.keys() == indicator.missing.keys() == {"en", "fr"}
        assert all(re.fullmatch(r"10\.\d{4,5}/\S+", citation.doi) for citation in indicator.literature)
        assert indicator.literature
        assert indicator.unit


def test_a_missing_input_leaves_unknown_values_and_is_named() -> None:
    other = replace(INDICATORS[0], name="sieges", inputs=("deaths", "sieges"))
    panel = assemble(rectangle(made()), "state_based", indicators=(*INDICATORS, other))
    assert panel.absent == ("sieges",)
    assert np.isnan(panel.values[:, :, -1]).all()
    given = assemble(rectangle(made()), "state_based", indicators=[other], tables={"sieges": made()})
    assert given.absent == ()
    assert not np.isnan(given.values).any()


def test_the_outcome_chosen_is_the_one_measured() -> None:
    observed = rectangle(np.zeros((1, 12)))
    observed.deaths["all"] = np.full((1, 12), 5.0)
    assert column(assemble(observed, "state_based"), "deaths_1m")[-1] == 0
    assert np.expm1(column(assemble(observed, "all"), "deaths_1m")[-1]) == pytest.approx(5)


def test_a_panel_is_cut_and_asked_by_month() -> None:
    panel = assemble(rectangle(made()), "state_based")
    origin = panel.months[50]
    np.testing.assert_array_equal(panel.at(origin), panel.values[:, 50])
    np.testing.assert_array_equal(panel.until(origin).values, panel.values[:, :51])
    np.testing.assert_array_equal(panel.history(origin, 3), panel.deaths[:, 48:51])
    early = panel.history(panel.months[1], 4)
    assert np.isnan(early[:, :2]).all()
    np.testing.assert_array_equal(early[:, 2:], panel.deaths[:, :2])
    assert panel.only(["NER", "MLI"]).iso3 == ("NER", "MLI")
    np.testing.assert_array_equal(panel.only(["NER"]).values[0], panel.values[SAHEL.index("NER")])
    with pytest.raises(KeyError):
        panel.at(panel.months[-1] + 1)


def test_every_country_can_stand_in_a_panel() -> None:
    everywhere = tuple(geography.countries())
    panel = assemble(rectangle(np.zeros((len(everywhere), 60)), everywhere), "state_based")
    assert not np.isnan(column(panel, "neighbours_deaths_60m", "AUT")[-1])
