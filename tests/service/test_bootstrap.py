"""What a home lacks before it can be scored, step by step."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from riskmodel import bundle
from riskmodel.bundle import Provenance
from riskmodel.events.archive import Archive
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS
from riskmodel.ingest import ingest
from riskmodel.sources.history import ingest_history
from riskmodel.sources.monthly import MonthlyFile
from service.jobs.bootstrap import missing
from service.settings import load
from service.store.context import Context
from service.store.database import Store

NOW = datetime(2022, 1, 20, tzinfo=UTC)
FEATURES = tuple(indicator.name for indicator in INDICATORS)


@pytest.fixture
def real(home: Home, tmp_path: Path) -> Home:
    """A home with real data and without a model."""
    ingest_three_deaths(home, tmp_path)
    return home


def ingest_three_deaths(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("iso3,month,deaths_state_based\nMLI,2020-01,3\n")
    ingest(Archive(home.archive), MonthlyFile(path), now=NOW)


def put(home: Home, features: tuple[str, ...] = FEATURES, *, shipped_only: bool = False) -> Path:
    """Put a model of some indicators into service."""
    made = Provenance(
        *("state_based", "2021-12", "d" * 64, False, 0, features, {}, "2022-01-20T08:00:00Z"), shipped_only=shipped_only
    )
    name = bundle.save(Conflictology(), made, home.models)
    bundle.set_champion(home.models, name)
    return home.models / name


def missing_steps(home: Home) -> list[tuple[str, str]]:
    return [(what, arguments[0]) for what, arguments in missing(Context(home, load(home), Store.of(home), lambda: NOW))]


def test_an_empty_home_gets_the_shipped_history_or_simulated_data_if_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(home, load(home), Store.of(home), lambda: NOW)
    assert next(missing(context)) == (
        "taking in the history to December 2022 that ships with Vigie",
        ["ingest", "history"],
    )
    monkeypatch.setenv("VIGIE_SIMULATED", "true")
    simulated = next(missing(Context(home, load(home), context.store, lambda: NOW)))
    assert simulated == ("making a SIMULATED archive", ["ingest", "simulated", "--seed", "1"])


def test_a_shipped_history_that_was_interrupted_is_completed(home: Home) -> None:
    reports = ingest_history(Archive(home.archive), datetime(2026, 1, 20, tzinfo=UTC))
    next(reports)
    reports.close()
    assert missing_steps(home)[0][1] == "ingest"
    list(ingest_history(Archive(home.archive), datetime(2026, 1, 20, tzinfo=UTC)))
    assert [step for _, step in missing_steps(home)] == ["train"]


def test_a_model_of_the_shipped_history_alone_is_replaced_when_other_data_come_in(home: Home, tmp_path: Path) -> None:
    list(ingest_history(Archive(home.archive), datetime(2026, 1, 20, tzinfo=UTC)))
    put(home, shipped_only=True)
    assert missing_steps(home) == []
    ingest_three_deaths(home, tmp_path)
    assert missing_steps(home) == [
        (
            "training a model, which takes about a minute: the one in service was trained on the history that ships "
            "with Vigie alone, and other data have come in",
            "train",
        )
    ]


def test_an_archive_without_a_model_needs_one(real: Home) -> None:
    assert missing_steps(real) == [("training a model, which takes about a minute: there is none yet", "train")]


def test_with_a_current_model_nothing_is_missing(real: Home) -> None:
    put(real)
    assert missing_steps(real) == []


def test_a_model_of_an_older_vigie_is_replaced(real: Home) -> None:
    put(real, FEATURES[:30])
    ((what, command),) = missing_steps(real)
    assert command == "train"
    assert "was trained on other indicators than this Vigie has" in what


def test_a_model_of_another_scikit_learn_is_replaced(real: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    put(real)
    known: Callable[[str], Any] = bundle.version
    monkeypatch.setattr(bundle, "version", lambda name: "0.1" if name == "scikit-learn" else known(name))
    ((what, _),) = missing_steps(real)
    assert "but 0.1 is installed" in what


def test_an_altered_model_is_not_replaced(real: Home) -> None:
    model = put(real, FEATURES[:30]) / "model.joblib"
    model.write_bytes(model.read_bytes() + b"x")
    assert missing_steps(real) == []
