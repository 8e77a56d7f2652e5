"""GDELT: how many events the world's news reported of each country and day. It has no deaths.

A day is what GDELT added on that day (`DATEADDED`, UTC), so that it is final once the day is over. Edition 1 has daily
files. Edition 2 has 15-minute files, which serve for the newest days until their daily file is out. The two do not
count alike; `edition` says which one was counted. An event's country is `ActionGeo_CountryCode`, a FIPS 10-4 code. An
event without a place is not counted. Leetaru & Schrodt (2013), GDELT: Global data on events, location and tone,
1979-2012.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.columns import dates, integers, numbers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, CheckedBatch, Quarantine, unsplit_rows
from riskmodel.events.view import View
from riskmodel.sources import files

PARTS = 96
"""The 15-minute files of a complete day."""

QUAD_CLASSES = ("verbal_cooperation", "material_cooperation", "verbal_conflict", "material_conflict")

PROTEST = "14"
"""CAMEO's root code of protests."""

SCHEMA = pa.schema(
    [
        ("iso3", NAMES),
        ("date", pa.date32()),
        ("edition", NAMES),
        ("parts", pa.int16()),
        *((name, pa.int32()) for name in (*QUAD_CLASSES, "protests")),
        ("mentions", pa.int64()),
        ("tone", pa.float64()),
    ]
)
"""Events of each class and protests among them [events]; `mentions` of all events [mentions]; their mean `tone`,
weighted by mentions, from -100 to 100, null without any. A country without events has a row of zeros; a day that was
not counted has no row. `parts` says how many of the 96 parts of the day were counted; a daily file has all."""

SUM_COLUMNS = (*QUAD_CLASSES, "protests", "mentions", "toned", "tone_sum")
"""The sums over a file: `toned` has the mentions of events with a tone, `tone_sum` their tones times mentions."""

_BLOCK = 8 << 20
"""How much is split at a time [bytes]."""


@dataclass(frozen=True)
class Edition:
    """A layout: how many fields a row has, and the position (from 0) of each field that is read."""

    name: str
    fields: int
    root: int
    quad: int
    mentions: int
    tone: int
    country: int

    def columns(self) -> dict[str, str]:
        """The name of each column that is read, by what it means."""
        return {name: str(getattr(self, name)) for name in ("root", "quad", "mentions", "tone", "country")}


DAILY = Edition("daily", fields=58, root=28, quad=29, mentions=31, tone=34, country=51)
QUARTER_HOURLY = Edition("15-minute", fields=61, root=28, quad=29, mentions=31, tone=34, country=53)


@dataclass(frozen=True)
class FileCounts:
    """The counts of one file: `sums` (`SUM_COLUMNS`) by ISO alpha-3, rows read, and rows that cannot be read."""

    sums: pd.DataFrame
    rows: int
    unreadable: int


def count_file(path: Path, edition: Edition) -> FileCounts:
    """Count one file (a zip of one table) by country.

    Memory does not grow with the file. Raises BadInput if the file is broken or cut off.
    """
    fips = geography.iso3_by_fips()
    sums = np.zeros((len(SUM_COLUMNS), len(fips)))
    rows = unreadable = 0

    def count_unsplit(row: pacsv.InvalidRow) -> str:
        nonlocal unreadable
        unreadable += 1
        return "skip"

    columns = edition.columns()
    with files.opened(path) as content:
        try:
            reader = pacsv.open_csv(
                io.BufferedReader(content, _BLOCK),
                read_options=pacsv.ReadOptions(
                    column_names=list(map(str, range(edition.fields))), block_size=_BLOCK, use_threads=False
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter="\t", quote_char=False, double_quote=False, invalid_row_handler=count_unsplit
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(columns.values()),
                    column_types=dict.fromkeys(columns.values(), pa.string()),
                    check_utf8=False,
                ),
            )
            with reader:
                for batch in reader:
                    rows += batch.num_rows
                    cells = {name: batch[column] for name, column in columns.items()}
                    unreadable += _add_batch(sums, cells, list(fips))
        except pa.ArrowInvalid as broken:
            if "Empty CSV" not in str(broken):
                raise BadInput(f"{path}: cannot be split: {broken}") from broken
    frame = pd.DataFrame(sums.T, index=pd.Index(fips.values(), name="iso3"), columns=list(SUM_COLUMNS))
    return FileCounts(frame, rows, unreadable)


