"""When a refit is due and why, when a failed one is repeated, and how revisions of the data are measured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from riskmodel.events.archive import Archive
from riskmodel.home_settings import RefitPolicy
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.refits import Attempt, is_blocked, last_attempt, record_attempt, refit_state, revised_share
from riskmodel.sources.monthly import MonthlyFile

START = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "data", "policy", "expected"),
    [
        # (due, why, due_month, overdue)
        ("2022-12", "2022-12", "yearly", (False, None, "2023-12", False)),
        ("2022-12", "2023-11", "yearly", (False, None, "2023-12", False)),
        ("2022-12", "2023-12", "yearly", (True, "year", "2023-12", False)),
        ("2022-12", "2024-01", "yearly", (True, "year", "2023-12", True)),
        ("2022-10", "2022-11", "yearly", (False, None, "2022-12", False)),
        ("2022-10", "2022-12", "yearly", (True, "december", "2022-12", False)),
        ("2022-10", "2023-10", "yearly", (True, "year", "2022-12", True)),
        ("2022-12", "2023-01", "monthly", (True, "month", "2023-01", False)),
        ("2022-12", "2023-02", "monthly", (True, "month", "2023-01", True)),
        ("2022-12", "2022-12", "monthly", (False, None, "2023-01", False)),
        ("2022-12", "2023-11", "off", (False, None, "2023-12", False)),
        ("2022-12", "2023-12", "off", (True, "year", "2023-12", True)),
        ("2022-12", "2022-06", "yearly", (False, None, "2023-12", False)),
    ],
)
def test_a_refit_is_due_with_each_december_or_each_month(
    model: str, data: str, policy: RefitPolicy, expected: tuple[Any, ...]
) -> None:
    state = refit_state(month(model), month(data), policy)
    assert (state.due, state.why, state.due_month, state.overdue) == expected


def test_revised_data_and_a_failed_attempt_change_the_state() -> None:
    origin, data = month("2022-12"), month("2023-02")
    assert refit_state(origin, data, "yearly", revised_share=0.1).why is None
    revised = refit_state(origin, data, "yearly", revised_share=0.11)
    assert (revised.due, revised.why, revised.due_month, revised.overdue) == (True, "revised", "2023-02", False)
    assert "more than 10% of the recent deaths" in revised.description
    assert refit_state(origin, data, "off", revised_share=0.11).overdue
    blocked = refit_state(origin, month("2023-12"), "yearly", blocked=True)
    assert (blocked.due, blocked.overdue, blocked.age_months) == (True, True, 12)


def test_a_failed_attempt_is_not_repeated_with_the_same_inputs_nor_within_a_day(tmp_path: Path) -> None:
    failed = Attempt("2026-01-10T00:00:00Z", "all-1", "d", "1.0", "failed", "no memory")
    later = START + timedelta(days=30)
    assert is_blocked(failed, "all-1", "d", "1.0", later)
    assert not is_blocked(failed, "all-1", "e", "1.0", later)
    assert not is_blocked(failed, "all-1", "d", "1.1", later)
    assert is_blocked(failed, "all-1", "e", "1.1", START + timedelta(hours=23))
    assert not is_blocked(failed, "all-2", "d", "1.0", START)
    assert not is_blocked(None, "all-1", "d", "1.0", START)
    record_attempt(tmp_path, failed, simulated=False, outcome="all")
    assert last_attempt(tmp_path, simulated=False, outcome="all") == failed
    assert last_attempt(tmp_path, simulated=True, outcome="all") is None


def test_the_share_of_revised_deaths_compares_with_what_the_model_learned_from(tmp_path: Path) -> None:
    archive, trained_at = Archive(tmp_path / "archive"), "2026-01-11T00:00:00Z"

    def take_in(name: str, day: int, deaths: dict[int, int]) -> None:
        path = tmp_path / f"{name}.csv"
        rows = [f"MLI,{year}-{number:02},{value}" for year, value in deaths.items() for number in range(1, 13)]
        path.write_text("\n".join(["iso3,month,deaths_state_based", *rows]) + "\n", encoding="utf-8")
        ingest(archive, MonthlyFile(path), now=START + timedelta(days=day))

    def share(digest: str) -> float | None:
        return revised_share(archive.view(), archive.ingests(), "state_based", month("2021-12"), trained_at, digest)

    take_in("first", 0, {2020: 5, 2021: 5})
    digest = archive.view().digest
    assert share(digest) == 0.0
    take_in("newer", 2, {2022: 50})
    assert share(digest) == 0.0, "later months revise nothing"
    take_in("revised", 3, {2021: 8})
    assert share(digest) == pytest.approx(12 * 3 / (24 * 5))
    assert share("another") is None, "the archive of then is not to be had"
