"""Coverage: the months of each country that a table covers. Outside of them nothing is known, and nothing is zero."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.months import Month, Months, month

WORLD = "*"


@dataclass(frozen=True)
class Coverage:
    """One span of months, first and last included, of a country (ISO alpha-3) or the world (`*`)."""

    iso3: str
    first: Month
    last: Month

    @classmethod
    def parse(cls, text: str) -> "Coverage":
        """Read `MLI:1990-01..2022-12`. Raises BadInput that names the fault."""
        iso3, _, months = text.partition(":")
        first, dots, last = months.partition("..")
        try:
            span = cls(iso3, month(first), month(last if dots else first))
        except ValueError as unreadable:
            raise BadInput(
                f"coverage {text!r}: {unreadable}; write MLI:1990-01..2022-12, or *:… for the world"
            ) from None
        if iso3 != WORLD:
            geography.country(iso3)
        if span.first > span.last:
            raise BadInput(f"coverage {text!r}: the first month comes after the last")
        return span

    def meets(self, other: "Coverage") -> bool:
        """Return whether the two have a country-month in common."""
        same_country = self.iso3 == other.iso3 or WORLD in (self.iso3, other.iso3)
        return bool(same_country and self.first <= other.last and other.first <= self.last)

    def __str__(self) -> str:
        return f"{self.iso3}:{self.first}..{self.last}"


def spans(iso3: str, covered: Months) -> list[Coverage]:
    """Return the unbroken spans in a country's sorted months."""
    breaks = np.flatnonzero(np.diff(covered) > np.timedelta64(1, "M")) + 1
    return [Coverage(iso3, part[0], part[-1]) for part in np.split(covered, breaks) if part.size]


def mask(coverage: Iterable[Coverage], iso3: Sequence[str], months: Months) -> NDArray[np.bool_]:
    """Return which country-months are covered; shape (country, month)."""
    position = {code: i for i, code in enumerate(iso3)}
    covered = np.zeros((len(iso3), months.size), dtype=bool)
    for span in coverage:
        rows = slice(None) if span.iso3 == WORLD else position[span.iso3]
        covered[rows, (months >= span.first) & (months <= span.last)] = True
    return covered
