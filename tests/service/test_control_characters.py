"""A NUL in a source's text stops no snapshot, also on PostgreSQL, whose text cannot hold one."""

from pathlib import Path
from typing import Any

import pytest
from recompute_support import NOW, OperatedHome

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.sources.ucdp import GedFile
from riskmodel.sources.ucdp_layout import GED_COLUMNS
from service.store.tables import events

ROW = {
    "country_id": 432,
    "date_start": "2021-12-05",
    "date_end": "2021-12-05",
    "date_prec": 1,
    "type_of_violence": 1,
    "dyad_name": "One\0 - Two",
    "side_a": "One\0",
    "side_b": "Two\x85",
    "adm_1": "Ga\x1bo",
    "best": 9,
    "low": 9,
    "high": 9,
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_snapshot_is_issued_from_a_file_with_nul(
    home: Home, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "ged.csv"
    lines = [",".join(str({**ROW, "id": number}.get(name, "")) for name in GED_COLUMNS) for number in (1, 2)]
    path.write_text("\n".join([",".join(GED_COLUMNS), *lines, ""]), encoding="utf-8", newline="")

    def issue() -> Any:
        operated = OperatedHome.ready(home, NOW, drivers=False)
        covers = [Coverage.parse("MLI:2021-12..2021-12")]
        ingest(Archive(home.archive), GedFile(path), covers=covers, now=NOW)
        assert operated.run().issued
        return operated.rows(events)[0]

    if kind == "postgresql":
        with request.getfixturevalue("postgresql").database() as url:
            monkeypatch.setenv("VIGIE_DATABASE_URL", url)
            row = issue()
    else:
        monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
        row = issue()
    assert (row.side_a, row.side_b, row.adm_1) == ("One ", "Two ", "Ga o")
    assert "control_characters" in row.flags
