"""Forecasts as an Arrow table for exchange: `origin, iso3, month, draw, deaths`, one row per draw.

Origin and month are the first day of their month. Draws are equiprobable and counted from 0.
"""

import numpy as np
import pyarrow as pa

from riskmodel.forecasting.forecast import Forecast
from riskmodel.months import span

FORECAST_SCHEMA = pa.schema(
    [
        ("origin", pa.timestamp("ms")),
        ("iso3", pa.string()),
        ("month", pa.timestamp("ms")),
        ("draw", pa.int32()),
        ("deaths", pa.int32()),
    ]
)


def forecast_table(forecast: Forecast, first: int, last: int) -> pa.Table:
    """Return the draws of the leads from `first` to `last` [months], by `FORECAST_SCHEMA`.

    A country that could not be forecast has no rows.
    """
    known = ~np.isnan(forecast.draws).any(axis=(1, 2))
    draws = forecast.draws[known, first - 1 : last]
    months = span(forecast.origin + first, forecast.origin + last)
    country, month, draw = (index.ravel() for index in np.indices(draws.shape))
    iso3 = np.array(forecast.iso3)[known]
    return pa.table(
        {
            "origin": pa.array(np.full(draws.size, forecast.origin.astype("datetime64[ms]"))),
            "iso3": pa.DictionaryArray.from_arrays(country, iso3.tolist()).cast(pa.string()),
            "month": pa.array(months.astype("datetime64[ms]")[month]),
            "draw": draw.astype(np.int32),
            "deaths": draws.ravel().astype(np.int32),
        },
        schema=FORECAST_SCHEMA,
    )
