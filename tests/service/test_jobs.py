"""Jobs: each runs once when it is due, whoever looks and whatever the clocks do; who lost a turn may not write."""

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from issued import NOW, Issuer
from watch import Watch

from riskmodel.home import Home
from service.cli.app import create_app
from service.jobs import processes
from service.jobs import scheduler as scheduler_module
from service.jobs.scheduler import Job, Post, Scheduler, Turn
from service.settings import load
from service.store import leases
from service.store.database import Store
from service.store.leases import Fence, Superseded
from service.store.tables import jobs as table
from service.store.tables import runs, snapshots

HOUR = timedelta(hours=1)


class Hands:
    """The clocks, set by hand: of the wall, and of the machine [s]."""

    def __init__(self) -> None:
        self.now, self.seconds = NOW, 0.0

    def pass_by(self, length: timedelta) -> None:
        self.now, self.seconds = self.now + length, self.seconds + length.total_seconds()


@pytest.fixture
def watch(home: Home) -> Watch:
    return Watch.begun(home)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def store(home: Home) -> Store:
    return Store.of(home)


@pytest.fixture
def post(home: Home, store: Store, hands: Hands) -> Post:
    return here(home, store, hands)


def here(home: Home, store: Store, hands: Hands) -> Post:
    return Post(home, load(home), store, ended=lambda: False, clock=lambda: hands.now, monotonic=lambda: hands.seconds)


def looked(scheduler: Scheduler) -> list[str]:
    """What was taken at one look, when all of it has ended."""
    taken = scheduler.look()
    scheduler.wait()
    return taken


def row(store: Store, name: str = "work") -> Any:
    return leases.read(store)[name]


def nothing(turn: Turn) -> None:
    """A job without work."""


def test_a_job_runs_when_it_is_due_and_a_new_scheduler_does_not_run_it_again(
    home: Home, store: Store, post: Post, hands: Hands
) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    first = Scheduler(post, (job,))
    assert (looked(first), looked(first)) == (["work"], [])
    hands.pass_by(timedelta(minutes=1))
    restarted = Scheduler(here(home, store, hands), (job,))
    assert looked(restarted) == []
    hands.pass_by(timedelta(minutes=59))
    assert (looked(restarted), looked(first)) == (["work"], [])
    assert (row(store).token, row(store).status, row(store).succeeded_at) == (2, "ok", hands.now)


def test_missed_runs_are_made_up_once(post: Post, hands: Hands) -> None:
    scheduler = Scheduler(post, (Job("work", HOUR, HOUR, nothing),))
    looked(scheduler)
    hands.pass_by(timedelta(days=9))
    assert [looked(scheduler) for _ in range(3)] == [["work"], [], []]


def test_a_clock_set_forward_or_back_neither_stops_nor_multiplies_a_job(post: Post, hands: Hands) -> None:
    scheduler = Scheduler(post, (Job("work", HOUR, HOUR, nothing),))
    looked(scheduler)
    for jump in (timedelta(days=400), timedelta(days=-800), timedelta(hours=-5)):
        hands.now += jump
        assert [looked(scheduler) for _ in range(3)] == [["work"], [], []]
    hands.now -= timedelta(seconds=40)
    assert looked(scheduler) == [], "clocks of two machines may differ as much"


def test_the_ticker_goes_on_though_its_clock_was_set_back() -> None:
    looks = threading.Semaphore(0)
    ticker = scheduler_module.ticking(looks.release)
    ticker.start()
    try:
        assert looks.acquire(timeout=5)
        ticker.modify_job(scheduler_module.LOOK, next_run_time=datetime.now(UTC) + HOUR)
        scheduler_module.keep_ticking(ticker, datetime.now(UTC))
        assert all(looks.acquire(timeout=5) for _ in range(2))
    finally:
        ticker.shutdown()


def test_other_inputs_make_a_job_due_at_once_and_once(home: Home, store: Store, post: Post, hands: Hands) -> None:
    held = ["a"]
    job = Job("work", HOUR, HOUR, nothing, lambda home, settings: held[0])
    one, other = Scheduler(post, (job,)), Scheduler(here(home, store, hands), (job,))
    assert (looked(one), looked(other)) == (["work"], [])
    held[0] = "b"
    assert (looked(other), looked(one)) == (["work"], [])
    assert looked(Scheduler(here(home, store, hands), (job,))) == []
    held[0] = "c"
    assert looked(Scheduler(here(home, store, hands), (job,))) == ["work"], "it changed while nobody looked"


def test_schedulers_that_see_different_things_do_not_run_a_job_in_turns(
    home: Home, store: Store, post: Post, hands: Hands
) -> None:
    one = Scheduler(post, (Job("work", HOUR, HOUR, nothing, lambda home, settings: "a"),))
    other = Scheduler(here(home, store, hands), (Job("work", HOUR, HOUR, nothing, lambda home, settings: "b"),))
    assert [looked(each) for each in (one, other, one, other, one, other)] == [["work"], ["work"], [], [], [], []]


