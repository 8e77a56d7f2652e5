"""Gathering what indicators are computed from: what a view knows of a rectangle's countries and months."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.events.columns import positions
from riskmodel.events.view import View
from riskmodel.indicators import tables
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle, governments
from riskmodel.outcomes import TYPES, CountryMonths


def gather(
    view: View, frame: CountryMonths, outcome: str, deaths: Rectangle, completeness: Rectangle | None = None
) -> Inputs:
    """Gather what a view knows of a rectangle's countries and months.

    `deaths` of the outcome are those that indicators are computed from, float64 of the frame's shape [deaths];
    `completeness`, of that shape, is the share of each month that is reported. Real tables do not enter beside a
    simulated archive.
    """
    given = {**tables.monthly(view, frame.iso3, frame.months), "deaths": deaths}
    if completeness is not None:
        given["completeness"] = completeness
    return Inputs(frame.iso3, frame.months, given, events_of(view, frame), outcome)


_COLUMNS = (
    *("event_id", "iso3", "date_start", "date_prec", "type_of_violence", "dyad", "side_a", "side_b", "deaths"),
    *("deaths_civilians", "latitude", "longitude", "where_prec", "adm_1", "source_count"),
)


def events_of(view: View, frame: CountryMonths) -> Events | None:
    """The events of a rectangle's countries and months; None where no event file covers any of them."""
    told = view.event_coverage(frame)
    if not told.any():
        return None
    table = view.events(_COLUMNS)
    row, when = positions(table["iso3"], frame.iso3), _days(table["date_start"])
    column = (when.astype("datetime64[M]") - frame.months[0]).astype(np.int64)
    inside = (row >= 0) & (column >= 0) & (column < len(frame.months))
    inside[inside] = told[row[inside], column[inside]]
    table = table.filter(pa.array(inside)).unify_dictionaries()
    row, column, when = row[inside], column[inside], when[inside]
    ids = table["event_id"].to_numpy(zero_copy_only=False).astype(str)
    order = np.lexsort((ids, when))
    table, row = table.take(pa.array(order)), row[order]
    actors, (side_a, side_b) = _numbered(table["side_a"], table["side_b"])
    dyads, (dyad,) = _numbered(table["dyad"])
    names, (adm_1,) = _numbered(table["adm_1"])
    pairs, unit = np.unique(row[adm_1 >= 0] * max(len(names), 1) + adm_1[adm_1 >= 0], return_inverse=True)
    adm_1[adm_1 >= 0] = unit
    return Events(
        event_id=ids[order],
        row=row,
        column=column[order],
        day=when[order].astype(np.int64),
        deaths=tables.numbers(table["deaths"]),
        civilians=tables.numbers(table["deaths_civilians"]),
        kind=positions(table["type_of_violence"], TYPES),
        dyad=dyad,
        side_a=side_a,
        side_b=side_b,
        adm_1=adm_1,
        state_a=np.append(governments(actors), False)[side_a],
        latitude=tables.numbers(table["latitude"]),
        longitude=tables.numbers(table["longitude"]),
        where_prec=tables.numbers(table["where_prec"]),
        date_prec=tables.numbers(table["date_prec"]),
        sources=tables.numbers(table["source_count"]),
        told=told,
        dyads=dyads,
        actors=actors,
        units=tuple((frame.iso3[pair // len(names)], names[pair % len(names)]) for pair in pairs),
    )


def _days(column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    return np.asarray(column.to_numpy()).astype("datetime64[D]")


def _numbered(*columns: pa.ChunkedArray) -> tuple[tuple[str, ...], list[Places]]:
    """The names in some columns, sorted, and the place of each cell's among them; -1 where it is empty."""
    used = [pc.unique(column.cast(pa.string())) for column in columns]
    names = tuple(sorted({name for part in used for name in part.to_pylist()} - {None}))
    return names, [positions(column, names) for column in columns]
