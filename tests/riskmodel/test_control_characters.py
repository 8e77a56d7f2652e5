"""Control characters in a source's text: one rule for all readers replaces and reports them."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ged
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from riskmodel.events.archive import Archive
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources import acled, gdelt
from riskmodel.sources.acled import AcledFile
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.gdelt import GdeltFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
CONTROLS = "".join(chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)] if chr(code) not in "\t\n\r")
DIRTY = f"a{CONTROLS}b"
MONTHS = {"iso3": ["MLI", "NER", "MLI"], "month": ["2020-01", "2020-01", DIRTY], "deaths_state_based": ["3", "4", "5"]}


def csv(path: Path, columns: dict[str, list[str]]) -> Path:
    pacsv.write_csv(pa.table(columns), path)
    return path


def parquet(path: Path, columns: dict[str, list[str]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def of_ucdp(folder: Path) -> GedFile:
    texts = dict.fromkeys(("dyad_name", "side_a", "side_b", "adm_1", "code_status"), DIRTY)
    path = folder / "ged.csv"
    path.write_text(ged.text([{**texts, "best": 3}, {"best": 4}, {"best": DIRTY}]), encoding="utf-8", newline="")
    return GedFile(path)


def of_acled(folder: Path) -> AcledFile:
    numbers = {"iso": "466", "event_date": "2020-01-05", "fatalities": "3", "timestamp": "1600000000"}
    return AcledFile(
        csv(
            folder / "acled.csv",
            {
                name: [numbers.get(name, "1" if name.endswith("precision") else DIRTY), numbers.get(name, "1"), DIRTY]
                for name in acled.FILE_COLUMNS
            },
        )
    )


def of_gdelt(folder: Path) -> GdeltFile:
    rows = {name: ["1", "1", DIRTY] for name in gdelt.SCHEMA.names}
    rows |= {"iso3": ["MLI", "NER", DIRTY], "date": ["2020-01-05", "2020-01-05", DIRTY]}
    return GdeltFile(
        csv(folder / "gdelt.csv", rows | {"edition": ["daily", "daily", DIRTY], "parts": ["96", "96", "96"]})
    )


def of_displacement(folder: Path) -> DisplacementFile:
    rows = {"role": ["origin", "asylum", DIRTY], "iso3": ["MLI", "MLI", "NER"], "year": ["2020"] * 3}
    return DisplacementFile(csv(folder / "displacement.csv", rows | {"refugees": ["1", "2", "3"]}))


READERS: dict[str, Callable[[Path], Any]] = {
    "UCDP": of_ucdp,
    "ACLED": of_acled,
    "GDELT": of_gdelt,
    "displacement": of_displacement,
    "monthly CSV": lambda folder: MonthlyFile(csv(folder / "monthly.csv", MONTHS)),
    "monthly Parquet": lambda folder: MonthlyFile(parquet(folder / "monthly.parquet", MONTHS)),
}


def texts(archive: Archive, report: IngestReport) -> list[str]:
    """All text that the archive stores of an ingest: rows, quarantined rows, reasons."""
    found: list[str] = []
    for name in (report.ingest.data, report.ingest.quarantine):
        path = archive.root / name
        for column in pq.read_table(path).columns if path.exists() else ():
            found += filter(None, column.cast(pa.string()).to_pylist())
    return found


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_stores_a_control_character(tmp_path: Path, reader: str) -> None:
    archive = Archive(tmp_path / "archive")
    report = ingest(archive, READERS[reader](tmp_path), now=NOW)
    stored = texts(archive, report)
    assert [text for text in stored if re.search(f"[{re.escape(CONTROLS)}]", text)] == []
    assert any(re.search(r"a {10,}b", text) for text in stored), "each is replaced, and the rest stays"
    assert report.flags["control_characters"] in (1, 2)
    assert (report.ingest.rows, report.ingest.quarantined) == (2, 1)


def test_the_report_of_an_ingest_counts_them(tmp_path: Path, vigie: Callable[..., Any]) -> None:
    csv(tmp_path / "monthly.csv", MONTHS)
    result = vigie("ingest", "monthly", tmp_path / "monthly.csv")
    assert (result.code, "1 rows flagged: control characters 1" in result.out) == (0, True), result.out


def test_text_with_accents_and_other_scripts_is_untouched(tmp_path: Path) -> None:
    name = "Kidal — Ménaka « Gao » ⵜⴰⵡⵙⵙⵏⴰ 平和\u00a0\u00ad\u200b"
    archive = Archive(tmp_path / "archive")
    report = ingest(archive, GedFile(ged.write(tmp_path / "ged.csv", {"side_a": name})), now=NOW)
    assert (name in texts(archive, report), dict(report.flags)) == (True, {})


def test_names_of_files_and_reasons_with_odd_bytes_are_stored_as_plain_text(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    path = tmp_path / os.fsdecode(b"caf\xe9 \x1b[31m\n.csv")
    assert (
        ingest(archive, MonthlyFile(csv(tmp_path / "a.csv", MONTHS).rename(path)), now=NOW).ingest.file
        == "caf?  [31m .csv"
    )
    archive.withdraw("0001", os.fsdecode(b"a \xe9\x07"), NOW)
    assert archive.ingests()[0].withdrawn_reason == "a ? "
