"""UCDP: pulls from a real server, site and API: what is requested, what enters, and faults on the way."""

import gzip
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ged
import pytest
from filelock import FileLock
from providers import HTML, TOKEN, Fault, Request, Response, Ucdp, monthly_events, path_of, zipped

from riskmodel.errors import BadInput, Refused, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.releases import coverage_of
from riskmodel.home import Home
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.client import Client
from riskmodel.sources.files import content
from riskmodel.sources.responses import ATTEMPTS, Unauthorised
from riskmodel.sources.ucdp import GedFile
from riskmodel.sources.ucdp_api import THROTTLED_ATTEMPTS
from riskmodel.sources.ucdp_pull import pull

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
JANUARY = datetime(2026, 1, 25, tzinfo=UTC)
"""A moment at which there is no candidate release yet."""

AUGUST = datetime(2026, 8, 25, tzinfo=UTC)
"""A moment at which there are two: `CONSOLIDATED` and 26.0.7."""

FINAL, CONSOLIDATED, MONTHLY = "26.1", "26.01.26.06", ("26.0.7", "26.0.8", "26.0.10")


class World:
    """A provider, an archive and the messages of pulls."""

    def __init__(self, folder: Path, provider: Ucdp, url: str) -> None:
        self.provider, self.url, self.downloads = provider, url, folder / "downloads"
        self.archive = Archive(folder / "archive")
        self.messages: list[str] = []
        self.waits: list[float] = []
        self._client = Client(sleep=self.waits.append, patience=1.0)

    def pull(self, token: str | None = None, now: datetime = NOW) -> list[IngestReport]:
        """Pull once. Afterwards `provider.requests` has the requests of this pull alone."""
        self.provider.requests.clear()
        return pull(
            self.archive,
            self._client,
            self.downloads,
            base=self.url,
            api=self.url,
            token=token,
            now=now,
            say=self.messages.append,
        )

    def state(self) -> list[tuple[str | None, int, int]]:
        """Return release, rows and deaths of every ingest, after a check of the archive's files."""
        assert [damage for _, damage in self.archive.check() if damage] == []
        return [(i.release, i.rows, i.deaths) for i in self.archive.ingests()]

    def deaths(self) -> float:
        """Return the sum of the deaths in the archive."""
        return float(sum(self.archive.view().events(["deaths"])["deaths"].to_pylist()))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    provider = Ucdp()
    with provider.listening() as url:
        world = World(tmp_path, provider, url)
        provider.publish("25.1", monthly_events("1989-01", "2024-12", best=1))
        provider.publish(FINAL, monthly_events("1989-01", "2025-12"))
        provider.publish("26.01.26.03", monthly_events("2026-01", "2026-03", 1001))
        provider.publish(CONSOLIDATED, monthly_events("2026-01", "2026-06", 1001))
        for number, release in enumerate(MONTHLY):
            month = f"2026-{int(release[5:]):02d}"
            provider.publish(release, monthly_events(month, month, 2001 + number))
        yield world


RELEASES = [(FINAL, 444, 1332), (CONSOLIDATED, 6, 18), *((release, 1, 3) for release in MONTHLY)]


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
def test_a_pull_takes_the_newest_final_release_and_the_candidates_after_it(world: World, token: str | None) -> None:
    reports = world.pull(token)
    assert world.state() == RELEASES
    assert [report.ingest.covers for report in reports] == [(coverage_of(str(release)),) for release, _, _ in RELEASES]
    assert world.deaths() == 1332 + 18 + 9
    assert str(world.archive.view().outcomes().months[-1]) == "2026-10"
    assert world.messages == ["UCDP offers no release of 2026-09: that month is unknown"]


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
def test_only_new_releases_are_fetched(world: World, token: str | None) -> None:
    world.pull(token)
    assert world.pull(token) == []
    assert world.state() == RELEASES
    if token:
        assert {request.query["pagesize"] for request in world.provider.requests} == {"1"}
    else:
        fetched = [request for request in world.provider.requests if request.path in world.provider.files]
        assert [request.path for request in fetched] == [path_of(str(release)) for release, _, _ in RELEASES]
        assert all("if-none-match" in request.headers for request in fetched)
    world.provider.publish("26.0.9", monthly_events("2026-09", "2026-09", 3001))
    world.provider.publish("26.0.8", [{"id": 4001 + n, "date": f"2026-08-0{n + 1}"} for n in range(2)])
    assert {report.ingest.release for report in world.pull(token)} == {"26.0.8", "26.0.9"}
    assert world.deaths() == 1332 + 18 + 9 + 6


