"""Measure the computation of a region's snapshot, with and without drivers, against reading the region's events.

`python benchmarks/snapshot.py [--rows 418000]` prints a table. The events are those of `benchmarks/ingest.py`, in every
country; the model is trained on all of them. Ingest, training and recompute are processes of their own; the parts of a
snapshot are timed in a process that has run them before.
"""

import argparse
import tempfile
from pathlib import Path

from child_process import HEADINGS, print_cost, run_python, run_vigie
from ingest import ROWS, SPAN, WRITE_EVENTS

TIME_PARTS = """
import sys, time, resource
from pathlib import Path
from riskmodel import geography
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.indicators.read_inputs import read_events
from service.jobs import snapshot_content
from service.jobs.served_models import ServedModels
from service.settings import load
home = Home(Path(sys.argv[1]))
settings = load(home)
best = {}
def timed(name, work):
    for _ in range(4):  # the first run fills the caches that a running service has filled
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        best[name] = min(best.get(name, seconds), seconds) if name in best else float("inf")
def open_inputs():
    view = Archive(home.archive).view()
    return view, ServedModels.of_home(home, simulated=view.simulated).of_view(view, settings.region)
def read():
    view, _ = open_inputs()
    members = geography.region(settings.region).members
    read_events(view, view.outcomes().only(members))
def build(drivers):
    snapshot_content.build(*open_inputs(), settings.model_copy(update={"drivers": drivers}))
timed("read", read)
timed("without", lambda: build(False))
timed("with", lambda: build(True))
print(*best.values(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    """Make the archive and the model, then time the parts of a snapshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        events, home = Path(folder, "events.csv"), Path(folder, "home")
        run_python(WRITE_EVENTS, events, rows, "2025-12", "all", 900_000_001)
        print(f"{rows:,} events\n{HEADINGS}")
        ingest = run_vigie(home, "ingest", "ucdp", events, "--covers", SPAN, "--release", "26.1")
        print_cost("vigie ingest ucdp", ingest)
        events.unlink()
        print_cost("vigie train", run_vigie(home, "train"))
        print_cost("vigie recompute, a process of its own", run_vigie(home, "recompute"))
        reading, without_drivers, with_drivers, peak = map(float, run_python(TIME_PARTS, home).output.split())
    print(f"\nin a process that has run before (peak {peak:,.0f} MB):")
    for name, seconds in (
        ("reading the region's events only", reading),
        ("a snapshot without drivers", without_drivers),
        ("a snapshot with drivers and neighbour effects", with_drivers),
    ):
        print(f"{name:<46}{seconds:>9.2f} s{seconds / reading:>8.1f} x the reading")


if __name__ == "__main__":
    main()
