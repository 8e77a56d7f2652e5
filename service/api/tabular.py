"""Payloads as tables: CSV for whoever reads them with a spreadsheet. It knows no resource."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from service.api.openapi import Form, Payload
from service.payloads import OF_PAST

SAID = (
    "outcome",
    "data_as_of",
    "issued_at",
    "status",
    "snapshot_id",
    "model_id",
    "source",
    "next_run_at",
    "simulated",
)
"""What every line repeats of the payload, so that a table that is passed on still says what it is."""


def as_csv(rows: Callable[[Payload], Iterable[Mapping[str, Any]]], columns: Sequence[str]) -> Form:
    """CSV (RFC 4180) of the rows of a payload: these columns, then `SAID` but for names that are columns already."""
    said = [name for name in SAID if name not in columns]

    def text(payload: Payload, _: object) -> str:
        lines = io.StringIO()
        writer = csv.writer(lines)
        told = [*said, *(name for name in OF_PAST if name in payload)]
        writer.writerow([*columns, *told])
        beside = [_cell(payload[name]) for name in told]
        writer.writerows([*(_cell(row[column]) for column in columns), *beside] for row in rows(payload))
        return lines.getvalue()

    return Form("csv", "text/csv", text)


def listed(payload: Payload) -> list[Mapping[str, Any]]:
    """The rows of a payload whose data are a list of flat objects."""
    rows: list[Mapping[str, Any]] = payload["data"]
    return rows


def _cell(value: object) -> object:
    """A value as text: booleans as JSON has them, lists between semicolons, reasons as name=code."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}={code}" for name, code in sorted(value.items()))
    return "; ".join(map(str, value)) if isinstance(value, list) else value
