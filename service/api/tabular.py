"""Offers a payload as CSV, next to JSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from service.api.endpoints import CSV, Format, Payload
from service.snapshots import csv


def as_csv(rows: Callable[[Payload], Iterable[Mapping[str, Any]]], columns: Sequence[str]) -> Format:
    """Return the CSV format of a payload: one line for each of its `rows`, with these `columns`."""
    return Format("csv", CSV, lambda payload, _: csv.table(payload, columns, rows(payload)))


def listed(payload: Payload) -> list[Mapping[str, Any]]:
    """Return the rows of a payload whose data is a list of flat objects."""
    rows: list[Mapping[str, Any]] = payload["data"]
    return rows
