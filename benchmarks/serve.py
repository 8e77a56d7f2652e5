"""Measure how fast Vigie serves polled scores, against nginx serving the same bytes from a file.

`python benchmarks/serve.py` needs `nginx` and `wrk` (Debian packages of these names). Both servers run on this machine
and take requests in turn over 32 connections, first alone, then beside a loop of `vigie recompute`; compare the ratios
of the medians. The same is measured beside 2,000 streams and 2,000 long polls. Further lines show the start, the time
from new events to a new snapshot with both outcomes beside `vigie scheduler`, every address from a database of ten
years of snapshots, and the memory. `--only` measures one part alone. All data are SIMULATED.
"""

import argparse
import contextlib
import gzip
import http.client
import itertools
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.table import Table

from riskmodel.bands import DEFAULT_BANDS
from riskmodel.cli import terminal
from riskmodel.home import Home
from service.cli.app import create_app
from service.settings import load
from service.snapshots import change_feed
from service.store.database import Store
from service.store.tables import jobs, runs, snapshots

PATH = "/v1/scores"
CONNECTIONS = 32
SNAPSHOTS = 520
"""One per week for ten years."""

SHARED_HEADERS = (
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "vary",
    "etag",
    "cache-control",
)
"""The headers that nginx sends with the values of Vigie, so that the responses have the same size."""

NGINX = """
worker_processes auto; daemon off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; sendfile on; tcp_nopush on; keepalive_requests 10000000;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u;
  scgi_temp_path {root}/s;
  server {{ listen 127.0.0.1:{port}; root {root}/files; gzip_static on; {headers} }}
}}
"""


@dataclass(frozen=True)
class Speed:
    """The figures of wrk: responses per second, and the 99th percentile of the latency [ms]."""

    rate: float
    p99: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="the length of a round for each server [s]")
    parser.add_argument("--rounds", type=int, default=3, help="the median of these counts")
    parser.add_argument("--workers", type=int, default=1, help="web processes of Vigie")
    parser.add_argument("--only", choices=["recompute", "waiting"], help="measure this part alone")
    arguments = parser.parse_args()
    for program in () if arguments.only == "recompute" else ("nginx", "wrk"):
        if not shutil.which(program):
            sys.exit(f"needs {program}: apt-get install {program}")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        fill(home)
        port = free_port()
        with vigie_web(home, port, arguments.workers) as server:
            print(f"start to first response: {wait_for_scores(port):.2f} s")
            if arguments.only == "recompute":
                print_recompute(home, port)
                return
            with nginx_server(Path(folder) / "nginx", port) as nginx_port:
                with waiting_clients(home, port, server.pid):
                    print_speeds("beside waiting clients", port, nginx_port, arguments.seconds, arguments.rounds)
                if arguments.only == "waiting":
                    return
                print_speeds("alone", port, nginx_port, arguments.seconds, arguments.rounds)
                with recompute_loop(home):
                    print_speeds("beside a recompute loop", port, nginx_port, arguments.seconds, arguments.rounds)
            print_recompute(home, port)
            print_addresses(home, port)
            memory = [resident_memory(pid) for pid in descendants(server.pid)]
            print(f"memory of a web process after that: {max(memory):.0f} MB")


def fill(home: Home) -> None:
    """Make a SIMULATED archive, its model and a snapshot, copies of it for ten years, and hourly runs."""
    settings = load(home)
    for command in (["ingest", "simulated", "--seed", str(settings.simulated_seed)], ["train"], ["recompute"]):
        run_vigie(home, *command)
    now, store = datetime.now(UTC), Store.of(home)
    with store.writing() as connection:
        original = dict(connection.execute(sa.select(snapshots)).mappings().one())
        for number in range(2, SNAPSHOTS + 2):
            copy_snapshot(connection, original, number, now - timedelta(weeks=SNAPSHOTS + 1 - number))
        hours = (now - timedelta(hours=h) for h in range(SNAPSHOTS * 7 * 24, 0, -1))
        run = {"region": settings.region, "status": "unchanged", "snapshot_id": 1}
        connection.execute(sa.insert(runs), [{**run, "started_at": at, "finished_at": at} for at in hours])
    print(f"database: {home.database.stat().st_size / 1e6:.0f} MB, {SNAPSHOTS + 1} snapshots")


def copy_snapshot(connection: sa.Connection, original: Mapping[str, Any], number: int, at: datetime) -> None:
    """Issue a snapshot again under another number."""
    document = {**original["document"], "id": number}
    copy = {**original, "id": number, "digest": f"{number:064d}", "issued_at": at, "document": document}
    connection.execute(sa.insert(snapshots).values(copy))


