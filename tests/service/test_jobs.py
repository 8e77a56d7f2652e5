"""Jobs: each runs once when it is due, under one lease, whatever the clocks do; without the lease it cannot write."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from recompute_support import OperatedHome
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from riskmodel.home import Home
from service.cli.app import create_app
from service.jobs import job_run, processes, recompute
from service.jobs.job_definitions import define_jobs
from service.jobs.job_run import Job, JobRun, JobRunner
from service.jobs.scheduler import Scheduler
from service.settings import load
from service.store import leases
from service.store.context import Context
from service.store.database import Store
from service.store.leases import Fence, Superseded
from service.store.tables import jobs as table
from service.store.tables import runs, snapshots

HOUR = timedelta(hours=1)
KILL_ITSELF = "import os; os.kill(os.getpid(), 9)"


class ManualClock:
    """The wall clock, and the monotonic clock [s], set by hand."""

    def __init__(self) -> None:
        self.now, self.seconds = NOW, 0.0

    def advance(self, duration: timedelta) -> None:
        self.now, self.seconds = self.now + duration, self.seconds + duration.total_seconds()


@pytest.fixture
def operated(home: Home) -> OperatedHome:
    return OperatedHome.ready(home)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(home: Home) -> Store:
    return Store.of(home)


@pytest.fixture
def runner(home: Home, store: Store, clock: ManualClock) -> JobRunner:
    return new_runner(home, store, clock)


def new_runner(home: Home, store: Store, clock: ManualClock) -> JobRunner:
    context = Context(home, load(home), store, lambda: clock.now)
    return JobRunner(context, stopping=lambda: False, monotonic=lambda: clock.seconds)


class SteppedScheduler:
    """A scheduler whose jobs are started by `run_due`, as APScheduler does when they are due."""

    def __init__(self, runner: JobRunner, *jobs: Job) -> None:
        self.jobs, self._scheduler = jobs, Scheduler(runner, jobs)

    def run_due(self) -> list[str]:
        """Run each job that is due now; return their names."""
        return [job.name for job in self.jobs if self._scheduler.run_if_due(job)]


@pytest.fixture
def python_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children run a piece of Python in the place of a `vigie` command."""
    monkeypatch.setattr(processes, "command", lambda home, *code: [sys.executable, "-c", *code])


def row(store: Store, name: str = "work") -> Any:
    return leases.read(store)[name]


def nothing(run: JobRun) -> None:
    """A job without work."""


def test_a_job_runs_when_it_is_due_and_a_new_scheduler_does_not_run_it_again(
    home: Home, store: Store, runner: JobRunner, clock: ManualClock
) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    first = SteppedScheduler(runner, job)
    assert (first.run_due(), first.run_due()) == (["work"], [])
    clock.advance(timedelta(minutes=1))
    restarted = SteppedScheduler(new_runner(home, store, clock), job)
    assert restarted.run_due() == []
    clock.advance(timedelta(minutes=59))
    assert (restarted.run_due(), first.run_due()) == (["work"], [])
    assert (row(store).token, row(store).status, row(store).succeeded_at) == (2, "ok", clock.now)


def test_missed_runs_are_made_up_for_once(runner: JobRunner, clock: ManualClock) -> None:
    scheduler = SteppedScheduler(runner, Job("work", HOUR, HOUR, nothing))
    scheduler.run_due()
    clock.advance(timedelta(days=9))
    assert [scheduler.run_due() for _ in range(3)] == [["work"], [], []]


def test_a_clock_set_forward_or_back_neither_stops_nor_multiplies_a_job(runner: JobRunner, clock: ManualClock) -> None:
    scheduler = SteppedScheduler(runner, Job("work", HOUR, HOUR, nothing))
    scheduler.run_due()
    for jump in (timedelta(days=400), timedelta(days=-800), timedelta(hours=-5)):
        clock.now += jump
        assert [scheduler.run_due() for _ in range(3)] == [["work"], [], []]
    clock.now -= timedelta(seconds=40)
    assert scheduler.run_due() == [], "the clocks of two machines may differ by as much"


