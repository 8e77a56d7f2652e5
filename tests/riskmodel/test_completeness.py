"""Completeness: shares are recovered from releases, and the nowcast is closer to the final deaths."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from histories import rectangle
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import GW, SHARE, Releases, take_in

from riskmodel import geography
from riskmodel.events.archive import Archive
from riskmodel.events.releases import published
from riskmodel.months import month
from riskmodel.reporting.completeness import (
    MIN_OBSERVATIONS,
    PRIOR_WEIGHT,
    Completeness,
    estimate_completeness,
    nowcast,
)

BEFORE = published("23.1") - timedelta(days=1)


@pytest.fixture(scope="module")
def estimate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Completeness, Releases]:
    """The completeness before the final release of 2022, and the releases with it."""
    made = Releases(tmp_path_factory.mktemp("reporting"), SHARE).up_to(2022)
    completeness = estimate_completeness(made.archive.view(), "state_based")
    made.final(2022)
    return completeness, made


@pytest.fixture(scope="module")
def before(estimate: tuple[Completeness, Releases]) -> Completeness:
    return estimate[0]


@pytest.fixture(scope="module")
def archive(estimate: tuple[Completeness, Releases]) -> Archive:
    return estimate[1].archive


def test_the_estimate_recovers_the_shares_of_the_releases(estimate: tuple[Completeness, Releases]) -> None:
    found, made = estimate
    for iso3, share in SHARE.items():
        newest = found.share_of_month(iso3, month("2022-12"))
        assert newest is not None
        assert newest.value == pytest.approx(made.realised(iso3), abs=0.06), iso3
        assert newest.value == pytest.approx(share, abs=0.12), iso3
        assert newest.low < share < newest.high, iso3
        assert 0 < newest.low <= newest.value <= newest.high <= 1
        assert found.events[found.iso3.index(iso3), -1] == pytest.approx(share, abs=0.12)


def test_a_final_release_is_mature(before: Completeness) -> None:
    assert before.share_of_month("MLI", month("2021-12")) == (1, 1, 1)


def test_the_newest_candidate_release_dates_all_candidate_months(before: Completeness) -> None:
    assert before.age[0, -3:].tolist() == [3, 2, 1]


def test_the_interval_of_a_month_has_the_final_share(archive: Archive, before: Completeness) -> None:
    reported, final = (view.outcomes() for view in (archive.view(as_of=BEFORE), archive.view()))
    inside = []
    for i, iso3 in enumerate(reported.iso3):
        for column in range(24, 36):
            if (interval := before.share_of_month(iso3, reported.months[column])) is not None:
                share = reported.deaths["state_based"][i, column] / final.deaths["state_based"][i, column]
                inside.append(interval.low <= share <= interval.high)
    assert len(inside) >= 4 * 6
    assert np.mean(inside) >= 0.8


def test_the_nowcast_is_closer_to_the_final_deaths(archive: Archive, before: Completeness) -> None:
    reported, observed = (view.outcomes() for view in (archive.view(as_of=BEFORE), archive.view()))
    expected = nowcast(reported, before)
    before_final, nowcasted, final = (
        table.deaths["state_based"][:, -1].sum() for table in (reported, expected, observed)
    )
    assert before_final < 0.85 * final
    assert nowcasted == pytest.approx(final, rel=0.15)
    np.testing.assert_array_equal(expected.deaths["state_based"][:, :24], reported.deaths["state_based"][:, :24])
    np.testing.assert_array_equal(expected.deaths["one_sided"], reported.deaths["one_sided"])


def test_without_vintages_the_share_is_unknown_and_the_nowcast_changes_nothing(tmp_path: Path) -> None:
    made = Releases(tmp_path, SHARE)
    made.final(2021)
    made.candidate(2022, 1)
    view = made.archive.view()
    found = estimate_completeness(view, "state_based")
    assert found.share_of_month("MLI", month("2021-12")) == (1, 1, 1)
    assert found.share_of_month("MLI", month("2022-01")) is None
    assert np.isnan(found.deaths[:, -1]).all()
    same, reported = nowcast(view.outcomes(), found), view.outcomes()
    np.testing.assert_array_equal(same.deaths["state_based"], reported.deaths["state_based"])


def test_with_too_few_mature_months_the_share_is_unknown(tmp_path: Path) -> None:
    made = Releases(tmp_path, {"MLI": 0.5}, years=1).up_to(2021)
    assert MIN_OBSERVATIONS > 12
    found = estimate_completeness(made.archive.view(), "state_based")
    assert found.share_of_month("MLI", month("2020-12")) == (1, 1, 1)
    assert found.share_of_month("MLI", month("2021-12")) is None


def test_the_delay_of_a_country_month_table_is_unknown(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    path = tmp_path / "t.monthly"
    months = np.arange(month("2020-01"), month("2026-11"))
    path.write_text("iso3,month,deaths_state_based\n" + "".join(f"MLI,{m},5\n" for m in months))
    take_in(archive, path)
    found = estimate_completeness(archive.view(), "state_based")
    assert found.share_of_month("MLI", month("2026-10")) is None
    assert found.share_of_month("MLI", month("2024-10")) == (1, 1, 1)
    assert found.share_of_month("NER", month("2024-10")) is None


def test_later_releases_do_not_change_an_earlier_estimate(archive: Archive, before: Completeness) -> None:
    earlier = estimate_completeness(archive.view(as_of=BEFORE), "state_based")
    np.testing.assert_array_equal(earlier.deaths, before.deaths)
    np.testing.assert_array_equal(earlier.events, before.events)
    np.testing.assert_array_equal(earlier.curve.share, before.curve.share)
    now = estimate_completeness(archive.view(), "state_based")
    assert not np.array_equal(now.curve.share, before.curve.share)


def test_a_share_is_at_most_one_where_reports_shrink(tmp_path: Path) -> None:
    """Events that the final release withdraws: the share is cut off at 1, and no nowcast makes a month smaller."""
    made = Releases(tmp_path, dict.fromkeys(SHARE, 1.0), years=1)
    real = made.events
    doubled = [*real, *({**row, "id": int(row["id"]) + 10**6} for row in real)]
    for year in (2020, 2021):
        made.events = doubled
        for m in range(1, 13):
            made.candidate(year, m)
        made.events = real
        if year < 2021:
            made.final(year)
    view = made.archive.view()
    found = estimate_completeness(view, "state_based")
    newest = found.share_of_month("MLI", month("2021-12"))
    assert newest is not None
    assert newest.value == 1
    np.testing.assert_array_equal(
        nowcast(view.outcomes(), found).deaths["state_based"], view.outcomes().deaths["state_based"]
    )


def test_a_country_with_few_months_is_shrunk_to_its_continent(tmp_path: Path) -> None:
    made = Releases(tmp_path, {**SHARE, "NER": 0.2}, years=1)
    made.events = [row for row in made.events if row["country_id"] != GW["NER"] or row["date"] >= "2020-11"]
    found = estimate_completeness(made.up_to(2021).archive.view(), "state_based")
    value = found.deaths[found.iso3.index("NER"), -1]
    assert {geography.country(iso3).continent for iso3 in ("MLI", "BFA", "NER")} == {"Africa"}
    africa = np.mean([SHARE["MLI"], SHARE["BFA"]])
    assert abs(value - africa) < abs(value - 0.2), f"two months of its own do not outweigh {PRIOR_WEIGHT} of others"


@settings(deadline=None)
@given(
    reported=st.lists(st.integers(0, 500), min_size=3, max_size=3),
    share=st.lists(st.floats(0.05, 1) | st.just(float("nan")), min_size=3, max_size=3),
)
def test_a_nowcast_lowers_nothing_and_keeps_zero(before: Completeness, reported: list[int], share: list[float]) -> None:
    known = before.deaths.copy()
    known[0, -3:] = share
    observed = rectangle(np.broadcast_to([*[3.0] * 33, *reported], (4, 36)), before.iso3, "2020-01")
    expected = nowcast(observed, replace(before, deaths=known)).deaths["state_based"][0, -3:]
    for deaths, part, nowcasted in zip(reported, share, expected, strict=True):
        assert deaths <= nowcasted <= 20 * deaths
        assert nowcasted == round(nowcasted)
        assert nowcasted == deaths or part < 1


def test_a_nowcast_matches_countries_and_months(before: Completeness) -> None:
    observed = rectangle(np.full((3, 30), 100.0), ["SEN", "NER", "MLI"], "2020-10")
    expected = nowcast(observed, before).deaths["state_based"]
    assert (expected[0] == 100).all()
    assert expected[2, 26] == round(100 / before.deaths[before.iso3.index("MLI"), -1]), "December 2022"
    assert (expected[:, 27:] == 100).all(), "months without an estimate"
