"""The job that computes hindcasts: when it runs, what it starts, and what makes it run again."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from snapshot_documents import NOW, document
from snapshots_support import SnapshotHome

from riskmodel import bundle
from service.jobs import hindcast_job
from service.jobs.hindcast_job import compute_hindcasts, hindcast_inputs
from service.jobs.job_definitions import define_jobs
from service.jobs.job_run import JobRun
from service.settings import load
from service.store.context import Context

MODEL = "state_based-2022-12-ab12cd34"


@dataclass
class RecordedRun:
    """A run that records the commands that it would start."""

    context: Context
    commands: list[tuple[str, ...]] = field(default_factory=list)
    background: list[bool] = field(default_factory=list)

    def print_line(self, line: str) -> None:
        """Print nothing."""

    def vigie(self, *arguments: str, deadline: float, background: bool) -> None:
        """Record a command."""
        self.commands.append(arguments)
        self.background.append(background)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SnapshotHome:
    """A home whose snapshot is from the model in service."""
    monkeypatch.setenv("VIGIE_HINDCAST_MONTHS", "6")
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    put_model(home, MODEL)
    issue_of(home, MODEL)
    return home


def put_model(home: SnapshotHome, name: str) -> None:
    pointer = bundle.pointer(home.home.models, bundle.CHAMPION, simulated=False, outcome="state_based")
    pointer.parent.mkdir(exist_ok=True)
    pointer.write_text(f"{name}\n")


def issue_of(home: SnapshotHome, model: str, origin: str = "2022-12") -> None:
    """Issue a snapshot, and let it be of a model."""
    issued = home.issue(origin=origin)
    flat: dict[str, Any] = document(origin=origin, number=issued["id"])
    home.replace({**flat, "model": {**flat["model"], "id": model}})


def context_of(home: SnapshotHome) -> Context:
    return Context(home.home, load(home.home), home.store, lambda: NOW)


def started(home: SnapshotHome) -> list[tuple[str, ...]]:
    run = RecordedRun(context_of(home))
    assert compute_hindcasts(cast(JobRun, run)) == bool(run.commands)
    assert all(run.background)
    return run.commands


def test_it_computes_the_outcomes_in_service_and_stores_them(home: SnapshotHome) -> None:
    compute, store = started(home)
    assert compute[:7] == ("hindcast", "--region", "MLI", "--outcome", "state_based", "--months", "6")
    assert store == ("store-hindcasts", "--region", "MLI")


def test_it_waits_for_a_snapshot_of_the_model_in_service(home: SnapshotHome) -> None:
    put_model(home, "state_based-2022-12-00000000")
    assert started(home) == []


def test_it_waits_for_a_model_of_each_outcome(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hindcast_job, "untrained_outcomes", lambda context: ["all"])
    assert started(home) == []


def test_a_new_model_a_new_month_and_another_setting_start_it(
    home: SnapshotHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [hindcast_inputs(context_of(home))]
    assert hindcast_inputs(context_of(home)) == seen[0]
    put_model(home, "state_based-2022-12-00000000")
    seen.append(hindcast_inputs(context_of(home)))
    issue_of(home, MODEL, origin="2023-01")
    seen.append(hindcast_inputs(context_of(home)))
    monkeypatch.setenv("VIGIE_HINDCAST_MONTHS", "12")
    seen.append(hindcast_inputs(context_of(home)))
    assert len(set(seen)) == 4


def test_without_months_there_is_no_such_job(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hindcast" in {job.name for job in define_jobs(load(home.home))}
    monkeypatch.setenv("VIGIE_HINDCAST_MONTHS", "0")
    assert "hindcast" not in {job.name for job in define_jobs(load(home.home))}
