"""Forecasts from an uncertain present: a mixture over joint histories of the months that can still be revised."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month


def mixed_forecast(component: Component, panel: Panel, histories: Sequence[Panel], origin: Month) -> Forecast:
    """Return a forecast of which each history gives an equal share of the draws, so that its uncertainty adds.

    `panel` is the present as expected; each of `histories` is one that it may turn out to be, with the same countries.
    Draw i is a draw from history i mod their number. A country with the same rows in the panel and in all histories has
    exactly the draws of the panel, at no cost.
    """
    forecast = component.forecast(panel, origin)
    place, draws = panel.month_index(origin) + 1, None
    for number, history in enumerate(histories):
        same_deaths = _equal(panel.deaths[:, :place], history.deaths[:, :place])
        rows = np.flatnonzero(~(same_deaths & _equal(panel.at(origin), history.at(origin))))
        if rows.size:
            drawn = component.forecast(history.only([panel.iso3[row] for row in rows]), origin).draws
            draws = forecast.draws.copy() if draws is None else draws
            draws[rows, :, number :: len(histories)] = drawn[..., number :: len(histories)]
    return forecast if draws is None else replace(forecast, draws=draws)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether all values of each row are the same; two NaN are."""
    return np.asarray(((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1))