@contextlib.contextmanager
def waiting_clients(home: Home, port: int, server: int) -> Iterator[None]:
    """Let 2,000 streams and 2,000 long polls wait. Print how soon they get a new snapshot, and the memory."""
    line = [sys.executable, str(Path(__file__).with_name("waiting.py")), str(port)]
    clients = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
    lines = iter(clients.stdout or ())
    print(f"streams and long polls: {next(lines).strip()}")
    try:
        for round_ in ("before", "after"):
            for _ in range(3):
                number, issued_at = issue_copy(home), time.monotonic()
                while (arrival := json.loads(next(lines)))["snapshot_id"] != number:
                    pass
                last, median = (arrival[name] - issued_at for name in ("last", "median"))
                print(f"a new snapshot reaches the last of 4,000 clients in {last:.2f} s, the median in {median:.2f} s")
                time.sleep(1)
            if round_ == "before":
                yield
        print(f"memory of the web process beside them: {peak_memory(descendants(server)):.0f} MB at most")
    finally:
        clients.kill()
        clients.wait()


def issue_copy(home: Home) -> int:
    """Issue the newest snapshot once more, note it as a change, and return its number."""
    with Store.of(home).writing() as connection:
        newest = next(connection.execute(sa.select(snapshots).order_by(snapshots.c.id.desc()).limit(1)).mappings())
        number = int(newest["id"]) + 1
        copy_snapshot(connection, newest, number, datetime.now(UTC))
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one()
        change_feed.snapshot_issued(connection, row, newest["document"], datetime.now(UTC))
    return number


