"""The draws behind a snapshot as they are stored: one Parquet file for each forecaster and country.

The schema is that of `riskmodel.forecasting.forecast_table` for leads 1-12, with the columns `outcome` and `simulated`.
The model in service also has gzipped CSV. This module knows no database and no model.
"""

import gzip
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from riskmodel.errors import Refused
from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.forecasting.forecast_table import forecast_table

Role = Literal["served", "baseline", "shadow"]


@dataclass(frozen=True)
class StoredForecast:
    """One forecaster's draws of an outcome for one country. `digest` is the SHA-256 of `parquet`."""

    outcome: str
    role: Role
    forecaster: str
    location_code: str
    parquet: bytes
    csv: bytes | None = None

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.parquet).hexdigest()

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a row of `forecasts`, without the snapshot."""
        names = ("outcome", "role", "forecaster", "location_code", "parquet", "csv", "digest")
        return {name: getattr(self, name) for name in names}


def to_store(role: Role, forecaster: str, forecast: Forecast, *, simulated: bool) -> list[StoredForecast]:
    """Return what is stored of a forecast. A country that could not be forecast has nothing."""
    stored = []
    for iso3, draws in zip(forecast.iso3, forecast.draws, strict=True):
        if not np.isnan(draws).any():
            table = forecast_table(forecast.only([iso3]), 1, SERVED_LEADS)
            for name, value in (("outcome", forecast.outcome), ("simulated", simulated)):
                table = table.append_column(name, pa.array([value] * table.num_rows))
            csv_file = _csv(table) if role == "served" else None
            stored.append(StoredForecast(forecast.outcome, role, forecaster, iso3, _parquet(table), csv_file))
    return stored


def digests(stored: Sequence[StoredForecast]) -> dict[str, Any]:
    """Return the digests that the part of an outcome in a snapshot's document repeats: its digest covers the draws."""
    parquet: dict[str, dict[str, str]] = {}
    for forecast in stored:
        parquet.setdefault(forecast.forecaster, {})[forecast.location_code] = forecast.digest
    csv_files = {f.location_code: hashlib.sha256(f.csv).hexdigest() for f in stored if f.csv is not None}
    return {"forecasts": parquet, "forecasts_csv": csv_files}


def read(parquet: bytes, digest: str | None, name: str) -> NDArray[np.int32]:
    """Read the draws of a file, shape (lead, draw) [deaths].

    Raises Refused if the file does not have the digest; `name` says in the error which file it is.
    """
    if hashlib.sha256(parquet).hexdigest() != digest:
        raise Refused(f"the draws of {name} have changed since they were issued: run vigie ledger verify")
    deaths = pq.read_table(io.BytesIO(parquet), columns=["deaths"])["deaths"].to_numpy()
    return np.asarray(deaths.reshape(SERVED_LEADS, -1))


def _parquet(table: pa.Table) -> bytes:
    """Return a small file: the numbers of the draws rise by one, and the other columns have few values."""
    file = io.BytesIO()
    few_values = [name for name in table.column_names if name != "draw"]
    encoding = {"use_dictionary": few_values, "column_encoding": {"draw": "DELTA_BINARY_PACKED"}}
    pq.write_table(table, file, compression="zstd", compression_level=9, **encoding)
    return file.getvalue()


def _csv(table: pa.Table) -> bytes:
    days = {name: table[name].cast(pa.date32()).cast(pa.string()) for name in ("origin", "month")}
    text_table = pa.table({name: days.get(name, table[name]) for name in table.column_names})
    file = io.BytesIO()
    csv.write_csv(text_table, file, csv.WriteOptions(quoting_style="needed"))  # which puts quotes around every text
    return gzip.compress(file.getvalue(), compresslevel=6, mtime=0)  # without a time, equal draws have equal bytes
