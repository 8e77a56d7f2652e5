"""How fast Vigie answers who polls it, beside nginx serving the same bytes as a file: `python benchmarks/serve.py`.

Needs `nginx` and `wrk` (Debian packages of these names). Both servers run on this machine, asked in turn with 32
connections, without and with a `vigie recompute` loop beside; the ratio of the medians is what counts. Then every other
address from a database of ten years of snapshots, the start, a recompute from end to end, and the memory. Invented
snapshots, a SIMULATED archive.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from rich.table import Table

from riskmodel.cli import terminal
from riskmodel.home import Home
from service.cli.app import create_app
from service.jobs.bootstrap import lacking
from service.settings import DEFAULT_BANDS, load
from service.store.database import Store
from service.store.tables import runs, snapshots

PATH = "/v1/scores"
CONNECTIONS = 32
WEEKS = 520
"""How many snapshots there are: one a week for ten years."""

SENT = ("content-security-policy", "x-content-type-options", "referrer-policy", "vary", "etag", "cache-control")
"""What nginx sends as Vigie does; the rest both send in their own words."""

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
    """What wrk says: answers a second, and how long the slowest hundredth waits at least [ms]."""

    rate: float
    p99: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="how long each round asks each server")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="how many processes of Vigie answer")
    asked = parser.parse_args()
    for program in ("nginx", "wrk"):
        if not shutil.which(program):
            sys.exit(f"needs {program}: apt-get install {program}")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        fill(home)
        port = free_port()
        with vigie(home, port, asked.workers) as server:
            print(f"start to first answer: {first_answer(port):.2f} s")
            with nginx(Path(folder) / "nginx", port) as other:
                show_speed("alone", port, other, asked.seconds, asked.rounds)
                with recomputing(home):
                    show_speed("beside a recompute loop", port, other, asked.seconds, asked.rounds)
            show_recompute(home, port)
            show_addresses(home, port)
            memory = [resident(pid) for pid in descendants(server.pid)]
            print(f"memory of a worker after that: {max(memory):.0f} MB")


def fill(home: Home) -> None:
    """A SIMULATED archive, its model and its snapshot, ten years of copies of that, and hourly runs."""
    settings = load(home)
    for what, arguments in lacking(home, settings, datetime.now(UTC)):
        print(f"preparing {what}")
        command(home, *arguments)
    command(home, "recompute")
    now, store = datetime.now(UTC), Store.of(home)
    with store.writing() as connection:
        issued = dict(connection.execute(sa.select(snapshots)).mappings().one())
        for number in range(2, WEEKS + 2):
            digest, at = f"{number:064d}", now - timedelta(weeks=WEEKS + 1 - number)
            document = {**issued["document"], "id": number}
            copy = {**issued, "id": number, "digest": digest, "issued_at": at, "document": document}
            connection.execute(sa.insert(snapshots).values(copy))
        hours = (now - timedelta(hours=h) for h in range(WEEKS * 7 * 24, 0, -1))
        ours = {"region": settings.region, "status": "unchanged", "snapshot_id": 1}
        connection.execute(sa.insert(runs), [{**ours, "started_at": at, "finished_at": at} for at in hours])
    print(f"database: {home.database.stat().st_size / 1e6:.0f} MB, {WEEKS + 1} snapshots")


def command(home: Home, *arguments: str, **environment: str) -> None:
    """Run a `vigie` command over a home."""
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), *arguments]
    subprocess.run(line, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves


@contextlib.contextmanager
def vigie(home: Home, port: int, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """`vigie web` over a home."""
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), "web", "--port", str(port)]
    line += ["--workers", str(workers)]
    server = subprocess.Popen(line, env=os.environ | {"VIGIE_ACCESS_LOG_PER_SECOND": "0"})  # noqa: S603 - ourselves
    try:
        yield server
    finally:
        server.terminate()
        server.wait(20)


def first_answer(port: int) -> float:
    """Wait for the first answer with scores in it; how long that took [s]."""
    began = time.perf_counter()
    while True:
        with contextlib.suppress(OSError):
            if ask(port, PATH)[0] == 200:
                return time.perf_counter() - began
        time.sleep(0.01)


@contextlib.contextmanager
def nginx(folder: Path, like: int) -> Iterator[int]:
    """nginx with the scores of Vigie in a file, plain and compressed, under the same headers; its port."""
    (folder / "files" / "v1").mkdir(parents=True)
    folder.parent.chmod(0o755)
    _, headers, body = ask(like, PATH)
    port, file = free_port(), folder / "files" / PATH[1:]
    file.write_bytes(body)
    Path(f"{file}.gz").write_bytes(gzip.compress(body, 6, mtime=0))
    sent = "".join(f'add_header {name} "{headers[name].replace(chr(34), "")}"; ' for name in SENT if name != "etag")
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(root=folder, port=port, headers=f"etag on; {sent}"))
    line = ["nginx", "-c", str(settings), "-e", str(folder / "error.log")]
    server = subprocess.Popen(line)  # noqa: S603 - as the operator installed it
    try:
        while True:
            with contextlib.suppress(OSError):
                if ask(port, PATH)[2] == body:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def recomputing(home: Home) -> Iterator[None]:
    """`vigie recompute` again and again, each time with other bands, so that each issues a snapshot."""
    ended, made = threading.Event(), [0]

    def loop() -> None:
        for number in itertools.count(1):
            if ended.is_set():
                return
            bands = {**DEFAULT_BANDS, "low": 10 + number / 1000}
            command(home, "recompute", VIGIE_BANDS=json.dumps(bands))
            made[0] += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        print(f"recomputes meanwhile: {made[0]}")


def show_speed(title: str, ours: int, theirs: int, seconds: int, rounds: int) -> None:
    """Ask both servers in turn, and print medians and ratios."""
    table = Table(
        "", "nginx /s", "Vigie /s", "ratio", "nginx p99 ms", "Vigie p99 ms", "ratio", title=f"{PATH}, {title}"
    )
    coded = {"Accept-Encoding": "gzip"}
    for what, headers, conditional in (("200", {}, False), ("200 gzip", coded, False), ("304", {}, True)):
        found: dict[int, list[Speed]] = {theirs: [], ours: []}
        for _ in range(rounds):
            for port, speeds in found.items():
                tag = {"If-None-Match": ask(port, PATH)[1]["etag"]} if conditional else {}
                speeds.append(wrk(port, headers | tag, seconds))
        other, own = (
            Speed(*(statistics.median(getattr(s, part) for s in found[port]) for part in ("rate", "p99")))
            for port in (theirs, ours)
        )
        figures = (f"{own.rate / other.rate:.2f}", f"{other.p99:.2f}", f"{own.p99:.2f}", f"{own.p99 / other.p99:.1f}")
        table.add_row(what, f"{other.rate:,.0f}", f"{own.rate:,.0f}", *figures)
    terminal.console().print(table)


def wrk(port: int, headers: dict[str, str], seconds: int) -> Speed:
    """One round of wrk."""
    line = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{PATH}"]
    for name, value in headers.items():
        line += ["-H", f"{name}: {value}"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout  # noqa: S603 - as installed
    (p99, unit), (rate,) = (
        re.findall(r"99%\s+([\d.]+)(us|ms|s)", said)[0],
        re.findall(r"Requests/sec:\s+([\d.]+)", said),
    )
    return Speed(float(rate), float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


def show_recompute(home: Home, port: int) -> None:
    """How long it takes from new events in the archive until a snapshot of them is served, by a command of its own."""
    times = []
    for seed in range(1, 6):
        command(home, "ingest", "simulated", "--seed", str(load(home).simulated_seed + seed))
        before, began = snapshot_id(port), time.perf_counter()
        command(home, "recompute")
        while snapshot_id(port) == before:
            time.sleep(0.01)
        times.append(time.perf_counter() - began)
    print(f"new events to a new snapshot served: {statistics.median(times):.1f} s, {max(times):.1f} s at most")


def snapshot_id(port: int) -> int:
    """The snapshot in service."""
    return int(json.loads(ask(port, PATH)[2])["snapshot_id"])


def show_addresses(home: Home, port: int) -> None:
    """The median of every address that is asked with GET, made anew from the database each time."""
    table = Table("", "status", "median ms", "kept, median ms", title="every address, from SQLite and as it is kept")
    for path in addresses(home):
        anew, kept = [], []
        for number in range(15):
            anew.append(timed(partial(ask, port, path, {"If-Match": f'"{number}"'})))  # is always asked of Flask
            kept.append(timed(partial(ask, port, path)))
        status = str(ask(port, path)[0])
        table.add_row(path, status, *(f"{1e3 * statistics.median(times):.1f}" for times in (anew, kept)))
    terminal.console().print(table)


def addresses(home: Home) -> list[str]:
    """All addresses, with something that is there in the place of each name."""
    given = {"iso3": load(home).region, "number": "1", "a": "1", "b": "2"}
    rules = [rule for rule in create_app(home).url_map.iter_rules() if "GET" in (rule.methods or ())]
    known = [rule for rule in rules if rule.arguments <= given.keys() and rule.rule != "/v1/stream"]
    return sorted(re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda name: given[name[1]], rule.rule) for rule in known)


def timed(work: Callable[[], object]) -> float:
    """How long it takes [s]."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return found + [grandchild for child in found for grandchild in descendants(child)]


def resident(pid: int) -> float:
    """The memory that a process holds [MB]."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1e3


def free_port() -> int:
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
