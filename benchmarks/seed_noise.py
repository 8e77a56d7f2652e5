"""Measure how much the losses of the served configuration differ between seeds: the margin of the gate.

`python benchmarks/seed_noise.py [--seeds 4] [--windows 2018:2022] [--outcome all]` takes in the history that ships with
Vigie, back-tests the configuration with each seed, and prints the differences between each two seeds, by score.
"""

import argparse
import itertools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from riskmodel.events.archive import Archive
from riskmodel.forecasting.pool import served_model
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from riskmodel.sources.history import ingest_history
from training.backtest_runner import Backtest
from training.results import pair_forecasters
from training.windows import challenge_windows
from training.workers import Workers

SCORES = ("ign", "log_crps", "crps")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="number of seeds, from 1 on")
    parser.add_argument("--windows", default="2018:2022", help="calendar years, as of vigie backtest")
    parser.add_argument("--outcome", choices=OUTCOMES, default="all")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--home", type=Path, help="where the back-tests are stored (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(options.home or Path(folder))
        archive = Archive(home.archive)
        if not archive.ingests():
            list(ingest_history(archive, datetime.now(UTC)))
        view, windows = archive.view(), challenge_windows(options.windows)
        results = {
            seed: Backtest(view, options.outcome, served_model(seed), seed).run(home, windows, Workers(options.jobs))
            for seed in range(1, options.seeds + 1)
        }
    largest = dict.fromkeys(SCORES, 0.0)
    for one, other in itertools.combinations(results, 2):
        pair = pair_forecasters(results[one], "pool", results[other], "pool")
        for score in SCORES:
            estimate = pair.difference(score, *pair.forecasters, np.random.default_rng(0)).estimate
            largest[score] = max(largest[score], abs(estimate.value))
            interval = f"{estimate.low:+.2%} to {estimate.high:+.2%}"
            print(f"seed {one} against {other}, {score}: {estimate.value:+.2%} ({interval})")
    for score, value in largest.items():
        print(f"largest difference in {score}: {value:.2%}")


if __name__ == "__main__":
    main()
