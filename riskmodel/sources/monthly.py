"""Country-month tables, as CSV, .csv.gz or Parquet: `iso3, month, deaths_state_based[, deaths_non_state, …one_sided]`.

A row that is there speaks for its country-month; a month without a row is unknown.
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
    source = "monthly"
    variant = "monthly"
    simulated = False

    def __init__(self, path: Path) -> None:
        self.table, names = files.table(path)
        self._deaths = [name for name in (f"deaths_{kind}" for kind in TYPES) if name in names]
        missing = [name for name in ("iso3", "month") if name not in names]
        if missing or not self._deaths:
            wanted = ", ".join(missing or ["deaths_state_based"])
            raise BadInput(f"{path}: header: no column {wanted}; this is no country-month table")
        self.schema = pa.schema(
            [("iso3", NAMES), ("month", pa.date32()), *((name, pa.float64()) for name in self._deaths)]
        )
        self._covers: list[Coverage] = []

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """The rows that can be read and those kept out, all at once."""
        batch = files.together(list(self.table.batches()))
        if not batch.rows.size:
            yield CheckedBatch(self.schema.empty_table(), unsplit_rows(self.table.unsplit))
            return
        iso3, written = batch.cells["iso3"], pc.utf8_slice_codeunits(batch.cells["month"], 0, 10)
        days = dates(
            pc.if_else(pc.equal(pc.utf8_length(written), 7), pc.binary_join_element_wise(written, "01", "-"), written)
        )
        months = days.astype("datetime64[M]")
        out = Quarantine(batch.rows, batch.record)
        known = np.isin(iso3.to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known, "iso3 is no country code that Vigie knows", iso3)
        out.add(np.isnat(days), "month is not written YYYY-MM or YYYY-MM-01", batch.cells["month"])
        out.add(days != months, "month is not the first day of a month", batch.cells["month"])
        out.add(months >= np.datetime64(today, "M"), "month is not over yet", batch.cells["month"])
        counts = {name: integers(batch.cells[name]) for name in self._deaths}
        for name, count in counts.items():
            out.add(np.isnan(count), f"{name} is not a whole number", batch.cells[name])
            out.add(count < 0, f"{name} is negative", batch.cells[name])
        frame = pd.DataFrame({"iso3": iso3.to_pandas(), "month": months.astype("datetime64[s]")})
        again = np.zeros(batch.rows.size, dtype=bool)
        again[out.accepted] = frame[out.accepted].duplicated().to_numpy()
        out.add(again, "country and month stand in an earlier row of this file", batch.cells["month"])

        kept = np.flatnonzero(out.accepted)
        columns = [iso3.take(pa.array(kept)).dictionary_encode().cast(NAMES), pa.array(days[kept])]
        good = pa.Table.from_arrays(
            [*columns, *(pa.array(count[kept]) for count in counts.values())], schema=self.schema
        )
        self._covers = [
            span
            for code, rows in sorted(frame[out.accepted].groupby("iso3").indices.items())
            for span in coverage.spans(str(code), np.sort(months[kept][rows]))
        ]
        yield CheckedBatch(good, pa.concat_tables([out.table(), unsplit_rows(self.table.unsplit)]))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """No release; the coverage is the rows that have been read."""
        return None, self._covers
