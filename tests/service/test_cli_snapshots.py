"""`vigie snapshots`: people use one number for a snapshot, on the command line and in the API."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots_support import SettableClock, SnapshotHome, full_home

from service.cli.app import create_app


@pytest.fixture
def lived(tmp_path: Path) -> SnapshotHome:
    return full_home(tmp_path / "lived-in")


def test_the_list_is_that_of_the_api(lived: SnapshotHome, vigie: Callable[..., Any]) -> None:
    entries = create_app(lived.home, clock=SettableClock()).test_client().get("/v1/snapshots").json["data"]
    assert json.loads(vigie("--home", lived.home.root, "snapshots", "--format", "json").out) == entries
    newest = vigie("--home", lived.home.root, "snapshots", "--format", "json", "--limit", "1").out
    assert json.loads(newest) == entries[:1]


def test_the_table_has_a_line_for_each_snapshot(lived: SnapshotHome, vigie: Callable[..., Any]) -> None:
    heading, *lines = vigie("--home", lived.home.root, "snapshots").out.splitlines()
    assert heading.split() == ["number", "issued", "outcome", "origin", "data", "as", "of", "model", "withdrawn"]
    assert [line.split()[0] for line in lines] == ["4", "3", "2", "1"]
    assert lines[0].endswith("2023-01-10T08:33:00Z: an invented mistake")
    assert lines[1].split() == [
        *("3", "2023-01-10T08:30:00Z", "all", "2022-12", "2022-12-31", "2022-12-all-ab12cd34", "–"),
    ]


def test_simulated_snapshots_are_listed_as_such_until_real_data_are_in(
    tmp_path: Path, vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIE_REGION", "MLI")  # --region sets it for child processes; undo that after this test
    home = SnapshotHome(tmp_path / "simulated")
    assert "there is no snapshot for the region of MLI" in vigie("--home", home.home.root, "snapshots").out
    home.add_ingests("simulated")
    home.issue(simulated=True)
    first, _, line = vigie("--home", home.home.root, "snapshots").out.splitlines()
    assert (first, line.split()[0]) == ("SIMULATED", "1")
    home.add_ingests("simulated", "real")
    assert "there is no snapshot" in vigie("--home", home.home.root, "snapshots").out
    assert vigie("--home", home.home.root, "snapshots", "--region", "NER").out.startswith(
        "there is no snapshot for the region of NER"
    )


def test_a_snapshot_is_withdrawn_by_its_number(lived: SnapshotHome, vigie: Callable[..., Any]) -> None:
    withdrawn = vigie("--home", lived.home.root, "snapshots", "withdraw", "3", "--why", "a wrong file")
    assert (withdrawn.code, withdrawn.out.startswith("snapshot 3 is withdrawn")) == (0, True)
    entries = json.loads(vigie("--home", lived.home.root, "snapshots", "--format", "json").out)
    assert [entry["withdrawn_reason"] for entry in entries] == ["an invented mistake", "a wrong file", None, None]
    assert json.loads(vigie("--home", lived.home.root, "scores", "--format", "json").out)["snapshot_id"] == 2
    assert vigie("--home", lived.home.root, "snapshots", "withdraw", "9", "--why", "no such").code == 3
    assert vigie("--home", lived.home.root, "snapshots", "withdraw", "2").code == 2
