"""The heartbeat of jobs: an outside monitor is told of starts, successes and failures, and delays no job."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from receivers import HookReceiver

from riskmodel.home import Home
from service.alerts import outbox
from service.jobs.job_definitions import define_jobs
from service.jobs.job_run import Job, JobFailed, JobRun, JobRunner
from service.settings import Settings
from service.store.context import Context
from service.store.database import Store

HOUR = timedelta(hours=1)


class Seconds:
    """A monotonic clock that is set by hand [s]."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path))


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def monitor() -> Iterator[HookReceiver]:
    with HookReceiver().listening() as receiver:
        yield receiver


def new_runner(store: Store, seconds: Seconds, settings: Settings, tmp_path: Path) -> JobRunner:
    return JobRunner(Context(Home(tmp_path), settings, store), stopping=lambda: False, monotonic=seconds)


@pytest.fixture
def runner(store: Store, seconds: Seconds, tmp_path: Path) -> JobRunner:
    return new_runner(store, seconds, Settings(allow_private_webhooks=["127.0.0.1"]), tmp_path)


def run(runner: JobRunner, monitor: HookReceiver, work: Callable[[JobRun], None]) -> None:
    job = Job("work", HOUR, HOUR, work, heartbeat_url=monitor.url("/ping"))
    runner.declare([job])
    assert runner.run_now(job)


def wait_for(monitor: HookReceiver, *signals: str) -> None:
    """Check the calls so far, without the address that they have in common."""
    until = time.monotonic() + 20
    while len(monitor.paths) < len(signals) and time.monotonic() < until:
        time.sleep(0.01)
    assert [path.removeprefix("/ping") for path in monitor.paths] == list(signals)


def fail(run: JobRun) -> None:
    raise JobFailed("no data")


def crash(run: JobRun) -> None:
    raise ZeroDivisionError


def succeed(run: JobRun) -> None:
    pass


def succeed_with_trouble(run: JobRun) -> None:
    run.troubled = True


@pytest.mark.parametrize(
    ("work", "end"), [(succeed, ""), (fail, "/fail"), (crash, "/fail"), (succeed_with_trouble, "/fail")]
)
def test_a_monitor_is_told_that_a_run_starts_and_how_it_ends(
    runner: JobRunner, monitor: HookReceiver, work: Callable[[JobRun], None], end: str
) -> None:
    run(runner, monitor, work)
    wait_for(monitor, "/start", end)


def test_a_job_that_runs_often_calls_once_a_minute_and_at_each_change(
    runner: JobRunner, monitor: HookReceiver, seconds: Seconds
) -> None:
    for work in (succeed, succeed, fail, fail, succeed):
        run(runner, monitor, work)
        seconds.now += 10
    wait_for(monitor, "/start", "", "/fail", "")
    seconds.now += 10
    run(runner, monitor, succeed)
    wait_for(monitor, "/start", "", "/fail", "", "/start", "")


def test_a_monitor_that_hangs_delays_no_job(runner: JobRunner, seconds: Seconds) -> None:
    with HookReceiver("hang").listening() as monitor:
        for _ in range(20):
            run(runner, monitor, succeed)
            seconds.now += 60
        assert len(monitor.paths) <= 1


def test_the_heartbeat_of_deliveries_fails_while_a_message_is_undelivered(
    store: Store, seconds: Seconds, monitor: HookReceiver, tmp_path: Path
) -> None:
    settings = Settings.model_validate(
        {"allow_private_webhooks": ["127.0.0.1"], "delivery_heartbeat_url": monitor.url("/ping")}
    )
    with store.writing() as connection:
        data = {"headline": {"en": "ALERT", "fr": "ALERTE"}}
        outbox.enqueue(connection, route="dutty", kind="firing", data=data, now=datetime.now(UTC))
    outbox.note_missing_routes(store, settings)
    runner = new_runner(store, seconds, settings, tmp_path)
    jobs = {job.name: job for job in define_jobs(settings)}
    runner.declare(tuple(jobs.values()))
    assert runner.run_now(jobs["deliver"])
    wait_for(monitor, "/start", "/fail")
