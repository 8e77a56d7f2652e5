"""Displaced people by country and year, as UNHCR and IDMC publish them: persons at the end of a year.

UNHCR's table has totals by country of origin or of asylum (`role, iso3, year, refugees, …`; CC BY 4.0). IDMC's Global
Internal Displacement Database has `ISO3, Name, Year, Conflict Stock Displacement, …` (CC BY-NC). Of it only what
conflict caused is read. The exact figure is read, and not the rounded one, if a file has both. The two count
differently, so neither overrides the other: an IDMC row has a role of its own, `internal`.
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
from riskmodel.events.columns import integers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, TWICE, CheckedBatch, Quarantine, repeated_keys, unsplit_rows
from riskmodel.events.view import View
from riskmodel.sources import files

FIRST_YEAR = 1951

_KEYS = ("iso3", "year")

UNHCR_COLUMNS = {
    "refugees": ("refugees",),
    "asylum_seekers": ("asylum_seekers",),
    "returned_refugees": ("returned_refugees",),
    "idps": ("idps",),
    "returned_idps": ("returned_idps",),
    "stateless": ("stateless",),
    "others_of_concern": ("ooc",),
    "others_in_need": ("oip",),
    "hosts": ("hst",),
}
IDMC_COLUMNS = {
    "idps": ("Conflict Stock Displacement (Raw)", "Conflict Stock Displacement"),
    "new_displacements": (
        "Conflict Internal Displacements (Raw)",
        "Conflict Internal Displacements",
        "Conflict New Displacements",
    ),
}
"""The provider's names of each canonical column, the best first."""

COUNTS = tuple(dict.fromkeys((*UNHCR_COLUMNS, *IDMC_COLUMNS)))
SCHEMA = pa.schema([("iso3", NAMES), ("role", NAMES), ("year", pa.int16()), *((name, pa.int64()) for name in COUNTS)])
"""`role` is origin, asylum or internal. Counts are persons at the end of the year, `new_displacements` within it; a
missing count is null."""


class DisplacementFile:
    """One displacement table (CSV, .csv.gz, .zip or Parquet). Its columns show the provider.

    Raises BadInput for any other file.
    """

    kind: Kind = "displacement"
    schema = SCHEMA
    simulated = False
    table: files.Table

    def __init__(self, path: Path) -> None:
        if files.is_parquet(path):
            self.table, names = files.parquet_table(path)
        else:
            found = files.head(path)
            names = list(found.names)
            has_tags = any(cell.startswith("#") for cell in found.first)
            self.table = files.CsvTable(path, found, header_lines=2 if has_tags else 1)
        is_idmc = "role" not in names
        self.variant = self.source = "idmc" if is_idmc else "unhcr"
        columns = IDMC_COLUMNS if is_idmc else UNHCR_COLUMNS
        present = {
            name: [theirs.lower() for theirs in alternatives if theirs.lower() in names]
            for name, alternatives in columns.items()
        }
        self._counts = {name: theirs[0] for name, theirs in present.items() if theirs}
        missing = [name for name in _KEYS if name not in names]
        if missing or not self._counts:
            lacking = ", ".join(missing) or " or ".join(theirs[-1] for theirs in columns.values())
            raise BadInput(f"{path}: header: no column {lacking}; this is no table of displacement by country and year")
        files.refuse_repeated(path, names, (*_KEYS, "role", *self._counts.values()))
        files.settle(self.table, numbers=self._counts.values())

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows and quarantined ones, all at once."""
        batch = files.combined(self.table)
        if not batch.rows.size:
            yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))
            return
        iso3, year_text = (batch.cells[name] for name in _KEYS)
        role = batch.cells["role"] if self.source == "unhcr" else pa.repeat("internal", batch.rows.size)
        year = integers(year_text)
        out = Quarantine(batch.rows, batch.record)
        out.drop_blank(iso3, year_text)
        known_country = np.isin(iso3.to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known_country, "iso3 is no country code that Vigie knows", iso3)
        if self.source == "unhcr":
            known_role = pc.is_in(role, pa.array(["origin", "asylum"])).to_numpy(zero_copy_only=False)
            out.add(~known_role, "role is neither origin nor asylum", role)
        out.add(~(year >= FIRST_YEAR), f"year is no year from {FIRST_YEAR} on", year_text)
        out.add(year >= today.year, "year is not over yet", year_text)
        counts = {name: integers(batch.cells[theirs]) for name, theirs in self._counts.items()}
        for name, count in counts.items():
            cells = batch.cells[self._counts[name]]
            present = cells.is_valid().to_numpy(zero_copy_only=False)
            out.add(present & np.isnan(count), f"{name} is not a whole number", cells)
            out.add(count < 0, f"{name} is negative", cells)
        keys = pd.DataFrame({"iso3": iso3.to_pandas(), "role": role.to_pandas(), "year": year})
        again, contradicted = repeated_keys(keys, pd.DataFrame(counts), out.accepted)
        out.add(again, TWICE, year_text)
        out.add(contradicted, "country, role and year stand in several rows, with different numbers", year_text)

        accepted = pa.array(np.flatnonzero(out.accepted))
        columns = {"iso3": iso3, "role": role, "year": pa.array(year, from_pandas=True)}
        columns |= {name: pa.array(count, from_pandas=True) for name, count in counts.items()}
        arrays = [
            columns[field.name].take(accepted).cast(field.type)
            if field.name in columns
            else pa.nulls(len(accepted), field.type)
            for field in SCHEMA
        ]
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        yield CheckedBatch(table, pa.concat_tables([out.table(), unsplit_rows(self.table.unsplit)]))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """Return no release and no coverage: displacement makes no history of deaths."""
        return None, []


def current_figures(view: View) -> pa.Table:
    """Return the figures as of a view (`SCHEMA`, names as text), sorted: one row per country, role and year.

    Of several ingests that have a row, the one of highest precedence counts.
    """
    combined = pa.concat_tables([SCHEMA.empty_table(), *(table for _, table in view.tables("displacement"))])
    keys = combined.select(["iso3", "role", "year"]).to_pandas()
    last = combined.filter(pa.array(~keys.duplicated(keep="last").to_numpy()))
    plain = last.cast(pa.schema([(f.name, pa.string() if f.type == NAMES else f.type) for f in SCHEMA]))
    return plain.sort_by([(name, "ascending") for name in ("iso3", "role", "year")])


def recognises(names: Collection[str]) -> bool:
    """Return whether a header is one of displacement by country and year, by its columns in small letters."""
    theirs = {name.lower() for columns in (UNHCR_COLUMNS, IDMC_COLUMNS) for names in columns.values() for name in names}
    return set(_KEYS) <= set(names) and not theirs.isdisjoint(names)
