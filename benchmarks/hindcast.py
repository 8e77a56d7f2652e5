"""Measure the hindcast of a region, and training as a reference in the same run.

`python benchmarks/hindcast.py [--months 36] [--jobs 2]` makes a home with the history that ships with Vigie. It trains
the models of both outcomes (the reference), computes the hindcasts of both, and computes them again, when nothing is
left to do. It takes three minutes. Run it on a quiet machine.
"""

import argparse
import os
import tempfile
from pathlib import Path

from child_process import run_vigie

TARGET = 180
"""A hindcast of 36 months of Mali's region, both outcomes, must not take longer on two cores [s]."""


def main() -> None:
    """Train, hindcast, and print the time of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    jobs = ("--jobs", arguments.jobs)
    commands = {
        "vigie train (reference)": ("train", "--brief", *jobs),
        f"vigie hindcast, {arguments.months} months": ("hindcast", "--months", arguments.months, *jobs),
        "the same again": ("hindcast", "--months", arguments.months, *jobs),
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run_vigie(home, "ingest", "history")
        print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; target {TARGET} s for 36 months")
        print(f"{'both outcomes':<32}{'seconds':>9}{'ratio':>8}{'MB':>6}")
        reference = 0.0
        for label, command in commands.items():
            seconds = run_vigie(home, *command).seconds
            reference = reference or seconds
            megabytes = sum(path.stat().st_size for path in (home / "hindcasts").rglob("*.parquet")) / 1e6
            print(f"{label:<32}{seconds:>9.1f}{seconds / reference:>8.2f}{megabytes:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
