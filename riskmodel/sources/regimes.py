"""Military governments, as `data/regimes.csv` lists them; each row cites its source.

A military government is one that a coup put in place. It lasts until a head of state took office who had been elected
(the coup's own leader counts) or was a civilian. Outside of what the table covers nothing is known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from riskmodel import reference
from riskmodel.errors import BadInput
from riskmodel.months import Months

COVERED, MILITARY, UNKNOWN = "covered", "military", "unknown"

_OPEN_END = np.datetime64("9999-01-01", "D")
"""The end of a period that had not ended when the table was made."""


@dataclass(frozen=True)
class Period:
    """A period of one country, from `first` to the day before `until` (`datetime64[D]`, UTC).

    `kind` is `covered` (what the table and the list of coups cover), `military`, or `unknown`.
    """

    iso3: str
    kind: str
    first: np.datetime64
    until: np.datetime64
    event: str
    source: str


@cache
def periods() -> tuple[Period, ...]:
    """Return all periods of the table, in its order."""
    return tuple(parse_period(row) for row in reference.rows("regimes.csv"))


def parse_period(row: dict[str, str]) -> Period:
    """Read one row of the table; `until` is empty if the period has not ended. Raises BadInput for a wrong row."""
    try:
        kinds = (COVERED, MILITARY, UNKNOWN)
        if len(row["first"]) != 10 or len(row["until"]) not in (0, 10) or row["kind"] not in kinds:
            raise ValueError(row)
        first = np.datetime64(row["first"], "D")
        until = np.datetime64(row["until"], "D") if row["until"] else _OPEN_END
        if until <= first:
            raise ValueError(row)
        return Period(row["iso3"], row["kind"], first, until, row["event"], row["source"])
    except (KeyError, ValueError):
        raise BadInput(
            f"regimes.csv: {row} needs a first day YYYY-MM-DD, an empty or later one in until, "
            f"and the kind {COVERED}, {MILITARY} or {UNKNOWN}"
        ) from None


def months_ending_in(
    kind: str, iso3: Sequence[str], months: Months, table: Iterable[Period] | None = None
) -> NDArray[np.bool_]:
    """Return which months end within a period of a kind, shape (country, month)."""
    last_day = (months + 1).astype("datetime64[D]") - 1
    within = np.zeros((len(iso3), months.size), dtype=bool)
    for period in periods() if table is None else table:
        if period.kind == kind and period.iso3 in iso3:
            within[list(iso3).index(period.iso3)] |= (last_day >= period.first) & (last_day < period.until)
    return within
