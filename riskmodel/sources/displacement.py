"""Displaced people by country and year, as UNHCR and IDMC publish them: persons at the end of a year. Missing is null.

`unhcr`: UNHCR's totals by country of origin or of asylum (`role, iso3, year, refugees, …`; CC BY 4.0). `idmc`: IDMC's
Global Internal Displacement Database (`ISO3, Name, Year, Conflict Stock Displacement, …`; CC BY-NC), of which only what
conflict caused is read, and the exact figure rather than the rounded one where a file has both. The two count
differently, so neither overrules the other: an IDMC row has a role of its own, `internal`.
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
from riskmodel.events.columns import integers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, CheckedBatch, Quarantine, unsplit_rows
from riskmodel.events.view import View
from riskmodel.sources import files

FIRST_YEAR = 1951

UNHCR = {
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
IDMC = {
    "idps": ("Conflict Stock Displacement (Raw)", "Conflict Stock Displacement"),
    "new_displacements": (
        "Conflict Internal Displacements (Raw)",
        "Conflict Internal Displacements",
        "Conflict New Displacements",
    ),
}
"""The providers' names of each canonical column, the best first."""

COUNTS = tuple(dict.fromkeys((*UNHCR, *IDMC)))
SCHEMA = pa.schema([("iso3", NAMES), ("role", NAMES), ("year", pa.int16()), *((name, pa.int64()) for name in COUNTS)])
"""`role` is origin, asylum or internal; counts are persons at the end of the year, `new_displacements` within it."""


class DisplacementFile:
    """One displacement table (CSV, .csv.gz or .zip), its variant told by its header. Raises BadInput for any other."""

    kind: Kind = "displacement"
    schema = SCHEMA
    simulated = False

    def __init__(self, path: Path) -> None:
        names, first = files.header(path)
        self.variant = self.source = "idmc" if "ISO3" in names else "unhcr"
        known = IDMC if self.variant == "idmc" else UNHCR
        self._keys = ("ISO3", "Year") if self.variant == "idmc" else ("iso3", "year")
        needed = self._keys if self.variant == "idmc" else ("role", *self._keys)
        found = {name: [theirs for theirs in written if theirs in names] for name, written in known.items()}
        self._counts = {name: theirs[0] for name, theirs in found.items() if theirs}
        missing = [name for name in needed if name not in names]
        if missing or not self._counts:
            wanted = ", ".join(missing) or " or ".join(theirs[-1] for theirs in known.values())
            raise BadInput(f"{path}: header: no column {wanted}; this is no table of displacement by country and year")
        self.table = files.CsvTable(path, names, skip=2 if any(cell.startswith("#") for cell in first) else 1)

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """The rows that can be read and those kept out, all at once."""
        batch = files.together(list(self.table.batches()))
        if not batch.rows.size:
            yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))
            return
        iso3, written = (batch.cells[name] for name in self._keys)
        role = batch.cells["role"] if self.variant == "unhcr" else pa.repeat("internal", batch.rows.size)
        year = integers(written)
        out = Quarantine(batch.rows, batch.record)
        known = np.isin(iso3.to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known, "iso3 is no country code that Vigie knows", iso3)
        if self.variant == "unhcr":
            side = pc.is_in(role, pa.array(["origin", "asylum"])).to_numpy(zero_copy_only=False)
            out.add(~side, "role is neither origin nor asylum", role)
        out.add(~(year >= FIRST_YEAR), f"year is no year from {FIRST_YEAR} on", written)
        out.add(year >= today.year, "year is not over yet", written)
        counts = {name: integers(batch.cells[theirs]) for name, theirs in self._counts.items()}
        for name, count in counts.items():
            cells = batch.cells[self._counts[name]]
            given = cells.is_valid().to_numpy(zero_copy_only=False)
            out.add(given & np.isnan(count), f"{name} is not a whole number", cells)
            out.add(count < 0, f"{name} is negative", cells)
        frame = pd.DataFrame({"iso3": iso3.to_pandas(), "role": role.to_pandas(), "year": year})
        again = np.zeros(batch.rows.size, dtype=bool)
        again[out.accepted] = frame[out.accepted].duplicated().to_numpy()
        out.add(again, "country, role and year stand in an earlier row of this file", written)

        kept = pa.array(np.flatnonzero(out.accepted))
        columns = {"iso3": iso3, "role": role, "year": pa.array(year, from_pandas=True)}
        columns |= {name: pa.array(count, from_pandas=True) for name, count in counts.items()}
        good = pa.Table.from_arrays(
            [
                columns[field.name].take(kept).cast(field.type)
                if field.name in columns
                else pa.nulls(len(kept), field.type)
                for field in SCHEMA
            ],
            schema=SCHEMA,
        )
        yield CheckedBatch(good, pa.concat_tables([out.table(), unsplit_rows(self.table.unsplit)]))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """No release, and no coverage: displacement makes no history of deaths."""
        return None, []


def resolved(view: View) -> pa.Table:
    """What a view knows (`SCHEMA`, names as text), sorted: by country, role and year the row of highest precedence."""
    together = pa.concat_tables([SCHEMA.empty_table(), *(table for _, table in view.tables("displacement"))])
    keys = together.select(["iso3", "role", "year"]).to_pandas()
    last = together.filter(pa.array(~keys.duplicated(keep="last").to_numpy()))
    plain = last.cast(pa.schema([(f.name, pa.string() if f.type == NAMES else f.type) for f in SCHEMA]))
    return plain.sort_by([(name, "ascending") for name in ("iso3", "role", "year")])
