"""Measure what the guard of a refit sees: in usual years, and when the refit has learned from broken data.

`python benchmarks/refit_guard.py [--years 2016:2022] [--outcome all]` takes in the history that ships with Vigie. For
each year it fits the served configuration to the end of the year before and of the year, and prints how the second
compares with the first on the months of the year. Then it breaks what the second learns from, and compares again.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from riskmodel.events.archive import Archive
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.pool import served_model
from riskmodel.indicators.panel import Panel
from riskmodel.outcomes import OUTCOMES
from riskmodel.sources.history import ingest_history
from training import evaluation, gate
from training.backtest_runner import build_panel
from training.windows import Window, service_windows


def broken(panel: Panel) -> Iterator[tuple[str, Panel]]:
    """Yield a panel with each of several faults, which end a year before its last month."""
    deaths, values = panel.deaths, panel.values
    early = np.arange(len(panel.months)) < len(panel.months) - 12
    nothing = np.where(early, 0.0, deaths)
    yield "all earlier deaths lost", replace(panel, deaths=nothing, values=np.where(early[:, None], 0.0, values))
    yield "earlier deaths ten times as high", replace(panel, deaths=np.where(early, 10 * deaths, deaths))
    yield "countries shifted by one", replace(panel, deaths=np.roll(deaths, 1, axis=0))
    yield "months shifted by a year", replace(panel, deaths=np.roll(deaths, 12, axis=1))


def compared(panel: Panel, window: Window, refit: Component, before: Component) -> str:
    """Return what the guard finds, in one line."""
    known = panel.until(window.origin)
    forecasts = [model.forecast(known, window.origin) for model in (refit, before)]
    result = evaluation.score_window(panel, window, ("refit", "before"), lambda _: (forecasts, []))
    checks = gate.guard_checks(result, "refit", "before")
    found = ", ".join(f"{check.score} {check.value:+.1%} ({check.low:+.1%} to {check.high:+.1%})" for check in checks)
    return f"{found}: {'passed' if gate.passes(checks) else 'REFUSED'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", default="2016:2022", help="calendar years, as of vigie backtest --rolling")
    parser.add_argument("--outcome", choices=OUTCOMES, default="all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        list(ingest_history(archive, datetime.now(UTC)))
        view = archive.view()
        windows = service_windows(options.years)
        observed = view.outcomes().with_history(options.outcome, windows[-1].origin)
        panel = build_panel(view, observed, options.outcome)
    before = served_model(1).fit(panel.until(windows[0].origin), windows[0].origin)
    for window in windows:
        end = window.origin + 12
        since = Window(window.name, window.origin, first_lead=1, last_lead=12)
        refit = served_model(1).fit(panel.until(end), end)
        print(f"{window.name}: {compared(panel, since, refit, before)}", flush=True)
        last_before, before = before, refit
    for fault, faulty in broken(panel.until(end)):
        print(f"{fault}: {compared(panel, since, served_model(1).fit(faulty, end), last_before)}", flush=True)


if __name__ == "__main__":
    main()
