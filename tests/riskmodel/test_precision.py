"""Precision: vaguely dated deaths are spread over their months, and vague dates and places give warnings."""

from datetime import timedelta
from pathlib import Path

import ged
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import GW, NOW, take_in

from riskmodel.events.archive import Archive
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import assemble
from riskmodel.months import month
from riskmodel.outcomes import TYPES, CountryMonths
from riskmodel.reporting.precision import precision_warnings, spread_vague_deaths

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["MLI", "NER"]),
        st.integers(0, 360),
        st.integers(0, 360),
        st.sampled_from([1, 3, 5]),
        st.integers(0, 400),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=8,
)


def day_of(number: int) -> str:
    return str(np.datetime64("2020-01-01") + number)


@settings(deadline=None, max_examples=25)
@given(EVENTS, st.integers(1, 11))
def test_spreading_keeps_every_death_and_moves_only_vague_dates(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, int, int, int, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("spread")
    rows = [
        {
            "country_id": GW[iso3],
            "date_start": day_of(start),
            "date_end": day_of(start + length),
            "date_prec": prec,
            "best": best,
            "high": best,
            "type_of_violence": kind,
        }
        for iso3, start, length, prec, best, kind in drawn
    ]
    archive = Archive(folder / "archive")
    take_in(archive, ged.write(folder / "a.csv", *rows), "MLI:2020-01..2021-12", "NER:2020-01..2021-12")
    view = archive.view()
    counted, moved = view.outcomes(), spread_vague_deaths(view)
    assert (moved.iso3, moved.months.tolist()) == (counted.iso3, counted.months.tolist())
    for kind in (*TYPES, "all"):
        assert moved.deaths[kind].min() >= 0
        np.testing.assert_array_equal(moved.deaths[kind].sum(axis=1), counted.deaths[kind].sum(axis=1))
        lag = np.cumsum(moved.deaths[kind], axis=1) - np.cumsum(counted.deaths[kind], axis=1)
        assert lag.max() <= 0, "deaths move to later months only"
    assert np.allclose(moved.deaths["all"], sum(moved.deaths[kind] for kind in TYPES))
    naive = counted.deaths["all"].copy()
    for iso3, start, length, prec, best, _ in drawn:
        if prec == 5:
            i = counted.iso3.index(iso3)
            days = np.arange(np.datetime64("2020-01-01") + start, np.datetime64("2020-01-01") + start + length + 1)
            columns = (days.astype("datetime64[M]") - counted.months[0]).astype(int)
            naive[i, columns[0]] -= best
            np.add.at(naive[i], columns, best / len(days))
    np.testing.assert_allclose(moved.deaths["all"], naive, atol=0.15)
    origin = counted.months[cut]
    early = Archive(folder / "early")
    seen = [row for row in rows if row["date_start"] < str((origin + 1).astype("datetime64[D]"))]
    if seen:
        take_in(early, ged.write(folder / "b.csv", *seen), f"MLI:2020-01..{origin}", f"NER:2020-01..{origin}")
        np.testing.assert_array_equal(
            spread_vague_deaths(early.view()).deaths["all"], moved.until(origin).deaths["all"]
        )


def test_months_of_a_country_month_table_receive_and_give_no_deaths(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    summary = {"date_start": "2020-01-01", "date_end": "2020-03-31", "date_prec": 5, "best": 91, "high": 91}
    take_in(archive, ged.write(tmp_path / "a.csv", summary), "MLI:2020-01..2020-03")
    path = tmp_path / "t.monthly"
    path.write_text("iso3,month,deaths_state_based\nMLI,2020-02,7\nNER,2020-01,4\n")
    take_in(archive, path, now=NOW + timedelta(days=1))
    reported, moved = archive.view().outcomes(), spread_vague_deaths(archive.view())
    assert reported.deaths["state_based"][0].tolist() == [91, 7, 0]
    assert moved.deaths["state_based"][0].tolist() == [31, 7, 31]
    np.testing.assert_array_equal(moved.deaths["state_based"][1], reported.deaths["state_based"][1])


def inputs_of(observed: CountryMonths) -> Inputs:
    """Inputs with these deaths."""
    return Inputs(observed.iso3, observed.months, {"deaths": observed.deaths["state_based"]})


def test_indicators_use_the_spread_deaths_and_outcomes_do_not(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    summary = {"date_start": "2020-01-01", "date_end": "2020-12-31", "date_prec": 5, "best": 366, "high": 366}
    take_in(archive, ged.write(tmp_path / "a.csv", summary), "MLI:2019-01..2020-12")
    view = archive.view()
    panel = assemble(view.outcomes(), "state_based", inputs_of(spread_vague_deaths(view)))
    assert panel.deaths[0, 12:].tolist() == [366] + [0] * 11
    seen = np.expm1(panel.values[0, 12:, panel.names.index("deaths_1m")])
    np.testing.assert_allclose(seen, [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], rtol=1e-5)
    with pytest.raises(ValueError, match="countries and months"):
        assemble(view.outcomes(), "state_based", inputs_of(spread_vague_deaths(view).until(month("2020-06"))))


def test_warnings_of_vague_dates_and_places(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    path = ged.write(
        tmp_path / "a.csv",
        {"date": "2020-05-01", "best": 30, "date_prec": 5},
        {"date": "2020-05-02", "best": 10, "where_prec": 6},
        {"date": "2020-05-03", "best": 20, "where_prec": 3},
        {"date": "2020-05-03", "best": 40, "where_prec": ""},
        {"date": "2019-05-03", "best": 900, "where_prec": 6},
        {"date": "2020-05-03", "best": 0, "where_prec": 5, "country_id": ged.NIGER},
        {"date": "2020-05-03", "best": 5, "country_id": ged.BURKINA_FASO},
    )
    take_in(archive, path, *(f"{iso3}:2019-01..2020-12" for iso3 in ("MLI", "NER", "BFA")))
    warnings = precision_warnings(archive.view(), ["MLI", "NER", "BFA", "SEN"], month("2020-12"))
    assert warnings == {
        "MLI": [
            {"code": "imprecise_dates", "events": 0.25, "deaths": 0.3, "months": 12},
            {"code": "imprecise_places", "events": 0.3333, "deaths": 0.1667, "months": 12},
        ],
        "NER": [{"code": "imprecise_places", "events": 1.0, "deaths": None, "months": 12}],
        "BFA": [],
        "SEN": [],
    }
