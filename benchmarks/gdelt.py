"""Measure a pull of GDELT events: time and peak memory, against the memory that is allowed.

`python benchmarks/gdelt.py [--rows 50000000]` prints the figures, and exits with 1 above 4 GiB. Files like the
daily ones of GDELT, of a million simulated rows each, are served on loopback and pulled into an archive by a process of
its own. Five files are different; the days use them in turn.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import threading
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from child_process import run_python

ROWS, ROWS_PER_DAY, DIFFERENT_FILES = 50_000_000, 1_000_000, 5
ALLOWED_MB = 4 << 10

WRITE_FILE = """
import sys, zipfile
import numpy as np, pyarrow as pa
from pyarrow import csv
from riskmodel import geography
from riskmodel.sources.gdelt import DAILY

path, rows, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
fips = np.array([*geography.iso3_by_fips(), "", "XX"])
weights = rng.pareto(1, fips.size) + 0.01
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
    columns[str(DAILY.country)] = pa.array(rng.choice(fips, size, p=weights / weights.sum()))
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
from riskmodel.sources.gdelt import QUAD_CLASSES, current_counts
from riskmodel.sources.gdelt_pull import pull

home, base, since = Path(sys.argv[1]), sys.argv[2], date.fromisoformat(sys.argv[3])
archive = Archive(home / "archive")
pull(archive, Client(), home / "downloads", base=base, since=since, now=datetime.now(UTC))
table = current_counts(archive.view())
print(table.num_rows, sum(sum(table[name].to_pylist()) for name in QUAD_CLASSES))
"""


class SilentHandler(SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Write the files, pull them, and print rows, seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=n) for n in range(1, max(1, rows // ROWS_PER_DAY) + 1)]
    rows_per_day = min(rows, ROWS_PER_DAY)
    with tempfile.TemporaryDirectory() as folder:
        site, home = Path(folder) / "site", Path(folder) / "home"
        size = publish(site, days, rows_per_day)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cost = run_python(PULL, home, f"http://127.0.0.1:{server.server_port}", days[-1])
        server.shutdown()
    counts, events = map(int, cost.output.split())
    total = rows_per_day * len(days)
    print(f"{total:,} rows in {len(days)} files, {size / 1e9:.1f} GB unpacked")
    print(f"{counts:,} counts of a country and a day, with {events:,} events")
    print(f"{cost.seconds:.0f} s, {total / cost.seconds:,.0f} rows/s, peak memory {cost.peak_mb:,.0f} MiB")
    sys.exit(cost.peak_mb > ALLOWED_MB)


def publish(site: Path, days: list[date], rows: int) -> int:
    """Write a site like GDELT's, with a daily file for each day, and return their unpacked size [bytes]."""
    for name in ("events", "gdeltv2"):
        (site / name).mkdir(parents=True)
    files = [site / f"{n}.zip" for n in range(min(DIFFERENT_FILES, len(days)))]
    sizes = [int(run_python(WRITE_FILE, path, rows, n).output) for n, path in enumerate(files)]
    digests = [md5(path) for path in files]
    lines = []
    for n, day in enumerate(days):
        name = f"{day:%Y%m%d}.export.CSV.zip"
        os.link(files[n % len(files)], site / "events" / name)
        lines.append(f"{digests[n % len(files)]}  {name}")
    (site / "events" / "md5sums").write_text("\n".join(lines) + "\n")
    latest = f"{days[0] - timedelta(days=1):%Y%m%d}000000.export.CSV.zip"
    (site / "gdeltv2" / "lastupdate.txt").write_text(f"1 {digests[0]} http://data.gdeltproject.org/gdeltv2/{latest}\n")
    return sum(sizes[n % len(sizes)] for n in range(len(days)))


def md5(path: Path) -> str:
    """Return the MD5 of a file, as GDELT publishes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


if __name__ == "__main__":
    main()
