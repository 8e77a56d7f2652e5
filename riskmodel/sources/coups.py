"""Coups and coup attempts, as `data/coups.csv` lists them; each row cites its source.

A coup is an illegal and overt attempt by the military or other elites within the state to unseat the sitting executive.
It is successful if it keeps power for seven days (Powell & Thyne 2011, doi:10.1177/0022343310397436).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from riskmodel import reference
from riskmodel.errors import BadInput
from riskmodel.months import Month

_SUCCESSFUL = {"successful": True, "failed": False}


@dataclass(frozen=True)
class Coup:
    """One coup or attempt. `date` is a day, or a month if the day is not known (`datetime64`, UTC)."""

    iso3: str
    date: np.datetime64
    successful: bool
    event: str
    source: str

    @property
    def month(self) -> Month:
        """The month in which it happened."""
        month: Month = self.date.astype("datetime64[M]")
        return month


@cache
def coups() -> tuple[Coup, ...]:
    """Return all coups and attempts, oldest first. The list treats Mali and its neighbours only."""
    return tuple(parse_coup(row) for row in reference.rows("coups.csv"))


def parse_coup(row: dict[str, str]) -> Coup:
    """Read one row of the list. Raises BadInput if its date or outcome cannot be read."""
    try:
        if len(row["date"]) not in (7, 10):
            raise ValueError(row["date"])
        date = np.datetime64(row["date"])
        return Coup(row["iso3"], date, _SUCCESSFUL[row["outcome"]], row["event"], row["source"])
    except (KeyError, ValueError):
        raise BadInput(f"coups.csv: {row} needs a date YYYY-MM-DD or YYYY-MM, and successful or failed") from None
