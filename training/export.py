"""Forecasts as a file that others can read: `origin, iso3, month, draw, deaths`, Parquet, a row for each draw."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.forecasting.forecast import Forecast
from riskmodel.home import whole_file
from riskmodel.months import span
from training.windows import Window

SCHEMA = pa.schema(
    [
        ("origin", pa.timestamp("ms")),
        ("iso3", pa.string()),
        ("month", pa.timestamp("ms")),
        ("draw", pa.int32()),
        ("deaths", pa.int32()),
    ]
)


BATCH = 1_000_000  # [rows]


@contextmanager
def writing(path: Path) -> Iterator[Callable[[Forecast, Window], None]]:
    """Give a function that adds a window's forecast; the file is there, whole, when the block ends well.

    Origin and month are the first day of their month; draws are equiprobable, counted from 0. A country that could not
    be forecast has no rows.
    """
    with whole_file(path) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        yield lambda forecast, window: writer.write_table(_rows(forecast, window))


def join(files: Sequence[Path], iso3: Sequence[str], path: Path) -> None:
    """Put what files of this layout say of some countries behind each other into one, whole or not at all."""
    wanted = pa.array(iso3, pa.string())
    with whole_file(path) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for file in files:
            with pq.ParquetFile(file) as source:
                for batch in source.iter_batches(batch_size=BATCH):
                    writer.write_batch(batch.filter(pc.is_in(batch["iso3"], value_set=wanted)))


def _rows(forecast: Forecast, window: Window) -> pa.Table:
    known = ~np.isnan(forecast.draws).any(axis=(1, 2))
    draws = forecast.draws[known, window.first - 1 : window.last]
    months = span(forecast.origin + window.first, forecast.origin + window.last)
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
        schema=SCHEMA,
    )
