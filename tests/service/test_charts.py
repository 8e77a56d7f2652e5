"""The charts show every known month and no other, and the colours of the style sheet are readable."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import service
from service.drawing import charts

STYLE_SHEET = Path(service.__file__).parent / "web" / "static" / "vigie.css"
DEATHS = st.lists(st.none() | st.integers(0, 50_000), min_size=1, max_size=36)


def country_of(deaths: Sequence[float | None]) -> dict[str, Any]:
    return {"observed": [{"month": "2020-02", "deaths": value} for value in deaths], "forecast": []}


@given(DEATHS)
def test_a_chart_draws_every_known_month_and_only_those(deaths: list[int | None]) -> None:
    country = country_of(deaths)
    chart = charts.country_chart(country, charts.axis_top([country]))
    month_width = charts.MONTH_WIDTH
    bars = {int(x) // month_width: int(y) for x, y in re.findall(r"M(\d+) \d+V(\d+)", chart.observed)}
    gaps = {month for x, width in chart.gaps for month in range(x // month_width, (x + width) // month_width)}
    assert bars.keys() == {i for i, value in enumerate(deaths) if value is not None}
    assert gaps == {i for i, value in enumerate(deaths) if value is None}
    known = sorted((value, -bars[i]) for i, value in enumerate(deaths) if value is not None)
    heights = [height for _, height in known]
    assert heights == sorted(heights)
    assert all(0 < y < charts.CHART_HEIGHT for y in bars.values())


def test_the_quantiles_of_a_forecast_are_drawn_in_order() -> None:
    forecast = {"month": "2023-01", "p05": 0.0, "p25": 2.0, "p50": 10.0, "p75": 30.0, "p95": 99.0}
    country = {"observed": [{"month": "2022-12", "deaths": 4.0}], "forecast": [forecast]}
    chart = charts.country_chart(country, charts.axis_top([country]))
    high, low = map(int, re.findall(r"V(\d+)", chart.interval_90))
    upper, lower = map(int, re.findall(r"V(\d+)", chart.interval_50))
    median = int(chart.median.split()[1].split("h")[0])
    assert high < upper < median < lower < low == charts.CHART_HEIGHT - charts.ZERO_BAR_HEIGHT
    assert [label.year for label in chart.years] == ["2023"]
    assert [line.deaths for line in chart.grid_lines] == [1, 10, 100]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_bars_are_as_long_as_their_values_and_start_at_the_axis(values: list[float]) -> None:
    drawn = charts.bars(values)
    unit = 100 / max(max([0, *values]) - min([0, *values]), 1)
    for value, bar in zip(values, drawn.bars, strict=True):
        assert bar.width == pytest.approx(abs(value) * unit, abs=1e-9)
        assert (bar.x if value >= 0 else bar.x + bar.width) == pytest.approx(drawn.axis, abs=1e-9)
        assert -1e-9 <= bar.x <= bar.x + bar.width <= 100 + 1e-9
        assert bar.positive == (value > 0)


def test_a_reliability_dot_is_placed_by_probability_and_frequency_and_grows_with_its_cases() -> None:
    classes = [
        {"probability": 0.1, "frequency": 0.3, "cases": 96},
        {"probability": 0.9, "frequency": 1.0, "cases": 4},
        {"probability": 0.5, "frequency": 0.5, "cases": 0},
    ]
    dots = charts.reliability_dots(classes)
    assert [(dot.x, dot.y) for dot in dots] == [(10, 70), (90, 0), (50, 50)]
    assert dots[0].radius == pytest.approx(4.9, abs=0.01)
    assert [dot.radius for dot in dots[1:]] == [1.2, 1.2]


def test_the_bars_of_a_histogram_are_as_high_as_their_shares() -> None:
    equal = charts.histogram([0.1] * 10)
    assert {round(y, 1) for _, y, _, _ in equal.bars} == {equal.uniform_y} == {66.7}
    skewed = charts.histogram([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0])
    assert [height for *_, height in skewed.bars] == [100, 100, 0, 0, 0, 0, 0, 0, 0, 0]
    assert skewed.uniform_y == 80


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_readable(theme: str) -> None:
    light, dark = STYLE_SHEET.read_text().split("prefers-color-scheme: dark", 1)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if theme == "light" else dark))
    for text in ("ink", "muted", "link", "alarm", "caution", "calm"):
        assert contrast(colour[text], colour["paper"]) >= 4.5, text
    for level in (1, 2, 3):
        for sign in ("increase", "decrease"):
            assert contrast(colour["ink"], colour[f"{sign}-{level}"]) >= 4.5, (sign, level)
    for text in ("ink", "muted", "alarm"):
        assert contrast(colour[text], colour["alarm-paper"]) >= 4.5, text
    assert contrast(colour["on-alarm"], colour["alarm"]) >= 4.5
    for graphic in ("bar", "median", *(f"shade-{rank}" for rank in range(6))):
        assert contrast(colour[graphic], colour["paper"]) >= 3, graphic


@pytest.mark.parametrize(
    "template", sorted((STYLE_SHEET.parents[1] / "templates").glob("*.html")), ids=lambda p: p.stem
)
def test_every_class_of_a_template_has_a_style(template: Path) -> None:
    defined = set(re.findall(r"\.([a-z][\w-]*)", STYLE_SHEET.read_text()))
    used = {
        name
        for names in re.findall(r'class="([^"{}]+)"', template.read_text(encoding="utf-8"))
        for name in names.split()
    }
    assert used - defined == set()
