"""Country-month tables, as CSV, .csv.gz or Parquet: `iso3`, `month`, and deaths by type, their sum, or both.

The columns are `deaths_state_based`, `deaths_non_state`, `deaths_one_sided` and `deaths_all`; any of them is enough. A
row covers its country-month. A month without a row is unknown, and so are the types of which the table has no column.
"""

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events import coverage
from riskmodel.events.columns import DateOrder, dates, integers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import MOST_DEATHS, NAMES, TWICE, CheckedBatch, Quarantine, repeated_keys, unsplit_rows
from riskmodel.outcomes import KINDS
from riskmodel.sources import files

BELOW_PARTS = "deaths_all is lower than the deaths of its types together"


class MonthlyFile:
    """One country-month table. Raises BadInput for a file or header that cannot be read."""

    kind: Kind = "country_months"
    simulated = False

    def __init__(
        self, path: Path, source: str = "monthly", variant: str = "monthly", dates: DateOrder | None = None
    ) -> None:
        self.source, self.variant = source, variant
        self.table, names = files.table(path)
        self._deaths = [name for name in (f"deaths_{kind}" for kind in KINDS) if name in names]
        missing = [name for name in ("iso3", "month") if name not in names]
        if missing or not self._deaths:
            lacking = ", ".join(missing or ["deaths_state_based or deaths_all"])
            raise BadInput(f"{path}: header: no column {lacking}; this is no country-month table")
        self.schema = pa.schema(
            [("iso3", NAMES), ("month", pa.date32()), *((name, pa.float64()) for name in self._deaths)]
        )
        files.refuse_repeated(path, names, ["iso3", "month", *self._deaths])
        files.settle(self.table, dates=["month"], numbers=self._deaths, stated=dates, months=True)
        self._covers: list[Coverage] = []

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows and quarantined ones, all at once."""
        batch = files.combined(self.table)
        if not batch.rows.size:
            yield CheckedBatch(self.schema.empty_table(), unsplit_rows(self.table.unsplit))
            return
        iso3, text = batch.cells["iso3"], pc.utf8_slice_codeunits(batch.cells["month"], 0, 10)
        short = pc.equal(pc.utf8_length(text), len("YYYY-MM"))
        days = dates(pc.if_else(short, pc.binary_join_element_wise(text, "01", "-"), text), self.table.form.dates)
        months = days.astype("datetime64[M]")
        out = Quarantine(batch.rows, batch.record)
        out.drop_blank(iso3, batch.cells["month"])
        known_country = np.isin(iso3.to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known_country, "iso3 is no country code that Vigie knows", iso3)
        out.add(np.isnat(days), "month is not written YYYY-MM or YYYY-MM-01", batch.cells["month"])
        out.add(days != months, "month is not the first day of a month", batch.cells["month"])
        out.add(months >= np.datetime64(today, "M"), "month is not over yet", batch.cells["month"])
        deaths = {name: integers(batch.cells[name]) for name in self._deaths}
        for name, values in deaths.items():
            out.add(np.isnan(values), f"{name} is not a whole number", batch.cells[name])
            out.add(values < 0, f"{name} is negative", batch.cells[name])
            out.add(
                values > MOST_DEATHS, f"{name} is above {MOST_DEATHS:,}, more than any month had", batch.cells[name]
            )
        if "deaths_all" in deaths:
            parts = np.sum([values for name, values in deaths.items() if name != "deaths_all"], axis=0)
            out.add(deaths["deaths_all"] < parts, BELOW_PARTS, batch.cells["deaths_all"])
        keys = pd.DataFrame({"iso3": iso3.to_pandas(), "month": months.astype("datetime64[s]")})
        again, contradicted = repeated_keys(keys, pd.DataFrame(deaths), out.accepted)
        out.add(again, TWICE, batch.cells["month"])
        out.add(contradicted, "country and month stand in several rows, with different numbers", batch.cells["month"])

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


def recognises(names: Collection[str]) -> bool:
    """Return whether a header is one of country-months, by its columns in small letters."""
    return {"iso3", "month"} <= set(names) and any(f"deaths_{kind}" in names for kind in KINDS)
