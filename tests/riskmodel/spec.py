"""Spec tests that read as documentation: small tables of events, and the values of the indicators.

A case is a section of `tests/spec/<family>.md`. It has the coverage of the events, the events (columns as in the
canonical table; an absent cell has an ordinary value), monthly tables where an indicator needs them, and the expected
values as a person reads them: counts for an indicator that is the log of one, `?` for an unknown value.

    python tests/riskmodel/spec.py > docs/indicators.md

writes the page with the declarations and these cases.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import ged
import numpy as np
import worlds

from riskmodel import geography
from riskmodel.indicators.declaration import Family
from riskmodel.indicators.panel import FAMILIES, INDICATORS, Panel
from riskmodel.months import month
from riskmodel.outcomes import TYPES

FOLDER = Path(__file__).parents[1] / "spec"
SCALE = {indicator.name: indicator.scale for indicator in INDICATORS}

_WRITTEN = {
    "date": "date_start",
    "deaths": "best",
    "dyad": "dyad_name",
    "sources": "number_of_sources",
}
_TABLE = re.compile(r"Table (\w+), elsewhere (\?|0):")


@dataclass(frozen=True)
class Case:
    """One section: its title, what is covered, events, monthly tables and expected values."""

    title: str
    covers: tuple[str, ...]
    events: tuple[dict[str, str], ...]
    tables: dict[str, tuple[float, tuple[dict[str, str], ...]]]
    expected: tuple[dict[str, str], ...]

    def panel(self, folder: Path) -> Panel:
        """The panel of the events, which are ingested as files."""
        events = ged.write(folder / "events.csv", *map(_row, self._rows()))
        inputs = ged.inputs(folder, {", ".join(self.covers): events})
        tables = dict(inputs.tables)
        for name, (elsewhere, rows) in self.tables.items():
            tables[name] = np.full(tables["deaths"].shape, elsewhere)
            for row in rows:
                tables[name][inputs.iso3.index(row["iso3"]), worlds.column(inputs, row["month"])] = float(row["value"])
        return worlds.panel(replace(inputs, tables=tables))

    def values(self, folder: Path) -> Iterator[tuple[str, float, float]]:
        """For each expected row: its label, the computed value as a person reads it, and the expected value."""
        panel = self.panel(folder)
        for row in self.expected:
            name, iso3, when = row["indicator"], row["country"], month(row["month"])
            value = float(panel.at(when)[panel.iso3.index(iso3), panel.names.index(name)])
            readable = float(np.expm1(value)) if SCALE[name] == "log1p" else value
            yield f"{name} {iso3} {when}", readable, float("nan") if row["value"] == "?" else float(row["value"])

    def _rows(self) -> tuple[dict[str, str], ...]:
        """The events; without any, one outside the coverage, because an empty file is refused."""
        return self.events or ({"date": "1989-01-01", "iso3": "MLI", "deaths": "0"},)


def cases(family: str) -> list[Case]:
    """The cases of a family's page."""
    sections = re.split(r"^### ", (FOLDER / f"{family}.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [_case(section) for section in sections[1:]]


def _case(section: str) -> Case:
    title = section.splitlines()[0]
    covered = re.search(r"Covered: (.+)", section)
    assert covered, f"{title}: there is no line 'Covered: …'"
    events: tuple[dict[str, str], ...] = ()
    expected: tuple[dict[str, str], ...] = ()
    tables: dict[str, tuple[float, tuple[dict[str, str], ...]]] = {}
    before = ""
    for part in re.split(r"\n\s*\n", section):
        rows = _rows_of(part)
        if rows and "indicator" in rows[0]:
            expected += rows
        elif rows and (named := _TABLE.search(before)):
            tables[named[1]] = (float("nan") if named[2] == "?" else 0.0, rows)
        elif rows:
            events += rows
        elif named := _TABLE.search(part):
            tables[named[1]] = (float("nan") if named[2] == "?" else 0.0, ())
        before = part
    assert expected, f"{title}: there are no expected values"
    return Case(title, tuple(covered[1].split(", ")), events, tables, expected)


def _rows_of(part: str) -> tuple[dict[str, str], ...]:
    """The rows of a Markdown table; none where the part is no table."""
    lines = [line for line in part.strip().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return tuple(dict(zip(cells[0], row, strict=True)) for row in cells[2:]) if len(cells) > 2 else ()


def _row(event: dict[str, str]) -> dict[str, object]:
    """An event as a row of a UCDP file."""
    row: dict[str, object] = {_WRITTEN.get(name, name): cell for name, cell in event.items() if cell}
    if "iso3" in event:
        row["country_id"] = geography.country(event["iso3"]).gw[0]
    if "type_of_violence" in event:
        row["type_of_violence"] = TYPES.index(event["type_of_violence"]) + 1
    row.setdefault("date_end", row["date_start"])
    row.setdefault("high", row.get("best", 3))
    row["low"] = 0
    if "side_a" in event or "side_b" in event:
        row.setdefault(
            "dyad_name", f"{event.get('side_a', 'Invented side A')} - {event.get('side_b', 'Invented side B')}"
        )
    return row


HEAD = """# Indicators

This page lists the indicators that the model reads, family by family. `python tests/riskmodel/spec.py` writes it from
the declarations and the spec tests, and a test checks it. `vigie indicators` prints the same list, and
`/v1/indicators` serves it.

- **Months**: how much of the past a value needs, the month itself included. A value uses nothing after its month.
- **Sign**: `+` if higher values go with more violence, `−` if they go with less, blank if no sign is claimed. It is an
  association, not a cause.
- **Read as**: a count for an indicator that is the log of 1 + a count; per cent for a share.
- An indicator that needs `deaths` counts those of the forecast outcome (`state_based` by default). One that needs
  `events` counts all types of violence.
- Located events are those with a coordinate and `where_prec` 3 or less.
- **Signal from**: the lowest count that can be a signal; blank for indicators that cannot be one. The rule is in
  `decisions/0016-signals.md`.
- Values below are as a person reads them. `?` is unknown, which is never 0.
"""

_SIGN = {1: "+", -1: "−", 0: ""}
_READ = {"log1p": "count", "share": "per cent", "number": "number"}


def page() -> str:
    """The page in Markdown."""
    return "\n".join([HEAD, *map(_section, FAMILIES)])


def _section(family: Family) -> str:
    lines = [f"## {family.title['en']} (`{family.name}`)", "", f"{family.theme['en']}. *{family.theme['fr']}.*", ""]
    headings = ("indicator", "meaning", "*sens*", "unit", "read as", "months", "sign", "signal from", "needs")
    lines += [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for one in family.indicators:
        cells = (
            f"`{one.name}`",
            one.meaning["en"],
            f"*{one.meaning['fr']}*",
            one.unit,
            _READ[one.scale],
            str(one.window),
            _SIGN[one.direction],
            str(one.signal.minimum) if one.signal else "",
            ", ".join(one.inputs),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Unknown:", ""]
    for missing in dict.fromkeys(one.missing["en"] for one in family.indicators):
        names = ", ".join(f"`{one.name}`" for one in family.indicators if one.missing["en"] == missing)
        lines.append(f"- {missing}: {names}")
    lines += ["", "Literature:", ""]
    works = dict.fromkeys(work for one in family.indicators for work in one.literature)
    lines += [f"- {work.reference}, doi:{work.doi}" for work in works]
    return "\n".join(lines) + "\n\n" + (FOLDER / f"{family.name}.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    print(page(), end="")
