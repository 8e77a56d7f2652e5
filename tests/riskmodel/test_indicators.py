"""Properties of all indicators, for any history."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import ged
import numpy as np
import pytest
import worlds
from histories import SAHEL, made, rectangle, series
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.indicators.declaration import Family, Indicator
from riskmodel.indicators.inputs import Events, Inputs
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel, assemble
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.ingest import ingest
from riskmodel.sources.ucdp import GedFile

MONTHS = 140
FOUR_CENTURIES = 4800
"""After 400 years the calendar of days repeats itself."""
OF_DEATHS = tuple(indicator for indicator in INDICATORS if indicator.inputs == ("deaths",))

seeds = st.integers(0, 50)


def same(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Raises AssertionError, naming the indicators, unless both are equal bit for bit."""
    assert ours.shape == theirs.shape
    differ = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))
    if ours.ndim == 3:
        assert not differ.any(), [INDICATORS[i].name for i in np.flatnonzero(differ.any(axis=(0, 1)))]
    assert not differ.any()


def renamed(events: Events, rng: np.random.Generator) -> Events:
    """The events with other names in another order; civilians stay civilians, and governments governments."""
    actors, actor = with_other_names(events.actors, rng)
    dyads, dyad = with_other_names(events.dyads, rng)
    units, unit = with_other_names(tuple(name for _, name in events.units), rng)
    return replace(
        events,
        actors=actors,
        dyads=dyads,
        units=tuple((events.units[old][0], name) for old, name in zip(np.argsort(unit[:-1]), units, strict=True)),
        side_a=actor[events.side_a],
        side_b=actor[events.side_b],
        dyad=dyad[events.dyad],
        adm_1=unit[events.adm_1],
    )


