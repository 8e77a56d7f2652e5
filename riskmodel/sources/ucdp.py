"""UCDP GED event files. Their variant is recognised by content, never by name.

The `official` variant has the 49 columns as published, final or candidate, with their header or without (24.0.1). The
`website` variant is the country download of ucdp.uu.se (`best_est`, American dates, one field more than its header
names). The `hdx` variant is the Humanitarian Data Exchange's (a line of HXL tags, numbers such as 475.0). Sundberg &
Melander (2013), doi:10.1177/0022343313484347.
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
"""UCDP's name of each canonical column."""

_WEBSITE_NAMES = {"best": "best_est", "low": "low_est", "high": "high_est"}

FIRST_YEAR = 1989
FINAL_EVENTS_PER_YEAR = 1000
FINAL_COUNTRIES_PER_YEAR = 25
CANDIDATE_COUNTRIES = 15
"""A final release has this many events, in this many countries, in every year since 1989. A candidate has events in
this many countries within one year. A sample of a thousand events has neither."""


def detect_release(counts: pd.DataFrame) -> tuple[str | None, list[Coverage]]:
    """Return the release and coverage that the content itself proves; nothing for a sample or one country's events.

    `counts` has one row per country-month with events: `iso3, month, events`.
    """
    by_year = counts.groupby(counts["month"].dt.year).agg(events=("events", "sum"), countries=("iso3", "nunique"))
    years = by_year.index
    if years.size > 1 and list(years) == list(range(FIRST_YEAR, years[-1] + 1)):
        enough = (by_year["events"] >= FINAL_EVENTS_PER_YEAR) & (by_year["countries"] >= FINAL_COUNTRIES_PER_YEAR)
        january, december = month(f"{FIRST_YEAR}-01"), month(f"{years[-1]}-12")
        if enough.all() and counts["month"].max() == pd.Timestamp(str(december)):
            return f"{(years[-1] + 1) % 100}.1", [Coverage(WORLD, january, december)]
    main = _main_months(counts.groupby("month")["events"].sum())
    if main is not None and by_year["countries"].max() >= CANDIDATE_COUNTRIES:
        (year, first), (_, last) = (str(end).split("-") for end in (main.first, main.last))
        yy = year[2:]
        return f"{yy}.0.{int(last)}" if first == last else f"{yy}.{first}.{yy}.{last}", [main]
    return None, []


def _main_months(events: pd.Series) -> Coverage | None:
    """Return the unbroken months of one year that have nearly all events, as in a candidate release; else None.

    A candidate release also has a few events of earlier months: at most a twentieth. One of several months begins in
    January.
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
    """One file of UCDP events. `variant` and `simulated` are known at once, release and coverage after reading."""

    kind: Kind = "events"
    source = "ucdp"
    schema = SCHEMA
    table: files.CsvTable | files.ParquetTable

    def __init__(self, path: Path) -> None:
        if files.is_parquet(path):
            self.table, names = files.table(path)
            self._use(path, "official", names, simulated=False)
            return
        names, first = files.header(path)
        simulated = any(cell.startswith("SIMULATED") for cell in (*names, *first))
        headless = len(names) == len(GED_COLUMNS) and names[0].isdecimal()
        if headless:
            names = list(GED_COLUMNS)
        variant = "website" if "best_est" in names else "hdx" if "iso3" in names else "official"
        self._use(path, variant, names, simulated=simulated)
        if variant == "website" and len(first) == len(names) + 1:
            names.append("(trailing)")
        hxl = any(cell.startswith("#") for cell in first) and not first[0]
        self.table = files.CsvTable(path, names, skip=0 if headless else 2 if hxl else 1)

    def _use(self, path: Path, variant: str, names: list[str], *, simulated: bool) -> None:
        """Choose the columns of a variant. Raises BadInput if one is missing."""
        renamed = _WEBSITE_NAMES if variant == "website" else {}
        self._columns = {name: renamed.get(theirs, theirs) for name, theirs in VARIABLE_MAP.items()}
        if missing := [name for name in self._columns.values() if name not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no UCDP event file")
        self.variant, self.simulated = variant, simulated
        self._counts: list[pd.DataFrame] = []

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows and quarantined ones, in batches. Raises BadInput if the file breaks off."""
        rules = EventRules(today)
        for batch in self.table.batches():
            cells = {name: batch.cells[theirs] for name, theirs in self._columns.items()}
            checked = rules.check(cells, batch.rows, batch.record, self.table.cleaned)
            self._counts.append(_count_events(checked.accepted))
            yield checked
        yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))

    def event_counts(self) -> pd.DataFrame:
        """Return the events read so far, one row per country-month with events: `iso3, month, events`."""
        return pd.concat(self._counts).groupby(["iso3", "month"], as_index=False)[["events"]].sum()

    def release_and_coverage(self) -> tuple[str | None, list[Coverage]]:
        """Return the release and coverage that the rows read prove."""
        return detect_release(self.event_counts())


def _count_events(accepted: pa.Table) -> pd.DataFrame:
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
