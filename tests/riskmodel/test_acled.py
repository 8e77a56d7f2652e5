"""ACLED: pulls from a real server, what they leave in the archive, and faults on the way."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from providers import HTML, Fault, Request, Response
from providers_more import JSON, PASSWORD, USERNAME, Acled, event

from riskmodel.cli.pull import acled as command
from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.acled import FILE_COLUMNS, AcledFile, current_events
from riskmodel.sources.acled_pull import pull
from riskmodel.sources.client import Client

NOW = datetime(2025, 11, 22, 9, 0, tzinfo=UTC)
STAMP = 1_750_000_000
READ, DELETED, LOG_IN = "/api/acled/read", "/api/deleted/read", "/oauth/token"


class Puller:
    """Pulls into one archive, a day later each time, and records the messages."""

    def __init__(self, folder: Path, url: str) -> None:
        self.archive, self.folder, self.url = Archive(folder / "archive"), folder, url
        self.messages: list[str] = []
        self.waited: list[float] = []
        self.client = Client(sleep=self.waited.append, patience=1.0)
        self.now = NOW

    def __call__(self, *countries: str, password: str = PASSWORD, page: int = 2) -> list[IngestReport]:
        self.now += timedelta(days=1)
        return pull(
            self.archive,
            self.client,
            self.folder / "downloads",
            base=self.url,
            username=USERNAME,
            password=password,
            countries=countries or ("MLI",),
            now=self.now,
            say=self.messages.append,
            page_rows=page,
        )

    def events(self, as_of: datetime | None = None) -> dict[str, int]:
        """Return the deaths of each current event."""
        table = current_events(self.archive.view(as_of))
        return dict(zip(table["event_id"].to_pylist(), table["deaths"].to_pylist(), strict=True))


@pytest.fixture
def acled() -> Acled:
    provider = Acled()
    provider.publish(*(event(i, day=f"2025-03-{i:02d}", stamp=STAMP + i) for i in range(1, 6)))
    return provider


@pytest.fixture
def puller(tmp_path: Path, acled: Acled) -> Iterator[Puller]:
    with acled.listening() as url:
        yield Puller(tmp_path, url)


def test_the_first_pull_takes_all_and_the_next_only_what_changed(acled: Acled, puller: Puller) -> None:
    [report] = puller()
    assert (report.ingest.rows, report.ingest.deaths, report.ingest.quarantined) == (5, 15, 0)
    assert puller() == []
    assert puller.messages[-1] == "ACLED: nothing has changed"
    acled.publish(event(2, day="2025-03-02", stamp=STAMP + 9, fatalities=8), event(6, stamp=STAMP + 9))
    [report] = puller()
    assert report.ingest.rows == 2
    assert puller.events() == {"MAL1": 3, "MAL2": 8, "MAL3": 3, "MAL4": 3, "MAL5": 3, "MAL6": 3}
    first = puller.archive.ingests()[0].known_since
    assert puller.events(datetime.fromisoformat(first))["MAL2"] == 3


def test_a_pull_requests_countries_and_changes_by_timestamp(acled: Acled, puller: Puller) -> None:
    puller()
    puller("MLI", "CIV")
    requests = [(request.path, dict(request.query)) for request in acled.requests if request.path != LOG_IN]
    assert requests[0] == (
        READ,
        {"_format": "json", "country": "Mali", "country_where": "=", "limit": "2", "page": "1"},
    )
    assert [query["page"] for _, query in requests[:4]] == ["1", "2", "3", "4"]
    later = [query for path, query in requests[4:] if path == READ]
    assert (later[0]["timestamp"], later[0]["timestamp_where"]) == (str(STAMP + 5), ">=")
    assert "timestamp" not in later[-1]
    assert later[-1]["country"] == "Ivory Coast"
    assert requests[-1][0] == DELETED


def test_rows_are_typed_and_unreadable_ones_are_quarantined(acled: Acled, puller: Puller) -> None:
    acled.publish(
        event(7, fatalities="many"),
        event(8, day="2026-03-01"),
        event(9, latitude="north", time_precision="9"),
        event(10, iso=999),
        event(11, event_date="12 March"),
    )
    [report] = puller()
    assert {line.partition(": ")[2].partition(": ")[2] for line in report.quarantined} == {
        "fatalities is not a whole number ('many')",
        "event_date lies in the future ('2026-03-01')",
        "iso is no country number that Vigie knows ('999')",
        "event_date is not a date ('12 March')",
    }
    rows = {row["event_id"]: row for row in current_events(puller.archive.view()).to_pylist()}
    assert set(rows) == {f"MAL{i}" for i in (1, 2, 3, 4, 5, 9)}
    assert (rows["MAL1"]["latitude"], rows["MAL1"]["time_precision"], rows["MAL1"]["iso3"]) == (14.5, 1, "MLI")
    assert rows["MAL1"]["date"] == date(2025, 3, 1)
    assert rows["MAL1"]["notes"] == 'A line,\nand "another".'
    assert (rows["MAL9"]["latitude"], rows["MAL9"]["time_precision"]) == (None, None)


@pytest.mark.parametrize("number", ["", None, 0])
def test_kosovo_has_no_number(acled: Acled, puller: Puller, number: object) -> None:
    acled.publish(*(event(i, day="2025-03-01", country="Kosovo", iso=number, stamp=STAMP) for i in (1, 2)))
    [report] = puller("XKX")
    assert (report.ingest.rows, report.ingest.quarantined) == (2, 0)
    assert set(current_events(puller.archive.view())["iso3"].to_pylist()) == {"XKX"}
    acled.delete("KOS1", STAMP + 5)
    puller("XKX")
    assert puller.events() == {"KOS2": 3}


def test_deletions_are_applied_and_an_event_can_return(acled: Acled, puller: Puller) -> None:
    puller()
    acled.delete("MAL3", STAMP + 10)
    acled.deleted.append(("NIG77", STAMP + 11))
    [report] = puller()
    assert (report.ingest.rows, report.ingest.deaths) == (1, 0)
    assert "MAL3" not in puller.events()
    assert "MAL3" in puller.events(datetime.fromisoformat(puller.archive.ingests()[0].known_since))
    assert puller() == []
    acled.publish(event(3, stamp=STAMP + 20))
    puller()
    assert "MAL3" in puller.events()
    assert puller() == []
    assert "MAL3" in puller.events()


def test_an_event_added_and_deleted_in_one_pull_does_not_count(acled: Acled, puller: Puller) -> None:
    puller()
    acled.publish(event(9, stamp=STAMP + 9))
    acled.deleted.append(("MAL9", STAMP + 9))
    puller()
    assert "MAL9" not in puller.events()


def test_rows_are_private_and_only_in_the_archive(puller: Puller) -> None:
    [report] = puller()
    assert report.ingest.private
    assert report.ingest.kind == "acled"
    assert not [path for path in (puller.folder / "downloads").rglob("*") if path.is_file()]
    assert np.isnan(puller.archive.view().outcomes().deaths["state_based"]).all()


def test_coverage_begins_with_the_first_event_and_ends_with_the_last_full_month(acled: Acled, puller: Puller) -> None:
    acled.publish(event(1, day="2024-12-31", stamp=STAMP + 1, country="Niger"))
    [report] = puller("MLI", "NER", "CIV")
    assert report.ingest.covers == ("MLI:2025-03..2025-10", "NER:2024-12..2025-10")
    assert "ACLED, Côte d’Ivoire: it has no events there" in puller.messages


def test_an_account_that_sees_the_last_year_only_aggregated(acled: Acled, puller: Puller) -> None:
    acled.last_visible_day = "2025-03-03"
    [report] = puller()
    assert report.ingest.variant == "single events to 2025-03-03"
    assert report.ingest.covers == ()
    assert set(puller.events()) == {"MAL1", "MAL2", "MAL3"}
    assert any("only up to 2025-03-03" in text and "unknown, not quiet" in text for text in puller.messages)


def test_events_that_become_visible_enter_although_their_timestamps_are_old(acled: Acled, puller: Puller) -> None:
    acled.publish(event(5, day="2025-03-05", stamp=STAMP - 500), event(4, day="2025-03-04", stamp=STAMP - 400))
    acled.last_visible_day = "2025-03-03"
    puller()
    acled.last_visible_day = "2025-03-04"
    acled.publish(event(6, day="2025-03-02", stamp=STAMP + 50))
    puller()
    assert set(puller.events()) == {"MAL1", "MAL2", "MAL3", "MAL4", "MAL6"}


def test_a_token_that_expires_during_a_pull_is_renewed_once(acled: Acled, puller: Puller) -> None:
    acled.uses = 3
    [report] = puller()
    assert report.ingest.rows == 5
    forms = [request.body for request in acled.requests if request.path == LOG_IN]
    assert [b"grant_type=refresh_token" in form for form in forms] == [False, True]


def test_a_token_that_expires_again_and_again_ends_the_pull(acled: Acled, puller: Puller) -> None:
    acled.uses = 1
    with pytest.raises(SourceUnavailable, match="took back its access token twice"):
        puller()
    assert puller.archive.ingests() == ()


def test_the_rows_of_a_withdrawn_ingest_are_pulled_again(acled: Acled, puller: Puller) -> None:
    puller()
    acled.publish(event(6, stamp=STAMP + 10))
    acled.delete("MAL1", STAMP + 11)
    puller()
    acled.publish(event(7, stamp=STAMP + 10**7))
    puller()
    puller.archive.withdraw("0002", "a test", puller.now)
    assert set(puller.events()) == {f"MAL{i}" for i in (1, 2, 3, 4, 5, 7)}
    puller()
    assert set(puller.events()) == {f"MAL{i}" for i in range(2, 8)}
    assert puller() == []


def test_a_refused_refresh_becomes_a_log_in(acled: Acled, puller: Puller) -> None:
    acled.uses = 3
    acled.faults[LOG_IN].extend([lambda request, response: response, Response(400, b'{"error":"invalid_grant"}', JSON)])
    assert puller()[0].ingest.rows == 5
    assert len([request for request in acled.requests if request.path == LOG_IN]) == 3


def edited(**changes: object) -> Fault:
    """Return the correct response with other values in its envelope."""

    def change(request: Request, response: Response) -> Response:
        return replace(response, body=json.dumps(json.loads(response.body) | changes).encode())

    return change


def cut(request: Request, response: Response) -> Response:
    return replace(response, cut=len(response.body) // 2)


def one_more(request: Request, response: Response) -> Response:
    return replace(response, announced=len(response.body) + 1, cut=len(response.body))


def drip(request: Request, response: Response) -> Response:
    return replace(response, drip=0.05)


def same(request: Request, response: Response) -> Response:
    return response


PASSES: dict[str, list[Fault]] = {
    "429": [Response(429, b"", {"Retry-After": "7"})],
    "500": [Response(500), Response(503)],
    "cut body": [cut],
    "slow drip": [drip],
    "wrong Content-Length": [one_more],
    "half a JSON": [Response(200, b'{"data": [', JSON)],
}


@pytest.mark.parametrize("fault", PASSES)
def test_transient_faults_are_tried_again(acled: Acled, puller: Puller, fault: str) -> None:
    acled.faults[READ].extend([same, *PASSES[fault]])
    assert puller()[0].ingest.rows == 5
    assert puller.waited
    if fault == "429":
        assert puller.waited[0] >= 7


def answer_of(page: int) -> Fault:
    """Return the response of another page."""

    def change(request: Request, response: Response) -> Response:
        rows = sorted((f"MAL{i}" for i in range(1, 6)), reverse=True)[(page - 1) * 2 : page * 2]
        data = [event(int(name[3:]), day=f"2025-03-0{name[3:]}", stamp=STAMP) for name in rows]
        return replace(response, body=json.dumps(json.loads(response.body) | {"data": data, "count": None}).encode())

    return change


ENDS: dict[str, tuple[list[Fault], str]] = {
    "500 for good": ([Response(500)] * 9, "it has a fault"),
    "HTML with 200": ([same, HTML], "a web page came instead of data"),
    "page repeated": ([same, answer_of(1)], "a page was repeated"),
    "page lost": ([same, answer_of(3)], "some were lost"),
    "page lost: empty": ([same, edited(data=[], count=None)], "some were lost"),
    "count off by one": ([edited(count=3)], "says it has 3 rows and has 2"),
    "total off by one": ([edited(total_count=6)] * 4, "counts 6 rows, sent 5"),
    "total changes": ([same, edited(total_count=6)], "counts 6 rows in all, the page before 5"),
    "no rows at all": ([edited(data=None)], "without a list of rows"),
    "refused with 200": ([edited(success=False, messages=["quota is spent"])], "quota is spent"),
    "400": ([Response(400, b"bad filter")], "bad filter"),
}


@pytest.mark.parametrize("fault", ENDS)
@pytest.mark.parametrize("first", [True, False], ids=["empty archive", "second pull"])
def test_lasting_faults_end_the_pull_and_leave_the_archive_unchanged(
    acled: Acled, puller: Puller, fault: str, first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    if not first:
        puller()
        acled.publish(*(event(i, day=f"2025-03-{i:02d}", stamp=STAMP + 100) for i in range(1, 6)))
    before = (puller.archive.ingests(), puller.events())
    faults, message = ENDS[fault]
    acled.faults[READ].extend(faults)
    with pytest.raises(SourceUnavailable, match=message) as failure:
        puller()
    assert (puller.archive.ingests(), puller.events()) == before
    output = f"{failure.value}{caplog.text}{puller.messages}"
    assert not any(secret in output for secret in (PASSWORD, acled.token, "refresh-of-the-tests"))
    acled.faults.clear()
    assert puller()[0].ingest.rows == 5


def test_without_counts_a_lost_page_is_noticed(acled: Acled, puller: Puller) -> None:
    acled.counts = False
    assert puller()[0].ingest.rows == 5
    acled.publish(*(event(i, day=f"2025-03-{i:02d}", stamp=STAMP + 100) for i in range(1, 7)))
    for faults in ([same, edited(data=[])], [same, answer_of(1)]):
        acled.faults[READ].clear()
        acled.faults[READ].extend(faults)
        with pytest.raises(SourceUnavailable, match=r"one was lost|was repeated"):
            puller()
    acled.faults[READ].clear()
    assert puller()[0].ingest.rows == 6


def test_a_short_page_in_the_middle_means_lost_rows(acled: Acled, puller: Puller) -> None:
    acled.counts = False
    acled.faults[READ].extend([same, edited(data=[event(77)])])
    with pytest.raises(SourceUnavailable, match="not all pages have 2 rows"):
        puller()


@pytest.mark.parametrize("status", [400, 401])
def test_a_wrong_password_ends_the_pull(acled: Acled, puller: Puller, status: int) -> None:
    acled.faults[LOG_IN].append(Response(status, f"wrong: {PASSWORD}".encode()))
    with pytest.raises(SourceUnavailable, match="does not accept this user name and password") as failure:
        puller()
    assert PASSWORD not in str(failure.value)
    assert puller.archive.ingests() == ()


def test_an_account_without_access_to_events_ends_the_pull(acled: Acled, puller: Puller) -> None:
    acled.allowed = False
    with pytest.raises(SourceUnavailable, match="has access to aggregated data only"):
        puller()
    assert puller.archive.ingests() == ()


def test_a_fault_in_the_deletions_leaves_the_archive_unchanged(acled: Acled, puller: Puller) -> None:
    puller()
    acled.delete("MAL3", STAMP + 10)
    acled.publish(event(8, stamp=STAMP + 9))
    before = puller.archive.ingests()
    for fault, message in (
        (HTML, "a web page"),
        (edited(data=[], count=None), "some were lost"),
        (edited(count=7), "has 7 rows"),
    ):
        acled.faults[DELETED].append(fault)
        with pytest.raises(SourceUnavailable, match=message):
            puller()
        assert puller.archive.ingests() == before
    puller()
    assert set(puller.events()) == {"MAL1", "MAL2", "MAL4", "MAL5", "MAL8"}


def test_the_command_pulls(acled: Acled, puller: Puller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, options = Home(tmp_path / "home"), ["--base", puller.url, "--country", "MLI"]
    result = CliRunner().invoke(command, options, obj=home)
    assert (result.exit_code, "VIGIE_ACLED_PASSWORD_FILE" in result.output) == (2, True)
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("VIGIE_ACLED_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("VIGIE_ACLED_USERNAME", USERNAME)
    result = CliRunner().invoke(command, options, obj=home)
    assert result.exit_code == 0
    assert "5 events and deletions (single events, private), ingest 0001" in result.output
    assert PASSWORD not in result.output
    assert len(current_events(Archive(home.archive).view())) == 5


def test_a_file_without_acleds_columns_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("event_id_cnty,event_date\nMLI1,2025-01-01\n")
    with pytest.raises(BadInput, match="no column iso"):
        AcledFile(path)


def test_an_event_that_is_twice_in_a_file_enters_once(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    line = ",".join(str({**event(1), "notes": "", "deleted": ""}[name]) for name in FILE_COLUMNS)
    path.write_text("\n".join([",".join(FILE_COLUMNS), line, line, ""]))
    report = ingest(Archive(tmp_path / "archive"), AcledFile(path), private=True, now=NOW)
    assert (report.ingest.rows, report.ingest.quarantined) == (1, 1)
    assert "repeats an earlier row" in report.quarantined[0]


CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from(["publish", "delete"]), st.integers(1, 6), st.integers(0, 9)), max_size=5),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_after_every_pull_the_archive_agrees_with_acled(
    tmp_path_factory: pytest.TempPathFactory, rounds: Sequence[Sequence[tuple[str, int, int]]]
) -> None:
    provider, stamp = Acled(), STAMP
    history: list[tuple[datetime, dict[str, int]]] = []
    with provider.listening() as url:
        puller = Puller(tmp_path_factory.mktemp("pulls"), url)
        for changes in rounds:
            for what, number, deaths in changes:
                stamp += 1
                if what == "publish":
                    provider.publish(event(number, stamp=stamp, fatalities=deaths))
                elif f"MAL{number}" in provider.events:
                    provider.delete(f"MAL{number}", stamp)
            puller()
            history.append((puller.now, {k: int(str(v["fatalities"])) for k, v in provider.events.items()}))
        for when, truth in history:
            assert puller.events(when) == truth
