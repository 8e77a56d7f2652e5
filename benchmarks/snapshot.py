"""How long a region's snapshot takes on 418,000 events: `python benchmarks/snapshot.py [--rows 418000]` prints a table.

The events are those of `benchmarks/ingest.py`, in every country; the model is trained on all of them. Beside the
snapshot, with drivers and without, stands what it costs only to read the events it needs from the warm archive.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from ingest import ROWS, SPAN, WRITE, run, show, vigie

TIMED = """
import sys, time, resource
from pathlib import Path
from datetime import UTC, datetime
from riskmodel import assessment, geography
from riskmodel.home import Home
from riskmodel.indicators.gathering import events_of
from service.jobs import recompute
from service.settings import load
home = Home(Path(sys.argv[1]))
settings = load(home)
best = {}
def timed(name, work):
    for _ in range(4):  # the first run warms what a running service has warm
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
        best[name] = min(best.get(name, took), took) if name in best else float("inf")
def read():
    view, bundle = recompute.read(home)
    members = geography.region(settings.region).members
    events_of(view, view.outcomes().only(members))
def content(drivers):
    view, bundle = recompute.read(home)
    recompute.content(view, bundle, settings.model_copy(update={"drivers": drivers}))
timed("read", read)
timed("without", lambda: content(False))
timed("with", lambda: content(True))
print(*best.values(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    """Make the archive and the model, then time the snapshot in a process that is warm."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=ROWS)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        path, home = Path(folder, "events.csv"), Path(folder, "home")
        run(sys.executable, "-c", WRITE, path, asked.rows, "2025-12", "all", 900_000_001)
        print(f"{asked.rows:,} events\n{'process':<46}{'seconds':>9}{'processor':>11}{'peak MB':>9}")
        show("vigie ingest ucdp", vigie(home, "ingest", "ucdp", path, "--covers", SPAN, "--release", "26.1"))
        path.unlink()
        show("vigie train", vigie(home, "train"))
        show("vigie recompute, a process of its own", vigie(home, "recompute"))
        read, without, drivers, peak = map(float, run(sys.executable, "-c", TIMED, home).out.split())
    print(f"\nin a warm process (peak {peak:,.0f} MB):")
    for what, seconds in (
        ("only reading the region's events", read),
        ("a snapshot without drivers", without),
        ("a snapshot with drivers and the matrix of neighbour effects", drivers),
    ):
        print(f"{what:<46}{seconds:>9.2f} s{seconds / read:>8.1f} x the reading")


if __name__ == "__main__":
    main()
