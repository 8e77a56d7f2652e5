"""UCDP GED event files in every variant in which people hold them, told apart by content and never by name.

`official`: the 49 columns as published, final or candidate, with their header or without (24.0.1). `website`: the
country download of ucdp.uu.se (`best_est`, American dates, one field more than its header names). `hdx`: the
Humanitarian Data Exchange's (a line of HXL tags, numbers such as 475.0).
Sundberg & Melander (2013), doi:10.1177/0022343313484347.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from riskmodel.errors import BadInput
from riskmodel.events.columns import months_of
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import SCHEMA, CheckedBatch, EventRules, unsplit_rows
from riskmodel.months import month, span
from riskmodel.sources import files
from riskmodel.sources.ucdp_layout import GED_COLUMNS

VARIABLE_MAP = {
    "event_id": "id",
    "country": "country_id",
    "date_start": "date_start",
    "date_end": "date_end",
    "date_prec": "date_prec",
    "type_of_violence": "type_of_violence",
    "dyad": "dyad_name",
    "side_a": "side_a",
    "side_b": "side_b",
    "deaths": "best",
    "deaths_low": "low",
    "deaths_high": "high",
    "deaths_civilians": "deaths_civilians",
    "latitude": "latitude",
    "longitude": "longitude",
    "where_prec": "where_prec",
    "adm_1": "adm_1",
    "source_count": "number_of_sources",
    "status": "code_status",
}
"""UCDP's name of each canonical column; the website writes `best_est`, `low_est`, `high_est`."""

_WEBSITE = {"best": "best_est", "low": "low_est", "high": "high_est"}

FIRST_YEAR = 1989
FINAL_EVENTS_A_YEAR = 1000
FINAL_COUNTRIES_A_YEAR = 25
CANDIDATE_COUNTRIES = 15
"""What tells a release by its content: a final one has so many events, in so many countries, in every year since 1989;
a candidate one so many countries within one year. A sample of a thousand events has neither."""


def told(cells: pd.DataFrame) -> tuple[str | None, list[Coverage]]:
    """The release and coverage that the content itself proves; nothing for a sample or one country's events.

    `cells` has one row a country-month with events: `iso3, month, events`.
    """
    by_year = cells.groupby(cells["month"].dt.year).agg(events=("events", "sum"), countries=("iso3", "nunique"))
    years = by_year.index
    if years.size > 1 and list(years) == list(range(FIRST_YEAR, years[-1] + 1)):
        enough = (by_year["events"] >= FINAL_EVENTS_A_YEAR) & (by_year["countries"] >= FINAL_COUNTRIES_A_YEAR)
        january, december = month(f"{FIRST_YEAR}-01"), month(f"{years[-1]}-12")
        if enough.all() and cells["month"].max() == pd.Timestamp(str(december)):
            return f"{(years[-1] + 1) % 100}.1", [Coverage(WORLD, january, december)]
    main = _main_months(cells.groupby("month")["events"].sum())
    if main is not None and by_year["countries"].max() >= CANDIDATE_COUNTRIES:
        (year, first), (_, last) = (str(end).split("-") for end in (main.first, main.last))
        yy = year[2:]
        return f"{yy}.0.{int(last)}" if first == last else f"{yy}.{first}.{yy}.{last}", [main]
    return None, []


def _main_months(events: pd.Series) -> Coverage | None:
    """The unbroken months of one year that hold nearly all events, as in a candidate release; None without any.

    A candidate release carries a few events of earlier months: a twentieth at the most is allowed for them. One of
    several months begins in January.
    """
    busy = events[events >= events.max() / 4]
    if busy.empty or busy.sum() < 0.95 * events.sum():
        return None
    first, last = (np.datetime64(str(end)[:7], "M") for end in (busy.index.min(), busy.index.max()))
    one_year = str(first)[:4] == str(last)[:4]
    if not one_year or span(first, last).size != len(busy) or not (len(busy) == 1 or str(first).endswith("-01")):
        return None
    return Coverage(WORLD, first, last)


class GedFile:
    """One file of UCDP events. `variant` and `simulated` are known at once, the rest when all has been read."""

    kind: Kind = "events"
    source = "ucdp"
    schema = SCHEMA

    def __init__(self, path: Path) -> None:
        names, first = files.header(path)
        simulated = any(cell.startswith("SIMULATED") for cell in (*names, *first))
        headless = len(names) == len(GED_COLUMNS) and names[0].isdecimal()
        if headless:
            names = list(GED_COLUMNS)
        if "best_est" in names:
            self.variant = "website"
        elif "iso3" in names:
            self.variant = "hdx"
        else:
            self.variant = "official"
        renamed = _WEBSITE if self.variant == "website" else {}
        self._columns = {name: renamed.get(theirs, theirs) for name, theirs in VARIABLE_MAP.items()}
        if missing := [name for name in self._columns.values() if name not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no UCDP event file")
        if self.variant == "website" and len(first) == len(names) + 1:
            names.append("(trailing)")
        self.simulated = simulated
        hxl = any(cell.startswith("#") for cell in first) and not first[0]
        self.table = files.CsvTable(path, names, skip=0 if headless else 2 if hxl else 1)
        self._cells: list[pd.DataFrame] = []

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Canonical rows and those kept out, batch by batch. Raises BadInput if the file breaks off."""
        rules = EventRules(today)
        for batch in self.table.batches():
            cells = {name: batch.cells[theirs] for name, theirs in self._columns.items()}
            checked = rules.check(cells, batch.rows, batch.record)
            self._cells.append(_counted(checked.accepted))
            yield checked
        yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))

    def cells(self) -> pd.DataFrame:
        """What has been read, counted: one row a country-month with events: `iso3, month, events`."""
        return pd.concat(self._cells).groupby(["iso3", "month"], as_index=False)[["events"]].sum()

    def release_and_coverage(self) -> tuple[str | None, list[Coverage]]:
        """The release and coverage that what has been read proves by itself."""
        return told(self.cells())


def _counted(accepted: pa.Table) -> pd.DataFrame:
    grouped = pa.table(
        {"iso3": accepted["iso3"], "month": pa.chunked_array([months_of(accepted["date_start"]).astype("int32")])}
    )
    cells = grouped.group_by(["iso3", "month"]).aggregate([([], "count_all")])
    return pd.DataFrame(
        {
            "iso3": cells["iso3"].cast(pa.string()).to_pandas(),
            "month": cells["month"].to_numpy().astype("datetime64[M]").astype("datetime64[s]"),
            "events": cells["count_all"].to_numpy(),
        }
    )
