"""What a back-test finds, cell by cell, and what is read from it: means, differences, skill at events.

It knows numbers only: no model, no files and no terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring
from riskmodel.errors import BadInput
from riskmodel.scoring import Estimate, Reliability
from training.windows import Window

LOSSES = ("CRPS", "log-CRPS", "IGN", "MIS", "Brier")
COVERAGES = ("50 %", "90 %")
BATTLE, ESCALATION, ONSET = "P(≥ 25)", "P(escalation)", "P(onset)"
BELOW, UPTO = "P(< came)", "P(≤ came)"
CHANCES = (BATTLE, ESCALATION, ONSET)
SCORES = (*LOSSES, *COVERAGES, *CHANCES, BELOW, UPTO)
RESAMPLES = 1000
RUNG = 25  # [deaths a month], the event of the Brier score
WHEN = "months to escalation"
CAME = ("deaths", BATTLE, ESCALATION, ONSET, WHEN)

Cells = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Losses, coverage and probabilities of components over windows.

    A cell is one origin of a window and one lead, origin by origin. `cells[score]` is float64 of shape (component,
    window, country, cell): a loss; what part of the outcome the interval held; a probability. `came[what]` is of shape
    (window, country, cell): deaths; 1 where the event of that probability came and 0 where not; and `WHEN`, in which
    month after the origin an escalation was reached. NaN where nothing can be judged; for coverage, where the country
    was not active (no death in the twelve months up to the origin); for escalation, everywhere but at lead 3, and for
    onset but at lead 12 of quiet countries. `BELOW` and `UPTO` are the shares of draws less than the outcome, and not
    greater than it.
    """

    outcome: str
    windows: tuple[Window, ...]
    iso3: tuple[str, ...]
    components: tuple[str, ...]
    cells: dict[str, Cells]
    came: dict[str, Cells]

    @property
    def leads(self) -> NDArray[np.int64]:
        """The lead of each cell [months], shape (cell,)."""
        window = self.windows[0]
        return np.tile(np.arange(window.first, window.last + 1), window.issues)

    def component(self, name: str) -> int:
        """The place of a component. Raises BadInput, with those there are, for one that is not there."""
        if name not in self.components:
            raise BadInput(f"there is no {name} in this back-test, only {', '.join(self.components)}")
        return self.components.index(name)

    def only(self, iso3: Sequence[str]) -> "Judged":
        """The same for those of its countries that are named."""
        named = set(iso3)
        rows = [i for i, code in enumerate(self.iso3) if code in named]
        return replace(
            self,
            iso3=tuple(self.iso3[i] for i in rows),
            cells={score: cells[:, :, rows] for score, cells in self.cells.items()},
            came={what: cells[:, rows] for what, cells in self.came.items()},
        )

    def including(self, iso3: Sequence[str]) -> "Judged":
        """The same over these countries, in their order; one that it has not is unknown throughout."""
        place = {code: i for i, code in enumerate(self.iso3)}
        rows = np.array([place.get(code, len(place)) for code in iso3], dtype=np.intp)
        side = [(0, 0), (0, 1), (0, 0)]
        return replace(
            self,
            iso3=tuple(iso3),
            cells={
                score: np.pad(cells, [(0, 0), *side], constant_values=np.nan)[:, :, rows]
                for score, cells in self.cells.items()
            },
            came={what: np.pad(cells, side, constant_values=np.nan)[:, rows] for what, cells in self.came.items()},
        )

    def during(self, windows: Sequence[Window]) -> "Judged":
        """The same for some of its windows. Raises ValueError for one that is not there."""
        places = [self.windows.index(window) for window in windows]
        return replace(
            self,
            windows=tuple(windows),
            cells={score: cells[:, places] for score, cells in self.cells.items()},
            came={what: cells[places] for what, cells in self.came.items()},
        )

    def within(self, first: int, last: int) -> "Judged":
        """The same, unknown at all other leads than these [months]."""
        inside = (self.leads >= first) & (self.leads <= last)
        return replace(
            self,
            cells={score: np.where(inside, cells, np.nan) for score, cells in self.cells.items()},
            came={what: np.where(inside, cells, np.nan) for what, cells in self.came.items()},
        )

    def means(self, score: str) -> Cells:
        """Mean by component and window, and over all cells last; shape (component, window + 1)."""
        known = ~np.isnan(self.cells[score])
        sums, number = np.where(known, self.cells[score], 0.0).sum(axis=(2, 3)), known.sum(axis=(2, 3))
        with np.errstate(invalid="ignore"):
            return np.concatenate(
                [sums / number, sums.sum(axis=1, keepdims=True) / number.sum(axis=1, keepdims=True)], 1
            )

    def mean_by(self, score: str, axis: str) -> Cells:
        """Mean by component and `country` or `lead`, in their order; shape (component, countries or leads)."""
        cells = self.cells[score]
        if axis == "lead":
            groups = np.unique(self.leads)
            cells = np.stack([cells[..., self.leads == lead].reshape(len(cells), -1) for lead in groups], axis=1)
        else:
            cells = cells.transpose(0, 2, 1, 3).reshape(len(cells), len(self.iso3), -1)
        known = ~np.isnan(cells)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, cells, 0.0).sum(axis=-1) / known.sum(axis=-1))

    def difference(
        self, score: str, ours: str, theirs: str, rng: np.random.Generator
    ) -> tuple[Estimate, tuple[int, int]]:
        """A component's loss relative to another's, where both are known: with its interval, and the windows won.

        The second is in how many windows it was lower, and how many there are.
        """
        pair = self.cells[score][[self.component(ours), self.component(theirs)]]
        pair = np.where(np.isnan(pair).any(axis=0), np.nan, pair)
        with_both = ~np.isnan(pair[0]).all(axis=(1, 2))
        sums = np.nan_to_num(pair).sum(axis=(2, 3))[:, with_both]
        one, other = (self.by_unit(np.nan_to_num(side)) for side in pair)
        return scoring.paired_difference(one, other, rng), (int((sums[0] < sums[1]).sum()), int(with_both.sum()))

    @property
    def unit(self) -> str:
        """What a bootstrap draws: countries; of a single country, its windows."""
        return "countries" if len(self.iso3) > 1 else "windows"

    def by_unit(self, cells: Cells) -> Cells:
        """Cells of shape (window, country, ...) with what a bootstrap draws in front."""
        return cells.swapaxes(0, 1) if self.unit == "countries" else cells

    def resampled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """How often a bootstrap draws each unit: see `verification.resampled`."""
        number = len(self.iso3) if self.unit == "countries" else len(self.windows)
        return scoring.resampled(number, rng, RESAMPLES)

    def coverage(self, level: str, name: str, times: NDArray[np.int64]) -> Estimate:
        """The mean of a coverage of a component over all its cells, with its interval."""
        held = self.by_unit(self.cells[level][self.component(name)])
        known = ~np.isnan(held)
        return Estimate.of(scoring.ratio(np.where(known, held, 0.0), known.astype(np.float64), times))

    def ranking(self, what: str, name: str, times: NDArray[np.int64]) -> tuple[Cells, Cells]:
        """AUROC and AP of a probability of a component over all its cells, each in each resample."""
        chance, came = self.by_unit(self.cells[what][self.component(name)]), self.by_unit(self.came[what])
        return scoring.ranking(chance, came, times)

    def pit(self, name: str, *, active: bool) -> NDArray[np.float64]:
        """The PIT histogram of a component, where the country was active or where it was not."""
        place = self.component(name)
        known = ~np.isnan(self.cells[UPTO][place]) & (np.isnan(self.cells[COVERAGES[0]][place]) != active)
        return scoring.pit(self.cells[BELOW][place][known], self.cells[UPTO][place][known])

    def reliability(self, name: str, what: str) -> Reliability:
        """A probability of a component held against how often the event came."""
        place = self.component(name)
        known = ~(np.isnan(self.cells[what][place]) | np.isnan(self.came[what]))
        return scoring.reliability(self.cells[what][place][known], self.came[what][known] > 0)

    def events(self, what: str) -> dict[str, Cells]:
        """Brier, AUROC and AP of a probability by component and window, over all cells last; and how many came.

        Each of shape (component, window + 1); NaN where there is nothing to be told.
        """
        chances, came = self.cells[what], self.came[what]
        found = {
            name: np.full((len(chances), len(self.windows) + 1), np.nan) for name in ("Brier", "AUROC", "AP", "came")
        }
        for c, chance in enumerate(chances):
            for w in range(len(self.windows) + 1):
                part = slice(None) if w == len(self.windows) else slice(w, w + 1)
                known = ~(np.isnan(chance[part]) | np.isnan(came[part]))
                if known.any():
                    said, event = chance[part][known], came[part][known] > 0
                    found["Brier"][c, w] = scoring.brier(said, event).mean()
                    found["AUROC"][c, w] = scoring.auroc(said, event)
                    found["AP"][c, w] = scoring.average_precision(said, event)
                    found["came"][c, w] = event.sum()
        return found