def run_vigie(home: Home, *arguments: str, **environment: str) -> None:
    """Run a `vigie` command on a home."""
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), *arguments]
    subprocess.run(line, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves


@contextlib.contextmanager
def vigie_web(home: Home, port: int, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `vigie web` on a home."""
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), "web", "--port", str(port)]
    line += ["--workers", str(workers)]
    server = subprocess.Popen(line, env=os.environ | {"VIGIE_ACCESS_LOG_PER_SECOND": "0"})  # noqa: S603 - ourselves
    try:
        yield server
    finally:
        server.terminate()
        server.wait(20)


def wait_for_scores(port: int) -> float:
    """Wait for the first response with scores, and return the time that it took [s]."""
    started = time.perf_counter()
    while True:
        with contextlib.suppress(OSError):
            if get(port, PATH)[0] == 200:
                return time.perf_counter() - started
        time.sleep(0.01)


@contextlib.contextmanager
def nginx_server(folder: Path, vigie_port: int) -> Iterator[int]:
    """Run nginx with the scores of Vigie in a file, plain and compressed, under the same headers; yield its port."""
    (folder / "files" / "v1").mkdir(parents=True)
    folder.parent.chmod(0o755)
    _, headers, body = get(vigie_port, PATH)
    port, file = free_port(), folder / "files" / PATH[1:]
    file.write_bytes(body)
    Path(f"{file}.gz").write_bytes(gzip.compress(body, 6, mtime=0))
    header_lines = "".join(
        f'add_header {name} "{headers[name].replace(chr(34), "")}"; ' for name in SHARED_HEADERS if name != "etag"
    )
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(root=folder, port=port, headers=f"etag on; {header_lines}"))
    line = ["nginx", "-c", str(settings), "-e", str(folder / "error.log")]
    server = subprocess.Popen(line)  # noqa: S603 - as the operator installed it
    try:
        while True:
            with contextlib.suppress(OSError):
                if get(port, PATH)[2] == body:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def recompute_loop(home: Home) -> Iterator[None]:
    """Run `vigie recompute` in a loop, each time with other bands, so that each run issues a snapshot."""
    stop, finished = threading.Event(), [0]

    def loop() -> None:
        for number in itertools.count(1):
            if stop.is_set():
                return
            bands = {**DEFAULT_BANDS, "low": 10 + number / 1000}
            run_vigie(home, "recompute", VIGIE_BANDS=json.dumps(bands))
            finished[0] += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        print(f"recomputes meanwhile: {finished[0]}")


def print_speeds(title: str, vigie_port: int, nginx_port: int, seconds: int, rounds: int) -> None:
    """Measure both servers in turn, and print medians and ratios."""
    table = Table(
        "", "nginx /s", "Vigie /s", "ratio", "nginx p99 ms", "Vigie p99 ms", "ratio", title=f"{PATH}, {title}"
    )
    gzipped = {"Accept-Encoding": "gzip"}
    for response, headers, conditional in (("200", {}, False), ("200 gzip", gzipped, False), ("304", {}, True)):
        measured: dict[int, list[Speed]] = {nginx_port: [], vigie_port: []}
        for _ in range(rounds):
            for port, speeds in measured.items():
                tag = {"If-None-Match": get(port, PATH)[1]["etag"]} if conditional else {}
                speeds.append(run_wrk(port, headers | tag, seconds))
        nginx, vigie = (
            Speed(*(statistics.median(getattr(speed, part) for speed in measured[port]) for part in ("rate", "p99")))
            for port in (nginx_port, vigie_port)
        )
        table.add_row(
            response,
            *(f"{nginx.rate:,.0f}", f"{vigie.rate:,.0f}", f"{vigie.rate / nginx.rate:.2f}"),
            *(f"{nginx.p99:.2f}", f"{vigie.p99:.2f}", f"{vigie.p99 / nginx.p99:.1f}"),
        )
    terminal.console().print(table)


def run_wrk(port: int, headers: dict[str, str], seconds: int) -> Speed:
    """Run one round of wrk."""
    line = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{PATH}"]
    for name, value in headers.items():
        line += ["-H", f"{name}: {value}"]
    output = subprocess.run(line, capture_output=True, text=True, check=True).stdout  # noqa: S603 - as installed
    (p99, unit), (rate,) = (
        re.findall(r"99%\s+([\d.]+)(us|ms|s)", output)[0],
        re.findall(r"Requests/sec:\s+([\d.]+)", output),
    )
    return Speed(float(rate), float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


def print_recompute(home: Home, port: int) -> None:
    """Print the time from new events in the archive to a served snapshot of them, with a scheduler that runs."""
    times, memory = [], 0.0
    with vigie_scheduler(home) as scheduler:
        for number in range(1, 8):
            before = snapshot_id(port)
            run_vigie(home, "ingest", "simulated", "--seed", str(load(home).simulated_seed + number))
            known_at = (home.archive / "manifest.json").stat().st_mtime
            while snapshot_id(port) == before:
                if number == 1:  # reading the memory of a process delays it: this time does not count
                    memory = max(
                        memory, sum(shared_memory(pid) for pid in [scheduler.pid, *descendants(scheduler.pid)])
                    )
                time.sleep(0.01)
            times.append(time.time() - known_at)
            wait_until_idle(home)
    times = times[1:]
    print(f"new events to a new snapshot served: {statistics.median(times):.2f} s, {max(times):.2f} s at most")
    print(f"memory of scheduler, fork server and children meanwhile: {memory:.0f} MB at most")


@contextlib.contextmanager
def vigie_scheduler(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """Run `vigie scheduler` on a home, and wait until its first runs have ended."""
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), "scheduler"]
    scheduler = subprocess.Popen(line, stderr=subprocess.DEVNULL)  # noqa: S603 - ourselves
    try:
        wait_until_idle(home)
        yield scheduler
    finally:
        scheduler.terminate()
        scheduler.wait(20)


def wait_until_idle(home: Home) -> None:
    """Wait until every job of the scheduler has run, and none is running."""
    store = Store.of(home)
    rows: list[sa.Row[tuple[str | None]]] = []
    while not rows or any(row.status in (None, "running") for row in rows):
        time.sleep(0.2)
        with store.reading() as connection:
            rows = list(connection.execute(sa.select(jobs.c.status)))
    store.close()


def snapshot_id(port: int) -> int:
    """Return the number of the snapshot in service."""
    return int(json.loads(get(port, PATH)[2])["snapshot_id"])


def print_addresses(home: Home, port: int) -> None:
    """Print the median time of every GET address, computed from the database and from the response cache."""
    table = Table("", "status", "computed, ms", "cached, ms", title="every address: median times")
    for path in addresses(home):
        computed, cached = [], []
        for number in range(15):
            computed.append(timed(partial(get, port, path, {"If-Match": f'"{number}"'})))  # bypasses the response cache
            cached.append(timed(partial(get, port, path)))
        status = str(get(port, path)[0])
        table.add_row(path, status, *(f"{1e3 * statistics.median(times):.1f}" for times in (computed, cached)))
    terminal.console().print(table)


def addresses(home: Home) -> list[str]:
    """Return all GET addresses, with an existing value for each name in them."""
    values = {"iso3": load(home).region, "number": "1", "a": "1", "b": "2"}
    rules = [rule for rule in create_app(home).url_map.iter_rules() if "GET" in (rule.methods or ())]
    known = [rule for rule in rules if rule.arguments <= values.keys() and rule.rule != "/v1/stream"]
    return sorted(re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda name: values[name[1]], rule.rule) for rule in known)


def timed(work: Callable[[], object]) -> float:
    """Return the time of some work [s]."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """Request a path, and return status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def descendants(pid: int) -> list[int]:
    """Return the child processes of a process, and their children."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def peak_memory(pids: list[int]) -> float:
    """Return the largest resident memory that one of these processes has had [MB]."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return max(int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) / 1e3 for text in status)


def resident_memory(pid: int) -> float:
    """Return the resident memory of a process [MB]."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1e3


def shared_memory(pid: int) -> float:
    """Return the proportional memory of a process [MB]: pages that several processes share count in parts."""
    try:
        (kilobytes,) = re.findall(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError, ValueError):  # it has ended meanwhile
        return 0.0
    return int(kilobytes) / 1e3


def free_port() -> int:
    """Return a port that is not in use."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
