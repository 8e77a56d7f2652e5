"""Measure an ingest of UCDP events: time and peak memory, against pandas reading 17 columns of the same file.

`python benchmarks/ingest.py [--rows 418000] [--tenfold]` prints a table. The events are simulated, in the layout of 49
columns and with texts as long as real ones. Each step is a process of its own. Further lines show a query of the
archive, `vigie --version` (the start alone), and the ingest of a new month.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from child_process import HEADINGS, Cost, print_cost, run_process, run_python, run_vigie

ROWS, TENFOLD = 418_000, 10
COLUMNS_READ = (
    "id country_id date_start date_end date_prec latitude longitude where_prec type_of_violence dyad_new_id side_a "
    "side_b best high low deaths_civilians adm_1"
)
SPAN, NEXT_SPAN = "*:1989-01..2025-12", "*:2026-01..2026-01"

WRITE_EVENTS = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.compute as pc
from pyarrow import csv
from riskmodel.months import month
from riskmodel.sources.simulated import simulate
from riskmodel.sources.ucdp_layout import GED_COLUMNS

target, rows, last, newest, first_id = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])
WORDS = np.array("A man was killed, witnesses said; the army spoke of five wounded near the market".split())
rng = np.random.default_rng(1)

def texts(mean):
    'Texts of a mean length [words]; a few have quotes, commas and line breaks, which a parser must handle.'
    pool = np.array([" ".join(rng.choice(WORDS, 1 + rng.geometric(6 / mean))) for _ in range(5000)], dtype=object)
    pool[::40] += ' "said, and said"'
    pool[::90] += "\\nand on"
    return pool

def lengthened(part):
    for name, mean in (("source_article", 60), ("source_headline", 30), ("where_description", 15)):
        more = pa.array(texts(mean)[rng.integers(5000, size=part.num_rows)])
        joined = pc.binary_join_element_wise(pc.cast(part[name], pa.string()), more, " ")
        part = part.set_column(part.column_names.index(name), name, joined)
    adm_1 = pc.binary_join_element_wise(part["country"], part["adm_1"], " ")
    return part.set_column(part.column_names.index("adm_1"), "adm_1", adm_1)

parts, number, seed = [], 0, 0
while number < min(rows, 418_000):
    seed += 1
    one = target.with_suffix(f".{seed}.gz")
    simulate(one, seed=seed, last=month(last))
    table = csv.read_csv(one, parse_options=csv.ParseOptions(newlines_in_values=True),
                         convert_options=csv.ConvertOptions(column_types=dict.fromkeys(GED_COLUMNS, pa.string())))
    one.unlink()
    if newest == "newest":
        table = table.filter(pc.starts_with(table["date_start"], last))
    parts.append(lengthened(table))
    number += table.num_rows
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

READ_WITH_PANDAS = f"import sys, pandas; pandas.read_csv(sys.argv[1], usecols={COLUMNS_READ.split()!r})"

QUERY_ARCHIVE = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from riskmodel.events.archive import Archive
started = time.perf_counter()
view = Archive(Path(sys.argv[1])).view(as_of=datetime(2026, 6, 30, tzinfo=UTC))
observed = view.outcomes()
events = view.events(["iso3", "date_start", "date_end", "date_prec", "type_of_violence", "deaths"])
seconds = time.perf_counter() - started
print(f"{seconds} {events.num_rows} {np.nansum(observed.deaths['all']):.0f}")
"""


def measure(folder: Path, rows: int, repeats: int) -> Cost:
    """Ingest one file of so many rows, and a new month after it; print the cost of each step, return the ingest's."""
    events, new_month = folder / f"{rows}.csv", folder / f"{rows}-new-month.csv"
    run_python(WRITE_EVENTS, events, rows, "2025-12", "all", 900_000_001)
    run_python(WRITE_EVENTS, new_month, 1_500, "2026-01", "newest", 950_000_001)
    print(f"\n{rows:,} rows, {events.stat().st_size / 1e6:,.0f} MB")
    print(HEADINGS)

    homes = [folder / f"home-{rows}-{repeat}" for repeat in range(repeats)]
    readings, ingests = [], []
    for home in homes:  # in turn, so that both see the same load of the machine
        readings.append(run_process(sys.executable, "-c", READ_WITH_PANDAS, events))
        ingests.append(run_vigie(home, "ingest", "ucdp", events, "--covers", SPAN, "--release", "26.1"))
    reading, ingest = min(readings), min(ingests)
    print_cost("pandas.read_csv of 17 columns", reading)
    print_cost("vigie ingest ucdp", ingest, f"{ingest.seconds / reading.seconds:.2f} x the time of pandas")

    queries = [run_python(QUERY_ARCHIVE, homes[-1] / "archive") for _ in homes]
    query = min(queries, key=lambda cost: float(cost.output.split()[0]))
    seconds, number, deaths = query.output.split()
    note = f"{float(seconds):.2f} s without the start of the process"
    print_cost("outcomes and events as of a moment", query, note)
    if int(number) != rows:
        raise SystemExit(f"the archive has {number} of {rows} events")
    print(f"  {int(number):,} events, {int(deaths):,} deaths")

    print_cost("vigie --version", min(run_vigie(homes[-1], "--version") for _ in homes))
    new_month_line = ("ingest", "ucdp", new_month, "--covers", NEXT_SPAN, "--release", "26.0.1")
    print_cost("vigie ingest ucdp, a new month of 1,500 rows", min(run_vigie(home, *new_month_line) for home in homes))
    events.unlink()
    return ingest


def main() -> None:
    """Measure the size of GED 26.1, and ten times that with `--tenfold`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each process; the shortest counts")
    parser.add_argument("--tenfold", action="store_true", help="also measure ten times the rows: is the cost linear?")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        once = measure(Path(folder), arguments.rows, arguments.repeats)
        if arguments.tenfold:
            ten = measure(Path(folder), TENFOLD * arguments.rows, 1)
            elapsed, processor = ten.seconds / once.seconds, ten.cpu_seconds / once.cpu_seconds
            print(f"\n{TENFOLD} times the rows: {elapsed:.1f} times the time, {processor:.1f} times the processor time")


if __name__ == "__main__":
    main()
