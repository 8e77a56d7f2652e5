"""Payloads as tables: CSV for whoever reads them with a spreadsheet. It knows no resource."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from service.api.openapi import Form, Payload
from service.snapshots import csv
from service.snapshots.read_model import OF_PAST

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
        told = [*said, *(name for name in OF_PAST if name in payload)]
        beside = [payload[name] for name in told]
        return csv.text([*columns, *told], ([*(row[name] for name in columns), *beside] for row in rows(payload)))

    return Form("csv", "text/csv", text)


def listed(payload: Payload) -> list[Mapping[str, Any]]:
    """The rows of a payload whose data are a list of flat objects."""
    rows: list[Mapping[str, Any]] = payload["data"]
    return rows
