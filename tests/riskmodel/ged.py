"""UCDP event files for tests, small enough to read: rows are given by what matters, the rest is filled in."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from riskmodel.sources.ucdp_layout import GED_COLUMNS

MALI, NIGER, BURKINA_FASO = 432, 436, 439

ORDINARY = {
    "relid": "TST-1",
    "year": 2020,
    "active_year": 1,
    "code_status": "Clear",
    "type_of_violence": 1,
    "dyad_name": "Invented side A - Invented side B",
    "side_a": "Invented side A",
    "side_b": "Invented side B",
    "number_of_sources": 2,
    "where_prec": 1,
    "adm_1": "Invented region",
    "latitude": 14.5,
    "longitude": -4.2,
    "country_id": MALI,
    "event_clarity": 1,
    "date_prec": 1,
    "date_start": "2020-01-05 00:00:00.000",
    "date_end": "2020-01-05 00:00:00.000",
    "deaths_civilians": 0,
    "best": 3,
    "high": 3,
    "low": 3,
}


def text(rows: Iterable[Mapping[str, object]], columns: Iterable[str] = GED_COLUMNS) -> str:
    """The rows as CSV; an id is given where a row has none, and the day may be written short in `date`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(rows, start=1):
        dates = {"date_start": row["date"], "date_end": row["date"]} if "date" in row else {}
        writer.writerow({"id": number} | ORDINARY | dates | dict(row))
    return out.getvalue()


def write(path: Path, *rows: Mapping[str, object]) -> Path:
    """The rows as a file."""
    path.write_text(text(rows), encoding="utf-8")
    return path
