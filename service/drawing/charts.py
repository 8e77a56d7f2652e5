"""Geometry of the charts: countries' months, scores, contributions and the scorecard as lengths and SVG path data.

This module knows no colours and no words. Deaths are drawn on a log1p scale that all charts of a page share. An unknown
month is a gap; a month without deaths is a short bar on the base line, so that the two differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log1p, sqrt
from typing import Any

MONTH_WIDTH = 10
"""Width of one month in a chart [units]."""
CHART_HEIGHT = 250
"""Height of a chart [units]."""
ZERO_BAR_HEIGHT = 5
"""Height of the bar of a month without deaths [units]."""
MIN_AXIS_TOP = 100.0
"""Smallest upper end of the deaths axis [deaths a month]. Without it a quiet region would look violent."""
FORECAST_MONTHS = 12
"""Months of forecast that a chart has room for."""
GRID_DEATHS = (1, 10, 100, 1_000, 10_000, 100_000)
"""Where grid lines are drawn [deaths a month]."""
MIN_BAR_SPAN = 1.0
"""Smallest span of values that the full width of bars covers [points], so that tiny contributions look tiny."""
SQUARE_SIDE = 100
"""Side of a square drawing [units]."""
MIN_DOT_RADIUS, MAX_DOT_RADIUS = 1.2, 5.0
"""Radius of a dot for very few cases, and for all cases [units]."""


@dataclass(frozen=True)
class GridLine:
    """A horizontal line at `deaths`; `y` [units] and `percent` [% of the height] count from the top."""

    deaths: int
    y: int
    percent: float


@dataclass(frozen=True)
class YearLabel:
    """Position of a year's January, in per cent of the width from the left."""

    year: str
    percent: float


@dataclass(frozen=True)
class CountryChart:
    """SVG paths of one country's chart, `width` x `CHART_HEIGHT` units.

    `gaps` are the unknown months as (x, width); `origin` is the x at which the forecast begins. `unsettled` are the
    bars of reported months whose figures can still change, `whiskers` the 90 % intervals of their final figures.
    """

    width: int
    origin: int
    observed: str
    unsettled: str
    whiskers: str
    gaps: tuple[tuple[int, int], ...]
    interval_90: str
    interval_50: str
    median: str
    grid_lines: tuple[GridLine, ...]
    years: tuple[YearLabel, ...]


def axis_top(countries: Sequence[Mapping[str, Any]]) -> float:
    """Return the upper end of the deaths axis for charts of these countries [deaths a month]."""
    observed = [month["deaths"] for country in countries for month in country["observed"]]
    high = [month.get("p95") for country in countries for month in (*country["observed"], *country["forecast"])]
    known: list[float] = [deaths for deaths in observed + high if deaths is not None]
    return max([MIN_AXIS_TOP, *known])


def country_chart(country: Mapping[str, Any], top: float) -> CountryChart:
    """Draw one country's observed months and forecast on an axis that ends at `top` [deaths a month]."""
    observed = [month["deaths"] for month in country["observed"]]
    forecast: list[Mapping[str, float]] = [month for month in country["forecast"] if month["p50"] is not None]
    origin = len(observed) * MONTH_WIDTH
    width = origin + FORECAST_MONTHS * MONTH_WIDTH

    def y(deaths: float) -> int:
        scale = (CHART_HEIGHT - 2 * ZERO_BAR_HEIGHT) / log1p(top)
        return round(CHART_HEIGHT - ZERO_BAR_HEIGHT - scale * log1p(deaths))

    def interval(low: str, high: str) -> str:
        upper_edge = "".join(f"V{y(month[high])}h{MONTH_WIDTH}" for month in forecast)
        lower_edge = "".join(f"V{y(month[low])}h-{MONTH_WIDTH}" for month in reversed(forecast))
        return f"M{origin} {CHART_HEIGHT}{upper_edge}{lower_edge}Z" if forecast else ""

    def bars_of(*, settled: bool) -> str:
        return "".join(
            f"M{i * MONTH_WIDTH + MONTH_WIDTH // 2} {CHART_HEIGHT}V{y(month['deaths'])}"
            for i, month in enumerate(country["observed"])
            if month["deaths"] is not None and ("expected_final" not in month) == settled
        )

    return CountryChart(
        width=width,
        origin=origin,
        observed=bars_of(settled=True),
        unsettled=bars_of(settled=False),
        whiskers="".join(
            f"M{i * MONTH_WIDTH + 2} {y(month['p95'])}h6m-3 0V{y(month['p05'])}m-3 0h6"
            for i, month in enumerate(country["observed"])
            if "p95" in month
        ),
        gaps=tuple(_gaps(observed)),
        interval_90=interval("p05", "p95"),
        interval_50=interval("p25", "p75"),
        median="".join(
            f"M{origin + i * MONTH_WIDTH + 1} {y(month['p50'])}h{MONTH_WIDTH - 2}" for i, month in enumerate(forecast)
        ),
        grid_lines=tuple(
            GridLine(deaths, y(deaths), 100 * y(deaths) / CHART_HEIGHT) for deaths in GRID_DEATHS if deaths <= top
        ),
        years=tuple(
            YearLabel(month["month"][:4], 100 * i * MONTH_WIDTH / width)
            for i, month in enumerate([*country["observed"], *country["forecast"]])
            if month["month"].endswith("-01")
        ),
    )


