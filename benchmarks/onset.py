"""Compare ways to order quiet countries by their risk of onset: the draws, a ridge logistic regression, and their mean.

`python benchmarks/onset.py MONTHLY.csv.gz [--years 2016:2022] [--outcome all]` prints two tables for each outcome, for
the world and for Africa. The file is a table of country-months with the columns `deaths_state_based`, `deaths_all`,
`events_state_based`, `events_non_state` and `events_one_sided`. Onset: a month of 25 deaths within twelve, in a country
without one in 60 months. Forecasts are those of `vigie backtest --rolling`: from every month-end, by a model fitted
each January. The regression is fitted with the model, on quiet months whose next twelve were over by then. It reads all
seven features; those of an archive without event counts; or those that the deaths of the outcome alone give. The base
rate is the share of these months with an onset. Nothing is timed. It takes some minutes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from child_process import run_vigie
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from riskmodel import geography, scoring, windows
from riskmodel.events.archive import Archive
from riskmodel.forecasting.forecast import SERVED_LEADS
from riskmodel.forecasting.pool import served_model
from riskmodel.home import Home
from riskmodel.indicators.panel import Panel
from riskmodel.months import Months
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES, TYPES, CountryMonths
from riskmodel.scoring import Estimate
from riskmodel.targets import BATTLE_DEATHS, QUIET_MONTHS
from riskmodel.windows import YEAR
from training.backtest_runner import build_panel
from training.windows import Window, service_windows

Floats = NDArray[np.float64]

FEATURES = {"all features": 7, "no event counts": 6, "outcome alone": 5}
"""How many of the features, from the first on, are known in which archive."""
STRENGTH = 0.001
"""The inverse of the penalty that shrinks the coefficients towards 0."""
NEVER = 20
"""A country without any month of 25 deaths counts as if its last one was this long before its record [years]."""
SCORES = ("AP", "AUROC", "Brier")
DRAWS = "draws"
RESAMPLES, SEED = 2000, 1


def main() -> None:
    """Make an archive of the table, forecast, and print the tables of each outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--years", type=service_windows, default="2016:2022")
    parser.add_argument("--outcome", choices=OUTCOMES, action="append")
    arguments = parser.parse_args()
    origins = np.concatenate([window.origins for window in arguments.years])
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_vigie(home.root, "ingest", "monthly", arguments.table)
        view = Archive(home.archive).view()
        for outcome in arguments.outcome or OUTCOMES:
            observed = view.outcomes().with_history(outcome, arguments.years[0].origin)
            panel = build_panel(view, observed, outcome)
            values = features(observed, outcome, read_event_counts(arguments.table, observed))
            probabilities = {
                "base rate": base_rates(panel, arguments.years),
                DRAWS: draws_probabilities(panel, arguments.years),
            }
            for known, number in FEATURES.items():
                regression = regression_probabilities(panel, values[..., :number], arguments.years)
                probabilities[f"regression, {known}"] = regression
                probabilities[f"mean, {known}"] = (probabilities[DRAWS] + regression) / 2
            onsets = observed_onsets(panel.deaths)[:, [panel.month_index(origin) for origin in origins]]
            for scope, countries in (("world", panel.iso3), ("Africa", geography.continent("Africa"))):
                rows = np.isin(panel.iso3, countries)
                print(f"\n{scope}, {OUTCOME_LABELS[outcome]['en']}")
                print_table({name: each[rows] for name, each in probabilities.items()}, onsets[rows], origins)


def read_event_counts(table: Path, frame: CountryMonths) -> Floats:
    """Return the events of all types that a table counts, shape (country, month) of a frame [events]."""
    rows = pd.read_csv(table).set_index(["iso3", "month"])
    events = rows[[f"events_{kind}" for kind in TYPES]].sum(axis=1, min_count=len(TYPES)).unstack()
    return events.reindex(frame.iso3, columns=frame.months.astype(str)).to_numpy(dtype=np.float64)


def features(observed: CountryMonths, outcome: str, events: Floats) -> Floats:
    """Return the seven features at the end of each month, shape (country, month, feature)."""
    deaths = observed.deaths[outcome]
    month = np.arange(deaths.shape[1])
    last = np.maximum.accumulate(np.where(deaths >= BATTLE_DEATHS, month, -1), axis=1)
    years = np.where(last >= 0, month - last, NEVER * YEAR + month) / YEAR
    neighbours = np.array([np.isin(observed.iso3, geography.country(code).neighbours) for code in observed.iso3])
    usual_events = windows.total(events, QUIET_MONTHS) * YEAR / QUIET_MONTHS
    return np.stack(
        [
            np.log1p(years),
            last < 0,
            np.log1p(windows.total(deaths, YEAR)),
            np.log1p(windows.total(deaths, QUIET_MONTHS)),
            neighbours.astype(np.float64) @ (windows.total(deaths, YEAR) >= BATTLE_DEATHS),
            np.log1p(windows.total(observed.deaths["all"] - observed.deaths["state_based"], YEAR)),
            np.log1p(windows.total(events, YEAR)) - np.log1p(usual_events),
        ],
        axis=-1,
    )


def observed_onsets(deaths: Floats) -> Floats:
    """Return 1 where an onset followed within twelve months, 0 where none did, of the shape of `deaths`.

    NaN where a country was not quiet, or one of the months is unknown.
    """
    after = sliding_window_view(deaths, SERVED_LEADS, axis=1)[:, 1:]
    onsets = np.full(deaths.shape, np.nan)
    onsets[:, :-SERVED_LEADS] = np.where(np.isnan(after).any(axis=-1), np.nan, after.max(axis=-1) >= BATTLE_DEATHS)
    return np.where(windows.throughout(deaths < BATTLE_DEATHS, QUIET_MONTHS), onsets, np.nan)


