"""Damaged files: each ends in a clear error, or in the deaths of the original, or in fewer with the loss reported."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import mutations
import numpy as np
import pyarrow.parquet as pq
import pytest

from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.ingest import IngestReport, ingest
from riskmodel.outcomes import TYPES
from riskmodel.sources.recognition import recognised

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FILES = (
    *("GEDEvent_v26_0_2", "GEDEvent_v23_1_CAF", "GEDEvent_v23_1_sample", "gedevents_mali_to_2022"),
    *("conflict_data_sdn_hdx_to_2022", "gedevents_niger_to_2022", "monthly_deaths_1989_2022"),
)
SHORT = 60
LONG = 2400
ROWS = 300
"""Rows of a file in a case."""

Deaths = Counter[tuple[str, str, str]]


def taken_in(folder: Path, content: bytes) -> tuple[IngestReport, Deaths]:
    """Return the report of an ingest of a file, and the deaths that it has by country, month and type."""
    folder.mkdir()
    path = folder / "file.csv"
    path.write_bytes(content)
    _, source = recognised(path, None)
    covers = [Coverage.parse("*:1989-01..2026-10")] if source.kind == "events" else []
    report = ingest(Archive(folder / "archive"), source, covers=covers, now=NOW)
    deaths = Deaths()
    for row in pq.read_table(folder / "archive" / report.ingest.data).to_pylist():
        month = str(row["date_start"] if "date_start" in row else row["month"])[:7]
        if "type_of_violence" in row:
            deaths[row["iso3"], month, str(row["type_of_violence"])] += row["deaths"]
        else:
            deaths.update({(row["iso3"], month, kind): int(row.get(f"deaths_{kind}") or 0) for kind in TYPES})
    return report, deaths


def check(shared: Path, folder: Path, number: int) -> str:
    """Damage a file, take it in, and return what became of it: error, equal, or fewer."""
    rng = np.random.default_rng([13, number])
    name = FILES[number % len(FILES)]
    mutation = mutations.MUTATIONS[number // len(FILES) % len(mutations.MUTATIONS)]
    rows = mutations.sample(shared / f"{name}.csv.gz", rng, ROWS)
    original_report, original = taken_in(folder / f"{number}-original", mutations.written(rows).encode())
    assert original_report.ingest.rows
    case = f"case {number}: {mutation.__name__} of {name}"
    try:
        report, found = taken_in(folder / f"{number}-damaged", mutation(rows, rng))
    except BadInput as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "file.csv: " in refusal, case
        assert len(refusal) < 2_000, case
        return "error"
    if found == original:
        return "equal"
    reported = report.ingest.quarantined or report.unended or report.flags.get("no_type")
    assert reported, f"{case}: the loss of {original.total() - found.total()} deaths is not reported"
    if mutation is not mutations.random_bytes:  # another digit is another number, and nobody can notice it
        more = {
            key: (count, original[key]) for key, count in found.items() if count > original[key] and key[2] != "None"
        }
        assert not more, f"{case}: more deaths than the original: {dict(list(more.items())[:5])}"
    return "fewer"


@pytest.mark.parametrize("number", np.linspace(0, LONG - 1, SHORT).astype(int).tolist())
def test_a_damaged_file_never_loses_deaths_in_silence(shared: Path, tmp_path: Path, number: int) -> None:
    check(shared, tmp_path, number)


@pytest.mark.long
def test_thousands_of_damaged_files_never_lose_deaths_in_silence(shared: Path, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(LONG):
        outcomes[check(shared, tmp_path, number)] += 1
    print(dict(outcomes))
    assert min(outcomes[outcome] for outcome in ("error", "equal", "fewer")) > LONG / 50
