"""The canonical event table: its columns, and the rules that a row must meet to enter, be flagged, or be quarantined.

Readers hand over text cells under canonical names; here they become typed columns. Only a row whose id, date, country
or best estimate cannot be read is kept out. One that is merely odd enters and carries a flag that says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.outcomes import TYPES

NAMES = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("iso3", NAMES),
        ("date_start", pa.date32()),
        ("date_end", pa.date32()),
        ("date_prec", pa.int8()),
        ("type_of_violence", NAMES),
        ("dyad", NAMES),
        ("side_a", NAMES),
        ("side_b", NAMES),
        ("deaths", pa.int32()),
        ("deaths_low", pa.int32()),
        ("deaths_high", pa.int32()),
        ("deaths_civilians", pa.int32()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("where_prec", pa.int8()),
        ("adm_1", NAMES),
        ("source_count", pa.int16()),
        ("status", NAMES),
        ("flags", NAMES),
    ]
)
"""`deaths` is the best estimate [deaths]; `flags` names what is odd about the row, space-separated, or is empty."""

QUARANTINE = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("value", pa.string()), ("record", pa.string())])
"""`row` counts a file's records from 1, headers apart; `record` is the row as it came: JSON, or text if unsplit."""


@dataclass(frozen=True)
class Checked:
    """What became of a batch of rows: those that enter (`SCHEMA`) and those kept out (`QUARANTINE`)."""

    good: pa.Table
    quarantined: pa.Table


class EventRules:
    """Checks the batches of one file against the rules; remembers the ids it has seen, so that none enters twice."""

    def __init__(self, today: date) -> None:
        self._tomorrow = np.datetime64(today, "D") + 1
        self._seen = _Seen()
        by_gw = geography.iso3_by_gw()
        self._gw = np.array(sorted(by_gw))
        self._iso3 = np.array([by_gw[number] for number in sorted(by_gw)], dtype=object)

    def check(self, cells: dict[str, pa.Array], rows: NDArray[np.int64], record: Callable[[int], str]) -> Checked:
        """Turn text into canonical rows.

        `cells` has text (null where empty) by column of `SCHEMA`, with `country` (a Gleditsch-Ward number) in place of
        `iso3`; `rows` the record numbers, shape (n,); `record(i)` gives the i-th row as it came.
        """
        event_id, gw, deaths = whole(cells["event_id"]), whole(cells["country"]), whole(cells["deaths"])
        start, end = dates(cells["date_start"]), dates(cells["date_end"])
        place = np.minimum(np.searchsorted(self._gw, gw), self._gw.size - 1)
        out = Quarantine(rows, record)
        out.keep_out(~(event_id >= 0), "id is not a whole number", cells["event_id"])
        out.keep_out(np.isnat(start), "date_start is not a date", cells["date_start"])
        out.keep_out(start >= self._tomorrow, "date_start lies in the future", cells["date_start"])
        out.keep_out(self._gw[place] != gw, "country_id is no country number that Vigie knows", cells["country"])
        out.keep_out(np.isnan(deaths), "best is not a whole number", cells["deaths"])
        out.keep_out(deaths < 0, "best is negative", cells["deaths"])
        out.keep_out(self._repeated(event_id, out.kept), "id stands in an earlier row of this file", cells["event_id"])

        low, high = _count(cells["deaths_low"]), _count(cells["deaths_high"])
        latitude, longitude = number(cells["latitude"]), number(cells["longitude"])
        given = ~(np.isnan(latitude) | np.isnan(longitude))
        located = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
        kind, where_prec = _within(cells["type_of_violence"], 1, 3), _within(cells["where_prec"], 1, 7)
        columns: dict[str, pa.Array | NDArray[np.generic]] = {
            "event_id": pa.array(event_id, from_pandas=True, mask=~(event_id >= 0)).cast(pa.int64()).cast(pa.string()),
            "iso3": self._iso3[place],
            "date_start": start,
            "date_end": end,
            "date_prec": _within(cells["date_prec"], 1, 5),
            "type_of_violence": pa.array(TYPES).take(pa.array(kind - 1, from_pandas=True).cast(pa.int8())),
            **{name: cells[name] for name in ("dyad", "side_a", "side_b", "adm_1", "status")},
            "deaths": deaths,
            "deaths_low": low,
            "deaths_high": high,
            "deaths_civilians": _count(cells["deaths_civilians"]),
            "latitude": np.where(located, latitude, np.nan),
            "longitude": np.where(located, longitude, np.nan),
            "where_prec": where_prec,
            "source_count": _within(cells["source_count"], 0, np.iinfo(np.int16).max),
            "flags": _flags(
                {
                    "bounds_out_of_order": (low > deaths) | (deaths > high),
                    "no_bounds": np.isnan(low) | np.isnan(high),
                    "no_coordinates": ~given,
                    "coordinates_out_of_range": given & ~located,
                    "no_where_prec": np.isnan(where_prec),
                    "no_adm_1": np.asarray(cells["adm_1"].is_null()),
                    "no_type": np.isnan(kind),
                    "no_date_end": np.isnat(end),
                    "ends_before_start": end < start,
                }
            ),
        }
        kept = np.flatnonzero(out.kept)
        arrays = [_array(columns[field.name], field.type, kept) for field in SCHEMA]
        return Checked(pa.Table.from_arrays(arrays, schema=SCHEMA), out.table())

    def _repeated(self, ids: NDArray[np.float64], readable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which readable rows bear an id that a readable row bore before, in this batch or an earlier one."""
        repeated = np.zeros(ids.size, dtype=bool)
        places = np.flatnonzero(readable)
        new, first = np.unique(ids[places].astype(np.int32), return_index=True)
        fresh = ~self._seen.holds(new)
        repeated[places] = True
        repeated[places[first[fresh]]] = False
        self._seen.add(new[fresh])
        return repeated


class _Seen:
    """Ids as sorted runs, each more than twice as long as the next: little memory, and no batch pays for all before."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.int32]] = []

    def holds(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of these sorted ids have been added."""
        found = np.zeros(ids.size, dtype=bool)
        for run in self._runs:
            found |= run[np.minimum(np.searchsorted(run, ids), run.size - 1)] == ids
        return found

    def add(self, ids: NDArray[np.int32]) -> None:
        """Add sorted ids that are not there yet."""
        if ids.size:
            self._runs.append(ids)
        while len(self._runs) > 1 and self._runs[-2].size <= 2 * self._runs[-1].size:
            shorter, longer = self._runs.pop(), self._runs.pop()
            self._runs.append(np.sort(np.concatenate((longer, shorter)), kind="stable"))


class Quarantine:
    """The rows of one batch that are kept out, each with the first rule it broke."""

    def __init__(self, rows: NDArray[np.int64], record: Callable[[int], str]) -> None:
        self.kept = np.ones(rows.size, dtype=bool)
        self._rows, self._record = rows, record
        self._out: list[tuple[int, str, str | None, str]] = []

    def keep_out(self, broken: NDArray[np.bool_], rule: str, value: pa.Array) -> None:
        """Keep out the rows that break a rule; `value` is the text that broke it."""
        for i in np.flatnonzero(broken & self.kept).tolist():
            self._out.append((int(self._rows[i]), rule, value[i].as_py(), self._record(i)))
        self.kept &= ~broken

    def table(self) -> pa.Table:
        """The rows kept out, in the file's order."""
        return quarantine_table(sorted(self._out))


def quarantine_table(rows: list[tuple[int, str, str | None, str]]) -> pa.Table:
    """Rows (number, rule, value, record) as a table of `QUARANTINE`."""
    columns = zip(*rows, strict=True) if rows else ([],) * len(QUARANTINE)
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, QUARANTINE, strict=True)], schema=QUARANTINE
    )


