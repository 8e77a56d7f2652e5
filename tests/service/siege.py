"""A running `vigie up` under siege: readers, two that follow changes and receivers of alerts that notice every breach.

What a fault is, and when it strikes, is the tests' affair. All moments that are chosen at random come from one seed.
"""

import hashlib
import http.client
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
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from receivers import SECRET, HookReceiver, MailReceiver
from servers import free_port
from watch import COUNTRIES, Watch

from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.sources.monthly import MonthlyFile
from service.snapshots import change_feed
from service.store.tables import changes, deliveries, jobs, runs, snapshots, transitions

PATIENCE = 180.0
"""How long anything may take on a machine that is busy with other things [s]."""

MONTHS = [str(np.datetime64(datetime.now(UTC).date(), "M") - back) for back in range(60, 0, -1)]
"""The months of data: up to the last one, so that they are fresh."""

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
UP = """
import service.cli.up
from riskmodel.cli.main import main
service.cli.up.RESTART_DELAYS = (0.2,)
main()
"""
"""`vigie up`, which waits no minute after the fifth kill in a row."""

PATHS = ("/v1/scores", "/v1/scores/MLI", "/v1/runs", "/v1/indicators/NER", "/?lang=en")
SAID = ("risk_score", "band", "escalation_probability", "onset_probability", "expected_deaths")


