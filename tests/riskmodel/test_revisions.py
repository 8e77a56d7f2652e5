"""The revision model: learned from vintages, started from constants, judged on real vintages."""

import importlib.util
import json
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import SHARE, Releases, take_in

from riskmodel.events.archive import Archive
from riskmodel.events.releases import published
from riskmodel.months import month
from riskmodel.outcomes import CountryMonths
from riskmodel.reporting.release_class import FINAL, MONTHLY, NEXT_FINAL, UNKNOWN, YEAR_FILE, release_classes
from riskmodel.reporting.revision_constants import CONSTANTS, LEVEL_ACTIVITY, LEVEL_CENTRES
from riskmodel.reporting.revisions import ClassModel, RevisionModel, central_interval, even_ranks, joint_ranks, levels
from riskmodel.reporting.shared_revisions import teaching_revisions
from riskmodel.reporting.unsettled import ReportingState, final_figures, reporting_state
from riskmodel.reporting.vintages import Revisions, activity, revisions_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BEFORE = published("23.1") - timedelta(days=1)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Candidates of three years, whose events are a share of the final ones, and the final releases of all of them."""
    made = Releases(tmp_path_factory.mktemp("revisions"), SHARE).up_to(2022)
    made.final(2022)
    return made


@pytest.fixture(scope="module")
def before(releases: Releases) -> tuple[CountryMonths, ReportingState]:
    """What was reported before the final release of 2022, and the state of the reports."""
    view = releases.archive.view(as_of=BEFORE)
    return view.outcomes(), reporting_state(view, "state_based")


def seen(*rows: tuple[str, int, int], code: int = MONTHLY, active: float = 1.0) -> Revisions:
    """Revisions of some countries: reported and final deaths."""
    iso3, first, final = (np.array(column) for column in zip(*rows, strict=True))
    unknown = np.full(len(rows), np.nan)
    months = np.datetime64("2020-01", "M") + np.arange(len(rows)) % 12
    figures = first.astype(np.float64), final.astype(np.float64)
    return Revisions(iso3, months, np.full(len(rows), code), *figures, np.full(len(rows), active), unknown, unknown)


def quantiles(model: ClassModel, iso3: str, reported: float, active: float = 1.0) -> list[float]:
    """The 90 % interval and the median of the final figure."""
    figures = model.final_figures(np.array([iso3]), np.array([reported]), np.array([active]), even_ranks(400)[None])
    return np.quantile(figures[0], (0.05, 0.5, 0.95), method="inverted_cdf").tolist()


def test_releases_have_their_class(releases: Releases) -> None:
    view = releases.archive.view(as_of=BEFORE)
    by_year = release_classes(view, "state_based")[:, ::12]
    assert (by_year == [NEXT_FINAL, FINAL, MONTHLY]).all()


@pytest.mark.parametrize(
    ("known", "classes"),
    [
        ("2024-01-05", [FINAL, MONTHLY]),
        ("2024-01-26", [FINAL, YEAR_FILE]),
        ("2024-05-31", [FINAL, YEAR_FILE]),
        ("2024-06-24", [NEXT_FINAL, FINAL]),
        ("2025-06-24", [NEXT_FINAL, NEXT_FINAL]),
    ],
)
def test_a_table_without_a_release_has_the_class_of_its_day(tmp_path: Path, known: str, classes: list[int]) -> None:
    archive, path = Archive(tmp_path / "archive"), tmp_path / "t.monthly"
    months = np.arange(month("2022-01"), month("2024-01"))
    path.write_text("iso3,month,deaths_state_based\n" + "".join(f"MLI,{m},5\n" for m in months))
    take_in(archive, path, known_since=known)
    found = release_classes(archive.view(), "state_based")
    assert found[0, [0, -1]].tolist() == classes


def test_simulated_figures_are_settled_and_unknown_ones_have_no_class(tmp_path: Path) -> None:
    made = Releases(tmp_path, {"MLI": 1.0}, years=1)
    made.candidate(2020, 1)
    made.candidate(2020, 3)
    assert release_classes(made.archive.view(), "state_based")[0].tolist() == [MONTHLY, UNKNOWN, MONTHLY]


def test_the_vintages_of_a_view_are_recovered(releases: Releases) -> None:
    found = revisions_of(releases.archive.view(as_of=BEFORE), "state_based")
    assert set(found.release_class.tolist()) == {MONTHLY}
    assert found.first.size == len(SHARE) * 24
    for iso3, share in SHARE.items():
        own = found.only(found.iso3 == iso3)
        assert own.first.sum() / own.final.sum() == pytest.approx(releases.realised(iso3), abs=1e-9)
        assert own.events_first.sum() / own.events_final.sum() == pytest.approx(share, abs=0.1)


def test_later_releases_do_not_change_what_was_known_before(releases: Releases) -> None:
    fitted = [
        RevisionModel.fit(revisions_of(view, "state_based")).classes[MONTHLY]
        for view in (releases.archive.view(as_of=BEFORE), releases.archive.view(as_of=BEFORE), releases.archive.view())
    ]
    assert fitted[0].shifts == fitted[1].shifts != fitted[2].shifts
    np.testing.assert_array_equal(fitted[0].changes, fitted[1].changes)


def test_the_intervals_hold_the_final_figures(releases: Releases, before: tuple[CountryMonths, ReportingState]) -> None:
    observed, state = before
    final = releases.archive.view().outcomes().deaths["state_based"]
    figures = final_figures(observed, state, 10)
    inside = []
    for row, iso3 in enumerate(observed.iso3):
        for column in range(24, 36):
            revised = figures.month(iso3, observed.months[column])
            assert revised is not None
            assert revised.p05 <= revised.p25 <= revised.p75 <= revised.p95
            inside.append(revised.p05 <= final[row, column] <= revised.p95)
    assert len(inside) == 48
    assert np.mean(inside) >= 0.8
    reported, expected = (frame.deaths["state_based"][:, 24:].sum() for frame in (observed, figures.expected()))
    assert reported < 0.85 * final[:, 24:].sum()
    assert expected == pytest.approx(final[:, 24:].sum(), rel=0.15)


def test_settled_months_stay_as_reported_in_every_history(before: tuple[CountryMonths, ReportingState]) -> None:
    observed, state = before
    figures = final_figures(observed, state, 10)
    assert figures.month("MLI", month("2021-12")) is None
    for frame in (figures.expected(), *figures.histories()):
        np.testing.assert_array_equal(frame.deaths["state_based"][:, :24], observed.deaths["state_based"][:, :24])
        np.testing.assert_array_equal(frame.deaths["one_sided"], observed.deaths["one_sided"])
    drawn = np.stack([frame.deaths["state_based"][:, 24:] for frame in figures.histories()])
    assert (drawn == np.rint(drawn)).all()
    assert (drawn.std(axis=0) > 0).any()


def test_the_same_data_have_the_same_histories_whatever_other_countries_there_are(
    before: tuple[CountryMonths, ReportingState],
) -> None:
    observed, state = before
    alone = observed.only(("MLI",))
    ours, theirs = (final_figures(frame, state, 10).histories() for frame in (alone, observed))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.deaths["state_based"], other.only(("MLI",)).deaths["state_based"])


def test_months_that_nothing_covers_stay_unknown(tmp_path: Path) -> None:
    made = Releases(tmp_path, {"MLI": 1.0}, years=1)
    made.candidate(2020, 1)
    made.candidate(2020, 3)
    view = made.archive.view()
    figures = final_figures(view.outcomes(), reporting_state(view, "state_based"), 10)
    assert np.isnan(figures.expected().deaths["state_based"][0, 1])
    assert figures.month("MLI", month("2020-02")) is None
    assert np.isnan(figures.reported_ratio()[0, 1])


def test_without_vintages_the_constants_are_met() -> None:
    nothing = seen(("MLI", 1, 1)).only(np.zeros(1, dtype=bool))
    model = RevisionModel.fit(nothing).classes[MONTHLY]
    assert (model.basis, model.months) == ("constants", 0)
    nobody = np.full(3, "")
    vanish = model.vanish_probability(nobody, LEVEL_CENTRES[:3].astype(float), LEVEL_ACTIVITY[:3])
    np.testing.assert_allclose(vanish, [0.56, 0.16, 0.02], atol=0.03)
    assert quantiles(model, "NGA", 400)[1] < 0.7 * 400, "first reports of Nigeria are above the final figures"
    assert quantiles(model, "BFA", 400)[1] > 400
    assert quantiles(model, "SEN", 0) == [0, 0, 0], "without vintages no death is invented"


def test_what_is_learned_replaces_the_constants() -> None:
    few, many = (
        RevisionModel.fit(seen(*[(iso3, 200, 100) for iso3 in countries for _ in range(12)])).classes[MONTHLY]
        for countries in (["SEN"], ["SEN", "CIV", "GIN", "DZA"])
    )
    assert few.basis == many.basis == "learned"
    assert quantiles(many, "TGO", 200)[1] == pytest.approx(100, rel=0.05), "a country without a record of its own"
    assert quantiles(few, "SEN", 200)[1] < quantiles(few, "TGO", 200)[1] <= 220


def test_figures_can_fall_and_small_reports_vanish() -> None:
    model = RevisionModel.fit(seen(*[("SEN", 3, 0)] * 12, *[("CIV", 60, 30)] * 12)).classes[MONTHLY]
    assert quantiles(model, "SEN", 3)[1] == 0
    assert quantiles(model, "CIV", 60)[1] < 45
    lone, at_war = (model.vanish_probability(np.array([""]), np.array([3.0]), np.array([a])) for a in (0.0, 1.0))
    assert lone > at_war, "a lone report vanishes more often"
    assert model.vanish_probability(np.array(["SEN"]), np.array([100.0]), np.array([0.0])) == 0


def test_reports_of_zero_grow_as_the_vintages_say() -> None:
    rows = [("SEN", 0, 0)] * 60 + [("SEN", 0, 7)] * 30
    model = RevisionModel.fit(seen(*rows)).classes[MONTHLY]
    assert quantiles(model, "CIV", 0)[2] == 7
    assert quantiles(model, "CIV", 0, active=0.0) == [0, 0, 0], "a quiet country was never seen to grow"


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["MLI", "NGA", "SEN"]), st.integers(0, 900), st.integers(0, 900)), max_size=30),
    st.integers(0, 2000),
    st.floats(0, 1) | st.just(float("nan")),
    st.booleans(),
)
def test_final_figures_are_whole_and_rise_with_the_rank(
    rows: list[tuple[str, int, int]], reported: int, active: float, constants: bool
) -> None:
    model = ClassModel.fit(
        seen(*rows) if rows else seen(("MLI", 1, 1)).only(np.zeros(1, dtype=bool)),
        CONSTANTS[MONTHLY] if constants else None,
    )
    for iso3 in ("MLI", "TGO"):
        figures = model.final_figures(
            np.array([iso3]), np.array([float(reported)]), np.array([active]), even_ranks(50)[None]
        )[0]
        assert (figures >= 0).all()
        assert (np.diff(figures) >= 0).all()
        assert (figures == np.rint(figures)).all()
        if reported == 0 and not any(first == 0 for _, first, _ in rows):
            assert not figures.any()


def test_state_based_deaths_learn_from_all_deaths_where_only_their_vintages_are_known(tmp_path: Path) -> None:
    archive, months = Archive(tmp_path / "archive"), np.arange(month("2022-01"), month("2024-01"))
    history = tmp_path / "history.monthly"
    history.write_text("iso3,month,deaths_state_based\n" + "".join(f"MLI,{m},5\n" for m in months))
    take_in(archive, history, known_since="2024-01-25")
    for known, deaths in (("2024-03-01", 20), ("2024-07-01", 30)):
        path = tmp_path / f"{known}.monthly"
        path.write_text("iso3,month,deaths_all\n" + "".join(f"MLI,{m},{deaths}\n" for m in months))
        take_in(archive, path, known_since=known)
    taught_by, learned = teaching_revisions(archive.view(), "state_based")
    assert (taught_by, learned.first.size, learned.final.tolist()) == ("all", 12, [30] * 12)
    assert set(learned.release_class.tolist()) == {YEAR_FILE}
    assert teaching_revisions(archive.view(), "all")[0] == "all"


def test_state_based_deaths_learn_from_their_own_revisions_if_these_predict_better(releases: Releases) -> None:
    taught_by, learned = teaching_revisions(releases.archive.view(), "state_based")
    assert learned.first.size == 36 * len(SHARE)
    assert taught_by == "state_based", "equal revisions predict equally well"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9]))
def test_an_interval_has_whole_ends_and_leaves_little_out(figures: list[int], level: float) -> None:
    low, high = central_interval(np.array(figures, dtype=np.float64), level)
    assert {low, high} <= set(figures)
    assert low <= high
    below, above = (np.mean(part) for part in (np.array(figures) < low, np.array(figures) > high))
    largest = max(map(figures.count, figures)) / len(figures)
    assert max(below, above) <= (1 - level) / 2 + largest / 2 + 1e-6


def test_a_wider_interval_contains_a_narrower_one() -> None:
    figures = np.array([0] * 36 + [2] * 49 + [3] * 15, dtype=np.float64)
    assert central_interval(figures, 0.5) == (2, 2), "half of the figures are 2"
    assert central_interval(figures, 0.9) == (0, 3)


def test_levels_begin_at_their_floors() -> None:
    assert levels(np.array([0, 1, 4, 5, 24, 25, 99, 100.0, 5000])).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_activity_is_the_share_of_months_with_deaths_around() -> None:
    deaths = np.array([[np.nan, 5, 0, 0, 2]])
    np.testing.assert_allclose(activity(deaths), [[0.5, 1 / 3, 2 / 3, 2 / 3, 1 / 3]])


def test_joint_ranks_are_even_and_correlated_within_a_country() -> None:
    iso3 = np.repeat(["MLI", "NER"], 12)
    months = np.tile(np.datetime64("2026-01", "M") + np.arange(12), 2)
    ranks = joint_ranks(iso3, months, 200)
    assert (np.sort(ranks, axis=1) == even_ranks(200)).all()
    correlation = np.corrcoef(ranks)
    within, between = correlation[:12, :12][np.triu_indices(12, 1)], correlation[:12, 12:]
    assert within.mean() == pytest.approx(0.4, abs=0.1)
    assert abs(between.mean()) < 0.1


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("revisions_benchmark", BENCHMARKS / "revisions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_real_vintages_are_predicted(shared: Path, benchmark: ModuleType) -> None:
    """UCDP's 2023 from the year file to GED 24.1; each half is predicted by a model that has seen the other one."""
    import pandas as pd

    vintages = pd.read_csv(shared / "ucdp_vintages_2024.csv.gz")
    found = benchmark.read_revisions(vintages, "2023", benchmark.LAST_YEAR_FILE, YEAR_FILE)
    assert (found.first >= 1).sum() > 500
    gains = []
    for half in benchmark.protocols(found).values():
        skill = benchmark.judge(found, half)
        assert 0.40 <= skill.within_50 <= 0.60
        assert 0.84 <= skill.within_90 <= 0.94
        assert 0.40 <= skill.shown_50 <= 0.60
        assert 0.84 <= skill.shown_90 <= 0.94
        gains.append(skill.gain)
    assert max(gains[:2]) <= -0.20, "of countries of which nothing was seen"
    assert gains[2] <= -0.30, "of countries of which other months were seen"


def test_the_command_prints_the_table(vigie: Any, releases: Releases) -> None:
    home = releases.folder
    rows = json.loads(vigie("--home", home, "archive", "revisions", "--format", "json").out)
    of_level = {(row["release_class"], row["level"]): row for row in rows if row["location_code"] is None}
    assert of_level["monthly_candidate", "25-99"]["basis"] == "learned"
    assert of_level["year_file", "25-99"]["basis"] == "constants"
    assert of_level["final", "25-99"]["months"] > 20
    assert {of_level["final", "25-99"][name] for name in ("p05", "p95", "median_ratio")} == {1.0}
    of_country = {row["location_code"]: row for row in rows if row["release_class"] == "monthly_candidate"}
    assert of_country["MLI"]["median_ratio"] > 1.3
    assert of_country["MLI"]["months"] == 36
    text = vigie("--home", home, "archive", "revisions").out
    assert "monthly candidate" in text
    csv = vigie("--home", home, "archive", "revisions", "--format", "csv", "--iso3", "MLI").out.splitlines()
    assert [line.split(",")[0] for line in csv] == ["release_class", "monthly_candidate", "final"]
