"""How fast and how fat GDELT's events are counted: `python benchmarks/gdelt.py [--rows 50000000]` prints the figures.

Files as GDELT's daily ones, of a million simulated rows each, are served on loopback and pulled into an archive by a
process of its own, whose peak memory is what the system says of it. Five files differ; the days take turns with them.
This module imports nothing heavy itself, or its own memory would count as the other's.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

ROWS, A_DAY, DIFFERENT = 50_000_000, 1_000_000, 5
MOST = 4 << 30
"""The memory that is allowed [bytes]."""

WRITE = """
import sys, zipfile
import numpy as np, pyarrow as pa
from pyarrow import csv
from riskmodel import geography
from riskmodel.sources.gdelt import DAILY

path, rows, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
fips = np.array([*geography.iso3_by_fips(), "", "XX"])
often = rng.pareto(1, fips.size) + 0.01
urls = pa.array([f"http://simulated.example/{'of-the-news-' * int(rng.integers(2, 9))}{i}.html" for i in range(20_000)])
places = pa.array([f"Invented town {i}, Invented region {i % 99}, Invented country" for i in range(5000)])
codes = pa.array(["", "", "GOV", "REB", "CVL", "MIL", "COP", "INVGOV", "INVREB"])

def chunk(size):
    'Columns as wide as the real ones; texts are drawn from pools.'
    pick = lambda pool: pool.take(pa.array(rng.integers(len(pool), size=size)))
    columns = {str(i): pick(codes) for i in range(DAILY.fields)}
    for i in (0, 1, 2, 3, 56):
        columns[str(i)] = pa.array(rng.integers(20_000_000, 30_000_000, size=size))
    for i in (4, 30, 34, 39, 40, 46, 47, 53, 54):
        columns[str(i)] = pa.array(np.round(rng.normal(0, 5, size), 4))
    for i in (36, 43, 50):
        columns[str(i)] = pick(places)
    columns[str(DAILY.country)] = pa.array(rng.choice(fips, size, p=often / often.sum()))
    columns[str(DAILY.root)] = pa.array([f"{i:02d}" for i in range(1, 21)]).take(pa.array(rng.integers(20, size=size)))
    columns[str(DAILY.quad)] = pa.array(rng.integers(1, 5, size))
    columns[str(DAILY.mentions)] = pa.array(rng.geometric(0.2, size))
    columns["57"] = pick(urls)
    return pa.table(columns)

options = csv.WriteOptions(include_header=False, delimiter="\\t", quoting_style="none")
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
    with zipped.open("day.export.CSV", "w", force_zip64=True) as out:
        for first in range(0, rows, 100_000):
            csv.write_csv(chunk(min(100_000, rows - first)), out, options)
print(zipfile.ZipFile(path).infolist()[0].file_size)
"""

PULL = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from riskmodel.events.archive import Archive
from riskmodel.sources.client import Client
from riskmodel.sources.gdelt import QUAD_CLASSES, pull, resolved

home, base, since = Path(sys.argv[1]), sys.argv[2], date.fromisoformat(sys.argv[3])
archive = Archive(home / "archive")
pull(archive, Client(), home / "downloads", base=base, since=since, now=datetime.now(UTC))
table = resolved(archive.view())
print(table.num_rows, sum(sum(table[name].to_pylist()) for name in QUAD_CLASSES))
"""


class Ran(NamedTuple):
    """What a process printed, how long it took [s], and its peak memory [bytes]."""

    said: str
    seconds: float
    peak: int


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and keeps no log of it."""

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Write the files, pull them, and print rows, seconds and peak memory. Exit code 1 if it takes too much memory."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=ROWS)
    rows = arguments.parse_args().rows
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=n) for n in range(1, max(1, rows // A_DAY) + 1)]
    a_day = min(rows, A_DAY)
    with tempfile.TemporaryDirectory() as folder:
        site, home = Path(folder) / "site", Path(folder) / "home"
        size = publish(site, days, a_day)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ran = run(PULL, str(home), f"http://127.0.0.1:{server.server_port}", str(days[-1]))
        server.shutdown()
    counts, events = map(int, ran.said.split())
    total = a_day * len(days)
    print(f"{total:,} rows in {len(days)} files, {size / 1e9:.1f} GB unpacked")
    print(f"{counts:,} counts of a country and a day, {events:,} events in them")
    print(f"{ran.seconds:.0f} s, {total / ran.seconds:,.0f} rows/s, peak memory {ran.peak / 2**20:,.0f} MiB")
    sys.exit(ran.peak > MOST)


def publish(site: Path, days: list[date], rows: int) -> int:
    """Write a site like GDELT's with a daily file for each day; gives their size unpacked [bytes]."""
    for name in ("events", "gdeltv2"):
        (site / name).mkdir(parents=True)
    different = [site / f"{n}.zip" for n in range(min(DIFFERENT, len(days)))]
    sizes = [int(run(WRITE, str(path), str(rows), str(n)).said) for n, path in enumerate(different)]
    md5 = [md5_of(path) for path in different]
    lines = []
    for n, day in enumerate(days):
        name = f"{day:%Y%m%d}.export.CSV.zip"
        os.link(different[n % len(different)], site / "events" / name)
        lines.append(f"{md5[n % len(different)]}  {name}")
    (site / "events" / "md5sums").write_text("\n".join(lines) + "\n")
    part = f"{days[0] - timedelta(days=1):%Y%m%d}000000.export.CSV.zip"
    (site / "gdeltv2" / "lastupdate.txt").write_text(f"1 {md5[0]} http://data.gdeltproject.org/gdeltv2/{part}\n")
    return sum(sizes[n % len(sizes)] for n in range(len(days)))


def md5_of(path: Path) -> str:
    """The md5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def run(code: str, *arguments: str) -> Ran:
    """Run Python in a process of its own."""
    started = time.monotonic()
    line = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        said = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"a process ended with {process.returncode}")
    return Ran(said, time.monotonic() - started, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    main()