def test_other_inputs_make_a_job_due_at_once_and_only_once(
    home: Home, store: Store, runner: JobRunner, clock: ManualClock
) -> None:
    inputs = ["a"]
    job = Job("work", HOUR, HOUR, nothing, lambda context: inputs[0])
    one, other = SteppedScheduler(runner, job), SteppedScheduler(new_runner(home, store, clock), job)
    assert (one.run_due(), other.run_due()) == (["work"], [])
    inputs[0] = "b"
    assert (other.run_due(), one.run_due()) == (["work"], [])
    assert SteppedScheduler(new_runner(home, store, clock), job).run_due() == []
    inputs[0] = "c"
    late = SteppedScheduler(new_runner(home, store, clock), job)
    assert late.run_due() == ["work"], "the inputs changed while no scheduler ran"


def test_schedulers_that_see_different_inputs_do_not_run_a_job_alternately(
    home: Home, store: Store, runner: JobRunner, clock: ManualClock
) -> None:
    one = SteppedScheduler(runner, Job("work", HOUR, HOUR, nothing, lambda context: "a"))
    other = SteppedScheduler(new_runner(home, store, clock), Job("work", HOUR, HOUR, nothing, lambda context: "b"))
    assert [each.run_due() for each in (one, other, one, other, one, other)] == [["work"], ["work"], [], [], [], []]


@pytest.mark.usefixtures("python_children")
def test_inputs_that_a_job_changes_itself_do_not_make_it_due_again(runner: JobRunner) -> None:
    inputs = ["a"]

    def work(run: JobRun) -> None:
        inputs[0] = "prepared"
        run.vigie("pass")

    scheduler = SteppedScheduler(runner, Job("work", HOUR, HOUR, work, lambda context: inputs[0]))
    assert (scheduler.run_due(), scheduler.run_due()) == (["work"], [])


def test_inputs_that_change_while_a_job_runs_start_it_again(runner: JobRunner) -> None:
    inputs = ["a"]

    def work(run: JobRun) -> None:
        inputs[0] = "b"

    scheduler = SteppedScheduler(runner, Job("work", HOUR, HOUR, work, lambda context: inputs[0]))
    assert [scheduler.run_due() for _ in range(3)] == [["work"], ["work"], []]


def test_of_two_runners_that_saw_the_same_row_one_takes_the_lease(runner: JobRunner, store: Store) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    runner.declare((job,))
    seen = row(store)
    taken = [runner.take(job, seen) for _ in range(2)]
    assert [run is not None for run in taken] == [True, False]


def test_a_lease_that_was_not_renewed_is_taken_over_whatever_the_wall_clock_says(
    home: Home, store: Store, runner: JobRunner, clock: ManualClock
) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    dead = new_runner(home, store, clock)
    dead.declare((job,))
    old = dead.take(job, row(store))
    assert old is not None
    scheduler = SteppedScheduler(runner, job)
    assert scheduler.run_due() == []
    clock.now += timedelta(days=1)
    assert scheduler.run_due() == [], "a clock was set; the holder may be alive"
    clock.seconds += 29
    leases.renew(store, old.fence, clock.now + HOUR)
    assert scheduler.run_due() == [], "it was renewed"
    clock.seconds += 29
    assert scheduler.run_due() == []
    clock.seconds += 1
    assert scheduler.run_due() == ["work"]
    assert (row(store).token, row(store).status) == (2, "ok")


