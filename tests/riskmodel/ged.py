"""UCDP event files for tests: written from rows with only the cells that matter, read, and ingested."""

import csv
import gzip
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.ingest import ingest
from riskmodel.sources.ucdp import GedFile
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
    """The rows as CSV; a row without an id gets one, `date` can replace the two dates, and `best` sets the bounds."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(rows, start=1):
        dates = {"date_start": row["date"], "date_end": row["date"]} if "date" in row else {}
        bounds = {"high": row["best"], "low": row["best"]} if "best" in row else {}
        writer.writerow({"id": number} | ORDINARY | bounds | dates | dict(row))
    return out.getvalue()


def write(path: Path, *rows: Mapping[str, object]) -> Path:
    """The rows as a file."""
    path.write_text(text(rows), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a real file, without the code under test; in some files they have more fields than the header."""
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        head, *body = csv.reader(file)
    return [dict(zip(head, row, strict=False)) for row in body]


def inputs(folder: Path, files: Mapping[str, Path]) -> Inputs:
    """The inputs of indicators after ingesting files, each with its coverage (`MLI:1989-01..2022-12, …`)."""
    archive = Archive(folder / "archive")
    for covers, path in files.items():
        spans = [Coverage.parse(text) for text in covers.split(", ")]
        ingest(archive, GedFile(path), covers=spans, now=datetime(2026, 11, 22, tzinfo=UTC))
    view = archive.view()
    frame = view.outcomes()
    return read_inputs(view, frame, "state_based", frame.deaths["state_based"])
