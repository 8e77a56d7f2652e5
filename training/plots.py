"""Calibration as drawings: numbers in, SVG text out, which needs no style sheet and no script."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from riskmodel.scoring import Reliability

SIDE = 200
MARGIN = 42
INK, LINE, FILL = "#1c1c1c", "#8a8a8a", "#3b6ea5"
WIDEST = 9.0
"""The radius of the point with the most forecasts [units]."""
SMALLEST = 3.0


def pit(title: str, shares: NDArray[np.float64]) -> str:
    """A PIT histogram: how much of what came fell into each even part of the forecast; level when calibrated.

    `shares` of shape (part,) sum to 1.
    """
    number, top = len(shares), max(2.0 / len(shares), float(shares.max()) * 1.1)
    bars = "".join(
        f'<rect x="{_x(i / number):.1f}" y="{_y(share / top):.1f}" width="{SIDE / number - 1:.1f}" '
        f'height="{max(SIDE * share / top, 0):.1f}" fill="{FILL}"/>'
        for i, share in enumerate(shares)
    )
    level = _y(1 / number / top)
    even = f'<line x1="{_x(0)}" x2="{_x(1)}" y1="{level:.1f}" y2="{level:.1f}" stroke="{INK}" stroke-dasharray="4 3"/>'
    return _frame(title, bars + even, "share of the forecast below what came", [(0, "0"), (0.5, "½"), (1, "1")], [])


def reliability(title: str, table: Reliability) -> str:
    """Probability said against frequency seen; on the diagonal when calibrated, the area of a point its number."""
    filled = table.number > 0
    largest = max(float(np.sqrt(table.number.max())), 1.0)
    points = "".join(
        f'<circle cx="{_x(said):.1f}" cy="{_y(seen):.1f}" r="{max(WIDEST * np.sqrt(number) / largest, SMALLEST):.1f}" '
        f'fill="{FILL}" fill-opacity="0.8"><title>{number} forecasts: said {said:.2f}, came {seen:.2f}</title></circle>'
        for number, said, seen in zip(
            table.number[filled], table.probability[filled], table.frequency[filled], strict=True
        )
    )
    diagonal = f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="{INK}" stroke-dasharray="4 3"/>'
    ticks = [(0, "0"), (0.5, "0.5"), (1, "1")]
    return _frame(title, diagonal + points, "probability said; upwards: frequency seen", ticks, ticks)


def _frame(
    title: str, inside: str, below: str, across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]]
) -> str:
    marks = "".join(f'<text x="{_x(at)}" y="{_y(0) + 16}" text-anchor="middle">{said}</text>' for at, said in across)
    marks += "".join(f'<text x="{_x(0) - 6}" y="{_y(at) + 4}" text-anchor="end">{said}</text>' for at, said in up)
    size = SIDE + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}" '
        f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="11" fill="{INK}">'
        f'<text x="{_x(0)}" y="{MARGIN - 14}" font-size="13">{escape(title)}</text>'
        f'<rect x="{_x(0)}" y="{_y(1)}" width="{SIDE}" height="{SIDE}" fill="none" stroke="{LINE}"/>'
        f'{inside}{marks}<text x="{_x(0.5)}" y="{_y(0) + 32}" text-anchor="middle">{escape(below)}</text></svg>'
    )


def _x(share: float) -> float:
    return MARGIN + SIDE * share


def _y(share: float) -> float:
    return MARGIN + SIDE * (1 - share)