def test_a_run_that_lost_its_lease_writes_nothing(runner: JobRunner, store: Store, clock: ManualClock) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    runner.declare((job,))
    old = runner.take(job, row(store))
    new = runner.take(job, row(store))
    assert old is not None
    assert new is not None
    with pytest.raises(Superseded, match=r"token 1\) is not allowed to write"):
        leases.renew(store, old.fence, clock.now)
    with pytest.raises(Superseded), store.writing() as connection:
        old.fence.check(connection)
    before = row(store)
    old.execute()
    assert row(store) == before
    new.execute()
    assert row(store).status == "ok"


def test_a_recompute_that_lost_its_lease_issues_nothing(
    operated: OperatedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    runner = new_runner(operated.home, operated.store, clock)
    job = Job("recompute", HOUR, HOUR, nothing)
    runner.declare((job,))
    old = runner.take(job, row(operated.store, "recompute"))
    assert old is not None
    build = recompute.snapshot_content.build

    def slow_build(*arguments: Any) -> Any:
        content = build(*arguments)
        assert runner.take(job, row(operated.store, "recompute")), "another process takes over meanwhile"
        return content

    monkeypatch.setattr(recompute.snapshot_content, "build", slow_build)
    context = Context(operated.home, operated.settings, operated.store, lambda: NOW)
    with pytest.raises(Superseded):
        recompute.recompute(context, (), old.fence)
    assert operated.rows(snapshots) == []
    assert [run.status for run in operated.rows(runs)] == ["running"], "it cannot even write that it failed"
    with pytest.raises(Superseded):
        recompute.recompute(context, (), old.fence)
    assert len(operated.rows(runs)) == 1


@pytest.mark.usefixtures("python_children")
def test_a_child_knows_its_fence_and_its_output_is_logged(
    runner: JobRunner, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import sys; from service.store.leases import Fence;"
        "print('vigie: token', Fence.from_environment().token, flush=True);"
        'print(\'{"level": "warning", "message": "run 7", "run_id": 7}\', file=sys.stderr)'
    )
    with caplog.at_level("INFO"):
        SteppedScheduler(runner, Job("work", HOUR, HOUR, lambda run: run.vigie(code))).run_due()
    records = {record.getMessage(): record for record in caplog.records}
    assert vars(records["token 1"])["job"] == "work"
    fields = vars(records["run 7"])
    assert (fields["run_id"], fields["token"], records["run 7"].levelname) == (7, 1, "WARNING")
    assert Fence.from_environment() is None


@pytest.mark.usefixtures("python_children")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import time; time.sleep(60)", "stopped: not done after 1 s"),
        ("import sys; sys.exit(3)", "ended with exit code 3"),
        (KILL_ITSELF, "was stopped by signal 9"),
    ],
)
def test_a_job_that_hangs_or_fails_is_failed_and_runs_again_when_it_is_due(
    home: Home, store: Store, code: str, error: str
) -> None:
    runner = JobRunner(Context(home, load(home), store), stopping=lambda: False)
    job = Job("work", HOUR, timedelta(seconds=1), lambda run: run.vigie(code))
    assert SteppedScheduler(runner, job).run_due() == ["work"]
    after = row(store)
    assert (after.status, after.succeeded_at, after.holder) == ("failed", None, None)
    assert after.error.endswith(error)
    assert leases.due_at(after, HOUR, after.next_run_at) == after.next_run_at


@pytest.mark.usefixtures("python_children")
def test_a_job_that_fails_says_why(home: Home, runner: JobRunner, store: Store) -> None:
    code = (
        f"import sys; print('vigie: reading'); print('vigie: {home.root}/archive is damaged', file=sys.stderr);"
        "print('a line that is no error'); sys.exit(3)"
    )
    SteppedScheduler(runner, Job("work", HOUR, HOUR, lambda run: run.vigie(code))).run_due()
    assert row(store).error.endswith("ended with exit code 3: VIGIE_HOME/archive is damaged")