def _add_batch(sums: NDArray[np.float64], cells: Mapping[str, pa.Array], fips: Sequence[str]) -> int:
    """Add rows to the sums, shape (sum, country). Return how many rows cannot be read."""
    country, quad = _positions(cells["country"], fips), _positions(cells["quad"], ["1", "2", "3", "4"])
    mentions, tone = numbers(cells["mentions"]), numbers(cells["tone"])
    readable = (quad >= 0) & (mentions >= 0)
    use = np.flatnonzero(readable & (country >= 0))
    country, quad, mentions, tone = country[use], quad[use], mentions[use], tone[use]
    protests = np.asarray(pc.equal(cells["root"], PROTEST).fill_null(False).to_numpy(zero_copy_only=False))[use]
    toned = np.where(np.isnan(tone), 0, mentions)
    size = len(fips)
    sums[:4] += np.bincount(quad * size + country, minlength=4 * size).reshape(4, size)
    for i, weights in enumerate((protests, mentions, toned, toned * np.nan_to_num(tone)), start=4):
        sums[i] += np.bincount(country, weights=weights, minlength=size)
    return int(np.count_nonzero(~readable))


def _positions(text: pa.Array, order: Sequence[str]) -> NDArray[np.int64]:
    found = pc.index_in(text, value_set=pa.array(order, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64)


class GdeltFile:
    """One file of daily counts, as a pull writes it: the columns of `SCHEMA` as CSV."""

    kind: Kind = "gdelt"
    source = "gdelt"
    variant = "daily counts"
    schema = SCHEMA
    simulated = False

    def __init__(self, path: Path) -> None:
        self.table, names = files.table(path)
        if missing := [name for name in SCHEMA.names if name not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no file of daily counts")

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows and quarantined ones, all at once."""
        batch = files.combined(self.table)
        if not batch.rows.size:
            yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))
            return
        cells, out = batch.cells, Quarantine(batch.rows, batch.record)
        days, parts, tone = dates(cells["date"]), integers(cells["parts"]), numbers(cells["tone"])
        known_country = np.isin(cells["iso3"].to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known_country, "iso3 is no country code that Vigie knows", cells["iso3"])
        out.add(np.isnat(days), "date is not a date", cells["date"])
        out.add(days > np.datetime64(today, "D"), "date lies in the future", cells["date"])
        known_edition = np.isin(cells["edition"].to_numpy(zero_copy_only=False), [DAILY.name, QUARTER_HOURLY.name])
        out.add(~known_edition, "edition is neither daily nor 15-minute", cells["edition"])
        out.add(~((parts >= 1) & (parts <= PARTS)), f"parts is not between 1 and {PARTS}", cells["parts"])
        counts = {name: integers(cells[name]) for name in (*QUAD_CLASSES, "protests", "mentions")}
        for name, count in counts.items():
            out.add(~(count >= 0), f"{name} is no count", cells[name])
        out.add(~(np.isnan(tone) | (np.abs(tone) <= 100)), "tone is not between -100 and 100", cells["tone"])
        repeated = np.zeros(batch.rows.size, dtype=bool)
        keys = pd.DataFrame({"iso3": cells["iso3"].to_pandas(), "date": days.astype("datetime64[s]")})
        repeated[out.accepted] = keys[out.accepted].duplicated().to_numpy()
        out.add(repeated, "country and date repeat an earlier row of this file", cells["date"])
        accepted = np.flatnonzero(out.accepted)
        columns = {"date": days, "parts": parts, "tone": tone, **counts}
        arrays = [
            cells[item.name].take(pa.array(accepted)).dictionary_encode().cast(NAMES)
            if item.name in ("iso3", "edition")
            else pa.array(columns[item.name][accepted], from_pandas=True).cast(item.type)
            for item in SCHEMA
        ]
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        yield CheckedBatch(table, pa.concat_tables([out.table(), unsplit_rows(self.table.unsplit)]))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """Return no release and no coverage of months: each row covers its own day."""
        return None, []


def current_counts(view: View) -> pa.Table:
    """Return the counts as of a view, one row per country and day (`SCHEMA`): the most complete, then the newest."""
    tables = [table for _, table in view.tables("gdelt")]
    combined = pa.concat_tables([SCHEMA.empty_table(), *tables]).unify_dictionaries()
    keys = combined.select(["iso3", "date", "parts"]).to_pandas()
    best = keys.sort_values("parts", kind="stable").drop_duplicates(["iso3", "date"], keep="last").index
    return combined.take(pa.array(np.sort(best.to_numpy())))
