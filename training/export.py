"""Forecasts as a file that others can read: `origin, iso3, month, draw, deaths`, Parquet, a row for each draw."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.forecasting.forecast import Forecast
from riskmodel.home import whole_file
from training.windows import FIRST_LEAD, Window

SCHEMA = pa.schema(
    [
        ("origin", pa.timestamp("ms")),
        ("iso3", pa.string()),
        ("month", pa.timestamp("ms")),
        ("draw", pa.int32()),
        ("deaths", pa.int32()),
    ]
)


@contextmanager
def writing(path: Path) -> Iterator[Callable[[Forecast, Window], None]]:
    """Give a function that adds a window's forecast; the file is there, whole, when the block ends well.

    Origin and month are the first day of their month; draws are equiprobable, counted from 0. A country that could not
    be forecast has no rows.
    """
    with whole_file(path) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        yield lambda forecast, window: writer.write_table(_rows(forecast, window))


def _rows(forecast: Forecast, window: Window) -> pa.Table:
    known = ~np.isnan(forecast.draws).any(axis=(1, 2))
    draws = forecast.draws[known, FIRST_LEAD - 1 :]
    country, month, draw = (index.ravel() for index in np.indices(draws.shape))
    iso3 = np.array(forecast.iso3)[known]
    return pa.table(
        {
            "origin": pa.array(np.full(draws.size, window.origin.astype("datetime64[ms]"))),
            "iso3": pa.DictionaryArray.from_arrays(country, iso3.tolist()).cast(pa.string()),
            "month": pa.array(window.months.astype("datetime64[ms]")[month]),
            "draw": draw.astype(np.int32),
            "deaths": draws.ravel().astype(np.int32),
        },
        schema=SCHEMA,
    )