def with_other_names(names: tuple[str, ...], rng: np.random.Generator) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Other names, and the index of each old one among them; the last index is for the unknown name, -1."""
    index = rng.permutation(len(names))
    other = [""] * len(names)
    for old, name in enumerate(names):
        renamed_actor = name if name == "Civilians" else f"Other {old}"
        other[index[old]] = f"Government of {old}" if name.startswith("Government") else renamed_actor
    return tuple(other), np.append(index, -1)


def event(rng: np.random.Generator, iso3: str, gw: int, number: int) -> dict[str, object]:
    """An event of 2010-2019 as UCDP writes it; ids are of the country, so that files may come in any order."""
    country, day = geography.country(iso3), np.datetime64("2010-01-01") + rng.integers(3652)
    kind, deaths = int(rng.integers(1, 4)), int(rng.integers(0, 30))
    side_b = "Civilians" if kind == 3 else f"Invented group {rng.integers(5)}"
    return {
        "id": gw * 1000 + number,
        "country_id": gw,
        "date": str(day),
        "type_of_violence": kind,
        "side_a": f"Government of {iso3}" if kind == 1 else f"Invented group {rng.integers(5)}",
        "side_b": side_b,
        "best": deaths,
        "high": deaths,
        "low": 0,
        "deaths_civilians": deaths // 2,
        "latitude": round(country.latitude + rng.normal(), 3),
        "longitude": round(country.longitude + rng.normal(), 3),
        "where_prec": int(rng.integers(1, 6)),
        "date_prec": int(rng.choice([1, 2, 5])),
        "adm_1": f"Invented region {rng.integers(4)}",
        "number_of_sources": int(rng.integers(1, 5)),
    }


@settings(max_examples=12, deadline=None)
@given(seed=seeds, other=seeds, origin=st.integers(0, MONTHS - 2))
def test_nothing_after_a_month_is_used(seed: int, other: int, origin: int) -> None:
    """Events added, altered and taken away, tables and coverage after the origin: the past stays, bit for bit."""
    ours, noise = worlds.world(seed), worlds.world(other + 1000, holes=8, events=600)
    late = noise.required_events.column > origin
    events = ours.required_events
    shuffled = replace(events, deaths=np.where(events.column > origin, 1e6 - events.deaths, events.deaths))
    mixed_coverage = np.where(np.arange(MONTHS) > origin, noise.required_events.covered, events.covered)
    mixed = worlds.joined(
        worlds.chosen(worlds.numbered_after(noise.required_events, events), late),
        worlds.chosen(shuffled, (events.column <= origin) | (events.deaths > 1)),
    )
    mixed = worlds.renumbered(
        worlds.chosen(replace(mixed, covered=mixed_coverage), mixed_coverage[mixed.row, mixed.column])
    )
    tables = {
        name: np.where(np.arange(MONTHS) > origin, noise.tables[name] * 3 + 1, table)
        for name, table in ours.tables.items()
    }
    altered = Inputs(ours.iso3, ours.months, tables, mixed)
    before, after = worlds.panel(ours).values, worlds.panel(altered).values
    same(before[:, : origin + 1], after[:, : origin + 1])
    assert not np.array_equal(before[:, origin + 1 :], after[:, origin + 1 :], equal_nan=True)


@settings(max_examples=12, deadline=None)
@given(seed=seeds, origin=st.integers(0, MONTHS - 1))
def test_a_row_as_of_a_month_is_that_of_the_whole_panel(seed: int, origin: int) -> None:
    inputs = worlds.world(seed)
    early = worlds.panel(worlds.cut(inputs, 0, origin + 1))
    same(early.values, worlds.panel(inputs).values[:, : origin + 1])


@settings(max_examples=8, deadline=None)
@given(seed=seeds, months=st.integers(-300, 300) | st.just(FOUR_CENTURIES))
def test_shifting_all_dates_shifts_the_panel(seed: int, months: int) -> None:
    """The events of a month lie within ten days, so that months of other lengths bring none closer."""
    inputs = worlds.world(seed, days=28 if months == FOUR_CENTURIES else 10)
    events = inputs.required_events
    day_of_month = events.day - inputs.months[events.column].astype("datetime64[D]").astype(np.int64)
    later = inputs.months + months
    shifted = replace(events, day=later[events.column].astype("datetime64[D]").astype(np.int64) + day_of_month)
    theirs = worlds.panel(Inputs(inputs.iso3, later, inputs.tables, shifted))
    assert theirs.months[0] - inputs.months[0] == np.timedelta64(months, "M")
    same(worlds.panel(inputs).values, theirs.values)


@settings(max_examples=6, deadline=None)
@given(seed=seeds, later=st.integers(1, 40))
def test_unknown_months_before_the_record_only_shift_the_panel(seed: int, later: int) -> None:
    ours = worlds.world(seed)
    before = ((0, 0), (later, 0))
    tables = {name: np.pad(table, before, constant_values=np.nan) for name, table in ours.tables.items()}
    events = replace(
        ours.required_events,
        column=ours.required_events.column + later,
        covered=np.pad(ours.required_events.covered, before),
    )
    months = np.concatenate([ours.months[0] - np.arange(later, 0, -1), ours.months])
    theirs = worlds.panel(Inputs(ours.iso3, months, tables, events))
    same(worlds.panel(ours).values, theirs.values[:, later:])
    assert np.isnan(theirs.values[:, :later]).all()


@settings(max_examples=8, deadline=None)
@given(seed=seeds, order=st.permutations(range(len(worlds.WORLD))))
def test_the_order_of_countries_does_not_matter(seed: int, order: list[int]) -> None:
    ours = worlds.world(seed)
    events = ours.required_events
    moved = replace(events, row=np.argsort(order)[events.row], covered=events.covered[order])
    tables = {name: table[order] for name, table in ours.tables.items()}
    theirs = Inputs(tuple(ours.iso3[i] for i in order), ours.months, tables, moved)
    same(worlds.panel(ours).values[order], worlds.panel(theirs).values)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, shuffle=st.integers(0, 1000))
def test_names_of_actors_dyads_and_units_do_not_matter(seed: int, shuffle: int) -> None:
    ours, rng = worlds.world(seed), np.random.default_rng(shuffle)
    same(worlds.panel(ours).values, worlds.panel(replace(ours, events=renamed(ours.required_events, rng))).values)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, shuffle=st.integers(0, 1000))
def test_ids_do_not_matter(seed: int, shuffle: int) -> None:
    """Ids decide the order of one day's events, and with it how sums of fractions are rounded: the 7th digit moves."""
    ours, rng = worlds.world(seed), np.random.default_rng(shuffle)
    numbers = rng.permutation(ours.required_events.day.size)
    events = worlds.chosen(replace(ours.required_events, event_id=numbers.astype(str)), np.arange(numbers.size))
    np.testing.assert_allclose(
        worlds.panel(ours).values, worlds.panel(replace(ours, events=events)).values, rtol=2e-6, atol=1e-7
    )


