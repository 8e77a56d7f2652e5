"""What one ingest holds, by country: rows, months, deaths, and the months missing inside its coverage."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.events.columns import monthly_deaths, months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Ingest
from riskmodel.events.storage import TableReader
from riskmodel.outcomes import KINDS, TYPES


def by_country(reader: TableReader, ingest: Ingest) -> pd.DataFrame:
    """Return one row per country of an ingest of events or country-months.

    The columns are `rows`, `first` and `last` month, and deaths by kind [deaths] (NaN if the file does not know them).
    `outside` counts the rows of months that the ingest does not cover.
    """
    of_events = ingest.kind == "events"
    table = reader.read(ingest, ["iso3", "date_start", "type_of_violence", "deaths"] if of_events else None)
    iso3 = sorted(pc.unique(table["iso3"].cast(pa.string())).to_pylist())
    country, months = positions(table["iso3"], iso3), months_of(table["date_start" if of_events else "month"])
    first = np.full(len(iso3), np.datetime64("9999-12", "M"))
    last = np.full(len(iso3), np.datetime64("0000-01", "M"))
    np.minimum.at(first, country, months)
    np.maximum.at(last, country, months)

    def sum_by_country(rows: NDArray[np.bool_], deaths: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        weights = None if deaths is None else deaths[rows]
        return np.bincount(country[rows], weights, minlength=len(iso3)).astype(np.float64)

    all_rows = np.ones(country.size, dtype=bool)
    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {"rows": sum_by_country(all_rows).astype(np.int64)}
    types = positions(table["type_of_violence"], TYPES) if of_events else None
    for i, kind in enumerate(KINDS):
        if types is not None:
            of_kind = types == i if kind in TYPES else all_rows
            columns[kind] = sum_by_country(of_kind, table["deaths"].to_numpy())
        elif (deaths := monthly_deaths(table, kind)) is not None:
            columns[kind] = sum_by_country(all_rows, deaths)
        else:
            columns[kind] = np.full(len(iso3), np.nan)
    covered = np.zeros(country.size, dtype=bool)
    for part in map(Coverage.parse, ingest.covers):
        of_country = True if part.iso3 == WORLD else country == iso3.index(part.iso3) if part.iso3 in iso3 else False
        covered |= (months >= part.first) & (months <= part.last) & of_country
    columns["outside"] = sum_by_country(~covered).astype(np.int64)
    frame = pd.DataFrame(columns, index=pd.Index(iso3, name="iso3"))
    return frame.assign(first=first.astype("datetime64[s]"), last=last.astype("datetime64[s]"))


def gaps(ingest: Ingest) -> list[str]:
    """Return the months missing inside the coverage, as `MLI 2010-03..2010-05`: unknown, not zero."""
    parts_of: dict[str, list[Coverage]] = {}
    for part in map(Coverage.parse, ingest.covers):
        parts_of.setdefault(part.iso3, []).append(part)
    return [
        f"{iso3} {before.last + 1}..{after.first - 1}"
        for iso3, parts in parts_of.items()
        for before, after in itertools.pairwise(sorted(parts, key=lambda part: part.first))
    ]
