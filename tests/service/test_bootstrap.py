"""What a home lacks before it can be scored, step by step."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from recompute_support import OperatedHome

from riskmodel import __version__, bundle, refits
from riskmodel.bundle import Provenance
from riskmodel.events.archive import Archive
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS
from riskmodel.ingest import ingest
from riskmodel.outcomes import OUTCOMES
from riskmodel.sources.history import ingest_history
from riskmodel.sources.monthly import MonthlyFile
from service.cli.app import create_app
from service.jobs.bootstrap import missing, prepare
from service.jobs.job_run import ChildKilled, DeadlineExceeded, Interrupted, JobFailed
from service.settings import load
from service.snapshots import refit_view
from service.store.context import Context
from service.store.database import Store

NOW = datetime(2022, 1, 20, tzinfo=UTC)
TRAINING = "training a model of state-based conflict, which takes about a minute"
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


def put(
    home: Home, features: tuple[str, ...] = FEATURES, *, shipped_only: bool = False, outcome: str = "state_based"
) -> Path:
    """Put a model of some indicators into service."""
    made = Provenance(
        *(outcome, "2021-12", "d" * 64, False, 0, features, {}, "2022-01-20T08:00:00Z"), shipped_only=shipped_only
    )
    name = bundle.save(Conflictology(), made, home.models)
    bundle.set_champion(home.models, name)
    return home.models / name


def missing_steps(home: Home) -> list[tuple[str, str]]:
    steps = missing(Context(home, load(home), Store.of(home), lambda: NOW))
    return [(step.text, step.arguments[0]) for step in steps]


def test_an_empty_home_gets_the_shipped_history_or_simulated_data_if_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(home, load(home), Store.of(home), lambda: NOW)
    assert next(missing(context))[:2] == (
        "taking in the history to December 2022 that ships with Vigie",
        ["ingest", "history"],
    )
    monkeypatch.setenv("VIGIE_SIMULATED", "true")
    simulated = next(missing(Context(home, load(home), context.store, lambda: NOW)))
    assert simulated[:2] == ("making a SIMULATED archive", ["ingest", "simulated", "--seed", "1"])


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
            f"{TRAINING}: the one in service was trained on the history that ships with Vigie alone, and other data "
            "have come in",
            "train",
        )
    ]


def test_an_archive_without_a_model_needs_one(real: Home) -> None:
    assert missing_steps(real) == [(f"{TRAINING}: there is none yet", "train")]


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
    model = put(real, FEATURES[:30]) / "model.pickle"
    model.write_bytes(model.read_bytes() + b"x")
    assert missing_steps(real) == []


@pytest.fixture
def both(home: Home, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A home that knows both outcomes, and wants models of both."""
    monkeypatch.delenv("VIGIE_OUTCOMES")
    list(ingest_history(Archive(home.archive), datetime(2026, 1, 20, tzinfo=UTC)))
    return Context(home, load(home), Store.of(home), lambda: NOW)


class Vigie:
    """Stands for the `vigie` commands of a run: a training puts a model into service, or fails."""

    def __init__(self, home: Home, failing: tuple[str, ...] = (), kind: type[JobFailed] = JobFailed) -> None:
        self.home, self.failing, self.kind, self.done = home, failing, kind, list[str]()

    def __call__(self, *arguments: str, deadline: float) -> None:
        outcome = arguments[-1] if arguments[0] == "train" else ""
        self.done.append(f"{arguments[0]} {outcome}".strip())
        if outcome in self.failing:
            raise self.kind("vigie train ended with exit code 3: too little history")
        if outcome:
            put(self.home, outcome=outcome)


def test_a_first_start_trains_the_headline_and_a_run_of_its_own_the_other_outcome(both: Context) -> None:
    vigie = Vigie(both.home)
    assert prepare(both, print, vigie), "another run is to follow at once"
    assert vigie.done == ["train all", "recompute"]
    assert not prepare(both, print, vigie)
    assert vigie.done[2:] == ["train state_based", "recompute"]
    assert not prepare(both, print, vigie)
    assert vigie.done[4:] == ["recompute"]


@pytest.mark.parametrize("kind", [JobFailed, ChildKilled, DeadlineExceeded])
def test_an_outcome_that_cannot_be_trained_does_not_stop_the_other_one(
    both: Context, capsys: pytest.CaptureFixture[str], kind: type[JobFailed]
) -> None:
    put(both.home, outcome="state_based")
    vigie = Vigie(both.home, failing=("all",), kind=kind)
    assert not prepare(both, print, vigie), "no run follows at once, else they would never end"
    assert vigie.done == ["train all", "recompute"]
    assert "too little history" in capsys.readouterr().out


def test_new_data_do_not_wait_for_a_model_that_cannot_be_replaced(both: Context, tmp_path: Path) -> None:
    for outcome in OUTCOMES:
        put(both.home, outcome=outcome, shipped_only=True)
    ingest_three_deaths(both.home, tmp_path)
    vigie = Vigie(both.home, failing=OUTCOMES, kind=ChildKilled)
    assert not prepare(both, print, vigie)
    assert vigie.done == ["train all", "train state_based", "recompute"]
    put(both.home, FEATURES[:30])  # nothing can be computed with a model of an older Vigie
    with pytest.raises(ChildKilled):
        prepare(both, print, vigie)