def test_the_order_of_ingest_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    files = {}
    for code, number in (("MLI", ged.MALI), ("NER", ged.NIGER), ("BFA", ged.BURKINA_FASO)):
        files[code] = [event(rng, code, number, index) for index in range(150)]
    panels = []
    for turn, order in enumerate((("MLI", "NER", "BFA"), ("BFA", "MLI", "NER"))):
        archive = Archive(tmp_path / f"archive-{turn}")
        for code in order:
            rows = files[code][:: -1 if turn else 1]
            path = ged.write(tmp_path / f"{code}-{turn}.csv", *rows)
            covers = [Coverage.parse(f"{code}:2010-01..2019-12")]
            ingest(archive, GedFile(path), covers=covers, now=datetime(2026, 11, 22, tzinfo=UTC))
        view = archive.view()
        frame = view.outcomes()
        panels.append(assemble(frame, "all", read_inputs(view, frame, "all", frame.deaths["all"])))
    same(*(panel.values for panel in panels))
    assert not np.isnan(series(panels[0], "events_12m")[11:]).any()


@pytest.fixture(scope="module")
def complete_world() -> tuple[Inputs, Panel]:
    """Inputs without a hole, and their panel."""
    inputs = worlds.world(7, holes=0)
    return inputs, worlds.panel(inputs)


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_the_declared_window_is_the_one_used(indicator: Indicator, complete_world: tuple[Inputs, Panel]) -> None:
    inputs, panel = complete_world
    values = panel.values[:, :, panel.names.index(indicator.name)]
    assert 1 <= indicator.window <= 120
    assert not np.isnan(values[:, -1]).all(), "never known"
    for last in (indicator.window - 1, MONTHS - 1, MONTHS - 13):
        if last < indicator.window - 1:
            continue
        alone = worlds.panel(worlds.cut(inputs, last - indicator.window + 1, last + 1), [indicator])
        same(alone.values[:, -1, 0], values[:, last])
    if not says_early(indicator):
        assert np.isnan(values[:, : indicator.window - 1]).all(), "known before the window is full"
        covered = inputs.required_events.covered.copy()
        covered[:, MONTHS - indicator.window] = False
        tables = {name: np.where(covered, table, np.nan) for name, table in inputs.tables.items()}
        left = worlds.chosen(inputs.required_events, covered[inputs.required_events.row, inputs.required_events.column])
        broken = Inputs(inputs.iso3, inputs.months, tables, worlds.renumbered(replace(left, covered=covered)))
        assert np.isnan(worlds.panel(broken, [indicator]).values[:, -1]).all(), "a month is unknown"


def says_early(indicator: Indicator) -> bool:
    """Whether a part of the window can be enough: a waiting time or a history can be short."""
    return "since" in indicator.name or indicator.name.startswith("under_reporting")


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_an_indicator_varies_and_keeps_to_its_scale(indicator: Indicator, complete_world: tuple[Inputs, Panel]) -> None:
    _, panel = complete_world
    values = panel.values[:, :, panel.names.index(indicator.name)]
    known = values[~np.isnan(values)]
    assert np.isfinite(known).all()
    assert np.unique(known).size > 1
    if indicator.scale == "share":
        assert known.min() >= 0
        assert known.max() <= 1
    if indicator.scale == "log1p":
        assert known.min() >= 0


def test_only_a_family_declared_abroad_reads_other_countries(complete_world: tuple[Inputs, Panel]) -> None:
    inputs, panel = complete_world
    row = inputs.iso3.index("MLI")
    there = np.arange(len(inputs.iso3))[:, None] != row
    tables = {name: np.where(there, table * 3 + 1, table) for name, table in inputs.tables.items()}
    events = worlds.renumbered(worlds.chosen(inputs.required_events, inputs.required_events.row == row))
    moved = worlds.panel(replace(inputs, tables=tables, events=events)).values[row] != panel.values[row]
    moved &= ~np.isnan(panel.values[row])
    found = {INDICATORS[i].family for i in np.flatnonzero(moved.any(axis=0))}
    assert found == {family.name for family in FAMILIES if family.abroad}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_key_events_are_few_recent_and_not_of_the_future(family: Family, complete_world: tuple[Inputs, Panel]) -> None:
    if family.key_events is None:
        assert not any("events" in indicator.inputs for indicator in family.indicators)
        return
    inputs, found = complete_world[0], 0
    events = inputs.required_events
    for row in range(len(inputs.iso3)):
        for month in (5, 60, MONTHS - 1):
            indices = family.key_events(inputs, row, month)
            assert len(indices) <= 5
            assert np.unique(indices).size == len(indices)
            assert (events.column[indices] <= month).all()
            assert (events.column[indices] > month - 12).all()
            around = inputs.neighbours[row] | (np.arange(len(inputs.iso3)) == row)
            assert around[events.row[indices]].all()
            found += len(indices)
            early = worlds.cut(inputs, 0, month + 1)
            known = early.required_events.event_id[family.key_events(early, row, month)]
            assert known.tolist() == events.event_id[indices].tolist()
    assert found


