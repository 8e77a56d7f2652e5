"""Under-reporting: which histories give a warning of few reports, and which do not."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel.reporting.under_reporting import few_reports_warning, few_reports_warning_of_region


def unknown(months: int) -> NDArray[np.float64]:
    return np.full(months, np.nan)


def warnings_of(events: Sequence[float], share: NDArray[np.float64] | None = None) -> list[dict[str, Any]]:
    table = np.asarray(events, dtype=np.float64)
    return few_reports_warning(table, table, unknown(table.size) if share is None else share)


def test_a_country_that_stops_reporting_has_a_warning() -> None:
    rng = np.random.default_rng(1)
    busy = rng.negative_binomial(4, 0.1, 80).astype(float)
    assert warnings_of(busy) == []
    (warning,) = warnings_of([*busy, 0, 0, 0])
    assert (warning["code"], warning["months"]) == ("few_reports", 3)
    assert 0 < warning["probability"] < 0.01
    assert warnings_of([*busy, *[0] * 9]), "the quiet months are no part of the history"
    assert warnings_of([*busy, 1, 0, 2]), "few reports give a warning, not only none"


def test_a_country_that_was_always_quiet_has_no_warning() -> None:
    assert warnings_of([0.0] * 80) == []
    occasional = np.zeros(80)
    occasional[::9] = 1
    assert warnings_of([*occasional, 0, 0, 0]) == []


def test_the_warning_ends_when_quiet_months_become_normal() -> None:
    rng = np.random.default_rng(1)
    busy = rng.negative_binomial(4, 0.1, 80).astype(float)
    assert warnings_of([*busy, *[0] * 12])
    assert warnings_of([*busy, *[0] * 40]) == []


def test_steady_reporting_seldom_has_a_warning() -> None:
    rng = np.random.default_rng(5)
    warned = 0
    for _ in range(400):
        level = np.exp(2 + np.cumsum(rng.normal(0, 0.15, 70)) * 0.5)
        warned += bool(warnings_of(rng.poisson(level).astype(float)))
    assert warned / 400 < 0.05


def test_events_not_reported_yet_give_no_warning() -> None:
    rng = np.random.default_rng(1)
    busy = rng.poisson(30, 80).astype(float)
    share = np.ones(81)
    share[-1] = 0.4
    assert warnings_of([*busy, 12])
    assert warnings_of([*busy, 12], share) == []


def test_a_short_history_gives_no_warning() -> None:
    assert warnings_of([30.0] * 20 + [0.0] * 3) == []
    assert warnings_of([30.0] * 60 + [float("nan")]) == []


def test_months_with_deaths_are_tested_where_events_are_unknown() -> None:
    deaths = np.array([20.0] * 60 + [0.0] * 3)
    (warning,) = few_reports_warning(unknown(63), deaths, unknown(63))
    assert warning["months"] == 3
    in_spells = np.array(([0.0] * 4 + [5.0] * 4) * 8 + [0.0] * 3)
    assert few_reports_warning(unknown(67), in_spells, unknown(67)) == []
    assert few_reports_warning(unknown(63), np.zeros(63), unknown(63)) == []


def test_a_source_that_stops_for_a_region_has_a_warning() -> None:
    """One country can be quiet by chance; all together cannot."""
    rng = np.random.default_rng(2)
    events = rng.poisson(1.2, (8, 80)).astype(float)
    events[:, -1] = 0
    each = [few_reports_warning(row, row, unknown(80)) for row in events]
    assert each == [[]] * 8
    no_data = np.full((1, 80), np.nan)
    table = np.vstack([events, no_data])
    share = np.full(table.shape, np.nan)
    (warning,) = few_reports_warning_of_region(table, table, share)
    assert warning["months"] == 1
    assert few_reports_warning_of_region(no_data, no_data, no_data) == []


def test_real_histories_seldom_have_a_warning(shared: Path) -> None:
    with gzip.open(shared / "monthly_state_based_1989_2022.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_country: dict[str, list[float]] = {}
    for row in rows:
        by_country.setdefault(row["iso3"], []).append(float(row["deaths_state_based"]))
    warned = [
        bool(few_reports_warning(unknown(end), np.array(deaths[:end]), unknown(end)))
        for deaths in by_country.values()
        for end in range(120, len(deaths), 7)
    ]
    assert 0 < np.mean(warned) < 0.002
