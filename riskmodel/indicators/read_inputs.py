"""Read the inputs of indicators from a view of the archive, for a rectangle's countries and months."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel.events.columns import positions
from riskmodel.events.view import View
from riskmodel.indicators.inputs import Events, Indices, Inputs, governments
from riskmodel.indicators.monthly_tables import float_column, monthly_tables
from riskmodel.outcomes import TYPES, CountryMonths
from riskmodel.windows import Rectangle


def read_inputs(
    view: View, frame: CountryMonths, outcome: str, deaths: Rectangle, tables: Mapping[str, Rectangle] | None = None
) -> Inputs:
    """Return the inputs that a view has for a frame's countries and months.

    `deaths` are those of the outcome that indicators are computed from, float64 of the frame's shape [deaths]; `tables`
    are more tables of that shape. With simulated data, no real tables are read.
    """
    all_tables = {**monthly_tables(view, frame.iso3, frame.months), "deaths": deaths, **(tables or {})}
    return Inputs(frame.iso3, frame.months, all_tables, read_events(view, frame), outcome)


_EVENT_COLUMNS = (
    *("event_id", "iso3", "date_start", "date_prec", "type_of_violence", "dyad", "side_a", "side_b", "deaths"),
    *("deaths_civilians", "latitude", "longitude", "where_prec", "adm_1", "source_count"),
)


def read_events(view: View, frame: CountryMonths) -> Events | None:
    """Return the events of a frame's countries and months; None where no event file covers any of them."""
    covered = view.event_coverage(frame)
    if not covered.any():
        return None
    table = view.events(_EVENT_COLUMNS)
    row, day = positions(table["iso3"], frame.iso3), np.asarray(table["date_start"].to_numpy()).astype("datetime64[D]")
    column = (day.astype("datetime64[M]") - frame.months[0]).astype(np.int64)
    inside = (row >= 0) & (column >= 0) & (column < len(frame.months))
    inside[inside] = covered[row[inside], column[inside]]
    table = table.filter(pa.array(inside)).unify_dictionaries()
    row, column, day = row[inside], column[inside], day[inside]
    ids = table["event_id"].to_numpy(zero_copy_only=False).astype(str)
    order = np.lexsort((ids, day))
    table, row = table.take(pa.array(order)), row[order]
    actors, (side_a, side_b) = _numbered(table["side_a"], table["side_b"])
    dyads, (dyad,) = _numbered(table["dyad"])
    names, (adm_1,) = _numbered(table["adm_1"])
    # A name of a first-order unit can occur in several countries: number the pairs of country and name.
    pairs, unit = np.unique(row[adm_1 >= 0] * max(len(names), 1) + adm_1[adm_1 >= 0], return_inverse=True)
    adm_1[adm_1 >= 0] = unit
    return Events(
        event_id=ids[order],
        row=row,
        column=column[order],
        day=day[order].astype(np.int64),
        deaths=float_column(table["deaths"]),
        civilians=float_column(table["deaths_civilians"]),
        kind=positions(table["type_of_violence"], TYPES),
        dyad=dyad,
        side_a=side_a,
        side_b=side_b,
        adm_1=adm_1,
        state_a=np.append(governments(actors), False)[side_a],  # the last element is for the index -1
        latitude=float_column(table["latitude"]),
        longitude=float_column(table["longitude"]),
        where_prec=float_column(table["where_prec"]),
        date_prec=float_column(table["date_prec"]),
        sources=float_column(table["source_count"]),
        covered=covered,
        dyads=dyads,
        actors=actors,
        units=tuple((frame.iso3[pair // len(names)], names[pair % len(names)]) for pair in pairs),
    )


def _numbered(*columns: pa.ChunkedArray) -> tuple[tuple[str, ...], list[Indices]]:
    """The names in some columns, sorted, and the index of each cell's name; -1 for an empty cell."""
    used = [pc.unique(column.cast(pa.string())) for column in columns]
    names = tuple(sorted({name for part in used for name in part.to_pylist()} - {None}))
    return names, [positions(column, names) for column in columns]