def test_declarations_are_complete() -> None:
    names = [indicator.name for indicator in INDICATORS]
    assert len(set(names)) == len(names)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.title.keys() == family.theme.keys() == {"en", "fr"}
        assert {indicator.family for indicator in family.indicators} <= {family.name}
    for indicator in INDICATORS:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", indicator.name)
        assert indicator.direction in (-1, 0, 1)
        assert indicator.meaning.keys() == indicator.missing.keys() == {"en", "fr"}
        texts = [*indicator.meaning.values(), *indicator.missing.values()]
        assert all(text == text.strip() and len(text) > 5 for text in texts)
        assert indicator.meaning["en"] != indicator.meaning["fr"]
        assert not indicator.meaning["en"].endswith(".")
        assert all(re.fullmatch(r"10\.\d{4,5}/\S+", citation.doi) for citation in indicator.literature)
        assert indicator.literature
        assert indicator.unit
        assert indicator.inputs
        assert indicator.scale in ("log1p", "share", "number")
        assert (indicator.scale == "log1p") == indicator.unit.startswith("log(1 +")
    for language in ("en", "fr"):
        meanings = [indicator.meaning[language] for indicator in INDICATORS]
        assert len(set(meanings)) == len(meanings)


def test_an_indicator_reads_no_input_that_it_does_not_declare(complete_world: tuple[Inputs, Panel]) -> None:
    """Completeness can be used by any indicator: it corrects the others where it is known."""
    inputs, panel = complete_world
    for index, indicator in enumerate(INDICATORS):
        allowed = {*indicator.inputs, "share_of_events"}
        tables = {name: table for name, table in inputs.tables.items() if name in allowed}
        alone = Inputs(inputs.iso3, inputs.months, tables, inputs.events if "events" in indicator.inputs else None)
        same(indicator.compute(alone).astype(np.float32), panel.values[:, :, index])


def test_indicators_without_their_events_or_tables_are_absent_and_not_zero() -> None:
    panel = assemble(rectangle(made()), "state_based")
    assert set(panel.absent) == {indicator.name for indicator in INDICATORS} - {i.name for i in OF_DEATHS}
    assert np.isnan(panel.values[:, :, [panel.names.index(name) for name in panel.absent]]).all()


def test_a_missing_input_leaves_unknown_values_and_is_named() -> None:
    other = replace(INDICATORS[0], name="sieges", inputs=("deaths", "sieges"))
    observed = rectangle(made())
    panel = assemble(observed, "state_based", indicators=(*OF_DEATHS, other))
    assert panel.absent == ("sieges",)
    assert np.isnan(panel.values[:, :, -1]).all()
    inputs = Inputs(observed.iso3, observed.months, {"deaths": made(), "sieges": made()})
    other_panel = assemble(observed, "state_based", inputs, indicators=[other])
    assert other_panel.absent == ()
    assert not np.isnan(other_panel.values).any()


def test_inputs_of_other_countries_or_months_are_refused() -> None:
    inputs = worlds.world(1)
    for other in (rectangle(made(1, MONTHS)), rectangle(made(1, MONTHS, 9), worlds.WORLD, "1999-01")):
        with pytest.raises(ValueError, match="countries and months"):
            assemble(other, "state_based", inputs)


def test_the_panel_is_of_the_chosen_outcome() -> None:
    observed = rectangle(np.zeros((1, 12)))
    observed.deaths["all"] = np.full((1, 12), 5.0)
    assert series(assemble(observed, "state_based"), "deaths_1m")[-1] == 0
    assert np.expm1(series(assemble(observed, "all"), "deaths_1m")[-1]) == pytest.approx(5)


def test_a_panel_is_cut_and_read_by_month() -> None:
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


def test_a_panel_can_have_every_country() -> None:
    everywhere = tuple(geography.countries())
    panel = assemble(rectangle(np.zeros((len(everywhere), 60)), everywhere), "state_based")
    assert not np.isnan(series(panel, "neighbours_deaths_60m", "AUT")[-1])
