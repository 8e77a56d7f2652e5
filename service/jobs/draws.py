"""The draws behind a snapshot as they are kept: a file for each forecaster and country, and what is read from one.

Parquet for all, by the schema of `riskmodel.forecasting.forecast_table` and a column `simulated`, leads 1-12; the same
as gzipped CSV of what is served. It knows no store and no model.
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
class Kept:
    """One forecaster's draws of one country; `digest` is the SHA-256 of `parquet`."""

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
        """As a row of `forecasts`."""
        names = ("role", "forecaster", "location_code", "parquet", "csv", "digest")
        return {name: getattr(self, name) for name in names}


def kept(role: Role, forecaster: str, forecast: Forecast, *, simulated: bool) -> list[Kept]:
    """What is kept of a forecast: a country that could not be forecast has nothing."""
    files = []
    for iso3, draws in zip(forecast.iso3, forecast.draws, strict=True):
        if not np.isnan(draws).any():
            table = forecast_table(forecast.only([iso3]), 1, SERVED_LEADS)
            table = table.append_column("simulated", pa.array([simulated] * table.num_rows))
            files.append(Kept(role, forecaster, iso3, _parquet(table), _csv(table) if role == "served" else None))
    return files


def told(files: Sequence[Kept]) -> dict[str, Any]:
    """What a snapshot repeats of its files, so that its own digest covers them."""
    digests: dict[str, dict[str, str]] = {}
    for file in files:
        digests.setdefault(file.forecaster, {})[file.location_code] = file.digest
    of_csv = {file.location_code: hashlib.sha256(file.csv).hexdigest() for file in files if file.csv is not None}
    return {"forecasts": digests, "forecasts_csv": of_csv}


def read(parquet: bytes, digest: str | None, whose: str) -> NDArray[np.int32]:
    """The draws of a file, shape (lead, draw) [deaths]. Raises Refused, saying `whose`, unless it has its digest."""
    if hashlib.sha256(parquet).hexdigest() != digest:
        raise Refused(f"the draws of {whose} are not as they were issued; vigie ledger verify says what else is not")
    deaths = pq.read_table(io.BytesIO(parquet), columns=["deaths"])["deaths"].to_numpy()
    return np.asarray(deaths.reshape(SERVED_LEADS, -1))


def _parquet(table: pa.Table) -> bytes:
    """A small file: draws are counted, and the rest takes few values."""
    written = io.BytesIO()
    others = [name for name in table.column_names if name != "draw"]
    encoded = {"use_dictionary": others, "column_encoding": {"draw": "DELTA_BINARY_PACKED"}}
    pq.write_table(table, written, compression="zstd", compression_level=9, **encoded)
    return written.getvalue()


def _csv(table: pa.Table) -> bytes:
    days = {name: table[name].cast(pa.date32()) for name in ("origin", "month")}
    plain = pa.table({name: days.get(name, table[name]) for name in table.column_names})
    written = io.BytesIO()
    written.write((",".join(table.column_names) + "\n").encode())
    csv.write_csv(plain, written, csv.WriteOptions(include_header=False, quoting_style="none"))
    return gzip.compress(written.getvalue(), compresslevel=6, mtime=0)