@dataclass(frozen=True)
class ScoreDot:
    """One score: its position [% from the left and from the top]; hollow if it was not issued at its time."""

    origin: str
    score: float
    issued: bool
    x: float
    y: float


@dataclass(frozen=True)
class ScoreChart:
    """Scores over time: lines as SVG paths in a square of `SQUARE_SIDE`, and the other positions [%].

    `issued` joins scores that were both issued at their time, `later` all other neighbours in time. `bands` are name,
    top, height and lowest score of each band.
    """

    issued: str
    later: str
    dots: tuple[ScoreDot, ...]
    bands: tuple[tuple[str, float, float, float], ...]
    years: tuple[YearLabel, ...]


def score_chart(points: Sequence[Mapping[str, Any]], bands: Mapping[str, float]) -> ScoreChart:
    """Draw scores [0-100] over time, one for each origin and in order. An unknown score or month breaks the line.

    A point has `origin`, `risk_score` and `issued`.
    """
    months = [_month_number(point["origin"]) for point in points]
    first, last = min(months, default=0), max(months, default=0)

    def x(month: int) -> float:
        return SQUARE_SIDE * (month - first + 0.5) / (last - first + 1)

    dots = {
        month: ScoreDot(point["origin"], score, point["issued"], round(x(month), 2), round(SQUARE_SIDE - score, 2))
        for month, point in zip(months, points, strict=True)
        if (score := point["risk_score"]) is not None
    }
    lines = {True: "", False: ""}
    for month, dot in dots.items():
        if after := dots.get(month + 1):
            lines[dot.issued and after.issued] += f"M{dot.x} {dot.y}L{after.x} {after.y}"
    floors = sorted((floor, name) for name, floor in bands.items())
    ceilings = [*(floor for floor, _ in floors[1:]), SQUARE_SIDE]
    januaries = [month for month in range(first, last + 1) if month % 12 == 0] if points else []
    return ScoreChart(
        issued=lines[True],
        later=lines[False],
        dots=tuple(dots.values()),
        bands=tuple(
            (name, SQUARE_SIDE - top, top - floor, floor) for (floor, name), top in zip(floors, ceilings, strict=True)
        ),
        years=tuple(YearLabel(str(month // 12), round(x(month), 2)) for month in januaries),
    )


def _month_number(month: str) -> int:
    year, number = month.split("-")
    return 12 * int(year) + int(number) - 1


@dataclass(frozen=True)
class Bar:
    """A bar that starts at the axis: to the right if the value is positive, else to the left [% of the width]."""

    x: float
    width: float
    positive: bool


@dataclass(frozen=True)
class Bars:
    """Bars on one scale; `axis` is the position of zero [% from the left]."""

    axis: float
    bars: tuple[Bar, ...]


def bars(values: Sequence[float]) -> Bars:
    """Draw values of either sign [points] on one scale that contains zero and all values."""
    low, high = min([0.0, *values]), max([0.0, *values])
    unit = 100 / max(high - low, MIN_BAR_SPAN)
    axis = -low * unit
    return Bars(axis, tuple(Bar(axis + min(value, 0.0) * unit, abs(value) * unit, value > 0) for value in values))


@dataclass(frozen=True)
class ReliabilityDot:
    """One class of forecast probabilities: x is the forecast probability, y the observed frequency [units]."""

    x: float
    y: float
    radius: float


def reliability_dots(classes: Sequence[Mapping[str, Any]]) -> tuple[ReliabilityDot, ...]:
    """Draw a reliability table in a square. The area of a dot grows with its number of cases."""
    total = sum(part["cases"] for part in classes)
    return tuple(
        ReliabilityDot(
            round(SQUARE_SIDE * part["probability"], 1),
            round(SQUARE_SIDE * (1 - part["frequency"]), 1),
            round(max(MIN_DOT_RADIUS, MAX_DOT_RADIUS * sqrt(part["cases"] / total)), 2),
        )
        for part in classes
    )


@dataclass(frozen=True)
class Histogram:
    """Bars (x, y, width, height) on the base of a square; `uniform_y` is where all would end if shares were equal."""

    bars: tuple[tuple[float, float, float, float], ...]
    uniform_y: float


def histogram(shares: Sequence[float]) -> Histogram:
    """Draw shares that sum to 1. The scale reaches the largest share, and at least three times the equal share."""
    width, unit = SQUARE_SIDE / len(shares), SQUARE_SIDE / max(3 / len(shares), *shares)
    return Histogram(
        tuple(
            (
                round(i * width + 0.5, 1),
                round(SQUARE_SIDE - share * unit, 1),
                round(width - 1, 1),
                round(share * unit, 1),
            )
            for i, share in enumerate(shares)
        ),
        round(SQUARE_SIDE - unit / len(shares), 1),
    )


def _gaps(observed: Sequence[float | None]) -> Iterable[tuple[int, int]]:
    """Yield each run of unknown months as (x, width) [units]."""
    start = 0
    for unknown, months in groupby(observed, key=lambda deaths: deaths is None):
        length = len(list(months))
        if unknown:
            yield start * MONTH_WIDTH, length * MONTH_WIDTH
        start += length
