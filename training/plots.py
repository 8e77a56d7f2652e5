"""Draw calibration and the trade-off of alerts as SVG, which needs no style sheet and no script."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from riskmodel.scoring import Reliability

SIDE = 200
MARGIN = 42
TEXT_COLOUR, LINE_COLOUR, FILL_COLOUR = "#1c1c1c", "#8a8a8a", "#3b6ea5"
MAX_RADIUS = 9.0
"""The radius of the point with the most forecasts [SVG units]; areas are proportional to the number of forecasts."""
MIN_RADIUS = 3.0


def pit_histogram(title: str, shares: NDArray[np.float64]) -> str:
    """Draw a PIT histogram: the share of outcomes in each tenth of their forecasts. It is level when calibrated.

    `shares` has shape (part,) and sums to 1.
    """
    number, top = len(shares), max(2.0 / len(shares), float(shares.max()) * 1.1)
    bars = "".join(
        f'<rect x="{_x(i / number):.1f}" y="{_y(share / top):.1f}" width="{SIDE / number - 1:.1f}" '
        f'height="{max(SIDE * share / top, 0):.1f}" fill="{FILL_COLOUR}"/>'
        for i, share in enumerate(shares)
    )
    level = _y(1 / number / top)
    calibrated = (
        f'<line x1="{_x(0)}" x2="{_x(1)}" y1="{level:.1f}" y2="{level:.1f}" '
        f'stroke="{TEXT_COLOUR}" stroke-dasharray="4 3"/>'
    )
    ticks = [(0, "0"), (0.5, "½"), (1, "1")]
    return _frame(title, bars + calibrated, "share of the forecast below the outcome", ticks, [])


def reliability_diagram(title: str, table: Reliability) -> str:
    """Draw observed frequency against forecast probability. Points lie on the diagonal when calibrated."""
    filled = table.number > 0
    largest = max(float(np.sqrt(table.number.max())), 1.0)
    points = "".join(
        f'<circle cx="{_x(forecast):.1f}" cy="{_y(observed):.1f}" '
        f'r="{max(MAX_RADIUS * np.sqrt(number) / largest, MIN_RADIUS):.1f}" '
        f'fill="{FILL_COLOUR}" fill-opacity="0.8">'
        f"<title>{number} forecasts: forecast {forecast:.2f}, observed {observed:.2f}</title></circle>"
        for number, forecast, observed in zip(
            table.number[filled], table.probability[filled], table.frequency[filled], strict=True
        )
    )
    diagonal = (
        f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="{TEXT_COLOUR}" stroke-dasharray="4 3"/>'
    )
    ticks = [(0, "0"), (0.5, "0.5"), (1, "1")]
    return _frame(title, diagonal + points, "across: forecast probability; up: observed frequency", ticks, ticks)


def alert_curves(curves: Sequence[tuple[str, Sequence[tuple[float, float]], int | None]]) -> str:
    """Draw curves side by side: alerts per country-year across, the share of events that they catch up.

    Each curve has a title, its points, and the place of the one that was chosen.
    """
    side, frames = SIDE + 2 * MARGIN, []
    for title, points, chosen in curves:
        widest = max([1.0, *(alerts for alerts, _ in points)])
        places = [(_x(alerts / widest), _y(share)) for alerts, share in points]
        content = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{FILL_COLOUR}"/>' for x, y in places)
        if chosen is not None:
            x, y = places[chosen]
            content += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{TEXT_COLOUR}" stroke-width="2"/>'
        ticks = [(0, "0"), (0.5, f"{widest / 2:.1f}"), (1, f"{widest:.1f}")]
        label = "across: alerts per country-year; up: share of events caught"
        frames.append(_frame(title, content, label, ticks, [(0, "0"), (0.5, "0.5"), (1, "1")]))
    placed = "".join(f'<g transform="translate({side * rank} 0)">{frame}</g>' for rank, frame in enumerate(frames))
    size = f'width="{side * len(frames)}" height="{side}" viewBox="0 0 {side * len(frames)} {side}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{placed}</svg>'


def _frame(
    title: str,
    content: str,
    axis_label: str,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
) -> str:
    labels = "".join(
        f'<text x="{_x(share)}" y="{_y(0) + 16}" text-anchor="middle">{label}</text>' for share, label in x_ticks
    )
    labels += "".join(
        f'<text x="{_x(0) - 6}" y="{_y(share) + 4}" text-anchor="end">{label}</text>' for share, label in y_ticks
    )
    size = SIDE + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}" '
        f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="11" fill="{TEXT_COLOUR}">'
        f'<text x="{_x(0)}" y="{MARGIN - 14}" font-size="13">{escape(title)}</text>'
        f'<rect x="{_x(0)}" y="{_y(1)}" width="{SIDE}" height="{SIDE}" fill="none" stroke="{LINE_COLOUR}"/>'
        f'{content}{labels}<text x="{_x(0.5)}" y="{_y(0) + 32}" text-anchor="middle">{escape(axis_label)}</text></svg>'
    )


def _x(share: float) -> float:
    return MARGIN + SIDE * share


def _y(share: float) -> float:
    return MARGIN + SIDE * (1 - share)
