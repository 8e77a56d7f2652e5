r"""Plot the indicators of countries by month, and print how many events came near the capital each year, from files.

    python benchmarks/indicator_plots.py plots --events mali.csv.gz MLI:1990-01..2022-12 \
        --events niger.csv.gz NER:1990-01..2022-12

prints a table for each country and draws `plots/MLI.svg`, …, with a small plot for each family. It compares nothing; it
shows the values of the panel. Where an indicator is a logarithm of a count, it shows the count.
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
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel, assemble
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.ingest import Source, ingest
from riskmodel.outcomes import OUTCOMES
from riskmodel.reporting.precision import spread_vague_deaths
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

RADII = (25, 50, 100, 250)
"""Distances from the capital [km]."""
PLOTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "intensity": ({"deaths_12m": ""},),
    "capital": (
        {f"capital_events_{radius}km_12m": f"{radius} km" for radius in reversed(RADII)},
        {"capital_share_12m": ""},
        {"capital_median_12m": ""},
    ),
    "composition": ({"state_based_share_12m": ""},),
    "spread": ({"units_12m": ""},),
    "spillover": ({"neighbours_deaths_12m": ""},),
    "unrest": ({"protests_12m": ""},),
    "reporting": ({"sources_per_event_12m": ""},),
}
"""The plots of a family: labels by indicator. A family that is not here has one plot, of its first indicator."""

PLOTS_PER_ROW = 2
WIDTH, HEIGHT, MARGIN, TOP, BOTTOM = 480, 170, 44, 48, 18
TEXT_COLOUR, FAINT_COLOUR, GRID_COLOUR = "#1d1c1a", "#5f5b53", "#d8d2c5"
LINE_COLOURS = ("#84a9bf", "#1d4a68", "#c65f25", "#5c0b1c")


def main() -> None:
    """Ingest the files, print the tables, draw the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="the folder to draw into")
    parser.add_argument(
        "--events",
        nargs=2,
        metavar=("FILE", "COVERS"),
        action="append",
        required=True,
        help="a UCDP event file and the months that it covers (MLI:1990-01..2022-12); can be repeated",
    )
    parser.add_argument("--monthly", type=Path, help="a country-month table, for the deaths of neighbours")
    parser.add_argument("--displacement", type=Path, help="a table of UNHCR or IDMC, for displaced people")
    parser.add_argument("--outcome", choices=OUTCOMES, default="state_based")
    arguments = parser.parse_args()
    sources: list[tuple[Source, list[Coverage]]] = []
    if arguments.monthly:
        sources.append((MonthlyFile(arguments.monthly), []))
    if arguments.displacement:
        sources.append((DisplacementFile(arguments.displacement), []))
    covers = [Coverage.parse(text) for _, text in arguments.events]
    sources += [(GedFile(Path(path)), [part]) for (path, _), part in zip(arguments.events, covers, strict=True)]
    with tempfile.TemporaryDirectory(prefix="vigie-plots-") as folder:
        view = ingest_files(Path(folder), sources)
        panel, realm = build_panel(view, arguments.outcome), "SIMULATED " if view.simulated else ""
    arguments.target.mkdir(parents=True, exist_ok=True)
    for part in covers:
        print("\n".join([realm, *distance_table(panel, part)] if realm else distance_table(panel, part)))
        path = arguments.target / f"{part.iso3}.svg"
        path.write_text("\n".join(drawing(panel, part, realm)) + "\n", encoding="utf-8")
        print(f"drawn: {path}\n")


def ingest_files(root: Path, sources: Iterable[tuple[Source, list[Coverage]]]) -> View:
    """Ingest files into an archive, in this order. Of two files that cover the same months, the later one counts."""
    archive = Archive(root / "archive")
    for source, covers in sources:
        ingest(archive, source, covers=covers, now=datetime.now(UTC))
    return archive.view()


def build_panel(view: View, outcome: str) -> Panel:
    """Compute all indicators of a view."""
    observed = view.outcomes()
    deaths = spread_vague_deaths(view).only(observed.iso3).deaths[outcome]
    return assemble(observed, outcome, read_inputs(view, observed, outcome, deaths))


def values_of(panel: Panel, name: str, part: Coverage) -> NDArray[np.float64]:
    """Return an indicator of a country over the months of a file, in units for people: counts, shares in per cent."""
    (scale,) = (indicator.scale for indicator in INDICATORS if indicator.name == name)
    inside = slice(panel.place(part.first), panel.place(part.last) + 1)
    values = panel.values[panel.iso3.index(part.iso3), inside, panel.names.index(name)].astype(np.float64)
    if scale == "log1p":
        return np.expm1(values)
    return 100 * values if scale == "share" else values


def distance_table(panel: Panel, part: Coverage) -> Iterator[str]:
    """Yield the events by distance from the capital and calendar year: the twelve months up to each December."""
    country = geography.country(part.iso3)
    by_radius = [values_of(panel, f"capital_events_{radius}km_12m", part) for radius in RADII]
    share, median = (values_of(panel, f"capital_{name}_12m", part) for name in ("share", "median"))
    yield f"{country.capital}: located events by distance from {country.latitude}, {country.longitude}"
    yield "year" + "".join(f"{f'<= {radius} km':>11}" for radius in RADII) + f"{'share':>9}{'median':>11}"
    for place, month in enumerate(np.arange(part.first, part.last + 1)):
        if str(month).endswith("-12") and not np.isnan(by_radius[0][place]):
            cells = "".join(f"{counts[place]:>11.0f}" for counts in by_radius)
            no_events = np.isnan(share[place])
            yield f"{str(month)[:4]}{cells}" + (
                f"{'-':>9}{'-':>11}" if no_events else f"{share[place]:>7.1f} %{median[place]:>8.0f} km"
            )


