"""When forecasts are made and which months they are judged on. It knows no data."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from riskmodel.forecasting.forecast import LEADS, SERVED_LEADS
from riskmodel.months import Month, Months, span

FIRST_LEAD = 3
YEAR = 12  # [months]


@dataclass(frozen=True)
class Window:
    """A model fitted at `origin`, and what it says at the ends of that month and of the next, `issues` in all.

    From each of these origins the leads `first` to `last` are judged [months].
    """

    name: str
    origin: Month
    issues: int = 1
    first: int = FIRST_LEAD
    last: int = LEADS

    @property
    def origins(self) -> Months:
        """When forecasts are issued, shape (issues,)."""
        return span(self.origin, self.origin + self.issues - 1)

    @property
    def months(self) -> Months:
        """The months judged, from the first to the last."""
        return span(self.origin + self.first, self.origin + self.issues - 1 + self.last)

    @property
    def needed(self) -> Month:
        """The last month that has to be known for the window to be judged."""
        return self.origin + (self.last if self.issues == 1 else self.issues - 1 + self.first)


def challenge(year: int) -> Window:
    """The challenge window of a calendar year: data to October of the year before.

    Hegre et al. (2024), doi:10.48550/arXiv.2407.11045.
    """
    return Window(str(year), np.datetime64(f"{year - 1}-10", "M"))


def year_of_service(year: int) -> Window:
    """What the service issues in a calendar year: a model refitted in January, a forecast at each month's end."""
    return Window(str(year), np.datetime64(f"{year - 1}-12", "M"), issues=YEAR, first=1, last=SERVED_LEADS)


def challenges(text: str) -> tuple[Window, ...]:
    """Read `2018:2022` (both included) or `2020`. Raises ValueError for anything else."""
    return _each(challenge, text)


def rolling(text: str) -> tuple[Window, ...]:
    """The same for what the service issues."""
    return _each(year_of_service, text)


def held_out(origin: Month) -> Window:
    """The last window whose outcome is known at an origin."""
    return Window(f"{origin - LEADS + FIRST_LEAD}..{origin}", origin - LEADS)


def recent(first: Month, last: Month, number: int) -> tuple[Window, ...]:
    """The challenge windows of the latest calendar years that lie within two months, at most `number` of them."""
    years = range(int(str(last + 1)[:4]) - number, int(str(last + 1)[:4]))
    return tuple(window for window in map(challenge, years) if window.origin >= first)


def _each(window: Callable[[int], Window], text: str) -> tuple[Window, ...]:
    if not (written := re.fullmatch(r"(\d{4})(?::(\d{4}))?", text)):
        raise ValueError(f"{text!r} is neither a year nor two years as in 2018:2022")
    first, last = int(written[1]), int(written[2] or written[1])
    if last < first:
        raise ValueError(f"in {text!r} the last year comes before the first")
    return tuple(window(year) for year in range(first, last + 1))