def test_vigie_jobs_shows_why_a_recompute_failed(operated: OperatedHome, vigie: Callable[..., Any]) -> None:
    next(operated.home.models.glob("*/model.pickle")).unlink()
    context = Context(operated.home, operated.settings, operated.store)
    runner = JobRunner(context, stopping=lambda: False, print_line=lambda line: None)
    jobs = {job.name: job for job in define_jobs(operated.settings)}
    runner.declare(tuple(jobs.values()))
    assert runner.run_now(jobs["recompute"])
    (listed,) = (job for job in json.loads(vigie("jobs", "--format", "json").out) if job["name"] == "recompute")
    assert listed["status"] == "failed"
    assert listed["error"].startswith("vigie recompute --region MLI ended with exit code 1: ")
    assert operated.rows(runs)[-1].error in listed["error"]


@pytest.mark.usefixtures("python_children")
def test_an_internal_error_of_a_child_is_not_public(runner: JobRunner, store: Store) -> None:
    code = "import sys; print('vigie: internal error: postgresql://user:secret@host', file=sys.stderr); sys.exit(5)"
    SteppedScheduler(runner, Job("work", HOUR, HOUR, lambda run: run.vigie(code))).run_due()
    assert row(store).error.endswith("ended with exit code 5")


@pytest.mark.usefixtures("python_children")
def test_a_job_whose_child_was_killed_is_retried_soon_and_once(
    home: Home, store: Store, runner: JobRunner, clock: ManualClock
) -> None:
    """A child that always dies runs twice in each interval, in whichever scheduler; then intervals are as before."""
    code, inputs = [KILL_ITSELF], ["a"]
    job = Job("work", HOUR, HOUR, lambda run: run.vigie(code[0]), lambda context: inputs[0])
    scheduler, soon = SteppedScheduler(runner, job), 1.5 * job_run.RETRY_AFTER
    started = clock.now
    for interval in range(2):
        assert (scheduler.run_due(), scheduler.run_due()) == (["work"], []), "not at once"
        clock.advance(soon)
        scheduler = SteppedScheduler(new_runner(home, store, clock), job)
        assert scheduler.run_due() == ["work"]
        clock.advance(timedelta(minutes=40))
        assert scheduler.run_due() == [], "once"
        clock.advance(HOUR - timedelta(minutes=40))
        assert row(store).token == 2 * interval + 2
    code[0] = "pass"
    assert (scheduler.run_due(), row(store).status) == (["work"], "ok")
    clock.advance(timedelta(minutes=40))
    assert scheduler.run_due() == []
    code[0], inputs[0] = KILL_ITSELF, "b"
    assert scheduler.run_due() == ["work"], "other data"
    inputs[0] = "c"
    assert scheduler.run_due() == ["work"], "other data again: this run is no retry"
    code[0] = "pass"
    clock.advance(soon)
    assert (scheduler.run_due(), row(store).status) == (["work"], "ok")
    assert clock.now - started < 4 * HOUR


@pytest.mark.usefixtures("python_children")
def test_a_retry_does_not_delay_a_job_that_is_due_sooner(runner: JobRunner, store: Store, clock: ManualClock) -> None:
    job = Job("work", timedelta(seconds=2), HOUR, lambda run: run.vigie(KILL_ITSELF))
    SteppedScheduler(runner, job).run_due()
    assert row(store).next_run_at == clock.now + timedelta(seconds=2)


def test_an_internal_error_of_a_job_is_not_public(runner: JobRunner, store: Store) -> None:
    def fail(run: JobRun) -> None:
        raise ValueError("postgresql://user:secret@host")

    SteppedScheduler(runner, Job("work", HOUR, HOUR, fail)).run_due()
    assert row(store).error == "internal error of Vigie; the log has the traceback"


def test_a_database_that_goes_away_during_a_job_is_no_internal_error(
    runner: JobRunner, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: JobRun) -> None:
        raise sa.exc.OperationalError("SELECT 1", None, OSError("unable to open database file"))

    SteppedScheduler(runner, Job("work", HOUR, HOUR, fail)).run_due()
    assert (row(store).status, row(store).error) == ("failed", "the database could not be used")
    assert not any(record.exc_info for record in caplog.records)


