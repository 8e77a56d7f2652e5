"""How fast and how fat an ingest is: `python benchmarks/ingest.py [--rows 418000] [--tenfold]` prints a table.

The events are simulated, in the 49-column layout and with texts as long as the real ones. Every step is a process of
its own, beside one that only lets pandas read 17 of the columns; peak memory is what the system says of each process.
This module imports nothing heavy itself, or its own memory would count as theirs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROWS, TENFOLD = 418_000, 10
COLUMNS = (
    "id country_id date_start date_end date_prec latitude longitude where_prec type_of_violence dyad_new_id side_a "
    "side_b best high low deaths_civilians adm_1"
)
SPAN, NEXT = "*:1989-01..2025-12", "*:2026-01..2026-01"

WRITE = """
import re, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.compute as pc
from pyarrow import csv
from riskmodel.months import month
from riskmodel.sources.simulated import simulate
from riskmodel.sources.ucdp_layout import GED_COLUMNS

target, rows, last, newest, first_id = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])
WORDS = np.array("A man was killed, witnesses said; the army spoke of five wounded near the market".split())
rng = np.random.default_rng(1)

def prose(mean):
    'Texts of some length, a few with what a parser must bear: quotes, commas, line breaks.'
    pool = np.array([" ".join(rng.choice(WORDS, 1 + rng.geometric(6 / mean))) for _ in range(5000)], dtype=object)
    pool[::40] += ' "said, and said"'
    pool[::90] += "\\nand on"
    return pool

def padded(part):
    for name, mean in (("source_article", 60), ("source_headline", 30), ("where_description", 15)):
        more = pa.array(prose(mean)[rng.integers(5000, size=part.num_rows)])
        texts = pc.binary_join_element_wise(pc.cast(part[name], pa.string()), more, " ")
        part = part.set_column(part.column_names.index(name), name, texts)
    adm_1 = pc.binary_join_element_wise(part["country"], part["adm_1"], " ")
    return part.set_column(part.column_names.index("adm_1"), "adm_1", adm_1)

parts, have, seed = [], 0, 0
while have < min(rows, 418_000):
    seed += 1
    one = target.with_suffix(f".{seed}.gz")
    simulate(one, seed=seed, last=month(last))
    table = csv.read_csv(one, parse_options=csv.ParseOptions(newlines_in_values=True),
                         convert_options=csv.ConvertOptions(column_types=dict.fromkeys(GED_COLUMNS, pa.string())))
    one.unlink()
    if newest == "newest":
        table = table.filter(pc.starts_with(table["date_start"], last))
    parts.append(padded(table))
    have += table.num_rows
base = pa.concat_tables(parts)
with target.open("wb") as out:
    out.write((",".join(GED_COLUMNS) + "\\n").encode())
    written = 0
    while written < rows:
        part = base.slice(0, rows - written)
        part = part.set_column(0, "id", pa.array(first_id + written + np.arange(part.num_rows)))
        csv.write_csv(part, out, csv.WriteOptions(include_header=False))
        written += part.num_rows
"""

READ = f"import sys, pandas; pandas.read_csv(sys.argv[1], usecols={COLUMNS.split()!r})"

ASK = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from riskmodel.events.archive import Archive
from riskmodel.events.table import SCHEMA
began = time.perf_counter()
view = Archive(Path(sys.argv[1])).view(as_of=datetime(2026, 6, 30, tzinfo=UTC))
observed = view.outcomes()
events = view.events(["iso3", "date_start", "date_end", "date_prec", "type_of_violence", "deaths"])
took = time.perf_counter() - began
print(f"{took} {events.num_rows} {np.nansum(observed.deaths['all']):.0f}")
"""


class Run(NamedTuple):
    """One process: seconds by the clock, seconds of processor time, peak memory [MB], and what it printed."""

    seconds: float
    processor: float
    peak: float
    out: str


def run(*command: object) -> Run:
    """Run a process to its end. Raises SystemExit with its errors if it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        child = subprocess.Popen([*map(str, command)], stdout=out, stderr=err)  # noqa: S603 - our own commands
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        if child.returncode:
            raise SystemExit(f"{command[0]} left with {child.returncode}: {err.read()}")
        per_mb = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / per_mb, out.read())


def vigie(home: Path, *arguments: object) -> Run:
    """Run `vigie` on a home."""
    return run(sys.executable, "-m", "riskmodel", "--home", home, *arguments)


def measure(folder: Path, rows: int, repeats: int) -> Run:
    """Take one file of so many rows in, and a new month after it; print what each step cost. Returns the ingest."""
    path, newest = folder / f"{rows}.csv", folder / f"{rows}-newest.csv"
    run(sys.executable, "-c", WRITE, path, rows, "2025-12", "all", 900_000_001)
    run(sys.executable, "-c", WRITE, newest, 1_500, "2026-01", "newest", 950_000_001)
    print(f"\n{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
    print(f"{'process':<46}{'seconds':>9}{'processor':>11}{'peak MB':>9}")

    reading, taking = [], []
    for turn in range(repeats):
        reading.append(run(sys.executable, "-c", READ, path))
        home = folder / f"home-{rows}-{turn}"
        taking.append(vigie(home, "ingest", "ucdp", path, "--covers", SPAN, "--release", "26.1"))
    plain, ingest = min(reading), min(taking)
    show("pandas.read_csv of 17 columns", plain)
    show("vigie ingest ucdp", ingest, f"{ingest.seconds / plain.seconds:.2f} x the clock of pandas")

    archive = home / "archive"
    asked = min(
        (run(sys.executable, "-c", ASK, archive) for _ in range(repeats)), key=lambda r: float(r.out.split()[0])
    )
    took, count, deaths = asked.out.split()
    show("as_of to outcomes and the indicators' events", asked, f"{float(took):.2f} s without the process's start")
    if int(count) != rows:
        raise SystemExit(f"{count} of {rows} events are in service")
    print(f"  {int(count):,} events, {int(deaths):,} deaths")

    show("nothing: vigie --version", min(vigie(home, "--version") for _ in range(repeats)))
    month = [
        vigie(folder / f"home-{rows}-{turn}", "ingest", "ucdp", newest, "--covers", NEXT, "--release", "26.0.1")
        for turn in range(repeats)
    ]
    show("vigie ingest ucdp, a new month of 1,500 rows", min(month))
    path.unlink()
    return ingest


def show(what: str, cost: Run, note: str = "") -> None:
    """Print one line of the table."""
    print(f"{what:<46}{cost.seconds:>9.2f}{cost.processor:>11.2f}{cost.peak:>9.0f}  {note}", flush=True)


def main() -> None:
    """Measure the size of GED 26.1, and ten times that if asked."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=ROWS)
    options.add_argument("--repeats", type=int, default=3, help="runs of each process; the shortest counts")
    options.add_argument("--tenfold", action="store_true", help="also ten times the rows: is the cost linear?")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        once = measure(Path(folder), asked.rows, asked.repeats)
        if asked.tenfold:
            ten = measure(Path(folder), TENFOLD * asked.rows, 1)
            clock, processor = ten.seconds / once.seconds, ten.processor / once.processor
            print(
                f"\n{TENFOLD} times the rows take {clock:.1f} times as long ({processor:.1f} times the processor time)"
            )


if __name__ == "__main__":
    main()
