"""Which events may be shown: taken from a real archive, read back over the API."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.table import QUARANTINE_SCHEMA, SCHEMA
from service.cli.app import create_app
from service.jobs import public_events
from service.store.tables import events


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    return SnapshotHome(tmp_path / "home")


def row(event_id: str, iso3: str, day: str, **more: Any) -> dict[str, Any]:
    """One event as the archive keeps it; what is not said is unknown."""
    known = {"event_id": event_id, "iso3": iso3, "date_start": datetime.fromisoformat(day).date(), "deaths": 3}
    return {**dict.fromkeys(SCHEMA.names), **known, "flags": "no_coordinates no_adm_1", **more}


def take_in(home: SnapshotHome, rows: list[dict[str, Any]], covers: str, **how: Any) -> None:
    """Put events into the archive, as an ingest would."""
    with Archive(home.home.archive).ingesting("events", SCHEMA) as staging:
        staging.write(pa.Table.from_pylist(rows, schema=SCHEMA), pa.Table.from_pylist([], schema=QUARANTINE_SCHEMA))
        said = {"source": "ucdp", "variant": "ged", "file": "ged.csv", "content_sha256": "0" * 64, "release": "24.1"}
        staging.commit(
            **{**said, **how},
            covers=[Coverage.parse(covers)],
            simulated=how.get("source") == "simulated",
            known_since=datetime(2023, 1, 1, tzinfo=UTC),
            now=NOW,
            deaths=3 * len(rows),
            flagged=0,
        )


def keep(home: SnapshotHome) -> bool:
    """What a recompute does; whether anything was new."""
    found = public_events.updated(home.store, Archive(home.home.archive).view(), "MLI")
    if found:
        with home.store.writing() as connection:
            found.store(connection)
    return found is not None


def shown(home: SnapshotHome) -> Any:
    return create_app(home.home, clock=lambda: NOW).test_client().get("/v1/events").json


def test_events_of_the_region_are_shown_with_their_terms(home: SnapshotHome) -> None:
    inside = row("1", "MLI", "2022-11-03", side_a="One", latitude=14.5, longitude=-4.0, where_prec=2, flags="no_adm_1")
    outside = row("2", "NGA", "2022-11-03")
    take_in(home, [inside, outside, row("3", "NER", "2022-12-03")], "*:2022-01..2022-12")
    home.issue()
    assert keep(home)
    said = shown(home)
    assert [(event["event_id"], event["date_start"]) for event in said["data"]] == [
        ("3", "2022-12-03"),
        ("1", "2022-11-03"),
    ]
    assert (said["data"][1]["deaths"], said["data"][1]["flags"], said["data"][1]["latitude"]) == (3, ["no_adm_1"], 14.5)
    assert [(source["source"], source["licence"]) for source in said["sources"]] == [("UCDP 24.1", "CC BY 4.0")]
    assert {(span["first"], span["last"]) for span in said["coverage"]} == {("2022-01", "2022-12")}
    assert len(said["coverage"]) == 8
    assert not keep(home)


@pytest.mark.parametrize("how", [{"private": True}, {"source": "acled"}, {"source": "elsewhere"}])
def test_what_may_not_be_handed_on_is_not_shown(home: SnapshotHome, how: dict[str, Any]) -> None:
    take_in(home, [row("1", "MLI", "2022-11-03", side_a="A secret")], "MLI:2022-01..2022-12", **how)
    home.issue()
    assert keep(home)
    said = shown(home)
    assert (said["data"], said["sources"], said["reasons"]["sources"]) == ([], [], "no_open_source")
    with home.store.reading() as connection:
        assert connection.execute(sa.select(events)).all() == []


def test_a_release_that_supersedes_another_is_shown_in_its_place(home: SnapshotHome) -> None:
    take_in(home, [row("1", "MLI", "2022-11-03"), row("2", "MLI", "2022-11-04")], "MLI:2022-01..2022-12")
    home.issue()
    keep(home)
    take_in(home, [row("1", "MLI", "2022-11-03", deaths=8)], "MLI:2022-01..2022-12", release="25.1")
    assert keep(home)
    said = shown(home)
    assert [(event["event_id"], event["deaths"]) for event in said["data"]] == [("1", 8)]


def test_simulated_events_say_so_and_go_when_real_data_come(home: SnapshotHome) -> None:
    take_in(home, [row("1", "MLI", "2022-11-03")], "MLI:2022-01..2022-12", source="simulated", release=None)
    home.issue(simulated=True)
    keep(home)
    said = shown(home)
    assert (len(said["data"]), said["simulated"], said["sources"][0]["source"]) == (1, True, "SIMULATED")
    take_in(home, [row("9", "MLI", "2022-11-03")], "MLI:2022-01..2022-12")
    home.issue()
    assert shown(home)["data"] == []
    keep(home)
    assert [event["event_id"] for event in shown(home)["data"]] == ["9"]
