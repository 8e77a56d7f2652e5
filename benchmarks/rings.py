r"""How near the capital violence came, year by year, and each family of indicators over time, from event files.

    python benchmarks/rings.py plots --events mali.csv.gz MLI:1990-01..2022-12 \
        --events niger.csv.gz NER:1990-01..2022-12

prints a table for each country and draws `plots/MLI.svg`, …: one small panel for each family, by month. Nothing is
computed here: tables and lines show what the panel says, counts where an indicator is the log of one.
"""

import argparse
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.view import View
from riskmodel.indicators.declaration import Family, Indicator
from riskmodel.indicators.gathering import gather
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel, assemble
from riskmodel.ingest import Source, ingest
from riskmodel.outcomes import OUTCOMES
from riskmodel.reporting.precision import spread
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

RINGS = (25, 50, 100, 250)
TELLING: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "intensity": ({"deaths_12m": ""},),
    "capital": (
        {f"capital_events_{ring}km_12m": f"{ring} km" for ring in reversed(RINGS)},
        {"capital_share_12m": ""},
        {"capital_median_12m": ""},
    ),
    "composition": ({"state_based_share_12m": ""},),
    "spread": ({"units_12m": ""},),
    "spillover": ({"neighbours_deaths_12m": ""},),
    "unrest": ({"protests_12m": ""},),
    "reporting": ({"sources_per_event_12m": ""},),
}
"""What the panels of a family show: labels by indicator. A family that is not named shows its first indicator."""

COLUMNS = 2
WIDTH, HEIGHT, MARGIN, HEAD, FOOT = 480, 170, 44, 48, 18
INK, QUIET, LINE = "#1d1c1a", "#5f5b53", "#d8d2c5"
STROKES = ("#84a9bf", "#1d4a68", "#c65f25", "#5c0b1c")


