"""How long training and back-tests take: `python benchmarks/backtest.py [--windows 10] [MONTHLY.csv.gz]`.

The archive is made of a country-month table (by default the shared one of 191 countries). It prints three tables, each
with its reference from the same run:

- the back-test of the world by one thread in one process; by one process whose forest has its two threads, as without
  `--jobs`; and by `--jobs 2`, two processes of one thread each. One thread is the reference: the second row is what
  `--jobs 2` has to be worth more than, for it uses both cores as well.
- one origin of the world, each in a process of its own with its peak memory: indicators, model and forecast; the same
  with all that `vigie train` finds out beside (scores of the year before, who speaks of escalation). The reference is
  scikit-learn's own forest fitted to the same rows.
- the forecast of the region from a loaded bundle; the reference is that of conflictology12.

Run it where nothing else runs: a process that shares the two cores with others measures the others.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import parallel_config
from sklearn.ensemble import RandomForestRegressor
from threadpoolctl import threadpool_limits

from riskmodel import bundle, geography
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.component import REQUIRED_MONTHS
from riskmodel.forecasting.forest import MIN_KNOWN_SHARE, Forest
from riskmodel.forecasting.paths import following_paths
from riskmodel.forecasting.pool import served_model
from riskmodel.home import Home
from riskmodel.outcomes import CountryMonths
from training import fit
from training.backtest_runner import Backtest, build_inputs, build_panel
from training.windows import challenge_windows
from training.workers import Workers

TABLE = Path(os.environ.get("VIGIE_SHARED", "../shared")) / "data" / "monthly_state_based_1989_2022.csv.gz"
OUTCOME, SEED, FOCUS = "state_based", 1, "MLI"
RUNS = 20
WAYS = {
    "one thread (reference)": ("one", Workers()),
    "one process, two threads": ("two", Workers()),
    "--jobs 2": ("jobs", Workers(2)),
}


def main() -> None:
    """Print what back-tests, training and a forecast cost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("table", nargs="?", type=Path, default=TABLE)
    options.add_argument("--windows", type=int, default=10, help="calendar years up to the last that is known")
    options.add_argument("--measure", help=argparse.SUPPRESS)
    options.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.measure:
        print(json.dumps(measured(asked.measure, Home(asked.home), asked.windows)))
        return
    with tempfile.TemporaryDirectory() as folder:
        home = ["--home", folder]
        command = [sys.executable, "-m", "riskmodel", *home, "ingest", "monthly", str(asked.table)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - ourselves
        report(home, asked.windows)


def report(home: list[str], windows: int) -> None:
    """Each measure in a process of its own."""
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; {windows} windows of the world, leads 3-14")
    print(f"{'back-test':<28}{'seconds':>9}{'times as fast':>15}")
    reference = 0.0
    for name, (way, _) in WAYS.items():
        seconds = alone(way, home, windows)["seconds"]
        reference = reference or seconds
        print(f"{name:<28}{seconds:>9.1f}{reference / seconds:>15.2f}", flush=True)
    print(f"\n{'one origin of the world':<28}{'seconds':>9}{'of a core':>11}{'peak MB':>9}")
    for name, way in (
        ("reference: forest alone", "forest"),
        ("model fitted, forecast", "model"),
        ("vigie train, forecast", "train"),
    ):
        cost = alone(way, home, windows)
        print(f"{name:<28}{cost['seconds']:>9.1f}{cost['cpu']:>11.1f}{cost['peak']:>9.0f}", flush=True)
    cost = alone("forecast", home, windows)
    print(f"\n{'region from a loaded bundle':<28}{'ms':>9}")
    print(f"{'conflictology12 (reference)':<28}{cost['reference'] * 1000:>9.1f}")
    print(f"{'forecast':<28}{cost['seconds'] * 1000:>9.1f}")


def alone(what: str, home: list[str], windows: int) -> dict[str, float]:
    """What it costs in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "--windows", str(windows), *home]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 - ourselves
    return found


def measured(what: str, home: Home, windows: int) -> dict[str, float]:
    """Seconds, those of a core [s], and the peak memory of the process [MB]."""
    view = Archive(home.archive).view()
    if what == "forecast":
        return from_a_bundle(view, home)
    if what == "forest":
        return forest_alone(view) | {"peak": peak()}
    began, worked = time.perf_counter(), time.process_time()
    if what == "model":
        panel = build_panel(view, history(view), OUTCOME)
        served_model(SEED).fit(panel, panel.months[-1]).forecast(panel, panel.months[-1])
    elif what == "train":
        trained = train(view)
        trained.model.forecast(build_panel(view, history(view), OUTCOME), history(view).months[-1])
    else:
        tried(view, home, what, windows)
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked, "peak": peak()}


def history(view: View) -> CountryMonths:
    """The deaths of all countries to the last month of the archive."""
    outcomes = view.outcomes()
    return outcomes.histories(OUTCOME, outcomes.months[-1])


def tried(view: View, home: Home, way: str, windows: int) -> None:
    """A back-test of the latest years; each way has a home of its own for its results."""
    last = int(str(view.outcomes().months[-1])[:4])
    trial, asked = Backtest(view, OUTCOME, served_model(SEED), SEED), challenge_windows(f"{last - windows + 1}:{last}")
    workers = next(workers for name, workers in WAYS.values() if name == way)
    place = Home(home.root / way)
    if way == "one":
        with parallel_config("sequential"), threadpool_limits(1):
            trial.run(place, asked, workers)
    else:
        trial.run(place, asked, workers)


def train(view: View) -> fit.FittedModel:
    """What `vigie train` makes of the last month of the archive: model, scores, and who speaks of escalation."""
    observed = history(view)
    return fit.fit_model(
        observed,
        OUTCOME,
        observed.months[-1],
        seed=SEED,
        data_digest=view.digest,
        simulated=view.simulated,
        trained_at="",
        inputs=build_inputs(view, observed, OUTCOME),
    )


def forest_alone(view: View) -> dict[str, float]:
    """The same two of scikit-learn's forest with the settings of ours, on the rows that ours learns from [s]."""
    panel, ours = build_panel(view, history(view), OUTCOME), Forest()
    paths = following_paths(panel.deaths)
    rows = panel.values[:, : paths.shape[1]]
    known = ~np.isnan(paths).any(axis=-1) & (np.arange(paths.shape[1]) >= REQUIRED_MONTHS - 1)
    columns = (~np.isnan(rows[known])).mean(axis=0) >= MIN_KNOWN_SHARE
    forest = RandomForestRegressor(
        n_estimators=ours.trees,
        min_samples_leaf=ours.leaf,
        max_features=min(ours.features, int(columns.sum())),
        max_samples=ours.sample,
        n_jobs=ours.jobs,
    )
    began, worked = time.perf_counter(), time.process_time()
    forest.fit(rows[known][:, columns], np.log1p(paths[known]))
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked}


def from_a_bundle(view: View, home: Home) -> dict[str, float]:
    """Seconds of the region's forecast by a loaded bundle and by conflictology12, the indicators being there."""
    models = home.root / "models of the benchmark"
    model, escalation, provenance = train(view)
    loaded = bundle.load(models / bundle.save(model, provenance, models, escalation)).model
    panel = build_panel(view, history(view), OUTCOME).only(geography.region(FOCUS).members)
    return {
        "seconds": shortest(lambda: loaded.forecast(panel, panel.months[-1])),
        "reference": shortest(lambda: Conflictology().forecast(panel, panel.months[-1])),
    }


def shortest(work: Callable[[], object]) -> float:
    """The shortest of some runs [s]."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def peak() -> float:
    """Peak memory of this process [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