def until(truth: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """What comes true, once it does."""
    patience = time.monotonic() + within
    while time.monotonic() < patience:
        if found := truth():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {within:.0f} s: {what}")


class Client:
    """One connection to the server, opened again whenever it breaks."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)

    def get(self, path: str, **headers: str) -> tuple[int, Any, bytes] | None:
        """Status, headers and body; None where the connection broke."""
        try:
            self._connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = self._connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            time.sleep(0.02)
            return None


class Reader(threading.Thread):
    """Reads scores, lists and pages as a client does, and notes what must not be."""

    def __init__(self, siege: "Siege", seed: int) -> None:
        super().__init__(daemon=True)
        self._siege, self._rng, self._client = siege, random.Random(seed), Client(siege.port)
        self._held: dict[str, str] = {}
        self.newest = 0
        self.counts: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.told: dict[int, set[str]] = {}

    def run(self) -> None:
        while not self._siege.over.is_set():
            path = self._rng.choice(PATHS)
            allowed = set(self._siege.allowed)
            tag = self._held.get(path, "") if self._rng.random() < 0.6 else ""
            if (answer := self._client.get(path, **({"If_None_Match": tag} if tag else {}))) is None:
                self.counts["cut off"] += 1
            else:
                self._judge(path, tag, *answer, allowed=allowed | self._siege.allowed)
            time.sleep(0.04)  # a reader, not a load test: the machine is to be busy with recomputes

    def _judge(self, path: str, asked: str, status: int, headers: Any, body: bytes, allowed: set[str]) -> None:
        if status == 304:
            self.counts["unchanged"] += 1
            self._expect(headers["ETag"] == asked and not body, f"304 for another tag: {path}")
        elif status == 200:
            self.counts["bodies"] += 1
            tag = self._held[path] = headers["ETag"]
            self._expect(tag == f'W/"{hashlib.sha256(body).hexdigest()}"', f"the tag is not of the body: {path}")
            self._expect(tag != asked, f"200 for a body that was held: {path}")
            if headers["Content-Type"] == "application/json":
                self._read(path, json.loads(body))
        else:
            kind = json.loads(body)["type"].rpartition(":")[2] if b"urn:vigie:problem" in body else f"{status} {path}"
            self.counts[f"told {kind}"] += 1
            page = path.startswith("/?") and status == 503 and "unreadable-store" in allowed
            self._expect(page or kind in allowed, f"{status} {path} {body[:300]!r}")

    def _read(self, path: str, said: dict[str, Any]) -> None:
        number = said["snapshot_id"]
        self._expect(number >= self.newest, f"went back from {self.newest} to {number}: {path}")
        self.newest = max(self.newest, number)
        rows = said["data"] if path == "/v1/scores" else [said["data"]] if path == "/v1/scores/MLI" else []
        self.told.setdefault(number, set()).update(json.dumps([said["digest"], *scored(row)]) for row in rows)

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.breaches.append(what)


def scored(row: dict[str, Any]) -> list[Any]:
    """What a snapshot and an answer say alike of a country."""
    return [row["location_code"], *(row[field] for field in SAID)]


class Follower(threading.Thread):
    """Follows the changes from the first on by their cursor, through every fault."""

    def __init__(self, siege: "Siege") -> None:
        super().__init__(daemon=True)
        self._siege, self._client = siege, Client(siege.port)
        self.seen: list[int] = []
        self.breaches: list[str] = []

    def run(self) -> None:
        cursor = "start"
        while not self._siege.over.is_set():
            answer = self._client.get(f"/v1/changes?limit=3&since={cursor}", Prefer="wait=1")
            if answer is None:
                continue
            status, _, body = answer
            said = json.loads(body)
            if status == 200:
                self.seen += [change_feed.cursor(change["cursor"], "MLI").after for change in said["data"]]
                cursor = said["next"]
            elif not said["type"].endswith(":unreadable-store"):
                self.breaches.append(f"{status} {body[:300]!r}")


class Listener(Follower):
    """Hears the changes as a stream, and comes back to where it was whenever that is cut off."""

    def run(self) -> None:
        self._place = "start"
        while not self._siege.over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._siege.port, timeout=3)
            with suppress(OSError, http.client.HTTPException), closing(connection):
                connection.request("GET", f"/v1/stream?since={self._place}")
                answer = connection.getresponse()
                if answer.status == 200:
                    self._hear(answer)
                elif b":unreadable-store" not in (body := answer.read()):
                    self.breaches.append(f"{answer.status} {body[:300]!r}")
            time.sleep(0.05)

    def _hear(self, answer: http.client.HTTPResponse) -> None:
        """Take in whole blocks; one that is cut off does not count."""
        block: list[bytes] = []
        while (line := answer.readline()) and not self._siege.over.is_set():
            block.append(line)
            if line != b"\n":
                continue
            said = dict(part.decode().rstrip("\n").partition(": ")[::2] for part in block)
            self._place = said.get("id", self._place)
            if "data" in said:
                self.seen.append(change_feed.cursor(said["id"], "MLI").after)
            block = []


class Siege:
    """A prepared home, what runs over it, and everybody who looks at it."""

    def __init__(
        self, root: Path, seed: int, receiver: HookReceiver, office: MailReceiver, log: Path | None, **environment: str
    ) -> None:
        self.root, self.rng, self.receiver, self.office = root, random.Random(seed), receiver, office
        self.port, self.log = free_port(), log or root / "up.log"
        self.home = Home(root / "home")
        self.home.root.mkdir(parents=True, exist_ok=True)
        self.home.settings.write_text(SETTINGS.format(url=receiver.url("/hook"), secret=SECRET, port=office.port))
        self.home.alert_rules.write_text("".join(RULE.format(route=route) for route in ROUTES))
        self.vigil = Watch(self.home.root)
        self.archive = Archive(self.home.archive)
        self.allowed: set[str] = set()
        self.over = threading.Event()
        self.counts: Counter[str] = Counter()
        self.client = Client(self.port)
        self.readers = [Reader(self, seed + number) for number in range(3)]
        self.followers = (Follower(self), Listener(self))
        self._environment, self._revisions = environment, 0
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The `vigie up` that was started last."""
        return self._processes[-1]

    def begin(self) -> None:
        """Start Vigie over data and a model, and let everybody look at it."""
        self.vigil.model()
        self.revise()
        self.start()
        self.until_current()
        for thread in (*self.readers, *self.followers):
            thread.start()

    def revise(self) -> None:
        """New data come in: Mali is grave and quiet by turns, and so an alert fires or is resolved."""
        number = self._revisions + 1
        last = {"MLI": number % 2 * 30, "NER": number}
        lines = [f"{iso3},{when},{last.get(iso3, 0) if when in YEAR else 2}\n" for iso3 in COUNTRIES for when in MONTHS]
        path = self.root / f"revision-{number}.csv"
        path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
        ingest(self.archive, MonthlyFile(path), now=datetime.now(UTC))
        self._revisions, self._revised = number, time.monotonic()

    def start(self) -> None:
        """Start `vigie up`, as soon as its port is free, and wait until it answers."""
        command = [sys.executable, "-c", UP, "--home", str(self.home.root), "up", "--port", str(self.port)]

        before = self.said().count("Vigie is running at")

        def answers() -> bool:
            with self.log.open("ab") as log:
                environment = {**os.environ, **self._environment}
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
            ready = "Vigie is running at"
            until(lambda: self.process.poll() is not None or self.said().count(ready) > before, "it is up, or gave up")
            return self.process.poll() is None

        until(answers, f"vigie up starts; log:\n{self.said()[-3000:]}")

    def said(self) -> str:
        """The log so far, but for requests."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(line for line in lines if '"vigie.access"' not in line)

    def scores(self) -> Any:
        """The scores as they are served, once they are."""
        answer = until(lambda: (got := self.client.get("/v1/scores")) and got[0] == 200 and got, "scores are served")
        return json.loads(answer[2])

    def newest_run(self) -> Any:
        """The newest run that has ended."""
        with self.vigil.store.reading() as connection:
            ended = sa.select(runs).where(runs.c.finished_at.is_not(None)).order_by(runs.c.id.desc())
            return connection.execute(ended).first()

    def until_current(self) -> None:
        """Wait until the scores served are of what the archive holds; where a run was refused, more data call one."""
        until(self._current, f"a snapshot of the newest data; log:\n{self.said()[-3000:]}")
        number = self.vigil.rows(snapshots)[-1].id
        until(lambda: self.scores()["snapshot_id"] >= number, "the snapshot is served")

    def at_work(self, *words: str) -> bool:
        """Whether a process is at work; where all has been done without it, more data call it."""
        if not (found := self.pids(*words)) and self._revised < time.monotonic() - 3 and self._current():
            self.revise()
        return bool(found)

    def _current(self) -> bool:
        wanted = self.archive.view().digest
        with suppress(sa.exc.SQLAlchemyError), self.vigil.store.reading() as connection:
            newest = connection.execute(sa.select(snapshots).order_by(snapshots.c.id.desc()).limit(1)).first()
            if newest is not None and newest.document["data"]["digest"] == wanted:
                return True
            refused = (jobs.c.name == "recompute") & (jobs.c.status == "failed") & ~jobs.c.error.contains("signal")
            if connection.scalar(sa.select(jobs.c.name).where(refused)) and self._revised < time.monotonic() - 3:
                self.revise()
        return False

    def pids(self, *words: str) -> list[int]:
        """Our processes with these words in their command line; `worker` are the web server's own children."""
        tree = family(self.process.pid)
        if words == ("worker",):
            masters = self.pids("web")
            return [pid for pid, (parent, line) in tree.items() if parent in masters and "tracker" not in str(line)]
        return [pid for pid, (_, line) in tree.items() if "riskmodel" in line and set(words) <= set(line)]

    def kill(self, *words: str) -> bool:
        """Kill one of them, if there is any."""
        for pid in self.pids(*words):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.counts[f"kill -9 {' '.join(words)}"] += 1
                return True
        return False

    def kill_all(self) -> None:
        """As when the power fails: all at once, and started again."""
        pids = [self.process.pid, *family(self.process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not any(alive(pid) for pid in pids), "all are gone")
        self.counts["kill -9 of all at once"] += 1
        self.start()

    def end(self) -> None:
        """Leave no process behind."""
        for process in self._processes:
            for pid in (process.pid, *family(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def settle(self) -> Counter[str]:
        """Let all come to rest, then hold what everybody saw against what the database holds; return the counts."""
        self.until_current()
        store = self.vigil.store

        def at_rest() -> bool:
            with store.writing() as connection:  # what a killed sender had claimed waits minutes: let them pass
                waiting = deliveries.c.status == "waiting"
                connection.execute(sa.update(deliveries).where(waiting).values(not_before=datetime.now(UTC)))
            time.sleep(0.5)
            with store.reading() as connection:
                left = connection.scalar(sa.select(sa.func.count()).where(waiting))
                running = connection.scalar(sa.select(sa.func.count()).where(runs.c.status == "running"))
                newest = connection.scalar(sa.select(sa.func.max(changes.c.id)))
                busy = connection.scalar(sa.select(sa.func.count()).where(jobs.c.status == "running"))
            return not (left or running or busy) and all(one.seen[-1:] == [newest] for one in self.followers)

        until(at_rest, f"all is sent and told; log:\n{self.said()[-3000:]}")
        self.over.set()
        for thread in (*self.readers, *self.followers):
            thread.join(30)
        pids = list(family(self.process.pid))
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        until(lambda: not any(alive(pid) for pid in pids), "no process is left")
        self._judge()
        return self.counts

    def _judge(self) -> None:
        assert [breach for one in (*self.readers, *self.followers) for breach in one.breaches] == []
        for command in (("ledger", "verify"), ("db", "check"), ("archive", "check")):
            line = [sys.executable, "-m", "riskmodel", "--home", str(self.home.root), *command]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        issued = {row.id: row for row in self.vigil.rows(snapshots)}
        for reader in self.readers:
            assert reader.newest <= max(issued)
            self.counts.update(reader.counts)
            for number, told in reader.told.items():
                row = issued[number]
                assert told <= {json.dumps([row.digest, *scored(said)]) for said in row.document["countries"]}
        for follower in self.followers:
            assert follower.seen == [row.id for row in self.vigil.rows(changes)], "each change once, in order"
        self._judge_messages()
        ended = Counter(row.status for row in self.vigil.rows(runs))
        assert not ended["running"]
        left = [path for path in self.home.root.rglob("*") if path.name.endswith((".part", "-journal"))]
        assert left == []
        for fault in ("Traceback", "UnicodeDecodeError", "database disk image is malformed"):
            assert fault not in self.said(), self.said()[-6000:]
        self.counts |= Counter({"snapshots": len(issued), "changes": len(self.followers[0].seen)})
        self.counts |= Counter({f"runs: {status}": number for status, number in ended.items()})

    def _judge_messages(self) -> None:
        """Every transition since the first snapshot was told by one message, and every message came."""
        kept = {row.id: row for row in self.vigil.rows(deliveries, "created_at")}
        changed = [row for row in self.vigil.rows(transitions) if row.to_state in ("firing", "resolved")]
        wanted = Counter((row.to_state, row.rule, row.snapshot_id) for row in changed if row.snapshot_id != 1)
        told = [(row.kind, row.document["data"]) for row in kept.values() if row.kind != "summary"]
        assert Counter((kind, data["rule"], data["snapshot_id"]) for kind, data in told) == wanted
        assert max(wanted.values(), default=1) == 1
        assert [row.kind for row in kept.values()].count("summary") == len(ROUTES)
        assert {row.status for row in kept.values()} <= {"sent"}
        mails = [message_from_bytes(bytes(mail.content or b""))["Message-ID"] for mail in self.office.taken]
        came = Counter([number for number, _ in self.receiver.taken] + [re.split("[<@]", each)[1] for each in mails])
        assert set(came) == set(kept)
        for number, payload in self.receiver.taken:
            assert payload == kept[number].document
        ways = Counter(f"messages by {row.route}" for row in kept.values())
        self.counts |= ways | Counter({"messages told twice": came.total() - len(kept)})


@contextmanager
def besieged(root: Path, seed: int, log: Path | None = None, **environment: str) -> Iterator[Siege]:
    """A siege over a folder, which leaves no process behind."""
    with HookReceiver().listening() as receiver, MailReceiver().listening() as office:
        siege = Siege(root, seed, receiver, office, log, **environment)
        try:
            siege.begin()
            yield siege
        finally:
            siege.over.set()
            siege.end()


def family(root: int) -> dict[int, tuple[int, list[str]]]:
    """All descendants of a process: each with its parent and its command line."""
    every: dict[int, tuple[int, list[str]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            every[int(folder.name)] = parent, (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    known = {root}
    while more := {pid for pid, (parent, _) in every.items() if parent in known} - known:
        known |= more
    return {pid: every[pid] for pid in known - {root} if pid in every}


def alive(pid: int) -> bool:
    """Whether a process runs, and is not only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
