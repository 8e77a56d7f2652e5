"""Turn columns of text or names into typed arrays: numbers, dates, months, positions in a list of names."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.outcomes import TYPES

DateOrder = Literal["dmy", "mdy"]
"""Whether the day or the month comes first in dates that do not begin with the year."""

_DATE_FORMATS = {"dmy": "%d/%m/%Y", "mdy": "%m/%d/%Y"}
_LARGEST = np.iinfo(np.int32).max


def numbers(text: pa.Array) -> NDArray[np.float64]:
    """Return text as numbers; NaN where it is empty or no number."""
    try:
        values = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        return np.asarray(pd.to_numeric(text.to_pandas(), errors="coerce"), dtype=np.float64)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def integers(text: pa.Array) -> NDArray[np.float64]:
    """Return text as integers of at most 32 bits; NaN for anything else.

    "475.0" is one. "1.000" and "1E+03" are not: the one can mean a thousand, and a spreadsheet rounds to the other.
    """
    try:
        values = np.asarray(pc.cast(pc.cast(text, pa.int64()), pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(text, r"^\s*[-+]?\d+(?:\.0{1,2}|\.0{4,}|\.)?\s*$")
        values = numbers(pc.if_else(plain, pc.utf8_trim_whitespace(text), pa.scalar(None, pa.string())))
    return np.where(np.abs(values) <= _LARGEST, values, np.nan)


def counts(text: pa.Array) -> NDArray[np.float64]:
    """Return text as integers of 0 or more; NaN for anything else."""
    values = integers(text)
    return np.where(values >= 0, values, np.nan)


def integers_between(text: pa.Array, low: int, high: int) -> NDArray[np.float64]:
    """Return text as integers from `low` to `high`, including them; NaN for anything else."""
    values = integers(text)
    return np.where((values >= low) & (values <= high), values, np.nan)


def dates(text: pa.Array, order: DateOrder | None = None) -> NDArray[np.datetime64]:
    """Return text as days: `YYYY-MM-DD…`, or with an order of day and month also `DD/MM/YYYY…`; NaT for others."""
    ends = pc.is_in(pc.utf8_slice_codeunits(text, 10, 11), value_set=pa.array(["", " ", "T"]))
    day = pc.if_else(ends, pc.utf8_slice_codeunits(text, 0, 10), pa.scalar(None, pa.string()))
    if order is None:
        try:
            return np.asarray(pc.cast(day, pa.date32()).to_numpy(zero_copy_only=False)).astype("datetime64[D]")
        except pa.ArrowInvalid:
            pass  # some are no dates: the slower way finds the others
    days = pd.to_datetime(day.to_pandas(), format="%Y-%m-%d", errors="coerce")
    if order is not None:
        written = pc.replace_substring_regex(text, r"^\s*(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:[ T].*)?$", r"\1/\2/\3")
        days = days.fillna(pd.to_datetime(written.to_pandas(), format=_DATE_FORMATS[order], errors="coerce"))
    return np.asarray(days).astype("datetime64[D]")


def months_of(dates: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Return the months of dates, shape (n,)."""
    days: NDArray[np.datetime64] = dates.to_numpy()
    return days.astype("datetime64[M]")


def monthly_deaths(table: pa.Table, kind: str) -> NDArray[np.float64] | None:
    """Return the deaths of a kind (`outcomes.KINDS`) in each row of a country-month table [deaths]; None if unknown.

    A table knows the deaths of all types by its column `deaths_all`, or else by the columns of all three types.
    """
    names = [f"deaths_{kind}"]
    if kind == "all" and names[0] not in table.column_names:
        names = [f"deaths_{each}" for each in TYPES]
    if not set(names) <= set(table.column_names):
        return None
    return np.asarray(np.sum([table[name].to_numpy() for name in names], axis=0), dtype=np.float64)


def positions(names: pa.ChunkedArray, order: Sequence[str]) -> NDArray[np.int64]:
    """Return the position of each name in `order`, shape (n,); -1 for a name that is not in it, and for null."""
    encoded = names.dictionary_encode() if not pa.types.is_dictionary(names.type) else names.unify_dictionaries()
    position_of = {name: i for i, name in enumerate(order)}
    found = [np.empty(0, dtype=np.int64)]
    for chunk in encoded.chunks:
        lookup = np.array([*(position_of.get(name, -1) for name in chunk.dictionary.to_pylist()), -1], dtype=np.int64)
        found.append(lookup[chunk.indices.fill_null(lookup.size - 1).to_numpy(zero_copy_only=False)])
    return np.concatenate(found)


def take_as(column: pa.Array | NDArray[np.generic], rows: NDArray[np.intp], kind: pa.DataType) -> pa.Array:
    """Return some rows of a column as an Arrow type; NaN and NaT become null."""
    array = pa.array(column, from_pandas=True) if isinstance(column, np.ndarray) else column
    taken = array.take(pa.array(rows))
    return taken.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else taken.cast(kind)
