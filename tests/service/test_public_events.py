"""The public events: taken from a real archive, read over the API."""

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
    """Return an event as the archive stores it; other fields are unknown."""
    known = {"event_id": event_id, "iso3": iso3, "date_start": datetime.fromisoformat(day).date(), "deaths": 3}
    return {**dict.fromkeys(SCHEMA.names), **known, "flags": "no_coordinates no_adm_1", **more}


def ingest_events(home: SnapshotHome, rows: list[dict[str, Any]], covers: str, **how: Any) -> None:
    """Put events into the archive, as an ingest does."""
    with Archive(home.home.archive).ingesting("events", SCHEMA) as staging:
        staging.write(pa.Table.from_pylist(rows, schema=SCHEMA), pa.Table.from_pylist([], schema=QUARANTINE_SCHEMA))
        ingest = {"source": "ucdp", "variant": "ged", "file": "ged.csv", "content_sha256": "0" * 64, "release": "24.1"}
        staging.commit(
            **{**ingest, **how},
            covers=[Coverage.parse(covers)],
            simulated=how.get("source") == "simulated",
            known_since=datetime(2023, 1, 1, tzinfo=UTC),
            now=NOW,
            deaths=3 * len(rows),
            flagged=0,
        )


def update(home: SnapshotHome) -> bool:
    """Update the public events, as a recompute does; return whether they changed."""
    found = public_events.updated(home.store, Archive(home.home.archive).view(), "MLI")
    if found:
        with home.store.writing() as connection:
            found.store(connection)
    return found is not None


def get_events(home: SnapshotHome) -> Any:
    return create_app(home.home, clock=lambda: NOW).test_client().get("/v1/events").json


def test_events_of_the_region_are_public_with_their_terms(home: SnapshotHome) -> None:
    inside = row("1", "MLI", "2022-11-03", side_a="One", latitude=14.5, longitude=-4.0, where_prec=2, flags="no_adm_1")
    outside = row("2", "NGA", "2022-11-03")
    ingest_events(home, [inside, outside, row("3", "NER", "2022-12-03")], "*:2022-01..2022-12")
    home.issue()
    assert update(home)
    payload = get_events(home)
    assert [(event["event_id"], event["date_start"]) for event in payload["data"]] == [
        ("3", "2022-12-03"),
        ("1", "2022-11-03"),
    ]
    assert (payload["data"][1]["deaths"], payload["data"][1]["flags"], payload["data"][1]["latitude"]) == (
        3,
        ["no_adm_1"],
        14.5,
    )
    assert [(source["source"], source["licence"]) for source in payload["sources"]] == [("UCDP 24.1", "CC BY 4.0")]
    assert {(span["first"], span["last"]) for span in payload["coverage"]} == {("2022-01", "2022-12")}
    assert len(payload["coverage"]) == 8
    assert not update(home)


@pytest.mark.parametrize("how", [{"private": True}, {"source": "acled"}, {"source": "elsewhere"}])
def test_events_that_must_not_be_published_are_not_public(home: SnapshotHome, how: dict[str, Any]) -> None:
    ingest_events(home, [row("1", "MLI", "2022-11-03", side_a="A secret")], "MLI:2022-01..2022-12", **how)
    home.issue()
    assert update(home)
    payload = get_events(home)
    assert (payload["data"], payload["sources"], payload["reasons"]["sources"]) == ([], [], "no_open_source")
    with home.store.reading() as connection:
        assert connection.execute(sa.select(events)).all() == []


def test_a_release_that_supersedes_another_replaces_its_events(home: SnapshotHome) -> None:
    ingest_events(home, [row("1", "MLI", "2022-11-03"), row("2", "MLI", "2022-11-04")], "MLI:2022-01..2022-12")
    home.issue()
    update(home)
    ingest_events(home, [row("1", "MLI", "2022-11-03", deaths=8)], "MLI:2022-01..2022-12", release="25.1")
    assert update(home)
    payload = get_events(home)
    assert [(event["event_id"], event["deaths"]) for event in payload["data"]] == [("1", 8)]


def test_simulated_events_are_marked_and_disappear_with_real_data(home: SnapshotHome) -> None:
    ingest_events(home, [row("1", "MLI", "2022-11-03")], "MLI:2022-01..2022-12", source="simulated", release=None)
    home.issue(simulated=True)
    update(home)
    payload = get_events(home)
    assert (len(payload["data"]), payload["simulated"], payload["sources"][0]["source"]) == (1, True, "SIMULATED")
    ingest_events(home, [row("9", "MLI", "2022-11-03")], "MLI:2022-01..2022-12")
    home.issue()
    assert get_events(home)["data"] == []
    update(home)
    assert [event["event_id"] for event in get_events(home)["data"]] == ["9"]