def base_rates(panel: Panel, years: tuple[Window, ...]) -> Floats:
    """Return the share of quiet months with an onset, as known when each model was fitted, shape (country, origin)."""
    rates = [np.nanmean(observed_onsets(panel.until(window.origin).deaths)) for window in years]
    by_origin = np.repeat(rates, [window.issues for window in years])
    return np.broadcast_to(by_origin, (len(panel.iso3), by_origin.size))


def draws_probabilities(panel: Panel, years: tuple[Window, ...]) -> Floats:
    """Return the share of draws with an onset, shape (country, origin), by the model that is served."""
    columns = []
    for window in years:
        print(f"{panel.outcome}: fitting the model of {window.name}", file=sys.stderr, flush=True)
        model = served_model(SEED).fit(panel.until(window.origin), window.origin)
        for origin in window.origins:
            draws = model.forecast(panel.until(origin), origin).draws[:, :SERVED_LEADS]
            share = (draws.max(axis=1) >= BATTLE_DEATHS).mean(axis=-1)
            columns.append(np.where(np.isnan(draws).any(axis=(1, 2)), np.nan, share))
    return np.stack(columns, axis=1)


def regression_probabilities(panel: Panel, values: Floats, years: tuple[Window, ...]) -> Floats:
    """Return the probability by the regression on some features, shape (country, origin); NaN where one is unknown.

    Each window has a regression of its own, on the months whose onsets were known at its origin.
    """
    columns = []
    for window in years:
        onsets = observed_onsets(panel.until(window.origin).deaths)
        rows = values[:, : onsets.shape[1]]
        used = ~(np.isnan(onsets) | np.isnan(rows).any(axis=-1))
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
        regression.fit(rows[used], onsets[used] > 0)
        for origin in window.origins:
            now = values[:, panel.month_index(origin)]
            known = ~np.isnan(now).any(axis=-1)
            probability = np.full(len(now), np.nan)
            probability[known] = regression.predict_proba(now[known])[:, 1]
            columns.append(probability)
    return np.stack(columns, axis=1)


def print_table(probabilities: dict[str, Floats], onsets: Floats, origins: Months) -> None:
    """Print the scores of each probability, their differences to those of the draws, and the reliability of the draws.

    Probabilities and onsets are of shape (country, origin). All are scored on the cases that all have.
    """
    onsets = np.where(np.isnan(sum(probabilities.values())), np.nan, onsets)
    known, counts = ~np.isnan(onsets), scoring.bootstrap_counts(len(onsets), np.random.default_rng(SEED), RESAMPLES)
    scored = origins[known.any(axis=0)]
    print(
        f"{known.sum():,} quiet country-months, origins {scored[0]} to {scored[-1]}; an onset followed "
        f"{np.nansum(onsets):.0f}, in {(np.nansum(onsets, axis=1) > 0).sum()} countries; "
        "in brackets: 90 % interval over countries"
    )
    print(f"{'':<36}" + "".join(f"{name:<28}" for name in SCORES) + f"AP by year, {scored[0].astype(object).year} on")
    scores = {name: resampled_scores(each, onsets, counts) for name, each in probabilities.items()}
    for name, of in scores.items():
        by_year = " ".join(precision_by_year(probabilities[name], onsets, origins))
        print(f"{name:<36}" + "".join(formatted(of[score]) for score in SCORES) + by_year)
    for name, of in scores.items():
        if name != DRAWS:
            texts = (formatted(of[score] - scores[DRAWS][score], "+") for score in SCORES)
            print(f"{f'{name} − {DRAWS}':<36}" + "".join(texts))
    classes = scoring.reliability(probabilities[DRAWS][known], onsets[known] > 0)
    print("probability of the draws, and how often an onset followed:")
    for number, probability, frequency in zip(classes.number, classes.probability, classes.frequency, strict=True):
        if number:
            print(f"{number:>10,} country-months: mean {probability:.3f}, observed {frequency:.3f}")


def resampled_scores(probability: Floats, onsets: Floats, counts: NDArray[np.int64]) -> dict[str, Floats]:
    """Return each of `SCORES` in each resample, shape (resample,)."""
    auroc, precision = scoring.bootstrap_ranking(probability, onsets, counts)
    known = ~np.isnan(onsets)
    loss = np.where(known, scoring.brier(probability, onsets > 0), 0.0)
    return {"AP": precision, "AUROC": auroc, "Brier": scoring.ratio_of_sums(loss, known.astype(np.float64), counts)}


def precision_by_year(probability: Floats, onsets: Floats, origins: Months) -> list[str]:
    """Return the average precision in each calendar year of origins that are scored; – without an onset."""
    years, texts = origins.astype("datetime64[Y]"), []
    for year in np.unique(years[(~np.isnan(onsets)).any(axis=0)]):
        known = ~np.isnan(onsets) & (years == year)
        precision = scoring.average_precision(probability[known], onsets[known] > 0)
        texts.append("–" if np.isnan(precision) else f"{precision:.2f}")
    return texts


def formatted(resamples: Floats, sign: str = "") -> str:
    """Write a value with its interval."""
    estimate = Estimate.from_bootstrap(resamples)
    return f"{estimate.value:{sign}.4f} [{estimate.low:{sign}.4f}, {estimate.high:{sign}.4f}]".ljust(28)


if __name__ == "__main__":
    main()
