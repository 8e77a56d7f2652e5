"""The result of a back-test: scores and observed outcomes by forecaster, window, country and lead.

It holds numbers only and knows no model, no file and no terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring
from riskmodel.errors import BadInput
from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.scoring import Estimate, Reliability
from training.windows import Window

LOSSES = ("crps", "log_crps", "ign", "mis", "brier_25")
COVERAGES = ("within_50", "within_90")
BATTLE_MONTH, ESCALATION, ONSET = "battle_month", "escalation", "onset"
EVENTS = (BATTLE_MONTH, ESCALATION, ONSET)
PROBABILITY_OF = {event: f"p_{event}" for event in EVENTS}
"""The score column that holds the probability of an event."""
SHARE_BELOW, SHARE_UP_TO = "share_below", "share_up_to"
SCORE_COLUMNS = (*LOSSES, *COVERAGES, *PROBABILITY_OF.values(), SHARE_BELOW, SHARE_UP_TO)
DEATHS, MONTHS_TO_ESCALATION = "deaths", "months_to_escalation"
OBSERVED_COLUMNS = (DEATHS, *EVENTS, MONTHS_TO_ESCALATION)
RESAMPLES = 1000

Floats = NDArray[np.float64]


class Difference(NamedTuple):
    """A mean loss relative to another one, and in how many windows it is the lower one."""

    estimate: Estimate
    windows_won: int
    windows: int


@dataclass(frozen=True)
class BacktestResult:
    """Scores of several forecasters over the same windows and countries, and what was observed.

    A cell is one origin of a window and one lead. Cells are ordered by origin, then by lead.

    `scores` maps each of `SCORE_COLUMNS` to float64 of shape (forecaster, window, country, cell):

    - a loss; lower is better
    - a coverage: the part of the outcome that the interval contains, 0 to 1
    - the probability of an event
    - the share of draws below the outcome, or up to it

    `observed` maps each of `OBSERVED_COLUMNS` to float64 of shape (window, country, cell):

    - deaths
    - an event: 1 where it happened, 0 where it did not
    - months from the origin until an escalation is reached

    A value is NaN where it cannot be scored. Coverage is NaN for inactive countries too: those without a death in the
    twelve months up to the origin. Escalation is known at lead 3 only; onset at lead 12 only, of quiet countries.
    """

    outcome: str
    windows: tuple[Window, ...]
    iso3: tuple[str, ...]
    forecasters: tuple[str, ...]
    scores: dict[str, Floats]
    observed: dict[str, Floats]

    @property
    def leads(self) -> NDArray[np.int64]:
        """The lead of each cell [months], shape (cell,)."""
        window = self.windows[0]
        return np.tile(np.arange(window.first_lead, window.last_lead + 1), window.issues)

    @property
    def has_outcomes(self) -> bool:
        """Whether any deaths are known."""
        return not bool(np.isnan(self.observed[DEATHS]).all())

    def index_of(self, forecaster: str) -> int:
        """Return the position of a forecaster. Raises BadInput, with the names there are, for an unknown one."""
        if forecaster not in self.forecasters:
            raise BadInput(f"there is no {forecaster} in this back-test, only {', '.join(self.forecasters)}")
        return self.forecasters.index(forecaster)

    def for_countries(self, iso3: Sequence[str]) -> "BacktestResult":
        """Keep the named countries; codes that are not in the result are ignored."""
        wanted = set(iso3)
        rows = [row for row, code in enumerate(self.iso3) if code in wanted]
        return replace(
            self,
            iso3=tuple(self.iso3[row] for row in rows),
            scores={name: values[:, :, rows] for name, values in self.scores.items()},
            observed={name: values[:, rows] for name, values in self.observed.items()},
        )

    def reindexed(self, iso3: Sequence[str]) -> "BacktestResult":
        """Return the result over exactly these countries, in this order; a country that is not in it is NaN."""
        row_of = {code: row for row, code in enumerate(self.iso3)}
        # The row appended below is all NaN; countries that are not in the result are read from it.
        rows = np.array([row_of.get(code, len(row_of)) for code in iso3], dtype=np.intp)
        append_row = [(0, 0), (0, 1), (0, 0)]
        return replace(
            self,
            iso3=tuple(iso3),
            scores={
                name: np.pad(values, [(0, 0), *append_row], constant_values=np.nan)[:, :, rows]
                for name, values in self.scores.items()
            },
            observed={
                name: np.pad(values, append_row, constant_values=np.nan)[:, rows]
                for name, values in self.observed.items()
            },
        )

    def for_windows(self, windows: Sequence[Window]) -> "BacktestResult":
        """Keep some windows. Raises ValueError for one that is not in the result."""
        places = [self.windows.index(window) for window in windows]
        return replace(
            self,
            windows=tuple(windows),
            scores={name: values[:, places] for name, values in self.scores.items()},
            observed={name: values[places] for name, values in self.observed.items()},
        )

    def for_leads(self, first: int, last: int) -> "BacktestResult":
        """Set everything outside of these leads [months] to NaN; the shapes stay."""
        inside = (self.leads >= first) & (self.leads <= last)
        return replace(
            self,
            scores={name: np.where(inside, values, np.nan) for name, values in self.scores.items()},
            observed={name: np.where(inside, values, np.nan) for name, values in self.observed.items()},
        )

    def means(self, score: str) -> Floats:
        """Return the mean by forecaster and window, with the mean over all cells last; (forecaster, window + 1)."""
        known = ~np.isnan(self.scores[score])
        sums, numbers = np.where(known, self.scores[score], 0.0).sum(axis=(2, 3)), known.sum(axis=(2, 3))
        with np.errstate(invalid="ignore"):
            overall = sums.sum(axis=1, keepdims=True) / numbers.sum(axis=1, keepdims=True)
            return np.concatenate([sums / numbers, overall], axis=1)

    def means_by(self, score: str, axis: str) -> Floats:
        """Return the mean by forecaster and by `country` or `lead`; (forecaster, countries or leads)."""
        values = self.scores[score]
        if axis == "lead":
            groups = np.unique(self.leads)
            values = np.stack([values[..., self.leads == lead].reshape(len(values), -1) for lead in groups], axis=1)
        else:
            values = values.transpose(0, 2, 1, 3).reshape(len(values), len(self.iso3), -1)
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1))

    def difference(self, score: str, ours: str, theirs: str, rng: np.random.Generator) -> Difference:
        """Compare the mean losses of two forecasters on the cells that both have; −0.05 is five per cent lower."""
        pair = self.scores[score][[self.index_of(ours), self.index_of(theirs)]]
        pair = np.where(np.isnan(pair).any(axis=0), np.nan, pair)
        has_both = ~np.isnan(pair[0]).all(axis=(1, 2))
        our_sums, their_sums = np.nan_to_num(pair).sum(axis=(2, 3))[:, has_both]
        our_units, their_units = (self.by_unit(np.nan_to_num(values)) for values in pair)
        estimate = scoring.paired_difference(our_units, their_units, rng)
        return Difference(estimate, int((our_sums < their_sums).sum()), int(has_both.sum()))

    @property
    def bootstrap_unit(self) -> str:
        """What a bootstrap resamples: countries, or windows where there is a single country."""
        return "countries" if len(self.iso3) > 1 else "windows"

    def by_unit(self, values: Floats) -> Floats:
        """Move the axis that a bootstrap resamples to the front of values of shape (window, country, ...)."""
        return values.swapaxes(0, 1) if self.bootstrap_unit == "countries" else values

    def resampled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw how often each resample contains each unit: see `scoring.bootstrap_counts`."""
        units = len(self.iso3) if self.bootstrap_unit == "countries" else len(self.windows)
        return scoring.bootstrap_counts(units, rng, RESAMPLES)

    def coverage(self, level: str, forecaster: str, counts: NDArray[np.int64]) -> Estimate:
        """Return the mean coverage of a forecaster over all cells, with its interval."""
        inside = self.by_unit(self.scores[level][self.index_of(forecaster)])
        known = ~np.isnan(inside)
        return Estimate.from_bootstrap(
            scoring.ratio_of_sums(np.where(known, inside, 0.0), known.astype(np.float64), counts)
        )

    def ranking(self, event: str, forecaster: str, counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the AUROC and the average precision of a probability over all cells, in each resample."""
        probability = self.by_unit(self.scores[PROBABILITY_OF[event]][self.index_of(forecaster)])
        return scoring.bootstrap_ranking(probability, self.by_unit(self.observed[event]), counts)

    def pit_histogram(self, forecaster: str, *, active: bool) -> Floats:
        """Return the PIT histogram of a forecaster over active countries, or over inactive ones."""
        row = self.index_of(forecaster)
        below, up_to = self.scores[SHARE_BELOW][row], self.scores[SHARE_UP_TO][row]
        is_active = ~np.isnan(self.scores[COVERAGES[0]][row])
        chosen = ~np.isnan(up_to) & (is_active == active)
        return scoring.pit_histogram(below[chosen], up_to[chosen])

    def reliability(self, event: str, forecaster: str) -> Reliability:
        """Compare the probability of an event with its observed frequency."""
        probability, observed = self.scores[PROBABILITY_OF[event]][self.index_of(forecaster)], self.observed[event]
        known = ~(np.isnan(probability) | np.isnan(observed))
        return scoring.reliability(probability[known], observed[known] > 0)

    def event_skill(self, event: str) -> dict[str, Floats]:
        """Return `brier`, `auroc`, `average_precision` and the number of `events`, by forecaster and window.

        Each has shape (forecaster, window + 1), with all windows together last; NaN where there is nothing to score.
        """
        probabilities, observed = self.scores[PROBABILITY_OF[event]], self.observed[event]
        shape = len(probabilities), len(self.windows) + 1
        skill = {name: np.full(shape, np.nan) for name in ("brier", "auroc", "average_precision", "events")}
        for row, probability in enumerate(probabilities):
            for column in range(len(self.windows) + 1):
                part = slice(None) if column == len(self.windows) else slice(column, column + 1)
                known = ~(np.isnan(probability[part]) | np.isnan(observed[part]))
                if known.any():
                    forecast, happened = probability[part][known], observed[part][known] > 0
                    skill["brier"][row, column] = scoring.brier(forecast, happened).mean()
                    skill["auroc"][row, column] = scoring.auroc(forecast, happened)
                    skill["average_precision"][row, column] = scoring.average_precision(forecast, happened)
                    skill["events"][row, column] = happened.sum()
        return skill


def pair_forecasters(one: BacktestResult, ours: str, other: BacktestResult, theirs: str) -> BacktestResult:
    """Put one forecaster of each of two back-tests into one result, on the cells that both have.

    A cell where the two back-tests observed different deaths is NaN. Windows and countries are those in common.
    Raises BadInput where they have different outcomes, or nothing is in common.
    """
    if one.outcome != other.outcome:
        labels = [OUTCOME_LABELS[result.outcome]["en"] for result in (one, other)]
        raise BadInput(f"nothing to compare: {ours} forecasts {labels[0]}, and {theirs} {labels[1]}")
    windows = [window for window in one.windows if window in other.windows]
    iso3 = [code for code in one.iso3 if code in set(other.iso3)]
    if not windows or not iso3:
        raise BadInput(
            f"nothing to compare: {ours} has {_window_names(one.windows)} and {theirs} has "
            f"{_window_names(other.windows)}, with {len(iso3)} countries in common"
        )
    left, right = (result.for_windows(windows).reindexed(iso3) for result in (one, other))
    left_row, right_row = left.index_of(ours), right.index_of(theirs)
    scores = {name: np.stack([left.scores[name][left_row], right.scores[name][right_row]]) for name in SCORE_COLUMNS}
    same_outcome = left.observed[DEATHS] == right.observed[DEATHS]
    shared = same_outcome & ~np.isnan(scores["crps"]).any(axis=0)
    if not shared.any():
        raise BadInput(f"nothing to compare: there is no country-month that both {ours} and {theirs} forecast")
    pair = replace(
        left,
        forecasters=(ours, theirs) if ours != theirs else (f"{ours} (A)", f"{theirs} (B)"),
        scores={name: np.where(shared, values, np.nan) for name, values in scores.items()},
        observed={name: np.where(shared, values, np.nan) for name, values in left.observed.items()},
    )
    window_has, country_has = shared.any(axis=(1, 2)), shared.any(axis=(0, 2))
    return pair.for_windows([window for window, has in zip(windows, window_has, strict=True) if has]).for_countries(
        [code for code, has in zip(iso3, country_has, strict=True) if has]
    )


def join_windows(parts: Sequence[BacktestResult]) -> BacktestResult:
    """Join results of different windows into one, in the order of their origins."""
    parts = sorted(parts, key=lambda part: part.windows[0].origin)
    return replace(
        parts[0],
        windows=tuple(window for part in parts for window in part.windows),
        scores={name: np.concatenate([part.scores[name] for part in parts], axis=1) for name in SCORE_COLUMNS},
        observed={name: np.concatenate([part.observed[name] for part in parts]) for name in OBSERVED_COLUMNS},
    )


def _window_names(windows: Sequence[Window]) -> str:
    names = ", ".join(window.name for window in windows)
    return f"the windows {names}, leads {windows[0].first_lead}-{windows[0].last_lead}"