@dataclass(frozen=True)
class Plot:
    """One small plot: its title, its lines with their labels, and their unit."""

    title: str
    lines: tuple[tuple[str, NDArray[np.float64]], ...]
    unit: str


def plots(panel: Panel, part: Coverage) -> Iterator[Plot]:
    """Yield the plots of a country, family by family."""
    for family in FAMILIES:
        for shown in PLOTS.get(family.name, _first(family)):
            indicators = [_indicator(name) for name in shown]
            lines = tuple((label, values_of(panel, name, part)) for name, label in shown.items())
            unit = "%" if indicators[0].scale == "share" else ""
            yield Plot(f"{family.title['en']}: {indicators[0].meaning['en']}", lines, unit)


def _first(family: Family) -> tuple[Mapping[str, str], ...]:
    return tuple({indicator.name: ""} for indicator in family.indicators[:1])


def _indicator(name: str) -> Indicator:
    (indicator,) = (indicator for indicator in INDICATORS if indicator.name == name)
    return indicator


def drawing(panel: Panel, part: Coverage, realm: str) -> Iterator[str]:
    """Yield the lines of an SVG with all plots of a country; `realm` is written before its name."""
    all_plots = list(plots(panel, part))
    rows = -(-len(all_plots) // PLOTS_PER_ROW)
    width, height = PLOTS_PER_ROW * WIDTH, rows * HEIGHT + 40
    name = escape(f"{realm}{geography.country(part.iso3).name()}")
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="11" fill="{TEXT_COLOUR}">'
    )
    yield f"<title>{name}: indicators by month, {part.first} to {part.last}</title>"
    yield f'<rect width="{width}" height="{height}" fill="#fbf9f4"/>'
    yield f'<text x="{MARGIN}" y="26" font-size="18">{name}, {part.first} to {part.last}</text>'
    for place, plot in enumerate(all_plots):
        x, y = place % PLOTS_PER_ROW * WIDTH, 40 + place // PLOTS_PER_ROW * HEIGHT
        yield f'<g transform="translate({x} {y})">'
        yield from plot_elements(plot, part)
        yield "</g>"
    yield "</svg>"


def plot_elements(plot: Plot, part: Coverage) -> Iterator[str]:
    """Yield the elements of a plot: title, years, grid and lines; an unknown month is a gap."""
    right, bottom = WIDTH - 16, HEIGHT - BOTTOM
    for number, text in enumerate(textwrap.wrap(plot.title, 74)[:2]):
        yield f'<text x="{MARGIN}" y="{12 + 13 * number}">{escape(text)}</text>'
    values = np.concatenate([line for _, line in plot.lines])
    known = values[~np.isnan(values)]
    if not known.size:
        middle = (TOP + bottom) // 2
        yield f'<text x="{MARGIN}" y="{middle}" fill="{FAINT_COLOUR}">unknown: none of the files has it</text>'
        return
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    high = high if high > low else low + 1
    months = np.arange(part.first, part.last + 1)
    step = (right - MARGIN) / max(months.size - 1, 1)

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (value - low) / (high - low)

    for place, month in enumerate(months):
        if str(month)[3:] in ("0-01", "5-01"):
            x = MARGIN + place * step
            yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GRID_COLOUR}"/>'
            year = str(month)[:4]
            yield f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle" fill="{FAINT_COLOUR}">{year}</text>'
    for bound in sorted({low, 0.0, high}):
        yield f'<path d="M{MARGIN} {y(bound):.1f}H{right}" stroke="{GRID_COLOUR}"/>'
        yield (
            f'<text x="{MARGIN - 4}" y="{y(bound) + 4:.1f}" text-anchor="end" fill="{FAINT_COLOUR}">'
            f"{_format(bound)}{plot.unit}</text>"
        )
    for number, (label, line) in enumerate(plot.lines):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)] if len(plot.lines) > 1 else LINE_COLOURS[1]
        path = "".join(_path_data([(MARGIN + i * step, y(value)) for i, value in enumerate(line.tolist())]))
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4" stroke-linecap="round"/>'
        if label:
            yield f'<text x="{MARGIN + 6 + 52 * number}" y="{TOP - 6}" fill="{colour}">{escape(label)}</text>'


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"


def _path_data(points: list[tuple[float, float]]) -> Iterator[str]:
    """Yield path data: a line for each unbroken run of known points, a dot for a single one."""
    for unknown, points_of_run in groupby(points, key=lambda point: bool(np.isnan(point[1]))):
        if not unknown:
            (x, y), *rest = points_of_run
            yield f"M{x:.1f} {y:.1f}" + ("".join(f"L{a:.1f} {b:.1f}" for a, b in rest) or "h0")


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"indicator_plots: {error}")
