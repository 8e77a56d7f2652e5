"""Calendar months as `numpy.datetime64[M]`: the unit of time of every outcome, indicator and forecast. UTC."""

import re
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Month: TypeAlias = np.datetime64
Months: TypeAlias = NDArray[np.datetime64]

_PATTERN = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def month(text: str) -> Month:
    """Read `YYYY-MM`. Raises ValueError for anything else."""
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is not a month written YYYY-MM")
    return np.datetime64(text, "M")


def span(first: Month, last: Month) -> Months:
    """Return all months from `first` to `last`, including them; shape (n,)."""
    return np.arange(first, last + 1, dtype="datetime64[M]")


def first_day(when: Month) -> str:
    """Return the first day of a month, `YYYY-MM-DD`."""
    return str(when.astype("datetime64[D]"))


def last_day(when: Month) -> str:
    """Return the last day of a month, `YYYY-MM-DD`."""
    return str((when + 1).astype("datetime64[D]") - 1)
