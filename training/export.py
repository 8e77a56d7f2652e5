"""Write forecasts to a Parquet file for others: `origin, iso3, month, draw, deaths, simulated`, one row per draw."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forecast_table import FORECAST_SCHEMA, forecast_table
from riskmodel.home import atomic_write
from training.windows import Window

BATCH_ROWS = 1_000_000


@contextmanager
def open_writer(path: Path) -> Iterator[Callable[[Forecast, Window], None]]:
    """Yield a function that writes the forecast of a window.

    The file appears, complete, when the block ends without an error. A country that could not be forecast has no rows.
    """
    with atomic_write(path) as part, pq.ParquetWriter(part, FORECAST_SCHEMA, compression="zstd") as writer:
        yield lambda forecast, window: writer.write_table(forecast_table(forecast, window.first_lead, window.last_lead))


def join_files(files: Sequence[Path], iso3: Sequence[str], path: Path, *, simulated: bool) -> None:
    """Join such files into one, for some countries, with the column `simulated`. It appears only when complete."""
    countries, schema = pa.array(iso3, pa.string()), FORECAST_SCHEMA.append(pa.field("simulated", pa.bool_()))
    with atomic_write(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for file in files:
            with pq.ParquetFile(file) as source:
                for batch in source.iter_batches(batch_size=BATCH_ROWS):
                    chosen = batch.filter(pc.is_in(batch["iso3"], value_set=countries))
                    writer.write_batch(chosen.append_column("simulated", pa.repeat(simulated, chosen.num_rows)))
