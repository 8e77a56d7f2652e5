"""Read forecasts from a Parquet file in the layout that `export` writes, and score them like our own.

The file is checked strictly. A mistake raises BadInput with the file, the column or country-month, and the rule.
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
from training.draw_scores import score_draws
from training.evaluation import ACTIVE_MONTHS
from training.results import COVERAGES, DEATHS, OBSERVED_COLUMNS, SCORE_COLUMNS, BacktestResult
from training.windows import Window

REQUIRED_COLUMNS = ("origin", "iso3", "month", "draw", "deaths")
MAX_LEAD = 36  # [months]


@dataclass(frozen=True)
class ForecastFile:
    """A Parquet file of draws, read origin by origin: it may be larger than the memory."""

    path: Path

    @property
    def origins(self) -> Months:
        """The origins in the file, sorted. Raises BadInput where the file does not have the layout."""
        return np.array(sorted(self._values_by_origin), dtype="datetime64[M]")

    def draws_at(self, origin: Month) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return the countries and their draws from one origin, shape (country, lead, draw) [deaths].

        The first lead is 1. Leads without draws are NaN. Raises BadInput where the rows break a rule of the layout.
        """
        rows_of_origin = pc.field("origin").isin(self._values_by_origin.get(str(origin), []))
        table = pq.read_table(self.path, columns=list(REQUIRED_COLUMNS), filters=rows_of_origin)
        where = f"{self.path}: origin {origin}"
        iso3, country = np.unique(table["iso3"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        if unknown := sorted(set(iso3.tolist()) - set(geography.countries())):
            raise BadInput(f"{where}: {unknown[0]!r} is not an ISO alpha-3 code that Vigie knows")
        months = self._read_months(table["month"], "month")
        lead = (months - origin).astype(np.int64)
        if not ((lead >= 1) & (lead <= MAX_LEAD)).all():
            wrong = months[(lead < 1) | (lead > MAX_LEAD)][0]
            raise BadInput(f"{where}: the month {wrong} is not among the {MAX_LEAD} months after the origin")
        draw, deaths = self._read_numbers(table, "draw"), self._read_numbers(table, "deaths")
        if not (np.isfinite(deaths) & (deaths >= 0)).all():
            raise BadInput(f"{where}: deaths must be numbers, 0 or more")
        cell = country * MAX_LEAD + lead - 1
        cells, sizes = np.unique(cell, return_counts=True)
        number = int(sizes.max())
        if (differs := sizes != number).any():
            first = cells[np.argmax(differs)]
            raise BadInput(
                f"{where}: {iso3[first // MAX_LEAD]} {origin + first % MAX_LEAD + 1} has {sizes[np.argmax(differs)]} "
                f"draws where another month has {number}: every country-month needs the same number"
            )
        order = np.lexsort((draw, cell))
        if not np.array_equal(draw[order], np.tile(np.arange(number), len(cells))):
            raise BadInput(f"{where}: the draws of each country-month must be numbered 0 to {number - 1}, each once")
        draws = np.full((len(iso3) * MAX_LEAD, number), np.nan)
        draws[cells] = deaths[order].reshape(len(cells), number)
        return tuple(iso3.tolist()), draws.reshape(len(iso3), MAX_LEAD, number)

    @cached_property
    def _values_by_origin(self) -> dict[str, list[pa.Scalar]]:
        """The values of the column `origin`, as the file has them, by month."""
        try:
            names = pq.read_schema(self.path).names
            if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
                raise BadInput(
                    f"{self.path}: needs the columns {', '.join(REQUIRED_COLUMNS)}; missing {', '.join(missing)}"
                )
            column = pq.read_table(self.path, columns=["origin"])["origin"]
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.path}: is not a Parquet file that can be read: {error}") from None
        if not len(column):
            raise BadInput(f"{self.path}: has no rows")
        values = pa.chunked_array([pc.unique(column)])
        by_origin: dict[str, list[pa.Scalar]] = {}
        for value, month in zip(values, self._read_months(values, "origin"), strict=True):
            by_origin.setdefault(str(month), []).append(value)
        return by_origin

    def _read_months(self, column: pa.ChunkedArray, name: str) -> Months:
        try:
            # Texts such as 2017-10-01 are cast in two steps: a dictionary of texts has no cast to timestamps.
            days = (column.cast(pa.string()) if _has_texts(column) else column).cast(pa.timestamp("s"))
        except pa.ArrowException:
            raise BadInput(f"{self.path}: the column {name} must contain dates, the first day of a month") from None
        if days.null_count:
            raise BadInput(f"{self.path}: the column {name} has {days.null_count} rows without a value")
        return np.asarray(days.to_numpy(zero_copy_only=False)).astype("datetime64[M]")

    def _read_numbers(self, table: pa.Table, name: str) -> NDArray[np.float64]:
        try:
            return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
        except pa.ArrowException:
            raise BadInput(f"{self.path}: the column {name} must contain numbers") from None


def score_file(file: ForecastFile, grid: BacktestResult, name: str) -> BacktestResult:
    """Score a file on the windows, countries and outcomes of a back-test; the result has one forecaster, `name`."""
    scores = {column: np.full((1, *grid.observed[DEATHS].shape), np.nan) for column in SCORE_COLUMNS}
    origins = set(file.origins.tolist())
    for w, window in enumerate(grid.windows):
        leads = window.last_lead - window.first_lead + 1
        for issue, origin in enumerate(window.origins):
            if origin.tolist() not in origins:
                continue
            iso3, draws = file.draws_at(origin)
            row_of = {code: row for row, code in enumerate(iso3)}
            rows = [row for row, code in enumerate(grid.iso3) if code in row_of]
            cells = slice(issue * leads, (issue + 1) * leads)
            deaths = grid.observed[DEATHS][w, rows, cells]
            chosen = draws[[row_of[grid.iso3[row]] for row in rows], window.first_lead - 1 : window.last_lead]
            for column, values in score_draws(chosen, deaths).items():
                scores[column][0, w, rows, cells] = values
    for level in COVERAGES:  # a file has no history: whether a country is active is read from the back-test
        inactive = np.isnan(grid.scores[level]).all(axis=0)
        scores[level][0][inactive] = np.nan
    return replace(grid, forecasters=(name,), scores=scores)


def observed_grid(files: Sequence[ForecastFile], view: View, outcome: str) -> BacktestResult:
    """Return a back-test without forecasts, to score files on: one window per origin that all files have.

    Its only forecaster, `outcome`, has coverages of 0 where a country is active; everything else is NaN. Raises
    BadInput where the files have no origin in common.
    """
    shared = sorted(set.intersection(*(set(file.origins.tolist()) for file in files)))
    if not shared:
        raise BadInput(f"nothing to compare: {' and '.join(str(file.path) for file in files)} share no origin")
    windows = tuple(
        Window(str(origin), origin, first_lead=1, last_lead=MAX_LEAD)
        for origin in np.array(shared, dtype="datetime64[M]")
    )
    archive = view.outcomes()
    deaths = np.pad(archive.deaths[outcome], ((0, 0), (ACTIVE_MONTHS, MAX_LEAD)), constant_values=np.nan)
    months = span(archive.months[0] - ACTIVE_MONTHS, archive.months[-1] + MAX_LEAD)
    observed = np.full((len(windows), len(archive.iso3), MAX_LEAD), np.nan)
    active = np.zeros(observed.shape, dtype=bool)
    for w, window in enumerate(windows):
        after = int((window.origin - months[0]).astype(np.int64)) + 1
        if after >= ACTIVE_MONTHS and after + MAX_LEAD <= len(months):
            observed[w] = deaths[:, after : after + MAX_LEAD]
            active[w] = (np.nan_to_num(deaths[:, after - ACTIVE_MONTHS : after]).sum(axis=1) > 0)[:, None]
    unknown = np.full((1, *observed.shape), np.nan)
    coverage = np.where(active, 0.0, np.nan)[None]
    return BacktestResult(
        outcome,
        windows,
        archive.iso3,
        ("outcome",),
        scores={column: coverage if column in COVERAGES else unknown for column in SCORE_COLUMNS},
        observed={column: observed if column == DEATHS else unknown[0] for column in OBSERVED_COLUMNS},
    )


def _has_texts(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
