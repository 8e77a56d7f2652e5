"""The event table: its columns, and the rules that decide whether a row enters, is flagged, or is quarantined.

A reader hands over text by canonical column name. `EventRules` turns it into typed columns. Only a row whose id, date,
country or best estimate cannot be read is quarantined. A row that is merely odd enters with a flag that names the
oddity.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.events.columns import DateOrder, counts, dates, integers, integers_between, numbers, take_as
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

QUARANTINE_SCHEMA = pa.schema(
    [("row", pa.int64()), ("rule", pa.string()), ("value", pa.string()), ("record", pa.string())]
)
"""`row` counts a file's records from 1, without headers. `record` is the row as it came: JSON, or text if unsplit."""

VIOLENCE, PROTEST = (1, 2, 3), 4
"""UCDP's numbers of the types of organised violence, and of violent political protest."""

MOST_DEATHS = 1_000_000
"""A larger number is a slip: the deadliest month of any country has about half of it [deaths]."""

TWICE = "the row stands twice"
OTHER_KIND = "type_of_violence 4 is protest, which is no organised violence"
NO_PROTEST = "type_of_violence is not 4, and the file is one of protest"
UNSPLIT = "the row does not split into the fields of the header"

_UNFLAGGED = ("date_prec", "dyad", "side_a", "side_b", "deaths_civilians", "source_count", "status")
"""The columns that can be empty without a flag. A file that lacks one has a flag in each row."""

HARMLESS = (TWICE, OTHER_KIND)
"""The rules whose rows are no loss: what counts of them is in the table, or belongs in another one."""


@dataclass(frozen=True)
class CheckedBatch:
    """A batch of rows after the checks: those accepted, and those quarantined (`QUARANTINE_SCHEMA`)."""

    accepted: pa.Table
    quarantined: pa.Table


