"""When a forecast is made and which months it is judged on."""

import re
from dataclasses import dataclass

import numpy as np

from riskmodel.forecasting.forecast import LEADS
from riskmodel.months import Month, Months, span

FIRST_LEAD = 3


@dataclass(frozen=True)
class Window:
    """Data to the origin, and the forecast of leads 3-14 from there: twelve months, two months ahead."""

    name: str
    origin: Month

    @property
    def months(self) -> Months:
        """The months judged, shape (12,)."""
        return span(self.origin + FIRST_LEAD, self.origin + LEADS)


def challenge(year: int) -> Window:
    """The challenge window of a calendar year: data to October of the year before.

    Hegre et al. (2024), doi:10.48550/arXiv.2407.11045.
    """
    return Window(str(year), np.datetime64(f"{year - 1}-10", "M"))


def challenges(text: str) -> tuple[Window, ...]:
    """Read `2018:2022` (both included) or `2020`. Raises ValueError for anything else."""
    if not (written := re.fullmatch(r"(\d{4})(?::(\d{4}))?", text)):
        raise ValueError(f"{text!r} is neither a year nor two years as in 2018:2022")
    first, last = int(written[1]), int(written[2] or written[1])
    if last < first:
        raise ValueError(f"in {text!r} the last year comes before the first")
    return tuple(challenge(year) for year in range(first, last + 1))


def held_out(origin: Month) -> Window:
    """The last window whose outcome is known at an origin."""
    return Window(f"{origin - LEADS + FIRST_LEAD}..{origin}", origin - LEADS)