def test_a_release_that_was_ingested_by_hand_is_not_fetched(world: World, tmp_path: Path) -> None:
    path = tmp_path / "ged261-csv.zip"
    path.write_bytes(world.provider.files[path_of(FINAL)])
    ingest(world.archive, GedFile(path), covers=[Coverage.parse(coverage_of(FINAL))], release=FINAL, now=NOW)
    world.pull()
    assert world.state() == RELEASES
    assert path_of(FINAL) not in world.provider.paths()


def test_a_new_year_brings_candidates_and_a_final_release(world: World) -> None:
    world.pull(now=datetime(2027, 1, 5, tzinfo=UTC))
    assert world.state() == RELEASES
    world.provider.publish("26.01.26.12", monthly_events("2026-01", "2026-12", 1001, best=4))
    world.provider.publish("27.0.1", monthly_events("2027-01", "2027-01", 5001))
    world.pull(now=datetime(2027, 2, 25, tzinfo=UTC))
    assert world.state() == [*RELEASES, ("26.01.26.12", 12, 48), ("27.0.1", 1, 3)]
    world.provider.publish("27.1", monthly_events("1989-01", "2026-12", best=2))
    world.pull(now=datetime(2027, 6, 25, tzinfo=UTC))
    assert world.state()[-1] == ("27.1", 456, 912)
    assert world.deaths() == 912 + 3


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
def test_a_release_that_ucdp_withdraws_stays_and_is_reported(world: World, token: str | None) -> None:
    world.pull(token)
    for release in (FINAL, CONSOLIDATED, "26.0.8"):
        world.provider.withdraw(release)
    assert world.pull(token) == []
    assert world.state() == RELEASES
    assert [text for text in world.messages if "no longer" in text] == [
        f"UCDP no longer offers release {release}; the archive keeps it" for release in (FINAL, CONSOLIDATED, "26.0.8")
    ]


def test_a_release_without_a_header_is_taken_in(world: World) -> None:
    path = path_of("26.0.8")
    world.provider.files[path] = world.provider.files[path].partition(b"\n")[2]
    world.pull()
    assert world.state() == RELEASES


def test_a_release_that_came_late_is_unknown_before_it_came(world: World) -> None:
    """UCDP published the candidates of June to September 2022 on 20 December 2022, and not on the 20th of July, …"""
    late, early = "Tue, 20 Dec 2022 12:00:00 GMT", "Fri, 20 May 2022 12:00:00 GMT"
    for release in list(world.provider.releases):
        world.provider.withdraw(release)
    world.provider.modified_of[world.provider.publish("22.1", monthly_events("1989-01", "2021-12"))] = early
    for number in range(6, 10):
        month = f"2022-{number:02d}"
        path = world.provider.publish(f"22.0.{number}", monthly_events(month, month, 1000 + number))
        world.provider.modified_of[path] = late
    world.pull(now=datetime(2023, 1, 5, tzinfo=UTC))
    known = {entered.release: entered.known_since for entered in world.archive.ingests()}
    assert known["22.1"] == "2022-06-01T00:00:00Z", "its nominal day is later than that of the file"
    assert {known[f"22.0.{number}"] for number in range(6, 10)} == {"2022-12-20T12:00:00Z"}
    last_months = [
        str(world.archive.view(datetime(2022, month, day, tzinfo=UTC)).outcomes().months[-1])
        for month, day in ((8, 1), (12, 20), (12, 21))
    ]
    assert last_months == ["2021-12", "2021-12", "2022-09"]


@pytest.mark.parametrize(
    ("release", "span"),
    [
        ("26.1", "*:1989-01..2025-12"),
        ("26.0.8", "*:2026-08..2026-08"),
        ("26.0.10", "*:2026-10..2026-10"),
        ("25.01.25.12", "*:2025-01..2025-12"),
    ],
)
def test_a_release_number_gives_the_coverage(release: str, span: str) -> None:
    assert coverage_of(release) == span
    assert str(Coverage.parse(coverage_of(release))) == span


def test_without_a_network_nothing_enters(world: World) -> None:
    world.url = "http://127.0.0.1:9"
    with pytest.raises(SourceUnavailable, match="is there a network"):
        world.pull()
    assert world.state() == []


