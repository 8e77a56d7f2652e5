"""Hindcasts beside what was issued: stored from files, and read as history, changes, ranks and past moments."""

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import hindcast_files
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from html_page import get_page
from snapshot_documents import NOW, SCORES
from snapshots_support import SettableClock, SnapshotHome

from riskmodel import hindcasts
from riskmodel.errors import Refused
from riskmodel.months import month
from service.cli.app import create_app
from service.http import state_version
from service.jobs import hindcast_store, snapshot_chain
from service.settings import load
from service.snapshots import earlier_scores, hindcast_view
from service.store import integrity, tables
from service.store.context import Context

TODAY = NOW + timedelta(minutes=20)


def home_with_a_past(root: Path) -> SnapshotHome:
    """A home with a snapshot of December 2022 and hindcasts of the four months before, and of December 2021."""
    home = SnapshotHome(root)
    home.add_ingests("real")
    home.issue()
    for months, origin in enumerate(("2022-11", "2022-10", "2022-09", "2022-08", "2021-12")):
        hindcast_files.write(home.home, origin, lower=1 + months)
    store(home)
    return home


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    """A home with a past, which a test changes."""
    return home_with_a_past(tmp_path / "home")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    """A home with a past, which tests only read."""
    return home_with_a_past(tmp_path_factory.mktemp("past") / "home")


@pytest.fixture
def reader(shared: SnapshotHome, clock: SettableClock) -> FlaskClient:
    return create_app(shared.home, clock=clock).test_client()


@pytest.fixture
def client(home: SnapshotHome, clock: SettableClock) -> FlaskClient:
    return create_app(home.home, clock=clock).test_client()


def context_of(home: SnapshotHome) -> Context:
    return Context(home.home, load(home.home), home.store, lambda: TODAY)


def store(home: SnapshotHome) -> hindcast_store.StoreResult:
    return hindcast_store.store(context_of(home))


def stored_origins(home: SnapshotHome, outcome: str = "state_based") -> dict[str, str]:
    """The edition of each stored hindcast."""
    with home.store.reading() as connection:
        rows = connection.execute(sa.select(tables.hindcasts).where(tables.hindcasts.c.outcome == outcome)).all()
    return {row.origin: row.edition for row in rows}


def changes_of(home: SnapshotHome) -> list[dict[str, Any]]:
    with home.store.reading() as connection:
        rows = connection.execute(sa.select(tables.changes).where(tables.changes.c.kind == "hindcast")).all()
    return [row.document for row in rows]


def test_storing_the_same_files_again_changes_nothing(home: SnapshotHome) -> None:
    assert store(home) == hindcast_store.StoreResult({"state_based": 5}, changed=0)
    assert changes_of(home) == [{"origins": 5, "first_origin": "2021-12", "last_origin": "2022-11"}]
    assert integrity.check(home.store) == []


def test_a_new_edition_replaces_the_old_one_as_a_whole(home: SnapshotHome) -> None:
    for origin in ("2022-11", "2022-10"):
        hindcast_files.write(home.home, origin, edition="second", computed_at="2023-02-01T00:00:00Z")
    assert store(home).changed == 5
    assert stored_origins(home) == {"2022-10": "second", "2022-11": "second"}
    assert len(changes_of(home)) == 2


def test_a_damaged_file_is_refused_and_the_others_are_stored(home: SnapshotHome) -> None:
    hindcast_files.write(home.home, "2022-07")
    damaged = hindcasts.stored(home.home, "MLI", simulated=False, outcome="state_based")[month("2022-11")]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(Refused, match=r"2022-11\.parquet is damaged"):
        store(home)
    assert sorted(stored_origins(home)) == ["2021-12", "2022-07", "2022-08", "2022-09", "2022-10"]


