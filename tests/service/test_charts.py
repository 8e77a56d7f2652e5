"""What pages are drawn with: charts that show every known month and no other, colours that can be read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import service
from service.drawing import charts

WEB = Path(service.__file__).parent / "web"
DEATHS = st.lists(st.none() | st.integers(0, 50_000), min_size=1, max_size=36)


def _months(deaths: Sequence[float | None]) -> dict[str, Any]:
    return {"observed": [{"month": "2020-02", "deaths": value} for value in deaths], "forecast": []}


@given(DEATHS)
def test_a_chart_draws_every_known_month_and_only_those(deaths: list[int | None]) -> None:
    country = _months(deaths)
    drawn = charts.chart(country, charts.top([country]))
    bars = {int(x) // charts.STEP: int(y) for x, y in re.findall(r"M(\d+) \d+V(\d+)", drawn.observed)}
    gaps = {month for x, width in drawn.gaps for month in range(x // charts.STEP, (x + width) // charts.STEP)}
    assert bars.keys() == {i for i, value in enumerate(deaths) if value is not None}
    assert gaps == {i for i, value in enumerate(deaths) if value is None}
    known = sorted((value, -bars[i]) for i, value in enumerate(deaths) if value is not None)
    heights = [height for _, height in known]
    assert heights == sorted(heights)
    assert all(0 < y < charts.HEIGHT for y in bars.values())


def test_a_chart_s_fan_holds_its_quantiles_in_order() -> None:
    lead = {"month": "2023-01", "p05": 0.0, "p25": 2.0, "p50": 10.0, "p75": 30.0, "p95": 99.0}
    country = {"observed": [{"month": "2022-12", "deaths": 4.0}], "forecast": [lead]}
    drawn = charts.chart(country, charts.top([country]))
    high, low = map(int, re.findall(r"V(\d+)", drawn.outer))
    upper, lower = map(int, re.findall(r"V(\d+)", drawn.inner))
    median = int(drawn.median.split()[1].split("h")[0])
    assert high < upper < median < lower < low == charts.HEIGHT - charts.STUB
    assert [year.year for year in drawn.years] == ["2023"]
    assert [rung.deaths for rung in drawn.rungs] == [1, 10, 100]


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_read(theme: str) -> None:
    day, night = (WEB / "static" / "vigie.css").read_text().split("prefers-color-scheme: dark", 1)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", day if theme == "light" else night))
    for text in ("ink", "quiet", "link", "alarm", "caution", "calm"):
        assert _contrast(colour[text], colour["paper"]) >= 4.5, text
    for level in (1, 2, 3):
        for sign in ("more", "less"):
            assert _contrast(colour["ink"], colour[f"{sign}-{level}"]) >= 4.5, (sign, level)
    for text in ("ink", "quiet", "alarm"):
        assert _contrast(colour[text], colour["alarm-paper"]) >= 4.5, text
    assert _contrast(colour["on-alarm"], colour["alarm"]) >= 4.5
    for mark in ("bar", "median", *(f"shade-{rank}" for rank in range(6))):
        assert _contrast(colour[mark], colour["paper"]) >= 3, mark