def test_an_archive_of_state_based_deaths_alone_gets_one_model(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIGIE_OUTCOMES")
    path = tmp_path / "history.csv"
    rows = [f"MLI,{year}-{month:02},3" for year in (2020, 2021) for month in range(1, 13)]
    path.write_text("\n".join(["iso3,month,deaths_state_based", *rows]) + "\n")
    ingest(Archive(home.archive), MonthlyFile(path), now=NOW)
    context = Context(home, load(home), Store.of(home), lambda: NOW)
    vigie = Vigie(home)
    assert not prepare(context, print, vigie)
    assert vigie.done == ["train state_based", "recompute"]


@pytest.fixture
def operated(home: Home, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    """A home whose data are a year newer than those of its model, before its first recompute."""
    monkeypatch.delenv("VIGIE_REFIT")
    return OperatedHome.ready(home)


class Refitting:
    """Stands for the `vigie` commands of a run: it recomputes, and a refit ends as `result` says."""

    def __init__(self, operated: OperatedHome, result: str, interrupt: type[Exception] | None = None) -> None:
        self.operated, self.result, self.interrupt, self.done = operated, result, interrupt, list[str]()

    def __call__(self, *arguments: str, deadline: float) -> None:
        self.done.append(" ".join(arguments[:3]))
        home = self.operated.home
        if arguments[0] == "recompute":
            self.operated.run(AFTER)
            return
        champion = bundle.champion(home.models, simulated=False, outcome="state_based")
        assert champion is not None
        digest = Archive(home.archive).view().digest
        attempt = refits.Attempt(AFTER.isoformat(), champion.name, digest, __version__)
        refits.record_attempt(home.models, attempt, simulated=False, outcome="state_based")
        if self.interrupt:
            raise self.interrupt("ended")
        if self.result == "done":
            self.operated.put_model(origin="2021-12")
        ended = replace(attempt, result=self.result, reason="a reason")
        refits.record_attempt(home.models, ended, simulated=False, outcome="state_based")


AFTER = datetime(2022, 1, 20, 8, tzinfo=UTC)
REFIT, RECOMPUTE = "train --brief --refit", "recompute --region MLI"


def prepared(operated: OperatedHome, vigie: Refitting, now: datetime = AFTER) -> bool:
    return prepare(Context(operated.home, load(operated.home), operated.store, lambda: now), print, vigie)


def state(operated: OperatedHome) -> refits.RefitState:
    return refit_view.refit_of(operated.home, load(operated.home), operated.newest_document)


def test_new_data_are_served_first_and_the_model_is_then_refitted_in_a_run_of_its_own(
    operated: OperatedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    vigie = Refitting(operated, "done")
    assert prepared(operated, vigie), "another run is to follow at once"
    assert vigie.done == [RECOMPUTE]
    assert (state(operated).due, state(operated).why, state(operated).overdue) == (True, "year", False)
    assert not prepared(operated, vigie)
    assert vigie.done[1:] == [REFIT, RECOMPUTE]
    assert "refitting the model of state-based conflict, which takes about a minute: the data are 12 months newer" in (
        capsys.readouterr().out
    )
    renewed = state(operated)
    assert (renewed.due, renewed.age_months, renewed.due_month) == (False, 0, "2022-12")


@pytest.mark.parametrize(("result", "interrupt"), [("refused", None), ("failed", ChildKilled)])
def test_a_refit_that_fails_stops_nothing_and_is_not_repeated_with_the_same_data(
    operated: OperatedHome, result: str, interrupt: type[Exception] | None
) -> None:
    vigie = Refitting(operated, result, interrupt)
    assert prepared(operated, vigie)
    assert not prepared(operated, vigie)
    assert not prepared(operated, vigie, AFTER + timedelta(days=3))
    assert vigie.done == [RECOMPUTE, REFIT, RECOMPUTE, RECOMPUTE]
    assert state(operated).overdue, "a warning"
    assert state(operated).last_attempt is not None
    operated.ingest_months("2022-01")
    assert not prepared(operated, vigie, AFTER + timedelta(hours=2)), "not within a day"
    assert not prepared(operated, vigie, AFTER + timedelta(days=3))
    assert vigie.done[4:] == [RECOMPUTE, REFIT, RECOMPUTE], "with new data it is tried again"


def test_a_refit_that_was_stopped_with_the_scheduler_starts_again(operated: OperatedHome) -> None:
    vigie = Refitting(operated, "done", Interrupted)
    assert prepared(operated, vigie)
    with pytest.raises(Interrupted):
        prepared(operated, vigie)
    vigie.interrupt = None
    assert not prepared(operated, vigie)
    assert vigie.done == [RECOMPUTE, REFIT, REFIT, RECOMPUTE]


def test_without_refits_an_old_model_is_a_warning(operated: OperatedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_REFIT", "off")
    vigie = Refitting(operated, "done")
    assert not prepared(operated, vigie)
    assert not prepared(operated, vigie)
    assert vigie.done == [RECOMPUTE, RECOMPUTE]
    client = create_app(operated.home, clock=lambda: AFTER).test_client()
    model = client.get("/v1/model").json["data"]
    assert model["age_months"] == 12
    assert model["refit"] == {
        "policy": "off",
        "due": True,
        "why": "year",
        "due_month": "2021-12",
        "overdue": True,
        "last_attempt": None,
    }
    assert client.get("/readyz").json["refits_overdue"] == ["state_based"]
    assert 'vigie_refit_overdue{outcome="state_based"} 1.0' in client.get("/metrics").text
    page = client.get("/?lang=en").text
    assert "The refit of the model to newer data is overdue (December 2021)" in page
    assert "The model learned from data to December 2020; the data of this page are 12 months newer." in page
