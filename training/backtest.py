"""What a model would have said, window by window, judged beside the baselines by the same code.

Every component is fitted anew in each window on a panel that ends at its origin. Outcomes are the newest figures of the
archive, not those known at the time. It knows no files and no terminal.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import targets
from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History, Last, Zero
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.escalation import (
    RULE,
    RULE_MONTHS,
    Escalation,
    escalation_from_draws,
    escalation_from_history,
)
from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.forecasting.pool import SMOOTHER
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month
from training.results import BATTLE, CAME, COVERAGES, ESCALATION, ONSET, SCORES, WHEN, Cells, Judged, losses, together
from training.windows import Window

BASELINES: tuple[Component, ...] = (SMOOTHER, Conflictology(), History(), Last(), Zero())
SERVED = "served"
"""Of escalation only: whichever voice would be served beside the model."""
ACTIVE = 12  # [months]


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
    parts = []
    for window in windows:
        judged, forecasts = judge(panel, window, model, baselines)
        for forecast in forecasts:
            issued(window, forecast)
        parts.append(judged.only(scope))
        if np.isnan(parts[-1].came["deaths"]).all():
            raise BadInput(_nothing(panel, window))
    return together(parts)


def judge(
    panel: Panel, window: Window, model: Component, baselines: Sequence[Component] = BASELINES
) -> tuple[Judged, list[Forecast]]:
    """One window of a back-test over all countries of the panel, and what the model said in it, origin by origin.

    Where a window has several origins, the rule for escalation and the voice that would be served stand beside the
    components. Raises BadInput as `run`.
    """
    if window.origin < panel.months[0] or window.needed > panel.months[-1]:
        raise BadInput(
            f"the window {window.name} needs the months {window.origin} to {window.needed}; "
            f"the archive holds {panel.months[0]} to {panel.months[-1]}"
        )
    learned_from = panel.until(window.origin)
    components = [component.fit(learned_from, window.origin) for component in (model, *baselines)]
    escalation = Escalation().fit(learned_from, window.origin, model) if window.issues > 1 else None
    said, came, forecasts = [], [], []
    for origin in window.origins:
        seen = panel.until(origin)
        issued = [component.forecast(seen, origin) for component in components]
        forecasts.append(issued[0])
        came.append(_came(panel, origin, window))
        active = np.nan_to_num(seen.history(origin, ACTIVE)).sum(axis=1) > 0
        said.append([_said(forecast, seen, came[-1], active, window) for forecast in issued])
        if escalation is not None:
            chances = (
                escalation_from_history(seen.history(origin, RULE_MONTHS)),
                escalation.probabilities(seen, issued[0]).probability,
            )
            said[-1] += [_of_escalation(chance, window) for chance in chances]
    names = tuple(component.name for component in components) + ((RULE, SERVED) if escalation is not None else ())
    judged = Judged(
        panel.outcome,
        (window,),
        panel.iso3,
        names,
        {
            score: np.stack([np.concatenate([at[c][score] for at in said], axis=1) for c in range(len(names))])[:, None]
            for score in SCORES
        },
        {what: np.concatenate([at[what] for at in came], axis=1)[None] for what in CAME},
    )
    if np.isnan(judged.cells["CRPS"][0]).all():
        raise BadInput(_nothing(panel, window))
    return judged, forecasts


def _nothing(panel: Panel, window: Window) -> str:
    return f"nothing can be judged in the window {window.name}: no {panel.outcome} deaths are known in it"


def _came(panel: Panel, origin: Month, window: Window) -> dict[str, Cells]:
    """What came in the months of a forecast, each of shape (country, lead)."""
    place, leads = panel.place(origin), window.last - window.first + 1
    later = panel.deaths[:, place + 1 : place + 1 + window.last]
    later = np.pad(later, ((0, 0), (0, window.last - later.shape[1])), constant_values=np.nan)
    deaths = later[:, window.first - 1 :]
    escalated, when, began = np.full((3, len(panel.iso3), leads), np.nan)
    if window.first <= targets.HORIZON <= window.last:
        near, limit = (
            later[:, : targets.HORIZON].cumsum(axis=1),
            targets.escalation_threshold(panel.history(origin, targets.HORIZON)),
        )
        reached = near >= limit[:, None]
        escalated[:, targets.HORIZON - window.first] = _event(reached[:, -1], near[:, -1] + limit)
        when[:, targets.HORIZON - window.first] = np.where(reached[:, -1], 1.0 + reached.argmax(axis=1), np.nan)
    if window.last >= SERVED_LEADS:
        year = later[:, :SERVED_LEADS]
        quiet = (panel.history(origin, targets.QUIET_MONTHS) < targets.BATTLE_DEATHS).all(axis=1)
        happened = _event((year >= targets.BATTLE_DEATHS).any(axis=1), year.sum(axis=1))
        began[quiet, SERVED_LEADS - window.first] = happened[quiet]
    battle = _event(deaths >= targets.BATTLE_DEATHS, deaths)
    return {"deaths": deaths, BATTLE: battle, ESCALATION: escalated, ONSET: began, WHEN: when}


def _event(came: Any, known: Cells) -> Cells:
    return np.where(np.isnan(known), np.nan, came)


def _said(
    forecast: Forecast, seen: Panel, came: dict[str, Cells], active: NDArray[np.bool_], window: Window
) -> dict[str, Cells]:
    """Each score of a forecast, of shape (country, lead)."""
    whole = forecast.draws.astype(np.float64)
    found = losses(whole[:, window.first - 1 : window.last], came["deaths"])
    for level in COVERAGES:
        found[level][~active] = np.nan
    escalating, starting = np.full((2, *came["deaths"].shape), np.nan)
    if window.first <= targets.HORIZON <= window.last:
        chance = escalation_from_draws(forecast.draws, seen.history(forecast.origin, targets.HORIZON))
        escalating[:, targets.HORIZON - window.first] = chance
    if window.last >= SERVED_LEADS:
        year = whole[:, :SERVED_LEADS].max(axis=1)
        reached = (year >= targets.BATTLE_DEATHS).mean(axis=-1)
        starting[:, SERVED_LEADS - window.first] = np.where(np.isnan(year).any(axis=-1), np.nan, reached)
    return {
        **found,
        ESCALATION: np.where(np.isnan(came[ESCALATION]), np.nan, escalating),
        ONSET: np.where(np.isnan(came[ONSET]), np.nan, starting),
    }


def _of_escalation(chance: Cells, window: Window) -> dict[str, Cells]:
    """What says something of escalation and nothing else; `chance` is of shape (country,)."""
    said = {score: np.full((len(chance), window.last - window.first + 1), np.nan) for score in SCORES}
    said[ESCALATION][:, targets.HORIZON - window.first] = chance
    return said
