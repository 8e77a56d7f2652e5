"""What a model would have said, window by window, judged beside the baselines by the same code.

Every component is fitted anew at each origin on a panel that ends there. Outcomes are the newest figures of the
archive, not those known at the time. It knows no files and no terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riskmodel import verification
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History, Last, Zero
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.pool import SMOOTHER
from riskmodel.indicators.panel import Panel
from riskmodel.verification import Difference
from training.windows import FIRST_LEAD, Window

BASELINES: tuple[Component, ...] = (SMOOTHER, Conflictology(), History(), Last(), Zero())
AGAINST = "conflictology12"
LOSSES = ("CRPS", "log-CRPS", "IGN", "MIS", "Brier")
COVERAGES = ("50 %", "90 %")
RUNG = 25  # [deaths a month], the event of the Brier score
ACTIVE = 12  # [months]

Cells = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Losses and coverage of components over windows.

    `cells[score]` is float64 of shape (component, window, country, month): a loss, or 1 where the interval held the
    outcome and 0 where not; NaN where nothing can be judged and, for coverage, where the country was not active (no
    death in the twelve months up to the origin).
    """

    outcome: str
    windows: tuple[Window, ...]
    iso3: tuple[str, ...]
    components: tuple[str, ...]
    cells: dict[str, Cells]

    def means(self, score: str) -> Cells:
        """Mean by component and window, and over the windows last; shape (component, window + 1)."""
        known = ~np.isnan(self.cells[score])
        number = known.sum(axis=(2, 3))
        with np.errstate(invalid="ignore"):
            each = np.where(known, self.cells[score], 0.0).sum(axis=(2, 3)) / number
        return np.concatenate([each, each.mean(axis=1, keepdims=True)], axis=1)

    def difference(self, score: str, component: str, rng: np.random.Generator) -> tuple[Difference, int]:
        """A component's loss relative to conflictology12's, with its interval, and in how many windows it was lower."""
        ours, theirs = self.components.index(component), self.components.index(AGAINST)
        by_country = np.nan_to_num(self.cells[score]).transpose(0, 2, 1, 3)
        means = self.means(score)[:, :-1]
        won = int((means[ours] < means[theirs]).sum())
        return verification.paired_difference(by_country[ours], by_country[theirs], rng), won


def run(
    panel: Panel,
    windows: Sequence[Window],
    scope: Sequence[str],
    model: Component,
    *,
    baselines: Sequence[Component] = BASELINES,
    issued: Callable[[Window, Forecast], None] = lambda window, forecast: None,
) -> Judged:
    """Fit, forecast and judge a model and the baselines in each window.

    Trained on all countries that the panel holds, judged on those of `scope`; `issued` is told each of the model's
    forecasts. Raises BadInput where a window lies outside the data or nothing in it can be judged.
    """
    components = (model, *baselines)
    inside = tuple(code for code in panel.iso3 if code in set(scope))
    judged = []
    for window in windows:
        if window.origin < panel.months[0] or window.months[-1] > panel.months[-1]:
            raise BadInput(
                f"the window {window.name} needs the months {window.origin} to {window.months[-1]}; "
                f"the archive holds {panel.months[0]} to {panel.months[-1]}"
            )
        seen = panel.until(window.origin)
        forecasts = [component.fit(seen, window.origin).forecast(seen, window.origin) for component in components]
        issued(window, forecasts[0])
        place = panel.place(window.origin)
        rows = panel.only(inside)
        came = rows.deaths[:, place + FIRST_LEAD : place + FIRST_LEAD + len(window.months)]
        active = np.nan_to_num(rows.history(window.origin, ACTIVE)).sum(axis=1) > 0
        judged.append([_cells(forecast.only(inside), came, active) for forecast in forecasts])
        if np.isnan(judged[-1][0]["CRPS"]).all():
            raise BadInput(
                f"nothing can be judged in the window {window.name}: no {panel.outcome} deaths are known in it"
            )
    cells = {
        score: np.stack([[window[i][score] for window in judged] for i in range(len(components))])
        for score in (*LOSSES, *COVERAGES)
    }
    return Judged(panel.outcome, tuple(windows), inside, tuple(component.name for component in components), cells)


def _cells(forecast: Forecast, came: Cells, active: NDArray[np.bool_]) -> dict[str, Cells]:
    draws = forecast.draws[:, FIRST_LEAD - 1 :]
    known = ~(np.isnan(came) | np.isnan(draws).any(axis=-1))
    draws, came = np.where(known[..., None], draws, 0.0), np.where(known, came, 0.0)
    chance = (draws >= RUNG).mean(axis=-1)
    losses = {
        "CRPS": verification.crps(draws, came),
        "log-CRPS": verification.log_crps(draws, came),
        "IGN": verification.ignorance(draws, came),
        "MIS": verification.interval_score(draws, came),
        "Brier": verification.brier(chance, came >= RUNG),
    }
    held = {"50 %": verification.covered(draws, came, 0.5), "90 %": verification.covered(draws, came, 0.9)}
    return {
        **{score: np.where(known, loss, np.nan) for score, loss in losses.items()},
        **{score: np.where(known & active[:, None], inside, np.nan) for score, inside in held.items()},
    }
