"""A running `vigie up` with readers, followers of changes and receivers of alerts, which check it while faults occur.

The tests cause the faults. All random moments come from one seed.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from fault_clients import ChangeFollower, Client, Reader, StreamFollower, score_fields
from receivers import SECRET, HookReceiver, MailReceiver
from recompute_support import COUNTRIES, OperatedHome
from servers import free_port

from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.sources.monthly import MonthlyFile
from service.snapshots.outcome_parts import of_outcome
from service.store.tables import changes, deliveries, jobs, runs, snapshots, transitions

PATIENCE = 180.0
"""How long anything may take on a machine that is busy with other things [s]."""

MONTHS = [str(np.datetime64(datetime.now(UTC).date(), "M") - back) for back in range(60, 0, -1)]
"""The months of data, up to the last one: the data are fresh."""

YEAR = MONTHS[-12:]

SETTINGS = """
public_read = true
drivers = false
deliver_every_seconds = 1
lease_seconds = 2
recompute_every_minutes = 1
allow_private_webhooks = ["127.0.0.1"]
[routes.duty]
type = "webhook"
url = "{url}"
secret = "{secret}"
[routes.office]
type = "email"
to = ["duty@example.org"]
sender = "vigie@example.org"
host = "127.0.0.1"
port = {port}
security = "none"
"""
RULE = """
[[rule]]
name = "grave-{route}"
title = {{ en = "Grave", fr = "Grave" }}
metric = "risk_score"
fire_at = 45
clear_at = 45
severity = "warning"
route = "{route}"
countries = ["MLI"]
"""
ROUTES = ("duty", "office")


def wait_until(truth: Callable[[], Any], what: str, within: float = PATIENCE, every: float = 0.2) -> Any:
    """Return what `truth` returns, once that is true. It is called `every` so many seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := truth():
            return found
        time.sleep(every)  # some conditions read the archive or all of /proc: the machine must compute as well
    raise AssertionError(f"not within {within:.0f} s: {what}")