def test_hindcasts_wait_for_a_snapshot(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    hindcast_files.write(home.home, "2022-11")
    with pytest.raises(Refused, match="vigie recompute"):
        store(home)


def test_bands_are_those_of_the_settings(home: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_BANDS", json.dumps({"calm": 0, "tense": 50}))
    assert store(home).changed == 5
    newest = create_app(home.home, clock=lambda: TODAY).test_client().get("/v1/scores?as_of=2022-12-31").json
    assert newest["bands"] == {"calm": 0, "tense": 50}
    assert {row["band"] for row in newest["data"]} == {"calm", "tense", None}


def test_the_state_version_changes_with_the_hindcasts(home: SnapshotHome) -> None:
    def version() -> state_version.StateVersion:
        with home.store.reading() as connection:
            files = state_version.file_versions(home.home)
            return state_version.read(connection, files, load(home.home), TODAY)

    before = version()
    hindcast_files.write(home.home, "2022-11", lower=7)
    store(home)
    assert version() != before


def test_scores_have_ranks_and_changes(reader: FlaskClient) -> None:
    rows = {row["location_code"]: row for row in reader.get("/v1/scores").json["data"]}
    ranked = sorted(
        (iso3 for iso3, score in SCORES.items() if score is not None), key=lambda iso3: -(SCORES[iso3] or 0)
    )
    assert [rows[iso3]["rank"] for iso3 in ranked] == list(range(1, 8))
    mali = rows["MLI"]
    assert (mali["change_1m"], mali["change_12m"], mali["rank_change"]) == (1.0, 5.0, 0)
    assert mali["earlier"] == {
        "1m": {"origin": "2022-11", "basis": "hindcast", "risk_score": 80.4},
        "12m": {"origin": "2021-12", "basis": "hindcast", "risk_score": 76.4},
    }
    unknown = rows["MRT"]
    for name in ("rank", "rank_change", "change_1m", "change_12m"):
        assert (unknown[name], unknown["reasons"][name]) == (None, "no_history")
    assert reader.get("/v1/scores/MLI").json["data"]["earlier"] == mali["earlier"]
    assert reader.get("/v1/scores?fields=rank,change_1m").json["data"][0].keys() == {
        "location_code",
        "rank",
        "change_1m",
    }
    line = next(csv.DictReader(io.StringIO(reader.get("/v1/scores.csv").text)))
    assert (line["rank"], line["change_12m"], line["basis_12m_earlier"]) == ("1", "5.0", "hindcast")


def test_a_rank_rises_and_ties_share_one(home: SnapshotHome, client: FlaskClient) -> None:
    tied = {**SCORES, "MLI": 90.0, "BFA": 90.0}
    home.issue(at=NOW + timedelta(minutes=1), scores=tied)
    rows = {row["location_code"]: row for row in client.get("/v1/scores").json["data"]}
    assert {iso3: rows[iso3]["rank"] for iso3 in ("MLI", "BFA", "NER")} == {"MLI": 1, "BFA": 1, "NER": 3}
    assert {iso3: rows[iso3]["rank_change"] for iso3 in ("MLI", "BFA", "NER")} == {"MLI": 1, "BFA": 0, "NER": 0}


def test_what_was_issued_counts_before_a_hindcast_unless_it_was_withdrawn(
    home: SnapshotHome, client: FlaskClient
) -> None:
    home.issue(origin="2022-11", at=NOW - timedelta(days=30), scores={**SCORES, "MLI": 70.0})
    home.issue(at=NOW + timedelta(minutes=1))

    def earlier() -> tuple[str, float]:
        last = client.get("/v1/scores/MLI").json["data"]["earlier"]["1m"]
        return last["basis"], last["risk_score"]

    def history() -> list[tuple[str, str, bool]]:
        entries = client.get("/v1/scores/MLI/history").json["data"]
        return [(entry["origin"], entry["basis"], entry["withdrawn_at"] is not None) for entry in entries]

    assert earlier() == ("issued", 70.0)
    issued = [("2022-12", "issued", False)] * 2 + [("2022-11", "issued", False)]
    older = [(origin, "hindcast", False) for origin in ("2022-10", "2022-09", "2022-08", "2021-12")]
    assert history() == issued + older
    withdrawal = sa.update(tables.snapshots).where(tables.snapshots.c.id == 2)
    with home.store.writing() as connection:
        connection.execute(withdrawal.values(withdrawn_at=TODAY, withdrawn_reason="an invented mistake"))
    assert earlier() == ("hindcast", 80.4)
    assert history() == [*issued[:2], ("2022-11", "issued", True), ("2022-11", "hindcast", False), *older]


def test_a_history_of_both_kinds_is_read_page_by_page(home: SnapshotHome, client: FlaskClient) -> None:
    home.issue(origin="2022-11", at=NOW - timedelta(days=30))
    home.issue(at=NOW + timedelta(minutes=1))
    at_once = client.get("/v1/scores/MLI/history").json["data"]
    paged, address = [], "/v1/scores/MLI/history?limit=1"
    while address:
        page = client.get(address).json
        paged, address = paged + page["data"], page["next"]
    assert paged == at_once
    hindcast = at_once[-1]
    assert (hindcast["data_basis"], hindcast["model_origin"]) == ("final_figures", "2020-12")
    for name in ("snapshot_id", "issued_at", "model_id", "release_class"):
        assert (hindcast[name], hindcast["reasons"][name]) == (None, "hindcast")
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/scores/MLI/history.csv").text)))
    assert [line["basis"] for line in lines] == [entry["basis"] for entry in at_once]
    past = client.get("/v1/scores/MLI/history?as_of=2022-11-30").json
    assert [entry["origin"] for entry in past["data"]] == ["2022-10", "2022-09", "2022-08", "2021-12"]
    assert past["basis"] == "hindcast"


@pytest.mark.parametrize(
    ("moment", "origin"),
    [
        ("2022-10-31T22:59:59+00:00", "2022-08"),
        ("2022-10-31T23:00:00+00:00", "2022-09"),
        ("2022-11-01T00:00:00+00:00", "2022-09"),
        ("2022-01-15T12:00:00+00:00", "2021-11"),
    ],
)
def test_a_hindcast_stands_for_moments_after_the_month_that_follows_its_origin(moment: str, origin: str) -> None:
    assert hindcast_view.origin_at(datetime.fromisoformat(moment)) == origin


def test_a_past_moment_is_answered_from_the_hindcast_at_once(reader: FlaskClient) -> None:
    response = reader.get("/v1/scores?as_of=2022-12-31")
    payload = response.json
    assert response.status_code == 200
    assert (payload["basis"], payload["data_basis"], payload["origin"]) == ("hindcast", "final_figures", "2022-11")
    assert (payload["model_origin"], payload["model_id"], payload["snapshot_id"]) == ("2020-12", None, None)
    assert {payload["reasons"][name] for name in ("snapshot_id", "issued_at", "model_id", "data_quality")} == {
        "hindcast"
    }
    assert payload["computed_at"] == "2023-01-10T09:00:00Z"
    assert payload["data"][0]["change_1m"] == 1.0
    country = reader.get("/v1/scores/MLI?as_of=2022-12-31").json["data"]
    assert len(country["observed"]) == 12
    for name in ("drivers", "indicators", "latest_month", "sources"):
        assert (country[name], country["reasons"][name]) == (None, "hindcast")
    assert "escalation_h24" not in country
    forecast = reader.get("/v1/forecasts/MLI?as_of=2022-12-31").json["data"]
    assert (forecast["draws"]["csv"], forecast["reasons"]["draws"]) == (None, "hindcast")
    for address in ("/v1/scores.csv", "/v1/scores/MLI.csv", "/v1/forecasts/MLI.csv"):
        lines = list(csv.DictReader(io.StringIO(reader.get(f"{address}?as_of=2022-12-31").text)))
        assert {line["basis"] for line in lines} == {"hindcast"}, address
        assert {line["data_basis"] for line in lines} == {"final_figures"}, address


def test_a_snapshot_of_that_time_answers_before_a_hindcast(home: SnapshotHome, client: FlaskClient) -> None:
    home.issue(origin="2022-11", at=NOW - timedelta(days=20))
    assert client.get("/v1/scores?as_of=2022-12-31").json["basis"] == "issued"


@pytest.mark.parametrize("address", ["/v1/indicators/MLI", "/v1/drivers/MLI", "/v1/scores"])
def test_what_no_hindcast_has_is_computed_as_before(reader: FlaskClient, address: str) -> None:
    without_hindcast = "2022-07-31" if address == "/v1/scores" else "2022-12-31"
    problem = reader.get(f"{address}?as_of={without_hindcast}").json
    assert problem["type"] == "urn:vigie:problem:nothing-known"


def test_the_command_prints_the_hindcast_of_a_past_moment(shared: SnapshotHome, vigie: Callable[..., Any]) -> None:
    asked = ("--home", shared.home.root, "scores", "--as-of", "2022-12-31")
    assert "hindcast from final figures" in " ".join(vigie(*asked).out.split())
    printed = json.loads(vigie(*asked, "--format", "json").out)
    assert (printed["basis"], printed["origin"]) == ("hindcast", "2022-11")


@pytest.mark.parametrize(("language", "word"), [("en", "hindcast"), ("fr", "prévision rétrospective")])
def test_pages_show_the_past(reader: FlaskClient, language: str, word: str) -> None:
    country = get_page(reader, f"/{language}/country/MLI")
    dots = [circle["class"] for circle in country.attributes_of("circle") if "%" in (circle["cx"] or "")]
    assert dots == ["later"] * 5 + ["issued"]
    assert word in country.text.lower()
    assert "+5" in get_page(reader, f"/{language}/").text
    for path in ("/", "/country/MLI", "/country/MRT"):
        assert word in get_page(reader, f"/{language}{path}?as_of=2022-12-31").text.lower(), path


def test_ranks_and_changes_are_not_in_the_snapshot(shared: SnapshotHome) -> None:
    with shared.store.reading() as connection:
        snapshot = snapshot_chain.in_service(connection, "MLI", simulated=False)
    assert snapshot is not None
    country = snapshot.document["outcomes"]["state_based"]["countries"][0]
    assert not country.keys() & set(earlier_scores.CHANGE_KEYS)


def test_simulated_hindcasts_stand_apart_from_real_ones(tmp_path: Path, clock: Callable[[], Any]) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated")
    home.issue(simulated=True)
    hindcast_files.write(home.home, "2022-11", lower=2, simulated=True)
    hindcast_files.write(home.home, "2022-11", lower=7)
    store(home)
    client = create_app(home.home, clock=clock).test_client()
    payload = client.get("/v1/scores?as_of=2022-12-31").json
    assert (payload["simulated"], payload["basis"]) == (True, "hindcast")
    assert client.get("/v1/scores/MLI").json["data"]["change_1m"] == 2.0


def test_signals_have_a_history_and_answer_for_a_past_moment(client: FlaskClient) -> None:
    entries = client.get("/v1/signals/MLI/history").json["data"]
    assert [(each["origin"], each["basis"]) for each in entries][:3] == [
        ("2022-12", "issued"),
        ("2022-11", "hindcast"),
        ("2022-10", "hindcast"),
    ]
    assert [[signal["value"] for signal in each["signals"]] for each in entries] == [[19]] * 6
    assert entries[1]["reasons"] == {"snapshot_id": "hindcast", "issued_at": "hindcast"}
    unknown = client.get("/v1/signals/MRT/history").json["data"][0]
    assert (unknown["signals"], unknown["reasons"]["signals"]) == (None, "value_unknown")
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/signals/MLI/history.csv").text)))
    assert [(row["origin"], row["value"]) for row in rows][:2] == [("2022-12", "19"), ("2022-11", "19")]
    past = client.get("/v1/signals/MLI?as_of=2022-12-31").json
    assert (past["basis"], past["data"]["month"], past["data"]["signals"][0]["value"]) == ("hindcast", "2022-11", 19)
    page = get_page(client, "/country/MLI?as_of=2022-12-31&lang=en").text
    assert "What stands out" in page
