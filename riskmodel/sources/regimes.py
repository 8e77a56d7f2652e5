"""Military governments, as `data/regimes.csv` ships them: each row cites its source. It knows no archive and no model.

A military government is one that a coup put in place, until a head of state took office who had been elected (the
coup's own leader counts) or was a civilian. Outside of what the table speaks for nothing is known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from riskmodel import reference
from riskmodel.errors import BadInput
from riskmodel.months import Months

TOLD, MILITARY, UNKNOWN = "told", "military", "unknown"
_FOR_EVER = np.datetime64("9999-01-01", "D")


@dataclass(frozen=True)
class Period:
    """A period of one country: `told`, what the table and the list of coups speak for, `military`, or `unknown`.

    From `first` to the day before `until` (`datetime64[D]`, UTC).
    """

    iso3: str
    kind: str
    first: np.datetime64
    until: np.datetime64
    event: str
    source: str


@cache
def periods() -> tuple[Period, ...]:
    """All periods of the table, in its order."""
    return tuple(read(row) for row in reference.rows("regimes.csv"))


def read(row: dict[str, str]) -> Period:
    """One row of the table, `until` empty where the period lasts. Raises BadInput if it cannot be read."""
    try:
        if len(row["first"]) != 10 or len(row["until"]) not in (0, 10) or row["kind"] not in (TOLD, MILITARY, UNKNOWN):
            raise ValueError(row)
        first = np.datetime64(row["first"], "D")
        until = np.datetime64(row["until"], "D") if row["until"] else _FOR_EVER
        if until <= first:
            raise ValueError(row)
        return Period(row["iso3"], row["kind"], first, until, row["event"], row["source"])
    except (KeyError, ValueError):
        raise BadInput(
            f"regimes.csv: {row} needs a first day YYYY-MM-DD, an empty or later one in until, "
            f"and the kind {TOLD}, {MILITARY} or {UNKNOWN}"
        ) from None


def ending_in(
    kind: str, iso3: Sequence[str], months: Months, table: Iterable[Period] | None = None
) -> NDArray[np.bool_]:
    """Which months end within a period of a kind, shape (country, month)."""
    last_day = (months + 1).astype("datetime64[D]") - 1
    held = np.zeros((len(iso3), months.size), dtype=bool)
    for period in periods() if table is None else table:
        if period.kind == kind and period.iso3 in iso3:
            held[list(iso3).index(period.iso3)] |= (last_day >= period.first) & (last_day < period.until)
    return held