def main() -> None:
    """Take the files in, print the tables, draw the plots."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("target", type=Path, help="the folder to draw into")
    options.add_argument(
        "--events",
        nargs=2,
        metavar=("FILE", "COVERS"),
        action="append",
        required=True,
        help="a UCDP event file and what it speaks for (MLI:1990-01..2022-12); may be repeated",
    )
    options.add_argument("--monthly", type=Path, help="a country-month table, for the neighbours' deaths")
    options.add_argument("--displacement", type=Path, help="UNHCR's or IDMC's table, for the displaced")
    options.add_argument("--outcome", choices=OUTCOMES, default="state_based")
    asked = options.parse_args()
    sources: list[tuple[Source, list[Coverage]]] = []
    if asked.monthly:
        sources.append((MonthlyFile(asked.monthly), []))
    if asked.displacement:
        sources.append((DisplacementFile(asked.displacement), []))
    covers = [Coverage.parse(text) for _, text in asked.events]
    sources += [(GedFile(Path(path)), [part]) for (path, _), part in zip(asked.events, covers, strict=True)]
    with tempfile.TemporaryDirectory(prefix="vigie-rings-") as folder:
        view = view_of(Path(folder), sources)
        panel, realm = panel_of(view, asked.outcome), "SIMULATED " if view.simulated else ""
    asked.target.mkdir(parents=True, exist_ok=True)
    for part in covers:
        print("\n".join([realm, *table(panel, part)] if realm else table(panel, part)))
        path = asked.target / f"{part.iso3}.svg"
        path.write_text("\n".join(drawing(panel, part, realm)) + "\n", encoding="utf-8")
        print(f"drawn: {path}\n")


def view_of(root: Path, sources: Iterable[tuple[Source, list[Coverage]]]) -> View:
    """An archive of some files, in that order: of two that cover the same, the later one speaks."""
    archive = Archive(root / "archive")
    for source, covers in sources:
        ingest(archive, source, covers=covers, now=datetime.now(UTC))
    return archive.view()


def panel_of(view: View, outcome: str) -> Panel:
    """All indicators of all that a view knows."""
    frame = view.outcomes()
    return assemble(frame, outcome, gather(view, frame, outcome, spread(view).only(frame.iso3).deaths[outcome]))


def read(panel: Panel, name: str, part: Coverage) -> NDArray[np.float64]:
    """One indicator of one country over what a file covers, as a person reads it: counts, and shares in per cent."""
    (scale,) = (indicator.scale for indicator in INDICATORS if indicator.name == name)
    inside = slice(panel.place(part.first), panel.place(part.last) + 1)
    values = panel.values[panel.iso3.index(part.iso3), inside, panel.names.index(name)].astype(np.float64)
    if scale == "log1p":
        return np.expm1(values)
    return 100 * values if scale == "share" else values


def table(panel: Panel, part: Coverage) -> Iterator[str]:
    """The rings around the capital by calendar year: the twelve months that each December looks back on."""
    country = geography.country(part.iso3)
    rings = [read(panel, f"capital_events_{ring}km_12m", part) for ring in RINGS]
    share, middle = read(panel, "capital_share_12m", part), read(panel, "capital_median_12m", part)
    yield f"{country.capital}: located events by distance from {country.latitude}, {country.longitude}"
    yield "year" + "".join(f"{f'<= {ring} km':>11}" for ring in RINGS) + f"{'share':>9}{'median':>11}"
    for place, month in enumerate(np.arange(part.first, part.last + 1)):
        if str(month).endswith("-12") and not np.isnan(rings[0][place]):
            counts = "".join(f"{ring[place]:>11.0f}" for ring in rings)
            none = np.isnan(share[place])
            yield f"{str(month)[:4]}{counts}" + (
                f"{'-':>9}{'-':>11}" if none else f"{share[place]:>7.1f} %{middle[place]:>8.0f} km"
            )


@dataclass(frozen=True)
class Strip:
    """One panel of a drawing: what it is called, and its lines with their labels."""

    title: str
    lines: tuple[tuple[str, NDArray[np.float64]], ...]
    unit: str


def strips(panel: Panel, part: Coverage) -> Iterator[Strip]:
    """The panels of one country, family by family."""
    for family in FAMILIES:
        for shown in TELLING.get(family.name, _first(family)):
            indicators = [_indicator(name) for name in shown]
            lines = tuple((label, read(panel, name, part)) for name, label in shown.items())
            unit = "%" if indicators[0].scale == "share" else ""
            yield Strip(f"{family.title['en']}: {indicators[0].meaning['en']}", lines, unit)


def _first(family: Family) -> tuple[Mapping[str, str], ...]:
    return tuple({indicator.name: ""} for indicator in family.indicators[:1])


def _indicator(name: str) -> Indicator:
    (indicator,) = (indicator for indicator in INDICATORS if indicator.name == name)
    return indicator


def drawing(panel: Panel, part: Coverage, realm: str) -> Iterator[str]:
    """An SVG of all panels of one country; `realm` stands before its name."""
    all_strips = list(strips(panel, part))
    rows = -(-len(all_strips) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 40
    name = escape(f"{realm}{geography.country(part.iso3).name()}")
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="11" fill="{INK}">'
    )
    yield f"<title>{name}: indicators by month, {part.first} to {part.last}</title>"
    yield f'<rect width="{width}" height="{height}" fill="#fbf9f4"/>'
    yield f'<text x="{MARGIN}" y="26" font-size="18">{name}, {part.first} to {part.last}</text>'
    for place, strip in enumerate(all_strips):
        x, y = place % COLUMNS * WIDTH, 40 + place // COLUMNS * HEIGHT
        yield f'<g transform="translate({x} {y})">'
        yield from strokes(strip, part)
        yield "</g>"
    yield "</svg>"


def strokes(strip: Strip, part: Coverage) -> Iterator[str]:
    """The marks of one panel: title, years, bounds and lines; a month that is not known is a gap."""
    right, bottom = WIDTH - 16, HEIGHT - FOOT
    for number, text in enumerate(textwrap.wrap(strip.title, 74)[:2]):
        yield f'<text x="{MARGIN}" y="{12 + 13 * number}">{escape(text)}</text>'
    together = np.concatenate([line for _, line in strip.lines])
    known = together[~np.isnan(together)]
    if not known.size:
        middle = (HEAD + bottom) // 2
        yield f'<text x="{MARGIN}" y="{middle}" fill="{QUIET}">not known: nothing that was given tells it</text>'
        return
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    high = high if high > low else low + 1
    months = np.arange(part.first, part.last + 1)
    step = (right - MARGIN) / max(months.size - 1, 1)

    def y(value: float) -> float:
        return bottom - (bottom - HEAD) * (value - low) / (high - low)

    for place, month in enumerate(months):
        if str(month)[3:] in ("0-01", "5-01"):
            x = MARGIN + place * step
            yield f'<path d="M{x:.1f} {HEAD}V{bottom}" stroke="{LINE}"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle" fill="{QUIET}">{str(month)[:4]}</text>'
    for bound in sorted({low, 0.0, high}):
        yield f'<path d="M{MARGIN} {y(bound):.1f}H{right}" stroke="{LINE}"/>'
        yield (
            f'<text x="{MARGIN - 4}" y="{y(bound) + 4:.1f}" text-anchor="end" fill="{QUIET}">'
            f"{_written(bound)}{strip.unit}</text>"
        )
    for number, (label, line) in enumerate(strip.lines):
        colour = STROKES[number % len(STROKES)] if len(strip.lines) > 1 else STROKES[1]
        path = "".join(_runs([(MARGIN + i * step, y(value)) for i, value in enumerate(line.tolist())]))
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4" stroke-linecap="round"/>'
        if label:
            yield f'<text x="{MARGIN + 6 + 52 * number}" y="{HEAD - 6}" fill="{colour}">{escape(label)}</text>'


def _written(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"


def _runs(points: list[tuple[float, float]]) -> Iterator[str]:
    """Path data: one stroke for each unbroken run of known points, a dot where the run is a single one."""
    for unknown, run in groupby(points, key=lambda point: bool(np.isnan(point[1]))):
        if not unknown:
            (x, y), *rest = run
            yield f"M{x:.1f} {y:.1f}" + ("".join(f"L{a:.1f} {b:.1f}" for a, b in rest) or "h0")


if __name__ == "__main__":
    try:
        main()
    except BadInput as wrong:
        sys.exit(f"rings: {wrong}")
