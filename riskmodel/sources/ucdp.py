"""UCDP GED event files. Their variant is recognised by content, never by name.

The `official` variant has the 49 columns as published, final or candidate, with their header or without (24.0.1). The
`website` variant is the country download of ucdp.uu.se (`best_est`, American dates, one field more than its header
names). The `hdx` variant is the Humanitarian Data Exchange's (a line of HXL tags, numbers such as 475.0). Sundberg &
Melander (2013), doi:10.1177/0022343313484347.
"""

from collections.abc import Collection, Iterator
from datetime import date
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.columns import DateOrder, integers, months_of
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import PROTEST, SCHEMA, VIOLENCE, CheckedBatch, EventRules, unsplit_rows
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

NEEDED = ("event_id", "country", "date_start", "type_of_violence", "deaths")
"""The columns without which an event cannot be counted. The others are null where a file lacks them."""

_NUMBERS = ("latitude", "longitude", "type_of_violence", "deaths")
"""The columns that show the decimal mark of a file."""

_WEBSITE_NAMES = {"best": "best_est", "low": "low_est", "high": "high_est"}

FIRST_YEAR = 1989
FINAL_EVENTS_PER_YEAR = 1000
FINAL_COUNTRIES_PER_YEAR = 25
CANDIDATE_COUNTRIES = 15
"""A final release has this many events, in this many countries, in every year since 1989. A candidate has events in
this many countries within one year. A sample of a thousand events has neither."""

WORLD_CANDIDATES_SINCE = month("2020-07")
"""Candidates of earlier months cover Africa alone, in part. Those of later months cover the world."""


def detect_release(counts: pd.DataFrame) -> tuple[str | None, list[Coverage]]:
    """Return the release and coverage that the content itself proves; nothing for a sample or one country's events.

    `counts` has one row per country-month with events: `iso3, month, events`. A release covers UCDP's regions that have
    events in it, whatever their countries. One that covers the world has events in all regions but one at least.
    """
    by_year = counts.groupby(counts["month"].dt.year).agg(events=("events", "sum"), countries=("iso3", "nunique"))
    years = by_year.index
    regions = counts["iso3"].map(geography.ucdp_regions())
    world = set(geography.ucdp_regions().values())
    if years.size > 1 and list(years) == list(range(FIRST_YEAR, years[-1] + 1)) and set(regions) == world:
        enough = (by_year["events"] >= FINAL_EVENTS_PER_YEAR) & (by_year["countries"] >= FINAL_COUNTRIES_PER_YEAR)
        january, december = month(f"{FIRST_YEAR}-01"), month(f"{years[-1]}-12")
        if enough.all() and counts["month"].max() == pd.Timestamp(str(december)):
            return f"{(years[-1] + 1) % 100}.1", [Coverage(WORLD, january, december)]
    main = _main_months(counts.groupby("month")["events"].sum())
    if main is None or by_year["countries"].max() < CANDIDATE_COUNTRIES:
        return None, []
    in_months = [
        set(of_month)
        for when, of_month in regions.groupby(counts["month"])
        if pd.Timestamp(str(main.first)) <= when <= pd.Timestamp(str(main.last))
    ]
    if main.first >= WORLD_CANDIDATES_SINCE:
        covered = set.union(*in_months)
        if len(covered) < len(world) - 1:
            return None, []
    else:
        covered = set.intersection(*in_months)
    (year, first), (_, last) = (str(end).split("-") for end in (main.first, main.last))
    yy = year[2:]
    release = f"{yy}.0.{int(last)}" if first == last else f"{yy}.{first}.{yy}.{last}"
    if covered == world:
        return release, [main]
    inside = sorted(iso3 for iso3, region in geography.ucdp_regions().items() if region in covered)
    return release, [Coverage(iso3, main.first, main.last) for iso3 in inside]


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
    """One file of UCDP events. `variant` and `simulated` are known at once, release and coverage after reading.

    `dates` is the order of day and month, if the user states it. A file of violent political protest
    (`type_of_violence` 4) has the kind `protests`: its events count in no deaths.
    """

    kind: Kind = "events"
    source = "ucdp"
    schema = SCHEMA

    def __init__(self, path: Path, dates: DateOrder | None = None) -> None:
        self.table, names, self.simulated = _open(path)
        self.variant = "website" if "best_est" in names else "hdx" if "iso3" in names else "official"
        renamed = _WEBSITE_NAMES if self.variant == "website" else {}
        columns = {name: renamed.get(theirs, theirs) for name, theirs in VARIABLE_MAP.items()}
        if missing := [columns[name] for name in NEEDED if columns[name] not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no UCDP event file")
        self._columns = {name: theirs for name, theirs in columns.items() if theirs in names}
        self._absent = [name for name in columns if name not in self._columns]
        files.refuse_repeated(path, names, self._columns.values())
        kind = self._columns["type_of_violence"]
        sample = files.settle(
            self.table,
            dates=[self._columns[name] for name in ("date_start", "date_end") if name in self._columns],
            numbers=[self._columns[name] for name in _NUMBERS if name in self._columns],
            ids=self._columns["event_id"],
            stated=dates,
        )
        if sample and {number for number in integers(sample[kind]).tolist() if not isnan(number)} == {PROTEST}:
            self.kind = "protests"
        self._counts: list[pd.DataFrame] = []

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows and quarantined ones, in batches. Raises BadInput if the file breaks off."""
        kinds = (PROTEST,) if self.kind == "protests" else VIOLENCE
        rules = EventRules(today, self.table.form.dates, kinds, self._absent)
        for batch in self.table.batches():
            nothing = pa.nulls(batch.rows.size, pa.string())
            cells = {name: batch.cells[theirs] for name, theirs in self._columns.items()}
            cells |= dict.fromkeys(self._absent, nothing)
            checked = rules.check(cells, batch.rows, batch.record, self.table.cleaned)
            self._counts.append(_count_events(checked.accepted))
            yield checked
        yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))

    def event_counts(self) -> pd.DataFrame:
        """Return the events read so far, one row per country-month with events: `iso3, month, events`."""
        return pd.concat(self._counts).groupby(["iso3", "month"], as_index=False)[["events"]].sum()

    def release_and_coverage(self) -> tuple[str | None, list[Coverage]]:
        """Return the release and coverage that the rows read prove."""
        if self.kind == "protests":
            return None, []
        return detect_release(self.event_counts())


def recognises(names: Collection[str]) -> bool:
    """Return whether a header is one of UCDP's events, by its columns in small letters."""
    return {"id", "country_id", "date_start"} <= set(names) or (
        len(names) == len(GED_COLUMNS) and next(iter(names)).isdecimal()
    )


def _open(path: Path) -> tuple[files.Table, list[str], bool]:
    """Open a file; return it with the names of its columns, and whether its events are simulated."""
    if files.is_parquet(path):
        table, names = files.parquet_table(path)
        return table, names, False
    found = files.head(path)
    names = list(found.names)
    simulated = any(cell.upper().startswith("SIMULATED") for cell in (*names, *found.first))
    headless = len(names) == len(GED_COLUMNS) and names[0].isdecimal()
    if headless:
        names = list(GED_COLUMNS)
    elif (
        len(found.first) == len(names) + 1 and not found.first[-1]
    ):  # the country download has a separator at the end of each row
        names.append("(trailing)")
    tags = any(cell.startswith("#") for cell in found.first) and not found.first[0]
    return files.CsvTable(path, found, names, header_lines=0 if headless else 2 if tags else 1), names, simulated


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