def losses(draws: NDArray[Any], deaths: Cells) -> dict[str, Cells]:
    """Losses, coverage and probabilities of draws of shape (country, cell, draw), each of shape (country, cell).

    NaN where the deaths that came or a draw are unknown.
    """
    known = ~(np.isnan(deaths) | np.isnan(draws).any(axis=-1))
    ordered = np.sort(np.where(known[..., None], draws, 0.0), axis=-1)
    came = np.where(known, deaths, 0.0)
    chance = (ordered >= RUNG).mean(axis=-1)
    below, upto = ((ordered < came[..., None]).mean(axis=-1), (ordered <= came[..., None]).mean(axis=-1))
    found = {
        "CRPS": scoring.crps(ordered, came),
        "log-CRPS": scoring.log_crps(ordered, came),
        "IGN": scoring.ignorance(ordered, came),
        "MIS": scoring.interval_score(ordered, came),
        "Brier": scoring.brier(chance, came >= RUNG),
        "50 %": scoring.covered(below, upto, 0.5),
        "90 %": scoring.covered(below, upto, 0.9),
        BATTLE: chance,
        BELOW: below,
        UPTO: upto,
    }
    return {score: np.where(known, cells, np.nan) for score, cells in found.items()}


def paired(one: Judged, ours: str, other: Judged, theirs: str) -> Judged:
    """A component of each of two back-tests as one of two components, known only where both are and judged alike.

    The windows and countries are those that both have. Raises BadInput where they share none.
    """
    windows = [window for window in one.windows if window in other.windows]
    iso3 = [code for code in one.iso3 if code in set(other.iso3)]
    if not windows or not iso3:
        raise BadInput(
            f"nothing to compare: {ours} has {_listed(one.windows)} and {theirs} has {_listed(other.windows)}, "
            f"with {len(iso3)} countries in common"
        )
    left, right = (side.during(windows).including(iso3) for side in (one, other))
    first, second = left.component(ours), right.component(theirs)
    alike = left.came["deaths"] == right.came["deaths"]
    pairs = {score: np.stack([left.cells[score][first], right.cells[score][second]]) for score in SCORES}
    both = alike & ~np.isnan(pairs["CRPS"]).any(axis=0)
    if not both.any():
        raise BadInput(f"nothing to compare: there is no country-month that both {ours} and {theirs} forecast")
    pair = replace(
        left,
        components=(ours, theirs) if ours != theirs else (f"{ours} (A)", f"{theirs} (B)"),
        cells={score: np.where(both, cells, np.nan) for score, cells in pairs.items()},
        came={what: np.where(both, cells, np.nan) for what, cells in left.came.items()},
    )
    in_window, of_country = both.any(axis=(1, 2)), both.any(axis=(0, 2))
    return pair.during([window for window, held in zip(windows, in_window, strict=True) if held]).only(
        [code for code, held in zip(iso3, of_country, strict=True) if held]
    )


def _listed(windows: Sequence[Window]) -> str:
    return f"the windows {', '.join(window.name for window in windows)}, leads {windows[0].first}-{windows[0].last}"


def together(parts: Sequence[Judged]) -> Judged:
    """Several windows side by side, in the order of their origins."""
    parts = sorted(parts, key=lambda part: part.windows[0].origin)
    return replace(
        parts[0],
        windows=tuple(window for part in parts for window in part.windows),
        cells={score: np.concatenate([part.cells[score] for part in parts], axis=1) for score in SCORES},
        came={what: np.concatenate([part.came[what] for part in parts]) for what in CAME},
    )
