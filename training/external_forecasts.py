"""Somebody else's forecasts, in the layout that `export` writes: read strictly, and judged like our own.

A mistake is BadInput, with the file, the column or country-month, and the rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.months import Month, Months, span
from training.results import CAME, COVERAGES, SCORES, Judged, losses
from training.windows import Window

COLUMNS = ("origin", "iso3", "month", "draw", "deaths")
ACTIVE = 12  # [months]
FURTHEST = 36
"""The longest lead that is read [months]."""


@dataclass(frozen=True)
class Draws:
    """A file of draws, read origin by origin."""

    path: Path

    @property
    def origins(self) -> Months:
        """The origins in it, in order. Raises BadInput for what is no such file."""
        return np.array(sorted(self._origins), dtype="datetime64[M]")

    def at(self, origin: Month) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Countries and their draws from one origin, shape (country, lead, draw) [deaths]; NaN where it has none.

        Lead 1 stands first. Raises BadInput where a rule of the layout is broken.
        """
        written = pc.field("origin").isin(self._origins.get(str(origin), []))
        table = pq.read_table(self.path, columns=list(COLUMNS), filters=written)
        where = f"{self.path}: origin {origin}"
        iso3, country = np.unique(table["iso3"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        if unknown := sorted(set(iso3.tolist()) - set(geography.countries())):
            raise BadInput(f"{where}: {unknown[0]!r} is not an ISO alpha-3 code that Vigie knows")
        months = self._months(table["month"], "month")
        lead = (months - origin).astype(np.int64)
        if not ((lead >= 1) & (lead <= FURTHEST)).all():
            wrong = months[(lead < 1) | (lead > FURTHEST)][0]
            raise BadInput(f"{where}: the month {wrong} is not among the {FURTHEST} months after the origin")
        draw, deaths = self._numbers(table, "draw"), self._numbers(table, "deaths")
        if not (np.isfinite(deaths) & (deaths >= 0)).all():
            raise BadInput(f"{where}: deaths must be numbers, 0 or more")
        cell = country * FURTHEST + lead - 1
        cells, size = np.unique(cell, return_counts=True)
        number = int(size.max())
        if (odd := size != number).any():
            first = cells[np.argmax(odd)]
            raise BadInput(
                f"{where}: {iso3[first // FURTHEST]} {origin + first % FURTHEST + 1} has {size[np.argmax(odd)]} draws "
                f"where another month has {number}: every country-month needs as many"
            )
        order = np.lexsort((draw, cell))
        if not np.array_equal(draw[order], np.tile(np.arange(number), len(cells))):
            raise BadInput(f"{where}: the draws of each country-month must be numbered 0 to {number - 1}, each once")
        draws = np.full((len(iso3) * FURTHEST, number), np.nan)
        draws[cells] = deaths[order].reshape(len(cells), number)
        return tuple(iso3.tolist()), draws.reshape(len(iso3), FURTHEST, number)

    @cached_property
    def _origins(self) -> dict[str, list[pa.Scalar]]:
        """Each origin as it is written in the file."""
        try:
            names = pq.read_schema(self.path).names
            if missing := [name for name in COLUMNS if name not in names]:
                raise BadInput(f"{self.path}: needs the columns {', '.join(COLUMNS)}; missing {', '.join(missing)}")
            column = pq.read_table(self.path, columns=["origin"])["origin"]
        except (pa.ArrowException, OSError) as unreadable:
            raise BadInput(f"{self.path}: is no Parquet file that can be read: {unreadable}") from None
        if not len(column):
            raise BadInput(f"{self.path}: holds no rows")
        written = pa.chunked_array([pc.unique(column)])
        found: dict[str, list[pa.Scalar]] = {}
        for value, month in zip(written, self._months(written, "origin"), strict=True):
            found.setdefault(str(month), []).append(value)
        return found

    def _months(self, column: pa.ChunkedArray, name: str) -> Months:
        try:
            days = (
                column.cast(pa.string()).cast(pa.timestamp("s")) if _texts(column) else column.cast(pa.timestamp("s"))
            )
        except pa.ArrowException:
            raise BadInput(f"{self.path}: the column {name} must hold dates, the first day of a month") from None
        if days.null_count:
            raise BadInput(f"{self.path}: the column {name} has {days.null_count} rows without a value")
        return np.asarray(days.to_numpy(zero_copy_only=False)).astype("datetime64[M]")

    def _numbers(self, table: pa.Table, name: str) -> NDArray[np.float64]:
        try:
            return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
        except pa.ArrowException:
            raise BadInput(f"{self.path}: the column {name} must hold numbers") from None


def judge(draws: Draws, grid: Judged, name: str) -> Judged:
    """A file's draws as the only component of a back-test, on the windows, countries and outcomes of another."""
    cells = {score: np.full((1, *grid.came["deaths"].shape), np.nan) for score in SCORES}
    there = set(draws.origins.tolist())
    for w, window in enumerate(grid.windows):
        leads = window.last - window.first + 1
        for issue, origin in enumerate(window.origins):
            if origin.tolist() in there:
                iso3, said = draws.at(origin)
                place = {code: i for i, code in enumerate(iso3)}
                rows = [i for i, code in enumerate(grid.iso3) if code in place]
                part = slice(issue * leads, (issue + 1) * leads)
                came = grid.came["deaths"][w, rows, part]
                theirs = said[[place[grid.iso3[i]] for i in rows], window.first - 1 : window.last]
                for score, found in losses(theirs, came).items():
                    cells[score][0, w, rows, part] = found
    for level in COVERAGES:
        judged_before = grid.cells[level] if grid.components else np.zeros((1, 1, 1, 1))
        cells[level][0][np.isnan(judged_before).all(axis=0) & np.ones(cells[level][0].shape, dtype=bool)] = np.nan
    return replace(grid, components=(name,), cells=cells)


def grid(files: Sequence[Draws], view: View, outcome: str) -> Judged:
    """What an archive knows of the months that files forecast: a back-test without components.

    A window for each origin that all of them have. Raises BadInput where they share none.
    """
    shared = sorted(set.intersection(*(set(draws.origins.tolist()) for draws in files)))
    if not shared:
        raise BadInput(f"nothing to compare: {' and '.join(str(draws.path) for draws in files)} share no origin")
    windows = tuple(
        Window(str(origin), origin, first=1, last=FURTHEST) for origin in np.array(shared, dtype="datetime64[M]")
    )
    observed = view.outcomes()
    deaths = np.pad(observed.deaths[outcome], ((0, 0), (ACTIVE, FURTHEST)), constant_values=np.nan)
    months = span(observed.months[0] - ACTIVE, observed.months[-1] + FURTHEST)
    came = np.full((len(windows), len(observed.iso3), FURTHEST), np.nan)
    active = np.zeros(came.shape, dtype=bool)
    for w, window in enumerate(windows):
        place = int((window.origin - months[0]).astype(np.int64))
        if place + 1 >= ACTIVE and place + 1 + FURTHEST <= len(months):
            came[w] = deaths[:, place + 1 : place + 1 + FURTHEST]
            active[w] = (np.nan_to_num(deaths[:, place + 1 - ACTIVE : place + 1]).sum(axis=1) > 0)[:, None]
    nothing = np.full((1, *came.shape), np.nan)
    held = {level: np.where(active, 0.0, np.nan)[None] for level in COVERAGES}
    return Judged(
        outcome,
        windows,
        observed.iso3,
        ("outcome",),
        {score: held.get(score, nothing) for score in SCORES},
        {what: came if what == "deaths" else nothing[0] for what in CAME},
    )


def _texts(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
