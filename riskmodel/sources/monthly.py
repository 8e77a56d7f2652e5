"""Country-month tables, as CSV, .csv.gz or Parquet: `iso3, month, deaths_state_based[, deaths_non_state, …one_sided]`.

A row covers its country-month. A month without a row is unknown.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events import coverage
from riskmodel.events.columns import dates, integers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, CheckedBatch, Quarantine, unsplit_rows
from riskmodel.outcomes import TYPES
from riskmodel.sources import files


class MonthlyFile:
    """One country-month table. Raises BadInput for a file or header that cannot be read."""

    kind: Kind = "country_months"
    simulated = False

    def __init__(self, path: Path, source: str = "monthly", variant: str = "monthly") -> None:
        self.source, self.variant = source, variant
        self.table, names = files.table(path)
        self._deaths = [name for name in (f"deaths_{kind}" for kind in TYPES) if name in names]
        missing = [name for name in ("iso3", "month") if name not in names]
        if missing or not self._deaths:
            lacking = ", ".join(missing or ["deaths_state_based"])
            raise BadInput(f"{path}: header: no column {lacking}; this is no country-month table")
        self.schema = pa.schema(
            [("iso3", NAMES), ("month", pa.date32()), *((name, pa.float64()) for name in self._deaths)]
        )
        self._covers: list[Coverage] = []

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows and quarantined ones, all at once."""
        batch = files.combined(self.table)
        if not batch.rows.size:
            yield CheckedBatch(self.schema.empty_table(), unsplit_rows(self.table.unsplit))
            return
        iso3, text = batch.cells["iso3"], pc.utf8_slice_codeunits(batch.cells["month"], 0, 10)
        days = dates(pc.if_else(pc.equal(pc.utf8_length(text), 7), pc.binary_join_element_wise(text, "01", "-"), text))
        months = days.astype("datetime64[M]")
        out = Quarantine(batch.rows, batch.record)
        known_country = np.isin(iso3.to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known_country, "iso3 is no country code that Vigie knows", iso3)
        out.add(np.isnat(days), "month is not written YYYY-MM or YYYY-MM-01", batch.cells["month"])
        out.add(days != months, "month is not the first day of a month", batch.cells["month"])
        out.add(months >= np.datetime64(today, "M"), "month is not over yet", batch.cells["month"])
        deaths = {name: integers(batch.cells[name]) for name in self._deaths}
        for name, values in deaths.items():
            out.add(np.isnan(values), f"{name} is not a whole number", batch.cells[name])
            out.add(values < 0, f"{name} is negative", batch.cells[name])
        keys = pd.DataFrame({"iso3": iso3.to_pandas(), "month": months.astype("datetime64[s]")})
        repeated = np.zeros(batch.rows.size, dtype=bool)
        repeated[out.accepted] = keys[out.accepted].duplicated().to_numpy()
        out.add(repeated, "country and month repeat an earlier row of this file", batch.cells["month"])

        accepted = np.flatnonzero(out.accepted)
        columns = [iso3.take(pa.array(accepted)).dictionary_encode().cast(NAMES), pa.array(days[accepted])]
        columns += [pa.array(values[accepted]) for values in deaths.values()]
        self._covers = [
            span
            for code, rows in sorted(keys[out.accepted].groupby("iso3").indices.items())
            for span in coverage.spans(str(code), np.sort(months[accepted][rows]))
        ]
        table = pa.Table.from_arrays(columns, schema=self.schema)
        yield CheckedBatch(table, pa.concat_tables([out.table(), unsplit_rows(self.table.unsplit)]))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """Return no release, and the coverage of the rows that have been read."""
        return None, self._covers
