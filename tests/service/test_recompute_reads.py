"""One recompute decodes each file of the archive once."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ged
import pyarrow.parquet as pq
import pytest
from providers_more import event as acled_event
from recompute_support import OperatedHome

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.sources.acled import FILE_COLUMNS, AcledFile
from riskmodel.sources.ucdp import GedFile


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each Parquet file is decoded from now on, by folder and name."""
    counted: Counter[str] = Counter()
    read_table = pq.read_table

    def count(source: Any, *arguments: Any, **options: Any) -> Any:
        counted["/".join(Path(source).parts[-2:])] += 1
        return read_table(source, *arguments, **options)

    monkeypatch.setattr(pq, "read_table", count)
    return counted


@pytest.fixture
def operated(home: Home, tmp_path: Path) -> OperatedHome:
    """A home with a country-month table, a final release, three monthly candidates and a pull from ACLED."""
    operated = OperatedHome.ready(home, drivers=True)
    archive = Archive(home.archive)
    final = ged.write(tmp_path / "final.csv", *({"date": f"2020-{month:02d}-05"} for month in range(1, 13)))
    coverage = [Coverage.parse("*:2020-01..2020-12")]
    ingest(archive, GedFile(final), covers=coverage, release="21.1", now=datetime(2021, 6, 1, tzinfo=UTC))
    for month in (1, 2, 3):
        rows = ({"id": 100 * month + i, "date": f"2021-{month:02d}-05"} for i in range(3))
        candidate = ged.write(tmp_path / f"candidate-{month}.csv", *rows)
        now = datetime(2021, month + 1, 20, tzinfo=UTC)
        coverage = [Coverage.parse(f"*:2021-{month:02d}..2021-{month:02d}")]
        ingest(archive, GedFile(candidate), covers=coverage, release=f"21.0.{month}", now=now)
    pulled = tmp_path / "acled.csv"
    line = ",".join(
        str({**acled_event(1, day="2021-03-01"), "notes": "", "deleted": ""}[name]) for name in FILE_COLUMNS
    )
    pulled.write_text("\n".join([",".join(FILE_COLUMNS), line, ""]))
    coverage = [Coverage.parse("MLI:2021-01..2021-12")]
    ingest(archive, AcledFile(pulled), covers=coverage, private=True, now=datetime(2022, 1, 1, tzinfo=UTC))
    return operated


def test_a_recompute_decodes_each_file_once(operated: OperatedHome, decodes: Counter[str]) -> None:
    assert operated.run().issued
    ingests = Archive(operated.home.archive).ingests()
    assert len(ingests) == 6
    assert decodes == {ingest.data: 1 for ingest in ingests}


def test_a_recompute_of_nothing_new_decodes_nothing(operated: OperatedHome, decodes: Counter[str]) -> None:
    operated.run()
    decodes.clear()
    assert not operated.run().issued
    assert decodes == {}
