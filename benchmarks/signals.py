"""Measure how often an escalation, or a month of 25 deaths, followed each kind of signal, and how often without it.

`python benchmarks/signals.py EVENTS.csv.gz MONTHLY.csv.gz [--write data/signal_base_rates.csv]` prints a table for each
outcome and writes the table that ships with Vigie. EVENTS are UCDP events of the world to 2020, MONTHLY is a table of
country-months with `deaths_all` and `deaths_state_based`. Signals are found in the events and in these deaths, as the
service finds them. Country-months of 1994 to 2020 count whose country had a death in the last 12 months and whose
signal is known to be there or not. Escalation: at this month-end or one of the next five, as `riskmodel.targets`
defines it. The rates of a month of 25 deaths leave out countries that had one in the last 12 months. Intervals are of
90 %, by resampling countries. Nothing is timed. It takes a minute or two.

A second table repeats a study of new highs, for state-based conflict. There a signal is only the month in which a count
rises above all of the last 60 months.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from child_process import run_vigie
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from riskmodel import scoring, windows
from riskmodel.events.archive import Archive
from riskmodel.explanation.base_rates import FIRST_YEAR, FOLLOWED_WITHIN, LAST_YEAR, MIN_COUNTRIES, MIN_MONTHS, TARGETS
from riskmodel.explanation.signals import FIVE_YEARS, Comparison, RegionSignals, observations
from riskmodel.home import Home
from riskmodel.indicators.read_inputs import read_events
from riskmodel.months import Months
from riskmodel.outcomes import OUTCOMES
from riskmodel.scoring import Estimate
from riskmodel.targets import BATTLE_DEATHS, HORIZON, QUIET_MONTHS, escalation_threshold
from riskmodel.windows import YEAR

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

RESAMPLES, SEED = 2000, 1
COVERS = f"*:1989-01..{LAST_YEAR}-12"
STUDY = {
    "capital_events_250km_12m": "48 % of 798 against 37 %",
    "events_12m": "48 against 36 %",
    "capital_sectors_12m": "49 against 37 %",
    "new_dyads_12m": "49 against 37 %",
    "capital_events_25km_12m": "44 against 37 %",
}
"""What the study found."""


def main() -> None:
    """Make an archive of the files, find the signals of the world, and print and write what followed them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=Path)
    parser.add_argument("monthly", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_vigie(home.root, "ingest", "ucdp", arguments.events, "--covers", COVERS)
        run_vigie(home.root, "ingest", "monthly", arguments.monthly)
        view = Archive(home.archive).view()
        tables = [ingest for ingest in view.ingests if ingest.kind == "country_months"]
        frame = view.with_ingests(tables).outcomes()
        world = observations(frame.iso3, frame, read_events(view, frame))
    rows = []
    for outcome in OUTCOMES:
        print(f"\n{outcome}: share of country-months, {FIRST_YEAR}-{LAST_YEAR}, [90 % interval over countries]")
        signals = world.of(outcome)
        of_outcome = list(base_rates(signals))
        print_rates(of_outcome)
        rows += of_outcome
        if outcome == "state_based":
            print_study(signals)
    if arguments.write:
        with arguments.write.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def base_rates(signals: RegionSignals) -> Iterator[dict[str, Any]]:
    """Yield the rates of each kind of signal and target."""
    counts = scoring.bootstrap_counts(len(signals.members), np.random.default_rng(SEED), RESAMPLES)
    followed = {name: labels(signals.deaths)[name] for name in TARGETS}
    for comparison in signals.comparisons:
        on = signal_months(comparison)
        known = ~np.isnan(comparison.as_high_5) & in_years(signals.months)
        for target in TARGETS:
            counted = known & population(signals.deaths, target) & ~np.isnan(followed[target])
            if not (counted & on).any():
                continue
            row: dict[str, Any] = {
                "outcome": signals.outcome,
                "indicator": comparison.kind.name,
                "followed_by": target,
                "first_year": int(years_of(signals.months)[counted.any(axis=0)][0]),
            }
            for name, cases in (("with", counted & on), ("without", counted & ~on)):
                estimate = rate(followed[target], cases, counts)
                row |= {
                    f"{name}_months": int(cases.sum()),
                    f"{name}_countries": int(cases.any(axis=1).sum()),
                    f"{name}_share": round(estimate.value, 4),
                    f"{name}_low": round(estimate.low, 4),
                    f"{name}_high": round(estimate.high, 4),
                }
            yield row


def signal_months(comparison: Comparison) -> Mask:
    """Return where an indicator is a signal, shape (country, month)."""
    on = np.zeros(comparison.stands_out.shape, dtype=bool)
    for country, column in np.argwhere(comparison.stands_out):
        on[country, column] = comparison.is_signal(int(country), int(column))
    return on


def in_years(months: Months) -> Mask:
    """Return which months are of the years that count, shape (month,)."""
    return (years_of(months) >= FIRST_YEAR) & (years_of(months) <= LAST_YEAR)


def years_of(months: Months) -> NDArray[np.int64]:
    """Return the calendar year of each month."""
    return months.astype("datetime64[Y]").astype(np.int64) + 1970


def population(deaths: Floats, target: str) -> Mask:
    """Return the country-months that count: a death in the last 12; for a month of 25, none of these had 25."""
    active = windows.total(deaths, YEAR) > 0
    return active & (windows.maximum(deaths, YEAR) < BATTLE_DEATHS) if target == "month_25" else active


def labels(deaths: Floats) -> dict[str, Floats]:
    """Return what followed within six months: 1, 0, or NaN where a month that it needs is unknown."""
    return {
        "escalation": following(escalations(deaths), range(FOLLOWED_WITHIN)),
        "month_25": following(
            np.where(np.isnan(deaths), np.nan, deaths >= BATTLE_DEATHS), range(1, FOLLOWED_WITHIN + 1)
        ),
    }


def escalations(deaths: Floats) -> Floats:
    """Return 1 where the next three months escalate, 0 where not; NaN where deaths are unknown."""
    result = np.full(deaths.shape, np.nan)
    triples = sliding_window_view(deaths, HORIZON, axis=1)
    after, threshold = triples.sum(axis=-1)[:, HORIZON:], escalation_threshold(triples)[:, :-HORIZON]
    unknown = np.isnan(after) | np.isnan(threshold)
    result[:, HORIZON - 1 : -HORIZON] = np.where(unknown, np.nan, after >= threshold)
    return result


def following(occurred: Floats, leads: range) -> Floats:
    """Return 1 where something occurs at one of some leads, 0 where at none; NaN where one of them is unknown."""
    padded = np.pad(occurred, ((0, 0), (0, leads.stop)), constant_values=np.nan)
    ahead = np.stack([padded[:, lead : lead + occurred.shape[1]] for lead in leads])
    return np.where(np.isnan(ahead).any(axis=0), np.nan, np.nanmax(np.nan_to_num(ahead), axis=0))


def rate(followed: Floats, cases: Mask, counts: NDArray[np.int64]) -> Estimate:
    """Return the share of some country-months after which something followed."""
    return Estimate.from_bootstrap(
        scoring.ratio_of_sums(np.where(cases, followed, 0.0), cases.astype(np.float64), counts)
    )


def print_rates(rows: list[dict[str, Any]]) -> None:
    """Print the base rates of one outcome."""
    print(f"{'signal':<28}{'followed by':<12}{'with':<22}{'months':>7}{'countries':>10}   {'without':<22}{'months':>7}")
    for row in rows:
        few = row["with_months"] < MIN_MONTHS or row["with_countries"] < MIN_COUNTRIES
        percent = {name: f"{100 * value:.0f}" for name, value in row.items() if name.endswith(("share", "low", "high"))}
        texts = {
            name: f"{percent[f'{name}_share']} % [{percent[f'{name}_low']}, {percent[f'{name}_high']}]"
            for name in ("with", "without")
        }
        print(
            f"{row['indicator']:<28}{row['followed_by']:<12}{texts['with']:<22}{row['with_months']:>7,}"
            f"{row['with_countries']:>10}   {texts['without']:<22}{row['without_months']:>7,}"
            f"{'  too few cases' if few else ''}"
        )


def print_study(signals: RegionSignals) -> None:
    """Print what followed new highs, beside the figures of the study."""
    followed, deaths = labels(signals.deaths), signals.deaths
    active = (windows.total(deaths, YEAR) > 0) & in_years(signals.months)
    quiet = active & windows.throughout(deaths < BATTLE_DEATHS, QUIET_MONTHS)
    within_a_year = following(np.where(np.isnan(deaths), np.nan, deaths >= BATTLE_DEATHS), range(1, YEAR + 1))
    escalation = followed["escalation"]
    all_months = active & ~np.isnan(escalation)
    share = 100 * escalation[all_months].mean()
    print(f"\nnew highs: an escalation followed in {share:.0f} % of all months (study: 37 %)")
    for comparison in signals.comparisons:
        if comparison.kind.name not in STUDY:
            continue
        before = windows.lagged(windows.maximum(comparison.values, FIVE_YEARS), 1)
        high = (comparison.values > before) & (comparison.values >= comparison.rule.minimum)
        known = all_months & ~np.isnan(before)
        first = known & high & ~before_in_a_year(high)
        texts = [
            f"{100 * escalation[cases].mean():.0f} % of {cases.sum():,}" for cases in (known & high, known & ~high)
        ]
        of_quiet = quiet & ~np.isnan(before) & ~np.isnan(within_a_year)
        onset = [f"{100 * within_a_year[of_quiet & where].mean():.0f}" for where in (high, ~high)]
        print(
            f"{comparison.kind.name:<28}{texts[0]:<16}against {texts[1]:<18}first ones: "
            f"{100 * escalation[first].mean():.0f} % of {first.sum():<6}quiet countries, a month of 25 within 12: "
            f"{onset[0]} % of {(of_quiet & high).sum()} against {onset[1]} %   (study: {STUDY[comparison.kind.name]})"
        )


def before_in_a_year(condition: Mask) -> Mask:
    """Return whether a condition was true in one of the 12 months before."""
    return windows.lagged(np.nan_to_num(windows.total(condition.astype(np.float64), YEAR)), 1) > 0


if __name__ == "__main__":
    main()
