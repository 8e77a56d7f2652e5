"""Back-test a model and the baselines: fit, forecast and score them in each window with the same code.

Every forecaster is fitted again in each window, on a panel that ends at the window's origin. Outcomes are the newest
figures of the archive, not those known at the origin. This module knows no file and no terminal.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import targets
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import BASELINES
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.escalation import (
    RULE,
    RULE_MONTHS,
    Escalation,
    escalation_from_draws,
    escalation_from_history,
)
from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month
from training.draw_scores import score_draws
from training.formatting import format_outcome
from training.results import (
    BATTLE_MONTH,
    COVERAGES,
    DEATHS,
    ESCALATION,
    MONTHS_TO_ESCALATION,
    OBSERVED_COLUMNS,
    ONSET,
    PROBABILITY_OF,
    SCORE_COLUMNS,
    BacktestResult,
    Floats,
    join_windows,
)
from training.windows import Window

SERVED = "served"
"""The forecaster of escalation that the service would use. It forecasts nothing else."""
ACTIVE_MONTHS = 12
"""A country is active if it had a death in this many months up to the origin."""


def run(
    panel: Panel,
    windows: Sequence[Window],
    iso3: Sequence[str],
    model: Component,
    *,
    baselines: Sequence[Component] = BASELINES,
    on_forecast: Callable[[Window, Forecast], None] = lambda window, forecast: None,
) -> BacktestResult:
    """Back-test a model and baselines over several windows.

    All are fitted on every country of the panel and scored on the countries `iso3`. `on_forecast` receives each
    forecast of the model. Raises BadInput where a window lies outside of the data, or no deaths are known in it.
    """
    parts = []
    for window in windows:
        result, forecasts = run_window(panel, window, model, baselines)
        for forecast in forecasts:
            on_forecast(window, forecast)
        parts.append(result.for_countries(iso3))
        if not parts[-1].has_outcomes:
            raise BadInput(_no_outcomes(panel, window))
    return join_windows(parts)


def run_window(
    panel: Panel, window: Window, model: Component, baselines: Sequence[Component] = BASELINES
) -> tuple[BacktestResult, list[Forecast]]:
    """Back-test one window over all countries of the panel; also return the model's forecasts by origin.

    A window with several origins has two more forecasters of escalation: the rule and the one that would be served.
    Raises BadInput as `run` does.
    """
    if window.origin < panel.months[0] or window.last_month_needed > panel.months[-1]:
        raise BadInput(
            f"the window {window.name} needs the months {window.origin} to {window.last_month_needed}; "
            f"the archive holds {panel.months[0]} to {panel.months[-1]}"
        )
    training_panel = panel.until(window.origin)
    forecasters = [forecaster.fit(training_panel, window.origin) for forecaster in (model, *baselines)]
    escalation = Escalation().fit(training_panel, window.origin, model) if window.issues > 1 else None
    model_forecasts = []

    def forecasts_at(origin: Month) -> tuple[list[Forecast], list[Floats]]:
        known_panel = panel.until(origin)
        forecasts = [forecaster.forecast(known_panel, origin) for forecaster in forecasters]
        model_forecasts.append(forecasts[0])
        if escalation is None:
            return forecasts, []
        by_rule = escalation_from_history(known_panel.history(origin, RULE_MONTHS))
        return forecasts, [by_rule, escalation.probabilities(known_panel, forecasts[0]).probability]

    names = tuple(forecaster.name for forecaster in forecasters)
    names = names if escalation is None else (*names, RULE, SERVED)
    return score_window(panel, window, names, forecasts_at), model_forecasts


def score_window(
    panel: Panel,
    window: Window,
    names: tuple[str, ...],
    forecasts_at: Callable[[Month], tuple[Sequence[Forecast], Sequence[Floats]]],
) -> BacktestResult:
    """Score the forecasts of a window's origins on a panel, whose countries they have in its order.

    `forecasts_at` gets each origin. It returns the forecasts and, of forecasters that only know escalation, its
    probabilities, shape (country,); `names` has a name for each. Raises BadInput where no deaths are known.
    """
    scores_by_origin: list[list[dict[str, Floats]]] = []
    observed_by_origin: list[dict[str, Floats]] = []
    for origin in window.origins:
        known_panel = panel.until(origin)
        forecasts, probabilities = forecasts_at(origin)
        observed = _observe(panel, origin, window)
        active = np.nan_to_num(known_panel.history(origin, ACTIVE_MONTHS)).sum(axis=1) > 0
        scored = [_score_forecast(forecast, known_panel, observed, active, window) for forecast in forecasts]
        scored += [_escalation_only(probability, window) for probability in probabilities]
        observed_by_origin.append(observed)
        scores_by_origin.append(scored)
    result = BacktestResult(
        panel.outcome,
        (window,),
        panel.iso3,
        names,
        scores={
            column: np.stack(
                [np.concatenate([scored[row][column] for scored in scores_by_origin], 1) for row in range(len(names))]
            )[:, None]
            for column in SCORE_COLUMNS
        },
        observed={
            column: np.concatenate([observed[column] for observed in observed_by_origin], axis=1)[None]
            for column in OBSERVED_COLUMNS
        },
    )
    if np.isnan(result.scores["crps"][0]).all():
        raise BadInput(_no_outcomes(panel, window))
    return result


def _no_outcomes(panel: Panel, window: Window) -> str:
    return f"the window {window.name} cannot be scored: no {format_outcome(panel.outcome)} are known in it"


def _observe(panel: Panel, origin: Month, window: Window) -> dict[str, Floats]:
    """Return what happened in the months of a forecast, each of shape (country, lead)."""
    place, leads = panel.month_index(origin), window.last_lead - window.first_lead + 1
    later = panel.deaths[:, place + 1 : place + 1 + window.last_lead]
    later = np.pad(later, ((0, 0), (0, window.last_lead - later.shape[1])), constant_values=np.nan)
    deaths = later[:, window.first_lead - 1 :]
    escalation, months_to_escalation, onset = np.full((3, len(panel.iso3), leads), np.nan)
    if window.first_lead <= targets.HORIZON <= window.last_lead:
        column = targets.HORIZON - window.first_lead
        cumulative = later[:, : targets.HORIZON].cumsum(axis=1)
        limit = targets.escalation_threshold(panel.history(origin, targets.HORIZON))
        reached = cumulative >= limit[:, None]
        escalation[:, column] = _event(reached[:, -1], cumulative[:, -1] + limit)
        months_to_escalation[:, column] = np.where(reached[:, -1], 1.0 + reached.argmax(axis=1), np.nan)
    if window.last_lead >= SERVED_LEADS:
        year = later[:, :SERVED_LEADS]
        quiet = (panel.history(origin, targets.QUIET_MONTHS) < targets.BATTLE_DEATHS).all(axis=1)
        happened = _event((year >= targets.BATTLE_DEATHS).any(axis=1), year.sum(axis=1))
        onset[quiet, SERVED_LEADS - window.first_lead] = happened[quiet]
    return {
        DEATHS: deaths,
        BATTLE_MONTH: _event(deaths >= targets.BATTLE_DEATHS, deaths),
        ESCALATION: escalation,
        ONSET: onset,
        MONTHS_TO_ESCALATION: months_to_escalation,
    }


def _event(happened: Any, deaths: Floats) -> Floats:
    """Return 1 where an event happened and 0 where not, NaN where the deaths that decide it are NaN."""
    return np.where(np.isnan(deaths), np.nan, happened)


def _score_forecast(
    forecast: Forecast, known_panel: Panel, observed: dict[str, Floats], active: NDArray[np.bool_], window: Window
) -> dict[str, Floats]:
    """Return each score of a forecast, of shape (country, lead)."""
    draws = forecast.draws.astype(np.float64)
    scored = score_draws(draws[:, window.first_lead - 1 : window.last_lead], observed[DEATHS])
    for level in COVERAGES:
        scored[level][~active] = np.nan
    p_escalation, p_onset = np.full((2, *observed[DEATHS].shape), np.nan)
    if window.first_lead <= targets.HORIZON <= window.last_lead:
        probability = escalation_from_draws(forecast.draws, known_panel.history(forecast.origin, targets.HORIZON))
        p_escalation[:, targets.HORIZON - window.first_lead] = probability
    if window.last_lead >= SERVED_LEADS:
        worst_month = draws[:, :SERVED_LEADS].max(axis=1)
        share = (worst_month >= targets.BATTLE_DEATHS).mean(axis=-1)
        p_onset[:, SERVED_LEADS - window.first_lead] = np.where(np.isnan(worst_month).any(axis=-1), np.nan, share)
    return {
        **scored,
        PROBABILITY_OF[ESCALATION]: np.where(np.isnan(observed[ESCALATION]), np.nan, p_escalation),
        PROBABILITY_OF[ONSET]: np.where(np.isnan(observed[ONSET]), np.nan, p_onset),
    }


def _escalation_only(probability: Floats, window: Window) -> dict[str, Floats]:
    """Return the scores of a forecaster of escalation; `probability` has shape (country,)."""
    shape = len(probability), window.last_lead - window.first_lead + 1
    scored = {column: np.full(shape, np.nan) for column in SCORE_COLUMNS}
    scored[PROBABILITY_OF[ESCALATION]][:, targets.HORIZON - window.first_lead] = probability
    return scored