class EventRules:
    """Check the batches of one file. Remembers the event ids of earlier batches, so that none enters twice."""

    def __init__(
        self, today: date, dates: DateOrder | None = None, kinds: Sequence[int] = VIOLENCE, absent: Sequence[str] = ()
    ) -> None:
        self._tomorrow = np.datetime64(today, "D") + 1
        self._dates, self._kinds, self._absent = dates, kinds, absent
        self._seen: dict[int, int] = {}
        iso3_by_gw = geography.iso3_by_gw()
        self._gw = np.array(sorted(iso3_by_gw))
        self._iso3 = np.array([iso3_by_gw[number] for number in sorted(iso3_by_gw)], dtype=object)

    def check(
        self,
        cells: dict[str, pa.Array],
        rows: NDArray[np.int64],
        record: Callable[[int], str],
        cleaned: Collection[int] = (),
    ) -> CheckedBatch:
        """Turn text into rows of `SCHEMA`.

        `cells` has text (null where empty) by column of `SCHEMA`, with `country` (a Gleditsch-Ward number) in place of
        `iso3`. `rows` has the record numbers, shape (n,). `record(i)` returns the i-th row as it came.
        `cleaned` has the numbers of rows from which control characters were removed.
        """
        event_id, gw, deaths = integers(cells["event_id"]), integers(cells["country"]), integers(cells["deaths"])
        start, end = dates(cells["date_start"], self._dates), dates(cells["date_end"], self._dates)
        kind = integers_between(cells["type_of_violence"], 1, PROTEST)
        position = np.minimum(np.searchsorted(self._gw, gw), self._gw.size - 1)
        quarantine = Quarantine(rows, record)
        quarantine.drop_blank(*(cells[name] for name in ("event_id", "country", "date_start", "deaths")))
        quarantine.add(~(event_id >= 0), "id is not a whole number", cells["event_id"])
        quarantine.add(np.isnat(start), "date_start is not a date", cells["date_start"])
        quarantine.add(start >= self._tomorrow, "date_start lies in the future", cells["date_start"])
        unknown_country = self._gw[position] != gw
        quarantine.add(unknown_country, "country_id is no country number that Vigie knows", cells["country"])
        quarantine.add(np.isnan(deaths), "best is not a whole number", cells["deaths"])
        quarantine.add(deaths < 0, "best is negative", cells["deaths"])
        quarantine.add(deaths > MOST_DEATHS, f"best is above {MOST_DEATHS:,}, more than any event had", cells["deaths"])
        other = ~np.isnan(kind) & ~np.isin(kind, self._kinds)
        quarantine.add(other, OTHER_KIND if self._kinds == VIOLENCE else NO_PROTEST, cells["type_of_violence"])
        again, repeated = self._repeated(event_id, start, gw, deaths, kind, quarantine.accepted)
        quarantine.add(again, TWICE, cells["event_id"])
        quarantine.add(repeated, "id repeats an earlier row of this file", cells["event_id"])

        low, high = counts(cells["deaths_low"]), counts(cells["deaths_high"])
        latitude, longitude = numbers(cells["latitude"]), numbers(cells["longitude"])
        has_coordinates = ~(np.isnan(latitude) | np.isnan(longitude))
        in_range = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
        where_prec = integers_between(cells["where_prec"], 1, 7)
        columns: dict[str, pa.Array | NDArray[np.generic]] = {
            "event_id": pa.array(event_id, from_pandas=True, mask=~(event_id >= 0)).cast(pa.int64()).cast(pa.string()),
            "iso3": self._iso3[position],
            "date_start": start,
            "date_end": end,
            "date_prec": integers_between(cells["date_prec"], 1, 5),
            "type_of_violence": pa.array([*TYPES, "protest"]).take(
                pa.array(kind - 1, from_pandas=True).cast(pa.int8())
            ),
            **{name: cells[name] for name in ("dyad", "side_a", "side_b", "adm_1", "status")},
            "deaths": deaths,
            "deaths_low": low,
            "deaths_high": high,
            "deaths_civilians": counts(cells["deaths_civilians"]),
            "latitude": np.where(in_range, latitude, np.nan),
            "longitude": np.where(in_range, longitude, np.nan),
            "where_prec": where_prec,
            "source_count": integers_between(cells["source_count"], 0, np.iinfo(np.int16).max),
            "flags": _flag_names(
                {
                    "bounds_out_of_order": (low > deaths) | (deaths > high),
                    "no_bounds": np.isnan(low) | np.isnan(high),
                    "no_coordinates": ~has_coordinates,
                    "coordinates_out_of_range": has_coordinates & ~in_range,
                    "no_where_prec": np.isnan(where_prec),
                    "no_adm_1": np.asarray(cells["adm_1"].is_null()),
                    "no_type": np.isnan(kind),
                    "no_date_end": np.isnat(end),
                    "ends_before_start": end < start,
                    "control_characters": np.isin(rows, list(cleaned)),
                    **{f"no_{name}": np.ones(rows.size, dtype=bool) for name in self._absent if name in _UNFLAGGED},
                }
            ),
        }
        accepted = np.flatnonzero(quarantine.accepted)
        arrays = [take_as(columns[field.name], accepted, field.type) for field in SCHEMA]
        return CheckedBatch(pa.Table.from_arrays(arrays, schema=SCHEMA), quarantine.table())

    def _repeated(
        self,
        ids: NDArray[np.float64],
        start: NDArray[np.datetime64],
        gw: NDArray[np.float64],
        deaths: NDArray[np.float64],
        kind: NDArray[np.float64],
        readable: NDArray[np.bool_],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which readable rows have the id of an earlier readable row, in this batch or an earlier one.

        The first result has those that are the same in all that counts, the second the others.
        """
        again, repeated = np.zeros(ids.size, dtype=bool), np.zeros(ids.size, dtype=bool)
        rows = np.flatnonzero(readable)
        # Day, country, deaths and type in one number: 20, 10, 20 and 3 bits.
        counted = start[rows].astype(np.int64) << 33 | gw[rows].astype(np.int64) << 23
        counted |= deaths[rows].astype(np.int64) << 3 | np.nan_to_num(kind[rows]).astype(np.int64)
        distinct, first = np.unique(ids[rows].astype(np.int64), return_index=True)
        firsts = counted[first]
        numbered, old = distinct.tolist(), np.full(distinct.size, -1)
        if not self._seen.keys().isdisjoint(numbered):
            old = np.array([self._seen.get(number, -1) for number in numbered], dtype=np.int64)
        is_new = old == -1
        self._seen.update(zip(distinct[is_new].tolist(), firsts[is_new].tolist(), strict=True))
        if is_new.all() and distinct.size == rows.size:
            return again, repeated
        which = np.searchsorted(distinct, ids[rows].astype(np.int64))
        later = np.ones(rows.size, dtype=bool)
        later[first[is_new]] = False
        same = counted == np.where(is_new, firsts, old)[which]
        again[rows], repeated[rows] = later & same, later & ~same
        return again, repeated


class Quarantine:
    """The quarantined rows of one batch, each with the first rule it broke."""

    def __init__(self, rows: NDArray[np.int64], record: Callable[[int], str]) -> None:
        self.accepted = np.ones(rows.size, dtype=bool)
        self._rows, self._record = rows, record
        self._entries: list[tuple[int, str, str | None, str]] = []

    def add(self, broken: NDArray[np.bool_], rule: str, value: pa.Array) -> None:
        """Quarantine the rows that break a rule; `value` is the text that breaks it."""
        for i in np.flatnonzero(broken & self.accepted).tolist():
            self._entries.append((int(self._rows[i]), rule, value[i].as_py(), self._record(i)))
        self.accepted &= ~broken

    def drop_blank(self, *cells: pa.Array) -> None:
        """Drop the rows in which nothing stands, neither in these cells nor elsewhere: spreadsheets add such rows."""
        blank = np.logical_and.reduce([cell.is_null().to_numpy(zero_copy_only=False) for cell in cells])
        for i in np.flatnonzero(blank).tolist():
            blank[i] = self._record(i) == "{}"
        self.accepted &= ~blank

    def table(self) -> pa.Table:
        """Return the quarantined rows, in the file's order."""
        return quarantine_table(sorted(self._entries))


def quarantine_table(entries: list[tuple[int, str, str | None, str]]) -> pa.Table:
    """Return entries (row number, rule, value, record) as a table of `QUARANTINE_SCHEMA`."""
    columns = zip(*entries, strict=True) if entries else ([],) * len(QUARANTINE_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, QUARANTINE_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=QUARANTINE_SCHEMA)


def unsplit_rows(rows: dict[int, str]) -> pa.Table:
    """Return rows (text by number) that did not split into the file's fields, as a table of `QUARANTINE_SCHEMA`."""
    return quarantine_table([(number, UNSPLIT, None, text) for number, text in sorted(rows.items())])


def _flag_names(raised: dict[str, NDArray[np.bool_]]) -> pa.Array:
    """Return the names of the flags raised, as one space-separated text per row."""
    # Few combinations of flags occur, so text is joined once for each of them and not once for each row.
    bits = sum(mask.astype(np.int32) << i for i, mask in enumerate(raised.values()))
    combinations, position = np.unique(bits, return_inverse=True)
    names = list(raised)
    texts = [" ".join(name for i, name in enumerate(names) if bit >> i & 1) for bit in combinations.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(position))


def repeated_keys(
    keys: pd.DataFrame, values: pd.DataFrame, accepted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which accepted rows repeat an earlier one in full, and which share their key with other values.

    Of rows with the same key and other values none counts: which one is right cannot be known.
    """
    again, open_rows = np.zeros(accepted.size, dtype=bool), np.zeros(accepted.size, dtype=bool)
    rows = pd.concat([keys, values.add_prefix("value ")], axis=1)[accepted]
    again[accepted] = rows.duplicated().to_numpy()
    distinct = rows.drop_duplicates()
    several = distinct[distinct.duplicated(list(keys.columns), keep=False)]
    if len(several):
        index = pd.MultiIndex.from_frame(several[list(keys.columns)])
        open_rows[accepted] = pd.MultiIndex.from_frame(rows[list(keys.columns)]).isin(index)
    return again & ~open_rows, open_rows
