"""Forecasts as a file that others can read: `origin, iso3, month, draw, deaths, simulated`, Parquet, a row a draw."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.layout import SCHEMA, rows
from riskmodel.home import atomic_write
from training.windows import Window

BATCH = 1_000_000  # [rows]


@contextmanager
def writing(path: Path) -> Iterator[Callable[[Forecast, Window], None]]:
    """Give a function that adds a window's forecast; the file is there, whole, when the block ends well.

    A country that could not be forecast has no rows.
    """
    with atomic_write(path) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        yield lambda forecast, window: writer.write_table(rows(forecast, window.first, window.last))


def join(files: Sequence[Path], iso3: Sequence[str], path: Path, *, simulated: bool) -> None:
    """Put what such files say of some countries behind each other into one for others, whole or not at all."""
    wanted, marked = pa.array(iso3, pa.string()), SCHEMA.append(pa.field("simulated", pa.bool_()))
    with atomic_write(path) as part, pq.ParquetWriter(part, marked, compression="zstd") as writer:
        for file in files:
            with pq.ParquetFile(file) as source:
                for batch in source.iter_batches(batch_size=BATCH):
                    asked = batch.filter(pc.is_in(batch["iso3"], value_set=wanted))
                    writer.write_batch(asked.append_column("simulated", pa.repeat(simulated, asked.num_rows)))