class RunningVigie:
    """A prepared home, the `vigie up` that runs over it, and its clients."""

    def __init__(
        self, root: Path, seed: int, receiver: HookReceiver, office: MailReceiver, log: Path | None, **environment: str
    ) -> None:
        self.root, self.rng, self.receiver, self.office = root, random.Random(seed), receiver, office
        self.port, self.log = free_port(), log or root / "up.log"
        self.home = Home(root / "home")
        self.home.root.mkdir(parents=True, exist_ok=True)
        self.home.settings.write_text(SETTINGS.format(url=receiver.url("/hook"), secret=SECRET, port=office.port))
        self.home.alert_rules.write_text("".join(RULE.format(route=route) for route in ROUTES))
        self.operated = OperatedHome(self.home.root)
        self.archive = Archive(self.home.archive)
        self.allowed: set[str] = set()
        self.finished = threading.Event()
        self.counts: Counter[str] = Counter()
        self.client = Client(self.port)
        self.readers = [Reader(self, seed + number) for number in range(3)]
        self.followers = (ChangeFollower(self), StreamFollower(self))
        self._environment, self._revisions = environment, 0
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The `vigie up` that was started last."""
        return self._processes[-1]

    def begin_all(self) -> None:
        """Start Vigie over data and a model, and then its clients."""
        self.operated.put_model()
        self.revise_data()
        self.start()
        self.wait_until_current()
        for thread in (*self.readers, *self.followers):
            thread.start()

    def revise_data(self) -> None:
        """Ingest new data. Mali is violent and quiet by turns, so that an alert fires or is resolved."""
        number = self._revisions + 1
        last = {"MLI": number % 2 * 30, "NER": number}
        lines = [f"{iso3},{when},{last.get(iso3, 0) if when in YEAR else 2}\n" for iso3 in COUNTRIES for when in MONTHS]
        path = self.root / f"revision-{number}.csv"
        path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
        ingest(self.archive, MonthlyFile(path), now=datetime.now(UTC))
        self._revisions, self._revised = number, time.monotonic()

    def start(self) -> None:
        """Start `vigie up`, as soon as its port is free, and wait until it answers."""
        command = [sys.executable, "-m", "riskmodel", "--home", str(self.home.root), "up", "--port", str(self.port)]

        before = self.log_text().count("Vigie is running at")

        def answers() -> bool:
            with self.log.open("ab") as log:
                environment = {**os.environ, **self._environment}
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
            ready = "Vigie is running at"
            wait_until(
                lambda: self.process.poll() is not None or self.log_text().count(ready) > before, "it is up, or gave up"
            )
            return self.process.poll() is None

        wait_until(answers, f"vigie up starts; log:\n{self.log_text()[-3000:]}")

    def log_text(self) -> str:
        """Return the log so far, without requests."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(line for line in lines if '"vigie.access"' not in line)

    def scores(self) -> Any:
        """Return the scores that are served, once they are."""
        answer = wait_until(
            lambda: (got := self.client.get("/v1/scores")) and got[0] == 200 and got, "scores are served"
        )
        return json.loads(answer[2])

    def newest_run(self) -> Any:
        """Return the newest finished run."""
        with self.operated.store.reading() as connection:
            ended = sa.select(runs).where(runs.c.finished_at.is_not(None)).order_by(runs.c.id.desc())
            return connection.execute(ended).first()

    def wait_until_current(self) -> None:
        """Wait until the served scores are those of the newest data. If a run failed, new data start another one."""
        wait_until(self._current, f"a snapshot of the newest data; log:\n{self.log_text()[-3000:]}")
        number = self.operated.rows(snapshots)[-1].id
        wait_until(lambda: self.scores()["snapshot_id"] >= number, "the snapshot is served")

    def is_working(self, *words: str) -> bool:
        """Return whether a process is running. If its work is done, new data start it again."""
        if not (found := self.pids(*words)) and self._revised < time.monotonic() - 3 and self._current():
            self.revise_data()
        return bool(found)

    def _current(self) -> bool:
        digest = self.archive.view().digest
        with suppress(sa.exc.SQLAlchemyError), self.operated.store.reading() as connection:
            newest = connection.execute(sa.select(snapshots).order_by(snapshots.c.id.desc()).limit(1)).first()
            if newest is not None and newest.document["data"]["digest"] == digest:
                return True
            refused = (jobs.c.name == "recompute") & (jobs.c.status == "failed") & ~jobs.c.error.contains("signal")
            if connection.scalar(sa.select(jobs.c.name).where(refused)) and self._revised < time.monotonic() - 3:
                self.revise_data()
        return False

    def pids(self, *words: str) -> list[int]:
        """Return our processes with these words in their command line.

        `web` is the web server itself, `worker` are the processes below it, which have the same command line, and
        `forkserver` is the process that the scheduler's children are forked from.
        """
        tree = family(self.process.pid)
        if words == ("forkserver",):
            return [pid for pid, (_, line) in tree.items() if "multiprocessing.forkserver" in line]
        if words == ("worker",):
            return [pid for server in self.pids("web") for pid in family(server)]
        if words == ("web",):
            return [pid for pid, (parent, line) in tree.items() if parent == self.process.pid and "web" in line]
        commands = {pid: line for pid, (_, line) in tree.items() if "riskmodel" in line and set(words) <= set(line)}
        return [pid for pid, line in commands.items() if not line[-1].startswith("worker-")]

    def kill(self, *words: str) -> bool:
        """Kill one of these processes, if there is any."""
        for pid in self.pids(*words):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.counts[f"kill -9 {' '.join(words)}"] += 1
                return True
        return False

    def kill_all(self) -> None:
        """Kill all processes at once, as a power cut does, and start again."""
        pids = [self.process.pid, *family(self.process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(alive(pid) for pid in pids), "all are gone")
        self.counts["kill -9 of all at once"] += 1
        self.start()

    def end(self) -> None:
        """Kill all processes."""
        for process in self._processes:
            if process.poll() is not None:
                continue  # the system can have given its number to a process of somebody else
            for pid in (process.pid, *family(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def settle(self) -> Counter[str]:
        """Wait until all work is done, then compare what all clients saw with the database; return the counts."""
        self.wait_until_current()
        store = self.operated.store

        def at_rest() -> bool:
            with (
                store.writing() as connection
            ):  # a message that a killed sender had claimed waits for minutes: skip them
                waiting = deliveries.c.status == "waiting"
                connection.execute(sa.update(deliveries).where(waiting).values(not_before=datetime.now(UTC)))
            time.sleep(0.5)
            with store.reading() as connection:
                left = connection.scalar(sa.select(sa.func.count()).where(waiting))
                running = connection.scalar(sa.select(sa.func.count()).where(runs.c.status == "running"))
                newest = connection.scalar(sa.select(sa.func.max(changes.c.id)))
                busy = connection.scalar(sa.select(sa.func.count()).where(jobs.c.status == "running"))
            return not (left or running or busy) and all(one.seen[-1:] == [newest] for one in self.followers)

        wait_until(at_rest, f"everything is sent; log:\n{self.log_text()[-3000:]}")
        self.finished.set()
        for thread in (*self.readers, *self.followers):
            thread.join(30)
        pids = list(family(self.process.pid))
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        wait_until(lambda: not any(alive(pid) for pid in pids), "no process is left")
        self._check()
        return self.counts

    def _check(self) -> None:
        assert [breach for one in (*self.readers, *self.followers) for breach in one.breaches] == []
        for command in (("ledger", "verify"), ("db", "check"), ("archive", "check")):
            line = [sys.executable, "-m", "riskmodel", "--home", str(self.home.root), *command]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        issued = {row.id: row for row in self.operated.rows(snapshots)}
        for reader in self.readers:
            assert reader.newest <= max(issued)
            self.counts.update(reader.counts)
            for number, scores in reader.scores_by_snapshot.items():
                row = issued[number]
                assert scores <= {
                    json.dumps([row.digest, *score_fields(c)]) for c in of_outcome(row.document)["countries"]
                }
        for follower in self.followers:
            assert follower.seen == [row.id for row in self.operated.rows(changes)], "each change once, in order"
        self._check_messages()
        ended = Counter(row.status for row in self.operated.rows(runs))
        assert not ended["running"]
        left = [path for path in self.home.root.rglob("*") if path.name.endswith((".part", "-journal"))]
        assert left == []
        for fault in ("Traceback", "UnicodeDecodeError", "database disk image is malformed"):
            assert fault not in self.log_text(), self.log_text()[-6000:]
        self.counts |= Counter({"snapshots": len(issued), "changes": len(self.followers[0].seen)})
        self.counts |= Counter({f"runs: {status}": number for status, number in ended.items()})

    def _check_messages(self) -> None:
        """Every start of an alert has one message, and its end one if the receiver knows of it. All were received.

        A start that was corrected before it was sent is never sent.
        """
        stored = {row.id: row for row in self.operated.rows(deliveries, "created_at")}
        changed = [
            row for row in self.operated.rows(transitions) if row.to_state in ("firing", "resolved", "corrected")
        ]
        unsent = {row.document["data"]["alert_id"] for row in stored.values() if row.status == "dismissed"}
        expected = Counter(
            (row.to_state, row.rule, row.snapshot_id)
            for row in changed
            if row.snapshot_id != 1 and (row.to_state == "firing" or row.alert_id not in unsent)
        )
        sent = [(row.kind, row.document["data"]) for row in stored.values() if row.kind != "summary"]
        assert Counter((kind, data["rule"], data["snapshot_id"]) for kind, data in sent) == expected
        assert max(expected.values(), default=1) == 1
        assert [row.kind for row in stored.values()].count("summary") == len(ROUTES)
        taken_back = {row.alert_id for row in changed if row.to_state == "corrected"}
        assert {row.status for row in stored.values()} <= {"sent", "dismissed"}
        assert unsent <= taken_back
        mails = [message_from_bytes(bytes(mail.content or b""))["Message-ID"] for mail in self.office.taken]
        received = Counter(
            [number for number, _ in self.receiver.taken] + [re.split("[<@]", each)[1] for each in mails]
        )
        reached = {number for number, row in stored.items() if row.status == "sent"}
        assert reached <= set(received) <= set(stored)
        for number, payload in self.receiver.taken:
            assert payload == stored[number].document
        ways = Counter(f"messages by {row.route}" for row in stored.values())
        self.counts |= ways | Counter({"messages received twice": received.total() - len(received)})


@contextmanager
def running_vigie(root: Path, seed: int, log: Path | None = None, **environment: str) -> Iterator[RunningVigie]:
    """Run Vigie in a folder; no process is left behind."""
    with HookReceiver().listening() as receiver, MailReceiver().listening() as office:
        running = RunningVigie(root, seed, receiver, office, log, **environment)
        try:
            running.begin_all()
            yield running
        finally:
            running.finished.set()
            running.end()


def family(root: int) -> dict[int, tuple[int, list[str]]]:
    """Return all descendants of a process, each with its parent and its command line."""
    every: dict[int, tuple[int, list[str]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            # A forked child has its command line as a title, with spaces between the words.
            line = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            every[int(folder.name)] = parent, line.split()
    known = {root}
    while more := {pid for pid, (parent, _) in every.items() if parent in known} - known:
        known |= more
    return {pid: every[pid] for pid in known - {root} if pid in every}


def alive(pid: int) -> bool:
    """Return whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
