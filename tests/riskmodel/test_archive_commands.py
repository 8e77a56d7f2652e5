"""`vigie archive`: the log of changes, the check of every digest, and the withdrawal of a wrong file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ged
import pytest

from riskmodel.events.archive import Archive
from riskmodel.home import Home

Vigie = Callable[..., Any]
COVERS = ("--covers", "MLI:2020-01..2020-12")


@pytest.fixture
def three(vigie: Vigie, home: Home, tmp_path: Path) -> Home:
    """A first file, a revision of it, and a wrong one."""
    first = {"id": 1, "best": 3}, {"id": 2, "best": 4}, {"best": "x"}
    revised = {"id": 1, "best": 10}, {"id": 3, "best": 1}
    for name, rows in (("first.csv", first), ("revised.csv", revised), ("wrong.csv", ({"id": 7, "best": 900},))):
        assert vigie("ingest", "ucdp", ged.write(tmp_path / name, *rows), *COVERS).code == 0
    return home


def test_the_log_has_the_changes_of_each_ingest(vigie: Vigie, three: Home) -> None:
    entries = json.loads(vigie("archive", "log", "--format", "json").out)
    assert [(entry["file"], entry["rows"], entry["deaths"], entry["quarantined"]) for entry in entries] == [
        ("first.csv", 2, 7, 1),
        ("revised.csv", 2, 11, 0),
        ("wrong.csv", 1, 900, 0),
    ]
    assert [entry["changed"] for entry in entries] == [
        {"country_months": 12, "events_added": 2, "events_revised": 0, "events_gone": 0, "deaths": 7},
        {"country_months": 0, "events_added": 1, "events_revised": 1, "events_gone": 1, "deaths": 4},
        {"country_months": 0, "events_added": 1, "events_revised": 0, "events_gone": 2, "deaths": 889},
    ]
    assert "1 events added, 1 revised, 1 gone, +4 deaths" in vigie("archive", "log").out


def test_a_wrong_file_is_withdrawn_and_listed_with_the_reason(vigie: Vigie, three: Home) -> None:
    result = vigie("archive", "withdraw", "0003", "--why", "sent by mistake")
    assert (result.code, "ingest 0003 (wrong.csv) counts no more" in result.out) == (0, True)
    assert Archive(three.archive).view().outcomes().deaths["all"].sum() == 11
    assert "sent by mistake" in vigie("archive", "log").out
    assert vigie("archive", "withdraw", "0003", "--why", "again").code == 3
    assert vigie("archive", "withdraw", "0009", "--why", "none").code == 3
    assert vigie("archive", "withdraw", "0001").code == 2


def test_the_check_finds_one_altered_byte_and_exits_with_1(vigie: Vigie, three: Home) -> None:
    assert "3 ingests, every byte as it was taken in" in vigie("archive", "check").out
    file = three.archive / "0001" / "quarantine.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    result = vigie("archive", "check")
    assert result.code == 1
    assert "0001/quarantine.parquet was altered" in result.err
    assert "1 of 3 ingests" in result.err


def test_an_empty_archive_has_an_empty_log(vigie: Vigie, home: Home) -> None:
    assert json.loads(vigie("archive", "log", "--format", "json").out) == []
    assert "0 ingests" in vigie("archive", "check").out


def test_quarantined_rows_are_printed_with_their_reason(vigie: Vigie, three: Home) -> None:
    rows = json.loads(vigie("archive", "quarantine", "0001", "--format", "json").out)
    assert [(row["row"], row["rule"], row["value"]) for row in rows] == [(3, "best is not a whole number", "x")]
    assert json.loads(rows[0]["record"])["best"] == "x"
    assert "best is not a whole number" in vigie("archive", "quarantine", "0001").out
    assert vigie("archive", "quarantine", "0001", "--format", "csv").out.startswith("row,rule,value,record\n3,")
    assert "every row of ingest 0002 was read" in vigie("archive", "quarantine", "0002").out
    unknown = vigie("archive", "quarantine", "0009")
    assert (unknown.code, "vigie archive log lists them" in unknown.err) == (3, True)
