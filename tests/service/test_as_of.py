"""Past moments: what was issued by then, what can be requested, and what is refused."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from html_page import BROWSER
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots_support import SnapshotHome, full_home

from riskmodel.events import manifest
from riskmodel.home import Home
from riskmodel.moments import parse_past_moment
from service.cli.app import create_app
from service.settings import load
from service.snapshots import as_of

TODAY = datetime(2026, 7, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("2023-09-01", "2023-09-01T23:59:59.999999+00:00"),
        ("2023-09-01T12:00Z", "2023-09-01T12:00:00.999999+00:00"),
        ("2023-09-01T12:00:30+02:00", "2023-09-01T10:00:30.999999+00:00"),
        ("2026-07-24", "2026-07-24T23:59:59.999999+00:00"),
    ],
)
def test_a_day_means_its_end_and_a_time_the_end_of_its_second(written: str, end: str) -> None:
    assert parse_past_moment(written, TODAY).isoformat() == end


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("2023-02-30", "no such day"),
        ("0001-01-01T00:00:00+23:00", "no such day"),
        ("2023-9-1", "YYYY-MM-DD"),
        ("2023-09-01T12:00:00", "YYYY-MM-DD"),
        ("yesterday", "YYYY-MM-DD"),
        ("", "YYYY-MM-DD"),
        ("٢٠٢٣-٠٩-٠١", "YYYY-MM-DD"),
        ("2026-07-25", "2026-07-24 is the last day that is over"),
        ("2026-07-25T12:00:00Z", "is past"),
        ("9999-12-31", "is past"),
    ],
)
def test_an_invalid_moment_is_refused_with_the_rule(written: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_past_moment(written, TODAY)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    """Months issued on 2022-11-11, 2022-12-11 and 2023-01-10, and one more that was withdrawn."""
    return full_home(tmp_path_factory.mktemp("lived-in") / "home")


@pytest.fixture
def client(seeded: SnapshotHome) -> FlaskClient:
    return create_app(seeded.home, clock=lambda: TODAY).test_client()


READS = (
    *("/v1/scores", "/v1/scores/MLI", "/v1/scores/MLI/history", "/v1/forecasts/MLI", "/v1/indicators"),
    *("/v1/indicators/MLI", "/v1/drivers/MLI"),
)


@pytest.mark.parametrize("path", READS)
def test_every_read_returns_the_snapshot_and_the_data_age_of_that_time(client: FlaskClient, path: str) -> None:
    response = client.get(f"{path}?as_of=2022-12-20")
    payload = response.json
    assert (payload["snapshot_id"], payload["origin"], payload["basis"]) == (2, "2022-11", "issued")
    assert (payload["as_of"], payload["status"], payload["data_age_days"]) == ("2022-12-20T23:59:59Z", "fresh", 20)
    assert (payload["next_run_at"], payload["reasons"]["next_run_at"], payload["computed_at"]) == (None, "past", None)
    assert client.get(path).json["status"] == "stale"
    assert "as_of" not in client.get(path).json
    tag = response.headers["ETag"]
    assert client.get(f"{path}?as_of=2022-12-20", headers={"If-None-Match": tag}).status_code == 304


def test_every_format_has_the_past_moment(client: FlaskClient) -> None:
    table = client.get("/v1/scores.csv?as_of=2022-12-20").text.splitlines()
    assert '"as_of","basis"' in table[0]
    assert '"2022-12-20T23:59:59Z","issued"' in table[1]
    assert json.loads(client.get("/v1/scores.geojson?as_of=2022-12-20").data)["basis"] == "issued"
    assert '"2022-12-20T23:59:59Z","issued"' in client.get("/v1/forecasts/MLI.csv?as_of=2022-12-20").text


def test_a_history_ends_at_the_moment_and_shows_todays_withdrawals(client: FlaskClient) -> None:
    def snapshots_by(day: str) -> list[int]:
        return [row["snapshot_id"] for row in client.get(f"/v1/scores/MLI/history?as_of={day}").json["data"]]

    assert (snapshots_by("2022-12-20"), snapshots_by("2023-01-10")) == ([2, 1], [4, 3, 2, 1])
    nothing = client.get("/v1/scores/MLI/history?as_of=2020-01-01")
    assert (nothing.status_code, json.loads(nothing.data)["type"]) == (404, "urn:vigie:problem:nothing-issued")


def test_a_withdrawn_snapshot_is_never_returned(client: FlaskClient) -> None:
    assert client.get("/v1/scores?as_of=2023-01-10").json["snapshot_id"] == 3
    assert client.get("/v1/scores?as_of=2023-01-10T08:31:30Z").json["snapshot_id"] == 3


def test_draws_are_those_of_that_time_or_missing(client: FlaskClient) -> None:
    forecast = client.get("/v1/forecasts/MLI?as_of=2023-01-10").json["data"]
    file = client.get(forecast["draws"]["csv"])
    assert (file.status_code, file.headers["Vigie-Snapshot"]) == (200, "3")
    assert file.headers["Vigie-As-Of"] == "2023-01-10T23:59:59Z"
    assert client.get("/v1/forecasts/MLI/draws.csv?as_of=2022-12-20").status_code == 404


def test_before_the_first_data_the_problem_names_their_date(client: FlaskClient) -> None:
    refused = client.get("/v1/scores?as_of=2019-06-01")
    problem = json.loads(refused.data)
    assert (refused.status_code, problem["type"]) == (404, "urn:vigie:problem:nothing-known")
    assert (problem["as_of"], problem["since"]) == ("2019-06-01", "2023-01-01T00:00:00Z")
    page = client.get("/?as_of=2019-06-01&lang=fr", headers=BROWSER)
    assert page.status_code == 404
    assert "1er janvier 2023" in page.text
    link = re.search(r'href="([^"]+)">Afficher les scores', page.text)
    assert link
    assert client.get(link[1]).status_code in (200, 202), "the link leads to a page"


def test_a_page_names_the_rule_that_a_query_breaks(client: FlaskClient) -> None:
    page = client.get("/?as_of=tomorrow", headers=BROWSER)
    assert page.status_code == 400
    assert re.search(r"<code>as_of</code>: <span[^>]*>[^<]*YYYY-MM-DD", page.text)


@pytest.mark.parametrize("path", [*READS, "/v1/forecasts/MLI/draws.csv"])
@pytest.mark.parametrize("written", ["2026-07-25", "tomorrow", "2023-02-30", ""])
def test_a_bad_moment_is_a_bad_query(client: FlaskClient, path: str, written: str) -> None:
    refused = client.get(f"{path}?as_of={written}")
    problem = json.loads(refused.data)
    assert (refused.status_code, problem["type"], problem["parameter"]) == (400, "urn:vigie:problem:bad-query", "as_of")


def test_no_simulated_past_is_served_once_real_data_are_in(tmp_path: Path) -> None:
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated", "real")
    home.issue(simulated=True)
    client = create_app(home.home, clock=lambda: TODAY).test_client()
    response = client.get("/v1/scores?as_of=2023-01-11")
    assert (response.status_code, response.json["simulated"]) == (202, False)
    with home.store.reading() as connection:
        found = as_of.issued_snapshot(connection, load(home.home), simulated=True, moment=TODAY)
    assert found is not None


@pytest.mark.parametrize(
    ("language", "words"), [("en", ["Past date", "20 December 2022"]), ("fr", ["Date passée", "20 décembre 2022"])]
)
def test_pages_about_the_past_link_to_pages_about_the_same_day(
    client: FlaskClient, language: str, words: list[str]
) -> None:
    for path in ("/", "/country/MLI"):
        page = client.get(f"{path}?as_of=2022-12-20&lang={language}").text
        assert all(word in page for word in words)
        assert 'class="alerts"' not in page
        assert 'value="2022-12-20"' in page
        assert "as_of=2022-12-20" in page.split("<main")[1]
        today = client.get(f"{path}?as_of=&lang={language}").text
        assert words[0] not in today
        assert 'class="alerts"' in today
        assert 'max="2026-07-24"' in today
    assert client.get("/?as_of=2022-12-20").headers["Content-Security-Policy"].count("form-action 'self'") == 1


@settings(max_examples=60, deadline=None)
@given(
    day=st.dates(date(2021, 1, 1), date(2026, 1, 1)),
    later=st.lists(st.tuples(st.integers(1, 900), st.sampled_from(["release", "file", "withdrawal"])), max_size=6),
)
def test_the_task_of_a_day_does_not_change_with_later_data(
    tmp_path_factory: pytest.TempPathFactory, day: Any, later: list[tuple[int, str]]
) -> None:
    """Later ingests and withdrawals do not change the task of a day, and so not its result."""
    home = Home(tmp_path_factory.mktemp("days"))
    when = parse_past_moment(day.isoformat(), TODAY)
    first = [_known("0001", "20.1", "2020-06-01"), _known("0002", None, "2020-12-01")]
    manifest.write(home.archive, tuple(first))
    expected = as_of.recompute_request(home, load(home), when, simulated=False)
    entries: list[manifest.Entry] = list(first)
    for number, (days, what) in enumerate(later, start=3):
        then = when + timedelta(days=days)
        if what == "withdrawal":
            withdrawn_at = f"{then:%Y-%m-%dT%H:%M:%SZ}"
            entries.append(
                manifest.Withdrawal(f"{number:04d}", first[number % 2].id, withdrawn_at, "an invented mistake")
            )
        else:
            release = f"{then.year % 100 + 1}.1" if what == "release" else None
            entries.append(_known(f"{number:04d}", release, then.date().isoformat()))
    manifest.write(home.archive, entries)
    assert as_of.recompute_request(home, load(home), when, simulated=False) == expected


def _known(number: str, release: str | None, day: str) -> manifest.Ingest:
    made: dict[str, Any] = {"id": number, "release": release, "data_sha256": number * 16}
    return manifest.Ingest(
        **made,
        kind="country_months",
        source="monthly",
        variant="monthly",
        file="deaths.csv",
        content_sha256="0" * 64,
        covers=("MLI:2010-01..2019-12",),
        simulated=False,
        known_since=f"{day}T00:00:00Z",
        ingested_at="2026-01-01T00:00:00Z",
        rows=1,
        deaths=1,
        flagged=0,
        quarantined=0,
    )