def test_what_a_job_brings_itself_does_not_make_it_due_again(
    post: Post, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ["a"]
    monkeypatch.setattr(processes, "command", lambda home, *code: [sys.executable, "-c", *code])

    def work(turn: Turn) -> None:
        held[0] = "prepared"
        turn.expect("pass")

    scheduler = Scheduler(post, (Job("work", HOUR, HOUR, work, lambda home, settings: held[0]),))
    assert (looked(scheduler), looked(scheduler)) == (["work"], [])


def test_of_two_who_saw_the_same_one_takes_the_turn(post: Post, store: Store) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    post.declare((job,))
    seen = row(store)
    turns = [post.take(job, seen) for _ in range(2)]
    assert [turn is not None for turn in turns] == [True, False]


def test_a_turn_is_taken_over_when_its_lease_was_not_renewed_whatever_the_wall_clock_says(
    home: Home, store: Store, post: Post, hands: Hands
) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    dead = here(home, store, hands)
    dead.declare((job,))
    old = dead.take(job, row(store))
    assert old is not None
    scheduler = Scheduler(post, (job,))
    assert looked(scheduler) == []
    hands.now += timedelta(days=1)
    assert looked(scheduler) == [], "the clock was set; nobody has died of that"
    hands.seconds += 29
    leases.renew(store, old.fence, hands.now + HOUR)
    assert looked(scheduler) == [], "it was renewed"
    hands.seconds += 29
    assert looked(scheduler) == []
    hands.seconds += 1
    assert looked(scheduler) == ["work"]
    assert (row(store).token, row(store).status) == (2, "ok")


def test_who_has_lost_the_turn_writes_nothing(post: Post, store: Store, hands: Hands) -> None:
    job = Job("work", HOUR, HOUR, nothing)
    post.declare((job,))
    old = post.take(job, row(store))
    new = post.take(job, row(store))
    assert old is not None
    assert new is not None
    with pytest.raises(Superseded, match=r"token 1\) is not allowed to write"):
        leases.renew(store, old.fence, hands.now)
    with pytest.raises(Superseded), store.writing() as connection:
        old.fence.check(connection)
    before = row(store)
    old.work()
    assert row(store) == before
    new.work()
    assert row(store).status == "ok"


def test_a_recompute_that_has_lost_its_turn_issues_nothing(
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = watch.store
    hands = Hands()
    post = here(watch.home, store, hands)
    job = Job("recompute", HOUR, HOUR, nothing)
    post.declare((job,))
    old = post.take(job, row(store, "recompute"))
    assert old is not None

    def slow(*arguments: Any) -> Any:
        said = known(*arguments)
        assert post.take(job, row(store, "recompute")), "another takes over while this one computes"
        return said

    from service.jobs import recompute

    known = recompute.content
    monkeypatch.setattr(recompute, "content", slow)
    with pytest.raises(Superseded):
        recompute.recompute(watch.home, watch.settings, store, (), lambda: NOW, old.fence)
    assert watch.rows(snapshots) == []
    assert [run.status for run in watch.rows(runs)] == ["running"], "not even that it failed: it may not write"
    with pytest.raises(Superseded):
        recompute.recompute(watch.home, watch.settings, store, (), lambda: NOW, old.fence)
    assert len(watch.rows(runs)) == 1


def test_a_child_knows_its_turn_and_what_it_says_is_logged(
    post: Post, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "command", lambda home, *code: [sys.executable, "-c", *code])
    code = (
        "import sys; from service.store.leases import Fence;"
        "print('vigie: turn', Fence.from_environment().token, flush=True);"
        'print(\'{"level": "warning", "message": "run 7", "run_id": 7}\', file=sys.stderr)'
    )
    with caplog.at_level("INFO"):
        looked(Scheduler(post, (Job("work", HOUR, HOUR, lambda turn: turn.expect(code)),)))
    said = {record.getMessage(): record for record in caplog.records}
    assert vars(said["turn 1"])["job"] == "work"
    assert (vars(said["run 7"])["run_id"], vars(said["run 7"])["token"], said["run 7"].levelname) == (7, 1, "WARNING")
    assert Fence.from_environment() is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import time; time.sleep(60)", "stopped: not done after 1 s"),
        ("import sys; sys.exit(3)", "ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "was stopped by signal 9"),
    ],
)
def test_a_job_that_hangs_or_fails_is_failed_and_comes_round_again(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch, code: str, error: str
) -> None:
    monkeypatch.setattr(processes, "command", lambda home, *code: [sys.executable, "-c", *code])
    post = Post(home, load(home), store, ended=lambda: False)
    job = Job("work", HOUR, timedelta(seconds=1), lambda turn: turn.expect(code))
    assert looked(Scheduler(post, (job,))) == ["work"]
    after = row(store)
    assert (after.status, after.succeeded_at, after.holder) == ("failed", None, None)
    assert after.error.endswith(error)
    assert leases.due_at(after, HOUR, after.next_run_at) == after.next_run_at


KILLED = "import os; os.kill(os.getpid(), 9)"


def test_a_job_whose_child_was_killed_is_made_up_for_soon_and_once(
    home: Home, store: Store, post: Post, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that always dies runs twice in each interval, whoever looks; one that goes well is in time again."""
    monkeypatch.setattr(processes, "command", lambda home, *code: [sys.executable, "-c", *code])
    said, held = [KILLED], ["a"]
    job = Job("work", HOUR, HOUR, lambda turn: turn.expect(said[0]), lambda home, settings: held[0])
    scheduler, soon = Scheduler(post, (job,)), timedelta(seconds=1.5 * scheduler_module.AGAIN_AFTER)
    began = hands.now
    for interval in range(2):
        assert (looked(scheduler), looked(scheduler)) == (["work"], []), "not at once"
        hands.pass_by(soon)
        scheduler = Scheduler(here(home, store, hands), (job,))
        assert looked(scheduler) == ["work"]
        hands.pass_by(timedelta(minutes=40))
        assert looked(scheduler) == [], "once"
        hands.pass_by(HOUR - timedelta(minutes=40))
        assert row(store).token == 2 * interval + 2
    said[0] = "pass"
    assert (looked(scheduler), row(store).status) == (["work"], "ok")
    hands.pass_by(timedelta(minutes=40))
    assert looked(scheduler) == []
    said[0], held[0] = KILLED, "b"
    assert looked(scheduler) == ["work"], "other data"
    held[0] = "c"
    assert looked(scheduler) == ["work"], "and other data again: that makes up for nothing"
    said[0] = "pass"
    hands.pass_by(soon)
    assert (looked(scheduler), row(store).status) == (["work"], "ok")
    assert hands.now - began < 4 * HOUR


def test_a_job_that_comes_sooner_anyway_is_not_put_off_for_having_been_killed(
    post: Post, store: Store, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "command", lambda home, *code: [sys.executable, "-c", *code])
    scheduler = Scheduler(post, (Job("work", timedelta(seconds=2), HOUR, lambda turn: turn.expect(KILLED)),))
    looked(scheduler)
    assert row(store).next_run_at == hands.now + timedelta(seconds=2)


def test_a_fault_of_our_own_tells_nobody_its_particulars(post: Post, store: Store) -> None:
    def torn(turn: Turn) -> None:
        raise ValueError("postgresql://user:secret@host")

    looked(Scheduler(post, (Job("work", HOUR, HOUR, torn),)))
    assert row(store).error == "a fault of Vigie's own; the log has the traceback"


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    made = Issuer(tmp_path / "home")
    made.hold("real")
    made.issue()
    return made


def test_jobs_are_told(issuer: Issuer, vigie: Callable[..., Any]) -> None:
    hands = Hands()
    post = here(issuer.home, issuer.store, hands)
    fine, bad, gone = (Job(name, HOUR, HOUR, nothing) for name in ("fine", "bad", "gone"))
    post.declare((gone,))
    post.declare((fine, bad))
    post.at_once(fine)
    turn = post.take(bad, row(issuer.store, "bad"))
    assert turn is not None
    client = create_app(issuer.home, clock=lambda: hands.now).test_client()
    hands.pass_by(timedelta(seconds=20))
    told = client.get("/v1/jobs").json
    said = {job["name"]: job for job in told["data"]}
    assert told["snapshot_id"] == 1
    assert (said["fine"]["status"], said["fine"]["age_seconds"], said["fine"]["overdue"]) == ("ok", 20, False)
    assert (said["fine"]["every_seconds"], said["fine"]["overdue_after_seconds"]) == (3600, 10800)
    assert (said["bad"]["status"], said["bad"]["holder"]) == ("running", post.holder[:8])
    assert (said["bad"]["age_seconds"], said["bad"]["reasons"]["age_seconds"]) == (None, "never_succeeded")
    assert (said["gone"]["next_run_at"], said["gone"]["reasons"]["next_run_at"]) == (None, "not_scheduled")
    assert client.get("/readyz").json["overdue"] == []
    hands.pass_by(timedelta(hours=2, minutes=50))
    assert {job["name"]: job["status"] for job in client.get("/v1/jobs").json["data"]}["bad"] == "lost"
    hands.pass_by(timedelta(minutes=10))
    assert [job["name"] for job in client.get("/v1/jobs").json["data"] if job["overdue"]] == ["bad", "fine"]
    issuer.run("unchanged", at=hands.now, snapshot=1)
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
    Post(home, settings, store, ended=lambda: False).declare(scheduler_module.declared(settings))
    after = {name: job.overdue_after_seconds for name, job in leases.read(store).items()}
    assert after["pull"] == 600_000
    assert after["recompute"] == 3 * 3600
    assert after["deliver"] == 300


def test_a_database_that_is_away_is_said_once_and_looked_at_again(
    post: Post, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(post, (Job("work", HOUR, HOUR, nothing),))
    with store.writing() as connection:
        connection.execute(sa.delete(table))
    assert looked(scheduler) == ["work"], "another database in its place"

    class Event:
        exception: Exception | None = OSError("away")

    complaint = scheduler_module._Complaint()
    for _ in range(3):
        complaint(Event())
    Event.exception = None
    complaint(Event())
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "cannot look for what is due: OSError: away"
    ]
