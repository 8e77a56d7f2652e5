"""Judge the revision model on UCDP's vintages of 2024: the months of 2023, from the year file to GED 24.1.

`python benchmarks/revisions.py [--file ../shared/data/ucdp_vintages_2024.csv.gz]` prints

- how well final figures are predicted: by a model that has seen the other half of the countries, and by one that has
  seen every other month of all countries. Intervals count ties by share, as back-tests do, and once more as they are
  shown, with both ends. Only months with reported deaths are scored.
- the revisions by level and country, and the constants of `riskmodel/reporting/revision_constants.py`.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from riskmodel import scoring
from riskmodel.reporting.release_class import FINAL, YEAR_FILE
from riskmodel.reporting.revision_constants import LEVELS
from riskmodel.reporting.revision_table import level_name, revision_table
from riskmodel.reporting.revisions import RevisionModel, central_interval, even_ranks, levels
from riskmodel.reporting.vintages import Revisions, activity

SHARED = Path(__file__).parents[2] / "shared" / "data" / "ucdp_vintages_2024.csv.gz"
LAST_YEAR_FILE, FIRST_FINAL = "2024-05-21", "2024-06-24"
RANKS = 400
RANDOM_HALVES = 20


class Skill(NamedTuple):
    """Scores of predicted final figures; `gain` is the log-CRPS relative to that of "reported is final"."""

    log_crps: float
    gain: float
    within_50: float
    within_90: float
    shown_50: float
    shown_90: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=SHARED)
    vintages = pd.read_csv(parser.parse_args().file)
    seen = read_revisions(vintages, "2023", LAST_YEAR_FILE, YEAR_FILE)
    reported = seen.only(seen.first >= 1)
    countries = np.unique(reported.iso3)
    print(
        f"{reported.first.size} country-months with reports in 2023, {countries.size} countries, all types of violence"
    )
    print(f"{'fitted on':<34}{'log-CRPS':>9}{'gain':>8}{'50 %':>7}{'90 %':>7}{'shown 50 %':>13}{'90 %':>7}")
    for name, halves in protocols(seen).items():
        skill = judge(seen, halves)
        print(
            f"{name:<34}{skill.log_crps:>9.3f}{skill.gain:>8.1%}{skill.within_50:>7.0%}{skill.within_90:>7.0%}"
            f"{skill.shown_50:>13.0%}{skill.shown_90:>7.0%}"
        )
    _print_gains_of_random_halves(seen)
    _print_table(seen)
    _print_constants(seen)
    later = read_revisions(vintages, "2022", LAST_YEAR_FILE, FINAL)
    changed = later.final != later.first
    active = later.first >= 1
    print(f"\n2022, GED 23.1 to 24.1: {(~changed[active]).mean():.0%} of the figures above 0 are the same")


def read_revisions(vintages: pd.DataFrame, year: str, published: str, code: int) -> Revisions:
    """Return the revisions of a year's months from a vintage to GED 24.1, of countries in both."""
    of_year = vintages[vintages["month"].str.startswith(year)]
    table = of_year.pivot_table(index=["iso3", "month"], columns="published", values="deaths_all")
    first = table[published].unstack("month")
    # A country without a row in the first vintage of GED 24.1 is in a later one.
    final = table.loc[:, table.columns >= FIRST_FINAL].bfill(axis=1).iloc[:, 0].unstack("month")
    both = (first.notna() & final.notna()).all(axis=1)
    first, final = first[both], final[both]
    row, column = np.nonzero(np.ones(first.shape, dtype=bool))
    unknown = np.full(row.size, np.nan)
    return Revisions(
        first.index.to_numpy(dtype=str)[row],
        first.columns.to_numpy().astype("datetime64[M]")[column],
        np.full(row.size, code),
        first.to_numpy(dtype=np.float64).ravel(),
        final.to_numpy(dtype=np.float64).ravel(),
        activity(first.to_numpy(dtype=np.float64)).ravel(),
        unknown,
        unknown,
    )


def protocols(seen: Revisions) -> Mapping[str, NDArray[np.bool_]]:
    """Return which revisions are of the first half; each half is predicted by a model that has seen the other."""
    country = np.unique(seen.iso3, return_inverse=True)[1]
    return {
        "the other countries (A-L, M-Z)": country < (country.max() + 1) // 2,
        "the other countries (every second)": country % 2 == 0,
        "every other month of all countries": seen.month.astype(np.int64) % 2 == 0,
    }


