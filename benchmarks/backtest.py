"""Measure back-tests, training and a forecast, each against a reference from the same run.

`python benchmarks/backtest.py [--windows 10] [MONTHLY.csv.gz]` prints three tables for a table of country-months, by
default the shared one of 191 countries. First: the back-test of the world by one thread (the reference), by one process
with all its threads, and by `--jobs 2`; compare the last two, which both use two cores. Second: the model and a
forecast from one origin, and all of `vigie train`; the reference is scikit-learn's own forest on the same rows. Third:
the region's forecast from a loaded bundle; the reference is conflictology12. Run it on a quiet machine.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from child_process import run_process, run_vigie
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
from training.backtest_runner import Backtest, build_inputs, build_panel
from training.fit import FittedModel, fit_model
from training.windows import challenge_windows
from training.workers import Workers

TABLE = Path(os.environ.get("VIGIE_SHARED", "../shared/data")) / "monthly_state_based_1989_2022.csv.gz"
OUTCOME, SEED, FOCAL_COUNTRY = "state_based", 1, "MLI"
REPEATS = 20
MODES = {
    "one-thread": ("one thread (reference)", Workers()),
    "all-threads": ("one process, all threads", Workers()),
    "jobs": ("--jobs 2", Workers(2)),
}


def main() -> None:
    """Make an archive of the table, and measure; with `--measure`, be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, default=TABLE)
    parser.add_argument("--windows", type=int, default=10, help="the latest calendar years of the table")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, Home(arguments.home), arguments.windows)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run_vigie(Path(folder), "ingest", "monthly", arguments.table)
        print_tables(Path(folder), arguments.windows)


def print_tables(home: Path, windows: int) -> None:
    """Print the three tables; each figure comes from a process of its own."""
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; {windows} windows of the world, leads 3-14")
    print(f"{'back-test':<28}{'seconds':>9}{'speed-up':>10}")
    reference = 0.0
    for mode, (label, _) in MODES.items():
        seconds = measure_in_process(mode, home, windows)["seconds"]
        reference = reference or seconds
        print(f"{label:<28}{seconds:>9.1f}{reference / seconds:>10.2f}", flush=True)
    print(f"\n{'one origin of the world':<28}{'seconds':>9}{'processor':>11}{'peak MB':>9}")
    for label, what in (
        ("reference: forest alone", "forest"),
        ("model fitted, forecast", "model"),
        ("vigie train, forecast", "train"),
    ):
        cost = measure_in_process(what, home, windows)
        print(f"{label:<28}{cost['seconds']:>9.1f}{cost['cpu']:>11.1f}{cost['peak']:>9.0f}", flush=True)
    cost = measure_in_process("forecast", home, windows)
    print(f"\n{'region from a loaded bundle':<28}{'ms':>9}")
    print(f"{'conflictology12 (reference)':<28}{cost['reference'] * 1000:>9.1f}")
    print(f"{'forecast':<28}{cost['seconds'] * 1000:>9.1f}")


def measure_in_process(what: str, home: Path, windows: int) -> dict[str, float]:
    """Run `measure` in a process of its own."""
    cost = run_process(sys.executable, __file__, "--measure", what, "--windows", windows, "--home", home)
    figures: dict[str, float] = json.loads(cost.output)
    return figures


def measure(what: str, home: Home, windows: int) -> dict[str, float]:
    """Return seconds, processor time `cpu` [s] and peak memory of this process [MB]."""
    view = Archive(home.archive).view()
    if what == "forecast":
        return measure_loaded_forecast(view, home)
    if what == "forest":
        return measure_reference_forest(view) | {"peak": peak_memory()}
    started, cpu_started = time.perf_counter(), time.process_time()
    if what == "model":
        panel = build_panel(view, all_histories(view), OUTCOME)
        served_model(SEED).fit(panel, panel.months[-1]).forecast(panel, panel.months[-1])
    elif what == "train":
        panel = build_panel(view, all_histories(view), OUTCOME)
        fit_served_model(view).model.forecast(panel, panel.months[-1])
    else:
        run_backtest(view, home, what, windows)
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu_started,
        "peak": peak_memory(),
    }


def all_histories(view: View) -> CountryMonths:
    """Return the deaths of all countries to the last month of the archive."""
    outcomes = view.outcomes()
    return outcomes.with_history(OUTCOME, outcomes.months[-1])


def run_backtest(view: View, home: Home, mode: str, windows: int) -> None:
    """Back-test the latest years; each mode stores its results in a home of its own."""
    last = int(str(view.outcomes().months[-1])[:4])
    backtest, years = (
        Backtest(view, OUTCOME, served_model(SEED), SEED),
        challenge_windows(f"{last - windows + 1}:{last}"),
    )
    _, workers = MODES[mode]
    results_home = Home(home.root / mode)
    if mode == "one-thread":
        with parallel_config("sequential"), threadpool_limits(1):
            backtest.run(results_home, years, workers)
    else:
        backtest.run(results_home, years, workers)


def fit_served_model(view: View) -> FittedModel:
    """Do what `vigie train` does, up to storing: model, held-out scores, choice of the escalation model."""
    observed = all_histories(view)
    return fit_model(
        observed,
        OUTCOME,
        observed.months[-1],
        seed=SEED,
        data_digest=view.digest,
        simulated=view.simulated,
        trained_at="",
        inputs=build_inputs(view, observed, OUTCOME),
    )


def measure_reference_forest(view: View) -> dict[str, float]:
    """Return seconds and processor time of scikit-learn's forest, with our settings, on our rows."""
    panel, ours = build_panel(view, all_histories(view), OUTCOME), Forest()
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
    started, cpu_started = time.perf_counter(), time.process_time()
    forest.fit(rows[known][:, columns], np.log1p(paths[known]))
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu_started}


def measure_loaded_forecast(view: View, home: Home) -> dict[str, float]:
    """Return seconds of the region's forecast by a loaded bundle and by conflictology12; the indicators are given."""
    models = home.root / "benchmark-models"
    model, escalation, provenance = fit_served_model(view)
    loaded = bundle.load(models / bundle.save(model, provenance, models, escalation)).model
    panel = build_panel(view, all_histories(view), OUTCOME).only(geography.region(FOCAL_COUNTRY).members)
    return {
        "seconds": shortest(lambda: loaded.forecast(panel, panel.months[-1])),
        "reference": shortest(lambda: Conflictology().forecast(panel, panel.months[-1])),
    }


def shortest(work: Callable[[], object]) -> float:
    """Return the shortest time of some runs [s]."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def peak_memory() -> float:
    """Return the peak memory of this process [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
