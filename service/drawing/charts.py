"""From a country's months to the strokes of a chart, from contributions to bars, from a scorecard to dots. Numbers in,
lengths and SVG path data out: no colours, no words.

Deaths stand on a log1p scale that all charts of a page share. A month that nobody knows is a gap; a month without
deaths is a stub on the base line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log1p, sqrt
from typing import Any

STEP = 10
HEIGHT = 250
STUB = 5
LOWEST_TOP = 100.0
SERVED_LEADS = 12
SHORTEST = 1.0
"""The least that the width of bars stands for, so that next to nothing does not look like much [points]."""
RUNGS = (1, 10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Rung:
    """A line of reference: `deaths`, and `y` in units and in per cent from the top."""

    deaths: int
    y: int
    percent: float


@dataclass(frozen=True)
class Year:
    """The first month of a year, in per cent from the left."""

    year: str
    percent: float


@dataclass(frozen=True)
class Chart:
    """The strokes of one chart, in units of `width` x `HEIGHT`; `gaps` are (x, width), `origin` is the x of now."""

    width: int
    origin: int
    observed: str
    gaps: tuple[tuple[int, int], ...]
    outer: str
    inner: str
    median: str
    rungs: tuple[Rung, ...]
    years: tuple[Year, ...]


def top(countries: Sequence[Mapping[str, Any]]) -> float:
    """The most deaths that charts of these countries have to show [deaths a month]."""
    seen = [month["deaths"] for country in countries for month in country["observed"]]
    ahead = [month["p95"] for country in countries for month in country["forecast"]]
    known: list[float] = [deaths for deaths in seen + ahead if deaths is not None]
    return max([LOWEST_TOP, *known])


def chart(country: Mapping[str, Any], highest: float) -> Chart:
    """Draw one country's observed months and forecast, on a scale that ends at `highest` [deaths a month]."""
    observed = [month["deaths"] for month in country["observed"]]
    forecast: list[Mapping[str, float]] = [month for month in country["forecast"] if month["p50"] is not None]
    origin = len(observed) * STEP
    width = origin + SERVED_LEADS * STEP

    def y(deaths: float) -> int:
        return round(HEIGHT - STUB - (HEIGHT - 2 * STUB) * log1p(deaths) / log1p(highest))

    def band(low: str, high: str) -> str:
        there = "".join(f"V{y(month[high])}h{STEP}" for month in forecast)
        back = "".join(f"V{y(month[low])}h-{STEP}" for month in reversed(forecast))
        return f"M{origin} {HEIGHT}{there}{back}Z" if forecast else ""

    return Chart(
        width=width,
        origin=origin,
        observed="".join(
            f"M{i * STEP + STEP // 2} {HEIGHT}V{y(deaths)}" for i, deaths in enumerate(observed) if deaths is not None
        ),
        gaps=tuple(_gaps(observed)),
        outer=band("p05", "p95"),
        inner=band("p25", "p75"),
        median="".join(f"M{origin + i * STEP + 1} {y(month['p50'])}h{STEP - 2}" for i, month in enumerate(forecast)),
        rungs=tuple(Rung(deaths, y(deaths), 100 * y(deaths) / HEIGHT) for deaths in RUNGS if deaths <= highest),
        years=tuple(
            Year(month["month"][:4], 100 * i * STEP / width)
            for i, month in enumerate([*country["observed"], *country["forecast"]])
            if month["month"].endswith("-01")
        ),
    )


@dataclass(frozen=True)
class Bar:
    """A bar from the axis, to the right for what adds and to the left for what takes away; in per cent of the width."""

    x: float
    width: float
    adds: bool


@dataclass(frozen=True)
class Bars:
    """Bars on one scale; `axis` is where zero stands, in per cent from the left."""

    axis: float
    bars: tuple[Bar, ...]


def bars(values: Sequence[float]) -> Bars:
    """Draw values of either sign [points] on one scale that holds zero and all of them."""
    low, high = min([0.0, *values]), max([0.0, *values])
    unit = 100 / max(high - low, SHORTEST)
    axis = -low * unit
    return Bars(axis, tuple(Bar(axis + min(value, 0.0) * unit, abs(value) * unit, value > 0) for value in values))


@dataclass(frozen=True)
class Dot:
    """A class of probabilities: what was said, to the right, and how often it came, upwards; in `SQUARE` units."""

    x: float
    y: float
    radius: float


SQUARE = 100
"""The side of a square drawing, in units."""
SMALLEST, LARGEST = 1.2, 5.0
"""The radius of a dot for next to no cases, and for all of them."""


def dots(classes: Sequence[Mapping[str, Any]]) -> tuple[Dot, ...]:
    """Draw a reliability table: the area of a dot grows with its cases."""
    total = sum(part["cases"] for part in classes)
    return tuple(
        Dot(
            round(SQUARE * part["probability"], 1),
            round(SQUARE * (1 - part["frequency"]), 1),
            round(max(SMALLEST, LARGEST * sqrt(part["cases"] / total)), 2),
        )
        for part in classes
    )


@dataclass(frozen=True)
class Histogram:
    """Bars that stand on the base of a square, (x, y, width, height), and the `y` where all would be level."""

    bars: tuple[tuple[float, float, float, float], ...]
    level: float


def histogram(shares: Sequence[float]) -> Histogram:
    """Draw shares that sum to 1 on a scale that holds the greatest, and thrice the even share at least."""
    width, unit = SQUARE / len(shares), SQUARE / max(3 / len(shares), *shares)
    return Histogram(
        tuple(
            (round(i * width + 0.5, 1), round(SQUARE - share * unit, 1), round(width - 1, 1), round(share * unit, 1))
            for i, share in enumerate(shares)
        ),
        round(SQUARE - unit / len(shares), 1),
    )


def _gaps(observed: Sequence[float | None]) -> Iterable[tuple[int, int]]:
    start = 0
    for unknown, months in groupby(observed, key=lambda deaths: deaths is None):
        length = len(list(months))
        if unknown:
            yield start * STEP, length * STEP
        start += length
