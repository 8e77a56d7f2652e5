"""Back-test on what was known: forecasts from the figures that had been published by an origin, scored on the newest.

The same model forecasts three times: from the newest figures, as if they had been known; from the reported ones, taken
as final; and from the reported ones with the revision model. The differences are the cost of not knowing, and how much
of it the revision model wins back.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from riskmodel.assessment import Assessment, assess
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month, last_day
from riskmodel.reporting.release_class import NEXT_FINAL
from riskmodel.reporting.unsettled import ReportingState, reporting_state
from riskmodel.scoring import Estimate
from training.backtest_runner import build_panel
from training.evaluation import score_window
from training.results import BacktestResult, Floats, join_windows
from training.windows import Window

FINAL, REPORTED, REVISED = "final", "reported", "revised"
BASES = (FINAL, REPORTED, REVISED)
"""What a forecast starts from: the newest figures, the reported ones, or these with the revision model."""
PUBLICATION_MONTHS = 1
"""The figures of an origin are published within this many months after it [months]."""


class CostOfNotKnowing(NamedTuple):
    """Relative differences of a mean loss: reported against final, revised against reported; and what is won back.

    `won_back` is the share of the cost that the revision model wins back; NaN where reported figures cost nothing.
    """

    cost: Estimate
    gain: Estimate
    won_back: float


def name_of(forecaster: str, basis: str) -> str:
    """Return the name that a forecaster has in the result when it starts from a basis."""
    return f"{forecaster}, {basis}"


def known_by(view: View, origin: Month) -> View:
    """Return the view of what had been published when the figures of an origin were new."""
    moment = datetime.fromisoformat(last_day(origin + PUBLICATION_MONTHS)).replace(hour=23, tzinfo=UTC)
    return view.with_ingests([i for i in view.ingests if datetime.fromisoformat(i.known_since) <= moment])


def settled_state(view: View, outcome: str) -> ReportingState:
    """Return the reporting state of a view whose figures are taken as final."""
    state = reporting_state(view, outcome)
    return replace(state, classes=np.full_like(state.classes, NEXT_FINAL))


def run(
    view: View,
    outcome: str,
    model: Component,
    windows: Sequence[Window],
    iso3: Sequence[str],
    on_window: Callable[[Window], None] = lambda window: None,
) -> BacktestResult:
    """Back-test a model and the smoothed history from each basis, on some countries.

    Models learn from all countries, from what was known at a window's origin. Raises BadInput where an origin was not
    known in time, or where no deaths are known in a window.
    """
    parts = []
    for window in windows:
        parts.append(_run_window(view, outcome, (model, SMOOTHED_HISTORY), window, tuple(iso3)))
        on_window(window)
    return join_windows(parts)


def cost_of_not_knowing(
    result: BacktestResult, forecaster: str, score: str, rng: np.random.Generator
) -> CostOfNotKnowing:
    """Return how much a forecaster loses by not knowing the final figures, and what the revision model wins back."""
    final, reported, revised = (name_of(forecaster, basis) for basis in BASES)
    cost = result.difference(score, reported, final, rng).estimate
    gain = result.difference(score, revised, reported, rng).estimate
    losses = {name: float(result.means(score)[result.index_of(name), -1]) for name in (final, reported, revised)}
    lost = losses[reported] - losses[final]
    return CostOfNotKnowing(cost, gain, (losses[reported] - losses[revised]) / lost if lost > 0 else float("nan"))


def _run_window(
    view: View, outcome: str, forecasters: Sequence[Component], window: Window, iso3: tuple[str, ...]
) -> BacktestResult:
    newest = view.outcomes().with_history(outcome, window.origin)
    panel = build_panel(view, newest, outcome)
    if window.last_month_needed > panel.months[-1]:
        raise BadInput(f"the window {window.name} needs the months to {window.last_month_needed}")
    scored = panel.only([code for code in iso3 if code in panel.iso3])
    known = known_by(view, window.origin)
    learned = known.outcomes().with_history(outcome, window.origin)
    if not learned.iso3 or learned.months[-1] < window.origin:
        raise BadInput(
            f"the figures of {window.origin}, the origin of {window.name}, were not known a month later: a back-test "
            "as known needs the releases of that time, such as those of vigie ingest simulated --first-reports"
        )
    past = build_panel(known, learned.until(window.origin), outcome)
    fitted = {
        FINAL: [each.fit(panel.until(window.origin), window.origin) for each in forecasters],
        REPORTED: [each.fit(past, window.origin) for each in forecasters],
    }

    def forecasts_at(origin: Month) -> tuple[list[Forecast], list[Floats]]:
        forecasts = [each.forecast(scored.until(origin), origin) for each in fitted[FINAL]]
        for assessed in _assessments(known_by(view, origin), outcome, scored, origin):
            forecasts += [assessed.forecast(each) for each in fitted[REPORTED]]
        return forecasts, []

    names = tuple(name_of(each.name, basis) for basis in BASES for each in forecasters)
    return score_window(scored, window, names, forecasts_at)


def _assessments(view: View, outcome: str, scored: Panel, origin: Month) -> tuple[Assessment, Assessment]:
    """The countries at an origin with the reported figures taken as final, and with the revision model."""
    states = settled_state(view, outcome), reporting_state(view, outcome)
    as_reported, revised = (assess(view, scored.iso3, outcome, origin, each) for each in states)
    return as_reported, revised