def unsplit_rows(rows: dict[int, str]) -> pa.Table:
    """Rows (text by number) that did not split into the file's fields, as a table of `QUARANTINE`."""
    rule = "the row does not split into the fields of the header"
    return quarantine_table([(number, rule, None, text) for number, text in sorted(rows.items())])


def month_of(date_start: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """The months of dates, shape (n,)."""
    days: NDArray[np.datetime64] = date_start.to_numpy()
    return days.astype("datetime64[M]")


def number(text: pa.Array) -> NDArray[np.float64]:
    """Numbers; NaN where the text is missing or is none."""
    try:
        numbers = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        return np.asarray(pd.to_numeric(text.to_pandas(), errors="coerce"), dtype=np.float64)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def whole(text: pa.Array) -> NDArray[np.float64]:
    """Whole numbers that fit 32 bits, "475.0" among them; NaN for all else."""
    value = number(text)
    return np.where((value == np.floor(value)) & (np.abs(value) <= np.iinfo(np.int32).max), value, np.nan)


def _count(text: pa.Array) -> NDArray[np.float64]:
    value = whole(text)
    return np.where(value >= 0, value, np.nan)


def _within(text: pa.Array, low: int, high: int) -> NDArray[np.float64]:
    value = whole(text)
    return np.where((value >= low) & (value <= high), value, np.nan)


def dates(text: pa.Array) -> NDArray[np.datetime64]:
    """Days, from `YYYY-MM-DD…` or `MM/DD/YYYY…`; NaT for all else."""
    day = pc.utf8_slice_codeunits(text, 0, 10)
    try:
        return np.asarray(pc.cast(day, pa.date32()).to_numpy(zero_copy_only=False)).astype("datetime64[D]")
    except pa.ArrowInvalid:
        written = day.to_pandas()
        iso = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")
        american = pd.to_datetime(written, format="%m/%d/%Y", errors="coerce")
        return np.asarray(iso.fillna(american)).astype("datetime64[D]")


def _flags(raised: dict[str, NDArray[np.bool_]]) -> pa.Array:
    """One text a row: the names of the flags raised, space-separated."""
    bits = sum(mask.astype(np.int32) << i for i, mask in enumerate(raised.values()))
    combinations, place = np.unique(bits, return_inverse=True)
    names = list(raised)
    texts = [" ".join(name for i, name in enumerate(names) if bit >> i & 1) for bit in combinations.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(place))


def _array(column: pa.Array | NDArray[np.generic], kind: pa.DataType, kept: NDArray[np.intp]) -> pa.Array:
    """The kept rows of a column in its canonical type; NaN and NaT become null."""
    given = pa.array(column, from_pandas=True) if isinstance(column, np.ndarray) else column
    column = given.take(pa.array(kept))
    return column.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else column.cast(kind)
