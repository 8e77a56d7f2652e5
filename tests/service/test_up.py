"""`vigie up` with real processes: first start, killed processes, and a clean stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from providers import Ucdp, monthly_events
from recompute_support import OperatedHome
from servers import free_port

from riskmodel import geography
from service.cli import up as up_module

START_TIMEOUT = 240.0
"""How long to wait for a start on a busy machine [s]; `benchmarks/serve.py` measures a usual one."""


class Up:
    """A running `vigie up`."""

    def __init__(self, home: Path, port: int, *options: str, **environment: str) -> None:
        self.url, self.log = f"http://127.0.0.1:{port}", home.parent / "up.log"
        self.home = home
        command = [sys.executable, "-m", "riskmodel", "--home", str(home), "up", "--port", str(port), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body of a response."""
        response = httpx2.get(self.url + path, timeout=5)
        return response.status_code, response.content

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[1])

    def wait(self, path: str, status: int, within: float) -> float:
        """Wait until a path has a status; return how long it took [s]."""
        started = time.monotonic()
        while (waited := time.monotonic() - started) < within:
            try:
                if self.get(path)[0] == status:
                    return waited
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} did not have status {status} within {within} s; log:\n{self.log.read_text()}")

    def wait_until(self, condition: Callable[[], bool], within: float) -> None:
        """Wait until a condition holds, which is checked by requests."""
        until = time.monotonic() + within
        while not condition():
            assert time.monotonic() < until, f"nothing happened within {within} s; log:\n{self.log.read_text()}"
            time.sleep(0.5)

    def children(self) -> dict[str, int]:
        """The process ids of web server and scheduler."""
        children = {}
        for stat in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = stat.read_bytes().decode().replace("\0", " ").split()
                parent = int((stat.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.process.pid:
                children.update({name: int(stat.parent.name) for name in ("web", "scheduler") if name in line})
        return children

    def end(self) -> int:
        """Stop it with SIGTERM and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def up(home: Path, *options: str, **environment: str) -> Iterator[Up]:
    running = Up(home, free_port(), *options, **environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def has_ended(pid: int, within: float = 10.0) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def unfinished_jobs(running: Up) -> list[str]:
    """The jobs that have not ended yet. The lease of one that is killed would keep the next scheduler waiting."""
    return [job["name"] for job in running.json("/v1/jobs")["data"] if job["finished_at"] is None]


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Path:
    """A home with simulated data, a simple model and a snapshot, in which `vigie up` has run each job."""
    now = datetime.now(UTC)
    operated = OperatedHome(tmp_path_factory.mktemp("up") / "home")
    operated.simulate(str(np.datetime64(now.date(), "M") - 1), now)
    operated.put_model(simulated=True, origin=str(np.datetime64(now.date(), "M") - 1))
    operated.run(now)
    operated.store.close()
    with up(operated.home.root) as running:
        running.wait("/", 200, START_TIMEOUT)
        running.wait_until(lambda: not unfinished_jobs(running), START_TIMEOUT)
        assert running.end() == 0
    return operated.home.root


@pytest.mark.long
def test_a_first_start_serves_scores_marked_simulated(tmp_path: Path) -> None:
    with up(tmp_path / "home", "--simulated") as running:
        running.wait("/", 200, START_TIMEOUT)
        scores = running.json("/v1/scores")
        assert scores["simulated"] is True
        assert {row["location_code"] for row in scores["data"]} == set(geography.region("MLI").members)
        assert all(0 <= row["risk_score"] <= 100 for row in scores["data"])
        assert "SIMULATED" in running.get("/?lang=en")[1].decode()
        assert "SIMUL" in running.get("/?lang=fr")[1].decode()
        assert running.get("/readyz")[0] == 200
        assert running.end() == 0
    log = (tmp_path / "up.log").read_text()
    assert "making a SIMULATED archive" in log
    assert "Vigie is running at http://127.0.0.1:" in log


@pytest.mark.long
def test_a_first_start_gets_a_past(tmp_path: Path) -> None:
    with up(tmp_path / "home", VIGIE_HINDCAST_MONTHS="13") as running:
        running.wait("/", 200, START_TIMEOUT)

        def has_past() -> bool:
            rows = running.json("/v1/scores")["data"]
            return any(row["change_12m"] is not None for row in rows)

        running.wait_until(has_past, 2 * START_TIMEOUT)
        history = running.json("/v1/scores/MLI/history")["data"]
        assert [entry["basis"] for entry in history] == ["issued"] + ["hindcast"] * 13
        past = running.json("/v1/scores?as_of=2022-11-30")
        assert (past["basis"], past["origin"]) == ("hindcast", "2022-10")
        jobs = {job["name"]: job["status"] for job in running.json("/v1/jobs")["data"]}
        assert jobs["hindcast"] in ("running", "ok")
        assert running.end() == 0


def test_a_killed_process_is_restarted(prepared_home: Path) -> None:
    with up(prepared_home) as running:
        for name in ("web", "scheduler"):
            running.wait("/healthz", 200, START_TIMEOUT)
            pid = running.children()[name]
            os.kill(pid, signal.SIGKILL)
            assert has_ended(pid)
            until = time.monotonic() + 20
            while running.children().get(name) in (None, pid) and time.monotonic() < until:
                time.sleep(0.1)
            assert running.children()[name] != pid
        running.wait("/healthz", 200, 20)
        assert running.end() == 0


def test_its_processes_end_when_it_is_killed_and_it_starts_again(prepared_home: Path) -> None:
    with up(prepared_home) as running:
        running.wait("/healthz", 200, START_TIMEOUT)
        children = running.children()
        assert set(children) == {"web", "scheduler"}
        before = running.json("/v1/scores")["snapshot_id"]
        running.process.kill()
        running.process.wait()
        assert all(has_ended(pid) for pid in children.values())
    with up(prepared_home) as running:
        running.wait("/v1/scores", 200, START_TIMEOUT)
        assert running.json("/v1/scores")["snapshot_id"] == before
        assert running.end() == 0


@pytest.mark.long
def test_two_instances_on_one_home_run_each_job_once(prepared_home: Path) -> None:
    environment = {"VIGIE_DELIVER_EVERY_SECONDS": "2"}
    with up(prepared_home, **environment) as one, up(prepared_home, **environment) as other:
        for running in (one, other):
            running.wait("/v1/jobs", 200, START_TIMEOUT)
        runs = len(one.json("/v1/runs")["data"])
        seen, until = set(), time.monotonic() + 40
        while len(seen) < 4 and time.monotonic() < until:
            for running in (one, other):
                jobs = {job["name"]: job for job in running.json("/v1/jobs")["data"]}
                seen.add(datetime.fromisoformat(jobs["deliver"]["started_at"]))
            time.sleep(0.2)
        assert all((later - before).total_seconds() >= 2 for before, later in pairwise(sorted(seen)))
        assert len(seen) == 4
        assert len(one.json("/v1/runs")["data"]) == runs, "a job that has just run does not run again"
        assert [running.end() for running in (one, other)] == [0, 0]


def test_an_address_in_use_is_refused(prepared_home: Path, vigie: Callable[..., Any]) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = vigie("--home", prepared_home, "up", "--port", taken.getsockname()[1])
    assert result.code == 4
    assert "choose another --port" in result.err


def test_a_web_server_that_does_not_answer_is_unavailable(
    prepared_home: Path, vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_module, "STARTUP_TIMEOUT", 0.0)
    result = vigie("up", "--home", prepared_home, "--port", free_port())
    assert (result.code, "the web server does not answer at http://127.0.0.1:" in result.err) == (4, True)


def test_an_empty_home_serves_the_shipped_history_also_without_the_internet(tmp_path: Path) -> None:
    unreachable = f"http://127.0.0.1:{free_port()}"
    with up(tmp_path / "home", "--pull", "ucdp", VIGIE_UCDP_URL=unreachable) as running:
        running.wait("/v1/scores", 200, START_TIMEOUT)
        scores = running.json("/v1/scores")
        assert (scores["simulated"], scores["origin"], scores["status"]) == (False, "2022-12", "history")
        assert (scores["source"], scores["licence"]) == ("UCDP 25.1", "CC BY 4.0 · UCDP")
        until = time.monotonic() + 60
        while "New data could not be fetched" not in running.get("/?lang=en")[1].decode():
            assert time.monotonic() < until
            time.sleep(0.5)
        page = running.get("/?lang=en")[1].decode()
        assert "The history that ships with Vigie, up to 31 December 2022." in page
        assert "Vigie fetches newer data." in page
        assert "CC BY 4.0 · UCDP" in page
        assert running.end() == 0
    log = (tmp_path / "up.log").read_text()
    assert "History to December 2022 that ships with Vigie. Vigie fetches newer data" in log
    before_the_first_page = log.partition("Vigie is running")[0].splitlines()
    assert len(before_the_first_page) < 20, "the terminal shows the steps and no tables"
    assert "taking in the history to December 2022 that ships with Vigie" in log
    assert "training a model of state-based conflict, which takes about a minute: there is none yet" in log
    assert "computing the scores of the region of MLI" in log
    assert "ucdp: vigie pull ucdp ended with exit code 4" in log
    assert "the data that are here" in log


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_pull_brings_newer_data_a_new_model_and_a_snapshot_of_them(tmp_path: Path) -> None:
    """A first start with a UCDP on loopback. Later UCDP cannot be reached any more."""
    last = np.datetime64(datetime.now(UTC).date(), "M") - 2
    ucdp = published_until(last)
    environment = {"VIGIE_PULL_EVERY_MINUTES": "1"}
    with ExitStack() as provider:
        url = provider.enter_context(ucdp.listening())
        with up(tmp_path / "home", "--pull", "ucdp", VIGIE_UCDP_URL=url, **environment) as running:
            running.wait("/v1/scores", 200, START_TIMEOUT)
            first = running.json("/v1/scores")
            assert (first["status"], first["origin"]) == ("history", "2022-12")
            running.wait_until(lambda: running.json("/v1/scores")["origin"] == str(last), START_TIMEOUT)
            newer = running.json("/v1/scores")
            assert newer["status"] in ("fresh", "late"), "the data are as new as UCDP has them"
            assert newer["model_id"] != first["model_id"]
            assert newer["snapshot_id"] > first["snapshot_id"]
            assert "ships with Vigie" not in running.get("/?lang=en")[1].decode()
            provider.close()
            running.wait_until(
                lambda: "New data could not be fetched" in running.get("/?lang=en")[1].decode(), START_TIMEOUT
            )
            assert running.json("/v1/scores")["status"] in ("fresh", "late"), "never history again"
            assert running.end() == 0
    log = (tmp_path / "up.log").read_text()
    assert "the one in service was trained on the history that ships with Vigie alone" in log
    failed = [line for line in log.splitlines() if "the data that are here" in line]
    assert failed
    assert all("cannot be reached" in line for line in failed), "the line says why"


def published_until(last: np.datetime64) -> Ucdp:
    """Return a UCDP with a final release to the year before a month, and candidates from then on."""
    ucdp, year = Ucdp(), int(str(last)[:4])
    ucdp.publish(f"{year % 100}.1", monthly_events("1989-01", f"{year - 1}-12"))
    for number in range(1, int(str(last)[5:]) + 1):
        month = f"{year}-{number:02d}"
        ucdp.publish(f"{year % 100}.0.{number}", monthly_events(month, month, 10_000 + number))
    return ucdp


@pytest.mark.long
def test_real_data_replace_simulated_scores(prepared_home: Path, tmp_path: Path) -> None:
    """While it runs: real data are ingested, simulated scores are retired at once, a model is trained."""
    months = [f"{year}-{month:02d}" for year in range(2001, 2023) for month in range(1, 13)]
    rows = [
        f"{iso3},{month},{(5 + 7 * index + 3 * number) % 40 if index < 4 else 0}\n"
        for index, iso3 in enumerate(("MLI", "BFA", "NER", "DZA", "CIV", "GIN", "MRT", "SEN"))
        for number, month in enumerate(months)
    ]
    history = tmp_path / "history.csv"
    history.write_text("iso3,month,deaths_state_based\n" + "".join(rows))
    with up(prepared_home) as running:
        running.wait("/readyz", 200, START_TIMEOUT)
        command = [sys.executable, "-m", "riskmodel", "--home", str(prepared_home), "ingest", "monthly", str(history)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "retired from service" in result.stdout
        status, body = running.get("/v1/scores")
        assert status in (200, 503)
        assert status == 200 or json.loads(body)["type"] == "urn:vigie:problem:no-real-snapshot"
        running.wait("/v1/scores", 200, START_TIMEOUT)
        scores = running.json("/v1/scores")
        assert (scores["simulated"], scores["origin"], scores["status"]) == (False, "2022-12", "stale")
        assert "SIMULATED" not in running.get("/?lang=en")[1].decode()
        assert running.end() == 0
