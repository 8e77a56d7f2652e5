"""Golden predictions: a forecast that is stored with a model, and that the loaded model must make again.

The file has what the forecast was made from, so the check needs no archive.
"""

import io
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from riskmodel.months import Month, month

if TYPE_CHECKING:
    from riskmodel.forecasting.component import Component
    from riskmodel.indicators.panel import Panel

VIOLENT_COUNTRIES = 3
"""It forecasts these deadliest countries of the last twelve months, and the quietest one."""
TOLERANCE = 0.01
"""On another platform, the mean distance between the sorted draws, on log(1 + deaths), can be so large.

Processors and libraries round the last digit differently, which moves single draws: one draw of a thousand that doubles
moves the mean by 0.0007. Another model of the same data (another seed) is 0.03 to 0.1 away.
"""


def make(model: "Component", panel: "Panel", origin: Month) -> bytes:
    """Return the golden prediction of a fitted model as a file, from its panel at an origin."""
    from riskmodel.forecasting.component import REQUIRED_MONTHS, forecastable
    from riskmodel.indicators.panel import INDICATORS

    known = panel.until(origin)
    recent = known.history(origin, REQUIRED_MONTHS).sum(axis=1)
    rows = [row for row in np.argsort(-recent, kind="stable") if forecastable(known, origin)[row]]
    rows = list(dict.fromkeys([*rows[:VIOLENT_COUNTRIES], *rows[-1:]]))
    part = known.only([known.iso3[row] for row in rows])
    months = max(indicator.window for indicator in INDICATORS)  # an assessment has no fewer
    values, deaths = part.values[:, -months:], part.deaths[:, -months:]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        iso3=np.array(part.iso3),
        origin=np.array(str(origin)),
        outcome=np.array(part.outcome),
        names=np.array(part.names),
        values=values,
        deaths=deaths,
        draws=model.forecast(_panel(part.iso3, origin, part.names, values, part.outcome, deaths), origin).draws,
    )
    return file.getvalue()


def failure(model: "Component", golden: bytes, made_on: Mapping[str, str]) -> str | None:
    """Return how the forecast of a loaded model differs from its golden prediction, or None if it does not.

    On the platform where it was made, `made_on`, it must be the same to the last digit; elsewhere within `TOLERANCE`.
    """
    with np.load(io.BytesIO(golden), allow_pickle=False) as stored:
        names = tuple(map(str, stored["names"]))
        origin, outcome, iso3 = month(str(stored["origin"])), str(stored["outcome"]), tuple(map(str, stored["iso3"]))
        expected = stored["draws"]
        panel = _panel(iso3, origin, names, stored["values"], outcome, stored["deaths"])
    draws = model.forecast(panel, origin).draws
    if np.array_equal(draws, expected, equal_nan=True):
        return None
    if draws.shape != expected.shape or not (np.isfinite(draws) == np.isfinite(expected)).all():
        return "it forecasts other countries, or has another number of draws"
    distance = float(np.nanmean(np.abs(np.log1p(np.sort(draws)) - np.log1p(np.sort(expected)))))
    if this_platform() == made_on:
        return f"on the same platform its draws are {distance:.2g} away, and should be equal"
    return None if distance <= TOLERANCE else f"its draws are {distance:.2g} away, and {TOLERANCE} is tolerated"


def this_platform() -> dict[str, str]:
    """Return what can change the last digits of a forecast besides the versions of packages."""
    found: Any = np.show_config(mode="dicts")
    return {
        "system": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}",
        "processor": " ".join(found["SIMD Extensions"]["found"]),
    }


def _panel(
    iso3: tuple[str, ...], origin: Month, names: tuple[str, ...], values: Any, outcome: str, deaths: Any
) -> "Panel":
    from riskmodel.indicators.panel import Panel

    months = np.arange(origin - deaths.shape[1] + 1, origin + 1)
    return Panel(iso3, months, names, values, outcome, deaths)