def test_two_pulls_at_once_are_refused(world: World) -> None:
    (world.downloads / "ucdp").mkdir(parents=True)
    with FileLock(world.downloads / "ucdp" / "lock"), pytest.raises(Refused, match="another pull"):
        world.pull()


def no_fault(_: Request, response: Response) -> Response:
    """Return the correct response: no fault."""
    return response


def changed(**envelope: object) -> Fault:
    """Return the correct page with other values in its envelope."""
    return lambda request, response: replace(
        response, body=json.dumps({**json.loads(response.body), **envelope}).encode()
    )


def altered(alter: Callable[[dict[str, Any]], object]) -> Fault:
    """Return the correct page after a change in place."""

    def fault(request: Request, response: Response) -> Response:
        page = json.loads(response.body)
        alter(page)
        return replace(response, body=json.dumps(page).encode())

    return fault


def cut(request: Request, response: Response) -> Response:
    """Return the correct response, cut in its middle."""
    return replace(response, cut=len(response.body) // 2)


def cut_and_announced(request: Request, response: Response) -> Response:
    """Return most of the correct response, announced as if it were complete."""
    return replace(response, body=response.body[: len(response.body) * 9 // 10])


def dripping(request: Request, response: Response) -> Response:
    """Return the correct response, far too slowly."""
    return replace(response, drip=0.05)


BUSY = Response(400, b"Too many requests in a short time")
MANY = ATTEMPTS * THROTTLED_ATTEMPTS
TRANSIENT: dict[str, list[Fault]] = {
    "429, Retry-After": [Response(429, headers={"Retry-After": "3"})],
    "500": [Response(500)],
    "cut in its body": [cut],
    "slow drip": [dripping],
    "announced too long": [lambda request, response: replace(response, announced=len(response.body) + 9)],
    "redirect": [lambda request, response: Response(302, headers={"Location": f"{request.path}?pagesize=1&page=0"})],
}


def wrong_content(provider: Ucdp, release: str) -> Fault:
    """Return the content of another release."""
    return lambda request, response: replace(response, body=provider.files[path_of(release)])


BOMB = zipped("GEDEvent_v26_1.csv", ged.text([]).encode() + b"0," * (1 << 20))
SITE_LASTING: dict[str, tuple[str, Fault, str]] = {
    "401": (FINAL, Response(401), "does not accept the credentials"),
    "500 every time": (FINAL, Response(500), "it has a fault (500)"),
    "cut every time": (CONSOLIDATED, lambda request, response: replace(response, cut=0), "broke off"),
    "drip every time": ("26.0.7", dripping, "less than 1024 bytes a second"),
    "a web page with 200": ("26.0.7", HTML, "a web page came instead of data"),
    "announced too short": ("26.0.7", cut_and_announced, "its last row is cut off"),
    "zip announced too short": (FINAL, cut_and_announced, "the compressed file is broken"),
    "redirect loop": (FINAL, Response(302, headers={"Location": path_of(FINAL)}), "more than 5 times"),
    "redirect elsewhere": (FINAL, Response(302, headers={"Location": "file:///etc/passwd"}), "which is not followed"),
    "zip bomb": (FINAL, Response(200, BOMB), "it unpacks to far more"),
    "no rows": ("26.0.7", Response(200, ged.text([]).encode()), "no row that can be read"),
    "nothing": ("26.0.7", Response(200), "it sent an empty file"),
    "JSON": ("26.0.7", Response(200, b'{"error": "later"}'), "no UCDP event file"),
    "the file of another month": (
        "26.0.7",
        Response(200, ged.text(monthly_events("2026-05", "2026-05", 7)).encode()),
        "no event at all in 1 of these months",
    ),
}


@pytest.mark.parametrize(
    ("fault", "archived"),
    [
        *((fault, False) for fault in SITE_LASTING),
        ("500 every time", True),
        ("announced too short", True),
        ("zip bomb", True),
    ],
)
def test_a_lasting_fault_of_the_site_leaves_the_archive_unchanged(
    world: World, fault: str, archived: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "ALWAYS_READ", 1 << 20)
    release, response, text = SITE_LASTING[fault]
    if archived:
        world.pull(now=AUGUST)
        world.provider.publish(FINAL, monthly_events("1989-01", "2025-12", best=5))
        world.provider.publish(release, [*world.provider.releases[release], {"id": 9999, "date": "2020-01-01"}][::-1])
    before = world.state()
    world.provider.faults[path_of(release)].extend([response] * MANY)
    with pytest.raises(SourceUnavailable) as failure:
        world.pull(now=AUGUST)
    assert text in str(failure.value)
    assert world.state() == before
    world.provider.faults.clear()
    world.pull(now=AUGUST)
    assert world.deaths() == 444 * (5 if archived else 3) + 18 + 3 + (3 if archived and release == FINAL else 0)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_fault_is_tried_again(world: World, fault: str, token: str | None) -> None:
    for release in (FINAL, "26.0.7"):
        path = f"/api/gedevents/{release}" if token else path_of(release)
        world.provider.faults[path].extend(TRANSIENT[fault])
    world.pull(token, AUGUST)
    assert world.state() == RELEASES[:3]


API_LASTING: dict[str, tuple[list[Fault], str]] = {
    "500 every time": ([Response(500)] * MANY, "it has a fault (500)"),
    "too fast every time": ([BUSY] * MANY, "Too many requests in a short time; it goes on saying so"),
    "gone during the pull": ([Response(400, b"Invalid object name 'x'")], "a page of a release that exists is missing"),
    "TotalCount one more": ([changed(TotalCount=445)], "its TotalCount was 444 and became 445"),
    "TotalCount one less": ([changed(TotalCount=443)], "its TotalCount was 444 and became 443"),
    "no TotalCount": ([changed(TotalCount=None)], "without TotalCount"),
    "no envelope": ([Response(200, b"[]")], "without TotalCount"),
    "page cut": ([altered(lambda page: page["Result"].pop())], "announces 444 events and sends 443"),
    "page empty": ([changed(Result=[])], "a page has no events"),
    "page null": ([changed(Result=None)], "a page has no events"),
    "event without a field": ([altered(lambda page: page["Result"][7].pop("best"))], "lacks fields"),
    "end too early": ([changed(NextPageUrl="")], "announces 444 events and sends 200"),
    "next page elsewhere": ([changed(NextPageUrl="http://192.0.2.1/api/gedevents/26.1")], "lies elsewhere (192.0.2.1"),
    "next page of another": ([changed(NextPageUrl="/api/gedevents/25.1?pagesize=100&page=0")], "lies elsewhere"),
    "next page is the first": ([changed(NextPageUrl="?pagesize=100&page=0")], "comes twice"),
    "page repeated": (
        [lambda request, response: Ucdp.respond(REPEATING, replace(request, query={**request.query, "page": "0"}))],
        "comes twice",
    ),
    "page lost": ([changed(NextPageUrl="?pagesize=100&page=3")], "announces 444 events and sends 344"),
    "a web page with 200": ([HTML], "a web page came instead of data"),
    "JSON cut, announced too short": ([cut_and_announced] * MANY, "no complete JSON"),
    "401 during the pull": ([Response(401, TOKEN.encode())], "does not accept the credentials"),
}
REPEATING = Ucdp(100)
REPEATING.publish(FINAL, monthly_events("1989-01", "2025-12"))


@pytest.mark.parametrize("fault", API_LASTING)
def test_a_lasting_fault_of_the_api_leaves_the_archive_unchanged(world: World, fault: str) -> None:
    world.provider.page_size = 100
    responses, text = API_LASTING[fault]
    path = f"/api/gedevents/{FINAL}"
    world.provider.faults[path].extend([no_fault, no_fault, *responses])
    with pytest.raises(SourceUnavailable) as failure:
        world.pull(TOKEN, JANUARY)
    assert text in str(failure.value)
    assert TOKEN not in str(failure.value)
    assert world.state() == []
    world.provider.faults.clear()
    world.pull(TOKEN, JANUARY)
    assert world.state() == RELEASES[:1]
    assert [path.name for path in (world.downloads / "ucdp").iterdir()] == ["lock"]


def test_the_pull_waits_while_the_api_says_that_it_is_too_fast(world: World) -> None:
    for release in (FINAL, "26.0.10", "26.0.9"):
        world.provider.faults[f"/api/gedevents/{release}"].extend([BUSY, BUSY])
    world.pull(TOKEN)
    assert world.state() == RELEASES
    assert len(world.waits) == 6
    assert all(5 <= wait <= 15 for wait in world.waits)


def test_an_interrupted_pull_from_the_api_is_continued(world: World) -> None:
    world.provider.page_size = 100
    path = f"/api/gedevents/{FINAL}"
    world.provider.faults[path].extend([no_fault] * 4 + [Response(503)] * ATTEMPTS)
    with pytest.raises(SourceUnavailable, match="503"):
        world.pull(TOKEN)
    assert world.state() == []
    world.pull(TOKEN)
    pages = [request.query["page"] for request in world.provider.requests if request.path == path]
    assert pages == ["0", "3", "4"]
    assert world.state() == RELEASES


def test_stored_pages_of_a_release_that_has_changed_are_fetched_again(world: World) -> None:
    world.provider.page_size = 100
    path = f"/api/gedevents/{FINAL}"
    world.provider.faults[path].extend([no_fault] * 4 + [Response(503)] * ATTEMPTS)
    with pytest.raises(SourceUnavailable, match="503"):
        world.pull(TOKEN)
    world.provider.publish(FINAL, [*world.provider.releases[FINAL], {"id": 9999, "date": "2020-01-01"}])
    world.pull(TOKEN)
    assert world.state()[0] == (FINAL, 445, 1335)


def test_a_wrong_token_is_reported(world: World) -> None:
    with pytest.raises(Unauthorised, match="check user name, password or token"):
        world.pull("another-token")
    assert world.state() == []


def test_an_interrupted_download_is_continued_by_the_next_pull(world: World) -> None:
    path = path_of(FINAL)
    world.provider.faults[path].extend([cut, *[Response(500)] * (ATTEMPTS - 1)])
    with pytest.raises(SourceUnavailable):
        world.pull()
    world.pull()
    (request,) = [request for request in world.provider.requests if request.path == path]
    assert request.headers["range"] == f"bytes={len(world.provider.files[path]) // 2}-"
    assert world.state() == RELEASES


def test_a_file_that_was_fetched_but_not_ingested_enters_with_the_next_pull(world: World) -> None:
    world.pull()
    world.provider.publish(FINAL, monthly_events("1989-01", "2025-12", best=5))
    world.provider.faults[path_of(CONSOLIDATED)].extend([Response(500)] * ATTEMPTS)
    with pytest.raises(SourceUnavailable):
        world.pull()
    assert world.state() == RELEASES
    world.pull()
    assert world.state() == [*RELEASES, (FINAL, 444, 2220)]


def test_the_command_pulls(world: World, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from riskmodel.cli.pull import pull as command

    monkeypatch.setenv("VIGIE_UCDP_URL", world.url)
    monkeypatch.setenv("VIGIE_UCDP_API", world.url)
    first = CliRunner().invoke(command, ["ucdp"], obj=home)
    assert (first.exit_code, "444 events (official, release 26.1), ingest 0001" in first.output) == (0, True)
    again = CliRunner().invoke(command, ["ucdp"], obj=home)
    assert "nothing new: the archive has everything already" in again.output
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("VIGIE_UCDP_TOKEN_FILE", str(token_file))
    world.provider.requests.clear()
    assert CliRunner().invoke(command, ["ucdp"], obj=home).exit_code == 0
    assert {path[:15] for path in world.provider.paths()} == {"/api/gedevents/"}
    monkeypatch.setenv("VIGIE_UCDP_TOKEN_FILE", str(tmp_path / "none"))
    assert "cannot be read" in str(CliRunner().invoke(command, ["ucdp"], obj=home).exception)


def test_the_real_candidate_release_is_proved_by_its_content(world: World, shared: Path) -> None:
    text = gzip.decompress((shared / "GEDEvent_v26_0_2.csv.gz").read_bytes())
    for release in (CONSOLIDATED, "26.01.26.03", *MONTHLY):
        world.provider.withdraw(release)
    world.provider.files[path_of("26.0.2")] = text
    world.provider.releases["26.0.2"] = []
    (_, candidate) = world.pull()
    assert (candidate.ingest.release, candidate.ingest.quarantined) == ("26.0.2", 0)
    world.provider.files[path_of("26.0.3")] = text
    with pytest.raises(SourceUnavailable, match=r"26\.0\.3 cannot be used: .*2026-03 to 2026-03"):
        world.pull()
    assert len(world.state()) == 2


def test_an_encrypted_zip_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "locked.zip"
    content = bytearray(zipped("a.csv", ged.text([{}]).encode()))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    assert zipfile.is_zipfile(path)
    with pytest.raises(BadInput, match="cannot be unpacked"):
        GedFile(path)