@pytest.fixture
def issuer(tmp_path: Path) -> SnapshotHome:
    made = SnapshotHome(tmp_path / "home")
    made.add_ingests("real")
    made.issue()
    return made


def test_jobs_are_listed_by_the_api_the_page_and_the_command(issuer: SnapshotHome, vigie: Callable[..., Any]) -> None:
    clock = ManualClock()
    runner = new_runner(issuer.home, issuer.store, clock)
    fine, bad, gone = (Job(name, HOUR, HOUR, nothing) for name in ("fine", "bad", "gone"))
    runner.declare((gone,))
    runner.declare((fine, bad))
    runner.run_now(fine)
    assert runner.take(bad, row(issuer.store, "bad")) is not None
    client = create_app(issuer.home, clock=lambda: clock.now).test_client()
    clock.advance(timedelta(seconds=20))
    response = client.get("/v1/jobs").json
    jobs = {job["name"]: job for job in response["data"]}
    assert response["snapshot_id"] == 1
    assert (jobs["fine"]["status"], jobs["fine"]["age_seconds"], jobs["fine"]["overdue"]) == ("ok", 20, False)
    assert (jobs["fine"]["every_seconds"], jobs["fine"]["overdue_after_seconds"]) == (3600, 10800)
    assert (jobs["bad"]["status"], jobs["bad"]["holder"]) == ("running", runner.holder[:8])
    assert (jobs["bad"]["age_seconds"], jobs["bad"]["reasons"]["age_seconds"]) == (None, "never_succeeded")
    assert (jobs["gone"]["next_run_at"], jobs["gone"]["reasons"]["next_run_at"]) == (None, "not_scheduled")
    assert client.get("/readyz").json["overdue"] == []
    clock.advance(timedelta(hours=2, minutes=50))
    assert {job["name"]: job["status"] for job in client.get("/v1/jobs").json["data"]}["bad"] == "lost"
    clock.advance(timedelta(minutes=10))
    assert [job["name"] for job in client.get("/v1/jobs").json["data"] if job["overdue"]] == ["bad", "fine"]
    issuer.run("unchanged", at=clock.now, snapshot=1)
    assert client.get("/readyz").json["overdue"] == ["bad", "fine"]
    assert "These jobs of the service are overdue: bad, fine." in client.get("/?lang=en").text
    assert "Ces tâches du service sont en retard\xa0: bad, fine." in client.get("/?lang=fr").text
    printed = vigie("--home", issuer.home.root, "jobs").out
    assert [line.split()[0] for line in printed.splitlines()] == ["job", "bad", "fine", "gone"]
    assert "OVERDUE" in printed
    listed = json.loads(vigie("--home", issuer.home.root, "jobs", "--format", "json").out)
    assert [job["name"] for job in listed] == ["bad", "fine", "gone"]


def test_when_a_job_is_overdue_can_be_set(home: Home, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_OVERDUE_AFTER_MINUTES", '{"pull": 10000}')
    monkeypatch.setenv("VIGIE_PULL", '["ucdp"]')
    settings = load(home)
    JobRunner(Context(home, settings, store), stopping=lambda: False).declare(define_jobs(settings))
    overdue_after = {name: job.overdue_after_seconds for name, job in leases.read(store).items()}
    assert overdue_after["pull"] == 600_000
    assert overdue_after["recompute"] == 3 * 3600
    assert overdue_after["deliver"] == 300


def test_jobs_are_declared_again_in_a_database_that_has_taken_the_place_of_the_first(
    runner: JobRunner, store: Store
) -> None:
    scheduler = SteppedScheduler(runner, Job("work", HOUR, HOUR, nothing))
    with store.writing() as connection:
        connection.execute(sa.delete(table))
    assert scheduler.run_due() == ["work"]