def judge(seen: Revisions, half: NDArray[np.bool_]) -> Skill:
    """Score the months with reports of each half, predicted by a model that has seen the other half alone."""
    parts = []
    for fitted in (half, ~half):
        model, test = RevisionModel.fit(seen.only(fitted), {}), seen.only(~fitted & (seen.first >= 1))
        parts.append(_scores(test, predict(model, test)))
    log_crps, reference, *inside = np.concatenate(parts, axis=1)
    means = [float(values.mean()) for values in inside]
    return Skill(float(log_crps.mean()), float(log_crps.sum() / reference.sum() - 1), *means)


def predict(model: RevisionModel, test: Revisions) -> NDArray[np.float64]:
    """Return draws of the final figures, shape (revision, rank) [deaths]."""
    ranks = np.tile(even_ranks(RANKS), (test.first.size, 1))
    return model.ranks_to_figures(test.release_class, test.iso3, test.first, test.activity, ranks)


def _scores(test: Revisions, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    final = test.final[:, None]
    below, up_to = (draws < final).mean(axis=1), (draws <= final).mean(axis=1)
    (low50, high50), (low90, high90) = (
        np.array([central_interval(row, level) for row in draws]).T for level in (0.5, 0.9)
    )
    return np.stack(
        [
            scoring.log_crps(draws, test.final),
            np.abs(np.log1p(test.final) - np.log1p(test.first)),
            scoring.interval_coverage(below, up_to, 0.5),
            scoring.interval_coverage(below, up_to, 0.9),
            (low50 <= test.final) & (test.final <= high50),
            (low90 <= test.final) & (test.final <= high90),
        ]
    )


def _print_gains_of_random_halves(seen: Revisions) -> None:
    countries, index = np.unique(seen.iso3, return_inverse=True)
    gains = [
        judge(seen, (np.random.default_rng(seed).permutation(countries.size) < countries.size // 2)[index]).gain
        for seed in range(RANDOM_HALVES)
    ]
    print(
        f"{RANDOM_HALVES} random halves of countries: gain {np.mean(gains):.1%} ({min(gains):.1%} to {max(gains):.1%})"
    )


def _print_table(seen: Revisions) -> None:
    table = pd.DataFrame(revision_table(seen, RevisionModel.fit(seen, {})))
    of_class = table[(table["release_class"] == "year_file") & (table["months"] > 0)].drop(columns=["basis"])
    print("\nThe revisions from the year file, learned from all of them without constants:")
    print(of_class.to_string(index=False, na_rep="-"))


def _print_constants(seen: Revisions) -> None:
    model = RevisionModel.fit(seen, {}).classes[YEAR_FILE]
    print("\nConstants of the year file:")
    print("vanish", np.round(model.vanish, 2).tolist())
    stays, level = (seen.first >= 1) & (seen.final >= 1), levels(seen.first)
    for number in range(1, len(LEVELS)):
        chosen = stays & (level == number)
        changes = np.log1p(seen.final[chosen]) - np.log1p(seen.first[chosen])
        print(level_name(number), np.round(np.quantile(changes, even_ranks(10)), 2).tolist())
    error = np.abs(np.log1p(seen.final) - np.log1p(seen.first))[seen.first >= 1]
    print(
        f"mean |log1p(final) - log1p(reported)| {error.mean():.3f}; correlation in a country {_correlation(seen):.1f}"
    )


def _correlation(seen: Revisions) -> float:
    """The correlation of the normal scores of a country's revisions: mean product of pairs over mean square."""
    products = squares = 0.0
    change = np.where(seen.final >= 1, np.log1p(seen.final) - np.log1p(seen.first), -np.inf)
    scores = np.full(change.size, np.nan)
    for number in range(1, len(LEVELS)):
        chosen = levels(seen.first) == number
        scores[chosen] = ndtri(pd.Series(change[chosen]).rank().to_numpy() / (chosen.sum() + 1))
    for iso3 in np.unique(seen.iso3):
        own = scores[(seen.iso3 == iso3) & np.isfinite(scores)]
        if own.size > 1:
            products += (own.sum() ** 2 - (own**2).sum()) / (own.size - 1)
            squares += (own**2).sum()
    return products / squares


if __name__ == "__main__":
    main()
