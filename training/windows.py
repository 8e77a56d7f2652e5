"""Back-test windows: when forecasts are issued and which months they are scored on."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from riskmodel.forecasting.forecast import LEADS, SERVED_LEADS
from riskmodel.months import Month, Months, span

FIRST_CHALLENGE_LEAD = 3  # [months]
MONTHS_PER_YEAR = 12


@dataclass(frozen=True)
class Window:
    """A model fitted at `origin` and the forecasts that it issues.

    It issues `issues` forecasts: the first at the end of `origin`, then one at the end of each following month.
    Each forecast is scored at the leads `first_lead` to `last_lead` [months].
    """

    name: str
    origin: Month
    issues: int = 1
    first_lead: int = FIRST_CHALLENGE_LEAD
    last_lead: int = LEADS

    @property
    def origins(self) -> Months:
        """The origin of each forecast, shape (issues,)."""
        return span(self.origin, self.origin + self.issues - 1)

    @property
    def target_months(self) -> Months:
        """All months that some forecast of the window is scored on."""
        return span(self.origin + self.first_lead, self.origin + self.issues - 1 + self.last_lead)

    @property
    def last_month_needed(self) -> Month:
        """The last month that the data must have. With several origins, only the first lead of the last one counts."""
        return self.origin + (self.last_lead if self.issues == 1 else self.issues - 1 + self.first_lead)


def challenge_window(year: int) -> Window:
    """Return the challenge window of a calendar year: data to October of the year before, leads 3 to 14.

    Hegre et al. (2024), doi:10.48550/arXiv.2407.11045.
    """
    return Window(str(year), np.datetime64(f"{year - 1}-10", "M"))


def service_window(year: int) -> Window:
    """Return what the service issues in a calendar year: one model fitted in January, a forecast every month."""
    origin = np.datetime64(f"{year - 1}-12", "M")
    return Window(str(year), origin, issues=MONTHS_PER_YEAR, first_lead=1, last_lead=SERVED_LEADS)


def challenge_windows(text: str) -> tuple[Window, ...]:
    """Parse `2018:2022` (both years included) or `2020` into challenge windows. Raises ValueError for other text."""
    return _windows_of_years(challenge_window, text)


def service_windows(text: str) -> tuple[Window, ...]:
    """Parse `2018:2022` (both years included) or `2020` into service windows. Raises ValueError for other text."""
    return _windows_of_years(service_window, text)


def held_out_window(origin: Month) -> Window:
    """Return the latest challenge-like window whose target months all end by `origin`."""
    return Window(f"{origin - LEADS + FIRST_CHALLENGE_LEAD}..{origin}", origin - LEADS)


def recent_challenge_windows(first: Month, last: Month, number: int) -> tuple[Window, ...]:
    """Return the challenge windows of the latest `number` calendar years that lie between two months."""
    next_year = int(str(last + 1)[:4])
    windows = map(challenge_window, range(next_year - number, next_year))
    return tuple(window for window in windows if window.origin >= first)


def _windows_of_years(make_window: Callable[[int], Window], text: str) -> tuple[Window, ...]:
    if not (match := re.fullmatch(r"(\d{4})(?::(\d{4}))?", text)):
        raise ValueError(f"{text!r} is neither a year nor two years as in 2018:2022")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"in {text!r} the last year comes before the first")
    return tuple(make_window(year) for year in range(first, last + 1))
